"""The optimisers: Muon's updates, and what weight decay touches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep import optim
from stemsep.config import OptimConfig


def draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def newton_schulz(x_MN: np.ndarray) -> np.ndarray:
    """Muon's iteration as it is published, on the matrix itself."""
    x_MN = x_MN / np.linalg.norm(x_MN)
    for _ in range(5):
        gram_NN = x_MN.T @ x_MN
        x_MN = x_MN @ (3.4445 * np.eye(len(gram_NN)) - 4.7750 * gram_NN
                       + 2.0315 * gram_NN @ gram_NN)
    return x_MN


@pytest.mark.parametrize("shape", [(5, 5, 1, 32), (5, 5, 16, 2), (3, 3, 8, 24), (12, 48), (48, 12)])
def test_orthogonal_updates_are_those_of_the_published_iteration(shape: tuple[int, ...]) -> None:
    update = 1e-4 * draw(0, *shape)
    got = jax.jit(optim.orthogonal)(update)
    x_MN = np.asarray(update, np.float64).reshape(-1, shape[-1])
    want = 0.2 * max(x_MN.shape) ** 0.5 * newton_schulz(x_MN)
    np.testing.assert_allclose(got, want.reshape(shape), atol=1e-4 * np.abs(want).max())
    np.testing.assert_allclose(jax.jit(optim.orthogonal)(1e3 * update), got, rtol=0.01, atol=1e-3)
    assert 0.1 < float(jnp.sqrt((got**2).mean())) < 0.25


def test_the_orthogonal_update_of_nothing_is_nothing() -> None:
    assert not np.asarray(optim.orthogonal(jnp.zeros((3, 3, 4, 5)))).any()


@pytest.mark.parametrize("name", ["adamw", "lion", "muon"])
def test_decay_of_its_own_touches_kernels_only(name: str) -> None:
    params = {"conv": {"kernel": draw(0, 3, 3, 2, 4), "bias": draw(1, 4)}}
    nothing = jax.tree.map(jnp.zeros_like, params)
    config = OptimConfig(name=name, lr=0.1, weight_decay=0.5, schedule="constant")
    tx = optim.make(config, 10)
    updates, _ = tx.update(nothing, tx.init(params), params)
    conv = updates["conv"]
    np.testing.assert_allclose(conv["kernel"], -0.05 * params["conv"]["kernel"], rtol=1e-5)
    assert not np.asarray(conv["bias"]).any()
