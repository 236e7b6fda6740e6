"""Which songs a command separates, and what they are called."""

import glob
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from stemsep import audio, remote
from stemsep.errors import InputError


@dataclass(frozen=True)
class Job:
    """A song to separate: a path or an address, and its name, with its subfolders."""

    source: str
    name: str


def plan(arguments: Iterable[str | Path], output: str | Path) -> list[Job]:
    """Return the songs that arguments stand for: files, folders, patterns and addresses.

    A folder stands for the audio files in it at any depth, but those under `output`; the name of
    such a song has its subfolders. A pattern, as in 'songs/**/*.mp3', stands for the files that it
    fits. A file that is merely called the mixture has its folder's name. Songs of one name are kept
    apart: song, song.flac, song (2). A path that is not there is kept: separating it says so.
    """
    songs: dict[str, tuple[str, PurePath]] = {}     # resolved: a song named twice is one
    for argument in map(str, arguments):
        for key, source, name in _found(argument, output):
            songs.setdefault(key, (source, name))
    jobs, taken = [], set()
    for source, name in songs.values():
        numbered = (name.with_name(f"{name.stem} ({n})") for n in range(2, len(songs) + 2))
        free = next(free for free in (name.with_suffix(""), name, *numbered)
                    if str(free).casefold() not in taken)   # some disks ignore case
        taken.add(str(free).casefold())
        jobs.append(Job(source, free.as_posix()))
    return jobs


def read_list(path: str) -> list[str]:
    """Return the songs of a list: a line each, of a file or, for "-", of standard input. Empty
    lines and those that begin with # are none.
    """
    try:
        lines = (sys.stdin.read() if path == "-" else Path(path).read_text()).splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"--list {path}: is no text; give a file with a path a line") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def shard(jobs: list[Job], part: str) -> list[Job]:
    """Return one part of the songs, as "2/8": every eighth from the second on; empty: all."""
    if not part:
        return jobs
    own, count = shard_numbers(part)
    return jobs[own - 1::count]


def shard_numbers(part: str) -> tuple[int, int]:
    """Return the two numbers of "2/8"; raises InputError for what is none."""
    own, _, count = part.partition("/")
    if not (own.isdecimal() and count.isdecimal() and 1 <= int(own) <= int(count)):
        raise InputError(f"--shard {part}: is not as 2/8, the second of eight parts; they count "
                         "from 1")
    return int(own), int(count)


def _found(argument: str, output: str | Path) -> list[tuple[str, str, PurePath]]:
    """Return (key, source, name) of each song that an argument stands for."""
    if remote.is_remote(argument):
        return _found_remote(argument)
    path = Path(argument)
    if path.is_dir():
        kept = Path(output).resolve()
        inside = [(found, found.relative_to(path)) for found in sorted(path.rglob("*"))
                  if _is_song(found) and kept not in found.resolve().parents]
    elif not path.exists() and glob.has_magic(argument):
        inside = [(found, Path(found.name)) for found in
                  sorted(map(Path, glob.glob(argument, recursive=True))) if _is_song(found)]
    else:
        inside = [(path, Path(path.name))]
    return [(str(found.resolve()), str(found), _named(found, name)) for found, name in inside]


def _named(path: Path, name: Path) -> PurePath:
    return name.parent.parent / (song_name(path) + path.suffix) if is_mixture(path) else name


def _found_remote(argument: str) -> list[tuple[str, str, PurePath]]:
    files = remote.listing(argument, audio.SUFFIXES)
    named: list[tuple[str, str, PurePath]] = []
    for file, inner in files or [(argument, argument.rsplit("/", 1)[-1])]:
        name, whole = PurePosixPath(inner), PurePosixPath(file)
        if whole.stem.lower() in ("mix", "mixture"):
            name = name.parent.parent / (whole.parent.name + whole.suffix)
        named.append((file, file, name))
    return named


def _is_song(path: Path) -> bool:
    return (path.suffix.lower() in audio.SUFFIXES and not path.name.startswith(".")
            and path.is_file())


def is_mixture(path: Path) -> bool:
    """Whether a file's name says no more than that it is the mixture of the song in its folder."""
    return path.stem.lower() in ("mix", "mixture") and path.resolve().parent.name != ""


def song_name(path: Path) -> str:
    """Return the name of a song: its file's, or its folder's where the file is a mere mixture."""
    return path.resolve().parent.name if is_mixture(path) else path.stem
