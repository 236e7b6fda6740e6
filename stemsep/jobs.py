"""Which songs a command separates, and what they are called."""

import codecs
import glob
import itertools
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from stemsep import audio, remote
from stemsep.errors import InputError

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")      # what no list of names holds


@dataclass(frozen=True)
class Job:
    """A song to separate: a path or an address, and its name, with its subfolders."""

    source: str
    name: str


def plan(arguments: Iterable[str | Path], output: str | Path) -> list[Job]:
    """Return the songs that arguments stand for: files, folders, patterns and addresses.

    A folder stands for the audio files in it at any depth; the name of such a song has its
    subfolders. A pattern, as in 'songs/**/*.mp3', stands for the files that it fits. Of both, what
    lies in an `output` further down is left out; InputError where the folder itself is `output`. A
    file that is merely called the mixture has its folder's name. Songs of one name are kept apart:
    song, song.flac, song (2). A path that is not there is kept: separating it says so.
    """
    songs: dict[str, tuple[str, PurePath]] = {}     # resolved: a song named twice is one
    for argument in map(str, arguments):
        for key, source, name in _looked_up(argument, output):
            songs.setdefault(key, (source, name))
    jobs, taken = [], set()
    for source, name in songs.values():
        # What is left of ...wav is no name.
        short = () if name.stem in (".", "..") else (name.with_name(name.stem),)
        numbered = (name.with_name(f"{name.stem} ({n})") for n in range(2, len(songs) + 2))
        free = next(free for free in (*short, name, *numbered)
                    if str(free).casefold() not in taken)   # some disks ignore case
        taken.add(str(free).casefold())
        jobs.append(Job(source, free.as_posix()))
    return jobs


def read_list(path: str) -> list[str]:
    """Return the songs of a list: a line each, of a file or, for "-", of standard input. Empty
    lines and those that begin with # are none.
    """
    data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    if _CONTROL.search(data):
        raise InputError(f"--list {path}: is no text; give a file with a path a line")
    # As the system reads names, which may be of any bytes; only a line feed ends one.
    lines = os.fsdecode(data.removeprefix(codecs.BOM_UTF8)).split("\n")
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def shard(jobs: list[Job], part: str) -> list[Job]:
    """Return one part of the songs, as "2/8": every eighth from the second on; empty: all."""
    if not part:
        return jobs
    own, count = shard_numbers(part)
    return jobs[own - 1::count]


def shard_numbers(part: str) -> tuple[int, int]:
    """Return the two numbers of "2/8"; raises InputError for what is none."""
    own, _, count = part.partition("/")
    if not (own.isdecimal() and count.isdecimal() and 1 <= int(own) <= int(count)):
        raise InputError(f"--shard {part}: is not as 2/8, the second of eight parts; they count "
                         "from 1")
    return int(own), int(count)


def _looked_up(argument: str, output: str | Path) -> list[tuple[str, str, PurePath]]:
    """Return (key, source, name) of each song that an argument stands for."""
    if remote.is_remote(argument):
        return _found_remote(argument, output)
    try:
        return _found(argument, Path(output).resolve())
    except InputError:
        raise
    except (OSError, ValueError, RuntimeError):     # a loop of links, a name that is too long, ...
        return [(argument, argument, PurePath(PurePath(argument).name or "song"))]


def _found(argument: str, output: Path) -> list[tuple[str, str, PurePath]]:
    path = Path(argument)
    if path.is_dir():
        _check_apart(argument, path.resolve() == output)
        kept = _kept(path, output)
        inside = [(found, found.relative_to(path)) for found in sorted(path.rglob("*"))
                  if _is_song(found, kept)]
    elif not path.exists() and glob.has_magic(argument):
        plain = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
        deep = len(path.parts) > len(plain.parts) + 1       # it fits what lies in folders
        _check_apart(argument, deep and plain.resolve() == output)
        kept = _kept(plain, output)
        inside = [(found, Path(found.name)) for found in
                  sorted(map(Path, glob.glob(argument, recursive=True))) if _is_song(found, kept)]
    else:
        inside = [(path, Path(path.name))]
    return [(str(found.resolve()), str(found), _named(found, name)) for found, name in inside]


def _check_apart(argument: str, same: bool) -> None:
    """Raise InputError where a second run would take the first one's stems for songs."""
    if same:
        raise InputError(f"{argument}: is also the folder of the outputs, so the stems would be "
                         "separated again; give another --output, which may lie in it")


def _named(path: Path, name: Path) -> PurePath:
    return name.parent.parent / (song_name(path) + path.suffix) if is_mixture(path) else name


def _found_remote(argument: str, output: str | Path) -> list[tuple[str, str, PurePath]]:
    files = remote.listing(argument, audio.SUFFIXES)
    if files and remote.is_remote(output):
        kept = remote.full(str(output)).rstrip("/") + "/"
        root = remote.full(argument).partition("*")[0]
        _check_apart(argument, root.rstrip("/") + "/" == kept)
        if kept.startswith(root):       # else all of them may lie below the outputs
            files = [(file, inner) for file, inner in files if not file.startswith(kept)]
    else:
        files = files or [(argument, argument.rstrip("/").rsplit("/", 1)[-1])]
    named: list[tuple[str, str, PurePath]] = []
    for file, inner in files:
        name, whole = PurePosixPath(inner), PurePosixPath(file)
        if whole.stem.lower() in ("mix", "mixture"):
            name = name.parent.parent / (whole.parent.name + whole.suffix)
        # The keys of a bucket may be of any parts.
        named.append((file, file, PurePosixPath(*(part for part in name.parts if part != ".."))))
    return named


def _kept(root: Path, output: Path) -> Path | None:
    """Return the folder of the outputs if it lies below `root`."""
    return output if root.resolve() in output.parents else None


def _is_song(path: Path, kept: Path | None) -> bool:
    """Whether a file is a song, and not below the folder `kept` of stems."""
    if path.suffix.lower() not in audio.SUFFIXES or path.name.startswith("."):
        return False
    try:
        if not path.is_file():
            return False
    except OSError:     # a folder that may not be entered: separating the song says so
        return True
    return kept is None or kept not in path.resolve().parents


def is_mixture(path: Path) -> bool:
    """Whether a file's name says no more than that it is the mixture of the song in its folder."""
    return path.stem.lower() in ("mix", "mixture") and path.resolve().parent.name != ""


def song_name(path: Path) -> str:
    """Return the name of a song: its file's, or its folder's where the file is a mere mixture."""
    return path.resolve().parent.name if is_mixture(path) else path.stem
