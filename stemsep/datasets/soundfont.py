"""Plays the parts of a score with a SoundFont, in NumPy and SciPy: the instruments of the demo songs.

The synthesiser is that of the SoundFont specification 2.04 (chapter 9): sample, low-pass filter and
amplifier, with two envelopes and two oscillators a voice. What notes have in common is computed once:
voices of one region and key share their resampled wave, and those of like velocity its filtering.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from stemsep.datasets.score import Part
from stemsep.datasets.sf2 import PERCUSSION_BANK, Gen, Region, Sample, Sf2, modulation

GAIN = 0.25             # of a full-scale sample at velocity 127: a dozen voices stay within full scale
FADE_S = 0.005          # in which a voice of the same exclusive class is cut
FLOOR_DB = 90.0         # below this a voice has ended
RANGE_DB = 100.0        # what an envelope falls in its decay or release time (section 8.1.2)
ATTENUATION = 0.4       # of the attenuation a font asks for, as the hardware did that fonts were made on
RELEASE_MIN_S = 0.016   # shorter releases click
CONTROL = 64            # samples between the points of a moving pitch or cutoff
CUTOFF_STEP = 50.0      # cents between the cutoffs of the filters in use
BLOCK = 8192            # samples interpolated at once: what fits the cache

PITCH = (Gen.KEY, Gen.COARSE_TUNE, Gen.FINE_TUNE, Gen.SCALE_TUNING, Gen.MOD_LFO_PITCH,
         Gen.VIB_LFO_PITCH, Gen.MOD_ENV_PITCH, Gen.START, Gen.START_COARSE)


class SoundFont:
    """A font, loaded once; samples are decoded when first played, and kept as float32."""

    def __init__(self, file: Sf2) -> None:
        self.file = file
        self.name = file.name

    @classmethod
    def load(cls, path: str | Path) -> "SoundFont":
        """Read an SF2 or SF3 file; ValueError names file and reason if it is none."""
        font = cls(Sf2(Path(path)))
        if not font.file.presets:
            raise ValueError(f"{path}: the font has no presets")
        return font

    def drum_kits(self) -> list[int]:
        """Kit numbers in the percussion bank (0 standard, 8 room, 16 power, ...)."""
        return sorted(program for bank, program in self.file.presets if bank == PERCUSSION_BANK)

    def programs(self) -> list[int]:
        """General MIDI programs in bank 0."""
        return sorted(program for bank, program in self.file.presets if bank == 0)

    def regions(self, part: Part) -> list[Region]:
        """Regions that play `part`: its program or, where the font lacks it, the nearest of its family."""
        bank = PERCUSSION_BANK if part.is_drum else 0
        present = self.drum_kits() if part.is_drum else self.programs()
        if not present:
            raise ValueError(f"{self.file.path}: no presets in bank {bank}, needed by {part.name!r}")
        program = part.program
        if program not in present:
            family = [p for p in present if p // 8 == program // 8] or present
            program = present[0] if part.is_drum else min(family, key=lambda p: abs(p - program))
        return self.file.regions(self.file.presets[bank, program])


def default_soundfont() -> Path:
    """Where TimGM6mb lies: in the wheel of pretty_midi, found without importing that package."""
    spec = importlib.util.find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise FileNotFoundError(
            "TimGM6mb.sf2 was not found: install pretty_midi, whose wheel carries it, or name a SoundFont")
    return path


@dataclass(slots=True)
class Voice:
    """One region sounding for one note; times in samples, `release` and `length` from `start`."""

    region: Region
    key: int
    values: list[float]             # generators with modulators added, by `Gen`
    cents: float                    # detuning, constant bends included
    bends: tuple[tuple[float, float], ...]      # (sample from start, cents), where they move within the note
    start: int
    release: int
    length: int
    choked: bool = False

    def groups(self, number: int) -> tuple[tuple, tuple]:
        """What the voice must share with another for one wave, and for one filtered wave, to do."""
        v = self.values
        wave: tuple = (id(self.region), self.key, self.cents, *(v[g] for g in PITCH))
        if self.bends:
            wave += (number,)
        if v[Gen.MOD_ENV_PITCH] or v[Gen.LOOP_MODE] == 3:
            wave += (self.release,)
        shape: tuple = (round(v[Gen.CUTOFF] / CUTOFF_STEP), *v[Gen.RESONANCE:Gen.END_COARSE],
                        *v[Gen.MOD_DELAY:Gen.KEY_VOL_DECAY + 1])
        if v[Gen.MOD_ENV_CUTOFF]:
            shape += (self.release,)
        return wave, shape


def render(font: SoundFont, part: Part, *, seconds: float, sample_rate: int = 44100, channels: int = 1,
           tune_cents: float = 0.0, drum_tune: Mapping[int, float] | None = None) -> np.ndarray:
    """Play `part` for `seconds`; returns float32 [channels, round(seconds * sample_rate)].

    tune_cents detunes the whole part, drum_tune single drums: pitch → semitones. Mono is the mean of
    the stereo channels. The level is the font's own: no normalising, so parts keep their balance.
    """
    if channels not in (1, 2):
        raise ValueError(f"channels is {channels}: a font plays in mono (1) or stereo (2)")
    out_CN = np.zeros((channels, round(seconds * sample_rate)), np.float32)
    voices = _voices(font, part, out_CN.shape[1], sample_rate=sample_rate, tune_cents=tune_cents,
                     drum_tune=drum_tune or {})
    waves: dict[tuple, dict[tuple, list[Voice]]] = {}
    for number, voice in enumerate(voices):
        wave, shape = voice.groups(number)
        waves.setdefault(wave, {}).setdefault(shape, []).append(voice)
    for shapes in waves.values():
        longest = max((v for group in shapes.values() for v in group), key=lambda v: v.length)
        sample = font.file.sample(int(longest.values[Gen.SAMPLE]))
        wave_N = _resampled(sample, longest, sample_rate)
        for group in shapes.values():
            _mix(out_CN, wave_N, group, sample_rate)
    return out_CN


def _voices(font: SoundFont, part: Part, frames: int, *, sample_rate: int, tune_cents: float,
            drum_tune: Mapping[int, float]) -> list[Voice]:
    """The voices of every note that sounds, cut by their exclusive classes and by the end."""
    regions = font.regions(part)
    notes = sorted((n for n in part.notes if n.velocity > 0 and n.end_s > n.start_s),
                   key=lambda n: n.start_s)
    bends = [(bend.time_s * sample_rate, 100 * bend.semitones) for bend in part.bends]
    tones: dict[tuple[int, int], list[tuple[Region, int, list[float]]]] = {}
    voices: list[Voice] = []
    held: dict[int, list[Voice]] = {}           # by pitch: struck again, a key lets go first
    sounding: dict[int, list[Voice]] = {}       # by exclusive class
    for note in notes:
        start = round(note.start_s * sample_rate)
        if start < 0 or start >= frames:
            continue
        place = (note.pitch, note.velocity)
        if place not in tones:
            tones[place] = [_tone(r, *place) for r in regions if r.matches(*place)]
        release = max(round(note.end_s * sample_rate) - start, 1)
        cents = tune_cents + 100 * (drum_tune.get(note.pitch, 0.0) if part.is_drum else 0.0)
        for earlier in held.get(note.pitch, ()):
            earlier.release = min(earlier.release, max(start - earlier.start, 1))
        fresh = [Voice(region, key, values, cents, (), start, release, frames - start)
                 for region, key, values in tones[place]]
        held[note.pitch] = fresh
        for number in {int(v.values[Gen.EXCLUSIVE_CLASS]) for v in fresh} - {0}:
            for earlier in sounding.get(number, ()):
                earlier.length = start - earlier.start + round(FADE_S * sample_rate)
                earlier.choked = True
            sounding[number] = [v for v in fresh if v.values[Gen.EXCLUSIVE_CLASS] == number]
        voices += fresh
    for voice in voices:
        _end(voice, frames, sample_rate)
        _bend(voice, bends)
    return voices


def _tone(region: Region, key: int, velocity: int) -> tuple[Region, int, list[float]]:
    """Generators of `region` at a key and velocity: what modulators add, they now hold."""
    values = region.generators.astype(np.float64)
    key = int(values[Gen.KEY]) if values[Gen.KEY] >= 0 else key
    velocity = int(values[Gen.VELOCITY]) if values[Gen.VELOCITY] > 0 else velocity
    values[Gen.ATTENUATION] *= ATTENUATION
    for (source, destination, second), amount in region.modulators.items():
        values[destination] += (amount * modulation(source, key, velocity)
                                * modulation(second, key, velocity))
    for hold, decay, key_hold, key_decay in (
            (Gen.MOD_HOLD, Gen.MOD_DECAY, Gen.KEY_MOD_HOLD, Gen.KEY_MOD_DECAY),
            (Gen.VOL_HOLD, Gen.VOL_DECAY, Gen.KEY_VOL_HOLD, Gen.KEY_VOL_DECAY)):
        values[hold] += (60 - key) * values[key_hold]
        values[decay] += (60 - key) * values[key_decay]
    values[Gen.CUTOFF] = np.clip(values[Gen.CUTOFF], 1500, 13500)
    values[Gen.RESONANCE] = np.clip(values[Gen.RESONANCE], 0, 960)
    return region, key, values.tolist()


def _end(voice: Voice, frames: int, rate: int) -> None:
    """Shorten a voice to where its envelope has faded below the floor."""
    v = voice.values
    quiet_db = max(v[Gen.ATTENUATION], 0.0) / 10
    sustain_db = _sustain_db(v)
    end = frames
    if quiet_db + sustain_db >= FLOOR_DB:
        peak_s = sum(_seconds(v[g]) for g in (Gen.VOL_DELAY, Gen.VOL_ATTACK, Gen.VOL_HOLD))
        fall_s = _seconds(v[Gen.VOL_DECAY]) * max(FLOOR_DB - quiet_db, 0) / RANGE_DB
        end = round((peak_s + fall_s) * rate)
    tail_s = max(_seconds(v[Gen.VOL_RELEASE]), RELEASE_MIN_S) * max(FLOOR_DB - quiet_db, 0) / RANGE_DB
    end = min(end, voice.release + round(tail_s * rate))
    if end < voice.length:
        voice.length, voice.choked = end, False


def _bend(voice: Voice, bends: list[tuple[float, float]]) -> None:
    """Give a voice the bends that fall into it, or their one value where it does not change."""
    before = [cents for time, cents in bends if time <= voice.start]
    current = before[-1] if before else 0.0
    within = [(time - voice.start, cents) for time, cents in bends
              if voice.start < time < voice.start + voice.length]
    if any(cents != current for _, cents in within):
        voice.bends = ((0.0, current), *within)
    else:
        voice.cents += current


def _resampled(sample: Sample, voice: Voice, rate: int) -> np.ndarray:
    """The voice's wave at its pitch, loops unrolled, before filter and envelope; float32 [<= length]."""
    v = voice.values
    offset = int(v[Gen.START] + 32768 * v[Gen.START_COARSE])
    end = len(sample.wave_N) + int(v[Gen.END] + 32768 * v[Gen.END_COARSE])
    offset, end = max(offset, 0), min(end, len(sample.wave_N))
    source_N = sample.wave_N[offset:end]
    root = v[Gen.ROOT_KEY] if v[Gen.ROOT_KEY] >= 0 else sample.root
    cents = ((voice.key - root) * v[Gen.SCALE_TUNING] + 100 * v[Gen.COARSE_TUNE] + v[Gen.FINE_TUNE]
             + sample.correction + voice.cents)
    step = sample.rate / rate * 2 ** (cents / 1200)
    moves = voice.bends or v[Gen.MOD_ENV_PITCH] or v[Gen.MOD_LFO_PITCH] or v[Gen.VIB_LFO_PITCH]
    steps = step * np.exp2(_pitch_curve(voice, rate) / 1200) if moves else None
    lead = float(CONTROL * steps.sum()) if steps is not None else step * voice.length
    source_N = _unrolled(source_N, sample, voice, offset, int(lead) + 2,
                         step * voice.release if steps is None else
                         float(CONTROL * steps[:voice.release // CONTROL + 1].sum()))
    if steps is None:
        frames = min(voice.length, int((len(source_N) - 1) / step) + 1)
    else:
        starts = CONTROL * np.concatenate([[0.0], np.cumsum(steps)])
        position_N = (starts[:-1, None] + steps[:, None] * np.arange(CONTROL)).reshape(-1)
        frames = min(voice.length, int(np.searchsorted(position_N, len(source_N) - 1)))
    padded_N = np.concatenate([source_N[:1], source_N, source_N[-1:], source_N[-1:]])
    wave_N = np.empty(frames, np.float32)
    ramp = step * np.arange(min(BLOCK, frames))
    for first in range(0, frames, BLOCK):
        last = min(first + BLOCK, frames)
        at = ramp[:last - first] + first * step if steps is None else position_N[first:last]
        _cubic(padded_N, at, wave_N[first:last])
    if frames < voice.length:                   # a recording that breaks off does not click
        fade = min(32, frames)
        wave_N[frames - fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return wave_N


def _unrolled(source_N: np.ndarray, sample: Sample, voice: Voice, offset: int, needed: int,
              released_at: float) -> np.ndarray:
    """The recording with its loop repeated until `needed` samples, or until release in mode 3."""
    v = voice.values
    begin = sample.loop_start - offset + int(v[Gen.LOOP_START] + 32768 * v[Gen.LOOP_START_COARSE])
    end = sample.loop_end - offset + int(v[Gen.LOOP_END] + 32768 * v[Gen.LOOP_END_COARSE])
    mode = int(v[Gen.LOOP_MODE])
    if mode not in (1, 3) or not 0 <= begin < end <= len(source_N):
        return source_N
    until = needed if mode == 1 else min(needed, int(released_at))
    turns = max(-(-(until - end) // (end - begin)), 0)
    after_N = source_N[begin:begin + 3] if mode == 1 else source_N[end:]
    return np.concatenate([source_N[:end], np.tile(source_N[begin:end], turns), after_N])


def _cubic(padded_N: np.ndarray, position_N: np.ndarray, out_N: np.ndarray) -> None:
    """Catmull-Rom interpolation of `padded_N` (one sample before, two after) into `out_N`."""
    index = position_N.astype(np.intp)
    part = (position_N - index).astype(np.float32)
    before, here = padded_N.take(index), padded_N[1:].take(index)
    after, beyond = padded_N[2:].take(index), padded_N[3:].take(index)
    rise = here - after
    slope = after - before                      # all three coefficients are twice too large
    cube = beyond - before + 3 * rise
    square = -2 * rise - cube - slope
    cube *= part
    cube += square
    cube *= part
    cube += slope
    cube *= part
    cube *= np.float32(0.5)
    np.add(cube, here, out=out_N)


def _pitch_curve(voice: Voice, rate: int) -> np.ndarray:
    """Cents by which envelope, oscillators and bends move the pitch, every CONTROL samples."""
    v = voice.values
    time = np.arange(-(-voice.length // CONTROL)) * CONTROL
    cents = np.zeros(len(time))
    if v[Gen.MOD_ENV_PITCH]:
        cents += v[Gen.MOD_ENV_PITCH] * _mod_envelope(voice, time / rate, rate)
    if v[Gen.MOD_LFO_PITCH]:
        cents += v[Gen.MOD_LFO_PITCH] * _lfo(v[Gen.MOD_LFO_DELAY], v[Gen.MOD_LFO_RATE], time / rate)
    if v[Gen.VIB_LFO_PITCH]:
        cents += v[Gen.VIB_LFO_PITCH] * _lfo(v[Gen.VIB_LFO_DELAY], v[Gen.VIB_LFO_RATE], time / rate)
    if voice.bends:
        times, values = np.array(voice.bends).T
        cents += values[np.searchsorted(times, time, side="right") - 1]
    return cents


def _lfo(delay: float, rate: float, time_s: np.ndarray) -> np.ndarray:
    """The triangle of an oscillator, -1..1, rising from 0 after its delay."""
    turns = np.maximum(time_s - _seconds(delay), 0) * (8.176 * 2 ** (rate / 1200))
    return 1 - np.abs((turns + 0.75) % 1 * 4 - 2)


def _mod_envelope(voice: Voice, time_s: np.ndarray, rate: int) -> np.ndarray:
    """The modulation envelope, 0..1: convex attack, then straight lines (section 8.1.2)."""
    v = voice.values
    stages = [_seconds(v[g]) for g in (Gen.MOD_DELAY, Gen.MOD_ATTACK, Gen.MOD_HOLD, Gen.MOD_DECAY)]
    sustain = 1 - min(max(v[Gen.MOD_SUSTAIN], 0), 1000) / 1000
    stages[3] *= 1 - sustain
    corners = np.cumsum([0.0, *stages])

    def held(at_s: np.ndarray) -> np.ndarray:
        level = np.interp(at_s, corners, [0.0, 0.0, 1.0, 1.0, sustain])
        rising = 1 + 40 / 96 * np.log10(np.maximum(level, 1e-5))
        return np.where(at_s < corners[2], np.maximum(rising, 0), level)

    release_s = voice.release / rate
    at_release = float(held(np.array([release_s]))[0])
    fall = (time_s - release_s) / max(_seconds(v[Gen.MOD_RELEASE]), 1e-3)
    return np.where(time_s < release_s, held(time_s), np.maximum(at_release - fall, 0))


def _mix(out_CN: np.ndarray, wave_N: np.ndarray, group: list[Voice], rate: int) -> None:
    """Filter the wave once for all voices of a group, shape each by its envelope, and add them."""
    longest = max(group, key=lambda voice: voice.length)
    v = longest.values
    wave_N = _filtered(wave_N[:longest.length], longest, rate)
    if v[Gen.MOD_LFO_VOLUME]:
        lfo = _lfo(v[Gen.MOD_LFO_DELAY], v[Gen.MOD_LFO_RATE], np.arange(len(wave_N)) / rate)
        wave_N = wave_N * np.float32(10) ** (v[Gen.MOD_LFO_VOLUME] / 200 * lfo)
    envelope_N = _volume_envelope(v, len(wave_N), rate)
    held_N = wave_N * envelope_N
    release_s = max(_seconds(v[Gen.VOL_RELEASE]), RELEASE_MIN_S)
    longest_tail = max(min(x.length, len(wave_N)) - x.release for x in group)
    fall_N = np.exp(np.arange(max(longest_tail, 0), dtype=np.float32)
                    * np.float32(-RANGE_DB / 20 * np.log(10) / (release_s * rate)))
    fade_N = np.linspace(1, 0, max(round(FADE_S * rate), 1), dtype=np.float32)
    for voice in group:
        length = min(voice.length, len(wave_N))
        release = min(voice.release, length)
        sound_N = np.empty(length, np.float32)
        sound_N[:release] = held_N[:release]
        if release < length:
            np.multiply(wave_N[release:length], fall_N[:length - release], out=sound_N[release:])
            sound_N[release:] *= envelope_N[release]
        if voice.choked and length == voice.length:
            fade = min(len(fade_N), length)
            sound_N[length - fade:] *= fade_N[-fade:]
        gain = GAIN * 10 ** (-max(voice.values[Gen.ATTENUATION], 0.0) / 200)
        angle = np.pi / 2 * (min(max(voice.values[Gen.PAN], -500), 500) / 1000 + 0.5)
        gains = gain * np.array([np.cos(angle), np.sin(angle)], np.float32)
        stop = voice.start + length
        if len(out_CN) == 1:
            sound_N *= gains.mean()
            out_CN[0, voice.start:stop] += sound_N
        else:
            out_CN[0, voice.start:stop] += sound_N * gains[0]
            out_CN[1, voice.start:stop] += sound_N * gains[1]


def _volume_envelope(v: list[float], frames: int, rate: int) -> np.ndarray:
    """Gain of a note that is held: delay, linear attack, hold, decay linear in dB, sustain."""
    delay, attack, hold = (_seconds(v[g]) * rate for g in (
        Gen.VOL_DELAY, Gen.VOL_ATTACK, Gen.VOL_HOLD))
    sustain_db = _sustain_db(v)
    decay = _seconds(v[Gen.VOL_DECAY]) * rate * sustain_db / RANGE_DB
    first, top = min(round(delay), frames), min(round(delay + attack), frames)
    fall, flat = (min(round(delay + attack + hold + extra), frames) for extra in (0.0, decay))
    envelope_N = np.empty(frames, np.float32)
    envelope_N[:first] = 0
    envelope_N[first:top] = np.arange(top - first, dtype=np.float32) / np.float32(max(attack, 1))
    envelope_N[top:fall] = 1
    slope = -sustain_db / 20 * np.log(10) / max(decay, 1)
    envelope_N[fall:flat] = np.exp(np.arange(flat - fall, dtype=np.float32) * np.float32(slope))
    envelope_N[flat:] = 10 ** (-sustain_db / 20)
    return envelope_N


def _filtered(wave_N: np.ndarray, voice: Voice, rate: int) -> np.ndarray:
    """The wave through the voice's low-pass filter, in runs of one cutoff where that moves."""
    v = voice.values
    limit = 1200 * np.log2(0.4 * rate / 8.176)          # 0.8 of Nyquist: above, nothing is heard of it
    gain = np.float32(10 ** (-v[Gen.RESONANCE] / 400))      # half the peak's height off (section 8.1.2)
    if not (v[Gen.MOD_ENV_CUTOFF] or v[Gen.MOD_LFO_CUTOFF]):
        steps = round(v[Gen.CUTOFF] / CUTOFF_STEP)
        if steps * CUTOFF_STEP >= limit:
            return wave_N if gain == 1 else wave_N * gain
        return lfilter(*_lowpass(steps * CUTOFF_STEP, v[Gen.RESONANCE], rate), wave_N) * gain
    time_s = np.arange(-(-len(wave_N) // CONTROL)) * (CONTROL / rate)
    cents = v[Gen.CUTOFF] + np.zeros(len(time_s))
    if v[Gen.MOD_ENV_CUTOFF]:
        cents += v[Gen.MOD_ENV_CUTOFF] * _mod_envelope(voice, time_s, rate)
    if v[Gen.MOD_LFO_CUTOFF]:
        cents += v[Gen.MOD_LFO_CUTOFF] * _lfo(v[Gen.MOD_LFO_DELAY], v[Gen.MOD_LFO_RATE], time_s)
    step_T = np.round(np.clip(cents, 1500, limit) / CUTOFF_STEP).astype(int)
    turns = np.flatnonzero(np.diff(step_T)) + 1
    state = np.zeros(2)
    out_N = np.empty(len(wave_N), np.float32)
    for first, last in zip([0, *turns], [*turns, len(step_T)]):
        piece = slice(first * CONTROL, last * CONTROL)
        b, a = _lowpass(step_T[first] * CUTOFF_STEP, v[Gen.RESONANCE], rate)
        out_N[piece], state = lfilter(b, a, wave_N[piece], zi=state)
    out_N *= gain
    return out_N


def _lowpass(cents: float, resonance_cb: float, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """A low-pass of two poles, flat at resonance 0, by the bilinear transform."""
    angle = 2 * np.pi * 8.176 * 2 ** (cents / 1200) / rate
    alpha = np.sin(angle) / (2 * 10 ** ((resonance_cb / 10 - 3.01) / 20))
    side = (1 - np.cos(angle)) / 2
    return (np.array([side, 2 * side, side]) / (1 + alpha),
            np.array([1 + alpha, -2 * np.cos(angle), 1 - alpha]) / (1 + alpha))


def _sustain_db(v: list[float]) -> float:
    """How far the volume envelope falls before it stays; RANGE_DB is silence."""
    return min(max(v[Gen.VOL_SUSTAIN] / 10, 0.0), RANGE_DB)


def _seconds(timecents: float) -> float:
    """Seconds of a time in timecents; -32768 and all that lies below 1 ms is none."""
    return 2 ** (min(timecents, 8000) / 1200) if timecents > -12000 else 0.0
