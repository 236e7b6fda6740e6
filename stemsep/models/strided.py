"""The strided U-Net (Jansson et al., ISMIR 2017): one 5×5 convolution of stride 2 a level.

It has a quarter of the parameters and a twentieth of the arithmetic of `unet`: the network for a
CPU.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from stemsep.models.layers import (
    BinAffine, DownConv, Dropout, Network, UpConv, check_channels, pad_to_multiple
)


class StridedUNet(Network):
    """5×5 convolutions of stride 2 down, transposed ones up, each level's skip beside them.

    Maps ``[B, T, F, C]`` to ``[B, T, F, outputs]`` for any frames and bins, without a last
    activation.

    Encoder level: convolution, normalisation, leaky ReLU of slope 0.2. Decoder level: transposed
    convolution, normalisation, ReLU, dropout in the first three, then the skip. The last transposed
    convolution, with a bias, gives the outputs. widths: channels of the encoder's levels.
    For the rest see `Network`.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    dropout: float = 0.5
    stride = 2

    @nn.compact
    def __call__(
        self, x_BTFC: jax.Array, *, train: bool, windows: jax.Array | None = None
    ) -> jax.Array:
        check_channels(x_BTFC, self.channels)
        frames, bins = x_BTFC.shape[1:3]
        x = x_BTFC.astype(self.dtype)
        if self.bin_affine:
            x = BinAffine(self.bins, name="bin_affine")(x)
        x = pad_to_multiple(x, 2 ** len(self.widths))
        skips = []
        for level, width in enumerate(self.widths):
            x = DownConv(width, fast=self.fast, dtype=self.dtype, name=f"down{level}")(x)
            x = self.normalised(x, train=train, slope=0.2, name=f"down{level}_norm")
            skips.append(x)
        skips.pop()
        for level in reversed(range(len(skips))):
            x = UpConv(self.widths[level], fast=self.fast, dtype=self.dtype, name=f"up{level}")(x)
            x = self.normalised(x, train=train, name=f"up{level}_norm")
            if len(skips) - level <= 3:
                x = Dropout(self.dropout)(x, windows, train=train)
            x = jnp.concatenate([x, skips[level]], axis=-1)
        last = UpConv(self.outputs, fast=self.fast, use_bias=True, dtype=self.dtype, name="last")
        return last(x)[:, :frames, :bins]
