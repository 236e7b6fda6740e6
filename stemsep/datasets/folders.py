"""`folders:PATH`: one folder a song, with a file a stem (drums.wav, bass.flac, ...).

A file called mixture or mix is the song itself and no stem. Songs lie in split folders (train,
validation, test) or side by side.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from stemsep import audio
from stemsep.audio import Clip
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError

SPLIT_FOLDERS = {
    "train": "train", "training": "train", "valid": "validation", "validation": "validation",
    "val": "validation", "dev": "validation", "test": "test",
}
LEFT_OUT = "omitted"        # where Slakh keeps the songs that its revised edition leaves out
_MIXTURES = ("mixture", "mix")


def find(root: Path) -> list[tuple[str, Path]]:
    """Return (split, folder) of every song."""
    return in_splits(root, split_by_name)


def files(song: Path) -> tuple[list[StemFile], Clip | None]:
    """Return the stem files and the mixture of a song's folder."""
    found = audio_files(song)
    mixtures = [Clip(path) for path in found if path.stem.lower() in _MIXTURES]
    return ([StemFile(Clip(path), path.stem) for path in found if Clip(path) not in mixtures],
            next(iter(mixtures), None))


Divide = Callable[[Sequence[str]], dict[str, str]]     # names -> {name: split}


def hold_out(names: Sequence[str]) -> dict[str, str]:
    """Return name -> train or validation: a tenth of the songs validates."""
    return split_by_name(names, ("train", "validation"))


def in_splits(root: Path, divide: Divide, *,
              hold_out: Divide = hold_out) -> list[tuple[str, Path]]:
    """Return (split, folder) of the songs below `root`, in order.

    Split folders say which split a song is in; without them `divide` does. Where they are there but
    none is for validation, as in MUSDB18, `hold_out` divides the training songs. Raises InputError
    when there are no songs, or songs beside split folders.
    """
    folders = [folder for folder in subfolders(root) if folder.name.lower() != LEFT_OUT]
    split_folders = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    if not split_folders:
        splits = divide([song.name for song in folders])
        found = [(splits[song.name], song) for song in folders]
    else:
        for folder in folders:
            if folder not in split_folders:
                raise InputError(f"{folder}: lies beside the folder {split_folders[0].name!r} and "
                                 "is in no split; move it into one")
        found = [(SPLIT_FOLDERS[folder.name.lower()], song)
                 for folder in split_folders for song in subfolders(folder)]
        if not any(split == "validation" for split, _ in found):
            training = [song.name for split, song in found if split == "train"]
            splits = hold_out(training)
            found = [(splits[song.name] if split == "train" else split, song)
                     for split, song in found]
    if not found:
        raise InputError(f"{root}: holds no songs; it needs one folder a song")
    return found


def split_by_name(names: Sequence[str], splits: Sequence[str] = SPLITS) -> dict[str, str]:
    """Return name -> split, by a hash of the name: 10 % to each split, the remainder to the first.

    A further song moves hardly any other. Each split has a song while they last, the first ones
    before the later.
    """
    shares = {name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2 ** 64
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


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in `folder` by name, without hidden ones."""
    return sorted(path for path in folder.iterdir()
                  if path.is_dir() and not path.name.startswith("."))


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files in `folder` by name, without hidden ones.

    Raises InputError for two that differ in format only: they are the same stem, and would add up.
    """
    # A link to a file that is gone is listed, to be an error when it is read and not silence.
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in audio.SUFFIXES
                   and not path.name.startswith(".") and not path.is_dir())
    for path, following in zip(found, found[1:]):
        if path.stem == following.stem:
            raise InputError(f"{folder}: holds both {path.name} and {following.name}, which would "
                             "be added up; remove one of them")
    return found
