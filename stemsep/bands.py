"""Bands of a frequency axis that is linear at first and logarithmic further up, as hearing is."""

import numpy as np


def triangles(bins: int, count: int, *, knee_bins: float) -> np.ndarray:
    """Return how much of each of `count` bands there is at each bin, float32 [count, F].

    Overlapping triangles, evenly spaced on log(1 + bin / knee_bins), the first band's peak at bin 0
    and the last one's at the highest bin. At every bin they add up to 1, so the curve through any
    values of the bands is ``values_P @ triangles``.
    """
    axis_F = np.log1p(np.arange(bins) / knee_bins)
    position_F = axis_F / max(axis_F[-1], 1e-9) * (count - 1)
    bands_P1 = np.arange(count)[:, None]
    return np.maximum(0, 1 - np.abs(position_F - bands_P1)).astype(np.float32)
