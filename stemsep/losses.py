"""How far estimated stems are from the true ones: pure functions, one value a stem."""

from typing import Callable

import jax
import jax.numpy as jnp
import numpy as np


def magnitude_l1(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
    """Mean absolute error of the magnitudes, float32 [S] (arXiv:1810.11520, eq. 1, without its
    weights).
    """
    return jnp.abs(magnitude(estimate_BSTFC) - magnitude(stems_BSTFC)).mean((0, 2, 3, 4))


def complex_l1(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
    """Mean magnitude of the complex error, float32 [S]: wrong phase counts as well."""
    return magnitude(estimate_BSTFC - stems_BSTFC).mean((0, 2, 3, 4))


def complex_rms(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
    """Root mean square of the complex error of each window, averaged over windows, float32 [S].

    Within a window it ranks estimates as their SDR does; over windows it does not let the loudest
    decide alone, as the mean square would.
    """
    error = estimate_BSTFC - stems_BSTFC
    power_BS = (error.real**2 + error.imag**2).mean((2, 3, 4))
    return jnp.sqrt(power_BS + 1e-14).mean(0)


LOSSES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "magnitude_l1": magnitude_l1,
    "complex_l1": complex_l1,
    "complex_rms": complex_rms,
}


def magnitude(spec: jax.Array) -> jax.Array:
    """Return |spec| with a gradient that is finite at zero (silence), where that of `jnp.abs` is
    not.
    """
    return jnp.sqrt(spec.real**2 + spec.imag**2 + 1e-14)


def energy_weights(mean_norms_S: np.ndarray) -> np.ndarray:
    """Return the paper's weights of the stems, which balance loud and quiet ones; they sum to 1.

    mean_norms_S: mean 2-norm of each stem's spectrogram frames. α_i ∝ 1 / mean‖s_i‖₂
    (arXiv:1810.11520, section 3.2). A stem that is silent throughout gets the weight of the
    quietest one that sounds; all silent: equal weights.
    """
    norms = np.asarray(mean_norms_S, np.float64)
    if not norms.any():
        return np.full(len(norms), 1 / len(norms))
    inverse = 1 / np.where(norms > 0, norms, norms[norms > 0].min())
    return inverse / inverse.sum()
