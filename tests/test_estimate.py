"""What the network's output means: masks that share the mixture out, magnitudes with its phase."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep.config import Config
from stemsep.estimate import Estimator, make_estimator


@dataclass(frozen=True)
class Network:
    """Answers each magnitude x with k·x² for output k, beginning at 1: known and not linear."""

    outputs: int

    def apply(self, variables: Any, x_BTFC: jax.Array, *, train: bool) -> jax.Array:
        return x_BTFC.mean(-1, keepdims=True) ** 2 * jnp.arange(1, self.outputs + 1)


def spectrum(bins: int, channels: int = 1) -> jax.Array:
    rng = np.random.default_rng(0)
    shape = (2, 6, bins, channels)
    return jnp.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape), jnp.complex64)


def estimator(estimate: str, *, mask: str = "softmax", stems: int = 2, channels: int = 1,
              seen: int = 64) -> Estimator:
    return Estimator(Network(stems * channels), stems, channels, seen, estimate, mask, "magnitude")


@pytest.mark.parametrize("bins", [40, 64, 100])
@pytest.mark.parametrize("channels", [1, 2])
def test_softmax_shares_the_mixture_out(bins: int, channels: int) -> None:
    """At every bin: seen, above those that the network sees, and where it sees more than there are.
    """
    mix_BTFC = spectrum(bins, channels)
    stems_BSTFC = estimator("mask", stems=3, channels=channels)({}, mix_BTFC)
    assert stems_BSTFC.shape == (2, 3, 6, bins, channels)
    np.testing.assert_allclose(stems_BSTFC.sum(1), mix_BTFC, atol=1e-5)


@pytest.mark.parametrize("bins", [40, 64, 100])
def test_bands_share_the_mixture_out(bins: int) -> None:
    """Also where the mixture has fewer bins than the network knows, and where it has more."""
    banded = dataclasses.replace(estimator("mask"), bands=(16, 8))
    assert banded.features(spectrum(bins), 1.0).shape == (2, 6, 24, 1)
    stems_BSTFC = banded({}, spectrum(bins))
    assert stems_BSTFC.shape == (2, 2, 6, bins, 1)
    np.testing.assert_allclose(stems_BSTFC.sum(1), spectrum(bins), atol=1e-5)


def test_bands_of_one_bin_each_change_nothing() -> None:
    plain, banded = estimator("mask"), dataclasses.replace(estimator("mask"), bands=(32, 32))
    np.testing.assert_allclose(banded({}, spectrum(70)), plain({}, spectrum(70)), atol=1e-4)


def test_above_the_seen_bins_the_mask_of_the_highest_goes_on() -> None:
    mix_BTFC = spectrum(100)
    masks = np.asarray(estimator("mask", mask="sigmoid")({}, mix_BTFC)) / mix_BTFC[:, None]
    top = masks[:, :, :, 62:64].mean(3, keepdims=True)
    np.testing.assert_allclose(masks[:, :, :, 64:], np.broadcast_to(top, (2, 2, 6, 36, 1)),
                               rtol=1e-4)


def test_direct_is_a_magnitude_with_the_phase_of_the_mixture() -> None:
    mix_BTFC = spectrum(64).at[0, 0].set(0)
    stems_BSTFC = np.asarray(estimator("direct")({}, mix_BTFC))
    assert not stems_BSTFC[0, :, 0].any()
    for stem in (0, 1):
        np.testing.assert_allclose(np.abs(stems_BSTFC[:, stem]),
                                   (stem + 1) * np.abs(mix_BTFC) ** 2, rtol=1e-4)
    sounding = stems_BSTFC[1], np.broadcast_to(mix_BTFC[1], (2, 6, 64, 1))
    np.testing.assert_allclose(np.angle(sounding[0] / sounding[1]), 0, atol=1e-5)


@pytest.mark.parametrize("estimate, bins", [("mask", 64), ("mask", 100), ("direct", 64),
                                            ("direct", 100), ("direct", 40)])
def test_scale_undoes_volume(estimate: str, bins: int) -> None:
    """A mixture that is twice as loud only by its STFT gives stems that are twice as loud."""
    mix_BTFC, estimate_of = spectrum(bins), estimator(estimate)
    once = np.asarray(estimate_of({}, mix_BTFC, scale=0.6))
    np.testing.assert_allclose(estimate_of({}, 2 * mix_BTFC, scale=0.3), 2 * once, rtol=1e-4)


def test_direct_loses_no_band_that_the_network_never_saw() -> None:
    """Its stems there are the share of the mixture that they have in the highest bins."""
    mix_BTFC = jnp.ones((1, 2, 100, 1), jnp.complex64)
    stems_BSTFC = np.asarray(estimator("direct")({}, 0.5 * mix_BTFC))
    np.testing.assert_allclose(stems_BSTFC[:, 0], 0.25, rtol=1e-5)
    np.testing.assert_allclose(stems_BSTFC[:, 1, :, :64], 0.5, rtol=1e-5)
    np.testing.assert_allclose(stems_BSTFC[:, 1, :, 64:], 0.5, rtol=1e-5)


def test_outputs_are_stem_by_stem_and_in_each_channel_by_channel() -> None:
    mix_BTFC = jnp.ones((1, 2, 64, 2), jnp.complex64)
    stems_BSTFC = np.asarray(estimator("direct", channels=2)({}, mix_BTFC))
    np.testing.assert_allclose(stems_BSTFC[0, :, 0, 0], [[1, 2], [3, 4]], rtol=1e-5)


def test_a_configured_network_estimates_and_learns_statistics() -> None:
    c = Config()
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = 8000, 64, 32
    c.model.name, c.model.widths, c.model.estimate = "strided", (4, 8), "mask"
    c.model.features, c.model.bins = "log", 24
    estimate_of = make_estimator(c.check())
    variables = estimate_of.init(jax.random.key(0), 6)
    mix_BTFC = spectrum(33)
    stems_BSTFC = estimate_of(variables, mix_BTFC)
    np.testing.assert_allclose(stems_BSTFC.sum(1), mix_BTFC, atol=1e-5)
    _, statistics = estimate_of.train(variables, mix_BTFC, dropout=jax.random.key(1),
                                      windows=jnp.arange(2))
    moved = jax.tree.map(lambda a, b: np.any(a != b), statistics, variables["batch_stats"])
    assert any(jax.tree.leaves(moved))
