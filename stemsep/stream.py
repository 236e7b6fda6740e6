"""A song as a stream: blocks of samples to windows or frames, and those of stems back to samples.

Each function takes an iterator and returns one, so a song passes through block by block and memory
does not grow with it. How the input is cut into blocks changes nothing: a song has one grid of
frames and one of windows.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from stemsep import audio
from stemsep.stft import Stft

Item = TypeVar("Item")

_BLOCK = 1 << 17    # samples of a file that are read at once


class Tape:
    """Waves [C, n] of any lengths, given back in lengths of the taker's choice."""

    def __init__(self, blocks: Iterable[np.ndarray], channels: int) -> None:
        self._blocks = iter(blocks)
        self._held = np.zeros((channels, 0), np.float32)

    def take(self, samples: int) -> np.ndarray:
        """Return the next [C, samples]; silence follows the end."""
        return fit(self.take_up_to(samples), samples)

    def take_up_to(self, samples: int) -> np.ndarray:
        """Return the next [C, samples], or what is left before the end."""
        parts, count = [self._held], self._held.shape[1]
        while count < samples and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            count += block.shape[1]
        parts = [part for part in parts if part.shape[1]] or parts[:1]
        # One part is a view: cutting up a whole song that is in memory copies nothing.
        joined = np.concatenate(parts, 1) if len(parts) > 1 else parts[0]
        self._held = joined[:, samples:]
        return joined[:, :samples]


def cut_blocks(blocks: Iterable[np.ndarray], channels: int, *, samples: int,
               size: int) -> Iterator[np.ndarray]:
    """Cut blocks of any lengths to [C, size], `samples` in all: silence follows what is missing."""
    tape = Tape(blocks, channels)
    for first in range(0, samples, size):
        yield tape.take(min(size, samples - first))


def add(waves: Sequence[Iterable[np.ndarray]], channels: int, *,
        size: int) -> Iterator[np.ndarray]:
    """Add waves that come in blocks of any lengths; those that end before the longest are silent
    from there on.
    """
    if len(waves) == 1:
        yield from waves[0]
        return
    tapes = [Tape(wave, channels) for wave in waves]
    while True:
        parts = [tape.take_up_to(size) for tape in tapes]
        samples = max(part.shape[1] for part in parts)
        if not samples:
            return
        total_CN = np.zeros((channels, samples), np.float32)
        for part in parts:
            total_CN[:, :part.shape[1]] += part
        yield total_CN


def add_files(clips: Sequence[audio.Clip], infos: Mapping[audio.Clip, audio.AudioInfo], *,
              rate: int, channels: int, surround: str = "refuse") -> Iterator[np.ndarray]:
    """Yield the sum of at least one file block by block, float32 [channels, n] at `rate` Hz.

    infos: what `audio.probe` says of each. surround: as in `audio.remap`. Raises as `audio.blocks`.
    """
    by_rate: dict[int, list[Iterator[np.ndarray]]] = {}
    for clip in clips:
        waves = _remapped(clip, channels, surround)
        by_rate.setdefault(infos[clip].sample_rate, []).append(waves)
    # Files of one rate are added first, so that a stem is resampled once.
    sums = [audio.resample(add(waves, channels, size=_BLOCK), own, rate)
            for own, waves in by_rate.items()]
    return add(sums, channels, size=_BLOCK)


def _remapped(clip: audio.Clip, channels: int, surround: str) -> Iterator[np.ndarray]:
    for block_CN in audio.blocks(clip, _BLOCK):
        yield audio.remap(block_CN, channels, clip, surround)


