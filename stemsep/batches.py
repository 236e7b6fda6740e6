"""Which windows a step sees, and the stream of their batches from the store to the devices.

Everything is a function of (seed, step): there is no iterator to save, and resuming is starting at
another step.
"""

from collections import deque
from typing import Any, Iterable, Iterator, Sequence

import numpy as np

from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.parallel import DataParallel
from stemsep.store import Record, Store

VALIDATION = 2**40  # the "step" whose draw of windows validation uses; no run gets that far


def window_ids(seed: int, step: int, lengths: np.ndarray, *, window: int, batch: int, stems: int,
               remix: float) -> np.ndarray:
    """Draw which windows make up the global batch of one step.

    lengths: frames of each track, int [tracks]. Returns int [batch, stems, 2]: track and first
    frame of each stem of each window; a share `remix` of the windows draws every stem by itself,
    the others take all from one place. A track is drawn in proportion to its length, so every
    second of music is seen equally often. The same (seed, step) draws the same windows on any
    number of hosts.
    """
    rng = np.random.default_rng((seed, step))
    # A track shorter than the window starts at 0 and is padded.
    room = np.maximum(lengths - window, 0) + 1
    track = rng.choice(len(lengths), size=(batch, stems), p=lengths / lengths.sum())
    ids = np.stack([track, rng.integers(0, room[track])], axis=-1)
    together = rng.random(batch) >= remix
    ids[together] = ids[together, :1]
    return ids


class Batches:
    """The batches of one split of a store: {"stems": float16 [B, S, T, C, F, 2]}, S its stems."""

    def __init__(self, store: Store, split: str, config: Config, devices: DataParallel) -> None:
        self.records: list[Record] = store.tracks(split)
        if not self.records:
            raise InputError(
                f"{config.store}: no tracks in the split {split!r}; "
                f"give {config.data.source} some, or check its folders"
            )
        self._lengths = np.array([record.frames for record in self.records])
        self._store, self._config, self._devices = store, config, devices

    def stream(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """Yield (step, batch on the devices) for start <= step < stop, reading ahead."""
        c = self._config
        return self._ahead(
            (step, self._draw(step, c.train.batch, c.augment.remix)) for step in range(start, stop)
        )

    def fixed(self, windows: int) -> Iterator[tuple[int, Any]]:
        """Yield (number, batch) of the windows of validation: the same at every call, as they are
        in their songs.
        """
        count = -(-windows // self._config.train.batch)
        ids = self._draw(VALIDATION, count * self._config.train.batch, 0.0)
        return self._ahead(enumerate(np.split(ids, count)))

    def _draw(self, step: int, batch: int, remix: float) -> np.ndarray:
        c = self._config
        return window_ids(c.seed, step, self._lengths, window=c.data.window_frames, batch=batch,
                          stems=len(self._store.spec.stems), remix=remix)

    def _ahead(self, draws: Iterable[tuple[int, np.ndarray]]) -> Iterator[tuple[int, Any]]:
        mine = self._devices.share(self._config.train.batch)
        reading: deque = deque()
        for step, ids in draws:
            reading.append((step, self._read(ids[mine])))
            if len(reading) > self._config.data.prefetch:
                yield self._finish(*reading.popleft())
        while reading:
            yield self._finish(*reading.popleft())

    def _read(self, ids: np.ndarray) -> list[list[Any]]:
        frames = self._config.data.window_frames
        return [[self._store.read(self.records[track], int(first), frames, stems=[stem])
                 for stem, (track, first) in enumerate(window)] for window in ids]

    def _finish(self, step: int, reads: Sequence[Sequence[Any]]) -> tuple[int, Any]:
        spec, frames = self._store.spec, self._config.data.window_frames
        shape = (len(reads), len(spec.stems), frames, spec.channels, spec.stft.bins, 2)
        batch = np.empty(shape, np.float16)
        for window, futures in zip(batch, reads):
            for stem, future in zip(window, futures):
                stem[:] = future.result()[:, 0]
        return step, self._devices.put({"stems": batch})
