"""Sample rates: waves [C, n] to another one by soxr (HQ), block by block."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr


def resampled(samples: int, rate: int, to: int) -> int:
    """Return how many samples `samples` at `rate` Hz become at `to` Hz."""
    return -(-samples * to // rate)


class Resampler:
    """Takes blocks [C, n] at `rate` Hz and gives back blocks at `to` Hz, of other lengths; together
    they have `resampled(N, rate, to)` samples.
    """

    def __init__(self, rate: int, to: int, channels: int) -> None:
        self._rate, self._to, self._channels = rate, to, channels
        self._stream = soxr.ResampleStream(rate, to, channels, quality="HQ")
        self._taken = self._given = 0

    def add(self, wave_CN: np.ndarray) -> np.ndarray:
        """Return what the next block makes ready, [C, n]."""
        self._taken += wave_CN.shape[1]
        out_NC = self._stream.resample_chunk(np.ascontiguousarray(wave_CN.T))
        self._given += len(out_NC)
        return out_NC.T

    def end(self) -> np.ndarray:
        """Return what is left after the last block, [C, n]."""
        nothing = np.zeros((0, self._channels), np.float32)
        rest_CN = self._stream.resample_chunk(nothing, last=True).T
        missing = resampled(self._taken, self._rate, self._to) - self._given
        rest_CN = rest_CN[:, :missing]
        return np.pad(rest_CN, [(0, 0), (0, missing - rest_CN.shape[1])])


def resample(waves: Iterable[np.ndarray], rate: int, to: int) -> Iterator[np.ndarray]:
    """Resample blocks float32 [C, n] from `rate` to `to` Hz, as they come.

    The same rate gives the same blocks.
    """
    if rate == to:
        yield from waves
        return
    stream = None
    for wave_CN in waves:
        stream = stream or Resampler(rate, to, len(wave_CN))
        if (out_CN := stream.add(wave_CN)).shape[1]:
            yield out_CN
    if stream is not None:
        yield stream.end()
