"""A singer computed from notes: a glottal source, gliding vowels, breath and consonants.

The choir presets of General MIDI fonts hold one vowel without a word. Singing has vibrato, slides,
formants that move and, above all, unvoiced consonants: bursts of noise that only context tells from
a hi-hat. The model is source and filter (Fant 1960), with the filter applied frame by frame in the
STFT domain.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from stemsep.datasets.effects import log_uniform
from stemsep.datasets.score import Note, Part
from stemsep.stft import Stft

# Frequencies of the first four formants (Hz) of an adult male voice, after Peterson & Barney 1952;
# others scale them.
_VOWELS = np.array([[730, 1090, 2440, 3400], [530, 1840, 2480, 3500], [270, 2290, 3010, 3600],
                    [570, 840, 2410, 3300],
                    [300, 870, 2240, 3200], [640, 1190, 2390, 3400], [490, 1350, 1690, 3200],
                    [660, 1720, 2410, 3500]])
_BANDWIDTHS_HZ = np.array([80, 100, 130, 200, 300])
# Consonants: (lowest frequency, centre, width in Hz, seconds, level); s, sh, f, h, t, k, p.
_CONSONANTS = ((7000, 2500, 0.12, 1.0), (3800, 1500, 0.12, 1.0), (8000, 6000, 0.09, 0.35),
               (1500, 1500, 0.07, 0.3), (5500, 3000, 0.03, 0.9),
               (2500, 1200, 0.03, 0.7), (900, 900, 0.02, 0.6))
_MAX_LINES = 3                  # of a part with chords, so many singers are heard


def render_voice(part: Part, singer_seed: int, *, seconds: float, sample_rate: int) -> np.ndarray:
    """Sing a part as the singer that the seed names would, float32 [1, round(seconds·rate)].

    Notes that overlap are shared out among up to three singers. The singer has slides and vibrato
    of their own; the part's pitch bends are not sung.
    """
    samples = round(seconds * sample_rate)
    stft = Stft(sample_rate, 1024, 256)
    out = np.zeros(samples, np.float32)
    for index, line in enumerate(_lines([note for note in part.notes if note.start_s < seconds])):
        out += _sing(line, np.random.default_rng((singer_seed, index)), samples, stft)
    return out[None]


def _lines(notes: Sequence[Note]) -> list[list[Note]]:
    """Share notes out into lines that hold one at a time; an overlap of up to 0.1 s is a slur."""
    lines: list[list[Note]] = []
    for note in notes:
        free = [line for line in lines if line[-1].end_s <= note.start_s + 0.1]
        if free:
            free[0].append(note)
        elif len(lines) < _MAX_LINES:
            lines.append([note])
    return lines


def _sing(notes: Sequence[Note], random: Generator, samples: int, stft: Stft) -> np.ndarray:
    """Sing one line, float32 [samples]."""
    frames = stft.frames(samples)
    frame_s = np.arange(frames) * (stft.hop / stft.sample_rate)
    pitch_T, voiced_T, vowel_TF, noise_TF = _plan(notes, random, frame_s, stft)
    pitch_N = np.interp(np.arange(samples), np.arange(frames) * stft.hop, pitch_T)
    voiced_N = np.interp(np.arange(samples), np.arange(frames) * stft.hop, voiced_T)
    source = _glottal(pitch_N, random, stft.sample_rate) * voiced_N.astype(np.float32)
    noise = random.standard_normal(samples, dtype=np.float32)
    breath = noise * (voiced_N * log_uniform(random, 0.005, 0.3)).astype(np.float32)
    voice_TF = stft.analyse(source + breath) * vowel_TF
    return stft.synthesise(voice_TF + stft.analyse(noise) * noise_TF, samples)


def _plan(notes: Sequence[Note], random: Generator, frame_s: np.ndarray,
          stft: Stft) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pitch (Hz) and loudness of every frame [T], and the filters of voice and consonants,
    float32 [T, F]."""
    lowest = min(note.pitch for note in notes)
    # Shorter throats have higher formants.
    body = random.uniform(0.95, 1.1) * (1.0 if lowest < 52 else 1.15)
    vowels = _VOWELS[random.permutation(len(_VOWELS))[:random.integers(3, 7)]] * body
    slide_s, attack_s = random.uniform(0.02, 0.09), random.uniform(0.015, 0.08)
    release_s, wordy = random.uniform(0.03, 0.15), random.uniform(0.3, 1)
    vibrato, rate_hz = random.uniform(0.1, 0.6), random.uniform(4.5, 6.5)
    scoop_range, falls = log_uniform(random, 0.2, 3.5), random.choice([0.0, 0.1, 0.4])
    pitch, loud = np.full(len(frame_s), float(notes[0].pitch)), np.zeros(len(frame_s))
    formants = np.tile(vowels[0], (len(frame_s), 1))
    noise_TF = np.zeros((len(frame_s), stft.bins), np.float32)
    for note in notes:
        since = frame_s - note.start_s
        after = since >= -slide_s
        glide = np.clip((since + slide_s) / slide_s, 0, 1)
        swing = vibrato * np.clip((since - 0.2) / 0.3, 0, 1) * np.sin(2 * np.pi * rate_hz * since)
        settling = np.exp(-np.maximum(since, 0) / random.uniform(0.03, 0.15))
        scoop = random.uniform(-1, 0.2) * scoop_range * settling
        if random.random() < falls:
            scoop -= random.uniform(1, 6) * np.clip((frame_s - note.end_s + 0.15) / 0.25, 0, 1)
        pitch = np.where(after, (1 - glide) * pitch + glide * (note.pitch + swing + scoop), pitch)
        vowel = np.clip((since + 0.03) / 0.08, 0, 1)[:, None]
        formants = (1 - vowel) * formants + vowel * vowels[random.integers(len(vowels))]
        if random.random() < 0.3:       # a diphthong: on to another vowel within the note
            there = np.clip((since - 0.5 * (note.end_s - note.start_s)) / 0.12, 0, 1)[:, None]
            formants = (1 - there) * formants + there * vowels[random.integers(len(vowels))]
        rise = np.clip(since / attack_s, 0, 1)
        fall = np.clip((note.end_s - frame_s) / release_s + 1, 0, 1)
        loud = np.maximum(loud, rise * fall * (note.velocity / 127) * random.uniform(0.7, 1))
        if random.random() < wordy:
            _pronounce(noise_TF, since, random, stft)
    # From a trained voice to one that half speaks.
    knots_s = np.arange(0, frame_s[-1] + 1, random.uniform(0.08, 0.3))
    depth = log_uniform(random, 0.05, 1.0)
    wander = np.interp(frame_s, knots_s, random.normal(0, depth, size=len(knots_s)))
    pitch_hz = 440 * 2 ** ((pitch + wander - 69) / 12)
    fifth = np.full((len(frame_s), 1), 4500 * body)
    vowel_TF = _filter(np.concatenate([formants, fifth], axis=1), random, stft)
    return pitch_hz, loud, vowel_TF, noise_TF


