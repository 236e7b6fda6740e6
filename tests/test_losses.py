"""Losses: zero for the truth, finite with silence, one value a stem; and the weights of stems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep.losses import LOSSES, complex_l1, energy_weights, magnitude_l1


def stems() -> jax.Array:
    rng = np.random.default_rng(0)
    shape = (2, 3, 4, 5, 1)
    return jnp.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape), jnp.complex64)


SIZES = {       # what a loss says of an error that is the truth itself, [B, T, F, C]
    "magnitude_l1": lambda error: np.abs(error).mean(),
    "complex_l1": lambda error: np.abs(error).mean(),
    "complex_rms": lambda error: np.sqrt((np.abs(error) ** 2).mean((1, 2, 3))).mean(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_truth_costs_nothing_and_each_stem_counts_by_itself(name: str) -> None:
    truth_BSTFC = stems()
    np.testing.assert_allclose(LOSSES[name](truth_BSTFC, truth_BSTFC), 0, atol=1e-6)
    wrong_BSTFC = truth_BSTFC.at[:, 1].multiply(2)
    loss_S = np.asarray(LOSSES[name](wrong_BSTFC, truth_BSTFC))
    assert loss_S.shape == (3,)
    np.testing.assert_allclose(loss_S[[0, 2]], 0, atol=1e-6)
    assert loss_S[1] == pytest.approx(SIZES[name](truth_BSTFC[:, 1]), rel=1e-4)


def test_only_the_complex_loss_hears_phase() -> None:
    truth_BSTFC = stems()
    np.testing.assert_allclose(magnitude_l1(1j * truth_BSTFC, truth_BSTFC), 0, atol=1e-6)
    assert np.all(np.asarray(complex_l1(1j * truth_BSTFC, truth_BSTFC)) > 0.1)


@pytest.mark.parametrize("name", LOSSES)
def test_silence_has_a_finite_gradient(name: str) -> None:
    silence_BSTFC = jnp.zeros((1, 2, 3, 4, 1), jnp.complex64)
    mask = jnp.full((1, 2, 3, 4, 1), 0.5)
    for truth_BSTFC in (silence_BSTFC, silence_BSTFC + 1):
        loss, gradient = jax.value_and_grad(
            lambda m: LOSSES[name](m * silence_BSTFC, truth_BSTFC).sum())(mask)
        assert np.isfinite(loss) and np.isfinite(gradient).all()


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
