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
