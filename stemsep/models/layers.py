"""The layers that both networks are made of: parameters around `ops`, and the padding law."""

import math
from typing import Any, Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from stemsep.models import ops

HEAVY = "heavy"  # the name of what takes long to compute, which rematerialisation keeps
PREPARED = "prepared"  # the collection of what the operators make of the kernels alone
_KERNEL_INIT = nn.initializers.he_normal()


class Conv(nn.Module):
    """Convolution with stride 1, "SAME" padding and no bias."""

    features: int
    fast: bool
    size: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BTFC: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x_BTFC.shape[-1], self.features)
        kernel = self.param("kernel", _KERNEL_INIT, shape, jnp.float32)
        made = _prepared(self, kernel.astype(self.dtype), ops.conv_parts)
        y_BTFC = ops.conv(x_BTFC.astype(self.dtype), made, fast=self.fast)
        return checkpoint_name(y_BTFC, HEAVY)


class DownConv(nn.Module):
    """5×5 convolution with stride 2 and no bias: halves frames and bins."""

    features: int
    fast: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BTFC: jax.Array) -> jax.Array:
        shape = (5, 5, x_BTFC.shape[-1], self.features)
        kernel = self.param("kernel", _KERNEL_INIT, shape, jnp.float32)
        y_BTFC = ops.down_conv(
            x_BTFC.astype(self.dtype), kernel.astype(self.dtype), fast=self.fast)
        return checkpoint_name(y_BTFC, HEAVY)


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
        made = _prepared(self, kernel.astype(self.dtype), ops.up_conv_parts)
        y_BTFC = ops.up_conv(x_BTFC.astype(self.dtype), made, fast=self.fast)
        y_BTFC = checkpoint_name(y_BTFC, HEAVY)
        if not self.use_bias:
            return y_BTFC
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return y_BTFC + bias.astype(self.dtype)


class BinDense(nn.Module):
    """A dense layer over frequency, the same for every frame and channel, without a bias."""

    bins: int  # of the output
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x_BTFC: jax.Array) -> jax.Array:
        shape = (x_BTFC.shape[2], self.bins)
        kernel = self.param("kernel", _KERNEL_INIT, shape, jnp.float32)
        batch, frames, bins, channels = x_BTFC.shape
        # One large multiplication: on CPU three times as fast as one for each frame.
        x_FN = x_BTFC.astype(self.dtype).transpose(2, 0, 1, 3).reshape(bins, -1)
        y_FN = checkpoint_name(kernel.astype(self.dtype).T @ x_FN, HEAVY)
        return y_FN.reshape(self.bins, batch, frames, channels).transpose(1, 2, 0, 3)


class Dropout(nn.Module):
    """Dropout whose draws belong to a window's place in the global batch, not to a device.

    So any number of devices and of micro-batches drops the same, where `nn.Dropout` would draw
    alike in each of them. windows: those places, int [B]; None: the batch is the global one.
    """

    rate: float

    @nn.compact
    def __call__(
        self, x_BTFC: jax.Array, windows: jax.Array | None, *, train: bool
    ) -> jax.Array:
        if not train or not self.rate:
            return x_BTFC
        batch, *rest = x_BTFC.shape
        key = self.make_rng("dropout")
        windows = jnp.arange(batch) if windows is None else windows
        keys_B = jax.vmap(lambda i: jax.random.fold_in(key, i))(windows)
        share = jnp.float32(1 - self.rate)      # so that double precision draws the same
        kept = jax.vmap(lambda k: jax.random.bernoulli(k, share, tuple(rest)))(keys_B)
        return jnp.where(kept, x_BTFC / (1 - self.rate), 0)


