"""`folders:PATH`: one folder a song, holding a file a stem (drums.wav, bass.flac, ...).

A file called mixture or mix is the song itself and no stem. Songs lie in split folders (train, validation, test) or
side by side. MUSDB18-HQ as it is unpacked is such a source.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from stemsep import audio
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError

SPLIT_FOLDERS = {"train": "train", "training": "train", "valid": "validation", "validation": "validation",
                 "val": "validation", "dev": "validation", "test": "test"}
LEFT_OUT = "omitted"        # Slakh's folder of the songs that its revised version leaves out
_MIXTURES = ("mixture", "mix")


def find(root: Path) -> list[tuple[str, Path]]:
    """Return (split, folder) of every song."""
    return in_splits(root, split_by_name)


def files(song: Path) -> tuple[list[StemFile], Path | None]:
    """Return the stem files and the mixture of a song's folder, by name."""
    found = audio_files(song)
    mixtures = [path for path in found if path.stem.lower() in _MIXTURES]
    stems = [StemFile(path) for path in found if path not in mixtures]
    return stems, mixtures[0] if mixtures else None


def in_splits(root: Path, divide: Callable[[Sequence[str]], dict[str, str]]) -> list[tuple[str, Path]]:
    """Return (split, folder) of the songs below `root`, in order.

    Split folders say which split a song is in; without them `divide` (names -> name: split) does. Where they are there
    but none is for validation, as in MUSDB18, a tenth of the training songs is. Raises InputError when there are no
    songs, or songs beside split folders.
    """
    folders = subfolders(root)
    split_folders = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    if not split_folders:
        songs = [folder for folder in folders if folder.name.lower() != LEFT_OUT]
        splits = divide([song.name for song in songs])
        found = [(splits[song.name], song) for song in songs]
    else:
        astray = [f for f in folders if f not in split_folders and f.name.lower() != LEFT_OUT]
        if astray:
            raise InputError(f"{astray[0]}: lies beside the folder {split_folders[0].name!r} and is in no split; move "
                             "it into one")
        found = [(SPLIT_FOLDERS[f.name.lower()], song) for f in split_folders for song in subfolders(f)]
        if not any(split == "validation" for split, _ in found):
            splits = split_by_name([song.name for split, song in found if split == "train"], ("train", "validation"))
            found = [(splits[song.name] if split == "train" else split, song) for split, song in found]
    if not found:
        raise InputError(f"{root}: holds no songs; it needs one folder a song")
    return found


def split_by_name(names: Sequence[str], splits: Sequence[str] = SPLITS) -> dict[str, str]:
    """Return name -> split: about 80, 10 and 10 % by a hash of the name, so that a further song moves no other.

    With as many songs as splits or more, each split has one at least; fewer go to the first splits.
    """
    shares = {name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2 ** 64 for name in names}
    ordered = sorted(shares, key=lambda name: (shares[name], name))
    chosen = {name: splits[max(0, int(shares[name] * 10) - 10 + len(splits))] for name in ordered}
    wanted = splits[:len(ordered)]
    for split in wanted:
        if split not in chosen.values():
            # The song nearest to this split's share, from a split that can spare it.
            counts = Counter(chosen.values())
            spare = [name for name in ordered if counts[chosen[name]] > 1 or chosen[name] not in wanted]
            chosen[spare[0] if split == splits[0] else spare[-1]] = split
    return chosen


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in `folder` by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files in `folder` by name, without hidden ones; two that differ only in format are an error."""
    found = sorted(path for path in folder.iterdir()
                   if path.suffix.lower() in audio.SUFFIXES and not path.name.startswith(".") and path.is_file())
    for path, following in zip(found, found[1:]):
        if path.stem == following.stem:
            raise InputError(f"{folder}: holds both {path.name} and {following.name}, which would be added up; remove "
                             "one of them")
    return found
