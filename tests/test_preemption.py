"""SIGTERM: what was trained is saved at once, and the same command goes on as if undisturbed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from stemsep import train
from stemsep.checkpoint import Checkpoints
from stemsep.config import Config, to_dict
from stemsep.errors import Stopped
from stemsep.validation import Validation
from tests import runs
from tests.test_train import ROOT, arrays, lines, run

PROGRAM = """
import json, sys
from pathlib import Path
from stemsep import command, parallel, train
from stemsep.config import from_dict

def run(arguments):
    parallel.prepare()
    train.train(from_dict(json.loads(Path(arguments[0]).read_text())), arguments[1])

command.run(run)
"""


# The second process has the notice as the first state begins to be validated.
NOTICED = """
import os, signal
from stemsep.validation import Validation

losses = Validation._losses

def noticed(self, *given):
    if os.environ["STEMSEP_PROCESS"] == "1":
        os.kill(os.getpid(), signal.SIGTERM)
    return losses(self, *given)

Validation._losses = noticed
""" + PROGRAM


@pytest.fixture
def config(tmp_path: Path) -> Config:
    c = runs.tiny(tmp_path)
    c.train.steps, c.train.save_every, c.train.log_every = 4000, 4000, 7
    c.train.batch, c.train.validate_songs = 4, 1
    return c


def begun(config: Config, folder: Path, *, processes: int = 1) -> subprocess.Popen:
    """Start a run in FOLDER/run, and return once it has logged steps."""
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    line = [sys.executable, "-c", PROGRAM, str(folder / "config.json"), str(folder / "run")]
    if processes > 1:
        line = [str(ROOT / "launch" / "local.sh"), str(processes), *line]
    process = subprocess.Popen(
        line, env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "DEVICES": "2"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log, deadline_s = folder / "run" / "log.jsonl", time.monotonic() + 120

    def logged() -> int:
        return log.read_bytes().count(b"\n") if log.exists() else 0

    before = logged()
    while logged() < before + 4:
        assert process.poll() is None and time.monotonic() < deadline_s
        time.sleep(0.01)
    return process


def saved(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*"))


def test_a_stopped_run_goes_on_as_if_undisturbed(config: Config, tmp_path: Path) -> None:
    """Stopped twice, at steps between two log points: the same parameters and the same log."""
    config.train.steps = config.train.save_every = 3000
    for _ in range(2):
        process = begun(config, tmp_path)
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        step = saved(tmp_path / "run")[-1]
        assert f"stopped by SIGTERM after step {step}, which is saved" in said
        log = tmp_path / "run" / "log.jsonl"
        assert all(json.loads(line)["step"] <= step for line in log.read_text().splitlines())
    resumed = run(config, tmp_path / "run")
    whole = run(config, tmp_path / "whole")
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")


@pytest.mark.parametrize("step", [4, 8])
def test_a_validation_that_is_interrupted_is_made_by_the_run_that_goes_on(
    step: int, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a run and at its end: the same parameters, log and scores."""
    config.train.steps, config.train.save_every, config.train.log_every = 8, 4, 2
    config.train.validate_songs = 2
    begun, judged, waves = [0], train.judged, Validation._waves

    def noting(train_state: Any, done: int, *given: Any) -> Any:
        begun[0] = done
        return judged(train_state, done, *given)

    def interrupted(self: Validation, record: Any) -> Any:
        if begun[0] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return waves(self, record)

    with monkeypatch.context() as patch:
        patch.setattr(train, "judged", noting)
        patch.setattr(Validation, "_waves", interrupted)
        with pytest.raises(Stopped, match=f"stopped by SIGTERM after step {step}, which is saved"):
            train.train(config.check(), tmp_path / "run")
    assert saved(tmp_path / "run")[-1] == step
    with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
        assert not checkpoints.scores(step)
    resumed = run(config, tmp_path / "run")
    whole = run(config, tmp_path / "whole")
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name], err_msg=name)
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    with (Checkpoints(tmp_path / "run", read_only=True) as ours,
          Checkpoints(tmp_path / "whole", read_only=True) as theirs):
        assert ours.steps() == theirs.steps() == [4, 8]
        assert [ours.scores(n) for n in (4, 8)] == [theirs.scores(n) for n in (4, 8)]


@pytest.mark.slow
@pytest.mark.parametrize("whole_job", [False, True])
def test_one_of_two_processes_stops_both_at_the_same_step(
    config: Config, tmp_path: Path, whole_job: bool
) -> None:
    """The notice may come to one process, or to the launcher; one process goes on from there."""
    process = begun(config, tmp_path, processes=2)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True)
               if child.cmdline()[:1] == [sys.executable]]
    assert len(workers) == 2
    (process if whole_job else workers[1]).send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    (step,) = saved(tmp_path / "run")
    assert said.count(f"stopped by SIGTERM after step {step}, which is saved") == 1
    config.train.steps, config.train.save_every = step + 10, step + 10
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "config.json"), str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"going on from step {step}" in done.stdout
    assert int(arrays(config, tmp_path / "run")["['optimiser']['step']"]) == step + 10


@pytest.mark.slow
def test_a_notice_to_one_of_two_processes_interrupts_the_validation_of_both(
    config: Config, tmp_path: Path
) -> None:
    config.train.steps, config.train.save_every = 8, 4
    config.train.validate_windows = 4000        # which take longer than the processes to agree
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))

    def trained(program: str, *launcher: str) -> str:
        done = subprocess.run(
            [*launcher, sys.executable, "-c", program, str(tmp_path / "config.json"),
             str(tmp_path / "run")], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = trained(NOTICED, str(ROOT / "launch" / "local.sh"), "2")
    assert said.count("stopped by SIGTERM after step 4, which is saved") == 1
    assert saved(tmp_path / "run") == [4]
    with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
        assert not checkpoints.scores(4)
    assert "going on from step 4" in trained(PROGRAM)
    with Checkpoints(tmp_path / "run", read_only=True) as checkpoints:
        assert all(checkpoints.scores(step)["sdr"] for step in (4, 8))


def test_a_notice_while_the_last_checkpoint_is_written_does_not_lose_it(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Checkpoints.__exit__

    def interrupted(self: Checkpoints, *given: Any) -> None:
        heard = signal.getsignal(signal.SIGTERM)
        assert callable(heard), "SIGTERM would end the process here"
        os.kill(os.getpid(), signal.SIGTERM)
        closed(self, *given)

    monkeypatch.setattr(Checkpoints, "__exit__", interrupted)
    config.train.steps, config.train.save_every = 3, 3
    train.train(config.check(), tmp_path / "run")
    assert saved(tmp_path / "run") == [3]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
