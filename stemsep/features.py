"""What a network sees of the magnitudes of a mixture: functions of float32 [B, T, F, C], one value
a bin.
"""

from typing import Callable

import jax
import jax.numpy as jnp

from stemsep.bands import triangles

_BANDS = 24  # of the whitening: a third of an octave wide above the knee, 90 Hz at 11 Hz a bin
_KNEE_BINS = 8.0
_SILENT = 1e-6  # no level is taken for lower, so that silence is seen as zeros


def magnitude(seen_BTFC: jax.Array) -> jax.Array:
    """Return the magnitudes as they are: the only features that tell how loud a mixture is."""
    return seen_BTFC


def log(seen_BTFC: jax.Array) -> jax.Array:
    """Return log(1 + 10·magnitude / level), level the window's: loudness changes no mask."""
    return jnp.log1p(10 * seen_BTFC / jnp.maximum(level(seen_BTFC), _SILENT))


def whitened(seen_BTFC: jax.Array) -> jax.Array:
    """Return log(1 + 4·magnitude / level), level that of the bands around the bin in the window.

    So neither loudness nor an equaliser changes masks much, and what changes over time, as a stroke
    does, stands out at all frequencies alike. A band 80 dB below the window's level counts as
    silent.
    """
    bands_PF = triangles(seen_BTFC.shape[2], _BANDS, knee_bins=_KNEE_BINS)
    shares_PF = bands_PF / bands_PF.sum(1, keepdims=True).clip(1e-9)
    power_BF = (seen_BTFC**2).mean((1, 3))  # of all channels: their balance stays to be seen
    level_BF = jnp.sqrt(power_BF @ shares_PF.T @ bands_PF)
    least_B111 = jnp.maximum(1e-4 * level(seen_BTFC), _SILENT)
    return jnp.log1p(4 * seen_BTFC / jnp.maximum(level_BF[:, None, :, None], least_B111))


def level(seen_BTFC: jax.Array) -> jax.Array:
    """Return the root mean square of each window, [B, 1, 1, 1]."""
    return jnp.sqrt((seen_BTFC**2).mean((1, 2, 3), keepdims=True))


FEATURES: dict[str, Callable[[jax.Array], jax.Array]] = {
    "magnitude": magnitude,
    "log": log,
    "whitened": whitened,
}
