"""What a run starts with, for people and in WORKDIR/summary.json."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from stemsep import provenance
from stemsep.batches import Batches
from stemsep.config import Config
from stemsep.files import write_json
from stemsep.log import Log
from stemsep.parallel import DataParallel, Program
from stemsep.state import TrainState
from stemsep.store import Record

FILE = "summary.json"


def begin(
    log: Log, workdir: Path, config: Config, batches: Batches, checked: Batches,
    devices: DataParallel, state: TrainState, alpha_S: np.ndarray, program: Program, *, start: int,
) -> None:
    """Say what a run starts with, store it with the run, and begin to measure its speed.

    batches, checked: of training and of validation. start: the steps done. The main process writes
    WORKDIR/summary.json, and a line of WORKDIR/run.jsonl; once some steps were timed, how long the
    run will take is said, and added to the first.
    """
    if not devices.is_main:
        return
    known = {
        **facts(config, batches, checked, devices, state, alpha_S, program),
        "start": start,
        "steps": config.train.steps,
        "origin": provenance.note_start(workdir, step=start, seed=config.seed,
                                        devices=devices.facts()),
    }
    log.say(text(known))
    log.text(start, "summary", text(known))
    write_json(workdir / FILE, known)

    def timed(steps_per_s: float) -> None:
        left_s = (config.train.steps - start) / steps_per_s
        log.say(f"{steps_per_s:.3g} steps a second: about {span(left_s)} to go for "
                f"{config.train.steps - start:,} steps, without validation")
        try:
            write_json(workdir / FILE,
                       {**known, "steps_per_s": steps_per_s, "hours": left_s / 3600})
        except OSError as problem:  # a full disk ends no training
            log.say(f"{workdir / FILE} cannot be written ({problem.strerror})")

    log.measure(flops=program.flops, peak_tflops=known["step"]["peak_tflops"], on_speed=timed)


def facts(
    config: Config, batches: Batches, checked: Batches, devices: DataParallel, state: TrainState,
    alpha_S: np.ndarray, program: Program,
) -> dict[str, Any]:
    """Return what is known of a run before its first step, as JSON can hold it."""
    c = config
    windows = sum(record.frames for record in batches.records) / c.data.window_frames
    return {
        "name": c.name,
        "model": c.model.name,
        "devices": devices.facts(),
        "parameters": {
            "total": size(state.params),
            "blocks": {name: size(inside) for name, inside in state.params.items()},
        },
        "memory_bytes": {
            "parameters": size(state.params, bytes_each=True),
            "optimiser": size(state.opt_state, bytes_each=True),
            "average": size(state.ema, bytes_each=True),
            "statistics": size(state.batch_stats, bytes_each=True),
            "step_arguments": program.argument_bytes,
            "step_between": program.temp_bytes,
            "device": devices.memory_bytes(),
        },
        "songs": {"train": tracks(c, batches.records), "validation": tracks(c, checked.records)},
        "epoch": {
            "windows": windows,
            "steps": windows / c.train.batch,
            "epochs": c.train.steps * c.train.batch / windows,
        },
        "read_ahead": {"batches": batches.depth, "batch_bytes": batches.batch_bytes},
        "weights": {name: float(alpha) for name, alpha in zip(c.targets, alpha_S)},
        "step": {
            "compile_s": round(program.compile_s, 3),
            "flops": program.flops,
            "peak_tflops": devices.peak_tflops(c.model.dtype),
        },
    }


def text(known: Mapping[str, Any]) -> str:
    """Return for people what `begin` stores."""
    memory, songs, epoch, step = (known[n] for n in ("memory_bytes", "songs", "epoch", "step"))
    total, where = known["parameters"]["total"], known["devices"]
    several = f" in {where['processes']} processes" if where["processes"] > 1 else ""
    state = [f"{name} {size_text(memory[name])}"
             for name in ("parameters", "optimiser", "average", "statistics") if memory[name]]
    used = size_text(memory["step_arguments"] + memory["step_between"])
    limit = f" of {size_text(memory['device'])}" if memory["device"] else ""
    ahead = known["read_ahead"]
    peak = f", peak {step['peak_tflops']:,.0f} TFLOP/s" if step["peak_tflops"] else ""
    flops = f", {step['flops'] / 1e9:,.3g} GFLOP{peak}" if step["flops"] else ""
    origin = known["origin"]
    versions = [f"{name} {version}" for name, version in origin["versions"].items() if version]
    rows = {
        "blocks": ", ".join(f"{name} {count:,}"
                            for name, count in known["parameters"]["blocks"].items()),
        "memory": f"{', '.join(state)}; a step needs {used}{limit} on a device; "
                  f"{ahead['batches']} batches of {size_text(ahead['batch_bytes'])} read ahead",
        "songs": "; ".join(f"{name} {split['tracks']} tracks, {split['hours']:.2f} h"
                           for name, split in songs.items()),
        "epoch": f"{epoch['windows']:,.0f} windows, {epoch['steps']:,.1f} steps; the run's "
                 f"{known['steps']:,} steps are {epoch['epochs']:,.1f} epochs",
        "weights": ", ".join(f"{name} {alpha:.3f}" for name, alpha in known["weights"].items()),
        "step": f"compiled in {step['compile_s']:.1f} s{flops}",
        "code": ", ".join([f"revision {origin['revision'] or 'unknown'}",
                           f"python {origin['python']}", *versions, f"seed {origin['seed']}"]),
    }
    title = (f"{known['name']}: {known['model']} with {total:,} parameters on "
             f"{where['devices']} {where['device']}{several}")
    return "\n".join([title, *(row(name, content) for name, content in rows.items())])


def row(name: str, content: str) -> str:
    """Return a named line, wrapped."""
    return textwrap.fill(content, 100, initial_indent=f"  {name:<9}", subsequent_indent=" " * 11,
                         break_long_words=False, break_on_hyphens=False)


def size(tree: Any, *, bytes_each: bool = False) -> int:
    """Return the number of values in a tree of arrays, or of their bytes."""
    leaves = jax.tree.leaves(tree)
    return int(sum(leaf.size * (leaf.dtype.itemsize if bytes_each else 1) for leaf in leaves))


def tracks(config: Config, records: Sequence[Record]) -> dict[str, float]:
    """Return how many tracks of a store there are, and their hours."""
    seconds = sum(record.frames for record in records) * config.audio.hop / config.audio.sample_rate
    return {"tracks": len(records), "hours": seconds / 3600}


def size_text(count: float) -> str:
    """Return a number of bytes with two digits or three: "8.1 MB"."""
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB" if count < 999.5 else f"{count / 1000:.3g} TB"


def span(seconds: float) -> str:
    """Return a time as people say it: "40 s", "14 min", "2.3 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
