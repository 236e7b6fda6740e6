"""The step: the same training however a batch is divided, and what it does with broken numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep import guide, optim, state, train
from stemsep.checkpoint import Checkpoints
from stemsep.config import Config, OptimConfig, from_dict, to_dict
from stemsep.errors import InputError
from stemsep.estimate import make_estimator
from stemsep.losses import LOSSES
from stemsep.steps import make_gradient
from tests import runs
from tests.test_train import PROGRAM, ROOT, arrays, lines, run


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A tiny network with everything on that draws: dropout, remixing and augmentation."""
    c = runs.tiny(tmp_path)
    c.augment.mixup, c.augment.polarity, c.augment.drop, c.augment.mask_time = 0.2, 0.5, 0.1, 0.2
    c.augment.equalise_db = 3.0
    return c


def apart(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> float:
    """Return the largest distance of two parameters, relative to the size of the parameter."""
    names = [name for name in want if "'params'" in name or "'ema'" in name]
    assert names and got.keys() == want.keys()
    return max(float(np.linalg.norm(got[name] - want[name]) / np.linalg.norm(want[name]))
               for name in names if np.linalg.norm(want[name]))


def test_what_is_trained_with_has_the_highs_of_the_configuration(config: Config) -> None:
    """Of what lies below them the gradient stays as it is."""
    audio = config.audio
    shape = (2, len(config.stems), 8, audio.channels, audio.n_fft // 2 + 1, 2)
    stems = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    low = stems.copy()
    low[..., audio.n_fft * 700 // audio.sample_rate + 1:, :] = 0

    def gradient(stems: np.ndarray, highs_db: dict[str, tuple[float, float]]) -> Any:
        values = to_dict(config)
        values["augment"]["highs_db"] = highs_db
        c = from_dict(values)
        estimator = make_estimator(c)
        first = state.create(estimator, optim.make(c.optim, 10), np.ones(len(c.targets)), seed=0,
                             frames=8, ema=False)
        found, _, _ = jax.jit(make_gradient(estimator, c))(first, stems, jnp.arange(2))
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])

    more = {config.stems[0]: (3.0, 9.0)}
    assert np.abs(gradient(stems, more) - gradient(stems, {})).max() > 1e-5
    np.testing.assert_allclose(gradient(low, more), gradient(low, {}), atol=1e-7)


@pytest.mark.parametrize("mapping", ["pmap", "shard_map"])
def test_parts_of_a_batch_are_the_whole_batch(
    config: Config, tmp_path: Path, mapping: str
) -> None:
    """Accumulation of 4 × 4 windows gives the parameters of 16 at once."""
    config.parallel, config.model.norm, config.train.batch = mapping, "group", 16
    config.train.steps = config.train.save_every = 10
    whole = run(config, tmp_path / "whole")
    parts = run(config, tmp_path / "parts", optim__accumulate=4)
    assert apart(parts, whole) < 1e-5
    for one, other in zip(lines(tmp_path / "whole"), lines(tmp_path / "parts"), strict=True):
        for name in one.keys() - {"validation_best"}:
            assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-5), name


