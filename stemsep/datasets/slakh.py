"""`slakh:PATH`: Slakh2100 in any of its editions, BabySlakh, and what is laid out like them.

A song is Track00001/{mix.flac, metadata.yaml, stems/S00.flac, ...}, FLAC or WAV. Songs lie in split
folders (train, validation, test; what is in `omitted` is left out) or side by side. A stem is what
has an audio file: published metadata says `audio_rendered: false` of files that are there.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stemsep.audio import Clip
from stemsep.datasets.folders import audio_files, in_splits, split_by_name
from stemsep.datasets.recipes import StemFile
from stemsep.errors import InputError

# Slakh2100 side by side has its original splits, by number.
_LAST_OF_SPLIT = {"train": 1500, "validation": 1875, "test": 2100}

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)       # in C, where PyYAML was built with it


def find(root: Path) -> list[tuple[str, Path]]:
    """Return (split, folder) of every song."""
    return in_splits(root, split_by_number)


def split_by_number(names: Sequence[str]) -> dict[str, str]:
    """Return name -> split as in Slakh2100, if the numbers reach into each of its splits.

    Otherwise by a hash of the name.
    """
    splits = {}
    for name in names:
        number = int(match[1]) if (match := re.fullmatch(r"Track(\d{5})", name)) else 0
        if 1 <= number <= 2100:
            splits[name] = next(s for s, last in _LAST_OF_SPLIT.items() if number <= last)
    if len(splits) == len(names) and set(splits.values()) == set(_LAST_OF_SPLIT):
        return splits
    return split_by_name(names)


def files(song: Path) -> tuple[list[StemFile], Clip | None]:
    """Return the stem files, with what metadata.yaml says of each, and the mixture of a song."""
    folder = song / "stems"
    if not folder.is_dir():
        raise InputError(f"{song}: has no folder 'stems'; unpack the song again or move it away")
    metadata = _metadata(song / "metadata.yaml")
    stems = [_stem(path, metadata.get(path.stem)) for path in audio_files(folder)]
    return stems, next((Clip(path) for path in audio_files(song) if path.stem == "mix"), None)


def _metadata(path: Path) -> dict[str, Any]:
    """Return stem -> what the song's metadata says of it."""
    try:
        return dict(yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)["stems"])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), and only it says what plays "
                         "in which stem; restore it") from error
    except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is no metadata of Slakh, which has 'stems'; restore "
                         "it") from error


def _stem(path: Path, entry: Any) -> StemFile:
    """Return the file with what its entry in the metadata says; what is missing there is open."""
    entry = entry if isinstance(entry, dict) else {}
    program = entry.get("program_num")
    return StemFile(Clip(path), path.stem, entry.get("inst_class"),
                    program if isinstance(program, int) else None, entry.get("plugin_name"),
                    entry.get("is_drum") is True)
