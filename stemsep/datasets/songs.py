"""One demo song from nothing to a folder in Slakh's layout: compose, produce, write.

Songs of MIDI files are written by the same functions.

Kept apart from the command, because worker processes import the module of what they run.
"""

import functools
import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml

from stemsep.datasets.compose import compose
from stemsep.datasets.production import Stem, loudness, produce
from stemsep.datasets.score import DRUM_PROGRAM, Song, inst_class, write_midi
from stemsep.datasets.soundfont import SoundFont
from stemsep.errors import InputError

SAMPLE_RATE = 44100
_ATTEMPTS = 10      # a short song may lie within the silence before its music begins


def make_track(place: tuple[int, Path], *, seconds: float, seed: int, channels: int,
               fonts: Sequence[str]) -> None:
    """Compose, render and write one track, a function of its number, the seed and the settings.

    place: the number and the folder, which appears as `save_track` says. Raises InputError when
    nothing sounds within `seconds`, and when the disk refuses the audio.
    """
    index, folder = place
    loaded = [load_font(font) for font in fonts]
    for attempt in range(_ATTEMPTS):
        song = compose(int(np.random.default_rng((seed, index, attempt)).integers(2**31)), seconds)
        stems = produce(song, loaded, seed=(seed, index), channels=channels,
                        sample_rate=SAMPLE_RATE)
        if stems:
            break
    else:
        raise InputError(f"songs of {seconds:g} s are too short: nothing sounds in {_ATTEMPTS} of "
                         "them; ask for more seconds")
    save_track(folder, song, stems)


def save_track(folder: Path, song: Song, stems: Sequence[Stem], **source: Any) -> None:
    """Write a track `root/split/TrackNNNNN` that appears once it is complete.

    Until then the work is in a hidden folder of the root. source: further entries of its metadata.
    Raises InputError when the disk refuses the audio.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    root = folder.parents[1]
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=root) as unfinished:
        whole = Path(unfinished) / folder.name
        try:
            write_track(whole, song, stems, **source)
        # soundfile checks by an assertion that all was written
        except (soundfile.LibsndfileError, AssertionError) as problem:
            raise InputError(f"{folder}: cannot be written; free some space, or choose a folder "
                             "that you may write to") from problem
        whole.rename(folder)


def write_track(folder: Path, song: Song, stems: Sequence[Stem], **source: Any) -> None:
    """Write a track as Slakh lays it out: 16 bit FLAC, MIDI and metadata.yaml, with `source`."""
    (folder / "stems").mkdir(parents=True)
    (folder / "MIDI").mkdir()
    write_midi(song, folder / "all_src.mid")
    mix = np.zeros((round(song.seconds * SAMPLE_RATE), len(stems[0].wave_CN)), np.int32)
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
    notes = (folder / "all_src.mid").read_bytes()
    metadata = {
        "UUID": hashlib.md5(notes, usedforsecurity=False).hexdigest(),
        "audio_dir": "stems", "lmd_midi_dir": "all_src.mid", "midi_dir": "MIDI",
        # Slakh sets every stem to one loudness; here each has its own, as in a recording.
        "normalization_factor": 0.0, "normalized": False, "overall_gain": 1.0,
        "stems": described, "target_peak": round(peak_db, 2), **source,
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata, default_flow_style=False))


def _describe(stem: Stem) -> dict[str, Any]:
    """Return a stem's entry in metadata.yaml."""
    from pretty_midi.constants import INSTRUMENT_MAP

    part = stem.part
    return {
        "audio_rendered": True, "inst_class": inst_class(part.program, part.is_drum),
        "integrated_loudness": loudness(stem.wave_CN, SAMPLE_RATE), "is_drum": part.is_drum,
        "midi_program_name": "Drums" if part.is_drum else INSTRUMENT_MAP[part.program],
        "midi_saved": True, "plugin_name": stem.sound,
        "program_num": DRUM_PROGRAM if part.is_drum else part.program,
    }


@functools.cache
def load_font(path: str) -> SoundFont:
    """Load a font once a process."""
    try:
        return SoundFont.load(path)
    except (ValueError, OSError) as problem:
        raise InputError(f"{path}: not a SoundFont that can be read ({problem}); give an .sf2 or "
                         ".sf3 file") from problem
