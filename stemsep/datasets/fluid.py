"""Songs played by FluidSynth, where its library is installed, and mixed as the demo's are.

FluidSynth plays fonts as their makers heard them, with modulators and effects that the renderer of
the demo songs does not have; the studio (amplifiers, singers, computed drums) is missing here.
"""

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from stemsep.datasets import effects
from stemsep.datasets.production import SILENT, Stem, balance, master
from stemsep.datasets.score import DRUM_CHANNEL, Part, Song
from stemsep.datasets.soundfont import SoundFont
from stemsep.errors import InputError

_OFF, _BEND, _ON = range(3)     # what comes first at one sample
_BEND_RANGE = 2.0               # semitones, unless a part bends further


def produce(song: Song, fonts: Sequence[SoundFont], *, seed: Sequence[int], channels: int,
            sample_rate: int = 44100) -> list[Stem]:
    """Render and mix the song, with a font drawn for every part and a room for all of them.

    The stems are those of `production.produce`: they add up to the mix, none exceeds full scale,
    parts that stay silent give none, and the same seed gives the same stems.
    """
    random = np.random.default_rng([*seed, 0])
    room = _room(random)
    stems = []
    for index, part in enumerate(song.parts):
        own = np.random.default_rng([*seed, 1, index])
        font = fonts[int(own.integers(len(fonts)))]
        wave_CN = play(font, part, seconds=song.seconds, channels=channels,
                       sample_rate=sample_rate, settings=room)
        pan = 0.0 if part.is_drum else float(np.clip(own.normal(0, 0.3), -1, 1))
        wave_CN = effects.place(wave_CN, pan=pan)
        if np.abs(wave_CN).max(initial=0) > SILENT:
            stems.append(Stem(part, f"FluidSynth {font.name}", wave_CN))
    balance(stems, random, sample_rate=sample_rate)
    master(stems, random, sample_rate=sample_rate)
    return stems


def _room(random: Generator) -> dict[str, int | float]:
    """Draw FluidSynth's settings of reverberation and chorus, each for some songs only."""
    return {
        "synth.reverb.active": int(random.random() < 0.7),
        "synth.reverb.room-size": float(random.uniform(0.1, 0.9)),
        "synth.reverb.damp": float(random.uniform(0.0, 0.8)),
        "synth.reverb.width": float(random.uniform(0.2, 1.0)),
        "synth.reverb.level": float(random.uniform(0.2, 1.0)),
        "synth.chorus.active": int(random.random() < 0.3),
    }


def play(font: SoundFont, part: Part, *, seconds: float, channels: int, sample_rate: int,
         settings: dict[str, int | float]) -> np.ndarray:
    """Play a part for `seconds`, float32 [channels, round(seconds·rate)]; mono is the mean.

    settings: of FluidSynth, beside those that make the same arguments give the same samples.
    Notes begin on FluidSynth's grid of 64 samples.
    """
    library, write = _library()
    out_2N = np.zeros((2, round(seconds * sample_rate)), np.float32)
    # A new one for each part: nothing rings on from another, and only what it plays is decoded.
    synth = library.Synth(samplerate=float(sample_rate), channels=16, **settings, **{
        "synth.dynamic-sample-loading": 1, "synth.cpu-cores": 1, "synth.polyphony": 256})
    try:
        number = synth.sfload(str(font.file.path))
        channel = DRUM_CHANNEL if part.is_drum else 0
        if number < 0 or synth.program_select(channel, number, *font.preset(part)) < 0:
            raise InputError(f"{font.file.path}: FluidSynth cannot play it; give another font or "
                             "--renderer=demo")
        bend_range = max([_BEND_RANGE, *(math.ceil(abs(b.semitones)) for b in part.bends)])
        for control, value in ((101, 0), (100, 0), (6, int(bend_range))):
            synth.cc(channel, control, value)
        done = 0
        left, right = (ctypes.c_void_p(wave_N.ctypes.data) for wave_N in out_2N)
        for sample, kind, pitch, value in _events(part, out_2N.shape[1], bend_range, sample_rate):
            write(synth.synth, sample - done, left, done, 1, right, done, 1)
            done = sample
            if kind == _ON:
                synth.noteon(channel, pitch, value)
            elif kind == _OFF:
                synth.noteoff(channel, pitch)
            else:
                synth.pitch_bend(channel, value)
        write(synth.synth, out_2N.shape[1] - done, left, done, 1, right, done, 1)
    finally:
        synth.delete()
    return out_2N if channels == 2 else out_2N.mean(axis=0, keepdims=True)


def _events(part: Part, samples: int, bend_range: float,
            sample_rate: int) -> list[tuple[int, int, int, int]]:
    """List what happens as (sample, kind, pitch, velocity or wheel), in order."""
    events = []
    last: dict[int, int] = {}       # by pitch, when the note before ends: struck again, it has
    for note in reversed(part.notes):
        first = round(note.start_s * sample_rate)
        end = min(max(round(note.end_s * sample_rate), first + 1), last.get(note.pitch, samples))
        last[note.pitch] = first
        events += [(first, _ON, note.pitch, note.velocity), (end, _OFF, note.pitch, 0)]
    for bend in part.bends:
        wheel = max(-8192, min(8191, round(bend.semitones / bend_range * 8192)))
        events.append((round(bend.time_s * sample_rate), _BEND, 0, wheel))
    return sorted(event for event in events if event[0] < samples)


def check() -> None:
    """Raise InputError where FluidSynth or its binding is missing."""
    _library()


@functools.cache
def _library() -> tuple[Any, Any]:
    """Return the module of the binding, and FluidSynth's function that writes floats."""
    try:
        import fluidsynth  # here, because most songs are rendered without it
    # The binding raises other errors than ImportError for a library of the wrong kind.
    except (ImportError, OSError, AttributeError) as problem:
        raise InputError(f"--renderer=fluidsynth: FluidSynth is missing ({problem}); install its "
                         "library (Debian: libfluidsynth3) and its binding (pip install "
                         "pyfluidsynth), or choose --renderer=demo") from problem
    whole, pointer = ctypes.c_int, ctypes.c_void_p
    write = fluidsynth.cfunc(
        "fluid_synth_write_float", whole, ("synth", pointer, 1), ("len", whole, 1),
        ("lout", pointer, 1), ("loff", whole, 1), ("lincr", whole, 1),
        ("rout", pointer, 1), ("roff", whole, 1), ("rincr", whole, 1))
    return fluidsynth, write
