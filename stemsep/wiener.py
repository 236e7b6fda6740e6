"""The multichannel Wiener filter: estimates refined by where each stem lies between the channels.

Expectation-maximisation of the local Gaussian model (Duong, Vincent & Gribonval 2010,
10.1109/TASL.2010.2050716), started from the estimates of a network as in Nugraha, Liutkus & Vincent
2016 (10.1109/TASLP.2016.2580946, section II.C) and in Open-Unmix. Differentiable, silence included.
"""

import jax
import jax.numpy as jnp

_FLOOR = 1e-10      # of powers, beside a loudest point of 1
_RELATIVE = 1e-4    # of the covariance of a point, beside its power


def wiener(stems_BSTFC: jax.Array, mix_BTFC: jax.Array, *, iterations: int = 1) -> jax.Array:
    """Return the stems after `iterations` of the filter, complex64 [B, S, T, F, C].

    stems_BSTFC: estimates, from which the first iteration learns the power of every point and, of
    every bin, how a stem lies between the channels; both hold for the frames given. The stems that
    come out of an iteration share out the mixture: they sum to it.
    """
    # Powers are compared with a fixed floor, so the loudest point is brought to 1.
    loudest_B111 = jnp.abs(mix_BTFC).max((1, 2, 3), keepdims=True)
    scale_B111 = jax.lax.stop_gradient(jnp.where(loudest_B111 > 0, loudest_B111, 1))
    mix = mix_BTFC / scale_B111
    stems = stems_BSTFC / scale_B111[:, None]
    for _ in range(iterations):
        stems = _iterate(stems, mix)
    return stems * scale_B111[:, None]


def _iterate(stems_BSTFC: jax.Array, mix_BTFC: jax.Array) -> jax.Array:
    power_BSTF = (stems_BSTFC.real**2 + stems_BSTFC.imag**2).mean(-1)
    # How a stem lies between the channels: the covariance of its bins, over their power.
    moments_BSFCD = jnp.einsum("bstfc,bstfd->bsfcd", stems_BSTFC, stems_BSTFC.conj())
    covariance_BSFCD = moments_BSFCD / (power_BSTF.sum(2)[..., None, None] + _FLOOR)
    mixture_BTFCD = jnp.einsum("bstf,bsfcd->btfcd", power_BSTF, covariance_BSFCD)
    # Relative to the power of the point, so that a matrix of any level can be inverted, and with
    # a floor, because a passage that is mono has one that cannot.
    total_BTF11 = (power_BSTF.sum(1) + _FLOOR)[..., None, None]
    floor_CD = _RELATIVE * jnp.eye(mix_BTFC.shape[-1])
    whitened_BTFC = _solve(mixture_BTFCD / total_BTF11 + floor_CD, mix_BTFC) / total_BTF11[..., 0]
    found = jnp.einsum("bstf,bsfcd,btfd->bstfc", power_BSTF, covariance_BSFCD, whitened_BTFC)
    # What the floor took, in equal shares: the stems sum to the mixture.
    return found + ((mix_BTFC - found.sum(1)) / found.shape[1])[:, None]


def _solve(matrix_BTFCD: jax.Array, right_BTFC: jax.Array) -> jax.Array:
    """Solve a small Hermitian system at every point; of one and two channels in closed form."""
    channels = right_BTFC.shape[-1]
    if channels == 1:
        return right_BTFC / matrix_BTFCD[..., 0]
    if channels > 2:
        return jnp.linalg.solve(matrix_BTFCD, right_BTFC[..., None])[..., 0]
    a, b, c, d = (matrix_BTFCD[..., i, j] for i in (0, 1) for j in (0, 1))
    x, y = right_BTFC[..., 0], right_BTFC[..., 1]
    determinant = a * d - b * c
    return jnp.stack([d * x - b * y, a * y - c * x], -1) / determinant[..., None]
