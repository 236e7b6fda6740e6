"""A track of a dataset: which files it is made of; nothing of them is read yet."""

from dataclasses import dataclass

from stemsep.audio import Clip

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Track:
    """One song: its name, its split, and the files of each stem.

    stems: stem -> files that add up to it, empty where the song has no such stem (it is silent
    there). mixture: the file of the whole song, or None; then the mixture is the sum of the stems.
    """

    name: str
    split: str
    stems: dict[str, tuple[Clip, ...]]
    mixture: Clip | None = None
