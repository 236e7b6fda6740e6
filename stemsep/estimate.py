"""What the network sees of a mixture, and what its output means: complex spectrograms of the stems.
"""

from dataclasses import dataclass
from typing import Any, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from stemsep import models
from stemsep.bands import singles_then_bands
from stemsep.config import Config
from stemsep.features import FEATURES

Variables = Mapping[str, Any]  # {"params": ..., "batch_stats": ...}


@dataclass(frozen=True)
class Estimator:
    """A network with the meaning of its input and output; hashable, its parameters are given at
    every call.
    """

    network: Any  # maps [B, T, F, C] to [B, T, F, S·C]
    stems: int
    channels: int
    seen_bins: int  # lowest bins of the spectrogram that the network sees
    estimate: str  # "direct" or "mask"
    mask: str  # "softmax" or "sigmoid"
    view: str  # which features of the mixture the network sees
    bands: tuple[int, ...] = ()  # (bins seen one by one, bands that share the others), or all alone

    def init(self, key: jax.Array, frames: int) -> dict[str, Any]:
        """Return fresh variables {"params", "batch_stats"} from a key; frames of a window."""
        seen = sum(self.bands) or self.seen_bins
        x_BTFC = jnp.zeros((1, frames, seen, self.channels))
        return jax.jit(lambda k: self.network.init(k, x_BTFC, train=False))(key)

    def __call__(
        self, variables: Variables, mix_BTFC: jax.Array, *, scale: float | jax.Array = 1.0
    ) -> jax.Array:
        """Estimate the stems, complex64 [B, S, T, F, C], of a mixture of any number of bins.

        scale: factor that brings the mixture's magnitudes to those of training, where its STFT has
        another length.
        """
        output = self.network.apply(variables, self.features(mix_BTFC, scale), train=False)
        return self.stems_of(output, mix_BTFC, scale)

    def shared(
        self, variables: Variables, mix_BTFC: jax.Array, *, scale: float | jax.Array = 1.0
    ) -> jax.Array:
        """Estimate like a call, but with one mask for any number of channels: a network of one
        channel sees their mean. Needs the estimate "mask".
        """
        mean = self.features(mix_BTFC.mean(-1, keepdims=True), scale)
        return self.stems_of(self.network.apply(variables, mean, train=False), mix_BTFC, scale)

    def train(
        self, variables: Variables, mix_BTFC: jax.Array, *, dropout: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Estimate the stems as in training; returns them and the new batch statistics."""
        output, new = self.network.apply(
            variables,
            self.features(mix_BTFC, 1.0),
            train=True,
            rngs={"dropout": dropout},
            mutable=["batch_stats"],
        )
        return self.stems_of(output, mix_BTFC, 1.0), new.get("batch_stats", {})

    def features(self, mix_BTFC: jax.Array, scale: float | jax.Array) -> jax.Array:
        """Return what the network sees, float32 [B, T, seen_bins or bands, C]; bins that the
        mixture has not are zero.
        """
        seen = jnp.abs(mix_BTFC[:, :, : self.seen_bins]) * scale
        missing = self.seen_bins - seen.shape[2]
        seen = jnp.pad(seen, ((0, 0), (0, 0), (0, missing), (0, 0)))
        if self.bands:
            bands_PF = self._bands_PF()
            shares_PF = bands_PF / bands_PF.sum(1, keepdims=True)
            seen = jnp.einsum("btfc,pf->btpc", seen, shares_PF)
        return FEATURES[self.view](seen)

    def stems_of(
        self, output_BTFK: jax.Array, mix_BTFC: jax.Array, scale: float | jax.Array
    ) -> jax.Array:
        """Turn the network's output into complex stems, float32 arithmetic throughout."""
        output = output_BTFK.astype(jnp.float32).reshape(
            *output_BTFK.shape[:3], self.stems, self.channels
        )
        output_BSTFC, mix_B1TFC = jnp.moveaxis(output, 3, 1), mix_BTFC[:, None]
        if self.estimate == "mask":
            return self._masks(output_BSTFC, mix_BTFC.shape[2]) * mix_B1TFC
        modulus = jnp.abs(mix_B1TFC)
        magnitudes = self._magnitudes(output_BSTFC, modulus, scale)
        # The mixture's phase; where the mixture is silent, so is the stem.
        return magnitudes * jnp.where(
            modulus > 0, mix_B1TFC / jnp.where(modulus > 0, modulus, 1), 0
        )

    @property
    def _top(self) -> slice:
        """The highest bins that the network sees."""
        return slice(-max(1, self.seen_bins // 32), None)

    def _masks(self, output_BSTFC: jax.Array, bins: int) -> jax.Array:
        """Return masks of `bins` bins; a band that the network never saw goes the way of the
        highest that it saw.
        """
        masks = (
            jax.nn.softmax(output_BSTFC, axis=1)
            if self.mask == "softmax"
            else jax.nn.sigmoid(output_BSTFC)
        )
        if self.bands:
            masks = jnp.einsum("bstpc,pf->bstfc", masks, self._bands_PF())
        masks = masks[:, :, :, :bins]
        above = bins - masks.shape[3]
        if not above:
            return masks
        mean = masks[:, :, :, self._top].mean(3, keepdims=True)
        return jnp.concatenate([masks, jnp.repeat(mean, above, axis=3)], axis=3)

    def _magnitudes(
        self, output_BSTFC: jax.Array, modulus: jax.Array, scale: float | jax.Array
    ) -> jax.Array:
        """Return magnitudes of as many bins as `modulus` has, that of the mixture [B, 1, T, F, C];
        of a band that the network never saw, a stem has its share of the highest that it saw.
        """
        magnitudes = jax.nn.relu(output_BSTFC)[:, :, :, : modulus.shape[3]] / scale
        if magnitudes.shape[3] == modulus.shape[3]:
            return magnitudes
        seen, unseen = jnp.split(modulus, [self.seen_bins], axis=3)
        heard = jnp.maximum(seen[:, :, :, self._top].sum(3, keepdims=True), 1e-12)
        share = magnitudes[:, :, :, self._top].sum(3, keepdims=True) / heard
        return jnp.concatenate([magnitudes, jnp.minimum(share, 1) * unseen], axis=3)

    def _bands_PF(self) -> np.ndarray:
        singles, shared = self.bands
        return singles_then_bands(self.seen_bins, singles, shared)


def make_estimator(config: Config, *, axis_name: str | None = None) -> Estimator:
    """Return the estimator that a checked configuration describes.

    axis_name: the device axis over which a mapped training step averages batch statistics.
    """
    stems, channels = len(config.targets), config.audio.channels
    seen = config.model.bins or config.audio.n_fft // 2 + 1
    bands = config.model.bands
    network = models.build(
        config.model, bins=sum(bands) or seen, channels=channels, outputs=stems * channels,
        axis_name=axis_name,
    )
    return Estimator(
        network,
        stems,
        channels,
        seen,
        config.model.estimate,
        config.model.mask,
        config.model.features,
        bands,
    )
