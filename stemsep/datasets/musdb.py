"""`musdb:PATH`: MUSDB18-HQ as it is unpacked, with the validation songs of the field.

A song is a folder with vocals.wav, drums.wav, bass.wav, other.wav and mixture.wav. The compressed
edition (.stem.mp4) is not read.
"""

from collections.abc import Sequence
from pathlib import Path

from stemsep.datasets import folders
from stemsep.errors import InputError

files = folders.files

# The 14 training songs that the field holds out.
VALIDATION = frozenset((
    "ANiMAL - Rockshow", "Actions - One Minute Smile", "Alexander Ross - Goodbye Bolero",
    "Clara Berry And Wooldog - Waltz For My Victims", "Fergessen - Nos Palpitants",
    "James May - On The Line", "Johnny Lokke - Promises & Lies", "Leaf - Summerghost",
    "Meaxic - Take A Step", "Patrick Talbot - A Reason To Leave", "Skelpolu - Human Mistakes",
    "Traffic Experiment - Sirens", "Triviul - Angelsaint", "Young Griffo - Pennies",
))


def find(root: Path) -> list[tuple[str, Path]]:
    """Return (split, folder) of every song; raises InputError for the compressed edition."""
    if next(root.glob("*/*.stem.mp4"), None):
        raise InputError(f"{root}: holds MUSDB18's compressed songs (.stem.mp4), which are not "
                         "read; use MUSDB18-HQ, or convert them to WAV with the stempeg package")
    return folders.in_splits(root, folders.split_by_name, hold_out=hold_out)


def hold_out(names: Sequence[str]) -> dict[str, str]:
    """Return name -> train or validation: the field's songs or, where none is there, a tenth."""
    if not VALIDATION.intersection(names):
        return folders.hold_out(names)
    return {name: "validation" if name in VALIDATION else "train" for name in names}
