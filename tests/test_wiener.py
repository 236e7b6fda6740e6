"""The multichannel Wiener filter: the formula at every point, sums to the mixture, no NaN."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep.wiener import wiener

FRAMES, BINS = 30, 5


def spectra(*shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(*shape, 2)) @ np.array([1, 1j])
    # Powers of many values over time, as music has them.
    return (values * rng.lognormal(0, 1, size=(*shape[:-1], 1))).astype(np.complex64)


def refined(stems: np.ndarray, mix: np.ndarray, iterations: int = 1) -> np.ndarray:
    return np.asarray(wiener(jnp.asarray(stems), jnp.asarray(mix), iterations=iterations))


def plain(stems: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """One iteration, point by point: Nugraha et al. 2016, eq. 6 to 9."""
    found = np.zeros_like(stems)
    power = (np.abs(stems) ** 2).mean(-1)
    for f in range(BINS):
        covariances = [sum(np.outer(stem[t, f], stem[t, f].conj()) for t in range(FRAMES))
                       / own[:, f].sum() for stem, own in zip(stems, power)]
        for t in range(FRAMES):
            parts = [own[t, f] * R for own, R in zip(power, covariances)]
            floor = 1e-4 * power[:, t, f].sum() * np.eye(len(mix[t, f]))
            inverse = np.linalg.inv(sum(parts) + floor)
            for stem, part in zip(found, parts):
                stem[t, f] = part @ inverse @ mix[t, f]
    return found + (mix - found.sum(0)) / len(stems)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_it_is_the_formula(channels: int) -> None:
    stems = spectra(3, FRAMES, BINS, channels)
    mix = stems.sum(0) + 0.1 * spectra(FRAMES, BINS, channels, seed=1)
    found = refined(stems[None], mix[None])[0]
    np.testing.assert_allclose(found, plain(stems, mix), atol=2e-4 * np.abs(mix).max())


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("iterations", [1, 3])
def test_the_stems_sum_to_the_mixture_at_any_level(channels: int, iterations: int) -> None:
    stems = spectra(2, 2, FRAMES, BINS, channels)
    mix = spectra(2, FRAMES, BINS, channels, seed=1)
    found = refined(stems, mix, iterations)
    np.testing.assert_allclose(found.sum(1), mix, atol=1e-4 * np.abs(mix).max())
    quiet = refined(1e-5 * stems, 1e-5 * mix, iterations)
    np.testing.assert_allclose(1e5 * quiet, found, rtol=1e-2, atol=1e-3 * np.abs(mix).max())


def test_it_finds_stems_by_where_they_lie() -> None:
    """Of two stems panned apart, estimates that are half wrong become nearly right."""
    left, right = spectra(2, FRAMES, BINS, 1)
    stems = np.stack([left * np.array([1, 0.2]), right * np.array([0.2, 1])]).astype(np.complex64)
    mix = stems.sum(0)
    modulus = 0.7 * np.abs(stems) + 0.3 * np.abs(stems[::-1])
    estimate = modulus / modulus.sum(0) * mix

    def error(found: np.ndarray) -> float:
        return float((np.abs(found - stems) ** 2).sum() / (np.abs(stems) ** 2).sum())

    assert error(refined(estimate[None], mix[None], 3)[0]) < (
        0.3 * error(estimate))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("silent", ["all", "a stem", "a channel", "a frame"])
def test_silence_has_values_and_gradients(channels: int, silent: str) -> None:
    stems = spectra(1, 2, FRAMES, BINS, channels)
    where: Any = {"all": np.s_[:], "a stem": np.s_[:, 0], "a channel": np.s_[..., 0],
                  "a frame": np.s_[:, :, 3]}[silent]
    stems[where] = 0

    def loss(stems: jax.Array) -> jax.Array:
        return (jnp.abs(wiener(stems, stems.sum(1), iterations=2)[:, 0] + 1e-3) ** 2).sum()

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(stems))
    assert np.isfinite(value) and np.isfinite(np.asarray(gradient)).all()
