"""How far estimated stems are from the true ones: pure functions, one value a stem.

Losses of spectrograms compare complex64 [B, S, T, F, C]; losses of waves compare float32
[B, S, C, N], which the differentiable inverse STFT makes of them. All are finite on silence, and so
are their gradients. Those in dB are lower the better the estimate, and know no lowest value.
"""

from typing import Any, Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from stemsep.stft import Stft

Loss = Callable[[jax.Array, jax.Array], jax.Array]  # (estimate, truth) -> float32 [S]

_FLOOR = 1e-8  # power that counts as silence: 80 dB below full scale


def magnitude_l1(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
    """Mean absolute error of the magnitudes, float32 [S] (arXiv:1810.11520, eq. 1, without its
    weights).
    """
    error = magnitude(_flat(estimate_BSTFC)) - magnitude(_flat(stems_BSTFC))
    return jnp.abs(error).mean((0, 2, 3))


def complex_l1(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
    """Mean magnitude of the complex error, float32 [S]: wrong phase counts as well."""
    return magnitude(_flat(estimate_BSTFC - stems_BSTFC)).mean((0, 2, 3))


def complex_mse(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
    """Mean square of the complex error, float32 [S]."""
    return _power(estimate_BSTFC - stems_BSTFC).mean(0)


def complex_rms(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
    """Root mean square of the complex error of each window, averaged over windows, float32 [S].

    Within a window it ranks estimates as their SDR does; over windows it does not let the loudest
    decide alone, as the mean square would.
    """
    return jnp.sqrt(_power(estimate_BSTFC - stems_BSTFC) + 1e-14).mean(0)


def snr(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
    """Negative signal-to-noise ratio of each window in dB, averaged over windows, float32 [S].

    It is the SDR of the window, but for what overlapping frames count twice. Of a silent stem the
    estimate's level above 80 dB below full scale.
    """
    noise_BS = _power(estimate_BSTFC - stems_BSTFC) + _FLOOR
    return _decibels(noise_BS / (_power(stems_BSTFC) + _FLOOR)).mean(0)


def l1_snr(estimate_BSCN: jax.Array, stems_BSCN: jax.Array) -> jax.Array:
    """L1-SNR of the waves, 10·log10(mean|ŝ − s| / mean|s|), float32 [S] (arXiv:2309.02539,
    negated).
    """
    floor = _FLOOR**0.5
    noise_BS = jnp.abs(estimate_BSCN - stems_BSCN).mean((2, 3)) + floor
    return _decibels(noise_BS / (jnp.abs(stems_BSCN).mean((2, 3)) + floor)).mean(0)


def si_sdr(estimate_BSCN: jax.Array, stems_BSCN: jax.Array) -> jax.Array:
    """Negative scale-invariant SDR of the waves in dB, float32 [S] (Le Roux et al. 2019, eq. 3).

    It does not see how loud an estimate is: weight another loss beside it, or let masks that share
    out the mixture decide.
    """
    power_BS = (stems_BSCN**2).mean((2, 3))
    product_BS = (estimate_BSCN * stems_BSCN).mean((2, 3))
    target_BSCN = (product_BS / (power_BS + _FLOOR))[..., None, None] * stems_BSCN
    noise_BS = ((target_BSCN - estimate_BSCN) ** 2).mean((2, 3)) + _FLOOR
    return _decibels(noise_BS / ((target_BSCN**2).mean((2, 3)) + _FLOOR)).mean(0)


def wave_l1(estimate_BSCN: jax.Array, stems_BSCN: jax.Array) -> jax.Array:
    """Mean absolute error of the waves, float32 [S]."""
    return jnp.abs(estimate_BSCN - stems_BSCN).mean((0, 2, 3))


def multires(resolutions: Sequence[int]) -> Loss:
    """Return the multi-resolution STFT loss of waves: the mean magnitude of the complex error over
    STFTs of these sizes, in samples, each a quarter of its size apart (as arXiv:2309.02612
    trains).
    """
    def loss(estimate_BSCN: jax.Array, stems_BSCN: jax.Array) -> jax.Array:
        error_BSCN, losses = estimate_BSCN - stems_BSCN, []
        for size in resolutions:
            stft = Stft(0, size, size // 4)
            frames = (error_BSCN.shape[-1] - size) // stft.hop + 1
            spec = stft.transform(stft.cut(error_BSCN, frames, xp=jnp), xp=jnp)
            losses.append(magnitude(_flat(spec)).mean((0, 2, 3)))
        return jnp.stack(losses).mean(0)

    return loss


LOSSES: dict[str, Loss] = {
    "magnitude_l1": magnitude_l1,
    "complex_l1": complex_l1,
    "complex_mse": complex_mse,
    "complex_rms": complex_rms,
    "snr": snr,
}
WAVE_LOSSES: dict[str, Loss] = {"wave_l1": wave_l1, "l1_snr": l1_snr, "si_sdr": si_sdr}
MULTIRES = "multires"  # a loss of waves too, made for its resolutions


def make(
    terms: Mapping[str, float], stft: Stft, *, resolutions: Sequence[int] = (), power: float = 1.0
) -> Loss:
    """Return the weighted sum of losses of spectrograms [B, S, T, F, C].

    terms: name of a loss -> its weight. power: magnitudes are compressed to this power before
    losses of spectrograms compare them, so that quiet sounds count for more. Waves are those of the
    samples that all frames of the window cover (`Stft.interior`).
    """
    waves = {**WAVE_LOSSES, MULTIRES: multires(resolutions)}

    def loss(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
        total_S: Any = 0.0
        if any(name in waves for name in terms):
            both = [stft.interior(jnp.moveaxis(x, -1, 2), xp=jnp)
                    for x in (estimate_BSTFC, stems_BSTFC)]
        if power != 1:
            estimate_BSTFC, stems_BSTFC = (compress(x, power)
                                           for x in (estimate_BSTFC, stems_BSTFC))
        for name, weight in terms.items():
            losses_S = (waves[name](*both) if name in waves
                        else LOSSES[name](estimate_BSTFC, stems_BSTFC))
            total_S = total_S + weight * losses_S
        return total_S

    return loss


def magnitude(spec: jax.Array) -> jax.Array:
    """Return |spec| with a gradient that is finite at zero (silence), where that of `jnp.abs` is
    not.
    """
    return jnp.sqrt(spec.real**2 + spec.imag**2 + 1e-14)


def compress(spec: jax.Array, power: float) -> jax.Array:
    """Return the spectrogram with its magnitudes to a power up to 1 and its phase as it is; linear
    below 80 dB under full scale, where the power's slope would have no bound.
    """
    return spec * (spec.real**2 + spec.imag**2 + _FLOOR) ** ((power - 1) / 2)


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


def _power(spec_BSTFC: jax.Array) -> jax.Array:
    """Return the mean power of each window and stem, float32 [B, S]."""
    flat = _flat(spec_BSTFC)
    return (flat.real**2 + flat.imag**2).mean((2, 3))


def _flat(spec_BSTFC: jax.Array) -> jax.Array:
    """Return bins and channels as one axis, [B, S, T, F·C]: on CPU the sums over an innermost axis
    of one channel take three times as long.
    """
    return spec_BSTFC.reshape(*spec_BSTFC.shape[:3], -1)


def _decibels(ratio: jax.Array) -> jax.Array:
    return 10 * jnp.log10(ratio)
