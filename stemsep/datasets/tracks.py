"""A track of a dataset: which files it is made of; nothing of them is read yet."""

from dataclasses import dataclass
from pathlib import Path

from stemsep.audio import Clip

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Variation:
    """How a track differs from the one that it is a copy of.

    of: the name of that track, which has the same files. semitones: by how much it is higher, but
    for the stems `unpitched`. tempo: how many times as fast it is.
    """

    of: str
    semitones: float
    tempo: float
    unpitched: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.of}, {self.semitones:+.2f} semitones, tempo {self.tempo:.3f}"


@dataclass(frozen=True)
class Track:
    """One song: its name, its split, and the files of each stem.

    stems: stem -> files that add up to it, empty where the song has no such stem (it is silent
    there). mixture: the file of the whole song, or None; then the mixture is the sum of the stems.
    variation: what is done to the stems, or None.
    """

    name: str
    split: str
    stems: dict[str, tuple[Clip, ...]]
    mixture: Clip | None = None
    variation: Variation | None = None


def fingerprints(track: Track, root: Path) -> dict[str, tuple[tuple[str, int, int], ...]]:
    """Return stem -> (name, size in bytes, time of change in ns) of each of its files, as they are.

    The names of files below `root` begin there. Raises OSError for one that is not there.
    """
    return {stem: tuple(_fingerprint(clip, root) for clip in clips)
            for stem, clips in track.stems.items()}


def _fingerprint(clip: Clip, root: Path) -> tuple[str, int, int]:
    status = clip.path.stat()
    inside = clip.path.is_relative_to(root)
    path = clip.path.relative_to(root) if inside else clip.path.absolute()
    return path.as_posix() + clip.part, status.st_size, status.st_mtime_ns
