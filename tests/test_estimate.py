"""What the network's output means: masks that share the mixture out, magnitudes with its phase."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep.config import Config
from stemsep.estimate import Estimator, consistent, make_estimator


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


@dataclass(frozen=True)
class Fixed:
    """Answers with the same output whatever it sees."""

    output_BTFK: Any

    def apply(self, variables: Any, x_BTFC: jax.Array, *, train: bool) -> jax.Array:
        return self.output_BTFK


def answering(output_BTFK: np.ndarray, estimate: str, **settings: Any) -> Estimator:
    base = estimator(estimate, stems=2, seen=output_BTFK.shape[2])
    return dataclasses.replace(base, network=Fixed(jnp.asarray(output_BTFK)), **settings)


def test_an_untrained_complex_mask_shares_the_mixture_out() -> None:
    for power in (1.0, 0.5):
        even = answering(np.zeros((2, 6, 64, 4), np.float32), "complex", power=power)
        assert even.outputs == 4
        mix_BTFC = spectrum(80)
        np.testing.assert_allclose(even({}, mix_BTFC)[:, 1], mix_BTFC / 2, rtol=1e-4)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_complex_masks_turn_phases(power: float) -> None:
    """The output is the mask of compressed spectrograms, stem by stem its real and its imaginary
    part.
    """
    mix_BTFC = spectrum(64)
    wanted_BSTFC = np.stack([1j * mix_BTFC, (0.3 - 0.4j) * mix_BTFC], 1)
    masks_S = np.array([1j, 0.3 - 0.4j])
    masks_S = masks_S * np.abs(masks_S) ** (power - 1)
    output_K = np.stack([masks_S.real - 2 ** -power, masks_S.imag], 1).reshape(-1)
    output = np.broadcast_to(output_K.astype(np.float32), (2, 6, 64, 4))
    got = answering(output, "complex", power=power)({}, mix_BTFC)
    np.testing.assert_allclose(got, wanted_BSTFC, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("estimate", ["direct", "mask"])
def test_the_power_is_undone(estimate: str) -> None:
    """A network that answers rightly of compressed magnitudes gives the stems themselves."""
    mix_BTFC = spectrum(64)
    share, power = 0.25, 0.5
    if estimate == "direct":
        output = np.concatenate([np.abs(share * mix_BTFC) ** power,
                                 np.abs((1 - share) * mix_BTFC) ** power], -1)
    else:
        logits = [np.log(p / (1 - p)) for p in (share ** power, (1 - share) ** power)]
        output = np.broadcast_to(np.array(logits, np.float32), (2, 6, 64, 2))
    got = np.asarray(answering(output, estimate, power=power, mask="sigmoid")({}, mix_BTFC))
    np.testing.assert_allclose(got[:, 0], share * mix_BTFC, rtol=1e-4)
    np.testing.assert_allclose(got[:, 1], (1 - share) * mix_BTFC, rtol=1e-4)


def test_the_network_sees_compressed_magnitudes() -> None:
    seen = dataclasses.replace(estimator("direct"), power=0.5).features(spectrum(64), 1.0)
    np.testing.assert_allclose(seen, np.abs(spectrum(64)) ** 0.5, rtol=1e-5)


@pytest.mark.parametrize("estimate", ["direct", "mask", "complex"])
@pytest.mark.parametrize("how", ["equal", "power"])
def test_consistent_stems_add_up_to_the_mixture(estimate: str, how: str) -> None:
    output = np.random.default_rng(0).normal(size=(2, 6, 64, 4 if estimate == "complex" else 2))
    for mix_BTFC in (spectrum(90), jnp.zeros_like(spectrum(90))):
        stems_BSTFC = answering(output.astype(np.float32), estimate, mask="sigmoid",
                                consistency=how)({}, mix_BTFC)
        np.testing.assert_allclose(stems_BSTFC.sum(1), mix_BTFC, atol=1e-5)


def test_consistency_gives_by_shares_or_by_power() -> None:
    stems_BSTFC = jnp.array([3.0, 1.0], jnp.complex64).reshape(1, 2, 1, 1, 1)
    mix_BTFC = jnp.full((1, 1, 1, 1), 14, jnp.complex64)
    np.testing.assert_allclose(consistent(stems_BSTFC, mix_BTFC, "equal").ravel(), [8, 6])
    np.testing.assert_allclose(consistent(stems_BSTFC, mix_BTFC, "power").ravel(), [12, 2])
    np.testing.assert_allclose(consistent(stems_BSTFC, mix_BTFC, "none").ravel(), [3, 1])


@pytest.mark.parametrize("estimate", ["direct", "mask", "complex"])
@pytest.mark.parametrize("power, how", [(1.0, "none"), (0.3, "power"), (1.0, "equal")])
def test_silence_has_finite_gradients(estimate: str, power: float, how: str) -> None:
    silence = jnp.zeros((2, 6, 64, 1), jnp.complex64)
    for mix_BTFC in (silence, spectrum(64)):
        def total(output: jax.Array) -> jax.Array:
            base = answering(np.zeros((2, 6, 64, 4)), estimate, power=power, consistency=how)
            stems_BSTFC = dataclasses.replace(base, network=Fixed(output))({}, mix_BTFC)
            return (stems_BSTFC.real ** 2 + stems_BSTFC.imag).sum()

        zeros = jnp.zeros((2, 6, 64, 4 if estimate == "complex" else 2))
        assert np.isfinite(jax.grad(total)(zeros)).all()


def test_rematerialisation_keeps_less_and_changes_nothing() -> None:
    """The same loss and gradient; for the gradient no activation is kept but those that take long
    to compute. (What that saves a compiler may give back: XLA on CPU does.)
    """
    c = Config()
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop = 8000, 128, 64
    c.model.name, c.model.widths, c.model.estimate = "unet", (8, 16, 16), "mask"
    c.check()
    mix_BTFC = jnp.tile(spectrum(65), (2, 8, 1, 1))
    variables = make_estimator(c).init(jax.random.key(0), 48)

    def outcome(remat: bool) -> tuple[Any, Any, int]:
        estimate_of = dataclasses.replace(make_estimator(c), remat=remat)

        def loss(params: Any) -> jax.Array:
            stems_BSTFC, _ = estimate_of.train({**variables, "params": params}, mix_BTFC,
                                               dropout=jax.random.key(1), windows=jnp.arange(4))
            return jnp.abs(stems_BSTFC[:, 0]).sum()

        value, pull = jax.vjp(loss, variables["params"])
        kept = sum(leaf.nbytes for leaf in jax.tree.leaves(pull))
        return value, pull(jnp.ones(())), kept

    (value, gradient, kept), (again, gradient_again, kept_again) = outcome(False), outcome(True)
    np.testing.assert_allclose(again, value, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_again)):
        assert np.abs(a - b).max() < 1e-5 * np.abs(a).max()
    assert kept_again < 0.6 * kept
