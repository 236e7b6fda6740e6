"""Which windows a step sees, and the stream of their batches from the store to the devices.

Everything is a function of (seed, step): there is no iterator to save, and resuming is starting at
another step.
"""

import fnmatch
import math
from collections import deque
from typing import Any, Iterable, Iterator, Mapping, Sequence

import numpy as np

from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.parallel import DataParallel
from stemsep.store import Record, Store, Window
from stemsep.store.records import LEVEL_FRAMES, SILENCE_DB

VALIDATION = 2**40  # the "step" whose draw of windows validation uses; no run gets that far
Draw = tuple[int, np.ndarray, tuple[np.ndarray, np.ndarray] | None]  # step, windows, mixed in
Second = tuple[int, int, np.float32, Window]  # place, stem, gain, and the passage that is read
_SOUNDS_DB = 40  # below its loudest passage in a track a stem counts as silent


def window_ids(seed: int, step: int, lengths: np.ndarray, *, window: int, batch: int, stems: int,
               remix: float, weights: np.ndarray | None = None, sounding: float = 0.0,
               sounds: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Draw which windows make up the global batch of one step.

    lengths: frames of each track, int [tracks]. Returns int [batch, stems, 2]: track and first
    frame of each stem of each window; a share `remix` of the windows draws every stem by itself,
    the others take all from one place. A track is drawn in proportion to its length, so every
    second of music is seen equally often; weights: float [tracks], how often a second of a track is
    seen beside those of others. sounding: the share of draws that are taken where the stem sounds
    (of windows that take all from one place, where one of their stems does), of the passages
    `sounds`: for each stem int [passages, 2], track and first frame of LEVEL_FRAMES frames. The
    same (seed, step) draws the same windows on any number of hosts.
    """
    rng = np.random.default_rng((seed, step))
    # A track shorter than the window starts at 0 and is padded.
    room = np.maximum(lengths - window, 0) + 1
    shares = lengths * (1.0 if weights is None else weights)
    track = rng.choice(len(lengths), size=(batch, stems), p=shares / shares.sum())
    ids = np.stack([track, rng.integers(0, room[track])], axis=-1)
    together = rng.random(batch) >= remix
    if sounding:
        chosen = rng.random((batch, stems)) < sounding
        chosen[together] &= np.arange(stems) == rng.integers(stems, size=(batch, 1))[together]
        for stem, passages in enumerate(sounds):
            if not len(passages):
                continue
            tracks = passages[:, 0]
            ends = np.cumsum(np.ones(len(tracks)) if weights is None else weights[tracks])
            place = np.searchsorted(ends, rng.random(batch) * ends[-1], side="right")
            track, first = passages[np.minimum(place, len(tracks) - 1)].T
            # Anywhere, as long as some of the passage is in the window.
            first = first + rng.integers(1 - window, LEVEL_FRAMES, size=batch)
            there = np.stack([track, np.clip(first, 0, room[track] - 1)], axis=-1)
            own = chosen[:, stem]
            ids[own, stem] = there[own]
            ids[own & together, 0] = there[own & together]
    ids[together] = ids[together, :1]
    return ids


def passages(records: Sequence[Record], stem: int) -> np.ndarray:
    """Return where a stem sounds, as `window_ids` wants it: int [passages, 2]."""
    found = [np.zeros((0, 2), int)]
    for track, record in enumerate(records):
        levels = np.array(record.levels[stem] or (SILENCE_DB,))
        heard = np.flatnonzero(levels > max(levels.max() - _SOUNDS_DB, SILENCE_DB))
        found.append(np.stack([np.full(len(heard), track), heard * LEVEL_FRAMES], axis=-1))
    return np.concatenate(found)


def track_weights(records: Sequence[Record], weights: Mapping[str, float]) -> np.ndarray | None:
    """Return the weight of each track, by the first of the patterns `weights` that its name
    matches, else 1; None for no patterns.

    Raises InputError for a pattern that no track matches, and when all tracks have the weight 0.
    """
    if not weights:
        return None
    names = [record.name for record in records]
    for pattern in weights:
        if not fnmatch.filter(names, pattern):
            raise InputError(f"config.data.weights: {pattern!r} matches no track of the "
                             f"{len(names)} for training, as {names[0]!r}; correct the pattern")
    values = np.array([next((value for pattern, value in weights.items()
                             if fnmatch.fnmatchcase(name, pattern)), 1.0) for name in names])
    if not values.any():
        raise InputError("config.data.weights: all tracks have the weight 0; give one more")
    return values


class Batches:
    """The batches of one split of a store: {"stems": float16 [B, S, T, C, F, 2]}, S its stems.

    depth: batches that are read ahead: config.data.prefetch, or as many as config.data.prefetch_mb
    holds, one at least.
    """

    def __init__(self, store: Store, split: str, config: Config, devices: DataParallel) -> None:
        self.records: list[Record] = store.tracks(split)
        if not self.records:
            raise InputError(
                f"{config.store}: no tracks in the split {split!r}; "
                f"give {config.data.source} some, or check its folders"
            )
        self._lengths = np.array([record.frames for record in self.records])
        self._store, self._config, self._devices = store, config, devices
        windows = devices.share(config.train.batch)
        self._shape = (len(range(config.train.batch)[windows]), len(store.spec.stems),
                       config.data.window_frames, *store.spec.frame_shape)
        self.batch_bytes = 2 * math.prod(self._shape)
        fitting = int(config.data.prefetch_mb * 1e6 // self.batch_bytes)
        self.depth = max(1, min(config.data.prefetch, fitting))
        self._weights: np.ndarray | None = None
        self._sounds: list[np.ndarray] = []

    def stream(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """Yield (step, batch on the devices) for start <= step < stop, reading ahead."""
        c = self._config
        self._weights = track_weights(self.records, c.data.weights)
        if c.data.sounding:
            self._sounds = [passages(self.records, i) for i in range(len(self._store.spec.stems))]
        return self._ahead((step, self.ids(step), self.second(step))
                           for step in range(start, stop))

    def fixed(self, windows: int) -> Iterator[tuple[int, Any]]:
        """Yield (number, batch) of the windows of validation: the same at every call, as they are
        in their songs.
        """
        c = self._config
        count = -(-windows // c.train.batch)
        ids = window_ids(c.seed, VALIDATION, self._lengths, window=c.data.window_frames,
                         batch=count * c.train.batch, stems=len(self._store.spec.stems), remix=0.0)
        return self._ahead((number, part, None) for number, part in enumerate(np.split(ids, count)))

    def example(self) -> Any:
        """Return a batch of silence on the devices, of the shapes that all have."""
        return self._devices.put({"stems": np.zeros(self._shape, np.float16)})

    def ids(self, step: int) -> np.ndarray:
        """Return the windows of the global batch of a step of training, as `window_ids` does."""
        c = self._config
        return window_ids(c.seed, step, self._lengths, window=c.data.window_frames,
                          batch=c.train.batch, stems=len(self._store.spec.stems),
                          remix=c.augment.remix, weights=self._weights, sounding=c.data.sounding,
                          sounds=self._sounds)

    def second(self, step: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the passages that are mixed into the stems of a step's global batch, drawn as by
        `window_ids`, int [batch, stems, 2], and their gains, float32 [batch, stems], 0 for most.
        None without mixup.
        """
        c = self._config
        if not c.augment.mixup:
            return None
        rng = np.random.default_rng((c.seed, step, 1))
        stems = len(self._store.spec.stems)
        ids = window_ids(int(rng.integers(2**31)), step, self._lengths,
                         window=c.data.window_frames, batch=c.train.batch, stems=stems, remix=1.0,
                         weights=self._weights, sounding=c.data.sounding, sounds=self._sounds)
        gains = 10 ** (rng.uniform(*c.augment.mixup_db, size=ids.shape[:2]) / 20)
        gains[rng.random(gains.shape) >= c.augment.mixup] = 0
        return ids, gains.astype(np.float32)

    def _ahead(self, draws: Iterable[Draw]) -> Iterator[tuple[int, Any]]:
        mine = self._devices.share(self._config.train.batch)
        reading: deque = deque()
        for step, ids, second in draws:
            mixed_in = self._begin_second(*(x[mine] for x in second)) if second else []
            reading.append((step, *self._begin(ids[mine]), mixed_in))
            if len(reading) > self.depth:
                yield self._finish(*reading.popleft())
        while reading:
            yield self._finish(*reading.popleft())

    def _begin(self, ids: np.ndarray) -> tuple[np.ndarray, list[Window]]:
        """Begin to read a batch; returns its array, which the reads fill."""
        batch = np.empty(self._shape, np.float16)
        return batch, [self._read(stem, passage, out=batch[place, stem:stem + 1])
                       for place, window in enumerate(ids) for stem, passage in enumerate(window)]

    def _begin_second(self, ids: np.ndarray, gains: np.ndarray) -> list[Second]:
        """Begin to read what is mixed into a batch."""
        return [(place, stem, gains[place, stem], self._read(stem, ids[place, stem]))
                for place, stem in np.argwhere(gains)]

    def _read(self, stem: int, passage: np.ndarray, out: np.ndarray | None = None) -> Window:
        track, first = passage
        return self._store.read(self.records[track], int(first), self._config.data.window_frames,
                                stems=[stem], out=out)

    def _finish(self, step: int, batch: np.ndarray, reads: Sequence[Window],
                mixed_in: Sequence[Second]) -> tuple[int, Any]:
        for read in reads:
            read.result()
        for place, stem, gain, read in mixed_in:
            batch[place, stem] += np.float16(gain) * read.result()[0]
        return step, self._devices.put({"stems": batch})
