"""`stems:PATH`: one folder a stem, with a file a song in each, which go together by their names.

A song is drums/one.wav with bass/one.flac and, if it is there, mixture/one.wav. The stems' folders
lie in split folders (train, validation, test) or side by side.
"""

import functools
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from stemsep import audio
from stemsep.audio import Clip
from stemsep.datasets.folders import MIXTURES, stem_names
from stemsep.datasets.listing import Contents, Listing, Remarks, Song, counted, some
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.splits import LEFT_OUT, in_splits, omitted, subfolders
from stemsep.errors import InputError

Files = dict[str, list[Path]]       # stem -> files of a song


def find(root: Path) -> Listing:
    """List the songs below `root`; raises InputError for a tree with one folder a song."""
    found = in_splits(root, _songs, needs="one folder a stem, with a file a song in each")
    if stem_names(name for _, name, _ in found):
        raise InputError(f"{root}: its files are named after stems; if each of its folders is a "
                         f"song, give folders:{root}")
    remarks = Remarks(omitted(root), _missing([(name, files) for _, name, files in found]))
    return Listing([Song(split, name, functools.partial(contents, name, files))
                    for split, name, files in found], remarks)


def contents(name: str, files: Files) -> Contents:
    """Return the stem files and the mixture of a song; a stem without a file is silent."""
    stems, mixture = [], None
    for stem, paths in files.items():
        if len(paths) > 1:
            raise InputError(f"{paths[0]}: there is {paths[1].name} too, which would be added up; "
                             "remove one of them")
        if stem.lower() not in MIXTURES:
            stems.append(StemFile(Clip(paths[0]), stem))
        elif mixture is None:
            mixture = Clip(paths[0])
        else:
            raise InputError(f"{paths[0]}: {mixture} is a mixture of {name} too; remove one of "
                             "them")
    if not stems:
        raise InputError(f"{mixture}: no other folder has a file called {name}; add its stems, or "
                         "move it away")
    return Contents(stems, mixture)


def _songs(folder: Path) -> list[tuple[str, Files]]:
    """Return (name, files) of the songs in the stems' folders that lie in `folder`."""
    found: dict[str, Files] = {}
    for stem in subfolders(folder):
        if stem.name.lower() == LEFT_OUT:
            continue
        for path in sorted(stem.iterdir()):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                raise InputError(f"{path}: is a folder within a stem's folder, where only files "
                                 "are read; move its files up, or move it away")
            if path.suffix.lower() in audio.SUFFIXES:
                # macOS takes letters with accents apart: the same name in other bytes.
                name = unicodedata.normalize("NFC", path.stem)
                found.setdefault(name, {}).setdefault(stem.name, []).append(path)
    return sorted(found.items())


def _missing(found: Sequence[tuple[str, Files]]) -> list[str]:
    """Return a sentence for each stem that not every song has: names may not match."""
    sentences = []
    for stem in sorted({stem for _, files in found for stem in files}):
        without = [name for name, files in found if stem not in files]
        if without:
            becomes = ("whose mixture is the sum of the stems" if stem.lower() in MIXTURES
                       else "which are silent there")
            sentences.append(f"{stem} has no file for {len(without)} of {counted(len(found))}, "
                             f"{becomes}: {some(without)}")
    return sentences
