"""Windows of a song to windows of its stems, wave to wave: all that a device does to separate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from stemsep.estimate import Variables
from stemsep.stft import Stft
from stemsep.wiener import wiener


@dataclass(frozen=True)
class Windows:
    """How windows of a mixture are separated.

    estimators: one a network, called as `stemsep.estimate.Estimator`; their estimates are averaged.
    trained: the STFT that they know. frames: of a window. apart: each channel is estimated by
    itself. wiener: iterations of the filter. highs: the stem that all above the band of training
    goes to; None: the estimates say where.
    """

    estimators: Sequence[Callable]
    trained: Stft
    frames: int
    apart: bool = False
    wiener: int = 0
    highs: int | None = None

    def samples(self, stft: Stft) -> int:
        """Return the length of a window of a song that has this STFT."""
        return (self.frames - 1) * stft.hop + stft.n_fft

    def make_separation(self, stft: Stft) -> Callable[..., jax.Array]:
        """Return `separate(variables, batch)` for songs of this STFT: of windows [B, C, N],
        batch["mix"], it makes those of the stems, [B, S, C, N], to be overlapped.

        batch["weights"]: of their frames, [B, T], for the cross-fade; those of 0 are not heard.
        """
        # Magnitudes grow with √n_fft, at one frame period; the network knows those of training.
        scale = math.sqrt(self.trained.n_fft / stft.n_fft)
        bins = self.trained.bins

        def estimate(variables: tuple[Variables, ...], mix_BTFC: jax.Array) -> jax.Array:
            seen = mix_BTFC
            if self.apart:      # the channels are as many windows
                seen = jnp.moveaxis(mix_BTFC, -1, 1).reshape(-1, *mix_BTFC.shape[1:3], 1)
            estimates = [estimator(own, seen, scale=scale)
                         for estimator, own in zip(self.estimators, variables, strict=True)]
            stems = sum(estimates[1:], estimates[0]) / len(estimates)
            if self.apart:
                stems = jnp.moveaxis(
                    stems[..., 0].reshape(len(mix_BTFC), -1, *stems.shape[1:4]), 1, -1)
            return stems

        def separate(variables: tuple[Variables, ...], batch: dict[str, Any]) -> jax.Array:
            mix_BCN, weights_BT11 = batch["mix"], batch["weights"][..., None, None]
            mix_BCTF = stft.transform(stft.cut(mix_BCN, self.frames, xp=jnp), xp=jnp)
            mix_BTFC = jnp.where(weights_BT11 > 0, jnp.moveaxis(mix_BCTF, 1, -1), 0)
            stems_BSTFC = estimate(variables, mix_BTFC)
            if self.wiener:
                stems_BSTFC = wiener(stems_BSTFC, mix_BTFC, iterations=self.wiener)
            if self.highs is not None and stft.bins > bins:
                to_rest_S111 = (np.arange(stems_BSTFC.shape[1]) == self.highs)[:, None, None, None]
                stems_BSTFC = stems_BSTFC.at[:, :, :, bins:].set(
                    mix_BTFC[:, None, :, bins:] * to_rest_S111)
            stems_BSCTF = jnp.moveaxis(stems_BSTFC * weights_BT11[:, None], -1, 2)
            frames_BSCTN = stft.inverse_frames(stems_BSCTF, xp=jnp)
            return stft.overlap_add(frames_BSCTN, xp=jnp)[..., :mix_BCN.shape[-1]]

        return separate
