"""What a run says of itself at its start: sizes, speed, and the share of what a device can do."""

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

from stemsep import flops, steps, summary, train
from stemsep.config import from_dict, to_dict
from stemsep.log import SPEEDS
from stemsep.parallel import DataParallel
from tests import runs
from tests.test_train import arrays, lines


def trained(folder: Path, capsys: pytest.CaptureFixture, **settings: Any) -> tuple[dict, str]:
    """What summary.json holds of a run of six steps, and what the run printed."""
    config = runs.tiny(folder)
    values = to_dict(config)
    values["train"] |= settings
    train.train(from_dict(values), folder / "run")
    return json.loads((folder / "run" / summary.FILE).read_text()), capsys.readouterr().out


def test_the_summary_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    known, said = trained(tmp_path, capsys)
    stored = arrays(runs.tiny(tmp_path / "again"), tmp_path / "run")
    params = {name: array for name, array in stored.items() if "['params']" in name}
    assert known["parameters"]["total"] == sum(array.size for array in params.values())
    assert known["parameters"]["total"] == sum(known["parameters"]["blocks"].values())
    for name, count in known["parameters"]["blocks"].items():
        inside = [a.size for key, a in params.items() if f"['params']['{name}']" in key]
        assert count == sum(inside) and f"{name} {count:,}" in said
    memory = known["memory_bytes"]
    assert memory["parameters"] == memory["average"] == sum(a.nbytes for a in params.values())
    optimiser = [a.nbytes for name, a in stored.items() if "opt_state" in name]
    assert memory["optimiser"] == sum(optimiser)
    state = sum(memory[n] for n in ("parameters", "average", "optimiser", "statistics"))
    assert memory["step_arguments"] >= state + known["read_ahead"]["batch_bytes"]
    assert memory["step_between"] > 0
    assert known["songs"] == {"train": {"tracks": 3, "hours": pytest.approx(1.5 / 3600, rel=0.02)},
                              "validation": {"tracks": 1,
                                             "hours": pytest.approx(0.5 / 3600, rel=0.02)}}
    epoch = known["epoch"]
    assert epoch["windows"] == 3 * 126 / 16 and epoch["steps"] == epoch["windows"] / 4
    assert epoch["epochs"] == pytest.approx(6 / epoch["steps"])
    assert sum(known["weights"].values()) == pytest.approx(1) and known["step"]["compile_s"] > 0
    assert (known["start"], known["steps"], known["devices"]["processes"]) == (0, 6, 1)
    assert known["origin"] == json.loads((tmp_path / "run" / "run.jsonl").read_text())
    assert f"tiny: strided with {known['parameters']['total']:,} parameters on 1 cpu\n" in said


def test_time_to_go_is_told_once_it_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    known, said = trained(tmp_path, capsys)
    assert said.count("to go for 6 steps, without validation") == 1
    assert known["hours"] * 3600 == pytest.approx(6 / known["steps_per_s"])
    values = to_dict(runs.tiny(tmp_path / "again"))
    values["data"]["store"], values["train"]["steps"] = str(tmp_path / "store"), 8
    values["data"]["source"] = f"folders:{tmp_path / 'songs'}"
    train.train(from_dict(values), tmp_path / "run")
    assert capsys.readouterr().out.count("to go for 2 steps") == 1


def test_a_finished_run_says_nothing_of_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    trained(tmp_path, capsys)
    files = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.json*")}
    train.train(runs.tiny(tmp_path).check(), tmp_path / "run")
    said = capsys.readouterr().out
    assert "nothing to do" in said and "compil" not in said
    assert files == {path: path.read_bytes() for path in (tmp_path / "run").glob("*.json*")}


def test_the_log_tells_achieved_tflops(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    known, _ = trained(tmp_path, capsys, log_every=1)
    records = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().split("\n")
               if line]
    timed = [record for record in records if "steps_per_s" in record]
    assert len(timed) == 6
    for record in timed:
        expected = record["steps_per_s"] * known["step"]["flops"] / 1e12
        assert record["tflops"] == pytest.approx(expected, abs=1e-6)
        assert "peak_share" not in record       # of a CPU nobody knows it
    assert not any(set(SPEEDS) & record.keys() for record in lines(tmp_path / "run"))


