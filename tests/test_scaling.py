"""Over devices a step has no collective but means; what they cost follows from their bytes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import collectives, scaling
from stemsep.config import to_dict
from tests.runs import ROOT, tiny

# What the compiled step of some virtual devices combines, and what it must.
_COUNT = """
import dataclasses, json, sys
import jax
from benchmarks.collectives import collectives
from benchmarks.scaling import compiled
from stemsep.config import from_dict
from stemsep.parallel import DataParallel
config = from_dict(json.loads(sys.argv[1]))
devices = DataParallel(config.parallel)
program, state, batch = compiled(config, devices, config.train.batch)
def size(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
print(json.dumps({
    "devices": devices.size, "params": size(state.params), "stats": size(state.batch_stats),
    "found": [dataclasses.asdict(one) for one in collectives(program.call.as_text())]}))
"""


@pytest.mark.parametrize("mapping, norm, devices", [
    ("pmap", "batch", 4), ("pmap", "batch", 8), ("pmap", "group", 4), ("shard_map", "batch", 4),
    ("shard_map", "group", 4)])
def test_a_step_combines_gradients_statistics_and_losses_only(
    mapping: str, norm: str, devices: int, tmp_path: Path
) -> None:
    """However many devices there are, and however many windows they see."""
    config = tiny(tmp_path)
    config.parallel, config.model.norm, config.train.batch = mapping, norm, 2 * devices
    done = subprocess.run(
        [sys.executable, "-c", _COUNT, json.dumps(to_dict(config))], text=True, check=True,
        capture_output=True, timeout=300, env={
            **os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"})
    told = json.loads(done.stdout.splitlines()[-1])
    found, losses = told["found"], 4 * len(config.targets)
    assert told["devices"] == devices
    assert {(one["kind"], one["combines"]) for one in found} == {("all-reduce", "add")}
    means = [one for one in found if "_norm/" not in one["source"]]
    in_layers = [one for one in found if "_norm/" in one["source"]]
    # One mean of the gradients, the running statistics and the losses of the targets.
    assert [one["bytes"] for one in means] == [told["params"] + told["stats"] + losses]
    # Each layer's mean and variance of the batch, and their gradients.
    assert sum(one["bytes"] for one in in_layers) == 2 * told["stats"]
    assert all(one["source"].endswith("psum") for one in found)
    assert bool(in_layers) == (norm == "batch")


def test_collectives_are_read_from_hlo() -> None:
    text = """
%region_1.2 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add.3 = f32[] add(%a, %b)
}
ENTRY %main {
  %x.1 = (f32[3,2]{1,0}, bf16[8]{0:T(8,128)}) all-reduce(%p, %q), to_apply=%region_1.2, \
metadata={op_name="jit(step)/psum"}
  %x.2 = f32[4]{0} all-reduce-start(%x), to_apply=%region_1.2
  %x.3 = f32[4]{0} all-reduce-done(%x.2)
  %x.4 = (f32[2]{0}, f32[8]{0}) all-gather-start(%y), dimensions={0}
  %x.5 = ((f32[2]{0}, f16[2]), (f32[8]{0}, f16[8])) all-gather-start(%y, %z), dimensions={0}
  %x.6 = f32[8]{0} all-gather-done(%x.4)
  ROOT %x.7 = f32[4]{0} collective-permute(%x.3), source_target_pairs={{0,1}}
  %x.8 = f32[4]{0} fusion(%x.3), calls=%all-reduce.fused
}
"""
    assert [(one.kind, one.bytes, one.combines, one.source)
            for one in collectives.collectives(text)] == [
        ("all-reduce", 24 + 16, "add", "jit(step)/psum"), ("all-reduce", 16, "add", ""),
        ("all-gather", 32, "", ""), ("all-gather", 32 + 16, "", ""),
        ("collective-permute", 16, "", "")]


def test_a_ring_sends_all_but_one_part_twice() -> None:
    machine = collectives.Machine(2, "NVIDIA H100", 10.0)
    assert machine.seconds(50.0) == 5.0     # each half there and back
    assert collectives.Machine(1, "NVIDIA H100", 10.0).seconds(50.0) == 0
    for step_s in (1.0, 5.0, 20.0):
        told = machine.efficiency(50.0, step_s, latency_s=0.5)
        assert told["efficiency_no_overlap"] == pytest.approx(step_s / (step_s + 5.5))
        assert told["efficiency_overlapped"] == min(1, step_s / 5)


def test_scaling_is_timed_and_predicted(tmp_path: Path) -> None:
    output = tmp_path / "results.jsonl"
    scaling.compare(tiny(tmp_path), [1, 2], virtual=True, repeats=1, share=0.4,
                    paper_batches=[8, 64], output=str(output))
    lines = [json.loads(text) for text in output.read_text().splitlines()]
    timed, paper = lines[:3], lines[3:]
    assert [(line["scaling"], line["devices"], line["batch"]) for line in timed] == [
        ("weak", 1, 4), ("weak", 2, 8), ("strong", 2, 4)]
    assert timed[0]["efficiency"] == 1 and all(line["efficiency"] > 0 for line in timed)
    assert timed[1]["flops"] == pytest.approx(2 * timed[0]["flops"], rel=0.05)
    assert [line["machine"] for line in paper] == 2 * list(collectives.MACHINES)
    # More windows a device, and as much to send: a greater share of the time is work.
    assert paper[2]["step_s"] == pytest.approx(8 * paper[0]["step_s"])
    assert paper[2]["efficiency_no_overlap"] > paper[0]["efficiency_no_overlap"]
    counted = tmp_path / "counted.jsonl"
    scaling.count_only(tiny(tmp_path), 2, virtual=True, share=0.4, paper_batches=[8, 64],
                       output=str(counted))
    for line, again in zip(paper, map(json.loads, counted.read_text().splitlines()), strict=True):
        # Of fewer windows: what an update costs is a little more of each.
        assert again["step_s"] == pytest.approx(line["step_s"], rel=0.05)
        assert again["moved_bytes"] == line["moved_bytes"] == pytest.approx(
            {8: 14 / 8, 16: 30 / 16}[line["devices"]] * line["collective_bytes"])
    for line in paper:
        assert line["collective_bytes"] == timed[1]["collective_bytes"] > 0
        assert 0 < line["efficiency_no_overlap"] < line["efficiency_overlapped"] <= 1


@pytest.mark.parametrize("said, words", [
    ("a contestant ended by itself, with status -9", "memory ends.*fewer --devices"),
    ("a contestant ended by itself, with status -11", "RuntimeError.*status -11"),
])
def test_the_end_of_memory_is_told_in_words(said: str, words: str) -> None:
    program = (
        "from benchmarks import scaling\n"
        "def compare(*given, **settings):\n"
        f"    raise RuntimeError({said!r})\n"
        "scaling.compare = compare\n"
        "scaling.define_flags()\n"
        "scaling.command.run(scaling.main, config=True)\n")
    done = subprocess.run(
        [sys.executable, "-c", program, "--config=configs/demo.py"], cwd=ROOT, text=True,
        capture_output=True, timeout=120, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert done.returncode == 1 and re.search(words, done.stderr, re.DOTALL), done.stderr
    assert ("Traceback" in done.stderr) == ("-11" in said)
