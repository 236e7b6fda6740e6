"""The 3×3 convolution with two thirds of its multiplications, for CPU.

Winograd's minimal filtering F(2, 3) along the frames (arXiv:1509.09308, section 4.1): two
neighbouring outputs of a filter of three taps take four products of sums, in place of six. Over the
bins the products are convolutions of three columns. All arrays are ``[B, T, F, C]``, the kernel
``[3, 3, in, out]``; padding is "SAME", the stride 1.
"""

import jax
import jax.numpy as jnp
from jax import lax


def convolve(x_BTFC: jax.Array, taps: tuple[jax.Array, ...]) -> jax.Array:
    """Return the convolution with the kernel that has these `taps`; linear in both arguments."""
    batch, frames, bins, _ = x_BTFC.shape
    even = jnp.pad(x_BTFC, ((0, 0), (0, frames % 2), (0, 0), (0, 0)))
    a, b, c, d = (
        lax.conv_general_dilated(
            x, tap, (1, 1), ((0, 0), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        for x, tap in zip(_inputs(even), taps, strict=True)
    )
    pairs = jnp.stack([a + b + c, b - c - d], axis=2)
    return pairs.reshape(batch, -1, bins, taps[0].shape[3])[:, :frames]


def taps(kernel: jax.Array) -> tuple[jax.Array, ...]:
    """Return what the four sums of inputs are multiplied by, each ``[1, 3, in, out]``."""
    upper, middle, lower = kernel[:1], kernel[1:2], kernel[2:]
    return upper, (upper + middle + lower) / 2, (upper - middle + lower) / 2, lower


def _inputs(x_BTFC: jax.Array) -> tuple[jax.Array, ...]:
    """Return the sums of the four frames that a pair of outputs sees, each ``[B, T/2, F, C]``."""
    batch, frames, bins, channels = x_BTFC.shape
    pairs = x_BTFC.reshape(batch, frames // 2, 2, bins, channels)
    first, second = pairs[:, :, 0], pairs[:, :, 1]
    before = jnp.pad(second, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
    after = jnp.pad(first, ((0, 0), (0, 1), (0, 0), (0, 0)))[:, 1:]
    return before - second, first + second, second - first, first - after