def _pronounce(noise_TF: np.ndarray, since_s: np.ndarray, random: Generator, stft: Stft) -> None:
    """Write a consonant that ends where the vowel begins."""
    centre_hz, width_hz, seconds, level = _CONSONANTS[random.integers(len(_CONSONANTS))]
    seconds *= random.uniform(0.6, 1.5)
    rows = np.flatnonzero((since_s > -seconds) & (since_s < 0.03))
    if not len(rows):
        return
    bins_hz = np.arange(stft.bins) * (stft.sample_rate / stft.n_fft)
    shape = np.exp(-0.5 * ((bins_hz - centre_hz * random.uniform(0.85, 1.15)) / width_hz) ** 2)
    fade = np.minimum(np.clip((since_s[rows] + seconds) / 0.02, 0, 1),
                      np.clip((0.03 - since_s[rows]) / 0.03, 0, 1))
    level *= log_uniform(random, 0.1, 1.0)
    noise_TF[rows] += (level * fade[:, None] * shape).astype(np.float32)


def _glottal(pitch_hz: np.ndarray, random: Generator, sample_rate: int) -> np.ndarray:
    """Return glottal pulses at a pitch given for every sample, float32 [N], band-limited.

    Their harmonics fall by 4 to 8 dB an octave: pressed voices are brighter.
    """
    rough = log_uniform(random, 0.002, 0.02)        # a shout is rougher than a croon
    knots = np.arange(0, len(pitch_hz) + 500, 500)
    jitter = 1 + rough * np.interp(np.arange(len(pitch_hz)), knots,
                                   random.standard_normal(len(knots)))
    phase = np.cumsum(pitch_hz * jitter / sample_rate)
    count = int(np.clip(0.45 * sample_rate / pitch_hz.max(), 1, 120))
    number = np.arange(1, count + 1)
    level = number ** -random.uniform(0.6, 1.4)
    grid = np.arange(4096) / 4096
    phases = 2 * np.pi * number[:, None] * grid + 0.3 * np.sqrt(number)[:, None]
    table = (level[:, None] * np.sin(phases)).sum(axis=0)
    table = (table / np.sqrt(np.mean(table ** 2))).astype(np.float32)
    return table[(phase * 4096).astype(np.int64) % 4096]


def _filter(formants_TK: np.ndarray, random: Generator, stft: Stft) -> np.ndarray:
    """Return the gain of a vocal tract with these formants, float32 [T, F], alike in power."""
    bins_hz = (np.arange(stft.bins) * (stft.sample_rate / stft.n_fft)).astype(np.float32)
    widths = (_BANDWIDTHS_HZ * random.uniform(0.8, 2)).astype(np.float32)
    levels = np.array([1, 10 ** (random.uniform(-9, 0) / 20),
                       *(10 ** (random.uniform(-20, -3, size=3) / 20))])
    gain = np.full((len(formants_TK), stft.bins), 0.003, np.float32)
    for formant in range(formants_TK.shape[1]):
        away = (bins_hz - formants_TK[:, formant, None].astype(np.float32)) / widths[formant]
        gain += np.float32(levels[formant]) / (1 + away * away)
    return gain / np.sqrt(np.mean(gain ** 2, axis=1, keepdims=True)) * np.float32(0.3)
