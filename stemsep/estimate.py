"""What the network sees of a mixture, and what its output means: complex spectrograms of the stems.
"""

import dataclasses
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
    estimate: str  # "direct", "mask" or "complex"
    mask: str  # "softmax" or "sigmoid", of the estimate "mask"
    view: str  # which features of the mixture the network sees
    bands: tuple[int, ...] = ()  # (bins seen one by one, bands that share the others), or all alone
    power: float = 1.0  # that magnitudes are compressed to, as the network sees and answers them
    consistency: str = "none"  # how what the stems lack of the mixture is shared: see `consistent`
    remat: bool = False  # in training, compute what is cheap a second time instead of keeping it
    # A network of one channel sees the mean of any number of them, which all have its mask. Not for
    # the estimate "direct", whose magnitudes are of one channel.
    shared: bool = False

    @property
    def outputs(self) -> int:
        """How many values a bin the network gives: one a stem and channel, two of complex masks."""
        return self.stems * self.channels * (2 if self.estimate == "complex" else 1)

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
        seen = mix_BTFC.mean(-1, keepdims=True) if self.shared else mix_BTFC
        output = models.infer(self.network, variables, self.features(seen, scale))
        return self.stems_of(output, mix_BTFC, scale)

    def prepare(self, variables: Variables) -> Variables:
        """Return variables with which calls are faster, until they change: see `models.prepare`."""
        return models.prepare(self.network, variables)

    def train(
        self, variables: Variables, mix_BTFC: jax.Array, *, dropout: jax.Array, windows: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Estimate the stems as in training; returns them and the new batch statistics.

        dropout: the step's key. windows: the place of each window in the global batch, int [B].
        """
        def apply(variables: Variables, x_BTFC: jax.Array) -> Any:
            return self.network.apply(variables, x_BTFC, train=True, windows=windows,
                                      rngs={"dropout": dropout}, mutable=["batch_stats"])

        if self.remat:
            kept = jax.checkpoint_policies.save_only_these_names(models.HEAVY)
            apply = jax.checkpoint(apply, policy=kept)
        output, new = apply(variables, self.features(mix_BTFC, 1.0))
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
        return FEATURES[self.view](seen if self.power == 1 else seen**self.power)

    def stems_of(
        self, output_BTFK: jax.Array, mix_BTFC: jax.Array, scale: float | jax.Array
    ) -> jax.Array:
        """Turn the network's output into complex stems, float32 arithmetic throughout."""
        output = output_BTFK.astype(jnp.float32).reshape(
            *output_BTFK.shape[:3], self.stems, self.outputs // self.stems
        )
        output_BSTFK, mix_B1TFC = jnp.moveaxis(output, 3, 1), mix_BTFC[:, None]
        if self.estimate == "direct":
            modulus = jnp.abs(mix_B1TFC)
            magnitudes = self._magnitudes(output_BSTFK, modulus, scale)
            # The mixture's phase; where the mixture is silent, so is the stem.
            stems_BSTFC = magnitudes * jnp.where(
                modulus > 0, mix_B1TFC / jnp.where(modulus > 0, modulus, 1), 0
            )
        else:
            stems_BSTFC = self._masks(output_BSTFK, mix_BTFC.shape[2]) * mix_B1TFC
        return consistent(stems_BSTFC, mix_BTFC, self.consistency)

    @property
    def _top(self) -> slice:
        """The highest bins that the network sees."""
        return slice(-max(1, self.seen_bins // 32), None)

    def _masks(self, output_BSTFK: jax.Array, bins: int) -> jax.Array:
        """Return masks of `bins` bins; a band that the network never saw goes the way of the
        highest that it saw.
        """
        masks = self._seen_masks(output_BSTFK)
        if self.bands:
            masks = jnp.einsum("bstpc,pf->bstfc", masks, self._bands_PF())
        masks = masks[:, :, :, :bins]
        above = bins - masks.shape[3]
        if not above:
            return masks
        mean = masks[:, :, :, self._top].mean(3, keepdims=True)
        return jnp.concatenate([masks, jnp.repeat(mean, above, axis=3)], axis=3)

    def _seen_masks(self, output_BSTFK: jax.Array) -> jax.Array:
        """Return the masks of what the network sees, [B, S, T, bins or bands, C].

        A mask m of compressed magnitudes, m·|x|^p, is one of m^(1/p) of the magnitudes.
        """
        if self.estimate == "complex":
            real, imaginary = jnp.split(output_BSTFK, 2, axis=-1)
            real = real + self.stems**-self.power  # untrained, it shares the mixture out evenly
            masks = jax.lax.complex(real, imaginary)
            if self.power == 1:
                return masks
            return masks * (real**2 + imaginary**2 + 1e-12) ** ((1 / self.power - 1) / 2)
        if self.mask == "sigmoid":
            masks = jax.nn.sigmoid(output_BSTFK)
        else:   # of bins and channels as one axis, see losses.py
            flat = output_BSTFK.reshape(*output_BSTFK.shape[:3], -1)
            masks = jax.nn.softmax(flat, axis=1).reshape(output_BSTFK.shape)
        return masks if self.power == 1 else masks ** (1 / self.power)

    def _magnitudes(
        self, output_BSTFC: jax.Array, modulus: jax.Array, scale: float | jax.Array
    ) -> jax.Array:
        """Return magnitudes of as many bins as `modulus` has, that of the mixture [B, 1, T, F, C];
        of a band that the network never saw, a stem has its share of the highest that it saw.
        """
        magnitudes = jax.nn.relu(output_BSTFC)[:, :, :, : modulus.shape[3]]
        if self.power != 1:
            magnitudes = magnitudes ** (1 / self.power)
        magnitudes = magnitudes / scale
        if magnitudes.shape[3] == modulus.shape[3]:
            return magnitudes
        seen, unseen = jnp.split(modulus, [self.seen_bins], axis=3)
        heard = jnp.maximum(seen[:, :, :, self._top].sum(3, keepdims=True), 1e-12)
        share = magnitudes[:, :, :, self._top].sum(3, keepdims=True) / heard
        return jnp.concatenate([magnitudes, jnp.minimum(share, 1) * unseen], axis=3)

    def _bands_PF(self) -> np.ndarray:
        singles, shared = self.bands
        return singles_then_bands(self.seen_bins, singles, shared)


def consistent(stems_BSTFC: jax.Array, mix_BTFC: jax.Array, how: str) -> jax.Array:
    """Return stems that add up to the mixture: what they lack of it is shared out among them
    (arXiv:1811.08521, section 2.2).

    how: "equal" shares, shares by "power" of the estimates, or "none": they stay as they are.
    """
    if how == "none":
        return stems_BSTFC
    lacking_B1TFC = (mix_BTFC - stems_BSTFC.sum(1))[:, None]
    if how == "equal":
        return stems_BSTFC + lacking_B1TFC / stems_BSTFC.shape[1]
    power_BSTFC = stems_BSTFC.real**2 + stems_BSTFC.imag**2 + 1e-12
    return stems_BSTFC + lacking_B1TFC * power_BSTFC / power_BSTFC.sum(1, keepdims=True)


def make_estimator(config: Config, *, axis_name: str | None = None) -> Estimator:
    """Return the estimator that a checked configuration describes.

    axis_name: the device axis over which a mapped training step averages batch statistics.
    """
    model, stems, channels = config.model, len(config.targets), config.audio.channels
    seen = model.bins or config.audio.n_fft // 2 + 1
    estimator = Estimator(
        None, stems, channels, seen, model.estimate, model.mask, model.features, model.bands,
        model.power, model.consistency, model.remat,
    )
    network = models.build(
        model, bins=sum(model.bands) or seen, channels=channels, outputs=estimator.outputs,
        axis_name=axis_name,
    )
    return dataclasses.replace(estimator, network=network)
