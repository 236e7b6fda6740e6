"""Songs to train on with nothing downloaded: composed, rendered, mixed and written in Slakh's layout.

    python -m stemsep.datasets.demo --output data/demo --tracks 24 --seconds 20 [--soundfont FONT.sf3]

Every track is a function of (seed, its number, the settings): the same bytes with any number of workers. Within a
track the mix is the exact sum of its stems, as integers.
"""

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from absl import flags
from tqdm import tqdm

from stemsep import command, engine
from stemsep.config import DemoConfig
from stemsep.datasets.compose import compose
from stemsep.datasets.production import Stem, loudness, produce
from stemsep.datasets.score import DRUM_PROGRAM, Song, inst_class, write_midi
from stemsep.datasets.soundfont import SoundFont, default_soundfont
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError

SAMPLE_RATE = 44100
GENERATOR = 1       # raised whenever the same settings give other songs
RECORD = "demo.json"


def make(path: Path | str, *, tracks: int, seconds: float, seed: int = 0, channels: int = 1,
         soundfonts: Sequence[str | Path] = (), workers: int = 0, progress: bool = True) -> int:
    """Write the tracks that `path` lacks and return how many that were.

    workers: processes, 0 for one a core. Raises InputError when `path` holds songs of other settings, or is no
    demo folder, and when a font cannot be read.
    """
    root, fonts = Path(path), _font_files(soundfonts)
    settings = _settings(tracks, seconds, seed, channels, fonts)
    _check_record(root, settings)
    for unfinished in root.glob(".Track*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    missing = [index for index in range(tracks) if not _folder(root, index, tracks).is_dir()]
    task = functools.partial(make_track, root, tracks=tracks, seconds=seconds, seed=seed, channels=channels, fonts=fonts)
    made = 0
    with tqdm(total=len(missing), desc="composing songs", unit="song", disable=not progress) as bar:
        for _, result in engine.run(task, missing, workers=workers):
            if isinstance(result, Exception):
                raise result
            made += 1
            bar.update()
    return made


def complete(path: Path | str, *, tracks: int, seconds: float, seed: int = 0, channels: int = 1,
             soundfonts: Sequence[str | Path] = ()) -> bool:
    """Tell whether `path` holds all tracks of these settings, so that `make` would have nothing to do."""
    root = Path(path)
    record = _read_record(root)
    return (record == _settings(tracks, seconds, seed, channels, _font_files(soundfonts))
            and all(_folder(root, index, tracks).is_dir() for index in range(tracks)))


def split_of(index: int, tracks: int) -> str:
    """Name the split of a track: the last 8 % are for validation and testing has 12 % before them; of three tracks
    or more each has at least one."""
    validation = max(round(0.08 * tracks), 1 if tracks > 1 else 0)
    test = max(round(0.12 * tracks), 1 if tracks > 2 else 0)
    train, second, third = SPLITS
    if index >= tracks - validation:
        return second
    return third if index >= tracks - validation - test else train


def make_track(root: Path, index: int, *, tracks: int, seconds: float, seed: int, channels: int,
               fonts: Sequence[str]) -> int:
    """Compose, render and write one track; its folder appears under its name once it is complete."""
    song = compose(int(np.random.default_rng((seed, index)).integers(2**31)), seconds)
    stems = produce(song, [_font(font) for font in fonts], seed=(seed, index), channels=channels,
                    sample_rate=SAMPLE_RATE)
    folder = _folder(root, index, tracks)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=root) as unfinished:
        whole = Path(unfinished) / folder.name
        write_track(whole, song, stems)
        whole.rename(folder)
    return index


def write_track(folder: Path, song: Song, stems: Sequence[Stem]) -> None:
    """Write a track as Slakh lays it out: 16 bit FLAC, MIDI and metadata.yaml."""
    (folder / "stems").mkdir(parents=True)
    (folder / "MIDI").mkdir()
    write_midi(song, folder / "all_src.mid")
    mix = np.zeros((round(song.seconds * SAMPLE_RATE), len(stems[0].wave_CN) if stems else 1), np.int32)
    described = {}
    for number, stem in enumerate(stems):
        name = f"S{number:02d}"
        integers = np.round(stem.wave_CN.T * 32767).astype(np.int16)
        mix += integers
        soundfile.write(folder / "stems" / f"{name}.flac", integers, SAMPLE_RATE, subtype="PCM_16")
        write_midi(song, folder / "MIDI" / f"{name}.mid", parts=[stem.part])
        described[name] = _describe(stem)
    soundfile.write(folder / "mix.flac", mix.astype(np.int16), SAMPLE_RATE, subtype="PCM_16")
    peak_db = 20 * float(np.log10(max(np.abs(mix).max(initial=0), 1) / 32767))
    metadata = {
        "UUID": hashlib.md5((folder / "all_src.mid").read_bytes(), usedforsecurity=False).hexdigest(),
        "audio_dir": "stems", "lmd_midi_dir": "all_src.mid", "midi_dir": "MIDI",
        # Slakh sets every stem to one loudness; here each has its own, as in a recording.
        "normalization_factor": 0.0, "normalized": False, "overall_gain": 1.0,
        "stems": described, "target_peak": round(peak_db, 2),
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata, default_flow_style=False))


