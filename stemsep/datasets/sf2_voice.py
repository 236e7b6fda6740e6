"""How one voice of a SoundFont sounds: its recording at its pitch, its filter and its envelopes.

The signal path is that of the SoundFont specification 2.04, chapter 9. Generators hold times in
timecents, pitches in cents, cutoffs in cents above 8.176 Hz and levels in tenths of a decibel.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

import numpy as np
from scipy.signal import lfilter

from stemsep.datasets.sf2 import Gen, Region, Sample, modulation
from stemsep.datasets.sf2_motion import (
    RANGE_DB, decay_of, lfo, mod_envelope, release_s, seconds, sustain_db
)

FLOOR_DB = 80.0         # below full velocity: there a voice has ended
ATTENUATION = 0.4       # of what a font asks for, as in the hardware that fonts were made on
HEADROOM_DB = 4.15      # what a font may amplify: players have it, for their volume starts at 100
CONTROL = 64            # samples between the points of a moving pitch, cutoff or level
CUTOFF_STEP = 50.0      # cents between the cutoffs of the filters in use
BLOCK = 1024            # samples between the points where a recording's loudness is looked at
CACHED = 8192           # samples interpolated at once, a multiple of CONTROL: what fits the cache

# What decides the wave before the filter, and what decides its shape after.
WAVE = (*range(Gen.CUTOFF), Gen.END_COARSE, Gen.VOL_DELAY,
        *range(Gen.MOD_LFO_DELAY, Gen.KEY_MOD_DECAY + 1),
        *range(Gen.LOOP_START_COARSE, Gen.VELOCITY), *range(Gen.LOOP_END_COARSE, Gen.ROOT_KEY + 1))
SHAPE = (*range(Gen.RESONANCE, Gen.END_COARSE), Gen.MOD_LFO_VOLUME,
         *range(Gen.MOD_LFO_DELAY, Gen.KEY_VOL_DECAY + 1))


@dataclass(slots=True)
class Voice:
    """One region sounding for one note. Times in samples; `release` and `length` from `start`.

    values: generators with modulators added, by `Gen`. cents: detuning, with the bend if it is
    constant; bends: (samples from start, cents), where the pitch moves while the voice sounds.
    """

    region: Region
    key: int
    values: list[float]
    cents: float
    start: int
    release: int
    length: int
    bends: tuple[tuple[float, float], ...] = ()
    choked: bool = False

    def group(self) -> tuple[tuple, tuple]:
        """What two voices must have in common to share a wave, and to share its filtering."""
        v = self.values
        wave = (id(self.region), self.key, self.cents, *(v[g] for g in WAVE))
        if self.bends or v[Gen.MOD_ENV_PITCH] or v[Gen.LOOP_MODE] == 3:
            wave += (self.release, self.bends)
        shape = (round(v[Gen.CUTOFF] / CUTOFF_STEP), *(v[g] for g in SHAPE))
        if v[Gen.MOD_ENV_CUTOFF]:
            shape += (self.release,)
        return wave, shape

    def shorten(self, rate: int) -> None:
        """End the voice where its envelope has fallen below the floor."""
        v = self.values
        room_db = max(FLOOR_DB - max(v[Gen.ATTENUATION] / 10, 0.0), 0.0)
        top_s, per_s = decay_of(v)
        fallen_db = min(max(self.release / rate - top_s, 0.0) * per_s, sustain_db(v))
        tail_s = release_s(v) * max(room_db - fallen_db, 0.0) / RANGE_DB
        end = self.release + round(tail_s * rate)
        if sustain_db(v) >= room_db:
            end = min(end, round((top_s + room_db / per_s) * rate))
        self._stop(end)

    def trim(self, wave_N: np.ndarray, peak_T: np.ndarray, rate: int) -> None:
        """End the voice where, besides, all that is left of its recording is too soft.

        wave_N: its wave, maybe longer than the voice; peak_T: the wave's `block_peaks`.
        """
        v = self.values
        length = min(self.length, len(wave_N))
        whole = length // BLOCK             # what longer voices play after this one does not count
        last = np.abs(wave_N[whole * BLOCK:length]).max(initial=0)
        rest_T = np.maximum.accumulate(np.append(peak_T[:whole], last)[::-1])[::-1]
        top_s, per_s = decay_of(v)
        at_s = np.arange(len(rest_T)) * (BLOCK / rate)
        down_s = np.minimum(at_s, self.release / rate)
        level_db = 20 * np.log10(np.maximum(rest_T, 1e-6))
        level_db -= np.clip((down_s - top_s) * per_s, 0, sustain_db(v))
        level_db -= (at_s - down_s) * (RANGE_DB / release_s(v))
        level_db += (v[Gen.RESONANCE] / 2 - max(v[Gen.ATTENUATION], 0.0)) / 10
        soft = (level_db < -FLOOR_DB) & (at_s > top_s)
        if soft.any():
            self._stop(int(soft.argmax()) * BLOCK)

    def _stop(self, end: int) -> None:
        if end < self.length:
            self.length, self.choked = end, False

    def bend(self, bends: list[tuple[float, float]]) -> None:
        """Take those of a part's bends (sample, cents), in order, that fall into the voice."""
        first = bisect_right(bends, self.start, key=itemgetter(0))
        last = bisect_left(bends, self.start + self.length, key=itemgetter(0))
        current = bends[first - 1][1] if first else 0.0
        within = [(time - self.start, cents) for time, cents in bends[first:last]]
        if any(cents != current for _, cents in within):
            self.bends = ((0.0, current), *within)
        else:
            self.cents += current

    def gains(self) -> np.ndarray:
        """Left and right at equal power, with the velocity's attenuation; float32 [2]."""
        level_db = -max(self.values[Gen.ATTENUATION] / 10, -HEADROOM_DB)
        angle = np.pi / 2 * (min(max(self.values[Gen.PAN], -500), 500) / 1000 + 0.5)
        return np.float32(10 ** (level_db / 20)) * np.array([np.cos(angle), np.sin(angle)],
                                                            np.float32)


