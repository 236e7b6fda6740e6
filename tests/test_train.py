"""Training: the same on any number of devices, exact when resumed, and stopped in words."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stemsep import audio, steps, train
from stemsep.checkpoint import Checkpoints, load
from stemsep.config import Config, from_dict, to_dict
from stemsep.datasets import recipes
from stemsep.errors import InputError
from stemsep.log import SPEEDS
from stemsep.losses import LOSSES
from stemsep.parallel import DataParallel
from stemsep.store import Store, StoreSpec
from tests import runs, trees

ROOT = Path(__file__).parent.parent


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return runs.tiny(tmp_path)


def run(config: Config, workdir: Path, **overrides: Any) -> dict[str, np.ndarray]:
    """Train with some settings changed; returns every array of the last checkpoint."""
    values = to_dict(config)
    for path, value in overrides.items():
        section, name = path.split("__")
        values[section][name] = value
    changed = from_dict(values)
    train.train(changed, workdir)
    return arrays(changed, workdir)


def arrays(config: Config, workdir: Path) -> dict[str, np.ndarray]:
    with Checkpoints(workdir, read_only=True) as checkpoints:
        step = checkpoints.latest()
        assert step is not None
        restored = checkpoints.raw(step)
    flat, _ = jax.tree_util.tree_flatten_with_path(restored)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


def lines(workdir: Path) -> list[dict]:
    """The log without the speeds, which no two runs share."""
    records = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in record.items() if name not in SPEEDS} for record in records
    ]


def test_resumed_is_bit_identical_to_uninterrupted(config: Config, tmp_path: Path) -> None:
    whole = run(config, tmp_path / "whole")
    run(
        config, tmp_path / "parts", train__steps=6
    )  # the schedule knows the length of the whole run
    # What a run leaves behind that was killed after step 3.
    with Checkpoints(tmp_path / "parts") as checkpoints:
        checkpoints.delete(6)
    resumed = run(config, tmp_path / "parts")
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    assert lines(tmp_path / "whole") == lines(tmp_path / "parts")


def test_a_finished_run_does_nothing(config: Config, tmp_path: Path) -> None:
    first = run(config, tmp_path / "run")
    log = (tmp_path / "run" / "log.jsonl").read_text()
    again = run(config, tmp_path / "run")
    assert log == (tmp_path / "run" / "log.jsonl").read_text()
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_the_loss_falls_and_is_logged_by_target(config: Config, tmp_path: Path) -> None:
    run(config, tmp_path / "run", train__steps=60, train__save_every=60, train__log_every=10)
    records = [r for r in lines(tmp_path / "run") if "loss" in r]
    assert [r["step"] for r in records] == [10, 20, 30, 40, 50, 60]
    assert records[-1]["loss"] < records[0]["loss"]
    assert {"loss_drums", "loss_accompaniment", "gradient_norm"} <= records[0].keys()


PROGRAM = """
import json, sys
from pathlib import Path
from stemsep import parallel, train
from stemsep.config import from_dict
parallel.prepare()
train.train(from_dict(json.loads(Path(sys.argv[1]).read_text())), sys.argv[2])
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_as_if_undisturbed(config: Config, tmp_path: Path) -> None:
    """kill -9 while it starts, steps, validates or saves: the same arrays and the same log."""
    config.train.steps, config.train.save_every, config.train.log_every = 60, 2, 1
    config.augment.mixup, config.augment.polarity, config.augment.mask_time = 0.3, 0.5, 0.2
    config.loss.balance, config.loss.balance_steps, config.optim.schedule = "dynamic", 5, "plateau"
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    killed = tmp_path / "killed"
    line = [sys.executable, "-c", PROGRAM, str(tmp_path / "config.json"), str(killed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    whole = run(config, tmp_path / "whole")

    def log_lines() -> int:
        path = killed / "log.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        before, deadline_s = log_lines(), time.monotonic() + 120
        while process.poll() is None and log_lines() < before + 6:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0, 0.3)))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2       # it may have been done before the last one
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ended = arrays(config, killed)
    assert whole.keys() == ended.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], ended[name], err_msg=name)
    assert lines(killed) == lines(tmp_path / "whole")


