"""Songs to train on with nothing downloaded: composed, played and mixed, in Slakh's layout.

    python -m stemsep.datasets.demo --output data/demo --tracks 24 --seconds 20 --soundfont A.sf3

Every track is a function of (seed, its number, the settings): the same bytes with any number of
workers. Within a track the mix is the exact sum of its stems, as integers.
"""

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from stemsep import command, engine, files, log
from stemsep.config import DemoConfig
from stemsep.datasets import record
from stemsep.datasets.songs import make_track
from stemsep.datasets.soundfont import check_files, default_soundfont
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError

GENERATOR = 8       # raised whenever the same settings give other songs
RECORD = "demo.json"


def make(path: Path | str, *, tracks: int, seconds: float, seed: int = 0, channels: int = 1,
         soundfonts: Sequence[str | Path] = (), workers: int = 0, progress: bool = True) -> int:
    """Write the tracks that `path` lacks and return how many that were.

    workers: processes, 0 for one a core. Raises InputError when `path` holds songs of other
    settings, or is no demo folder, when a font cannot be read, and when a song cannot be made.
    Waits while another process makes songs there.
    """
    root, fonts = Path(path), _font_files(soundfonts)
    settings = _settings(tracks, seconds, seed, channels, fonts)
    record.check(root / RECORD, settings, songs="demo songs")
    if (root / RECORD).exists() and not _missing(root, tracks):
        return 0        # without a lock: the songs may lie where nobody can write
    root.mkdir(parents=True, exist_ok=True)
    with record.alone(root):
        # another process may have been here first
        record.check(root / RECORD, settings, songs="demo songs")
        if not (root / RECORD).exists():
            files.write_json(root / RECORD, settings)
        return _make_missing(root, settings, fonts, workers, progress)


def _make_missing(root: Path, settings: dict[str, Any], fonts: Sequence[str], workers: int,
                  progress: bool) -> int:
    for unfinished in root.glob(".Track*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    missing = _missing(root, settings["tracks"])
    task = functools.partial(make_track, seconds=settings["seconds"], seed=settings["seed"],
                             channels=settings["channels"], fonts=fonts)
    made = 0
    with log.progress(len(missing), "composing songs", unit="song", visible=progress) as bar:
        for (_, folder), result in engine.run(task, missing, workers=workers):
            if isinstance(result, engine.WorkerDied):
                raise InputError(f"{folder}: could not be made, {result}; run the same command "
                                 "again, with fewer workers") from result
            if isinstance(result, Exception):
                raise result
            made += 1
            bar.update()
    return made


def _missing(root: Path, tracks: int) -> list[tuple[int, Path]]:
    """Return the number and the folder of each track that is not there."""
    folders = [_folder(root, index, tracks) for index in range(tracks)]
    return [(index, folder) for index, folder in enumerate(folders) if not folder.is_dir()]


def split_of(index: int, tracks: int) -> str:
    """Name the split of a track: the last 8 % validate, the 12 % before them test.

    Of three tracks or more each split has at least one; of two the second validates.
    """
    validation = max(round(0.08 * tracks), 1 if tracks > 1 else 0)
    test = max(round(0.12 * tracks), 1 if tracks > 2 else 0)
    train, second, third = SPLITS
    if index >= tracks - validation:
        return second
    return third if index >= tracks - validation - test else train


def _settings(tracks: int, seconds: float, seed: int, channels: int,
              fonts: Sequence[str]) -> dict[str, Any]:
    return {"tracks": tracks, "seconds": float(seconds), "seed": seed, "channels": channels,
            "soundfonts": [Path(font).name for font in fonts], "generator": GENERATOR}


def _folder(root: Path, index: int, tracks: int) -> Path:
    return root / split_of(index, tracks) / f"Track{index + 1:05d}"


def _font_files(soundfonts: Sequence[str | Path]) -> list[str]:
    """List the fonts to play with, the default first; a missing file raises InputError."""
    check_files(soundfonts)
    return [str(default_soundfont()), *[str(font) for font in soundfonts]]


def main() -> None:
    """Run the command."""
    output = flags.DEFINE_string("output", "data/demo", "folder for the songs")
    tracks = flags.DEFINE_integer("tracks", DemoConfig.tracks, "number of songs", lower_bound=1)
    seconds = flags.DEFINE_float("seconds", DemoConfig.seconds, "of every song", lower_bound=1)
    seed = flags.DEFINE_integer("seed", DemoConfig.seed, "other songs for each", lower_bound=0)
    channels = flags.DEFINE_integer("channels", DemoConfig.channels, "1 mono, 2 stereo",
                                    lower_bound=1, upper_bound=2)
    soundfonts = flags.DEFINE_multi_string(
        "soundfont", [], "a further .sf2 or .sf3 file; more may follow it, or separate by commas")
    workers = flags.DEFINE_integer("workers", 0, "processes; 0: one a core", lower_bound=0)

    flags.FLAGS.set_gnu_getopt(True)        # flags may follow fonts

    def run(arguments: list[str]) -> None:
        fonts = [name for given in soundfonts.value for name in given.split(",") if name]
        made = make(output.value, tracks=tracks.value, seconds=seconds.value, seed=seed.value,
                    channels=channels.value, soundfonts=fonts + arguments, workers=workers.value)
        print(f"{output.value}: {made} songs made, {tracks.value - made} were there")

    command.run(run)


if __name__ == "__main__":
    main()
