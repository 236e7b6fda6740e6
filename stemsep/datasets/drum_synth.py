"""Drums computed instead of sampled: membranes, wires, sticks and metal, a kit for every seed.

Sampled General MIDI kits are few and clean. Here a drum is a membrane (modes of a circular membrane
with a gliding pitch), a stroke of noise, snare wires (noise that answers late and dies with the
membrane), or metal (dozens of inharmonic partials and a wash of noise whose highs come late and go
first). A hit is computed once for every pitch, variant and velocity layer, and copied to where it
is struck.
"""

import numpy as np
import scipy.signal
from numpy.random import Generator

from stemsep.datasets.effects import equalise, log_uniform, shelf
from stemsep.datasets.score import Part

# Frequencies of a circular membrane's modes, over that of the first (zeros of Bessel functions).
_MEMBRANE = np.array([1, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.501, 3.6, 4.06])
_LAYERS = (40, 80, 120)         # velocities for which a hit is computed
_VARIANTS = 2                   # no two strokes are alike

KICKS, SNARES, CLAPS, STICKS = (35, 36), (38, 40), (39,), (37, 75, 76, 77)
TOMS = (41, 43, 45, 47, 48, 50)
CONGAS = (60, 61, 62, 63, 64, 65, 66, 78, 79)
CLOSED_HATS, OPEN_HATS = (42, 44), (46,)
CRASHES, RIDES = (49, 52, 55, 57), (51, 53, 59)
BELLS = (56, 67, 68, 80, 81)
SHAKERS = (54, 58, 69, 70, 73, 74, 82)
# The peak of a hard stroke, as it stands in a mix of a kit; whatever is not named is a cymbal.
_LEVELS = ((KICKS, 1.0), (SNARES, 0.8), (CLAPS, 0.6), (STICKS, 0.4), (TOMS, 0.7), (CONGAS, 0.5),
           (CLOSED_HATS, 0.18), (OPEN_HATS, 0.18), (RIDES, 0.2), (BELLS, 0.2), (SHAKERS, 0.15))
_CYMBAL_LEVEL = 0.3
_RIDE_BELL, _SPLASH = 53, 55


def render_drums(part: Part, kit_seed: int, *, seconds: float, sample_rate: int,
                 channels: int = 1) -> np.ndarray:
    """Play a part's drum notes on the kit that the seed names, float32 [C, round(seconds·rate)].

    Stereo places every drum where it stands, seen from above the kit. An open hi-hat is damped by
    the next stroke on the closed one. The loudness of a stroke goes with velocity^1.5 and its
    brightness with the velocity too.
    """
    samples = round(seconds * sample_rate)
    out_CN = np.zeros((channels, samples), np.float32)
    hits: dict[tuple[int, int, int], np.ndarray] = {}
    damps = [note.start_s for note in part.notes if note.pitch in CLOSED_HATS]
    for index, note in enumerate(part.notes):
        start = round(note.start_s * sample_rate)
        if not 0 <= start < samples:
            continue
        layer = int(np.argmin([abs(note.velocity - level) for level in _LAYERS]))
        key = (note.pitch, layer, index % _VARIANTS)
        if key not in hits:
            hits[key] = _hit(note.pitch, layer, index % _VARIANTS, kit_seed, sample_rate)
        hit = hits[key]
        if note.pitch in OPEN_HATS:
            later = [time for time in damps if time > note.start_s]
            hit = _damp(hit, round((min(later) - note.start_s) * sample_rate)) if later else hit
        level = next((level for pitches, level in _LEVELS if note.pitch in pitches), _CYMBAL_LEVEL)
        hit = hit[:samples - start] * np.float32(level * (note.velocity / 127) ** 1.5)
        pan = _pan(note.pitch, kit_seed)
        sides = (1.0,) if channels == 1 else (np.sqrt(1 - pan), np.sqrt(1 + pan))
        for channel, gain in enumerate(sides):
            out_CN[channel, start:start + len(hit)] += hit * np.float32(gain)
    return out_CN


def _pan(pitch: int, kit_seed: int) -> float:
    if pitch in KICKS + SNARES:
        return 0.0
    return float(np.random.default_rng((kit_seed, pitch, 9)).uniform(-0.6, 0.6))


