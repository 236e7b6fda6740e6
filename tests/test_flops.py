"""Operations are counted as they are done: in loops each time, with zeros not at all."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from stemsep import flops
from stemsep.parallel import DataParallel


def brute(given: int, kernel: int, stride: int, padding: tuple, spread: int, apart: int) -> float:
    """A convolution of ones of one axis and channel adds a one for every product that it does."""
    out = lax.conv_general_dilated(
        jnp.ones((1, given, 1)), jnp.ones((kernel, 1, 1)), (stride,), [padding],
        lhs_dilation=(spread,), rhs_dilation=(apart,), dimension_numbers=("NWC", "WIO", "NWC"))
    return 2 * float(out.sum())


@pytest.mark.parametrize("seed", range(20))
def test_a_convolution_counts_its_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given, kernel = int(rng.integers(6, 12)), int(rng.integers(1, 4))
    stride, spread, apart = (int(rng.integers(1, 4)) for _ in range(3))
    padding = (int(rng.integers(-1, 4)), int(rng.integers(0, 4)))

    def convolve(x: jax.Array, k: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x, k, (stride,), [padding], lhs_dilation=(spread,), rhs_dilation=(apart,),
            dimension_numbers=("NWC", "WIO", "NWC"))

    counted = flops.count(convolve, jnp.ones((3, given, 4)), jnp.ones((kernel, 4, 5)))
    assert counted == 3 * 4 * 5 * brute(given, kernel, stride, padding, spread, apart)


def test_groups_see_their_own_channels() -> None:
    def convolve(x: jax.Array, k: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x, k, (1,), "VALID", feature_group_count=4,
                                        dimension_numbers=("NWC", "WIO", "NWC"))

    counted = flops.count(convolve, jnp.ones((2, 9, 8)), jnp.ones((3, 2, 12)))
    assert counted == 2 * (2 * 7 * 12) * (3 * 2)


def test_a_gradient_costs_the_operator_twice_more() -> None:
    def loss(x: jax.Array, k: jax.Array) -> jax.Array:
        y = lax.conv_general_dilated(x, k, (2, 2), "SAME",
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return (y ** 2).sum()

    given = jnp.ones((2, 32, 32, 3)), jnp.ones((5, 5, 3, 4))
    once = flops.count(loss, *given)
    assert flops.count(jax.grad(loss, (0, 1)), *given) == 3 * once
    costs = jax.jit(jax.grad(loss, (0, 1))).lower(*given).compile().cost_analysis()
    assert costs and 3 * once == pytest.approx(costs["flops"], rel=0.1)


def test_loops_branches_and_functions_are_followed() -> None:
    w = jnp.ones((8, 8))
    once = 2 * 8 ** 3

    def body(carry: jax.Array, _: Any) -> tuple[jax.Array, None]:
        return jax.jit(jnp.tanh)(carry @ w), None

    def loop(x: jax.Array) -> jax.Array:
        return lax.scan(body, x, None, length=5)[0]

    def branches(x: jax.Array) -> jax.Array:
        return lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x @ w, x)

    assert flops.count(loop, w) == 5 * once
    assert flops.count(branches, w) == 2 * once
    assert flops.count(jax.vmap(loop), jnp.ones((3, 8, 8))) == 15 * once
    assert flops.count(jax.checkpoint(loop), w) == 5 * once
    # Rematerialised: forward, forward again, and two products backward for the loop's carry alone.
    assert flops.count(jax.grad(lambda x: jax.checkpoint(loop)(x).sum()), w) >= 10 * once


@pytest.mark.parametrize("mapping", ["pmap", "shard_map"])
def test_of_a_mapped_function_one_device_counts(mapping: str) -> None:
    devices = DataParallel(mapping)
    step = devices.map(lambda w, x: (w, (x @ w).sum()), donate=True)
    w, x = devices.replicate(np.ones((8, 8), np.float32)), devices.put(np.ones((4, 8), np.float32))
    assert flops.count(step, w, x) == 2 * 4 * 8 * 8 / devices.size
