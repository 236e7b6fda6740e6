"""What moves within a voice of a SoundFont: its two envelopes and its oscillators.

Each is a function of the generators, of which `v` is the list by `Gen`; times in seconds or samples
count from the start of the note. The shapes are those of the SoundFont specification 2.04,
section 8.1.2.
"""

import numpy as np

from stemsep.datasets.sf2 import Gen

RANGE_DB = 100.0        # what the volume envelope falls in its decay or release time
RELEASE_MIN_S = 0.016   # shorter releases click


def seconds(timecents: float) -> float:
    """Seconds of a time in timecents; the default of 1 ms, and all below, is none."""
    return 2 ** (min(timecents, 8000) / 1200) if timecents > -12000 else 0.0


def release_s(v: list[float]) -> float:
    """Seconds in which the volume falls by RANGE_DB after the key is let go."""
    return max(seconds(v[Gen.VOL_RELEASE]), RELEASE_MIN_S)


def decay_of(v: list[float]) -> tuple[float, float]:
    """When the volume envelope begins its decay, in seconds, and how fast it falls, in dB/s."""
    start_s = sum(seconds(v[g]) for g in (Gen.VOL_DELAY, Gen.VOL_ATTACK, Gen.VOL_HOLD))
    return start_s, RANGE_DB / max(seconds(v[Gen.VOL_DECAY]), 1e-3)


def sustain_db(v: list[float]) -> float:
    """How far the volume envelope falls before it stays; RANGE_DB is silence."""
    return min(max(v[Gen.VOL_SUSTAIN] / 10, 0.0), RANGE_DB)


def held_volume(v: list[float], frames: int, rate: int) -> np.ndarray:
    """Gain while the key is down: delay, linear attack, hold, decay linear in decibels, sustain."""
    delay, attack, hold, decay = (seconds(v[g]) * rate for g in (
        Gen.VOL_DELAY, Gen.VOL_ATTACK, Gen.VOL_HOLD, Gen.VOL_DECAY))
    fall_db = sustain_db(v)
    decay *= fall_db / RANGE_DB
    ends = np.round(np.cumsum([delay, attack, hold, decay])).astype(int)
    first, top, fall, flat = np.minimum(ends, frames)
    envelope_N = np.empty(frames, np.float32)
    envelope_N[:first] = 0
    envelope_N[first:top] = np.arange(top - first, dtype=np.float32) / np.float32(max(attack, 1))
    envelope_N[top:fall] = 1
    envelope_N[fall:flat] = _falling(flat - fall, fall_db / max(decay, 1))
    envelope_N[flat:] = 10 ** (-fall_db / 20)
    return envelope_N


def release_volume(v: list[float], frames: int, rate: int) -> np.ndarray:
    """Gain after the key is let go, from 1."""
    return _falling(frames, RANGE_DB / (release_s(v) * rate))


def _falling(frames: int, db_per_sample: float) -> np.ndarray:
    slope = np.float32(-db_per_sample / 20 * np.log(10))
    return np.exp(np.arange(frames, dtype=np.float32) * slope)


def mod_envelope(v: list[float], time_s: np.ndarray, *, released_s: float) -> np.ndarray:
    """The modulation envelope, 0..1: convex attack, then straight lines."""
    stages = [seconds(v[g]) for g in (Gen.MOD_DELAY, Gen.MOD_ATTACK, Gen.MOD_HOLD, Gen.MOD_DECAY)]
    sustain = 1 - min(max(v[Gen.MOD_SUSTAIN], 0), 1000) / 1000
    stages[3] *= 1 - sustain
    corners = np.cumsum([0.0, *stages])

    def held(at_s: np.ndarray) -> np.ndarray:
        level = np.interp(at_s, corners, [0.0, 0.0, 1.0, 1.0, sustain])
        rising = 1 + 40 / 96 * np.log10(np.maximum(level, 1e-5))
        return np.where(at_s < corners[2], np.maximum(rising, 0), level)

    at_release = float(held(np.array([released_s]))[0])
    fall = (time_s - released_s) / max(seconds(v[Gen.MOD_RELEASE]), 1e-3)
    return np.where(time_s < released_s, held(time_s), np.maximum(at_release - fall, 0))


def lfo(v: list[float], delay: int, time_s: np.ndarray) -> np.ndarray:
    """The triangle of an oscillator, -1..1, rising from 0 after its delay; its rate comes next."""
    hertz = 8.176 * 2 ** (v[delay + 1] / 1200)
    return 1 - np.abs((np.maximum(time_s - seconds(v[delay]), 0) * hertz + 0.25) % 1 * 4 - 2)
