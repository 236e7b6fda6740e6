"""Checkpoints: which is the best, what a full disk does to them, and models as single files."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

import stemsep
from stemsep import optim, state, train
from stemsep.checkpoint import Checkpoints
from stemsep.checkpoint import __main__ as command
from stemsep.checkpoint import best_of, checkpoints, exported, load
from stemsep.checkpoint.folder import folder, local
from stemsep.checkpoint.resuming import check_same_run
from stemsep.config import Config, from_dict, to_dict
from stemsep.errors import InputError
from stemsep.estimate import make_estimator
from stemsep.separator import Separator
from stemsep.state import TrainState
from tests import runs, trees
from tests.test_buckets import gcs  # noqa: F401

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workdir of a run of six steps, with checkpoints of steps 3 and 6."""
    folder = tmp_path_factory.mktemp("trained")
    train.train(runs.tiny(folder), folder / "run")
    return folder / "run"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return runs.tiny(tmp_path)


def fresh(config: Config, *, ema: bool = True) -> TrainState:
    """A state of step 0 on the host, its average another than its parameters."""
    made = state.create(make_estimator(config), optim.make(config.optim, 1), np.full(2, 0.5),
                        seed=0, frames=16, ema=ema)
    made = jax.tree.map(np.asarray, made)
    return made.replace(ema=jax.tree.map(lambda x: x + 1, made.ema)) if ema else made


def saved(workdir: Path, config: Config, scores: Mapping[int, dict[str, Any] | None],
          **options: Any) -> Checkpoints:
    """Save a state at some steps; gives the run, opened anew to read it."""
    with Checkpoints(workdir, **options) as checkpoints:
        for step, own in scores.items():
            checkpoints.save(step, fresh(config), config=config, scores=own)
    return Checkpoints(workdir, read_only=True)


def folders(workdir: Path) -> set[str]:
    return {path.name for path in (workdir / "checkpoints").iterdir()}


def edited(change: Callable[[dict], Any]) -> Callable[[Config], dict]:
    """What `to_dict` would give in another version."""
    def other(config: Config) -> dict:
        values = to_dict(config)
        change(values)
        return values
    return other


def test_changed_settings_of_single_stems_are_told(tmp_path: Path) -> None:
    stored, given = Config(), Config()
    given.augment.highs_db = {"drums": (0.0, 3.0)}
    stored.augment.highs_db = json.loads(json.dumps(given.augment.highs_db))
    assert check_same_run(stored, given, tmp_path) == []
    given.augment.highs_db = {}
    assert check_same_run(stored, given, tmp_path) == [
        "config.augment.highs_db was [['drums', [0.0, 3.0]]], is []"]


@pytest.mark.parametrize("scores, best", [
    ({}, None),
    ({3: {}, 6: {}}, 6),                                            # nothing has scores
    ({1: {"loss": 0.1}, 2: {}, 3: {"loss": 0.2}, 4: {}}, 1),
    ({1: {"loss": 0.2}, 2: {"loss": 0.2}}, 2),                      # of equal ones the newest
    ({1: {"loss": 0.1, "sdr": 3.0}, 2: {"loss": 0.9, "sdr": 5.0}, 3: {"loss": 0.5, "sdr": 4.0}}, 2),
    ({1: {"loss": 0.1}, 2: {"loss": 0.9, "sdr": -5.0}, 3: {}}, 2),  # songs are separated since
    ({1: {"loss": 0.1, "sdr": 9.0}, 2: {"loss": 0.05}}, 2),         # no longer
    ({1: {"loss": 0.1, "sdr": 9.0, "songs": 1}, 2: {"loss": 0.9, "sdr": 1.0, "songs": 2}}, 2),
])
def test_the_best_has_the_highest_sdr_or_the_lowest_loss(
    scores: dict[int, dict[str, Any]], best: int | None
) -> None:
    assert best_of(scores) == best


def test_the_best_checkpoint_outlives_newer_ones_until_the_songs_change(
    config: Config, tmp_path: Path
) -> None:
    def save(source: str, losses: dict[int, float]) -> tuple[int | None, set[str]]:
        scores = {step: {"loss": loss} for step, loss in losses.items()}
        return saved(tmp_path, config, scores, source=source).best(), folders(tmp_path)

    assert save("folders:a", {1: 0.5, 2: 0.1, 3: 0.4, 4: 0.3, 5: 0.2}) == (2, {"2", "4", "5"})
    assert save("folders:b", {6: 7.0, 7: 9.0, 8: 8.0, 9: 8.5}) == (6, {"6", "8", "9"})


