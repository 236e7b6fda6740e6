"""`folders:PATH`: one folder a song, with a file a stem (drums.wav, bass.flac, ...).

A file called mixture or mix is the song itself and no stem. Songs lie in split folders (train,
validation, test) or side by side.
"""

import functools
from collections.abc import Iterable
from pathlib import Path

from stemsep.audio import Clip
from stemsep.datasets import recipes
from stemsep.datasets.listing import Contents, Listing, Remarks, Song
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.splits import audio_files, in_splits, omitted, subfolders
from stemsep.errors import InputError

MIXTURES = ("mixture", "mix")

# What people call their stems; a tree whose songs are called so is of another layout.
_STEMS = frozenset((*recipes.INSTRUMENTS, *recipes.FILE_NAMES, *MIXTURES, "other", "others",
                    "accompaniment", "instrumental", "instruments", "no_vocals"))


def find(root: Path) -> Listing:
    """List the songs below `root`; raises InputError for a tree with one folder a stem."""
    found = in_splits(root, song_folders)
    if stem_names(name for _, name, _ in found) and not any(
            stem_names((path.stem for path in folder.iterdir()), least=1)
            for _, _, folder in found if folder.is_dir()):
        raise InputError(f"{root}: its folders are named after stems and their files are not; if "
                         f"each holds a file a song, give stems:{root}")
    return Listing([Song(split, name, functools.partial(contents, folder))
                    for split, name, folder in found], Remarks(omitted(root)))


def contents(song: Path) -> Contents:
    """Return the stem files and the mixture of a song's folder."""
    found = audio_files(song)
    mixtures = [path for path in found if path.stem.lower() in MIXTURES]
    if len(mixtures) > 1:
        raise InputError(f"{song}: holds both {mixtures[0].name} and {mixtures[1].name}; remove "
                         "one of them, for a song has one mixture")
    stems = [StemFile(Clip(path), path.stem) for path in found if path not in mixtures]
    if not stems:
        raise InputError(f"{song}: holds no stem files (.wav, .flac, ...); {_remedy(song)}")
    return Contents(stems, Clip(mixtures[0]) if mixtures else None)


def _remedy(song: Path) -> str:
    below = [folder.name for folder in subfolders(song)]
    if "stems" in below:
        return "it has a folder 'stems', so give slakh:PATH if it is laid out as Slakh"
    if below:
        return (f"it holds folders ({below[0]}, ...), so give the folder whose folders are songs, "
                "or move it away")
    return "add them, or move the folder away"


def stem_names(names: Iterable[str], least: int = 2) -> bool:
    """Whether half of the names, and `least` of them, are what people call stems."""
    distinct = {recipes.normal(name) for name in names}
    return len(distinct & _STEMS) >= max(least, len(distinct) / 2)


def song_folders(folder: Path) -> list[tuple[str, Path]]:
    """Return (name, folder) of the songs in a folder."""
    return [(song.name, song) for song in subfolders(folder)]