@pytest.mark.parametrize("mapping", ["pmap", "shard_map"])
def test_a_compiled_step_counts_and_does_the_same(mapping: str) -> None:
    devices = DataParallel(mapping)
    rows, wide = 8, 128

    def body(weights: jax.Array, batch: jax.Array) -> Any:
        return weights + 1e-3, {"sum": (batch @ weights).sum()}

    given = np.ones((wide, wide), np.float32)
    batch = devices.put(np.ones((rows, wide), np.float32))
    step = devices.map(body, donate=True)
    program = devices.compiled(step, devices.replicate(given), batch)
    matmul = 2 * rows * wide * wide
    assert matmul <= program.flops <= 1.5 * matmul
    assert program.compile_s > 0 and program.argument_bytes >= given.nbytes
    straight, ahead = devices.replicate(given), devices.replicate(given)
    for _ in range(3):
        straight, one = step(straight, batch)
        ahead, other = program(ahead, batch)
    np.testing.assert_array_equal(devices.get(straight), devices.get(ahead))
    np.testing.assert_array_equal(devices.get(one["sum"]), devices.get(other["sum"]))


def test_an_example_has_the_shape_of_every_batch(tmp_path: Path) -> None:
    config = runs.tiny(tmp_path).check()
    devices = DataParallel()
    batches = train.Batches(train.open_store(config, devices), "train", config, devices)
    _, batch = next(iter(batches.stream(0, 1)))
    like = jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), batches.example())
    assert like == jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), batch)
    assert steps.complex_stems(batch["stems"][0]).dtype == jnp.complex64


@pytest.mark.parametrize("kind, dtype, peak", [
    ("NVIDIA H100 80GB HBM3", "bfloat16", 989.5),
    ("NVIDIA H100 PCIe", "float32", 378.0),
    ("NVIDIA H200", "float32", 494.5),
    ("NVIDIA A100-SXM4-40GB", "bfloat16", 312.0),
    ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bfloat16", None),
    ("Tesla V100-SXM2-16GB", "float32", 15.7),
    ("Tesla T4", "bfloat16", None),
    ("NVIDIA L4", "bfloat16", 121.0),
    ("NVIDIA L40S", "bfloat16", None),
    ("TPU v4", "bfloat16", 275.0),
    ("TPU v4 lite", "bfloat16", None),
    ("TPU v5 lite", "bfloat16", 197.0),
    ("TPU v5p", "bfloat16", 459.0),
    ("TPU v5", "bfloat16", 459.0),
    ("TPU v6 lite", "bfloat16", 918.0),
    ("cpu", "float32", None),
])
def test_the_peak_of_a_device(kind: str, dtype: str, peak: float | None) -> None:
    assert flops.peak_tflops(kind, dtype) == peak


def test_no_name_in_the_table_hides_a_longer_one() -> None:
    names = list(flops.PEAK_TFLOPS)
    for place, name in enumerate(names):
        assert not [later for later in names[place + 1:] if later.startswith(name + " ")
                    and flops.peak_tflops(later, "float32") != flops.PEAK_TFLOPS[later][1]]


@pytest.mark.parametrize("count, text", [
    (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (8_120_000, "8.12 MB"), (999_600_000, "1 GB"),
    (3.2e12, "3.2 TB"),
])
def test_sizes_for_people(count: float, text: str) -> None:
    assert summary.size_text(count) == text


@pytest.mark.parametrize("seconds, text", [(40, "40 s"), (840, "14 min"), (8280, "2.3 h")])
def test_times_for_people(seconds: float, text: str) -> None:
    assert summary.span(seconds) == text


@pytest.mark.slow
@pytest.mark.parametrize("mapping", ["pmap", "shard_map"])
def test_of_several_processes_one_tells(tmp_path: Path, mapping: str) -> None:
    """Two processes of two devices: one summary, one line of each start, one file of events."""
    config = runs.tiny(tmp_path)
    config.parallel, config.log.tensorboard = mapping, True
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    done = subprocess.run(
        [runs.ROOT / "launch" / "local.sh", "2", sys.executable, "-m", "stemsep.train",
         f"--config={tmp_path}", f"--workdir={tmp_path / 'run'}", "--profile_steps=2:3"],
        env={**os.environ, "PYTHONPATH": str(runs.ROOT), "JAX_PLATFORMS": "cpu", "DEVICES": "2"},
        capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parameters on 4 cpu in 2 processes") == 1
    assert done.stdout.count("to go for 6 steps") == 1
    known = json.loads((tmp_path / "run" / summary.FILE).read_text())
    assert known["devices"] == {"device": "cpu", "devices": 4, "processes": 2, "parallel": mapping}
    assert known["step"]["flops"] > 0 and known["memory_bytes"]["step_between"] > 0
    assert len((tmp_path / "run" / "run.jsonl").read_text().splitlines()) == 1
    for pattern in ("tensorboard/*", "profile/**/*.xplane.pb"):
        assert len(list((tmp_path / "run").glob(pattern))) == 1
