"""Which split a song is in: by the folder that it lies in, or by a hash of its name."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from stemsep import audio
from stemsep.datasets.listing import counted
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError

SPLIT_FOLDERS = {
    "train": "train", "training": "train", "valid": "validation", "validation": "validation",
    "val": "validation", "dev": "validation", "test": "test",
}
LEFT_OUT = "omitted"        # where Slakh keeps the songs that its revised edition leaves out

Place = TypeVar("Place")                                # where a song is: a folder, files, ...
Places = Callable[[Path], list[tuple[str, Place]]]      # folder -> (name, place) of its songs
Divide = Callable[[Sequence[str]], dict[str, str]]      # names -> {name: split}


def split_by_name(names: Sequence[str], splits: Sequence[str] = SPLITS) -> dict[str, str]:
    """Return name -> split, by a hash of the name: 10 % to each split, the remainder to the first.

    A further song moves hardly any other. Each split has a song while they last, the first ones
    before the later.
    """
    shares = {name: int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8]) / 2 ** 64
              for name in names}
    ordered = sorted(shares, key=lambda name: (shares[name], name))
    chosen = {name: splits[max(0, int(shares[name] * 10) - 10 + len(splits))] for name in ordered}
    wanted = splits[:len(ordered)]
    for split in wanted:
        if split not in chosen.values():
            # The song nearest to this split's share, of a split that can spare it.
            counts = Counter(chosen.values())
            spare = [name for name in ordered
                     if counts[chosen[name]] > 1 or chosen[name] not in wanted]
            chosen[spare[0] if split == splits[0] else spare[-1]] = split
    return chosen


def hold_out(names: Sequence[str]) -> dict[str, str]:
    """Return name -> train or validation: a tenth of the songs validates."""
    return split_by_name(names, ("train", "validation"))


def in_splits(root: Path, places: Places[Place], *, divide: Divide = split_by_name,
              hold_out: Divide = hold_out,
              needs: str = "one folder a song") -> list[tuple[str, str, Place]]:
    """Return (split, name, place) of the songs below `root`, in order.

    Split folders say which split a song is in; without them `divide` does. Where they are there but
    none is for validation, as in MUSDB18, `hold_out` divides the training songs. Raises InputError
    when there are no songs, which says what the root `needs`, or songs beside split folders.
    """
    folders = [folder for folder in subfolders(root) if folder.name.lower() != LEFT_OUT]
    split_folders = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    if not split_folders:
        here = [(name, place) for name, place in places(root) if name.lower() != LEFT_OUT]
        splits = divide([name for name, _ in here])
        found = [(splits[name], name, place) for name, place in here]
    else:
        for folder in folders:
            if folder not in split_folders and folder.is_dir():
                raise InputError(f"{folder}: lies beside the folder {split_folders[0].name!r} and "
                                 "is in no split; move it into one")
        found = [(SPLIT_FOLDERS[folder.name.lower()], name, place)
                 for folder in split_folders for name, place in places(folder)]
        found = with_validation(found, hold_out)
    if not found:
        raise InputError(f"{root}: holds no songs; it needs {needs}{_hint(root)}")
    return sorted(found, key=lambda song: song[:2])


def with_validation(found: list[tuple[str, str, Place]],
                    hold_out: Divide = hold_out) -> list[tuple[str, str, Place]]:
    """Return (split, name, place) with some of the training songs to validate, if none does."""
    if any(split == "validation" for split, _, _ in found):
        return found
    splits = hold_out([name for split, name, _ in found if split == "train"])
    return [(splits[name] if split == "train" else split, name, place)
            for split, name, place in found]


def _hint(root: Path) -> str:
    """Return what is there instead of songs, as a clause; empty where nothing is known."""
    if next(root.glob("*/*.stem.mp4"), None) or next(root.glob("*.stem.mp4"), None):
        return f" (it has .stem.mp4 files, so give musdb:{root})"
    if audio_files(root):
        return " (it has audio files itself, so give the folder above it, if it is a song)"
    return ""


def omitted(root: Path) -> list[str]:
    """Return a sentence if there are songs in a folder of omitted ones."""
    return [f"{folder.name}: {counted(len(subfolders(folder)))}, which this folder's name says to "
            "leave out" for folder in subfolders(root) if folder.name.lower() == LEFT_OUT]


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in `folder` by name, without hidden ones.

    Links that lead nowhere are among them, to be an error and not a song less.
    """
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")
                  and (path.is_dir() or path.is_symlink() and not path.exists()))


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files in `folder` by name, without hidden ones.

    Raises InputError for two that differ in format or case only: they are the same stem, and would
    add up.
    """
    # A link to a file that is gone is listed, to be an error when it is read and not silence.
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in audio.SUFFIXES
                   and not path.name.startswith(".") and not path.is_dir())
    by_name: dict[str, Path] = {}
    for path in found:
        other = by_name.setdefault(path.stem.lower(), path)
        if other is not path:
            raise InputError(f"{folder}: holds both {other.name} and {path.name}, which would be "
                             "added up; remove one of them")
    return found
