"""What a studio does to a stem: filters, dynamics, distortion, rooms, delays; float32 [C, N] in and
out, length kept.

Each effect is a pure function of its arguments; those with a `random` generator draw their settings
from it. They are made for cheap variety rather than for beauty: envelopes run on a control rate,
rooms are one FFT convolution.
"""

from collections.abc import Sequence

import numpy as np
import scipy.signal
from numpy.random import Generator

_CONTROL_SAMPLES = 64       # one value of an envelope for so many samples
_FLOOR_DB = -100.0


def shelf(kind: str, frequency_hz: float, gain_db: float, *, sample_rate: int,
          q: float = 0.7) -> np.ndarray:
    """Return one biquad, float32 [1, 6], as the Audio EQ Cookbook (Bristow-Johnson) has it.

    kind: "low", "high" (shelves), "peak", "lowpass" or "highpass" (the last two ignore the gain).
    The frequency is kept below 0.45 of the sample rate.
    """
    w = 2 * np.pi * min(frequency_hz, 0.45 * sample_rate) / sample_rate
    cos, alpha, a = np.cos(w), np.sin(w) / (2 * q), 10 ** (gain_db / 40)
    root = 2 * np.sqrt(a) * alpha
    if kind == "peak":
        b, d = (1 + alpha * a, -2 * cos, 1 - alpha * a), (1 + alpha / a, -2 * cos, 1 - alpha / a)
    elif kind == "lowpass":
        b, d = ((1 - cos) / 2, 1 - cos, (1 - cos) / 2), (1 + alpha, -2 * cos, 1 - alpha)
    elif kind == "highpass":
        b, d = ((1 + cos) / 2, -1 - cos, (1 + cos) / 2), (1 + alpha, -2 * cos, 1 - alpha)
    else:
        s = 1.0 if kind == "low" else -1.0
        b = (a * (a + 1 - s * (a - 1) * cos + root), s * 2 * a * (a - 1 - s * (a + 1) * cos),
             a * (a + 1 - s * (a - 1) * cos - root))
        d = (a + 1 + s * (a - 1) * cos + root, -s * 2 * (a - 1 + s * (a + 1) * cos),
             a + 1 + s * (a - 1) * cos - root)
    return (np.array([[*b, *d]]) / d[0]).astype(np.float32)


def equalise(wave_CN: np.ndarray, *biquads: np.ndarray) -> np.ndarray:
    """Run the wave through biquads one after another."""
    return scipy.signal.sosfilt(np.concatenate(biquads), wave_CN).astype(np.float32)


def random_eq(wave_CN: np.ndarray, random: Generator, *, sample_rate: int,
              depth_db: float = 6.0) -> np.ndarray:
    """Colour the wave with two to five shelves and peaks of up to ± depth_db."""
    biquads = []
    for _ in range(random.integers(2, 6)):
        kind = random.choice(["low", "high", "peak", "peak", "peak"])
        low_hz, high_hz = {"low": (60, 400), "high": (2000, 10000)}.get(kind, (80, 10000))
        biquads.append(shelf(kind, log_uniform(random, low_hz, high_hz),
                             random.uniform(-depth_db, depth_db), sample_rate=sample_rate,
                             q=log_uniform(random, 0.4, 4) if kind == "peak" else 0.7))
    return equalise(wave_CN, *biquads)


def band_limit(wave_CN: np.ndarray, *, low_hz: float, high_hz: float, sample_rate: int,
               order: int = 2) -> np.ndarray:
    """Cut what lies below low_hz and above high_hz, by `order` biquads a side; 0 or 0.45·rate and
    more cut nothing."""
    biquads = []
    if low_hz > 0:
        biquads += [shelf("highpass", low_hz, 0, sample_rate=sample_rate)] * order
    if high_hz < 0.45 * sample_rate:
        biquads += [shelf("lowpass", high_hz, 0, sample_rate=sample_rate)] * order
    return equalise(wave_CN, *biquads) if biquads else wave_CN