class BinAffine(nn.Module):
    """A learned scale and offset per frequency bin, which start at 1 and 0."""

    bins: int

    @nn.compact
    def __call__(self, x_BTFC: jax.Array) -> jax.Array:
        check_bins(x_BTFC, self.bins)
        scale_F1 = self.param("scale", nn.initializers.ones, (self.bins, 1), jnp.float32)
        offset_F1 = self.param("offset", nn.initializers.zeros, (self.bins, 1), jnp.float32)
        return x_BTFC * scale_F1.astype(x_BTFC.dtype) + offset_F1.astype(x_BTFC.dtype)


class Network(nn.Module):
    """What all networks are given, and how they normalise.

    channels: of the input. outputs: values a bin of the output. bins: of the input. widths:
    channels of the levels. norm: "batch" normalises by the statistics of the batch, averaged over
    the mapped axis `axis_name`, and keeps running ones, of `norm_momentum`, for use out of
    training; "group" (arXiv:1803.08494) by those of up to 8 groups of channels of each window,
    whatever the batch. fast: the form of the operators, see `ops`; it changes neither parameters
    nor results. Collections "params" and "batch_stats"; dropout draws from the stream "dropout",
    for each window by its place in the global batch, `windows`, int [B].
    """

    channels: int
    outputs: int
    bins: int
    widths: tuple[int, ...] = (32, 64, 128, 256)
    dropout: float = 0.4
    norm: str = "batch"
    norm_momentum: float = 0.99
    bin_affine: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None
    fast: bool = True

    stride = 1      # of the first level

    def largest(self, frames: int, bins: int) -> int:
        """Return how many values a window of such a size has in the largest layer."""
        return self.widths[0] * -(-frames // self.stride) * -(-bins // self.stride)

    def normalised(
        self, x_BTFC: jax.Array, *, train: bool, name: str, slope: float = 0.0
    ) -> jax.Array:
        """Return a layer's channels normalised, after a ReLU, a leaky one where it has a slope;
        `name` is that of the parameters.
        """
        if self.norm == "group":
            groups = math.gcd(x_BTFC.shape[-1], 8)
            x = nn.GroupNorm(groups, dtype=self.dtype, name=name)(x_BTFC)
        else:
            x = nn.BatchNorm(
                use_running_average=not train, momentum=self.norm_momentum, dtype=self.dtype,
                axis_name=self.axis_name, name=name,
            )(x_BTFC)
        return nn.leaky_relu(x, slope) if slope else nn.relu(x)


def check_channels(x_BTFC: jax.Array, channels: int) -> None:
    """Raise ValueError where the input does not have the network's channels."""
    if x_BTFC.shape[-1] != channels:
        raise ValueError(
            f"{x_BTFC.shape[-1]} input channels, but the network was built for {channels}"
        )


def check_bins(x_BTFC: jax.Array, bins: int) -> None:
    """Raise ValueError where the input does not have the network's frequency bins."""
    if x_BTFC.shape[2] != bins:
        raise ValueError(
            f"{x_BTFC.shape[2]} frequency bins, but the network was built for {bins}"
        )


def pad_to_multiple(x_BTFC: jax.Array, multiple: int) -> jax.Array:
    """Append zeros until frames and bins are multiples of ``multiple``."""
    _, frames, bins, _ = x_BTFC.shape
    return jnp.pad(x_BTFC, ((0, 0), (0, -frames % multiple), (0, -bins % multiple), (0, 0)))


def _prepared(module: nn.Module, kernel: jax.Array,
              parts: Callable[[jax.Array], tuple[jax.Array, ...]]) -> ops.Kernel:
    """Return what was made of the kernel alone, where the collection `PREPARED` has it, otherwise
    the kernel. Where that collection is mutable, it is made and put there, if it is another.
    """
    if module.is_mutable_collection(PREPARED) and not module.is_initializing():
        made = parts(kernel)
        if made[0] is not kernel:
            module.put_variable(PREPARED, "kernel", made)
    return module.get_variable(PREPARED, "kernel", kernel)


def _up_init(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """He's initialisation for a stride of 2×2, where each output sees a quarter of the taps."""
    return 2.0 * _KERNEL_INIT(key, shape, dtype)