def tone(region: Region, key: int, velocity: int) -> tuple[int, list[float]]:
    """The key that `region` plays, and its generators with the modulators added to them."""
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
    return key, values.tolist()


def resampled(sample: Sample, voice: Voice, rate: int) -> np.ndarray:
    """The recording at the voice's pitch, its loop unrolled; float32 [<= voice.length].

    It starts after the delay of the volume envelope: echoes are made so, and keep their attack.
    """
    v = voice.values
    delay = min(round(seconds(v[Gen.VOL_DELAY]) * rate), voice.length)
    length = voice.length - delay
    root = v[Gen.ROOT_KEY] if v[Gen.ROOT_KEY] >= 0 else sample.root
    cents = ((voice.key - root) * v[Gen.SCALE_TUNING] + 100 * v[Gen.COARSE_TUNE]
             + v[Gen.FINE_TUNE] + sample.correction + voice.cents)
    step = sample.rate / rate * 2 ** (cents / 1200)
    stride = CACHED
    if voice.bends or v[Gen.MOD_ENV_PITCH] or v[Gen.MOD_LFO_PITCH] or v[Gen.VIB_LFO_PITCH]:
        stride = CONTROL
        step_T = step * np.exp2(_pitch_curve(voice, delay, rate) / 1200)
    else:
        step_T = np.full(length // stride + 1, step)
    travel_T = stride * np.concatenate([[0.0], np.cumsum(step_T)])      # in the recording

    def position(frame: int) -> float:
        turn = min(frame // stride, len(step_T) - 1)
        return float(travel_T[turn] + (frame - turn * stride) * step_T[turn])

    released = max(voice.release - delay, 0)
    source_N = _unrolled(sample, v, int(position(length)) + 2, int(position(released)))
    if not len(source_N):
        return np.zeros(0, np.float32)
    last = len(source_N) - 1
    turn = min(int(np.searchsorted(travel_T, last, side="right")), len(step_T)) - 1
    frames = min(length, turn * stride + int((last - travel_T[turn]) / step_T[turn]) + 1)
    padded_N = np.concatenate([source_N[:1], source_N, source_N[-1:], source_N[-1:]])
    wave_N = np.empty(frames, np.float32)
    within = np.arange(stride)
    for first in range(0, frames, CACHED):
        turns = slice(first // stride, (first + CACHED) // stride)
        position_TN = travel_T[:-1][turns, None] + step_T[turns, None] * within
        piece_N = wave_N[first:first + CACHED]
        _cubic(padded_N, position_TN.reshape(-1)[:len(piece_N)], piece_N)
    if frames < length:                         # a recording that breaks off must not click
        fade = min(32, frames)
        wave_N[frames - fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.concatenate([np.zeros(delay, np.float32), wave_N]) if delay else wave_N


def block_peaks(wave_N: np.ndarray) -> np.ndarray:
    """The loudest sample of every BLOCK."""
    return np.pad(np.abs(wave_N), (0, -len(wave_N) % BLOCK)).reshape(-1, BLOCK).max(axis=1)


def _unrolled(sample: Sample, v: list[float], needed: int, released: int) -> np.ndarray:
    """The recording with its loop repeated: to `needed` samples or, in mode 3, to `released`."""
    first = max(int(v[Gen.START] + 32768 * v[Gen.START_COARSE]), 0)
    last = len(sample.wave_N) + min(int(v[Gen.END] + 32768 * v[Gen.END_COARSE]), 0)
    begin = sample.loop_start + int(v[Gen.LOOP_START] + 32768 * v[Gen.LOOP_START_COARSE]) - first
    end = sample.loop_end + int(v[Gen.LOOP_END] + 32768 * v[Gen.LOOP_END_COARSE]) - first
    source_N = sample.wave_N[first:max(last, 0)]
    mode = int(v[Gen.LOOP_MODE])
    if mode not in (1, 3) or not 0 <= begin < end <= len(source_N):
        return source_N
    until = needed if mode == 1 else min(needed, released)
    turns = max(-(-(until - end) // (end - begin)), 0)
    loop_N = source_N[begin:end]
    after_N = np.resize(loop_N, 3) if mode == 1 else source_N[end:]
    # A loop may be one short period: thousands of copies go quicker in lots.
    lot = min(max(4096 // len(loop_N), 1), max(turns, 1))
    loops_N = np.tile(np.tile(loop_N, lot), -(-turns // lot))[:turns * len(loop_N)]
    return np.concatenate([source_N[:end], loops_N, after_N])


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


def _pitch_curve(voice: Voice, delay: int, rate: int) -> np.ndarray:
    """Cents by which envelope, oscillators and bends move the pitch, from `delay` samples on."""
    v = voice.values
    time_T = delay + _control_times(voice.length - delay)
    cents_T = np.zeros(len(time_T))
    if v[Gen.MOD_ENV_PITCH]:
        released_s = voice.release / rate
        cents_T += v[Gen.MOD_ENV_PITCH] * mod_envelope(v, time_T / rate, released_s=released_s)
    if v[Gen.MOD_LFO_PITCH]:
        cents_T += v[Gen.MOD_LFO_PITCH] * lfo(v, Gen.MOD_LFO_DELAY, time_T / rate)
    if v[Gen.VIB_LFO_PITCH]:
        cents_T += v[Gen.VIB_LFO_PITCH] * lfo(v, Gen.VIB_LFO_DELAY, time_T / rate)
    if voice.bends:
        times, cents = np.array(voice.bends).T
        cents_T += cents[np.searchsorted(times, time_T, side="right") - 1]
    return cents_T


def _control_times(frames: int) -> np.ndarray:
    """Every CONTROL-th sample, the one after the end included."""
    return np.arange(-(-frames // CONTROL) + 1) * CONTROL


def filtered(wave_N: np.ndarray, voice: Voice, rate: int) -> np.ndarray:
    """The wave through the voice's low-pass filter and tremolo; float32, as long."""
    v = voice.values
    limit = 1200 * np.log2(0.4 * rate / 8.176)          # 0.8 of Nyquist: above, it is hardly heard
    gain = np.float32(10 ** (-v[Gen.RESONANCE] / 400))      # half the peak's height (section 8.1.2)
    if v[Gen.MOD_ENV_CUTOFF] or v[Gen.MOD_LFO_CUTOFF]:
        wave_N = _swept(wave_N, voice, rate, limit)
    elif v[Gen.CUTOFF] < limit:
        cutoff = round(v[Gen.CUTOFF] / CUTOFF_STEP) * CUTOFF_STEP
        wave_N = lfilter(*_lowpass(cutoff, v[Gen.RESONANCE], rate), wave_N).astype(np.float32)
    if v[Gen.MOD_LFO_VOLUME]:
        time_T = _control_times(len(wave_N))
        level_T = 10 ** (v[Gen.MOD_LFO_VOLUME] / 200 * lfo(v, Gen.MOD_LFO_DELAY, time_T / rate))
        between = np.arange(CONTROL, dtype=np.float32) / np.float32(CONTROL)
        level_TN = np.diff(level_T).astype(np.float32)[:, None] * between
        level_TN += level_T[:-1, None].astype(np.float32)
        wave_N = wave_N * level_TN.reshape(-1)[:len(wave_N)]
    return wave_N if gain == 1 else wave_N * gain


def _swept(wave_N: np.ndarray, voice: Voice, rate: int, limit: float) -> np.ndarray:
    """The wave through a filter that envelope and oscillator move, in runs of one cutoff."""
    v = voice.values
    time_s = _control_times(len(wave_N))[:-1] / rate
    cents_T = np.full(len(time_s), v[Gen.CUTOFF])
    if v[Gen.MOD_ENV_CUTOFF]:
        cents_T += v[Gen.MOD_ENV_CUTOFF] * mod_envelope(v, time_s, released_s=voice.release / rate)
    if v[Gen.MOD_LFO_CUTOFF]:
        cents_T += v[Gen.MOD_LFO_CUTOFF] * lfo(v, Gen.MOD_LFO_DELAY, time_s)
    step_T = np.round(np.clip(cents_T, 1500, limit) / CUTOFF_STEP)
    turns = (np.flatnonzero(np.diff(step_T)) + 1).tolist()
    state = np.zeros(2)
    wave_N = wave_N.astype(np.float64)
    out_N = np.empty(len(wave_N), np.float32)
    for first, last in zip([0, *turns], [*turns, len(step_T)]):
        run = slice(first * CONTROL, last * CONTROL)
        b, a = _lowpass(float(step_T[first]) * CUTOFF_STEP, v[Gen.RESONANCE], rate)
        out_N[run], state = lfilter(b, a, wave_N[run], zi=state)
    return out_N


@lru_cache(4096)
def _lowpass(cents: float, resonance_cb: float, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """A low-pass of two poles, flat at resonance 0, by the bilinear transform."""
    angle = 2 * np.pi * 8.176 * 2 ** (cents / 1200) / rate
    alpha = np.sin(angle) / (2 * 10 ** ((resonance_cb / 10 - 3.01) / 20))
    side = (1 - np.cos(angle)) / 2
    return (np.array([side, 2 * side, side]) / (1 + alpha),
            np.array([1 + alpha, -2 * np.cos(angle), 1 - alpha]) / (1 + alpha))