def log_uniform(random: Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def compress(wave_CN: np.ndarray, *, threshold_db: float, ratio: float, attack_s: float,
             release_s: float, sample_rate: int) -> np.ndarray:
    """Turn down what exceeds the threshold (dB re the wave's own rms), all channels alike."""
    return wave_CN * compression_gain(wave_CN, threshold_db=threshold_db, ratio=ratio,
                                      attack_s=attack_s, release_s=release_s,
                                      sample_rate=sample_rate)


def compression_gain(wave_CN: np.ndarray, *, threshold_db: float, ratio: float, attack_s: float,
                     release_s: float, sample_rate: int) -> np.ndarray:
    """Return the gain of `compress`, float32 [N]: applied to all stems of a mix, it keeps their
    sum."""
    level_db = _hold(_level_db(wave_CN), release_s, sample_rate) - _rms_db(wave_CN)
    cut_db = np.minimum(0, threshold_db - level_db) * (1 - 1 / ratio)
    return _gain(_smooth(cut_db, attack_s, sample_rate), wave_CN.shape[1])


def shape_transients(wave_CN: np.ndarray, *, attack_db: float, sustain_db: float,
                     sample_rate: int) -> np.ndarray:
    """Raise (or lower) the attacks and what follows them: the sign of fast minus slow envelope
    tells them apart."""
    fast_db = _hold(_level_db(wave_CN), 0.06, sample_rate)
    slow_db = _smooth(fast_db, 0.05, sample_rate)
    rise = np.clip((fast_db - slow_db) / 12, -1, 1)
    change_db = attack_db * np.maximum(rise, 0) + sustain_db * np.maximum(-rise, 0)
    return wave_CN * _gain(change_db, wave_CN.shape[1])


def duck(wave_CN: np.ndarray, times_s: Sequence[float], *, depth_db: float, release_s: float,
         sample_rate: int) -> np.ndarray:
    """Turn the wave down by depth_db at each of the times; it comes back to half of that in
    release_s."""
    count = -(-wave_CN.shape[1] // _CONTROL_SAMPLES)
    control_s = np.arange(count) * (_CONTROL_SAMPLES / sample_rate)
    change_db = np.zeros(count)
    for time_s in times_s:
        since_s = control_s - time_s
        onset = np.clip(since_s / 0.003 + 1, 0, 1)      # 3 ms, so that it does not click
        dip_db = -depth_db * onset * 0.5 ** (np.maximum(since_s, 0) / release_s)
        np.minimum(change_db, dip_db, out=change_db)
    return wave_CN * _gain(change_db, wave_CN.shape[1])


def hiss(wave_CN: np.ndarray, random: Generator, *, level_db: float,
         sample_rate: int) -> np.ndarray:
    """Add the noise of an amplifier or a tape, level_db relative to the wave's rms, alike over the
    whole length."""
    level = np.float32(10 ** ((_rms_db(wave_CN) + level_db) / 20))
    noise = random.standard_normal(wave_CN.shape, dtype=np.float32) * level
    tilt = shelf("high", 2000, random.uniform(-12, 6), sample_rate=sample_rate)
    top = shelf("lowpass", log_uniform(random, 5000, 18000), 0, sample_rate=sample_rate)
    return wave_CN + equalise(noise, tilt, top)


def _level_db(wave_CN: np.ndarray) -> np.ndarray:
    """Return the peak of every control interval in dB, float64 [ceil(N / 64)]."""
    samples = wave_CN.shape[1]
    padded = np.zeros(-(-samples // _CONTROL_SAMPLES) * _CONTROL_SAMPLES, np.float32)
    np.max(np.abs(wave_CN), axis=0, out=padded[:samples])
    peak = padded.reshape(-1, _CONTROL_SAMPLES).max(axis=1).astype(np.float64)
    return 20 * np.log10(np.maximum(peak, 10 ** (_FLOOR_DB / 20)))


def _rms_db(wave_CN: np.ndarray) -> float:
    power = float(np.mean(np.square(wave_CN), dtype=np.float64)) if wave_CN.size else 0.0
    return 10 * float(np.log10(max(power, 10 ** (_FLOOR_DB / 10))))


def _hold(level_db: np.ndarray, release_s: float, sample_rate: int) -> np.ndarray:
    """Let a level rise at once and fall by 20 dB in release_s."""
    fall_db = 20 * _CONTROL_SAMPLES / (max(release_s, 1e-3) * sample_rate)
    ramp_db = np.arange(len(level_db)) * fall_db
    # max(level[n], held[n − 1] − fall), without the loop over n.
    return np.maximum.accumulate(level_db + ramp_db) - ramp_db


def _smooth(values: np.ndarray, time_s: float, sample_rate: int) -> np.ndarray:
    """One-pole low-pass on the control rate that starts settled."""
    if not len(values):
        return values
    keep = np.exp(-_CONTROL_SAMPLES / (max(time_s, 1e-4) * sample_rate))
    return scipy.signal.lfilter([1 - keep], [1, -keep], values, zi=[keep * values[0]])[0]


def _gain(change_db: np.ndarray, samples: int) -> np.ndarray:
    """Return a control-rate change in dB as a factor a sample, float32 [N]."""
    centres = (np.arange(len(change_db)) + 0.5) * _CONTROL_SAMPLES
    return np.interp(np.arange(samples), centres, 10 ** (change_db / 20)).astype(np.float32)


def saturate(wave_CN: np.ndarray, *, drive_db: float, bias: float = 0.0) -> np.ndarray:
    """Drive the wave into tanh, `drive_db` above the point where its rms meets full scale; the rms
    is kept.

    A bias makes it asymmetric (even harmonics); what direct current it leaves is taken out.
    """
    rms_db = _rms_db(wave_CN)
    if rms_db <= _FLOOR_DB:
        return wave_CN
    gain = np.float32(10 ** ((drive_db - rms_db) / 20))
    driven = np.tanh(wave_CN * gain + np.float32(bias))
    driven -= driven.mean(axis=1, keepdims=True)
    return driven * np.float32(10 ** ((rms_db - _rms_db(driven)) / 20))


def amplify(wave_CN: np.ndarray, random: Generator, *, sample_rate: int) -> np.ndarray:
    """Play a guitar through a driven amplifier and its cabinet: a resonance near 100 Hz, presence,
    and a steep fall from about 5 kHz on."""
    def peak(low_hz: float, high_hz: float, low_db: float, high_db: float) -> np.ndarray:
        return shelf("peak", random.uniform(low_hz, high_hz), random.uniform(low_db, high_db),
                     sample_rate=sample_rate)

    tight = shelf("highpass", random.uniform(70, 200), 0, sample_rate=sample_rate)
    driven = saturate(equalise(wave_CN, tight, peak(500, 1500, 0, 8)),
                      drive_db=random.uniform(0, 32), bias=random.uniform(0, 0.4))
    fall = shelf("lowpass", random.uniform(3500, 7500), 0, sample_rate=sample_rate, q=0.9)
    return equalise(driven, peak(80, 140, 0, 6), peak(300, 900, -8, 2), peak(2000, 3500, 0, 6),
                    *[fall] * random.integers(2, 5))


def room(random: Generator, *, rt60_s: float, sample_rate: int, channels: int,
         gated: bool = False) -> np.ndarray:
    """Return the response of a room without the direct sound, float32 [C, M], of unit energy a
    channel.

    Noise that decays by 60 dB in rt60_s (its highs sooner), after a gap and a few early
    reflections; gated: it keeps its level and stops short.
    """
    samples = max(int(min(rt60_s, 2.5) * sample_rate), 64)
    time_s = np.arange(samples) / sample_rate
    decay = np.exp(-6.9 * time_s / rt60_s)
    if gated:
        decay = np.minimum(1, (samples - np.arange(samples)) / 256)
    noise = random.standard_normal((channels, samples), dtype=np.float32)
    dark = equalise(noise, shelf("lowpass", random.uniform(1000, 5000), 0, sample_rate=sample_rate,
                                 q=0.5))
    bright = random.uniform(0.1, 0.6) * np.exp(-6.9 * time_s / (rt60_s * random.uniform(0.3, 0.9)))
    response = dark * decay.astype(np.float32) + noise * bright.astype(np.float32)
    response *= np.minimum(1, time_s / random.uniform(0.002, 0.03)).astype(np.float32)
    strength = np.sqrt(np.mean(response[:, :max(samples // 4, 1)] ** 2))
    for _ in range(random.integers(3, 13)):
        at = int(random.uniform(0.001, 0.06) * sample_rate)
        if at < samples:
            reflection = random.uniform(-25, 25, size=channels) * np.exp(-time_s[at] / 0.03)
            response[:, at] += strength * reflection
    response = band_limit(response, low_hz=random.uniform(60, 300),
                          high_hz=random.uniform(4000, 16000), sample_rate=sample_rate, order=1)
    gap = int(random.choice([0, random.uniform(0, 0.02), random.uniform(0.02, 0.08)]) * sample_rate)
    response = np.pad(response, [(0, 0), (gap, 0)])
    return response / np.sqrt(np.sum(response ** 2, axis=1, keepdims=True) + 1e-12)


def reverberate(wave_CN: np.ndarray, response_CM: np.ndarray, *, wet_db: float) -> np.ndarray:
    """Add the room `wet_db` relative to the dry wave's rms; what rings on past the end is cut."""
    wet_CN = scipy.signal.oaconvolve(wave_CN, response_CM, axes=1)[:, :wave_CN.shape[1]]
    gain_db = _rms_db(wave_CN) - _rms_db(wet_CN) + wet_db
    return wave_CN + wet_CN.astype(np.float32) * np.float32(10 ** (gain_db / 20))


def chorus(wave_CN: np.ndarray, *, depth_s: float, rate_hz: float, mix: float,
           sample_rate: int) -> np.ndarray:
    """Add a copy whose delay swings; the channels swing against each other."""
    # float64: in float32 the fraction of a sample is lost after some seconds.
    samples = np.arange(wave_CN.shape[1], dtype=np.float64)
    out = wave_CN.copy()
    for channel in range(len(wave_CN)):
        swing = np.sin(2 * np.pi * rate_hz / sample_rate * samples + np.pi / 2 * channel)
        copy = np.interp(samples - sample_rate * depth_s * (1.5 + swing), samples,
                         wave_CN[channel], left=0)
        out[channel] += np.float32(mix) * copy.astype(np.float32)
    return out


def echo(wave_CN: np.ndarray, *, delay_s: float, feedback: float, wet: float,
         sample_rate: int) -> np.ndarray:
    """Add up to four dull repeats, each `feedback` times as strong as the one before."""
    out, gain = wave_CN.copy(), wet
    tap = equalise(wave_CN, shelf("lowpass", 4000, 0, sample_rate=sample_rate))
    delay = max(int(delay_s * sample_rate), 1)
    for repeat in range(1, 5):
        if gain < 0.03 or repeat * delay >= wave_CN.shape[1]:
            break
        out[:, repeat * delay:] += np.float32(gain) * tap[:, :-repeat * delay]
        gain *= feedback
    return out


def place(wave_CN: np.ndarray, *, pan: float) -> np.ndarray:
    """Pan a stereo wave with constant power (−1 left … 1 right); a mono wave stays as it is."""
    if len(wave_CN) == 1:
        return wave_CN
    angle = (pan + 1) * np.pi / 4
    return wave_CN * (np.sqrt(2) * np.array([[np.cos(angle)], [np.sin(angle)]])).astype(np.float32)
