"""A subtractive synthesiser: detuned saws or pulses, a low-pass that opens with every note, an
envelope.

Fonts hold a few frozen waves of this instrument; here every seed is another patch. Oscillators are
band-limited tables; the moving filter is a cross-fade between a dull and a bright rendering of the
note.
"""

import functools

import numpy as np
import scipy.signal

from stemsep.datasets.effects import log_uniform, shelf
from stemsep.datasets.score import Part

_TABLE = 2048


def render_synth(part: Part, patch_seed: int, *, seconds: float, sample_rate: int,
                 channels: int = 1, plucked: bool = False) -> np.ndarray:
    """Play a part on the patch that the seed names, float32 [C, round(seconds·rate)].

    plucked: the sound fades while the key is held. Pitch bends of the part are not played.
    """
    patch = np.random.default_rng(patch_seed)
    voices, spread_cents = int(patch.integers(1, 5)), log_uniform(patch, 2, 25)
    shape = patch.choice(["saw", "saw", "square", "pulse"])
    octave = float(patch.choice([1, 1, 0.5, 2]))
    attack_s = log_uniform(patch, 0.002, 0.02 if plucked else 0.2)
    release_s, decay_s = log_uniform(patch, 0.02, 0.5), log_uniform(patch, 0.08, 0.6)
    sustain = 0.0 if plucked else patch.uniform(0.3, 1)
    dull_hz, bright_hz = log_uniform(patch, 200, 1500), log_uniform(patch, 1500, 14000)
    closing_s, resonance = log_uniform(patch, 0.05, 1.0), log_uniform(patch, 0.6, 4)
    dull = shelf("lowpass", dull_hz, 0, sample_rate=sample_rate, q=resonance)
    bright = shelf("lowpass", bright_hz, 0, sample_rate=sample_rate, q=resonance)
    samples = round(seconds * sample_rate)
    out_CN = np.zeros((channels, samples), np.float32)
    for index, note in enumerate(part.notes):
        first = round(note.start_s * sample_rate)
        held_s = note.end_s - note.start_s
        count = min(round((held_s + 3 * release_s) * sample_rate), samples - first)
        if count <= 1 or first < 0:
            continue
        time_s = np.arange(count) / sample_rate
        pitch_hz = 440 * 2 ** ((note.pitch - 69) / 12)
        envelope = np.minimum(1, time_s / attack_s)
        envelope *= sustain + (1 - sustain) * np.exp(-time_s / decay_s)
        envelope *= np.exp(-np.maximum(time_s - held_s, 0) / release_s)
        envelope[-min(count, 256):] *= np.linspace(1, 0, min(count, 256))
        open_N = np.exp(-time_s / closing_s)
        random = np.random.default_rng((patch_seed, index))
        waves = _oscillators(shape, pitch_hz, time_s, random, voices=voices, octave=octave,
                             spread_cents=spread_cents, channels=channels, rate=sample_rate)
        soft, sharp = scipy.signal.sosfilt(dull, waves), scipy.signal.sosfilt(bright, waves)
        played = (soft + open_N * (sharp - soft)) * envelope * (note.velocity / 127)
        out_CN[:, first:first + count] += played.astype(np.float32)
    return out_CN * np.float32(0.2)


def _oscillators(shape: str, pitch_hz: float, time_s: np.ndarray, random: np.random.Generator, *,
                 voices: int, octave: float, spread_cents: float, channels: int,
                 rate: int) -> np.ndarray:
    """Sum detuned oscillators, the second `octave` times as high; in stereo they alternate."""
    waves = np.zeros((channels, len(time_s)), np.float32)
    for voice in range(voices):
        cents = spread_cents * (2 * voice / max(voices - 1, 1) - 1) if voices > 1 else 0.0
        voice_hz = pitch_hz * 2 ** (cents / 1200) * (octave if voice == 1 else 1.0)
        phase = time_s * voice_hz + random.random()
        table = _table(shape, max(int(0.45 * rate / voice_hz), 1))
        wave = table[(phase * _TABLE).astype(np.int64) % _TABLE]
        sides = np.array([[1.3 if channel == voice % 2 else 0.7] for channel in range(channels)],
                         np.float32)
        waves += wave * (sides if channels == 2 and voices > 1 else np.float32(1))
    return waves / np.float32(np.sqrt(voices))


@functools.lru_cache(maxsize=256)
def _table(shape: str, harmonics: int) -> np.ndarray:
    """Return one period of a wave that has so many harmonics, float32 [2048]."""
    number = np.arange(1, min(harmonics, _TABLE // 4) + 1)
    level = 1 / number
    if shape == "square":
        level = level * (number % 2)
    elif shape == "pulse":      # a quarter of the period
        level = level * np.sin(np.pi * number / 4)
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex128)
    spectrum[number] = -0.5j * _TABLE * level
    return np.fft.irfft(spectrum).astype(np.float32)
