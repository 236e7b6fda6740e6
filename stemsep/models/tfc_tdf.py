"""The TFC-TDF U-Net (Choi et al., ISMIR 2020, arXiv:1912.02591; Kim et al., arXiv:2111.12203).

Convolutions see what is near in time and frequency; dense layers over all of frequency see the
rest, harmonics and the breadth of a stroke, for next to no arithmetic. At the arithmetic of
`strided` it has a seventh of the parameters.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from stemsep.models import ops
from stemsep.models.layers import (
    BinAffine, BinDense, Conv, DownConv, Dropout, Network, UpConv, check_bins, check_channels,
    pad_to_multiple
)

_LEAST_BINS = 8  # between dense layers


class TfcTdfUNet(Network):
    """Residual blocks at every level, each level half the frames and bins of the one above it.

    Maps ``[B, T, F, C]`` to ``[B, T, F, outputs]`` for any frames and for `bins` bins, without a
    last activation.

    The first level is at half the frames and bins, by a 5×5 convolution of stride 2; a transposed
    one with a bias gives the outputs. Between levels 2×2 positions become channels and back, by 1×1
    convolutions. A block adds to its input a 3×3 convolution of its normalised self, and to that
    two dense layers over frequency, alike for each frame and channel, with 1/bottleneck of the bins
    between them (8 at least). Every normalisation is followed by a ReLU. The decoder has dropout in
    its first three levels, before a 1×1 convolution merges it with the skip.

    widths: channels of the levels. blocks: of each level, on the way down and on the way up.
    For the rest see `Network`.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: int = 1
    bottleneck: int = 4
    dropout: float = 0.3
    stride = 2

    @nn.compact
    def __call__(
        self, x_BTFC: jax.Array, *, train: bool, windows: jax.Array | None = None
    ) -> jax.Array:
        check_channels(x_BTFC, self.channels)
        check_bins(x_BTFC, self.bins)
        frames, bins = x_BTFC.shape[1:3]
        x = x_BTFC.astype(self.dtype)
        if self.bin_affine:
            x = BinAffine(self.bins, name="bin_affine")(x)
        x = pad_to_multiple(x, 2 ** len(self.widths))
        skips = []
        for level, width in enumerate(self.widths):
            down = f"down{level}"
            if level:
                x = self._conv(ops.space_to_depth(x), width, size=1, name=down)
            else:
                x = DownConv(width, fast=self.fast, dtype=self.dtype, name=down)(x)
            x = self.normalised(x, train=train, name=f"{down}_norm")
            x = self._blocks(x, train=train, name=f"encoder{level}")
            skips.append(x)
        skips.pop()
        for level in reversed(range(len(skips))):
            width = self.widths[level]
            x = ops.depth_to_space(self._conv(x, 4 * width, size=1, name=f"up{level}"))
            x = self.normalised(x, train=train, name=f"up{level}_norm")
            if len(skips) - level <= 3:
                x = Dropout(self.dropout)(x, windows, train=train)
            x = jnp.concatenate([x, skips[level]], axis=-1)
            x = self._conv(x, width, size=1, name=f"merge{level}")
            x = self._blocks(x, train=train, name=f"decoder{level}")
        x = self.normalised(x, train=train, name="last_norm")
        last = UpConv(self.outputs, fast=self.fast, use_bias=True, dtype=self.dtype, name="last")
        return last(x)[:, :frames, :bins]

    def _blocks(self, x: jax.Array, *, train: bool, name: str) -> jax.Array:
        for number in range(self.blocks):
            here, bins = f"{name}_{number}", x.shape[2]
            near = self.normalised(x, train=train, name=f"{here}_norm")
            x = x + self._conv(near, x.shape[-1], size=3, name=here)
            narrow = max(_LEAST_BINS, bins // self.bottleneck)
            wide = BinDense(narrow, dtype=self.dtype, name=f"{here}_in")(x)
            wide = self.normalised(wide, train=train, name=f"{here}_in_norm")
            wide = BinDense(bins, dtype=self.dtype, name=f"{here}_out")(wide)
            x = x + self.normalised(wide, train=train, name=f"{here}_out_norm")
        return x

    def _conv(self, x: jax.Array, width: int, *, size: int, name: str) -> jax.Array:
        return Conv(width, fast=self.fast, size=size, dtype=self.dtype, name=name)(x)
