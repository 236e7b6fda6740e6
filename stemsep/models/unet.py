"""The Spectrogram-Channels U-Net (Oh, Kim and Yun, arXiv:1810.11520)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from stemsep.models import ops
from stemsep.models.layers import (
    BinAffine, Conv, Dropout, Network, UpConv, check_channels, pad_to_multiple
)


class UNet(Network):
    """Two 3×3 convolutions a level, max pooling down, 5×5 transposed convolutions up.

    Maps ``[B, T, F, C]`` to ``[B, T, F, outputs]`` for any frames and bins, without a last
    activation.

    widths: channels of each level, the last is the middle's.
    For the rest see `Network`.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    dropout: float = 0.4

    @nn.compact
    def __call__(
        self, x_BTFC: jax.Array, *, train: bool, windows: jax.Array | None = None
    ) -> jax.Array:
        check_channels(x_BTFC, self.channels)
        frames, bins = x_BTFC.shape[1:3]
        x = x_BTFC.astype(self.dtype)
        if self.bin_affine:
            x = BinAffine(self.bins, name="bin_affine")(x)
        x = pad_to_multiple(x, 2 ** (len(self.widths) - 1))
        skips = []
        for level, width in enumerate(self.widths[:-1]):
            x = self._convs(x, width, train=train, name=f"down{level}")
            skips.append(x)
            x = ops.max_pool(x, fast=self.fast)
        x = self._convs(x, self.widths[-1], train=train, name="middle")
        for level in reversed(range(len(skips))):
            width = self.widths[level]
            x = UpConv(width, fast=self.fast, dtype=self.dtype, name=f"up{level}")(x)
            x = self.normalised(x, train=train, name=f"up{level}_norm")
            x = Dropout(self.dropout)(x, windows, train=train)
            x = jnp.concatenate([x, skips[level]], axis=-1)
            x = self._convs(x, width, train=train, name=f"merge{level}")
        y_BTFK = Conv(self.outputs, fast=self.fast, size=1, dtype=self.dtype, name="last")(x)
        return y_BTFK[:, :frames, :bins]

    def _convs(self, x: jax.Array, width: int, *, train: bool, name: str) -> jax.Array:
        for half in ("a", "b"):
            x = Conv(width, fast=self.fast, dtype=self.dtype, name=f"{name}{half}")(x)
            x = self.normalised(x, train=train, name=f"{name}{half}_norm")
        return x