def _describe(stem: Stem) -> dict[str, Any]:
    """Return a stem's entry in metadata.yaml."""
    from pretty_midi.constants import INSTRUMENT_MAP

    part = stem.part
    return {
        "audio_rendered": True, "inst_class": inst_class(part.program, part.is_drum),
        "integrated_loudness": loudness(stem.wave_CN, SAMPLE_RATE), "is_drum": part.is_drum,
        "midi_program_name": "Drums" if part.is_drum else INSTRUMENT_MAP[part.program], "midi_saved": True,
        "plugin_name": stem.sound, "program_num": DRUM_PROGRAM if part.is_drum else part.program,
    }


def _settings(tracks: int, seconds: float, seed: int, channels: int, fonts: Sequence[str]) -> dict[str, Any]:
    return {"tracks": tracks, "seconds": float(seconds), "seed": seed, "channels": channels,
            "soundfonts": [Path(font).name for font in fonts], "generator": GENERATOR}


def _check_record(root: Path, settings: dict[str, Any]) -> None:
    """Write the record of a new folder; raise InputError when an old one has other settings."""
    record = _read_record(root)
    if record is None:
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise InputError(f"{root} exists and is no folder of demo songs (it has no {RECORD}); choose another folder")
        root.mkdir(parents=True, exist_ok=True)
        part = root / f".{RECORD}"
        part.write_text(json.dumps(settings, indent=1) + "\n")
        part.rename(root / RECORD)
        return
    for name, value in settings.items():
        if record.get(name) != value:
            raise InputError(f"{root} holds demo songs made with {name} {record.get(name)!r}, not {value!r}; "
                             "choose another folder or delete this one")


def _read_record(root: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((root / RECORD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as problem:
        raise InputError(f"{root / RECORD} is damaged ({problem}); delete the folder or choose another") from problem
    return record if isinstance(record, dict) else {}


def _folder(root: Path, index: int, tracks: int) -> Path:
    return root / split_of(index, tracks) / f"Track{index + 1:05d}"


def _font_files(soundfonts: Sequence[str | Path]) -> list[str]:
    """List the fonts to play with, the default first; raises InputError for a file that is missing."""
    for font in soundfonts:
        if not Path(font).is_file():
            raise InputError(f"{font}: no such SoundFont; give .sf2 or .sf3 files")
    return [str(default_soundfont()), *[str(font) for font in soundfonts]]


@functools.cache
def _font(path: str) -> SoundFont:
    """Load a font once a process."""
    try:
        return SoundFont.load(path)
    except (ValueError, OSError) as problem:
        raise InputError(f"{path}: not a SoundFont that can be read ({problem}); give an .sf2 or .sf3 file") from problem


_OUTPUT = flags.DEFINE_string("output", "data/demo", "folder for the songs")
_TRACKS = flags.DEFINE_integer("tracks", DemoConfig.tracks, "number of songs", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", DemoConfig.seconds, "length of a song", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", DemoConfig.seed, "another seed gives other songs", lower_bound=0)
_CHANNELS = flags.DEFINE_integer("channels", DemoConfig.channels, "1 mono, 2 stereo", lower_bound=1, upper_bound=2)
_SOUNDFONTS = flags.DEFINE_multi_string("soundfont", [], "a further .sf2 or .sf3 file; repeat, or list more after it")
_WORKERS = flags.DEFINE_integer("workers", 0, "processes; 0: one a core", lower_bound=0)


def main(arguments: list[str]) -> None:
    """Make the songs that the flags describe; further arguments are SoundFonts."""
    fonts = [name for given in _SOUNDFONTS.value for name in given.split(",") if name] + arguments
    made = make(_OUTPUT.value, tracks=_TRACKS.value, seconds=_SECONDS.value, seed=_SEED.value, channels=_CHANNELS.value,
                soundfonts=fonts, workers=_WORKERS.value)
    print(f"{_OUTPUT.value}: {made} songs made, {_TRACKS.value - made} were there")


if __name__ == "__main__":
    command.run(main)
