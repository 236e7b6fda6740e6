"""Which windows a step sees, and the stream of their batches from the store to the devices.

Everything is a function of (seed, step): there is no iterator to save, and resuming is starting at
another step.
"""

from collections import deque
from typing import Any, Iterator, Sequence

import numpy as np

from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.parallel import DataParallel
from stemsep.store import Record, Store

VALIDATION = (
    2**40
)  # the "step" whose draw of windows validation uses; no training run gets that far


def window_ids(
    seed: int,
    step: int,
    lengths: np.ndarray,
    *,
    window: int,
    batch: int,
    targets: int,
    remix: float,
) -> np.ndarray:
    """Draw which windows make up the global batch of one step.

    lengths: frames of each track, int [tracks]. Returns int [batch, targets, 2]: track and first
    frame of each target of each window; a share `remix` of the windows draws every target by
    itself, the others take all from one place. A track is drawn in proportion to its length, so
    every second of music is seen equally often. The same (seed, step) draws the same windows on any
    number of hosts.
    """
    rng = np.random.default_rng((seed, step))
    room = (
        np.maximum(lengths - window, 0) + 1
    )  # a track shorter than the window starts at 0 and is padded
    track = rng.choice(len(lengths), size=(batch, targets), p=lengths / lengths.sum())
    ids = np.stack([track, rng.integers(0, room[track])], axis=-1)
    together = rng.random(batch) >= remix
    ids[together] = ids[together, :1]
    return ids


class Batches:
    """The batches of one split of a store: {"stems": float16 [B, S, T, C, F, 2]}, S the targets."""

    def __init__(self, store: Store, split: str, config: Config, devices: DataParallel) -> None:
        self.records: list[Record] = store.tracks(split)
        if not self.records:
            raise InputError(
                f"{config.store}: no tracks in the split {split!r}; "
                f"give {config.data.source} some, or check its folders"
            )
        self._lengths = np.array([record.frames for record in self.records])
        self._store, self._config, self._devices = store, config, devices
        # Which of the store's stems add up to each target.
        self._stems = [
            [store.spec.stems.index(stem) for stem in stems] for stems in config.targets.values()
        ]
        self._window = config.data.window_frames

    def stream(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        """Yield (step, batch on the devices) for start <= step < stop, reading several batches
        ahead.
        """
        c = self._config
        draws = (
            (
                step,
                window_ids(
                    c.seed,
                    step,
                    self._lengths,
                    window=self._window,
                    batch=c.train.batch,
                    targets=len(self._stems),
                    remix=c.augment.remix,
                ),
            )
            for step in range(start, stop)
        )
        return self._ahead(draws)

    def fixed(self, windows: int) -> Iterator[tuple[int, Any]]:
        """Yield (number, batch) of the same windows at every call, not remixed: what validation
        measures.
        """
        c = self._config
        batches = -(-windows // c.train.batch)
        ids = window_ids(
            c.seed,
            VALIDATION,
            self._lengths,
            window=self._window,
            batch=batches * c.train.batch,
            targets=len(self._stems),
            remix=0.0,
        )
        return self._ahead(enumerate(np.split(ids, batches)))

    def _ahead(self, draws: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, Any]]:
        mine = self._devices.share(self._config.train.batch)
        reading: deque = deque()
        for step, ids in draws:
            reading.append((step, self._read(ids[mine])))
            if len(reading) > self._config.data.prefetch:
                yield self._finish(*reading.popleft())
        while reading:
            yield self._finish(*reading.popleft())

    def _read(self, ids: np.ndarray) -> list[list[Any]]:
        return [
            [
                self._store.read(self.records[track], int(first), self._window, stems=stems)
                for (track, first), stems in zip(window, self._stems)
            ]
            for window in ids
        ]

    def _finish(self, step: int, reads: Sequence[Sequence[Any]]) -> tuple[int, Any]:
        spec = self._store.spec
        stems = np.empty(
            (len(reads), len(self._stems), self._window, spec.channels, spec.stft.bins, 2),
            np.float16,
        )
        for window, futures in zip(stems, reads):
            for target, future in zip(window, futures):
                read = future.result()
                target[:] = read[:, 0] if read.shape[1] == 1 else read.sum(1, dtype=np.float32)
        return step, self._devices.put({"stems": stems})