def test_a_loss_that_is_not_finite_stops_and_names_the_step(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(estimate_BSTFC: jax.Array, stems_BSTFC: jax.Array) -> jax.Array:
        return estimate_BSTFC.real.mean((0, 2, 3, 4)) * jnp.nan

    monkeypatch.setitem(LOSSES, "complex_l1", broken)
    with pytest.raises(InputError, match=r"step 1: the loss is (nan|inf).*optim\.lr"):
        run(config, tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").glob("[0-9]*"))


def test_another_network_is_refused_in_words(config: Config, tmp_path: Path) -> None:
    run(config, tmp_path / "run", train__steps=3)
    with pytest.raises(
        InputError, match=r"another network, config\.model\.widths was \[4, 8\] and is \[4, 4\]"
    ):
        run(config, tmp_path / "run", model__widths=(4, 4))


def test_another_order_of_the_targets_is_another_network(config: Config, tmp_path: Path) -> None:
    run(config, tmp_path / "run", train__steps=3)
    turned = dict(reversed(config.data.targets.items()))
    with pytest.raises(InputError, match="another network, config.data.targets"):
        run(config, tmp_path / "run", data__targets=turned)
    with pytest.raises(InputError, match="another loss, config.loss.terms"):
        run(config, tmp_path / "run", loss__terms={"complex_rms": 1.0})


def test_a_finished_run_says_that_changes_come_too_late(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(config, tmp_path / "run", train__steps=3)
    before = (tmp_path / "run" / "config.json").read_text()
    run(config, tmp_path / "run", train__steps=3, optim__lr=0.5)
    said = "".join(capsys.readouterr())
    assert "nothing to do" in said and "config.optim.lr was 0.01, is 0.5, which changes" in said
    assert (tmp_path / "run" / "config.json").read_text() == before


def test_a_recipe_is_part_of_the_run(config: Config, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("Mixing key: program_num\nRecipes:\n  drums: [112, 128]\n")
    run(config, tmp_path / "run", train__steps=1, data__recipe=str(recipe))
    recipe.unlink()
    stored, _ = load(tmp_path / "run")
    assert recipes.load(stored.data.recipe).groups == {"112": "drums", "128": "drums"}


def test_energies_of_the_stems_of_a_target_add_up(config: Config) -> None:
    """However finely a store divides it, a target has the weight of its sum."""
    values = to_dict(config)
    values["loss"]["balance"] = "energy"
    values["data"]["targets"] = {"all": ["drums", "rest"]}
    values["data"]["store"] += "2"
    whole = from_dict({**values, "data": {**values["data"], "targets": {
        "drums": ["drums"], "others": ["bass", "rest"]}}})
    rng = np.random.default_rng(0)
    store = Store.create(whole.store, StoreSpec(8000, 1, 64, 32, ("drums", "bass", "rest")))
    store.write_track("train", "a", samples=8000, sources={}, waves=[
        [(0.1 * rng.standard_normal((1, 8000))).astype(np.float32)] for _ in range(3)])
    alpha_S = steps.stem_weights(whole, store)
    assert alpha_S[0] / alpha_S[1] == pytest.approx(2 ** 0.5, rel=0.02)


def test_longer_runs_go_on_and_say_what_changed(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run(config, tmp_path / "run", train__steps=3)
    run(config, tmp_path / "run", train__steps=6)
    said = capsys.readouterr()
    assert "going on from step 3" in said.out + said.err
    assert "config.train.steps was 3, is 6" in said.out + said.err


def test_a_run_goes_on_with_clipping_but_not_without_its_average(
    config: Config, tmp_path: Path
) -> None:
    run(config, tmp_path / "run", train__steps=3)
    run(config, tmp_path / "run", train__steps=4, optim__clip_norm=1.0)
    with pytest.raises(InputError, match="optim.ema_decay"):
        run(config, tmp_path / "run", train__steps=5, optim__ema_decay=0.0)


def test_a_store_of_other_settings_is_refused_without_its_source(
    config: Config, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="was made with sample_rate 8000.* says 16000"):
        run(config, tmp_path / "run", audio__sample_rate=16000)


def test_batch_must_divide_over_the_devices() -> None:
    devices = DataParallel("pmap")
    devices.size = 8
    with pytest.raises(
        InputError,
        match="config.train.batch is 12, which does not divide over 8 devices; set it to 16",
    ):
        devices.check_batch(12, "config.train.batch")


@pytest.mark.slow
def test_two_processes_train_as_one(config: Config, tmp_path: Path) -> None:
    """The launcher's two processes of two devices each give the loss of one process."""
    config.train.steps, config.train.save_every, config.train.log_every = 3, 3, 1
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "config.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "DEVICES": "2"}
    alone = [*program, str(tmp_path / "one")]
    both = [str(ROOT / "launch" / "local.sh"), "2", *program, str(tmp_path / "two")]
    for command in (alone, both):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    losses = [[record["loss"] for record in lines(tmp_path / name) if "loss" in record]
              for name in ("one", "two")]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    # What two processes began, one goes on with.
    config.train.steps = 6
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    for name in ("one", "two"):
        done = subprocess.run([*program, str(tmp_path / name)], env=environment,
                              capture_output=True, text=True)
        assert done.returncode == 0 and "going on from step 3" in done.stdout, done.stderr
    losses = [[record["loss"] for record in lines(tmp_path / name) if "loss" in record]
              for name in ("one", "two")]
    assert len(losses[0]) == 6
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@pytest.mark.slow
def test_two_processes_separate_songs_of_their_own(config: Config, tmp_path: Path) -> None:
    """Three songs of three rates for two processes: as many calls, and other programs, in each."""
    run(config, tmp_path / "run", train__steps=1)
    for rate in (8000, 11025, 16000):
        trees.write(tmp_path / "songs" / f"{rate}.wav", trees.noise(3 * rate), rate=rate)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "DEVICES": "2"}
    command = [sys.executable, "-m", "stemsep.separate", f"--checkpoint={tmp_path / 'run'}",
               str(tmp_path / "songs"), "--batch=2"]
    both = [str(ROOT / "launch" / "local.sh"), "2", *command, f"--output={tmp_path / 'two'}"]
    for line in (both, [*command, f"--output={tmp_path / 'one'}"]):
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    for path in (tmp_path / "one").rglob("*.wav"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        np.testing.assert_allclose(audio.read(other)[0], audio.read(path)[0], atol=1e-6)
    assert len(list((tmp_path / "one").rglob("*.wav"))) == 6
