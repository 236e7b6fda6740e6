"""Which songs a command separates, what they are called, and where their stems go."""

from collections.abc import Iterable
from pathlib import Path

from stemsep import audio


def plan(arguments: Iterable[str | Path], output: str | Path) -> list[tuple[Path, Path]]:
    """Return each song with the folder of its stems: OUTPUT/<name>.

    A folder stands for the audio files in it at any depth, but those under OUTPUT; the name of such
    a song has its subfolders. A file that is merely called the mixture has its folder's name. Songs
    of one name are kept apart: song, song.flac, song (2). A path that is not there is kept:
    separating it says so.
    """
    output = Path(output)
    songs: dict[Path, tuple[Path, Path]] = {}   # resolved: a song named twice is separated once
    for argument in map(Path, arguments):
        inside = sorted(argument.rglob("*")) if argument.is_dir() else []
        found = [(path, path.relative_to(argument)) for path in inside
                 if path.suffix.lower() in audio.SUFFIXES and not path.name.startswith(".")
                 and path.is_file() and output.resolve() not in path.resolve().parents]
        for path, name in found if argument.is_dir() else [(argument, Path(argument.name))]:
            if is_mixture(path):
                name = name.parent.parent / (song_name(path) + path.suffix)
            songs.setdefault(path.resolve(), (path, name))
    jobs, taken = [], set()
    for path, name in songs.values():
        numbered = (name.with_name(f"{name.stem} ({n})") for n in range(2, len(songs) + 2))
        folder = next(folder for folder in (name.with_suffix(""), name, *numbered)
                      if str(folder).casefold() not in taken)       # some disks ignore case
        taken.add(str(folder).casefold())
        jobs.append((path, output / folder))
    return jobs


def is_mixture(path: Path) -> bool:
    """Whether a file's name says no more than that it is the mixture of the song in its folder."""
    return path.stem.lower() in ("mix", "mixture") and path.resolve().parent.name != ""


def song_name(path: Path) -> str:
    """Return the name of a song: its file's, or its folder's where the file is a mere mixture."""
    return path.resolve().parent.name if is_mixture(path) else path.stem
