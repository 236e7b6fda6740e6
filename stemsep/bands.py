"""Bands of a frequency axis that is linear at first and logarithmic further up, as hearing is."""

import functools

import numpy as np


def triangles(bins: int, count: int, *, knee_bins: float) -> np.ndarray:
    """Return how much of each of `count` bands there is at each bin, float32 [count, F].

    Overlapping triangles, evenly spaced on log(1 + bin / knee_bins), the first band's peak at bin 0
    and the last one's at the highest bin. At every bin they add up to 1, so the curve through any
    values of the bands is ``values_P @ triangles``.
    """
    axis_F = np.log1p(np.arange(bins) / knee_bins)
    position_F = axis_F / max(axis_F[-1], 1e-9) * (count - 1)
    return _at(position_F, count)


@functools.lru_cache(maxsize=16)
def singles_then_bands(bins: int, singles: int, shared: int) -> np.ndarray:
    """Return triangles as `triangles` does, the first `singles` of which are one bin each.

    The others share the remaining bins: one bin wide at first and then ever wider, so that the last
    one's peak is at the highest bin. float32 [singles + shared, F]. Of a mixture's spectrogram a
    mask needs every low bin, where single harmonics and drums meet, but few of the high ones.
    """
    bin_F = np.arange(bins)
    left, room = bins - singles, shared
    if not 0 < shared <= left:
        raise ValueError(f"{shared} bands cannot share {left} bins")
    low, high = 1e-3, 1e9       # the knee k with k·log(1 + left/k) = room, by bisection
    for _ in range(100):
        knee = np.sqrt(low * high)
        low, high = (knee, high) if knee * np.log1p(left / knee) < room else (low, knee)
    beyond_F = np.maximum(bin_F - (singles - 1), 0)
    position_F = np.minimum(bin_F, singles - 1) + knee * np.log1p(beyond_F / knee)
    triangles_PF = _at(position_F, singles + shared)
    triangles_PF.flags.writeable = False
    return triangles_PF


def _at(position_F: np.ndarray, count: int) -> np.ndarray:
    """Return triangles with their peaks at positions 0 to count - 1, float32 [count, F]."""
    peaks_P1 = np.arange(count)[:, None]
    return np.maximum(0, 1 - np.abs(position_F - peaks_P1)).astype(np.float32)