def test_the_best_by_sdr_outlives_newer_ones_and_those_without_scores(
    config: Config, tmp_path: Path
) -> None:
    def scores(loss: float, sdr: float | None) -> dict[str, Any]:
        return {"loss": loss, "sdr": sdr, "sdr_drums": None, "of": "raw"}

    own = {1: scores(0.1, 2.0), 2: scores(0.9, 4.0), 3: scores(0.5, 3.0), 4: None, 5: None}
    reopened = saved(tmp_path, config, own)
    assert (reopened.best(), reopened.latest(), reopened.scores(5)) == (2, 5, {})
    assert folders(tmp_path) == {"2", "4", "5"}
    assert saved(tmp_path, config, {2: None}).scores(2)["sdr"] == 4     # it is there already
    assert saved(tmp_path, config, {6: scores(0.2, None)}).best() == 6


def test_a_checkpoint_without_scores_gets_those_that_it_is_owed(
    config: Config, tmp_path: Path
) -> None:
    assert saved(tmp_path, config, {1: None, 2: None}).scores(2) == {}
    reopened = saved(tmp_path, config, {2: {"loss": 0.5}})
    assert reopened.scores(2)["loss"] == 0.5 and reopened.steps() == [1, 2]
    assert saved(tmp_path, config, {2: {"loss": 0.1}}).scores(2)["loss"] == 0.5    # once for all


def test_a_save_asks_for_no_notice_to_stop(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only `DataParallel.preemption` does: processes must all ask as often."""
    asked: list[int] = []
    monkeypatch.setattr(
        "jax.experimental.multihost_utils.reached_preemption_sync_point", asked.append)
    assert saved(tmp_path, config, {1: None, 2: None}).steps() == [1, 2]
    assert not asked


def test_without_scores_the_newest_is_loaded(config: Config, tmp_path: Path) -> None:
    assert saved(tmp_path, config, {1: None, 2: None}).best() == 2
    load(tmp_path)


def test_the_parameters_are_those_that_the_scores_are_of(config: Config, tmp_path: Path) -> None:
    made = fresh(config)
    reopened = saved(tmp_path, config, {
        1: {"loss": 1.0, "of": "raw"}, 2: {"loss": 0.5, "of": "ema"}, 3: None}, keep=3)
    for step, params in ((1, made.params), (2, made.ema), (3, made.ema)):
        jax.tree.map(np.testing.assert_array_equal, reopened.variables(step)["params"], params)
    with Checkpoints(tmp_path / "none") as checkpoints:     # no average, whatever the scores say
        checkpoints.save(1, fresh(config, ema=False), config=config, scores=None)
    jax.tree.map(np.testing.assert_array_equal, load(tmp_path / "none")[1]["params"], made.params)


def test_loading_is_quiet(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A notebook shows what Orbax would say of a run that it only reads."""
    load(trained)
    assert not [record for record in caplog.records if record.name == "absl"]


def test_load_needs_no_config(trained: Path) -> None:
    stored, _ = load(trained)
    again = from_dict(json.loads((trained / "config.json").read_text()))
    assert to_dict(stored) == to_dict(again)
    load(trained / "checkpoints")


def test_a_damaged_checkpoint_is_named(config: Config, tmp_path: Path) -> None:
    saved(tmp_path / "run", config, {3: {"loss": 1.0}})
    for path in (tmp_path / "run" / "checkpoints" / "3" / "model").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:7])
    with pytest.raises(InputError, match="checkpoint 3 is damaged; delete the folder"):
        load(tmp_path / "run")
    with pytest.raises(InputError, match="checkpoint 3 is damaged"):
        train.train(config, tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "3" / "metrics" / "metrics").write_text('{"loss')
    with pytest.raises(InputError, match="the scores of a checkpoint are damaged"):
        load(tmp_path / "run")


def test_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint here"):
        load(tmp_path)
    with pytest.raises(InputError, match="there is no such file"):
        load(tmp_path / "model.safetensors")


def test_one_run_trains_in_a_workdir_while_others_look(config: Config, tmp_path: Path) -> None:
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(1, fresh(config), config=config, scores={"loss": 1.0})
        checkpoints.save(2, fresh(config), config=config, scores={"loss": 2.0})
        with pytest.raises(InputError, match="another run is training here; wait until"):
            train.train(config, tmp_path / "run")
        load(tmp_path / "run")
        Checkpoints(tmp_path / "run", process=1)       # another process of the same job
    Checkpoints(tmp_path / "run")


