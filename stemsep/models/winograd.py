"""The 3×3 convolution with two thirds of its multiplications, for CPU.

Winograd's minimal filtering F(2, 3) along the bins (arXiv:1509.09308, section 4.1): two
neighbouring outputs of a filter of three taps take four products of sums, in place of six. Over the
frames the products are convolutions of three rows. All arrays are ``[B, T, F, C]``, the kernel
``[3, 3, in, out]``; padding is "SAME", the stride 1.
"""

import jax
import jax.numpy as jnp
from jax import lax


def convolve(x_BTFC: jax.Array, taps: tuple[jax.Array, ...]) -> jax.Array:
    """Return the convolution with the kernel that has these `taps`; linear in both arguments."""
    batch, frames, bins, _ = x_BTFC.shape
    outputs = taps[0].shape[3]
    even = jnp.pad(x_BTFC, ((0, 0), (0, 0), (0, bins % 2), (0, 0)))
    a, b, c, d = (
        lax.conv_general_dilated(
            x, tap, (1, 1), ((1, 1), (0, 0)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        for x, tap in zip(_inputs(even), taps, strict=True)
    )
    pairs = jnp.stack([a + b + c, b - c - d], axis=3)
    return pairs.reshape(batch, frames, -1, outputs)[:, :, :bins]


def taps(kernel: jax.Array) -> tuple[jax.Array, ...]:
    """Return what the four sums of inputs are multiplied by, each ``[3, 1, in, out]``."""
    left, middle, right = kernel[:, 0:1], kernel[:, 1:2], kernel[:, 2:3]
    return left, (left + middle + right) / 2, (left - middle + right) / 2, right


def kernel_gradient(x_BTFC: jax.Array, dy_BTFK: jax.Array) -> jax.Array:
    """Return the gradient of the kernel from the input and the output's gradient."""
    shape = (3, 3, x_BTFC.shape[-1], dy_BTFK.shape[-1])
    empty = jnp.zeros(shape, x_BTFC.dtype)
    return jax.linear_transpose(lambda kernel: convolve(x_BTFC, taps(kernel)), empty)(dy_BTFK)[0]


def _inputs(x_BTFC: jax.Array) -> tuple[jax.Array, ...]:
    """Return the sums of the four bins that a pair of outputs sees, each ``[B, T, F/2, C]``."""
    batch, frames, bins, channels = x_BTFC.shape
    pairs = x_BTFC.reshape(batch, frames, bins // 2, 2, channels)
    first, second = pairs[:, :, :, 0], pairs[:, :, :, 1]
    before = jnp.pad(second, ((0, 0), (0, 0), (1, 0), (0, 0)))[:, :, :-1]
    after = jnp.pad(first, ((0, 0), (0, 0), (0, 1), (0, 0)))[:, :, 1:]
    return before - second, first + second, second - first, first - after