def test_parts_must_divide_the_batch(config: Config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train.batch is 4, which does not divide into .*accumul"):
        run(config, tmp_path / "run", optim__accumulate=3)


@pytest.mark.slow
def test_any_devices_and_processes_give_the_same_parameters(
    config: Config, tmp_path: Path
) -> None:
    """1, 2, 4 and 8 devices, pmap and shard_map, and two processes of two devices: 10 steps."""
    config.train.batch, config.train.steps, config.train.save_every = 8, 10, 10
    found = {}
    for mapping, devices, processes in (("pmap", 1, 1), ("pmap", 2, 1), ("pmap", 4, 1),
                                        ("pmap", 8, 1), ("pmap", 2, 2), ("shard_map", 1, 1),
                                        ("shard_map", 8, 1), ("shard_map", 2, 2)):
        config.parallel = mapping
        (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
        workdir = tmp_path / f"{mapping}{devices}x{processes}"
        line = [sys.executable, "-c", PROGRAM, str(tmp_path / "config.json"), str(workdir)]
        if processes > 1:
            line = [str(ROOT / "launch" / "local.sh"), str(processes), *line]
        environment = {
            **os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "DEVICES": str(devices),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        }
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert f"on {devices * processes} cpu" in done.stdout + done.stderr
        found[workdir.name] = arrays(config, workdir)
    for name, parameters in found.items():
        assert apart(parameters, found["pmap1x1"]) < 1e-5, name


def test_steps_that_are_not_finite_are_skipped_and_told(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the windows make the loss infinite: their steps change nothing but the count."""
    def broken(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
        loud = stems_BSTFC[0, 1, 0, 3, 0].real > 0
        return jnp.abs(estimate_BSTFC - stems_BSTFC).mean((0, 2, 3, 4)) / jnp.where(loud, 0.0, 1.0)

    monkeypatch.setitem(LOSSES, "complex_l1", broken)
    config.train.nonfinite, config.train.log_every = "skip", 1
    config.train.steps = config.train.save_every = 12
    monkeypatch.setattr(train, "check_finite", lambda *_: None)     # of the validation
    run(config, tmp_path / "run")
    records = [line for line in lines(tmp_path / "run") if "skipped" in line]
    skipped = [line["step"] for line in records if line["skipped"]]
    assert 0 < len(skipped) < 12 and len(records) == 12
    said = "".join(capsys.readouterr())
    for step in skipped:
        assert f"step {step}: the loss is inf" in said
    assert all(np.isfinite(array).all() for name, array in arrays(config, tmp_path / "run").items()
               if "best" not in name)
    ended = arrays(config, tmp_path / "run")
    assert int(ended["['optimiser']['step']"]) == 12
    assert int(ended["['optimiser']['guide']['updates']"]) == 12 - len(skipped)


def test_too_many_skipped_steps_end_training(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES, "complex_l1",
                        lambda estimate, stems: estimate.real.mean((0, 2, 3, 4)) * jnp.nan)
    with pytest.raises(InputError, match="step 4: more than 3 steps in a row were not finite"):
        run(config, tmp_path / "run", train__nonfinite="skip", train__nonfinite_limit=3,
            train__save_every=6)
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


def test_steps_skipped_in_a_row_are_counted_over_a_resumption(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES, "complex_l1",
                        lambda estimate, stems: estimate.real.mean((0, 2, 3, 4)) * jnp.nan)
    monkeypatch.setattr(train, "check_finite", lambda *_: None)     # of the validation
    changes = {"train__nonfinite": "skip", "train__nonfinite_limit": 5, "train__save_every": 2}
    run(config, tmp_path / "run", train__steps=4, **changes)
    for _ in range(2):      # each time from step 4
        with pytest.raises(InputError, match="step 6: more than 5 steps in a row"):
            run(config, tmp_path / "run", train__steps=20, **changes)


def test_both_kinds_of_parameters_are_judged_and_the_best_is_named(
    config: Config, tmp_path: Path
) -> None:
    run(config, tmp_path / "run", train__steps=9)
    records = [line for line in lines(tmp_path / "run") if "validation_best" in line]
    assert [line["step"] for line in records] == [3, 6, 9]
    best = -np.inf
    for line in records:
        scores = {"raw": line["validation_sdr"], "ema": line["validation_ema_sdr"]}
        assert scores["raw"] != scores["ema"]
        assert line["validation_loss"] != line["validation_ema_loss"]
        assert line["validation_best"] == max(scores, key=lambda name: scores[name])
        best = max(best, *scores.values())
        assert line["validation_best_score"] == pytest.approx(best, rel=1e-6)


def test_training_ends_when_no_score_gets_better(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config.optim.lr, config.model.norm = 0.0, "group"       # nothing is learned
    changes = {"train__steps": 60, "train__patience": 2}
    run(config, tmp_path / "run", **changes)
    last = lines(tmp_path / "run")[-1]["step"]
    assert last < 60 and "no better score in 2 validations" in "".join(capsys.readouterr())
    run(config, tmp_path / "run", **changes)
    assert lines(tmp_path / "run")[-1]["step"] == last
    assert "until no score was better; nothing to do" in "".join(capsys.readouterr())


def test_a_plateau_lowers_the_rate_and_a_resumed_run_goes_on_with_it(
    config: Config, tmp_path: Path
) -> None:
    config.optim.schedule, config.optim.plateau_patience = "plateau", 1
    config.optim.plateau_factor, config.optim.lr, config.optim.name = 0.01, 10.0, "sgd"
    config.train.save_every = 1
    whole = run(config, tmp_path / "whole", train__steps=8)
    assert whole["['optimiser']['guide']['rate']"] < 1
    run(config, tmp_path / "parts", train__steps=8)
    with Checkpoints(tmp_path / "parts") as checkpoints:
        checkpoints.delete(8)
    resumed = run(config, tmp_path / "parts", train__steps=8)
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)


def test_a_score_is_judged_by_its_rank() -> None:
    c = Config()
    c.optim.schedule, c.optim.plateau_patience, c.train.patience = "plateau", 2, 3
    now, rates, over = guide.start(np.ones(2)), [], []
    for score in (1.0, 2.0, 1.5, 2.0, 1.0, 0.0, 3.0):
        now = guide.judge(now, score, c)
        rates.append(float(now["rate"]))
        over.append(guide.is_over(now, c))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]
    assert over == [False, False, False, False, True, True, False]
    assert float(now["best"]) == 3.0


def test_other_songs_of_validation_begin_a_new_best_score(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """An SDR in dB says nothing about a loss; so a plateau and patience begin anew too."""
    changes = {"train__patience": 1, "optim__schedule": "plateau", "optim__plateau_patience": 1}
    run(config, tmp_path / "run", **{**changes, "train__steps": 3})
    first = lines(tmp_path / "run")[-1]["validation_best_score"]
    run(config, tmp_path / "run", **changes, train__validate_songs=0)
    assert "its best score starts anew" in "".join(capsys.readouterr())
    last = lines(tmp_path / "run")[-1]
    assert first != last["validation_best_score"] == -last[
        "validation_loss" if last["validation_best"] == "raw" else "validation_ema_loss"]
    assert arrays(config, tmp_path / "run")["['optimiser']['guide']['rate']"] == 1


def test_validations_have_an_interval_of_their_own(config: Config, tmp_path: Path) -> None:
    """Each is saved; a checkpoint between two has no scores, and a run goes on from it exactly."""
    changes = {"train__validate_every": 4, "train__save_every": 3, "train__steps": 8,
               "train__keep": 9}
    whole = run(config, tmp_path / "whole", **changes)
    judged = [r["step"] for r in lines(tmp_path / "whole") if "validation_loss" in r]
    assert judged == [4, 8]
    with Checkpoints(tmp_path / "whole", read_only=True) as checkpoints:
        assert checkpoints.steps() == [3, 4, 6, 8]
        assert [bool(checkpoints.scores(step)) for step in (3, 4, 6, 8)] == [0, 1, 0, 1]
        assert checkpoints.best() in (4, 8)
    run(config, tmp_path / "parts", **changes)
    with Checkpoints(tmp_path / "parts") as checkpoints:
        for step in (4, 6, 8):
            checkpoints.delete(step)
    resumed = run(config, tmp_path / "parts", **changes)
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    assert lines(tmp_path / "parts") == lines(tmp_path / "whole")


def test_a_run_that_ended_early_keeps_its_log(config: Config, tmp_path: Path) -> None:
    config.optim.lr, config.model.norm = 0.0, "group"
    run(config, tmp_path / "run", train__steps=60, train__patience=1)
    before = lines(tmp_path / "run")
    run(config, tmp_path / "run", train__steps=2, train__patience=1)
    assert lines(tmp_path / "run") == before


def test_another_loss_is_refused_and_another_momentum_is_not(
    config: Config, tmp_path: Path
) -> None:
    two = {"complex_l1": 1.0, "magnitude_l1": 1.0}
    run(config, tmp_path / "run", train__steps=3, loss__terms=two)
    with pytest.raises(InputError, match="another loss, config.loss.terms was"):
        run(config, tmp_path / "run", loss__terms={"complex_l1": 1.0})
    run(config, tmp_path / "run", loss__terms=two, model__norm_momentum=0.9)


def test_half_precision_is_of_the_computation_only(config: Config, tmp_path: Path) -> None:
    full = run(config, tmp_path / "full")
    half = run(config, tmp_path / "half", model__dtype="bfloat16")
    assert {name: array.dtype for name, array in full.items()} == {
        name: array.dtype for name, array in half.items()}
    first = [lines(tmp_path / name)[0]["loss"] for name in ("full", "half")]
    assert first[0] != first[1] and first[1] == pytest.approx(first[0], rel=0.02)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "lion", "muon"])
def test_every_optimiser_goes_down_hill_and_decays_kernels_only(name: str) -> None:
    params = {"a": {"kernel": jnp.ones((3, 3, 2, 4)), "scale": jnp.ones(4)}}
    c = OptimConfig(name=name, lr=0.05, weight_decay=0.0, schedule="constant")

    def after(config: OptimConfig, gradient: Any) -> Any:
        tx, now = optim.make(config, 10), params
        state = tx.init(now)
        for _ in range(10):
            updates, state = tx.update(gradient(now), state, now)
            now = jax.tree.map(jnp.add, now, updates)
        return now

    def norm(tree: Any) -> float:
        return float(sum((leaf ** 2).sum() for leaf in jax.tree.leaves(tree)))

    assert norm(after(c, lambda now: now)) < norm(params)
    decaying = OptimConfig(name=name, lr=0.05, weight_decay=0.5, schedule="constant")
    still = after(decaying, lambda now: jax.tree.map(jnp.zeros_like, now))
    assert (np.abs(np.asarray(still["a"]["scale"])) == 1).all()
    assert (np.asarray(still["a"]["kernel"]) < 1).all()


def test_settings_that_contradict_each_other_are_named(config: Config) -> None:
    def refused(pattern: str, **changes: Any) -> None:
        values = to_dict(config)
        for path, value in changes.items():
            section, name = path.split("__")
            values[section][name] = value
        with pytest.raises(InputError, match=pattern):
            from_dict(values)

    refused("terms has no loss 'l1'.*choices: magnitude_l1", loss__terms={"l1": 1.0})
    refused("terms is empty", loss__terms={})
    refused("alpha .*no target counts", loss__alpha=(0.0, 0.0))
    refused("weight of 'snr' is -1", loss__terms={"snr": -1})
    refused("'multires' compares the 480 samples.*needs 4096; set config.data.window_frames to 129",
            loss__terms={"multires": 1.0})
    refused("resolutions .* multiples of 4", loss__resolutions=(5,))
    refused("'dynamic' compares how fast.*'snr' falls without end", loss__terms={"snr": 1.0},
            loss__balance="dynamic")
    refused("betas .* two numbers", optim__betas=(0.9,))
    refused("consistency 'equal'.*none of config.data.targets is 'rest'",
            data__targets={"drums": ["drums"]}, model__mask="sigmoid", model__consistency="equal")
