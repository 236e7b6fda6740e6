"""What the checkpoints of a run are, and one of them as a file that separates songs by itself.

python -m stemsep.checkpoint info runs/demo
python -m stemsep.checkpoint export runs/demo --output model.safetensors
python -m stemsep.checkpoint info model.safetensors
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from stemsep import command
from stemsep.checkpoint import Checkpoints, exported, fit, is_file, opened
from stemsep.config import Config
from stemsep.errors import InputError
from stemsep.section import Section, unknown

ACTIONS = ("info", "export")
NAMES = {"raw": "the parameters", "ema": "the averaged parameters"}


def main() -> None:
    """Run the command."""
    output = flags.DEFINE_string("output", "model.safetensors", "of export: the file to write")
    step = flags.DEFINE_integer("step", None, "of export: which checkpoint; default: the best")
    flags.FLAGS.set_gnu_getopt(True)        # flags may follow the run
    command.run(lambda arguments: run(arguments, Path(output.value), step.value))


def run(arguments: list[str], output: Path, step: int | None) -> None:
    """Do what the arguments ask for: an action, and a run or an exported file."""
    if len(arguments) != 2:
        raise InputError("give an action and a run, as in info runs/demo; actions: "
                         + ", ".join(ACTIONS))
    action, path = arguments
    if action not in ACTIONS:
        raise InputError(unknown("there is no action", action, ACTIONS))
    if action == "export":
        export(path, output, step=step)
    elif is_file(path):
        print(about_file(Path(path)))
    else:
        with opened(path) as (checkpoints, best):
            print(about_run(checkpoints, best))


def export(path: str, output: Path, *, step: int | None) -> None:
    """Write a checkpoint, the best unless a step is given, as a file of its own; says so."""
    if is_file(path):
        raise InputError(f"{path}: is no run; copy the file, or give the run that it was made of")
    if output.is_dir():
        raise InputError(f"--output {output}: is a folder; give a file, as in "
                         f"{output / 'model.safetensors'}")
    if output.suffix != exported.SUFFIX:
        raise InputError(f"--output {output}: name it {output.with_suffix(exported.SUFFIX)}, by "
                         "which it is known to be safetensors")
    with opened(path) as (checkpoints, best):
        chosen = best if step is None else step
        if chosen not in checkpoints.steps():
            kept = ", ".join(map(str, checkpoints.steps()))
            raise InputError(f"--step {chosen}: {path} does not keep it; choices: {kept}")
        model = exported.Exported(
            checkpoints.config(chosen), checkpoints.variables(chosen), chosen,
            checkpoints.of(chosen), checkpoints.scores(chosen), checkpoints.versions(chosen))
    exported.write(output, model)
    print(f"{output}: {NAMES[model.of]} of step {chosen} of {path}, "
          f"{output.stat().st_size / 1e6:.1f} MB")


def about_run(checkpoints: Checkpoints, best: int) -> str:
    """Return for people what a run keeps."""
    scores = {step: checkpoints.scores(step) for step in checkpoints.steps()}
    arrays, optimiser = checkpoints.arrays(best), checkpoints.arrays(best, "optimiser")
    by = "sdr" if "sdr" in scores[best] else "loss"
    lines = [f"{checkpoints.workdir}: {len(scores)} "
             + ("checkpoints" if len(scores) > 1 else "checkpoint")]
    for step, own in scores.items():
        mark = ", the best" + (f" by its {by}" if own else "") if step == best else ""
        lines.append(f"  step {step:,}: {scored(own)}, of {NAMES[checkpoints.of(step)]}{mark}")
    averaged = any(name.startswith("ema/") for name in arrays)
    return "\n".join([
        *lines, parameters({name: leaf.shape for name, leaf in arrays.items()}),
        f"averaged parameters: {'yes' if averaged else 'no'}",
        f"optimiser: {'yes' if optimiser else 'no'}, {size(optimiser) / 1e6:.1f} MB of the "
        f"{(size(arrays) + size(optimiser)) / 1e6:.1f} MB of a checkpoint",
        settings(checkpoints.config(best)), written(checkpoints.versions(best))])


def about_file(path: Path) -> str:
    """Return for people what an exported file holds."""
    model = exported.read(path)
    return "\n".join([
        f"{path}: {NAMES[model.of]} of step {model.step:,}: {scored(model.scores)}",
        parameters(fit.shapes(model.variables)),
        "averaged parameters, optimiser: no, an exported file has only what separation needs",
        settings(model.config), written(model.versions)])


def scored(scores: dict[str, Any]) -> str:
    """Return scores for people."""
    shown = [f"{name} {value:.2f} dB" if name.startswith("sdr") else f"{name} {value:.4f}"
             for name, value in scores.items() if name.startswith(("sdr", "loss"))]
    return ", ".join(shown) or "not validated"


def parameters(shapes: dict[str, tuple[int, ...]]) -> str:
    """Return how many parameters there are, in all and in each block."""
    blocks: dict[str, int] = {}
    for name, shape in shapes.items():
        kind, block = name.split("/")[:2]
        if kind == "params":
            blocks[block] = blocks.get(block, 0) + math.prod(shape)
    each = ", ".join(f"{block} {count:,}" for block, count in blocks.items())
    return f"parameters: {sum(blocks.values()):,} ({each})"


def size(arrays: dict[str, Any]) -> int:
    """Return the bytes of arrays, or of what is known of them."""
    return sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in arrays.values())


def settings(config: Config) -> str:
    """Return the settings that are not those of the defaults, one a line."""
    changed = [f"  {name} = {value!r}" for name, value in differing(config, Config(), "config")]
    return "\n".join(["settings that differ from the defaults:", *changed])


def differing(section: Section, default: Section, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a section that are not those of another, and their values."""
    for name in vars(default):
        value, other = getattr(section, name), getattr(default, name)
        if isinstance(other, Section):
            yield from differing(value, other, f"{path}.{name}")
        elif value != other:
            yield f"{path}.{name}", value


def written(versions: dict[str, str]) -> str:
    """Return what versions something was written with."""
    known = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    return f"written with: {known or 'not known'}"


if __name__ == "__main__":
    main()
