"""Runs that start from others, layers that stay as they are, and layers that learn more slowly."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep import optim, selection
from stemsep.checkpoint import load
from stemsep.config import Config, OptimConfig
from stemsep.errors import InputError
from tests import runs
from tests.test_train import arrays, run

NAMES = ["adamw", "adam", "sgd", "lion", "muon"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return runs.tiny(tmp_path)


def named(tree: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(leaf) for name, leaf in selection.leaves(tree).items()}


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_a_pattern_is_a_layer_or_a_name() -> None:
    assert selection.chosen("down0", "down0/kernel")
    assert selection.chosen("down*", "down0_norm/scale")
    assert selection.chosen("*/kernel", "last/kernel")
    assert not selection.chosen("down0", "down01/kernel")
    assert not selection.chosen("*/kernel", "last/bias")


def test_a_run_starts_from_another_with_all_that_fits(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The same stems: all of it, and the first score is that of the other's end."""
    run(config, tmp_path / "first")
    _, variables = load(tmp_path / "first")
    run(config, tmp_path / "second", train__init=str(tmp_path / "first"), optim__lr=0.0,
        train__steps=1, optim__weight_decay=0.0)
    assert "of 14 parameters fit" not in "".join(capsys.readouterr())
    after = arrays(config, tmp_path / "second")
    for name, value in named(variables["params"]).items():
        place = "".join(f"['{part}']" for part in ("model", "params", *name.split("/")))
        np.testing.assert_array_equal(after[place], value)


def test_other_stems_and_rates_keep_what_fits_and_name_the_rest(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(config, tmp_path / "first")
    config.data.targets = {"drums": ["drums"], "bass": ["bass"], "others": "rest"}
    config.audio.sample_rate, config.data.store = 4000, str(tmp_path / "other")
    config.check()
    runs.write_store(config)
    capsys.readouterr()
    run(config, tmp_path / "second", train__init=str(tmp_path / "first"), train__steps=1)
    said = "".join(capsys.readouterr())
    assert "parameters fit" in said
    kernel = "last/kernel ([5, 5, 8, 3], [5, 5, 8, 2] there)"
    assert f"new at their start: last/bias ([3], [2] there), {kernel}" in said
    run(config, tmp_path / "second", train__init=str(tmp_path / "first"), train__steps=2)
    again = "".join(capsys.readouterr())
    assert "going on from step 1" in again and "parameters fit" not in again


def test_a_start_that_fits_nothing_or_is_not_there_is_refused(
    config: Config, tmp_path: Path
) -> None:
    run(config, tmp_path / "first", train__steps=1)
    with pytest.raises(InputError, match="no parameter of .*first has the name and the shape"):
        run(config, tmp_path / "second", train__init=str(tmp_path / "first"), model__name="unet",
            model__widths=(3, 5))
    with pytest.raises(InputError, match="config.train.init: .*missing: no such run or exported"):
        run(config, tmp_path / "second", train__init=str(tmp_path / "missing"))


@pytest.mark.parametrize("name", NAMES)
def test_frozen_layers_do_not_change_and_take_no_memory(name: str) -> None:
    params = {"down0": {"kernel": jnp.ones((3, 3, 2, 4)), "scale": jnp.ones(4)},
              "last": {"kernel": jnp.ones((3, 3, 4, 2)), "bias": jnp.ones(2)}}
    c = OptimConfig(name=name, lr=0.1, weight_decay=0.1, clip_norm=1.0, frozen=("down*",))
    tx, now = optim.make(c, 10), params
    memory = tx.init(now)
    assert not any(leaf.shape == (3, 3, 2, 4) for leaf in jax.tree.leaves(memory))
    for _ in range(3):
        # A frozen layer's gradient is no part of the norm that is clipped.
        gradient = {"down0": jax.tree.map(lambda p: 1e6 * p, now["down0"]), "last": now["last"]}
        updates, memory = tx.update(gradient, memory, now)
        now = jax.tree.map(jnp.add, now, updates)
    assert moved(named(params), named(now)) == {"last/kernel", "last/bias"}
    assert np.abs(named(now)["last/bias"] - 1).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_factors_scale_what_a_layer_learns(name: str) -> None:
    params = {"down0": {"kernel": jnp.ones((3, 3, 2, 4))}, "last": {"bias": jnp.ones(2)}}

    def update(factors: dict) -> dict[str, np.ndarray]:
        tx = optim.make(OptimConfig(name=name, weight_decay=0.1, lr_factors=factors), 10)
        return named(tx.update(params, tx.init(params), params)[0])

    plain, scaled = update({}), update({"last": 0.5, "down0": 0.0, "*": 7.0})
    np.testing.assert_allclose(scaled["last/bias"], 0.5 * plain["last/bias"], rtol=1e-6)
    assert not scaled["down0/kernel"].any()


def test_a_frozen_layer_of_a_run_stays_with_its_statistics(config: Config, tmp_path: Path) -> None:
    run(config, tmp_path / "first", train__steps=1)
    before = arrays(config, tmp_path / "first")
    run(config, tmp_path / "second", train__init=str(tmp_path / "first"),
        optim__frozen=("down*",))
    after = arrays(config, tmp_path / "second")
    inside = {name for name in before if name.startswith("['model']") and "['ema']" not in name}
    for name in after:      # the average of what does not change is that, to the last bit
        if name.startswith("['model']['ema']['down"):
            np.testing.assert_array_equal(after[name], after[name.replace("ema", "params")])
    still = {name for name in inside if "['down" in name}
    assert len(still) > 4 and not moved({name: before[name] for name in still}, after)
    assert moved({name: before[name] for name in inside}, after) == inside - still


def test_patterns_that_choose_nothing_and_changed_ones_are_refused(
    config: Config, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"optim.frozen: 'dwon\*' matches no parameter, as 'down0"):
        run(config, tmp_path / "run", optim__frozen=("dwon*",))
    with pytest.raises(InputError, match="optim.lr_factors: 'x' matches no parameter.*the layers"):
        run(config, tmp_path / "run", optim__lr_factors={"x": 0.1})
    with pytest.raises(InputError, match="lr_factors: 'down0': 'a' must be a pattern of names and"):
        run(config, tmp_path / "run", optim__lr_factors={"down0": "a"})
    run(config, tmp_path / "run", train__steps=3, optim__lr_factors={"down0": 0.5})
    run(config, tmp_path / "run", train__steps=6)
    run(config, tmp_path / "run", train__steps=7, optim__lr_factors={"down0": 0.1})
    with pytest.raises(InputError, match="optim.lr_factors: 'x' matches no parameter"):
        run(config, tmp_path / "run", train__steps=9, optim__lr_factors={"x": 0.1})
    with pytest.raises(InputError, match=r"optim.frozen \('\*',\) matches every parameter"):
        run(config, tmp_path / "other", optim__frozen=("*",))
    with pytest.raises(InputError, match="another optimiser, config.optim.frozen was"):
        run(config, tmp_path / "run", train__steps=9, optim__frozen=("down0",))
