"""The house of the design: which module may import which, and who knows about devices."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "stemsep"

# A module imports from lower floors only; the pairs below it are the exceptions.
FLOORS = {
    "errors": 0,
    "section": 0,
    "config": 0,
    "checks": 0,
    "command": 0,
    "audio": 0,
    "files": 0,
    "flops": 0,
    "memory": 0,
    "pictures": 0,
    "provenance": 0,
    "stored": 0,
    "tracing": 0,
    "ffmpeg": 0,
    "headers": 0,
    "writer": 0,
    "ray_engine": 0,
    "stft": 0,
    "bands": 0,
    "losses": 1,
    "metrics": 0,
    "bss_eval": 0,
    "parallel": 0,
    "engine": 0,
    "log": 0,
    "lines": 0,
    "datasets": 1,
    "stream": 1,
    "store": 1,
    "models": 1,
    "features": 1,
    "estimate": 1,
    "augment": 1,
    "jobs": 1,
    "remote": 0,
    "resampling": 0,
    "stages": 0,
    "wiener": 1,
    "windows": 2,
    "window_batches": 2,
    "manifest": 2,
    "outputs": 1,
    "quality": 1,
    "sinks": 1,
    "baselines": 2,
    "batches": 2,
    "optim": 2,
    "guide": 1,
    "report": 1,
    "selection": 1,
    "finetune": 3,
    "state": 2,
    "checkpoint": 2,
    "variation": 2,
    "preprocess": 3,
    "separator": 3,
    "options": 4,
    "collection": 4,
    "separate": 5,
    "steps": 3,
    "summary": 3,
    "scoring": 4,
    "evaluate": 4,
    "validation": 4,
    "train": 4,
    "pipeline": 5,
    "__main__": 5,
}
# errors and config are the ground that everything stands on; the rest are named pairs.
SAME_FLOOR = {
    ("config", "checks"),
    ("config", "section"),
    ("checks", "errors"),
    ("checks", "section"),
    ("section", "errors"),
    ("command", "section"),
    ("command", "errors"),
    ("command", "config"),
    ("command", "stored"),
    ("tracing", "errors"),
    ("stored", "config"),
    ("stored", "errors"),
    ("stored", "section"),
    ("audio", "errors"),
    ("audio", "ffmpeg"),
    ("audio", "headers"),
    ("audio", "writer"),
    ("audio", "resampling"),
    ("writer", "errors"),
    ("writer", "resampling"),
    ("remote", "errors"),
    ("ffmpeg", "errors"),
    ("engine", "ray_engine"),
    ("ray_engine", "engine"),
    ("ray_engine", "errors"),
    ("parallel", "errors"),
    ("parallel", "flops"),
    ("parallel", "memory"),
    ("engine", "errors"),
    ("log", "errors"),
    ("log", "lines"),
    ("lines", "files"),
    ("log", "pictures"),
    ("pictures", "errors"),
    ("pictures", "stft"),
    ("estimate", "models"),
    ("estimate", "features"),
    ("datasets", "stream"),
    ("store", "datasets"),
    ("store", "stream"),
    ("checkpoint", "state"),
    ("evaluate", "options"),
    ("evaluate", "scoring"),
    ("train", "validation"),
    ("window_batches", "windows"),
    ("__main__", "pipeline"),
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Return the rooms of stemsep that a module imports, wherever in it the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "stemsep":
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stemsep."):
            rooms.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("stemsep.")
            }
    return rooms - {"__version__"}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return assert_lazy(path)
    assert here in FLOORS, f"{path.name} has no floor; give it one in the design's order"
    for other in imported(path) - {here}:
        assert other in FLOORS, f"{path}: imports {other}, which has no floor"
        lower = FLOORS[other] < FLOORS[here]
        assert (
            lower or (here, other) in SAME_FLOOR
        ), f"{here} (floor {FLOORS[here]}) imports {other}"


def assert_lazy(path: Path) -> None:
    assert not imported(
        path
    ), "importing stemsep must stay cheap: its public names are loaded when they are used"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_parallel_knows_devices(path: Path) -> None:
    if room(path) == "parallel":
        return
    tree = ast.parse(path.read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {
        alias.name.split(".")[-1]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    known = {
        "pmap",
        "shard_map",
        "Mesh",
        "NamedSharding",
        "PartitionSpec",
        "devices",
        "local_devices",
        "device_put",
        "process_index",
        "process_count",
        "device_count",
        "local_device_count",
        "distributed",
    }
    jax_names = names & known
    if room(path) in ("separate", "train", "batches", "evaluate", "pipeline", "stream",
                      "provenance", "summary", "validation"):
        jax_names -= {"devices"}  # an argument's or attribute's name there: a DataParallel
    assert not jax_names, f"{path}: {sorted(jax_names)} belong in parallel.py"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_linen_lives_in_models(path: Path) -> None:
    assert room(path) == "models" or not re.search(r"\blinen\b", path.read_text())


def test_host_rooms_do_not_load_jax() -> None:
    """Workers that read audio start without JAX: neither config, audio, stft, datasets nor the
    engine imports it.
    """
    for path in MODULES:
        if room(path) in (
            "config",
            "errors",
            "audio",
            "stft",
            "datasets",
            "engine",
            "store",
            "metrics",
            "bss_eval",
        ):
            tree = ast.parse(path.read_text())
            roots = {
                alias.name.split(".")[0]
                for node in ast.walk(tree)
                if isinstance(node, ast.Import)
                for alias in node.names
            }
            roots |= {
                str(node.module).split(".")[0]
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
            }
            assert not roots & {"jax", "flax", "optax", "orbax"}, path
