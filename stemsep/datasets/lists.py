"""`list:FILE`: a CSV, JSON or JSON Lines file that names the files of every track.

Its columns are track, stem and path and, where wanted, split, start and end. A path is relative to
the list's folder; with *, ? or [...] in it, it stands for all audio files that match. All files of
a stem add up, each from its `start` to its `end` in seconds. The stem mixture (or mix) is the song.
"""

import csv
import difflib
import functools
import glob
import io
import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemsep import audio
from stemsep.audio import Clip
from stemsep.datasets.folders import MIXTURES
from stemsep.datasets.listing import Contents, Listing, Remarks, Song
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.splits import SPLIT_FOLDERS, split_by_name, with_validation
from stemsep.errors import InputError
from stemsep.section import unknown

_NEEDED = ("track", "stem", "path")
_COLUMNS = ("track", "split", "stem", "path", "start", "end")
_LONGEST = 200      # bytes of a track's name: it names files of the store
Rows = Iterator[tuple[str, dict[str, Any]]]     # where it stands, as errors say it; column -> value


@dataclass(frozen=True)
class Row:
    """A line of a list. where: the list and the line, as errors name them; split: empty if open."""

    where: str
    track: str
    split: str
    stem: str
    path: str
    start_s: float
    end_s: float | None


def find(file: Path) -> Listing:
    """List the tracks of a list; raises InputError, with the line, for what is wrong in it."""
    rows, others = load(file)
    tracks: dict[str, list[Row]] = {}
    for row in rows:
        tracks.setdefault(row.track, []).append(row)
    remarks = Remarks()
    if others:
        remarks.warnings.append(f"{file.name} has columns that mean nothing here: "
                                f"{', '.join(others)}")
    return Listing([Song(split, name, functools.partial(contents, own, file.parent))
                    for split, name, own in _in_splits(tracks)], remarks)


def contents(rows: Sequence[Row], root: Path) -> Contents:
    """Return the stem files and the mixture that the rows of a track name; paths are below `root`.
    """
    stems: list[StemFile] = []
    mixture: Clip | None = None
    seen: dict[Clip, Row] = {}
    for row in rows:
        for path in _files(row, root):
            clip = Clip(path, row.start_s, row.end_s)
            other = seen.setdefault(Clip(path.resolve(), row.start_s, row.end_s), row)
            if other is not row:
                raise InputError(f"{row.where}: {clip} is in {other.where} too, and would be added "
                                 "up twice; remove one of them")
            if row.stem.lower() not in MIXTURES:
                stems.append(StemFile(clip, row.stem))
            elif mixture is None:
                mixture = clip
            else:
                raise InputError(f"{row.where}: {clip} is a second mixture of {row.track}, beside "
                                 f"{mixture}; leave one of them")
    if not stems:
        raise InputError(f"{rows[0].where}: {rows[0].track} has a mixture and no stems; add them, "
                         "or remove the line")
    return Contents(stems, mixture)


def _files(row: Row, root: Path) -> list[Path]:
    """Return the files that the path of a row stands for, in order."""
    path = root / row.path
    if path.is_dir():
        raise InputError(f"{row.where}: {path} is a folder; name the files in it, as in "
                         f"{Path(row.path) / '*.wav'}")
    if path.exists():           # first, for names with brackets
        return [path]
    if not any(sign in row.path for sign in "*?["):
        raise InputError(f"{row.where}: there is no file {path}; correct the path")
    found = [root / name for name in sorted(glob.glob(row.path, root_dir=root, recursive=True))]
    found = [path for path in found if path.suffix.lower() in audio.SUFFIXES and path.is_file()]
    if not found:
        raise InputError(f"{row.where}: no audio file matches {path}; correct the path")
    return found


def _in_splits(tracks: dict[str, list[Row]]) -> list[tuple[str, str, list[Row]]]:
    """Return (split, name, rows), by the rows' splits or, where they have none, by name."""
    splits = {}
    for name, rows in tracks.items():
        given = [row for row in rows if row.split]
        for row in given[1:]:
            if row.split != given[0].split:
                raise InputError(f"{row.where}: puts {name} in {row.split!r}, and "
                                 f"{given[0].where} in {given[0].split!r}; leave it in one split")
        splits[name] = given[0].split if given else ""
    undivided = [rows[0] for name, rows in tracks.items() if not splits[name]]
    if len(undivided) == len(tracks):
        splits = split_by_name(list(tracks))
    elif undivided:
        first = undivided[0]
        raise InputError(f"{first.where}: {first.track} has no split, and other tracks have; give "
                         "every track one, or none")
    return sorted(with_validation([(splits[name], name, rows) for name, rows in tracks.items()]),
                  key=lambda song: song[:2])


# Reading


def load(file: Path) -> tuple[list[Row], list[str]]:
    """Read a list; returns its rows, and the columns that mean nothing.

    Raises InputError that names the file, the line and the remedy.
    """
    reader = _READERS.get(file.suffix.lower())
    if file.is_dir():
        raise InputError(f"{file}: is a folder; name the list itself ({', '.join(_READERS)}) in it")
    if reader is None:
        raise InputError(f"{file}: is no list by its name; it must end in one of "
                         f"{', '.join(_READERS)}")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    rows, columns = [], set[str]()
    for where, values in reader(text, str(file)):
        columns |= values.keys()
        _check_columns(columns, where)
        rows.append(_row(where, values))
    if not rows:
        raise InputError(f"{file}: lists no files; give it lines of {', '.join(_COLUMNS)}")
    return rows, sorted(columns.difference(_COLUMNS))


