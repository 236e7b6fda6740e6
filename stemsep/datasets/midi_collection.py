"""A collection of MIDI files, and which tracks of a folder are songs of which of them.

A song is known by its file's content: a file may be renamed or moved, and is no new song. Numbers,
once given, are kept in the index of the folder of tracks; splits are a function of the collection.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from stemsep import files
from stemsep.datasets import record
from stemsep.datasets.midi_file import content
from stemsep.datasets.midi_songs import Heard, digest
from stemsep.datasets.splits import SPLIT_FOLDERS, hold_out, split_by_name
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError

SUFFIXES = (".mid", ".midi", ".kar")
INDEX = "midi_songs.json"
_SAVE_EVERY_S = 60.0


class MidiFile(NamedTuple):
    """A file of a collection. name: its path in there; split: what its folder says, or ""."""

    path: Path
    name: str
    digest: str
    split: str


@dataclass
class Entry:
    """What the index holds of a file's content; number 0 until it has one."""

    name: str
    seconds: float
    parts: int
    split: str = ""
    number: int = 0


@dataclass
class Index:
    """What is known of a collection. songs: by digest; unusable: digest -> why it is left out.

    folder: where the collection was last.
    """

    folder: str = ""
    songs: dict[str, Entry] = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, root: Path) -> "Index":
        """Read the index of a folder of tracks, empty where there is none."""
        values = record.read(root / INDEX) or {}
        try:
            songs = {key: Entry(**entry) for key, entry in values.get("songs", {}).items()}
            return cls(values.get("folder", ""), songs, dict(values.get("unusable", {})))
        except (TypeError, ValueError, AttributeError) as problem:
            raise InputError(f"{root / INDEX} is damaged ({problem}); delete the folder or choose "
                             "another") from problem

    def save(self, root: Path) -> None:
        """Write the index, whole or not at all, and in one order whoever heard the files first."""
        songs = sorted(self.songs.items(), key=lambda item: (item[1].number, item[1].name))
        self.songs, self.unusable = dict(songs), dict(sorted(self.unusable.items()))
        files.write_json(root / INDEX, asdict(self))


def find(root: Path, *, without: Path, left_out: dict[str, str]) -> list[MidiFile]:
    """Return the files of a collection by name, those of the same content once.

    Copies, and files that cannot be read, are entered in `left_out`, name -> why. Folders called
    train, validation or test say in which split what is in them is. Raises as `midi_paths`.
    """
    places = midi_paths(root, without=without)
    splits = {name: SPLIT_FOLDERS.get(name.split("/")[0].lower(), "") if "/" in name else ""
              for name, _ in places}
    found: dict[str, MidiFile] = {}
    for name, path in places:
        if not splits[name] and any(splits.values()):
            left_out[name] = "lies beside the folders of splits and is in none; move it into one"
            continue
        try:
            key = digest(content(path))
        except InputError as problem:
            left_out[name] = str(problem)
            continue
        if key in found:
            left_out[name] = f"is the same file as {found[key].name}"
        else:
            found[key] = MidiFile(path, name, key, splits[name])
    return list(found.values())


def midi_paths(root: Path, *, without: Path) -> list[tuple[str, Path]]:
    """Return name and path of the MIDI files in `root` at any depth, by name.

    Hidden ones, and those in the folder `without`, are none of them. Raises InputError where there
    is no other.
    """
    if not root.is_dir():
        raise InputError(f"{root}: {'is a file' if root.exists() else 'there is no such folder'}; "
                         "give the folder that holds the MIDI files")
    found, own = [], without.resolve()
    for path in root.rglob("*"):
        within = path.relative_to(root)
        if (path.suffix.lower() in SUFFIXES and path.is_file()
                and not any(piece.startswith(".") for piece in within.parts)
                and own not in path.resolve().parents):
            # A name that is no text is kept as well as it can be.
            found.append((os.fsencode(within).decode("utf-8", "replace"), path))
    if not found:
        raise InputError(f"{root}: holds no MIDI files ({', '.join(SUFFIXES)}); give the folder "
                         "that does")
    return sorted(found)


def check_same(index: Index, root: Path, found: Sequence[MidiFile], tracks: Path) -> None:
    """Raise InputError when the tracks are of another collection, whose songs would be lost.

    A collection that was moved or copied is the same while most of its songs are in it.
    """
    present = {file.digest for file in found}
    known = sum(key in present for key in index.songs)
    if index.songs and index.folder != str(root.resolve()) and 2 * known < len(index.songs):
        raise InputError(f"{tracks} holds songs of the MIDI files in {index.folder}, of which "
                         f"{root} has {known} of {len(index.songs)}; choose another folder")


def learn(index: Index, found: Sequence[MidiFile], heard: Iterable[tuple[MidiFile, Heard | str]],
          save: Callable[[], None]) -> None:
    """Enter what files gave, a song or the reason why none; then number the new songs by name.

    save: called every minute, so that an interrupted run need not read all files again.
    """
    saved_s = time.monotonic()
    for file, result in heard:
        if isinstance(result, str):
            index.unusable[file.digest] = result
        else:
            index.songs[file.digest] = Entry(file.name, round(result.seconds, 3), result.parts)
        if time.monotonic() - saved_s > _SAVE_EVERY_S:
            save()
            saved_s = time.monotonic()
    last = max((entry.number for entry in index.songs.values()), default=0)
    for file in found:
        entry = index.songs.get(file.digest)
        if entry is not None:
            entry.name, entry.split = file.name, file.split
            if not entry.number:
                last += 1
                entry.number = last
    for key in [key for key, entry in index.songs.items() if not entry.number]:
        del index.songs[key]        # an interrupted run read it, and now its file is gone


def forget_changed(index: Index, found: Sequence[MidiFile]) -> list[Entry]:
    """Take out of the index, and return, the songs of files that have another content now.

    A song whose file is gone stays.
    """
    present, names = {file.digest for file in found}, {file.name for file in found}
    changed = {key: entry for key, entry in index.songs.items()
               if key not in present and entry.name in names}
    for key in changed:
        del index.songs[key]
    return sorted(changed.values(), key=lambda entry: entry.number)


def divide(index: Index) -> dict[str, str]:
    """Return digest -> split: as the files' folders say, else by a hash of the content.

    Further files move hardly any; where folders name no song for validation, a tenth of the
    training songs is held out.
    """
    given = {key: entry.split for key, entry in index.songs.items()}
    if not any(given.values()):
        return split_by_name(list(given))
    train, validation, _ = SPLITS
    # The split of a song whose file is gone may be unknown: it stays out of validation and test.
    splits = {key: split or train for key, split in given.items()}
    if not Counter(splits.values())[validation]:
        splits |= hold_out([key for key, split in splits.items() if split == train])
    return splits
