"""What a layout finds below its root: songs, whose files are looked up one by one, and remarks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stemsep.audio import Clip
from stemsep.datasets.recipes import StemFile

_NAMED = 3          # so many songs are named in a sentence about many


class Contents(NamedTuple):
    """The files of a song, not grouped yet.

    left_out: which of its files are not used, and why. warnings: what else is odd about them.
    origin: what songs share that are the same music; empty where nothing says.
    """

    files: list[StemFile]
    mixture: Clip | None = None
    left_out: Sequence[str] = ()
    warnings: Sequence[str] = ()
    origin: str = ""


class Song(NamedTuple):
    """contents() looks up its files; raises InputError or OSError when it cannot be used."""

    split: str
    name: str
    contents: Callable[[], Contents]


@dataclass
class Remarks:
    """Sentences on a source: what is left out of it and why, and what a user should know of."""

    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Listing(NamedTuple):
    """The songs that a layout finds, and its remarks on all of them."""

    songs: list[Song]
    remarks: Remarks


def some(names: Sequence[str]) -> str:
    """Return the first of the names, in order, for a sentence that has said how many there are."""
    return ", ".join(sorted(names)[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def counted(count: int) -> str:
    """Return "1 song", "2 songs"."""
    return f"{count} song{'s' * (count != 1)}"