def _damp(hit: np.ndarray, samples: int) -> np.ndarray:
    fade = min(600, max(len(hit) - samples, 0))
    damped = hit[:samples + fade].copy()
    if fade:
        damped[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return damped


def _hit(pitch: int, layer: int, variant: int, kit_seed: int, sample_rate: int) -> np.ndarray:
    """Compute one hit, float32 [M], peak about 1; softer layers are duller."""
    # From `kit` comes the drum itself, from `stroke` what differs from one stroke to the next.
    kit = np.random.default_rng((kit_seed, pitch))
    stroke = np.random.default_rng((kit_seed, pitch, layer, variant))
    if pitch in KICKS:
        hit = _kick(kit, stroke, sample_rate)
    elif pitch in SNARES:
        hit = _snare(kit, stroke, sample_rate)
    elif pitch in CLAPS:
        hit = _clap(kit, stroke, sample_rate)
    elif pitch in TOMS:
        height = TOMS.index(pitch) / 5
        hit = _tom(kit, stroke, kit.uniform(65, 100) * 2 ** (height * 1.2), sample_rate)
    elif pitch in CONGAS:
        hit = _tom(kit, stroke, log_uniform(kit, 150, 420), sample_rate, seconds=0.3)
    elif pitch in STICKS:
        hit = _stick(kit, stroke, sample_rate)
    elif pitch in CLOSED_HATS:
        hit = _metal(kit, stroke, sample_rate, decay_s=log_uniform(kit, 0.02, 0.09),
                     low_hz=kit.uniform(3000, 8000))
    elif pitch in OPEN_HATS:
        hit = _metal(kit, stroke, sample_rate, decay_s=log_uniform(kit, 0.2, 0.8),
                     low_hz=kit.uniform(2500, 7000))
    elif pitch in BELLS:
        hit = _bell(kit, sample_rate)
    elif pitch in SHAKERS:
        hit = _shaker(kit, stroke, sample_rate)
    elif pitch in RIDES:
        hit = _ride(kit, stroke, sample_rate, bell=pitch == _RIDE_BELL)
    else:
        size = 0.4 if pitch == _SPLASH else 1
        hit = _metal(kit, stroke, sample_rate, decay_s=log_uniform(kit, 0.5, 1.6) * size,
                     low_hz=log_uniform(kit, 250, 1500), rise_s=kit.uniform(0.002, 0.03))
    if layer < len(_LAYERS) - 1:
        softness = (len(_LAYERS) - 1 - layer) * kit.uniform(2, 5)
        hit = equalise(hit[None], shelf("high", 1500, -softness, sample_rate=sample_rate))[0]
    return (hit / (np.abs(hit).max() + 1e-9)).astype(np.float32)


def _time(seconds: float, sample_rate: int) -> np.ndarray:
    return np.arange(round(seconds * sample_rate), dtype=np.float32) / np.float32(sample_rate)


def _noise(random: Generator, time_s: np.ndarray, low_hz: float, high_hz: float,
           sample_rate: int) -> np.ndarray:
    """Return noise between two frequencies (12 dB an octave outside), of unit rms."""
    white = random.standard_normal((1, len(time_s)), dtype=np.float32)
    noise = equalise(white, shelf("highpass", low_hz, 0, sample_rate=sample_rate),
                     shelf("lowpass", high_hz, 0, sample_rate=sample_rate))[0]
    return noise / (np.sqrt(np.mean(noise ** 2)) + 1e-9)


def _fade(time_s: np.ndarray, decay_s: float) -> np.ndarray:
    """Fall by 1/e in decay_s, and to nothing at the end."""
    end = np.minimum(1, (time_s[-1] - time_s) / np.float32(0.01))
    return np.exp(-time_s / np.float32(decay_s)) * end


def _glide(time_s: np.ndarray, end_hz: float, rise: float, glide_s: float) -> np.ndarray:
    """Return the phase (radians) of a pitch that falls from (1 + rise)·end_hz to end_hz."""
    ahead_s = rise * glide_s * (1 - np.exp(-time_s / glide_s))
    return (2 * np.pi * end_hz * (time_s + ahead_s)).astype(np.float32)


def _membrane(kit: Generator, time_s: np.ndarray, base_hz: float, *, decay_s: float, rise: float,
              glide_s: float, modes: int, damping: float) -> np.ndarray:
    """Sum the modes of a struck membrane; higher ones are weaker and shorter."""
    phase = _glide(time_s, base_hz, rise, glide_s)
    tone = np.zeros(len(time_s), np.float32)
    for mode in range(modes):
        ratio = _MEMBRANE[mode] * (1 if mode == 0 else kit.uniform(0.95, 1.05))
        level = kit.uniform(0.3, 1) / (1 + mode) ** kit.uniform(0.5, 1.5) if mode else 1.0
        fade = _fade(time_s, decay_s / (1 + damping * mode))
        tone += np.float32(level) * np.sin(np.float32(ratio) * phase) * fade
    return tone


def _kick(kit: Generator, stroke: Generator, sample_rate: int) -> np.ndarray:
    electronic = kit.random() < 0.25
    time_s = _time(1.0 if electronic else 0.5, sample_rate)
    tone = _membrane(kit, time_s, kit.uniform(38, 64),
                     decay_s=log_uniform(kit, 0.08, 0.5 if electronic else 0.22),
                     rise=log_uniform(kit, 0.3, 6 if electronic else 2),
                     glide_s=log_uniform(kit, 0.008, 0.05),
                     modes=1 if electronic else int(kit.integers(2, 7)),
                     damping=kit.uniform(0.5, 2))
    beater = _noise(stroke, time_s, log_uniform(kit, 300, 2500), log_uniform(kit, 3000, 9000),
                    sample_rate)
    shell = _noise(stroke, time_s, 80, log_uniform(kit, 200, 900), sample_rate)
    beater *= _fade(time_s, log_uniform(kit, 0.002, 0.012)) * log_uniform(kit, 0.05, 0.7)
    shell *= _fade(time_s, kit.uniform(0.02, 0.08)) * kit.uniform(0, 0.25)
    return np.tanh(tone * kit.uniform(0.8, 2)) + beater + shell


def _snare(kit: Generator, stroke: Generator, sample_rate: int) -> np.ndarray:
    time_s = _time(0.6, sample_rate)
    base_hz = log_uniform(kit, 140, 290)
    tone = _membrane(kit, time_s, base_hz * stroke.uniform(0.99, 1.01),
                     decay_s=log_uniform(kit, 0.03, 0.14),
                     rise=kit.uniform(0, 0.5), glide_s=0.015, modes=int(kit.integers(3, 9)),
                     damping=kit.uniform(0.1, 0.8))
    wires = _noise(stroke, time_s, log_uniform(kit, 600, 3000), log_uniform(kit, 7000, 16000),
                   sample_rate)
    body = _noise(stroke, time_s, 200, log_uniform(kit, 900, 3500), sample_rate)
    late = np.minimum(1, time_s / np.float32(kit.uniform(0.0005, 0.004)))  # the wires hang below
    wires *= late * _fade(time_s, log_uniform(kit, 0.05, 0.2)) * kit.uniform(0.25, 0.9)
    body *= _fade(time_s, log_uniform(kit, 0.02, 0.09)) * kit.uniform(0.1, 0.5)
    stick = _noise(stroke, time_s, 1500, 12000, sample_rate) * _fade(time_s, 0.004)
    return tone * kit.uniform(0.2, 1) + wires + body + stick * kit.uniform(0.1, 0.5)


def _clap(kit: Generator, stroke: Generator, sample_rate: int) -> np.ndarray:
    time_s = _time(0.5, sample_rate)
    noise = _noise(stroke, time_s, log_uniform(kit, 500, 1200), log_uniform(kit, 2500, 9000),
                   sample_rate)
    envelope = _fade(time_s, log_uniform(kit, 0.03, 0.15)) * (time_s > 0.03)
    for hand in range(3):
        since_s = time_s - 0.01 * hand
        envelope += 0.8 * np.exp(-since_s.clip(0) / 0.004) * (since_s >= 0)
    return noise * envelope


def _tom(kit: Generator, stroke: Generator, base_hz: float, sample_rate: int, *,
         seconds: float = 1.0) -> np.ndarray:
    time_s = _time(seconds, sample_rate)
    tone = _membrane(kit, time_s, base_hz, decay_s=log_uniform(kit, 0.1, 0.35) * seconds,
                     rise=kit.uniform(0.05, 0.6), glide_s=kit.uniform(0.02, 0.08),
                     modes=int(kit.integers(3, 8)), damping=kit.uniform(0.5, 2))
    stick = _noise(stroke, time_s, 400, log_uniform(kit, 2000, 9000), sample_rate)
    return tone + stick * _fade(time_s, log_uniform(kit, 0.003, 0.02)) * kit.uniform(0.1, 0.5)


def _stick(kit: Generator, stroke: Generator, sample_rate: int) -> np.ndarray:
    time_s = _time(0.15, sample_rate)
    tone = _membrane(kit, time_s, log_uniform(kit, 400, 2500),
                     decay_s=log_uniform(kit, 0.006, 0.03), rise=0, glide_s=0.01, modes=4,
                     damping=0.5)
    click = _noise(stroke, time_s, 1000, 10000, sample_rate) * _fade(time_s, 0.005)
    return tone + click * kit.uniform(0.1, 0.6)


def _partials(kit: Generator, time_s: np.ndarray, count: int, low_hz: float, high_hz: float,
              decay_s: float) -> np.ndarray:
    """Sum inharmonic partials between two frequencies; the higher, the shorter."""
    tone = np.zeros(len(time_s), np.float32)
    for _ in range(count):
        frequency_hz = log_uniform(kit, low_hz, high_hz)
        partial_s = decay_s * kit.uniform(0.3, 1.2) * (low_hz / frequency_hz) ** 0.3
        wave = np.sin(np.float32(2 * np.pi * frequency_hz) * time_s
                      + np.float32(kit.uniform(0, 2 * np.pi)))
        tone += np.float32(kit.uniform(0.2, 1)) * np.exp(-time_s / np.float32(partial_s)) * wave
    return tone / np.sqrt(count / 4)


def _metal(kit: Generator, stroke: Generator, sample_rate: int, *, decay_s: float, low_hz: float,
           rise_s: float = 0.0005) -> np.ndarray:
    """Strike a cymbal: partials, and a wash in three bands of which the highest dies first."""
    time_s = _time(min(4 * decay_s + 0.05, 3.0), sample_rate)
    edge_s = min(1.0, len(time_s) / sample_rate)
    metal = np.zeros(len(time_s), np.float32)
    tonal = _partials(kit, time_s[:round(edge_s * sample_rate)], 24, low_hz, 12000, decay_s)
    tonal *= np.linspace(1, 0, len(tonal), dtype=np.float32)
    metal[:len(tonal)] += tonal * np.float32(kit.uniform(0.1, 0.8))
    for band_hz, top_hz, share in ((low_hz, 5000, 1.2), (4000, 10000, 1.0), (8000, 19000, 0.6)):
        wash = _noise(stroke, time_s, band_hz, max(top_hz, 1.3 * band_hz), sample_rate)
        late = np.minimum(1, time_s / np.float32(rise_s * kit.uniform(0.5, 1.5)))
        fade = _fade(time_s, decay_s * share * kit.uniform(0.7, 1.3))
        metal += wash * late * fade * np.float32(kit.uniform(0.1, 0.6))
    stick = _noise(stroke, time_s, 2000, 14000, sample_rate) * _fade(time_s, 0.003)
    return equalise((metal + stick * kit.uniform(0, 0.6))[None],
                    shelf("highpass", low_hz * 0.6, 0, sample_rate=sample_rate),
                    shelf("high", 6000, kit.uniform(-10, 3), sample_rate=sample_rate))[0]


def _ride(kit: Generator, stroke: Generator, sample_rate: int, *, bell: bool) -> np.ndarray:
    """Strike a ride cymbal: a ping of partials, fewer on its bell, over a quiet, long wash."""
    wash = _metal(kit, stroke, sample_rate, decay_s=log_uniform(kit, 0.3, 0.9),
                  low_hz=log_uniform(kit, 300, 2500))
    ping = _partials(kit, _time(0.8, sample_rate), 10 if bell else 20, kit.uniform(500, 3000),
                     9000, kit.uniform(0.1, 0.4))
    ping *= np.linspace(1, 0, len(ping), dtype=np.float32)
    out = wash / np.abs(wash).max() * np.float32(kit.uniform(0.15, 0.6))
    out = np.pad(out, (0, max(0, len(ping) - len(out))))
    out[:len(ping)] += ping / np.abs(ping).max()
    return out


def _bell(kit: Generator, sample_rate: int) -> np.ndarray:
    """Strike a cowbell, an agogo or a triangle: a few partials."""
    time_s = _time(0.6, sample_rate)
    tone = _partials(kit, time_s, int(kit.integers(2, 7)), log_uniform(kit, 500, 3000), 9000,
                     log_uniform(kit, 0.03, 0.3))
    return tone * np.minimum(1, (time_s[-1] - time_s) / np.float32(0.02))


def _shaker(kit: Generator, stroke: Generator, sample_rate: int) -> np.ndarray:
    """Shake a tambourine, maracas or a cabasa: grains of noise, sometimes with jingles."""
    time_s = _time(0.35, sample_rate)
    noise = _noise(stroke, time_s, log_uniform(kit, 2500, 6000), log_uniform(kit, 8000, 16000),
                   sample_rate)
    rise = np.minimum(1, time_s / np.float32(log_uniform(kit, 0.001, 0.04)))
    jingles = _partials(kit, time_s, 12, 4000, 12000, 0.1) * kit.choice([0, 0.5])
    grain = 1 + scipy.signal.lfilter([0.2], [1, -0.8], stroke.standard_normal(len(time_s)))
    return (noise * np.abs(grain) + jingles) * rise * _fade(time_s, log_uniform(kit, 0.02, 0.12))