def test_settings_of_another_version(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are missing have their defaults; one that is not known is named."""
    def save(step: int, change: Callable[[dict], Any]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "__version__", "9.1")
            patch.setattr(checkpoints.configs, "to_dict", edited(change))
            saved(tmp_path / "run", config, {step: {"loss": 1.0 / step}})

    save(1, lambda values: values["optim"].pop("clip_norm"))
    assert to_dict(load(tmp_path / "run")[0]) == to_dict(config)
    save(2, lambda values: values["optim"].update(later=1))
    message = r"checkpoint 2: its settings .* stemsep 9\.1, .* config\.optim has no setting 'later'"
    with pytest.raises(InputError, match=f"{message}.*use the version that wrote it"):
        load(tmp_path / "run")
    with pytest.raises(InputError, match=message):
        train.train(config, tmp_path / "run")


def test_parameters_that_the_settings_do_not_make_are_named(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.configs, "to_dict",
                      edited(lambda values: values["model"].update(widths=[4, 4])))
        saved(tmp_path / "run", config, {1: {"loss": 1.0}})
    message = r"checkpoint 1: params/down1/kernel is \[.* 8\], by its settings \[.* 4\]; it was ed"
    with pytest.raises(InputError, match=message):
        load(tmp_path / "run")
    values = to_dict(config)
    values["model"]["widths"] = [4, 4]
    with pytest.raises(InputError, match=message):
        train.train(from_dict(values), tmp_path / "run")


def test_an_exported_file_separates_as_its_run(trained: Path, tmp_path: Path) -> None:
    command.run(["export", str(trained)], tmp_path / "new" / "model.safetensors", None)
    assert os.listdir(tmp_path / "new") == ["model.safetensors"]
    with safetensors.safe_open(tmp_path / "new" / "model.safetensors", framework="numpy") as file:
        metadata, names = file.metadata(), set(file.keys())
    stored, variables = load(trained)
    assert json.loads(metadata["config"]) == json.loads(json.dumps(to_dict(stored)))
    assert metadata["stemsep"] == stemsep.__version__
    assert {name.split("/")[0] for name in names} == {"params", "batch_stats"}
    wave_CN = trees.noise(6000)
    one, other = (Separator.load(path)(wave_CN, 8000)
                  for path in (trained, tmp_path / "new" / "model.safetensors"))
    for stem in one:
        np.testing.assert_array_equal(one[stem], other[stem])


def test_info_tells_what_a_run_and_a_file_are(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file = tmp_path / "model.safetensors"
    command.run(["export", str(trained)], file, 3)
    assert "the parameters of step 3 of" in capsys.readouterr().out
    for path, is_run in ((trained, True), (file, False)):
        command.run(["info", str(path)], file, None)
        said = capsys.readouterr().out
        assert "parameters: 2,134 (down0 100" in said
        assert "config.optim.ema_decay = 0.9" in said and "config.optim.betas" not in said
        assert f"written with: stemsep {stemsep.__version__}, jax {jax.__version__}" in said
        assert ("step 6: loss 0.0" in said) == ("the best by its sdr" in said) == is_run
        assert ("averaged parameters: yes" in said) == ("optimiser: yes, 0.0 MB" in said) == is_run


def test_wrong_files_and_flags_are_one_sentence(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    command.run(["export", str(trained)], file, None)
    whole = file.read_bytes()
    for data in (b"", b"no model\n" * 99, whole[:-1], whole[:50]):
        file.write_bytes(data)
        with pytest.raises(InputError, match="is no model that stemsep exported, or is damaged"):
            load(file)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match="model.safetensors: is damaged: its arrays are not"):
        load(file)
    save_file({"weight": np.zeros(3)}, file)
    with pytest.raises(InputError, match="was not exported by stemsep"):
        load(file)
    for arguments, output, step, message in (
        (["info"], file, None, "give an action and a run"),
        (["inform", "x"], file, None, "did you mean 'info'"),
        (["export", str(trained)], file, 4, "--step 4: .* does not keep it; choices: 3, 6"),
        (["export", str(trained)], tmp_path, None, "is a folder; give a file"),
        (["export", str(trained)], tmp_path / "model.pt", None, "name it .*model.safetensors"),
        (["export", str(file)], file, None, "is no run"),
        (["info", str(tmp_path)], file, None, "no checkpoint here"),
    ):
        with pytest.raises(InputError, match=message):
            command.run(arguments, output, step)


def test_a_file_of_another_version_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, variables = load(trained)

    def write(change: Callable[[dict], Any], **arrays: Any) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(exported, "__version__", "9.1")
            patch.setattr(exported.configs, "to_dict", edited(change))
            path = tmp_path / "model.safetensors"
            exported.write(path, exported.Exported(config, variables | arrays, 1, "raw", {}, {}))
        return path

    with pytest.raises(InputError, match=r"by stemsep 9\.1, and .* config has no setting 'later'"):
        load(write(lambda values: values.update(later=1)))
    with pytest.raises(InputError, match=r"has params/new, \[3\], which its settings do not make"):
        load(write(lambda values: None, params={**variables["params"], "new": np.zeros(3)}))
    with pytest.raises(InputError, match="lacks params/down0/kernel"):
        load(write(lambda values: None, params={"x": np.zeros(3)}))


def test_a_full_disk_leaves_no_half_file(config: Config, tmp_path: Path) -> None:
    config.model.widths = (32, 64)
    saved(tmp_path / "run", config, {1: {"loss": 1.0}})
    (tmp_path / "new").mkdir()
    words = r"a.safetensors: cannot be written \(File too large\)"
    with trees.small_disk(), pytest.raises(InputError, match=words):
        command.run(["export", str(tmp_path / "run")], tmp_path / "new" / "a.safetensors", None)
    assert not os.listdir(tmp_path / "new")


FULL = """
import json, resource, sys
from pathlib import Path
import orbax.checkpoint as ocp
from stemsep import command, parallel, train
from stemsep.config import from_dict

save, full = ocp.CheckpointManager.save, json.loads(sys.argv.pop())

def limited(manager, step, **arguments):
    "Files are small from here to the next save: what writes in the background fails."
    none = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12 if step in full else none, none))
    return save(manager, step, **arguments)