class Mixture:
    """A song on its way in: cut to blocks of one size, counted, and kept until its stems are out.

    samples: taken so far. keep: whether `take` is going to ask for them again.
    """

    def __init__(self, blocks: Iterable[np.ndarray], channels: int, *, size: int,
                 keep: bool = False) -> None:
        self.samples = 0
        self._tape, self._size, self._keep = Tape(blocks, channels), size, keep
        self._kept: deque[np.ndarray] = deque()
        self._delayed = Tape(self._let_go(), channels)

    def __iter__(self) -> Iterator[np.ndarray]:
        while (block := self._tape.take_up_to(self._size)).shape[1]:
            self.samples += block.shape[1]
            if self._keep:
                self._kept.append(block)
            yield block

    def take(self, samples: int) -> np.ndarray:
        """Return the next [C, samples] of those that went in."""
        return self._delayed.take(samples)

    def _let_go(self) -> Iterator[np.ndarray]:
        while self._kept:
            yield self._kept.popleft()


def padded(blocks: Iterable[np.ndarray], stft: Stft) -> Iterator[np.ndarray]:
    """Yield waves [C, n] with the silence before and after them that the frames of ``stft.analyse``
    see.
    """
    samples = None
    for block in blocks:
        if samples is None:
            yield np.zeros((len(block), stft.n_fft // 2), np.float32)
            samples = 0
        samples += block.shape[1]
        yield block
    if samples is not None:
        tail = (stft.frames(samples) - 1) * stft.hop + stft.n_fft // 2 - samples
        yield np.zeros((len(block), tail), np.float32)


def analyse(blocks: Iterable[np.ndarray], stft: Stft) -> Iterator[np.ndarray]:
    """Transform waves [C, n] to complex64 [C, T, F]: the frames of ``stft.analyse``, as they come.
    """
    held = None
    for block in padded(blocks, stft):
        held = block if held is None else np.concatenate([held, block], 1)
        frames = (held.shape[1] - stft.n_fft) // stft.hop + 1
        if frames > 0:
            yield stft.transform(stft.cut(held, frames))
            held = held[:, frames * stft.hop:]


def cut_windows(blocks: Iterable[np.ndarray], *, samples: int,
                advance: int) -> Iterator[np.ndarray]:
    """Cut waves [C, n] into windows [C, samples], each so many samples after the one before.

    The first begins with the first block; the last ends with the last and may be shorter.
    """
    held, left = None, 0        # left: samples that are in no window yet
    for block in blocks:
        held = block if held is None else np.concatenate([held, block], 1)
        left += block.shape[1]
        while held.shape[1] >= samples:
            yield held[:, :samples]
            held = held[:, advance:]
            left = held.shape[1] - (samples - advance)
    if held is not None and left > 0:
        yield held


def fade(frames: int) -> np.ndarray:
    """Return the weight of each frame of a window, float32: a raised cosine, nowhere 0.

    Near its borders a network hears the music from one side only, so those frames count less.
    """
    return (np.sin(np.pi * (np.arange(frames) + 0.5) / frames) ** 2).astype(np.float32)


def neighbours(items: Iterable[Item], most: int) -> Iterator[tuple[Item, int, int]]:
    """Yield each item with how many come before it and how many after it, counted to `most`."""
    waiting, before = deque[Item](), 0
    for item in items:
        waiting.append(item)
        if len(waiting) > most:
            yield waiting.popleft(), min(before, most), most
            before += 1
    while waiting:
        item = waiting.popleft()
        yield item, min(before, most), len(waiting)
        before += 1


def cross_fade(weights: np.ndarray, *, advance: int, before: int, after: int) -> np.ndarray:
    """Return the weights of a window's frames over the sum of those of all windows that meet at a
    frame, each `advance` frames after the one before: of a song they sum to 1.

    before, after: windows there are on either side of it that reach into it.
    """
    total = weights.copy()
    for reach in range(advance, before * advance + 1, advance):
        total[:-reach] += weights[reach:]
    for reach in range(advance, after * advance + 1, advance):
        total[reach:] += weights[:-reach]
    return weights / total


def copies(blocks: Iterable[Item], count: int) -> list[Iterator[Item]]:
    """Return `count` iterators over the same blocks, of which none is kept longer than until all
    have taken it (itertools.tee keeps dozens).
    """
    source, waiting = iter(blocks), [deque[Item]() for _ in range(count)]

    def copy(own: deque[Item]) -> Iterator[Item]:
        while True:
            if not own:
                if (block := next(source, None)) is None:
                    return
                for each in waiting:
                    each.append(block)
            yield own.popleft()

    return [copy(own) for own in waiting]


def deal(items: Iterable[tuple[int, Item]], hands: int) -> list[Iterator[Item]]:
    """Return an iterator of each hand's items, of those that come as (hand, item) in turn."""
    source, waiting = iter(items), [deque[Item]() for _ in range(hands)]

    def hand(own: deque[Item]) -> Iterator[Item]:
        while True:
            while not own:
                if (dealt := next(source, None)) is None:
                    return
                waiting[dealt[0]].append(dealt[1])
            yield own.popleft()

    return [hand(own) for own in waiting]


def mean(waves: Sequence[Iterator[np.ndarray]], delays: Sequence[int], *,
         size: int) -> Iterator[np.ndarray]:
    """Average waves [S, C, n], each after it began so many samples late; the first is not late."""
    if len(waves) == 1:
        yield from waves[0]
        return
    first = next(waves[0], None)
    if first is None:
        return
    shape = first.shape[:2]
    tapes = [Tape(_flat(wave), shape[0] * shape[1])
             for wave in [itertools.chain([first], waves[0]), *waves[1:]]]
    for tape, delay in zip(tapes, delays):
        tape.take(delay)
    while (part := tapes[0].take_up_to(size)).shape[1]:
        total = sum((tape.take(part.shape[1]) for tape in tapes[1:]), part)
        yield (total / np.float32(len(tapes))).reshape(*shape, -1)


def _flat(waves: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for wave_SCN in waves:
        yield wave_SCN.reshape(-1, wave_SCN.shape[-1])


def overlapped(parts: Iterable[tuple[np.ndarray, np.ndarray, int]], mixture: Mixture, *,
               skip: int) -> Iterator[np.ndarray]:
    """Add up parts of stems at their places; yields [S, C, n], as many samples as the mixture has.

    Each is a wave [S, C, n], the weight [n] that it adds to the samples, and how many samples after
    it the next one begins. The sum is divided by that of the weights. skip: samples that come
    before the first of the song.
    """
    wave = weight = np.zeros(0, np.float32)     # what the parts so far began but did not finish
    first = -skip                               # place of its first sample in the song
    for part, weights, advance in parts:
        begun, begun_weight = wave, weight
        wave, weight = part.copy(), weights.copy()
        wave[..., :begun.shape[-1]] += begun
        weight[:len(begun_weight)] += begun_weight
        ready = slice(max(0, -first), min(advance, mixture.samples - first))
        if ready.stop > ready.start:
            yield wave[..., ready] / weight[ready]
        wave, weight, first = wave[..., advance:], weight[advance:], first + advance
    ready = slice(max(0, -first), mixture.samples - first)
    if ready.stop > ready.start:
        yield wave[..., ready] / weight[ready]


def synthesise(specs: Iterable[np.ndarray], stft: Stft, mixture: Mixture) -> Iterator[np.ndarray]:
    """Transform the frames [S, C, T, F] of a song, as they come, to samples [S, C, n], as many as
    the mixture has.
    """
    parts = ((stft.overlap_add(stft.inverse_frames(spec)), stft.weight(spec.shape[2]),
              spec.shape[2] * stft.hop) for spec in specs)
    return overlapped(parts, mixture, skip=stft.n_fft // 2)


def fit(wave_CN: np.ndarray, samples: int) -> np.ndarray:
    """Return [C, samples]: zeros follow the end."""
    missing = samples - wave_CN.shape[1]
    return np.pad(wave_CN, ((0, 0), (0, missing))) if missing else wave_CN
