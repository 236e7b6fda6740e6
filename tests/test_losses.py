"""Losses: lowest for the truth, finite on silence, one value a stem; and the weights of stems."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep import checks, guide
from stemsep.config import LossConfig
from stemsep.losses import (
    LOSSES, MULTIRES, WAVE_LOSSES, Loss, complex_l1, compress, energy_weights, magnitude_l1, make
)
from stemsep.stft import Stft

STFT = Stft(8000, 64, 16)
NAMES = [*LOSSES, *WAVE_LOSSES, MULTIRES]
DECIBELS = ("snr", "l1_snr", "si_sdr")


def loss_named(name: str, **settings: Any) -> Loss:
    return make({name: 1.0}, STFT, resolutions=(64, 32), **settings)


def stems() -> jax.Array:
    """Spectrograms of noise, [2, 3, 16, 33, 2]: those of waves, not any numbers."""
    waves_BSCN = np.random.default_rng(0).normal(size=(2, 3, 2, 240)).astype(np.float32)
    return jnp.moveaxis(jnp.asarray(STFT.analyse(waves_BSCN)), 2, -1)


def waves_of(spec_BSTFC: jax.Array) -> np.ndarray:
    return STFT.interior(np.moveaxis(np.asarray(spec_BSTFC), -1, 2))


SIZES = {       # what a loss says of an error that is the truth itself, [B, T, F, C] or [B, C, N]
    "magnitude_l1": lambda error: np.abs(error).mean(),
    "complex_l1": lambda error: np.abs(error).mean(),
    "complex_mse": lambda error: (np.abs(error) ** 2).mean(),
    "complex_rms": lambda error: np.sqrt((np.abs(error) ** 2).mean((1, 2, 3))).mean(),
    "snr": lambda error: 0.0,
    "l1_snr": lambda error: 0.0,
    "wave_l1": lambda wave: np.abs(wave).mean(),
}


def test_the_configuration_knows_every_loss() -> None:
    assert set(checks.LOSSES) == set(NAMES)
    assert set(checks.WAVES) == {*WAVE_LOSSES, MULTIRES} and checks.DECIBELS == DECIBELS


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_is_the_best_and_each_stem_counts_by_itself(name: str) -> None:
    truth_BSTFC, loss = stems(), loss_named(name)
    best_S = np.asarray(loss(truth_BSTFC, truth_BSTFC))
    if name in DECIBELS:
        assert (best_S < (-30 if name == "l1_snr" else -60)).all()
    else:
        np.testing.assert_allclose(best_S, 0, atol=1e-6)
    doubled_S = np.asarray(loss(truth_BSTFC.at[:, 1].multiply(2), truth_BSTFC))
    assert doubled_S.shape == (3,)
    np.testing.assert_allclose(doubled_S[[0, 2]], best_S[[0, 2]], rtol=1e-4, atol=1e-6)
    if name == "si_sdr":        # it does not hear how loud an estimate is
        assert doubled_S[1] < -60
    elif name in SIZES:
        own = truth_BSTFC[:, 1] if name in LOSSES else waves_of(truth_BSTFC)[:, 1]
        assert doubled_S[1] == pytest.approx(SIZES[name](own), rel=1e-4, abs=1e-4)
    else:
        assert doubled_S[1] > 0.1


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_error_costs_less(name: str) -> None:
    truth_BSTFC, noise_BSTFC = stems(), stems()[::-1, ::-1]
    losses = [float(loss_named(name)(truth_BSTFC + size * noise_BSTFC, truth_BSTFC).sum())
              for size in (0.5, 0.2, 0.1, 0.01)]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) == 4


def test_decibels_are_those_of_the_error() -> None:
    """A tenth of unrelated noise of the same level is 20 dB below."""
    truth_BSTFC, noise_BSTFC = stems(), stems()[::-1]
    for name in ("snr", "si_sdr"):
        loss_S = loss_named(name)(truth_BSTFC + 0.1 * noise_BSTFC, truth_BSTFC)
        np.testing.assert_allclose(loss_S, -20, atol=1.5)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"magnitude_l1"}))
def test_only_magnitudes_do_not_hear_phase(name: str) -> None:
    truth_BSTFC = stems()
    turned = np.asarray(loss_named(name)(-truth_BSTFC, truth_BSTFC))
    right = np.asarray(loss_named(name)(truth_BSTFC, truth_BSTFC))
    np.testing.assert_allclose(magnitude_l1(1j * truth_BSTFC, truth_BSTFC), 0, atol=1e-6)
    assert np.all(np.asarray(complex_l1(1j * truth_BSTFC, truth_BSTFC)) > 0.1)
    if name != "si_sdr":        # which hears no sign either
        assert (turned > right + 0.1).all()


@pytest.mark.parametrize("power", [1.0, 0.3])
@pytest.mark.parametrize("name", NAMES)
def test_silence_has_a_finite_gradient(name: str, power: float) -> None:
    silence_BSTFC = jnp.zeros((1, 2, 16, 33, 1), jnp.complex64)
    sound_BSTFC = stems()[:1, :2, :, :, :1]
    for truth_BSTFC, mix_BSTFC in ((silence_BSTFC, silence_BSTFC), (sound_BSTFC, silence_BSTFC),
                                   (silence_BSTFC, sound_BSTFC)):
        for start in (0.5, 0.0):
            loss, gradient = jax.value_and_grad(
                lambda m: loss_named(name, power=power)(m * mix_BSTFC, truth_BSTFC).sum())(
                    jnp.full(mix_BSTFC.shape, start))
            assert np.isfinite(loss) and np.isfinite(gradient).all()


def test_losses_add_up_with_their_weights() -> None:
    truth_BSTFC = stems()
    wrong_BSTFC = truth_BSTFC + 0.3 * truth_BSTFC[::-1]
    terms = {"complex_l1": 2.0, "l1_snr": 0.1, "multires": 0.5}
    total_S = make(terms, STFT, resolutions=(64, 32))(wrong_BSTFC, truth_BSTFC)
    parts = [weight * loss_named(name)(wrong_BSTFC, truth_BSTFC) for name, weight in terms.items()]
    np.testing.assert_allclose(total_S, sum(parts), rtol=1e-6)


def test_compression_keeps_phases_and_takes_magnitudes_to_the_power() -> None:
    spec = stems()
    compressed = np.asarray(compress(spec, 0.3))
    np.testing.assert_allclose(np.abs(compressed), np.abs(spec) ** 0.3, rtol=1e-3)
    np.testing.assert_allclose(np.angle(compressed), np.angle(spec), atol=1e-5)


def test_energy_weights_balance_loud_and_quiet() -> None:
    norms_S = np.array([1.0, 4.0, 0.5])
    alpha_S = energy_weights(norms_S)
    assert alpha_S.sum() == pytest.approx(1)
    np.testing.assert_allclose(alpha_S * norms_S, (alpha_S * norms_S)[0])
    np.testing.assert_allclose(energy_weights(100 * norms_S), alpha_S)


def test_energy_weights_of_silent_stems_are_finite() -> None:
    alpha_S = energy_weights(np.array([2.0, 0.0, 1.0]))
    assert alpha_S[1] == alpha_S[2] > alpha_S[0]
    np.testing.assert_allclose(energy_weights(np.zeros(4)), 0.25)


def test_dynamic_weights_favour_what_falls_slowly() -> None:
    config = LossConfig(balance="dynamic", balance_steps=4)
    now = guide.start(np.array([0.5, 0.5]))
    history = []
    for step in range(1, 13):
        losses_S = jnp.array([1.0 / step, 1.0])
        now = guide.weigh(now, losses_S, jnp.array(step), config)
        history.append(np.asarray(now["alpha"]))
    np.testing.assert_array_equal(history[:7], np.full((7, 2), 0.5))
    ratio = (1 / np.arange(5, 9)).mean() / (1 / np.arange(1, 5)).mean()
    want = np.exp(np.array([ratio, 1.0]) / 2)
    np.testing.assert_allclose(history[7], want / want.sum(), rtol=1e-5)
    np.testing.assert_array_equal(history[7], history[10])
    assert history[11][1] > history[11][0] and history[11].sum() == pytest.approx(1)


def test_other_balances_keep_their_weights() -> None:
    now = guide.start(np.array([0.3, 0.7]))
    for config in (LossConfig(balance="energy"), LossConfig(balance="dynamic", alpha=(1.0, 2.0))):
        assert guide.weigh(now, jnp.ones(2), jnp.array(1000), config) is now
