"""Profile a train step of a configuration: which operations take which share of its time.

    python -m benchmarks.operations --config configs/drums.py --output results.jsonl

A trace of --steps steps, by jax.profiler, is summed up by kind of operation and by the operations
themselves, as XLA calls them after it has fused them: a table, and a line of JSON for each of the
--most that take longest. Where an operation comes from (the layer, and what it was in JAX) is read
from the compiled HLO. Shares are of the time of all operations together: on a CPU, where some run
at the same time, that is more than the step's. On a GPU each operation is launched by itself here:
of what XLA records and launches as one graph, a trace would tell the sum only.
"""

import collections
import os
import re
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
from absl import flags
from jax.profiler import ProfileData

from benchmarks import timer
from benchmarks.scaling import compiled
from stemsep import command, parallel
from stemsep.config import Config
from stemsep.parallel import DataParallel

# "%fusion.7 = f32[...] fusion(...), ..., metadata={op_name="jit(step)/..."}"
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (.*)$", re.MULTILINE)
_SOURCE = re.compile(r'op_name="([^"]*)"')
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_OUTER = ("while", "conditional", "call")        # what is done in them is told by itself
_ALONE = "--xla_gpu_enable_command_buffer="      # a list of what is recorded as a graph: nothing


def profile(config: Config, *, steps: int, most: int, output: str) -> None:
    """Trace some steps; print a table, and write a line for each operation of those that take most.
    """
    devices = DataParallel(config.parallel)
    program, held, batch = compiled(config, devices, config.train.batch)
    call = timer.waiting(program, held, batch)
    whole = timer.summary(timer.take_turns({"step": call}, repeats=3)["step"])
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                call()
        (path,) = Path(folder).rglob("*.xplane.pb")
        taken = sums(path)
    total_s = sum(sum(times) for times in taken.values())
    known = instructions(program.call.as_text())        # type: ignore[attr-defined]
    facts = timer.machine("jax", "jaxlib", "flax")
    kinds: dict[str, float] = collections.defaultdict(float)
    for name, times in taken.items():
        kinds[known.get(name, ("", ""))[0] or kind_of(name)] += sum(times) / total_s
    print(f"{config.name}, batch {config.train.batch}, {config.model.dtype}: a step takes "
          f"{1e3 * whole['median_s']:.2f} ms, its operations {1e3 * total_s / steps:.2f} ms")
    for kind, share in sorted(kinds.items(), key=lambda item: -item[1])[:most]:
        print(f"  {100 * share:5.1f} %  {kind}")
    ranked = sorted(taken, key=lambda name: -sum(taken[name]))[:most]
    for place, name in enumerate(ranked, 1):
        kind, source = known.get(name, ("", ""))
        timer.write(output, {
            "benchmark": "operations", "config": config.name, "model": config.model.name,
            "batch": config.train.batch, "dtype": config.model.dtype,
            "window_frames": config.data.window_frames, "place": place, "operation": name,
            "kind": kind or kind_of(name), "source": shortened(source),
            "share_of_time": sum(taken[name]) / total_s, "times_a_step": len(taken[name]) / steps,
            "median_s": statistics.median(taken[name]), "step_s": whole["median_s"],
            "operations_s": total_s / steps, **facts})


def sums(path: Path) -> dict[str, list[float]]:
    """Return the seconds of each run of each operation of a trace, by its name in the HLO."""
    found: dict[str, list[float]] = {}
    for name, seconds in events(ProfileData.from_file(str(path))):
        found.setdefault(name, []).append(seconds)
    if not found:
        raise RuntimeError(f"{path} tells of no operation of XLA's")
    return found


def events(data: ProfileData) -> Iterator[tuple[str, float]]:
    """Yield the operations of a trace and their seconds."""
    for plane in data.planes:
        lines = list(plane.lines)
        # Of a GPU its streams; other lines tell the same again, summed up.
        streams = [line for line in lines if line.name.startswith("Stream")]
        for line in streams or lines:
            for event in line.events:
                operation = str(dict(event.stats).get("hlo_op", ""))
                if operation and kind_of(operation) not in _OUTER and (
                        not event.name.startswith("end: ")):
                    yield operation, event.duration_ns / 1e9


def instructions(hlo: str) -> dict[str, tuple[str, str]]:
    """Return of each instruction of a compiled program's text its kind, as "fusion", or what a
    custom call calls, and where it comes from, as "jit(step)/down0/conv_general_dilated".
    """
    found = {}
    for name, rest in _INSTRUCTION.findall(hlo):
        # After the shape, which may be a tuple, comes what it does and its operands.
        does = re.search(r"(?:^|[\])}] )([a-z][\w-]*)\(", rest)
        target, source = _TARGET.search(rest), _SOURCE.search(rest)
        kind = target[1] if target else does[1] if does else ""
        found[name] = kind, source[1] if source else ""
    return found


def kind_of(name: str) -> str:
    """Return the kind of an operation that the HLO does not have, by its name without a number."""
    return re.sub(r"(\.\d+)+(\.remat\d*|\.clone)*$", "", name)


def shortened(source: str) -> str:
    """Return the last parts of where an operation comes from: the layer and what it was."""
    return "/".join(source.split("/")[-4:])


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    f = flags.FLAGS
    config = command.checked_config(f["config"])
    if _ALONE not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_ALONE}".strip()
    parallel.prepare()
    profile(config, steps=f.steps, most=f.most, output=f.output)


def define_flags() -> None:
    """Define the command's flags."""
    flags.DEFINE_integer("steps", 5, "of the trace", lower_bound=1)
    flags.DEFINE_integer("most", 15, "operations that are told", lower_bound=1)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")
    command.define_config()


if __name__ == "__main__":
    define_flags()
    command.run(main, config=True)