ocp.CheckpointManager.save = limited

def main(arguments):
    parallel.prepare()
    train.train(from_dict(json.loads(Path(arguments[0]).read_text())), arguments[1])

command.run(main)
"""


def program(config: Config, workdir: Path, last: str, *before: str,
            **environment: str) -> subprocess.CompletedProcess:
    """Train in a process of its own; last: the steps at which the disk is full, as "[2, 3]"."""
    path = workdir.parent / "config.json"
    path.write_text(json.dumps(to_dict(config)))
    return subprocess.run(
        [*before, sys.executable, "-c", FULL, str(path), str(workdir), last],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True, text=True, timeout=150)


def test_a_full_disk_stops_no_training(config: Config, tmp_path: Path) -> None:
    """Saves of steps 2 and 3 fail, then only the last; the next run goes on from the one before."""
    config.train.steps, config.train.save_every, config.train.log_every = 4, 1, 1
    done = program(config, tmp_path / "run", "[2, 3]")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    for step in (2, 3):
        assert (f"checkpoint of step {step} could not be saved (File too large), and the newest is "
                "that of step 1; free some space; training goes on") in done.stdout
    assert folders(tmp_path / "run") == {"1", "4"}
    config.train.steps = 6
    done = program(config, tmp_path / "run", "[6]")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'run'}: the checkpoint of "
                                                   "step 6 could not be saved (File too large)")
    with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
        assert checkpoints.latest() == 5
    assert not [name for name in folders(tmp_path / "run") if not name.isdigit()]
    done = program(config, tmp_path / "run", "[]")
    assert done.returncode == 0 and "going on from step 5" in done.stdout


@pytest.mark.slow
def test_a_full_disk_stops_no_job_of_two_processes(config: Config, tmp_path: Path) -> None:
    config.train.steps, config.train.save_every, config.train.log_every = 4, 1, 1
    launcher = (str(ROOT / "launch" / "local.sh"), "2")
    done = program(config, tmp_path / "run", "[2, 3]", *launcher)
    assert done.returncode == 0 and "step 3 could not be saved" in done.stdout, done.stderr
    assert folders(tmp_path / "run") == {"1", "4"}
    config.train.steps = 6
    done = program(config, tmp_path / "run", "[6]", *launcher)
    assert done.returncode == 1 and "step 6 could not be saved" in done.stderr
    assert folders(tmp_path / "run") == {"4", "5"}


def test_a_disk_without_space_keeps_what_is_whole(config: Config, tmp_path: Path) -> None:
    """The same on a file system of 2 MB, which one checkpoint fits in and two do not."""
    config.model.widths, config.train.steps, config.train.save_every = (32, 64), 3, 1
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)],
                             capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        done = program(config, disk / "run", "[]")
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
        assert "step 2 could not be saved (No space left on device)" in done.stdout
        assert "step 3 could not be saved (No space left on device)" in done.stderr
        assert folders(disk / "run") == {"1"}
        load(disk / "run")
        subprocess.run(["mount", "-o", "remount,size=50m", str(disk)], check=True)
        done = program(config, disk / "run", "[]")
        assert done.returncode == 0 and "going on from step 1" in done.stdout, done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_run_goes_on_with_other_numbers_of_devices(config: Config, tmp_path: Path) -> None:
    """4, then 1, then 2 devices: the losses of an undisturbed run on one, to 1e-5."""
    config.train.steps, config.train.save_every, config.train.log_every = 6, 2, 1
    config.optim.schedule = "constant"      # which does not know how long the run is

    def losses(workdir: Path) -> list[float]:
        records = [json.loads(line) for line in (workdir / "log.jsonl").read_text().splitlines()]
        return [record["loss"] for record in records if "loss" in record]

    train.train(from_dict(to_dict(config)), tmp_path / "whole")
    for steps, devices in ((2, 4), (4, 1), (6, 2)):
        config.train.steps = steps
        flag = f"--xla_force_host_platform_device_count={devices}"
        done = program(config, tmp_path / "parts", "[]", XLA_FLAGS=flag)
        assert done.returncode == 0 and f"for {devices} cpu" in done.stdout, done.stderr
        assert steps == 2 or f"going on from step {steps - 2}" in done.stdout
    np.testing.assert_allclose(losses(tmp_path / "parts"), losses(tmp_path / "whole"), rtol=1e-5)


def test_a_run_in_a_bucket(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture, gcs: str,  # noqa: F811
) -> None:
    """Trained, gone on with, told of, exported and loaded; its log is in a local folder."""
    pytest.importorskip("gcsfs", reason="needs the extra gcs")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", os.environ["TENSORSTORE_GCS_HTTP_URL"])
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.chdir(tmp_path)
    config.train.steps, config.optim.schedule = 3, "constant"
    train.train(from_dict(to_dict(config)), "gs://songs/runs/a")
    assert "checkpoints go to gs://songs/runs/a, the log to runs/tiny" in capsys.readouterr().out
    config.train.steps = 6
    train.train(config, Path("gs://songs/runs/a"))
    assert "going on from step 3 of gs://songs/runs/a" in capsys.readouterr().out
    assert not list(tmp_path.glob("gs:*"))
    assert {"config.json", "log.jsonl", "run.jsonl"} <= set(os.listdir(tmp_path / "runs" / "tiny"))
    train.train(config, tmp_path / "local")
    for one, other in zip(jax.tree.leaves(load("gs://songs/runs/a")),
                          jax.tree.leaves(load(tmp_path / "local"))):
        np.testing.assert_array_equal(one, other)
    command.run(["export", "gs://songs/runs/a"], tmp_path / "model.safetensors", None)
    command.run(["info", "gs://songs/runs/a"], tmp_path / "model.safetensors", None)
    assert "gs://songs/runs/a: 2 checkpoints" in capsys.readouterr().out
    for address, message in (("gs://songs/none", "no checkpoint here"),
                             ("gs://nobody/run", "no checkpoint here")):
        with pytest.raises(InputError, match=message):
            load(address)
    with pytest.raises(InputError, match="gs://nobody/run: the bucket cannot be used"):
        train.train(config, "gs://nobody/run")


def test_other_addresses_are_refused() -> None:
    for address in ("s3://bucket/run", Path("s3://bucket/run"), "http://x/y"):
        with pytest.raises(InputError, match="train in a local folder and copy it there after"):
            folder(address)
    with pytest.raises(InputError, match="names no bucket"):
        folder("gs://")
    if importlib.util.find_spec("gcsfs") is None:
        with pytest.raises(InputError, match=r"needs gcsfs; pip install 'stemsep\[gcs\]'"):
            folder("gs://bucket/run")
    assert local(Path("gs://bucket/run"), "drums") == Path("runs/drums")
    assert folder("runs/drums").is_absolute()
