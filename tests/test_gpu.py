"""The figures of an accelerator in one call: in order, within the budget, and never a crash."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks import gpu, operations, train_step
from stemsep.config import to_dict
from tests.runs import ROOT, tiny

SMALL = gpu.Sizes(batches=(2, 1), window="8x8x1", widths="2,3", song_s=1.0)


class Clock:
    """Stands still but for the seconds that jobs take."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """The parts of the jobs that were begun, each of 10 s, and the seconds that each was given."""
    begun, clock = [], Clock()

    def run(job: gpu.Job, *, timeout_s: float) -> str:
        begun.append((job.part, timeout_s))
        clock.now_s += min(10, timeout_s)
        return "" if timeout_s >= 10 else "not done"

    monkeypatch.setattr(gpu, "time", clock)
    monkeypatch.setattr(gpu, "run", run)
    return begun


def test_every_part_is_done_in_its_order(tmp_path: Path, done: list[tuple[str, float]]) -> None:
    assert gpu.measure(tiny(tmp_path), SMALL, parts=list(gpu.PARTS), budget_s=480, output="") == []
    assert list(dict.fromkeys(part for part, _ in done)) == list(gpu.PARTS)


def test_no_part_takes_the_room_of_those_after_it(
    tmp_path: Path, done: list[tuple[str, float]]
) -> None:
    left_out = gpu.measure(tiny(tmp_path), SMALL, parts=list(gpu.PARTS), budget_s=100, output="")
    # 45 s are for train steps: four of 10 s, of eight; the fifth would not have been ended in time.
    assert [part for part, _ in done].count("train_step") == 4
    assert sum("no time is left" in words for words in left_out) == len(left_out) > 4
    assert {part for part, _ in done} >= {"train_step", "inference", "separate", "operations"}
    done.clear()
    alone = gpu.measure(tiny(tmp_path), SMALL, parts=["train_step"], budget_s=100, output="")
    assert len(done) == 8 and not alone


def test_the_most_important_train_steps_come_first() -> None:
    first = [str(job) for job in gpu.jobs(Path("c.json"), SMALL, "out")][:8]
    assert "--model=unet --dtype=bfloat16 --peers=torch_compile_amp --shapes=2x8x8x1" in first[0]
    assert [sum(f"{batch}x8x8x1" in job for job in first[:4]) for batch in (2, 1)] == [4, 0]


@pytest.mark.parametrize("script, words", [
    ("echo $$ > PID; sleep 60 & wait", "not done in the 1 s that were left"),
    ("echo it broke >&2; exit 3", "failed: it broke"), ("exit 3", "failed: status 3"),
    ("echo '{}'; echo a word", "")])
def test_a_job_that_fails_is_ended_whole_and_told(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture
) -> None:
    pid = tmp_path / "pid"
    shell = tmp_path / "python"
    shell.write_text("#!/bin/sh\n" + script.replace("PID", str(pid)))
    shell.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(shell))
    assert gpu.run(gpu.Job("stft", "stft", ()), timeout_s=1) == words
    assert capfd.readouterr().out == ("a word\n" if not words else "")
    if pid.exists():
        group = int(pid.read_text())
        for _ in range(50):     # what was killed is gone a moment later
            alive = [p for p in psutil.process_iter(["status"]) if p.info["status"] != "zombie"
                     and _group(p.pid) == group]
            if not alive:
                break
            time.sleep(0.1)
        assert not alive


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


@pytest.mark.parametrize("words, ends", [
    ("jaxlib._jax.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes", True),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", True),
    ("a contestant ended by itself, with status -9", True), ("ValueError: memory", False)])
def test_a_size_that_does_not_fit_is_left_out_with_a_word(
    words: str, ends: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def compare(*_: object, **__: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(train_step, "compare", compare)
    if not ends:
        with pytest.raises(RuntimeError, match=words):
            train_step.within_memory("unet", (1, 8, 8, 1), peers=["torch"], dtype="float32")
        return
    assert not train_step.within_memory("unet", (1, 8, 8, 1), peers=["torch"], dtype="float32")
    assert "memory ends with stemsep, torch: left out" in capsys.readouterr().out


def test_where_an_operation_comes_from_is_read_from_hlo() -> None:
    text = """
  %conv.1 = (f32[3,2]{1,0}, u8[0]{0}) custom-call(%a, %b), window={size=3}, \
custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/UNet/down0/conv"}
  ROOT %loop_add_fusion.2 = f32[4]{0} fusion(%x.1), kind=kLoop, calls=%fused
"""
    assert operations.instructions(text) == {
        "conv.1": ("__cudnn$convForward", "jit(step)/UNet/down0/conv"),
        "loop_add_fusion.2": ("fusion", "")}
    assert operations.kind_of("loop_add_fusion.12.remat2") == "loop_add_fusion"
    assert operations.shortened("jit(f)/a/b/c/d") == "a/b/c/d"


def test_a_step_is_profiled(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    operations.profile(tiny(tmp_path), steps=2, most=5, output=str(output))
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    shares = [line["share_of_time"] for line in lines]
    assert len(lines) == 5 and shares == sorted(shares, reverse=True) and 0 < sum(shares) < 1
    assert any(line["source"] for line in lines)
    for line in lines:
        assert line["times_a_step"] * line["median_s"] <= 2 * line["operations_s"]


@pytest.mark.slow
def test_it_runs_on_a_cpu_in_small(tmp_path: Path) -> None:
    config, output = tmp_path / "config.json", tmp_path / "results.jsonl"
    config.write_text(json.dumps(to_dict(tiny(tmp_path))))
    command = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", f"--config={config}", f"--output={output}",
         "--parts=train_step,separate,operations,loader", "--batches=4",
         "--window=8x8x1", "--widths=2,3", "--repeats=1", "--song_s=2", "--songs=1", "--steps=20",
         "--budget_s=3000"],
        cwd=ROOT, capture_output=True, text=True, timeout=1200,
        env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert command.returncode == 0, command.stderr
    assert "left out: " not in command.stdout
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert {line["benchmark"] for line in lines} == {"train_step", "separate", "operations",
                                                     "loader"}
    ours = [(line["model"], line["dtype"], line["shape_BTFC"]) for line in lines
            if line["benchmark"] == "train_step" and line["who"] == "stemsep"]
    assert ours == [(model, dtype, [4, 8, 8, 1]) for dtype in ("bfloat16", "float32")
                    for model in ("unet", "strided")]
