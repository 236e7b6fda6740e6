"""What the launchers set for several GPUs: flags that XLA knows, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.runs import ROOT

SCHEDULER = "--xla_gpu_enable_latency_hiding_scheduler=true"
TELL = 'echo "flags $XLA_FLAGS"\n'


def run(*command: str, bin: Path | None = None, **environment: str) -> str:
    """Run a command from the repository's folder; returns what it printed."""
    path = f"{bin}:{os.environ['PATH']}" if bin else os.environ["PATH"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, env={
        **os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "PATH": path, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def local(gpus: str, processes: int = 1, *, flags: str = "") -> list[str]:
    """Return the flags of XLA in each process that local.sh starts beside these GPUs."""
    said = run("launch/local.sh", str(processes), "sh", "-c", TELL, CUDA_VISIBLE_DEVICES=gpus,
               XLA_FLAGS=flags)
    return [line.removeprefix("flags ") for line in said.splitlines()]


def test_processes_meet_at_a_port_that_nothing_else_is_given() -> None:
    tell = ("sh", "-c", 'echo "$STEMSEP_COORDINATOR"')
    said = run("launch/local.sh", "2", *tell, CUDA_VISIBLE_DEVICES="").split()
    host, port = said[0].split(":")
    assert said == [f"{host}:{port}"] * 2 and host == "127.0.0.1"
    assert 20000 <= int(port) < 32000
    assert run("launch/local.sh", "1", *tell, CUDA_VISIBLE_DEVICES="", PORT="4321") == (
        "127.0.0.1:4321\n")


def test_several_gpus_get_the_flags_and_nothing_else_does() -> None:
    assert [SCHEDULER in flags for flags in local("0,1")] == [True]
    assert [SCHEDULER in flags for flags in local("0,1,2,3", 2)] == [True, True]
    for gpus in ("", "0"):
        assert "xla_gpu" not in local(gpus)[0]


def test_what_the_user_set_comes_last_and_the_last_counts() -> None:
    own = SCHEDULER.replace("true", "false")
    (flags,) = local("0,1", flags=own)
    assert flags.index(own) > flags.index(SCHEDULER)
    count = "--xla_force_host_platform_device_count="
    said = run(sys.executable, "-c", "import jax; print(jax.device_count())",
               XLA_FLAGS=f"{count}2 {count}3")
    assert said == "3\n"


def test_slurm_and_kubernetes_set_them_too(tmp_path: Path) -> None:
    for name in ("srun", "python"):
        program(tmp_path / "bin" / name, TELL)
    job = ("bash", "launch/slurm.sbatch", "--config", "configs/drums.py")
    assert SCHEDULER in run(*job, bin=tmp_path / "bin", SLURM_JOB_GPUS="0,1")
    assert "xla_gpu" not in run(*job, bin=tmp_path / "bin")
    documents = yaml.safe_load_all((ROOT / "launch/kubernetes.yaml").read_text())
    pod = next(one for one in documents if one["kind"] == "Job")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] > 1
    assert SCHEDULER in run(*container["command"], *container["args"], bin=tmp_path / "bin",
                            JOB_COMPLETION_INDEX="0")


@pytest.mark.parametrize("more, known", [("", True), ("--xla_gpu_no_such_flag=1", False)])
def test_xla_knows_the_flags(more: str, known: bool) -> None:
    """It ends the process at one that it does not know, on a CPU as well."""
    (flags,) = local("0,1", flags=more)
    done = subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], timeout=120, env={
        **os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}, capture_output=True, text=True)
    assert (done.returncode == 0) == known, done.stderr
    assert ("Unknown flag" in done.stderr) != known
