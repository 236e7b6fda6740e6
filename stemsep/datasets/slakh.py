"""`slakh:PATH`: Slakh2100 in any of its editions, BabySlakh, and what is laid out like them.

A song is Track00001/{mix.flac, metadata.yaml, stems/S00.flac, ...}, FLAC or WAV. Songs lie in split
folders (train, validation, test; what is in `omitted` is left out) or side by side; or a list says
their splits, as slakh-utils publishes them: `slakh:PATH#splits=redux.json`. A stem is what has an
audio file: published metadata says `audio_rendered: false` of files that are there.
"""

import functools
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from stemsep.audio import Clip
from stemsep.datasets import slakh_lists
from stemsep.datasets.folders import song_folders
from stemsep.datasets.listing import Contents, Listing, Remarks, Song
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.splits import audio_files, in_splits, omitted, split_by_name
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError

# Stems that went wrong when Slakh2100 was rendered.
BAD_RENDERS: Mapping[str, Collection[str]] = {"Track01500": ("S12", "S13")}

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)       # in C, where PyYAML was built with it


def find(root: Path, splits: str = "", *,
         bad_renders: Mapping[str, Collection[str]] = BAD_RENDERS) -> Listing:
    """List the songs below `root`.

    splits: a list of slakh-utils, a path or a name in `root`, or "orig", by number; empty: as the
    songs lie. Raises InputError for a list that cannot be used.
    """
    if (root / "stems").is_dir():
        raise InputError(f"{root}: is a song itself; give the folder that holds the songs")
    if splits:
        found, remarks = slakh_lists.in_list(root, splits)
    else:
        found = in_splits(root, song_folders, divide=split_by_number)
        remarks = Remarks(omitted(root))
    return Listing([Song(split, name, functools.partial(contents, folder, bad_renders))
                    for split, name, folder in found], remarks)


def split_by_number(names: Sequence[str]) -> dict[str, str]:
    """Return name -> split as in Slakh2100, if the numbers reach into each of its splits.

    Otherwise by a hash of the name.
    """
    splits = {name: slakh_lists.original_split(name) for name in names}
    if set(splits.values()) == set(SPLITS):
        return {name: str(split) for name, split in splits.items()}
    return split_by_name(names)


def contents(song: Path, bad_renders: Mapping[str, Collection[str]] = BAD_RENDERS) -> Contents:
    """Return the stem files, with what metadata.yaml says of each, and the mixture of a song."""
    folder = song / "stems"
    if not folder.is_dir():
        remedy = ("its own folder holds audio, so give folders:PATH" if audio_files(song)
                  else "unpack the song again or move it away")
        raise InputError(f"{song}: has no folder 'stems'; {remedy}")
    metadata = _metadata(song / "metadata.yaml")
    entries = metadata["stems"]
    found = audio_files(folder)
    bad = [path for path in found if path.stem in bad_renders.get(song.name, ())]
    stems = [_stem(path, entries.get(path.stem)) for path in found if path not in bad]
    if not stems:
        raise InputError(f"{folder}: holds no stem files (.wav, .flac, ...); unpack the song "
                         "again or move it away")
    mixture = next((Clip(path) for path in audio_files(song) if path.stem == "mix"), None)
    left_out = [f"{path.name} is known to be badly rendered" for path in bad]
    if bad and mixture:
        left_out.append(f"{mixture.name}, which has them in it: the sum of the other stems is the "
                        "mixture")
    return Contents(stems, None if bad else mixture, left_out,
                    _gone(entries, {path.stem for path in found}), str(metadata.get("UUID", "")))


def _metadata(path: Path) -> dict[str, Any]:
    """Return what metadata.yaml says of the song; "stems" maps a stem to what it says of that."""
    try:
        found = dict(yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML))
        return {**found, "stems": dict(found["stems"])}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), and only it says what plays "
                         "in which stem; restore it") from error
    except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is no metadata of Slakh, which has 'stems'; restore "
                         "it") from error


def _stem(path: Path, entry: Any) -> StemFile:
    """Return the file with what its entry in the metadata says; what is missing there is open."""
    entry = entry if isinstance(entry, dict) else {}
    program = str(entry.get("program_num"))
    return StemFile(Clip(path), path.stem, entry.get("inst_class"),
                    int(program) if re.fullmatch(r"\d{1,3}", program) else None,
                    entry.get("plugin_name"), entry.get("is_drum") is True)


def _gone(entries: Mapping[Any, Any], there: Collection[str]) -> list[str]:
    """Return a sentence for stems that the metadata calls rendered and that have no file."""
    gone = [str(stem) for stem, entry in entries.items() if isinstance(entry, dict)
            and entry.get("audio_rendered") is True and stem not in there]
    if not gone:
        return []
    return [f"metadata.yaml calls {', '.join(gone)} rendered, and no such file is there"]
