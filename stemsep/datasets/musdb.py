"""`musdb:PATH`: MUSDB18-HQ or MUSDB18 as it is unpacked, with the validation songs of the field.

A song is a folder with vocals.wav, drums.wav, bass.wav, other.wav and mixture.wav or, in MUSDB18, a
file NAME.stem.mp4, whose five streams of audio need the extra `ffmpeg`.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

from stemsep.audio import Clip
from stemsep.datasets import folders, splits
from stemsep.datasets.listing import Contents, Listing, Remarks, Song
from stemsep.datasets.recipes import StemFile
from stemsep.errors import InputError

_SUFFIX = ".stem.mp4"
_STREAMS = ("drums", "bass", "other", "vocals")     # the first stream, before these, is the mixture

# The 14 training songs that the field holds out.
VALIDATION = frozenset((
    "ANiMAL - Rockshow", "Actions - One Minute Smile", "Alexander Ross - Goodbye Bolero",
    "Clara Berry And Wooldog - Waltz For My Victims", "Fergessen - Nos Palpitants",
    "James May - On The Line", "Johnny Lokke - Promises & Lies", "Leaf - Summerghost",
    "Meaxic - Take A Step", "Patrick Talbot - A Reason To Leave", "Skelpolu - Human Mistakes",
    "Traffic Experiment - Sirens", "Triviul - Angelsaint", "Young Griffo - Pennies",
))


def find(root: Path) -> Listing:
    """List the songs below `root`."""
    found = splits.in_splits(root, _songs, hold_out=hold_out,
                             needs=f"one folder or one {_SUFFIX} file a song")
    return Listing([Song(split, name, functools.partial(contents, place))
                    for split, name, place in found], Remarks(splits.omitted(root)))


def contents(song: Path) -> Contents:
    """Return the stem files and the mixture of a song: its folder, or its .stem.mp4."""
    if not _compressed(song):
        return folders.contents(song)
    if not song.is_file():
        raise InputError(f"{song}: there is no such file; correct the link, or remove it")
    return Contents([StemFile(Clip(song, stream=number), stem)
                     for number, stem in enumerate(_STREAMS, 1)], Clip(song))


def _songs(folder: Path) -> list[tuple[str, Path]]:
    files = [(path.name[:-len(_SUFFIX)], path) for path in sorted(folder.iterdir())
             if _compressed(path) and not path.name.startswith(".")]
    return [song for song in folders.song_folders(folder) if not _compressed(song[1])] + files


def _compressed(song: Path) -> bool:
    return song.name.lower().endswith(_SUFFIX)


def hold_out(names: Sequence[str]) -> dict[str, str]:
    """Return name -> train or validation: the field's songs or, where none is there, a tenth."""
    if not VALIDATION.intersection(names):
        return splits.hold_out(names)
    return {name: "validation" if name in VALIDATION else "train" for name in names}