def _check_columns(columns: set[str], where: str) -> None:
    """Raise InputError for a column that is missing or nearly one of ours."""
    for name in _NEEDED:
        if name not in columns:
            raise InputError(f"{where}: there is no {name!r}, only {', '.join(sorted(columns))}; "
                             f"name the columns {', '.join(_COLUMNS)}")
    for name in columns.difference(_COLUMNS):
        near = difflib.get_close_matches(name, set(_COLUMNS) - columns, n=1, cutoff=0.75)
        if near:
            raise InputError(f"{where}: {name!r} is no column; did you mean {near[0]!r}?")


def _row(where: str, values: dict[str, Any]) -> Row:
    text = {name: _text(where, name, values.get(name)) for name in (*_NEEDED, "split")}
    for name in _NEEDED:
        if not text[name]:
            raise InputError(f"{where}: the {name} is empty; fill it in, or remove the line")
    name = text["track"]
    if (name in (".", "..") or name.startswith(".") or "/" in name or "\\" in name
            or any(unicodedata.category(c) in ("Cc", "Cs") for c in name)):
        raise InputError(f"{where}: a track cannot be called {name!r}, for it names a folder; use "
                         "no slashes or control characters, and no dot at the beginning")
    if len(name.encode()) > _LONGEST:
        raise InputError(f"{where}: the name of the track is {len(name.encode())} bytes long; give "
                         f"it one of at most {_LONGEST}")
    if "\0" in text["path"]:
        raise InputError(f"{where}: the path has a zero byte in it; correct it")
    split = text["split"].lower()
    if split and split not in SPLIT_FOLDERS:
        raise InputError(unknown(f"{where}: there is no split", text["split"], SPLIT_FOLDERS))
    start_s = _seconds(where, "start", values.get("start")) or 0.0
    end_s = _seconds(where, "end", values.get("end"))
    if end_s is not None and start_s >= end_s:
        raise InputError(f"{where}: it starts at {start_s:g} s and ends at {end_s:g} s; let it end "
                         "later")
    return Row(where, name, SPLIT_FOLDERS.get(split, ""), text["stem"], text["path"], start_s,
               end_s)


def _text(where: str, name: str, value: Any) -> str:
    if value is None or isinstance(value, (str, int)) and not isinstance(value, bool):
        return str("" if value is None else value).strip()
    raise InputError(f"{where}: the {name} must be text, not {value!r}")


def _seconds(where: str, name: str, value: Any) -> float | None:
    """Return a time, None for an empty field."""
    if value is None or value == "" or isinstance(value, str) and not value.strip():
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if 0 <= seconds < math.inf:
        return seconds
    raise InputError(f"{where}: the {name} is {value!r}, which is no number of seconds; write it "
                     "as 12.5")


def _csv(text: str, file: str) -> Rows:
    """Yield the lines of a table that is separated by commas, semicolons or tabs."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True,
                        delimiter=max(",;\t", key=first.count))
    header: list[str] = []
    try:
        for fields in reader:
            where = f"{file}, line {reader.line_num}"
            if not any(field.strip() for field in fields):
                continue
            if not header:
                header = [field.strip().lower() for field in fields]
                _check_header(header, where)
                continue
            if len(fields) > len(header):
                raise InputError(f"{where}: has {len(fields)} fields, and the first line "
                                 f"{len(header)}; put names with a separator in them in quotes")
            padded = fields + [""] * (len(header) - len(fields))
            yield where, {name: value for name, value in zip(header, padded) if name}
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: is no line of a table ({error}); check "
                         "the quotes") from error


def _check_header(header: list[str], where: str) -> None:
    named = [name for name in header if name]
    for name in named:
        if named.count(name) > 1:
            raise InputError(f"{where}: there are two columns {name!r}; remove one of them")
    _check_columns(set(named), where)


def _json(text: str, file: str) -> Rows:
    try:
        content = json.loads(text) if text.strip() else []
    except ValueError as error:
        raise InputError(f"{file}: is no JSON ({error}); correct it") from error
    if not isinstance(content, list):
        raise InputError(f"{file}: must be a list of objects, as in "
                         '[{"track": "a", "stem": "drums", "path": "a/drums.wav"}]')
    for number, entry in enumerate(content, 1):
        yield _object(entry, f"{file}, entry {number}")


def _json_lines(text: str, file: str) -> Rows:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{file}, line {number}"
            try:
                entry = json.loads(line)
            except ValueError as error:
                raise InputError(f"{where}: is no JSON ({error}); correct it") from error
            yield _object(entry, where)


def _object(entry: Any, where: str) -> tuple[str, dict[str, Any]]:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: must be an object with track, stem and path, not {entry!r}")
    return where, {name.strip().lower(): value for name, value in entry.items()}


_READERS: dict[str, Callable[[str, str], Rows]] = {
    ".csv": _csv, ".tsv": _csv, ".json": _json, ".jsonl": _json_lines}
