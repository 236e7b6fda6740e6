"""Windows of HDF5 files through PyTorch's DataLoader: worker processes, as its users read."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers import hdf5


class Windows(Dataset):
    """Reads the windows of a batch from files of `hdf5.write_array`; each worker opens them."""

    def __init__(self, paths: Sequence[Path], frames: int) -> None:
        self._paths, self._frames = paths, frames
        self._reader: hdf5.Reader | None = None

    def __getitem__(self, ids: np.ndarray) -> np.ndarray:
        self._reader = self._reader or hdf5.Reader(self._paths)
        return self._reader.batch(ids, self._frames)


class Steps:
    """The windows of the steps that are asked for next."""

    def __init__(self, ids: Callable[[int], np.ndarray]) -> None:
        self._ids, self.steps = ids, range(0)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self._ids, self.steps)

    def __len__(self) -> int:
        return len(self.steps)


class Loader:
    """Batches of steps from worker processes that stay, and read two batches ahead each."""

    def __init__(self, paths: Sequence[Path], ids: Callable[[int], np.ndarray], frames: int, *,
                 workers: int) -> None:
        self._steps = Steps(ids)
        # Spawned: what has threads, as JAX, must not be forked.
        self._loader = DataLoader(
            Windows(paths, frames), sampler=self._steps, batch_size=None, num_workers=workers,
            persistent_workers=True, multiprocessing_context="spawn")

    def batches(self, first: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the batches of steps first to stop - 1, float16 [B, S, T, C, F, 2]."""
        self._steps.steps = range(first, stop)
        for batch in self._loader:
            yield batch.numpy()
