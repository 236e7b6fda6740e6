"""The networks: their size, their shapes, and that fast operators change nothing but the time."""

import collections
from typing import Any, Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import timer
from stemsep import models
from stemsep.config import ModelConfig
from stemsep.models import ops
from stemsep.models.strided import StridedUNet
from stemsep.models.tfc_tdf import TfcTdfUNet
from stemsep.models.unet import UNet

SMALL: dict[str, Any] = {"channels": 2, "outputs": 3, "bins": 21, "widths": (4, 6)}
NETWORKS = [UNet, StridedUNet, TfcTdfUNet]


def draw(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def apart(got: Any, want: Any) -> float:
    """Return the largest difference of two trees, relative to the largest value of each leaf."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    return max(float(jnp.abs(a - b).max() / (jnp.abs(b).max() + 1e-12)) for a, b in pairs)


def variables_of(network: nn.Module, *, frames: int = 16, bins: int = 21) -> Any:
    x_BTFC = jnp.zeros((1, frames, bins, network.channels))
    return jax.jit(lambda key: network.init(key, x_BTFC, train=False))(jax.random.key(0))


def count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_unet_has_the_paper_networks_parameters() -> None:
    network = UNet(channels=1, outputs=2, bins=512)
    variables = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 16, 512, 1)), train=False)
    )
    assert set(variables) == {"params", "batch_stats"}
    assert count(variables) == 11_425_504
    assert count(variables["params"]) == 11_418_656


def test_strided_has_two_and_a_half_million_parameters() -> None:
    network = StridedUNet(channels=1, outputs=2, bins=512)
    variables = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 512, 1)), train=False)
    )
    assert count(variables["params"]) == 2_448_274


# Which arrangement an operator takes depends on its channels and on whether a size is odd.
@pytest.mark.parametrize("size", [(4, 8), (3, 6), (8, 5), (1, 1)])
@pytest.mark.parametrize("channels", [(1, 4), (3, 2), (9, 33), (32, 9)])
def test_fast_convolutions_equal_the_plain_ones(
    channels: tuple[int, int], size: tuple[int, int]
) -> None:
    @jax.jit
    def both(x_BTFC: jax.Array, kernel: jax.Array) -> Any:
        outcomes = []
        for fast in (True, False):
            for operator in (ops.down_conv, ops.up_conv):
                y, pull = jax.vjp(lambda x, k: operator(x, k, fast=fast), x_BTFC, kernel)
                outcomes.append((y, pull(draw(2, *y.shape))))
        return outcomes[:2], outcomes[2:]

    got, want = both(draw(0, 2, *size, channels[0]), draw(1, 5, 5, *channels))
    assert apart(got, want) < 2e-6


# Many channels go Winograd's way, of others the rows aside; few windows are cut into blocks.
@pytest.mark.parametrize("size", [(2, 16, 6), (1, 8, 5), (3, 7, 4), (9, 4, 3), (1, 1, 1)])
@pytest.mark.parametrize("kernel", [(3, 2, 5), (3, 64, 70), (3, 70, 64), (3, 257, 256), (1, 9, 4)])
def test_fast_unstrided_convolutions_equal_the_plain_ones(
    kernel: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    taps, *channels = kernel

    @jax.jit
    def both(x_BTFC: jax.Array, kernel: jax.Array) -> Any:
        outcomes = []
        for fast in (True, False):
            y, pull = jax.vjp(lambda x, k: ops.conv(x, k, fast=fast), x_BTFC, kernel)
            outcomes.append((y, pull(draw(2, *y.shape))))
        return outcomes

    got, want = both(draw(0, *size, channels[0]), draw(1, taps, taps, *channels))
    assert apart(got, want) < 2e-6


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("operator, parts, shape", [
    (ops.conv, ops.conv_parts, (3, 3, 128, 130)), (ops.conv, ops.conv_parts, (3, 3, 5, 4)),
    (ops.conv, ops.conv_parts, (1, 1, 9, 4)), (ops.up_conv, ops.up_conv_parts, (5, 5, 9, 33)),
    (ops.up_conv, ops.up_conv_parts, (5, 5, 9, 4)),
])
def test_what_is_made_of_a_kernel_alone_stands_for_it(
    operator: Any, parts: Any, shape: tuple[int, ...], dtype: str
) -> None:
    x_BTFC, kernel = (draw(i, *s).astype(dtype) for i, s in enumerate([(2, 7, 5, shape[2]), shape]))
    got, want = (operator(x_BTFC, k, fast=True) for k in (parts(kernel), kernel))
    np.testing.assert_array_equal(got, want)


def test_plain_up_conv_is_flax_conv_transpose() -> None:
    x_BTFC, kernel = draw(0, 2, 3, 5, 3), draw(1, 5, 5, 3, 4)
    layer = nn.ConvTranspose(4, (5, 5), (2, 2), use_bias=False)
    want = layer.apply({"params": {"kernel": kernel}}, x_BTFC)
    assert apart(ops.up_conv(x_BTFC, kernel, fast=False), want) < 2e-6


@pytest.mark.parametrize("size", [(8, 12), (7, 12), (8, 5), (3, 3)])
def test_fast_pooling_equals_the_plain_one_even_on_ties(size: tuple[int, int]) -> None:
    x_BTFC = jnp.round(draw(0, 2, *size, 3))

    def both(pool: Callable[[jax.Array], jax.Array]) -> Any:
        y, pull = jax.vjp(pool, x_BTFC)
        return y, pull(draw(2, *y.shape))

    fast = both(lambda x: ops.max_pool(x, fast=True))
    assert apart(fast, both(lambda x: ops.max_pool(x, fast=False))) == 0
    assert apart(fast, both(lambda x: nn.max_pool(x, (2, 2), (2, 2)))) == 0


def test_depth_to_space_undoes_space_to_depth() -> None:
    x_BTFC = draw(0, 2, 4, 6, 3)
    np.testing.assert_array_equal(ops.depth_to_space(ops.space_to_depth(x_BTFC)), x_BTFC)


def test_tfc_tdf_has_a_seventh_of_the_strided_networks_parameters() -> None:
    network = TfcTdfUNet(channels=1, outputs=2, bins=192)
    variables = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, 32, 192, 1)), train=False)
    )
    assert count(variables["params"]) == 1_384_546


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(16, 21), (1, 1), (5, 8), (13, 2)])
def test_any_size_in_is_the_same_size_out(network: Any, size: tuple[int, int]) -> None:
    net = network(**SMALL | {"bins": size[1]})
    x_BTFC = jnp.zeros((2, *size, 2))
    y_BTFK, _ = jax.eval_shape(
        lambda: net.init_with_output(jax.random.key(0), x_BTFC, train=False)
    )
    assert y_BTFK.shape == (2, *size, 3)


@pytest.mark.parametrize("network, multiple", [(UNet, 2), (StridedUNet, 4)])
def test_input_counts_as_zero_beyond_its_end(network: Any, multiple: int) -> None:
    net = network(**SMALL)
    variables = variables_of(net)
    x_BTFC = draw(0, 2, 13, 21, 2)
    more = (0, -13 % multiple), (0, -21 % multiple)
    padded = jnp.pad(x_BTFC, ((0, 0), *more, (0, 0)))
    infer = jax.jit(lambda x_BTFC: net.apply(variables, x_BTFC, train=False))
    assert apart(infer(x_BTFC), infer(padded)[:, :13, :21]) < 1e-6


@pytest.mark.parametrize("network, widths", [
    *[(network, (4, 6)) for network in NETWORKS],
    # So many channels that all of the fast forms are met.
    (UNet, (64, 256)), (StridedUNet, (64, 256)), (TfcTdfUNet, (64, 64)),
])
def test_fast_network_has_the_plain_networks_gradient(
    network: Any, widths: tuple[int, int]
) -> None:
    """In double precision to its rounding. In single precision to 1e-5 of that, or, where TFC-TDF
    magnifies rounding more than that, to as little as the plain one.
    """
    plain = network(**SMALL | {"widths": widths}, bin_affine=True, fast=False)
    start = variables_of(plain)
    shapes = jax.tree.map(jnp.shape, start)
    assert shapes == jax.tree.map(jnp.shape, variables_of(plain.clone(fast=True)))
    # Not as they start: offsets of 0 leave some scales a gradient that is nothing but rounding.
    variables = {**start, "params": jax.tree.map(
        lambda leaf: leaf + 0.3 * draw(3, *leaf.shape), start["params"])}
    x_BTFC, weight = draw(0, 2, 13, 21, 2), draw(1, 2, 13, 21, 3)

    def outcome(dtype: str, fast: bool) -> Any:
        net = plain.clone(fast=fast, dtype=dtype)
        params, stats, x, w = jax.tree.map(
            lambda leaf: leaf.astype(dtype),
            (variables["params"], variables["batch_stats"], x_BTFC, weight))

        @jax.jit
        def loss(params: Any) -> Any:
            y, new = net.apply(
                {"params": params, "batch_stats": stats}, x, train=True,
                mutable=["batch_stats"], rngs={"dropout": jax.random.key(7)},
            )
            return (y * w).sum(), (y, new)

        return jax.device_get(jax.grad(loss, has_aux=True)(params))

    with jax.enable_x64(True):
        truth = outcome("float64", False)
        assert apart(outcome("float64", True), truth) < 1e-12
    allowed = 1e-5
    if network is TfcTdfUNet:
        allowed = max(allowed, 2 * apart(outcome("float32", False), truth))
    assert allowed < 1e-4
    assert apart(outcome("float32", True), truth) < allowed


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("batch, few", [(6, 3), (6, 4), (5, 4), (5, 0), (6, 99)])
def test_output_is_the_same_few_windows_at_a_time(
    network: Any, batch: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(**SMALL)
    variables, x_BTFC = variables_of(net), draw(0, batch, 16, 21, 2)
    want = net.apply(variables, x_BTFC, train=False)
    monkeypatch.setattr(models, "_AT_ONCE", few * net.largest(16, 21))
    assert apart(models.infer(net, variables, x_BTFC), want) < 2e-6


def test_what_is_made_of_kernels_alone_is_made_once_for_all_windows(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    net = UNet(channels=1, outputs=2, bins=16, widths=(128, 160))
    variables, x_BTFC = variables_of(net, bins=16), draw(0, 4, 8, 16, 1)
    want = net.apply(variables, x_BTFC, train=False)
    monkeypatch.setattr(models, "_AT_ONCE", net.largest(8, 16))
    program = jax.make_jaxpr(lambda v, x: models.infer(net, v, x))(variables, x_BTFC)
    (loop,) = [step for step in program.eqns if step.primitive.name == "scan"]
    given = collections.Counter(v.aval.shape for v in loop.invars)
    assert given[1, 3, 128, 160] == given[1, 3, 160, 160] == given[1, 3, 256, 128] == 4
    assert not given[3, 3, 128, 160] and not given[5, 5, 160, 128] and given[1, 3, 160, 640]
    assert apart(models.infer(net, variables, x_BTFC), want) < 2e-6


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("few", [1, 99])
def test_prepared_variables_give_the_same_output(
    network: Any, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(**SMALL)
    variables, x_BTFC = variables_of(net), draw(0, 3, 16, 21, 2)
    prepared = models.prepare(net, variables)
    assert jax.tree.leaves(prepared[models.PREPARED])
    assert not any(part.shape == variables["params"]["last"]["kernel"].shape
                   for part in jax.tree.leaves(prepared[models.PREPARED]))
    monkeypatch.setattr(models, "_AT_ONCE", few * net.largest(16, 21))
    infer = jax.jit(lambda given: models.infer(net, given, x_BTFC))
    assert apart(infer(prepared), infer(variables)) < 1e-6
    # They are what is used, and not made anew.
    doubled = {**prepared, models.PREPARED: jax.tree.map(
        lambda part: 2 * part, prepared[models.PREPARED])}
    assert apart(infer(doubled), infer(prepared)) > 0.01
    plain = net.clone(fast=False)
    assert models.prepare(plain, variables) is variables


def test_memory_of_inference_does_not_grow_with_the_batch() -> None:
    net = UNet(channels=1, outputs=2, bins=64, widths=(32, 64))
    variables = variables_of(net, bins=64)

    def taken(batch: int) -> int:
        x_BTFC = jax.ShapeDtypeStruct((batch, 512, 64, 1), jnp.float32)
        step = jax.jit(lambda x_BTFC: models.infer(net, variables, x_BTFC))
        return timer.program_bytes(step.lower(x_BTFC).compile())

    assert taken(24) < 1.2 * taken(3)      # eight times without


@pytest.mark.parametrize("network", NETWORKS)
def test_dtype_changes_the_computation_and_not_the_parameters(network: Any) -> None:
    full, half = (network(**SMALL | {"bins": 9}, dtype=dtype) for dtype in ("float32", "bfloat16"))
    variables = variables_of(half, bins=9)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    x_BTFC = draw(0, 2, 8, 9, 2)
    got, want = jax.jit(
        lambda x_BTFC: [net.apply(variables, x_BTFC, train=False) for net in (half, full)]
    )(x_BTFC)
    assert got.dtype == jnp.bfloat16
    assert apart(got.astype(jnp.float32), want) < 0.05


def test_build_chooses_by_name_and_lists_the_choices() -> None:
    assert isinstance(models.build(ModelConfig(), bins=512, channels=2, outputs=4), UNet)
    network = models.build(
        ModelConfig(name="strided", widths=(4, 8), bin_affine=True), bins=9, channels=1, outputs=2
    )
    variables = variables_of(network, bins=9)
    assert variables["params"]["bin_affine"]["scale"].shape == (9, 1)
    with pytest.raises(ValueError, match="'unte'; the choices are unet, strided, tfc_tdf"):
        models.build(ModelConfig(name="unte"), bins=512, channels=2, outputs=4)


def test_dense_layers_over_frequency_reach_from_end_to_end_in_one_frame() -> None:
    """What is heard at the lowest bin moves the highest outputs of its own frames, and of no others
    but those that convolutions reach.
    """
    network = TfcTdfUNet(channels=1, outputs=1, bins=256, widths=(4, 4))
    variables = variables_of(network, bins=256)
    quiet = draw(0, 1, 64, 256, 1)
    infer = jax.jit(lambda x_BTFC: network.apply(variables, x_BTFC, train=False))
    moved_TF = np.abs(infer(quiet.at[0, 32, 0].add(1.0)) - infer(quiet))[0, ..., 0]
    assert moved_TF[32, -4:].max() > 0
    assert moved_TF[0].max() == 0


def test_wrong_input_is_refused_in_words() -> None:
    network = StridedUNet(**SMALL, bin_affine=True)
    variables = variables_of(network)
    with pytest.raises(ValueError, match="1 input channels, but the network was built for 2"):
        network.apply(variables, draw(0, 1, 8, 21, 1), train=False)
    with pytest.raises(ValueError, match="20 frequency bins, but the network was built for 21"):
        network.apply(variables, draw(0, 1, 8, 20, 2), train=False)
