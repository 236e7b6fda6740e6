"""The layers that both networks are made of: parameters around `ops`, and the padding law."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from stemsep.models import ops

_KERNEL_INIT = nn.initializers.he_normal()


class Conv(nn.Module):
    """Convolution with stride 1, "SAME" padding and no bias."""

    features: int
    size: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BTFC: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x_BTFC.shape[-1], self.features)
        kernel = self.param("kernel", _KERNEL_INIT, shape, jnp.float32)
        return ops.conv(x_BTFC.astype(self.dtype), kernel.astype(self.dtype))


class DownConv(nn.Module):
    """5×5 convolution with stride 2 and no bias: halves frames and bins."""

    features: int
    fast: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BTFC: jax.Array) -> jax.Array:
        shape = (5, 5, x_BTFC.shape[-1], self.features)
        kernel = self.param("kernel", _KERNEL_INIT, shape, jnp.float32)
        return ops.down_conv(x_BTFC.astype(self.dtype), kernel.astype(self.dtype), fast=self.fast)


class UpConv(nn.Module):
    """Transposed 5×5 convolution with stride 2: doubles frames and bins."""

    features: int
    fast: bool
    use_bias: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BTFC: jax.Array) -> jax.Array:
        shape = (5, 5, x_BTFC.shape[-1], self.features)
        kernel = self.param("kernel", _up_init, shape, jnp.float32)
        y_BTFC = ops.up_conv(x_BTFC.astype(self.dtype), kernel.astype(self.dtype), fast=self.fast)
        if not self.use_bias:
            return y_BTFC
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return y_BTFC + bias.astype(self.dtype)


class Dropout(nn.Module):
    """Dropout whose draws belong to a window's place in the global batch, not to a device.

    So any number of devices drops the same, where `nn.Dropout` would draw alike on each of them.
    axis_name: the mapped axis that the batch is split over, or None.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x_BTFC: jax.Array, *, train: bool) -> jax.Array:
        if not train or not self.rate:
            return x_BTFC
        batch, *rest = x_BTFC.shape
        first = jax.lax.axis_index(self.axis_name) * batch if self.axis_name else 0
        key = self.make_rng("dropout")
        keys_B = jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(batch))
        kept = jax.vmap(lambda k: jax.random.bernoulli(k, 1 - self.rate, tuple(rest)))(keys_B)
        return jnp.where(kept, x_BTFC / (1 - self.rate), 0)


class BinAffine(nn.Module):
    """A learned scale and offset per frequency bin, which start at 1 and 0."""

    bins: int

    @nn.compact
    def __call__(self, x_BTFC: jax.Array) -> jax.Array:
        if x_BTFC.shape[2] != self.bins:
            raise ValueError(
                f"{x_BTFC.shape[2]} frequency bins, but the network was built for {self.bins}"
            )
        scale_F1 = self.param("scale", nn.initializers.ones, (self.bins, 1), jnp.float32)
        offset_F1 = self.param("offset", nn.initializers.zeros, (self.bins, 1), jnp.float32)
        return x_BTFC * scale_F1.astype(x_BTFC.dtype) + offset_F1.astype(x_BTFC.dtype)


def check_channels(x_BTFC: jax.Array, channels: int) -> None:
    """Raise ValueError where the input does not have the network's channels."""
    if x_BTFC.shape[-1] != channels:
        raise ValueError(
            f"{x_BTFC.shape[-1]} input channels, but the network was built for {channels}"
        )


def pad_to_multiple(x_BTFC: jax.Array, multiple: int) -> jax.Array:
    """Append zeros until frames and bins are multiples of ``multiple``."""
    _, frames, bins, _ = x_BTFC.shape
    return jnp.pad(x_BTFC, ((0, 0), (0, -frames % multiple), (0, -bins % multiple), (0, 0)))


def _up_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """He's initialisation for a stride of 2×2, where each output sees a quarter of the taps."""
    return 2.0 * _KERNEL_INIT(key, shape, dtype)
