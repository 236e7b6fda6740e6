"""How every benchmark takes the time: warmed up, waited for, in turns, and told in one line."""

import json
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Mapping

import jax
from absl import flags

from stemsep import command, memory, provenance
from stemsep.flops import peak_tflops

# The threads of one framework may spin for a while after their work: let them come to rest first.
_REST_S = 0.25


def run(main: Callable[..., None], **numbers: tuple[int, str]) -> None:
    """Run `main(config, output=..., **numbers)` as a command with --config, --output, and a flag
    for each of the whole numbers, given as its default and its help.
    """
    for name, (default, about) in numbers.items():
        flags.DEFINE_integer(name, default, about, lower_bound=0)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")
    config = command.define_config()

    def checked(argv: list[str]) -> None:
        command.no_arguments(argv)
        given = {name: flags.FLAGS[name].value for name in (*numbers, "output")}
        main(command.checked_config(config), **given)

    command.run(checked, config=True)


def take_turns(
    calls: Mapping[str, Callable[[], Any]], *, repeats: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Time each call, one after the other in every round, and return seconds a call of each round.

    A call must return only when its work is done; one that returns seconds, a float, has taken
    the time itself, in another process. What disturbs the machine for a while thus disturbs all,
    and the ratio within a round says more than the ratio of two totals.
    """
    for call in calls.values():
        for _ in range(warmup):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            time.sleep(_REST_S)
            start_s = time.perf_counter()
            own = call()
            taken_s = time.perf_counter() - start_s
            seconds[name].append(own if isinstance(own, float) else taken_s)
    return seconds


def compared(
    seconds: Mapping[str, list[float]], who: str, *, ours: str = "stemsep"
) -> dict[str, Any]:
    """Return the fields of a comparison for the line of `who`: the peer, and the ratio of our speed
    to its, the median of the rounds' ratios; nothing for the line that is ours.
    """
    if who == ours:
        return {}
    return {"peer": who, "ratio": statistics.median(
        theirs / mine for theirs, mine in zip(seconds[who], seconds[ours], strict=True))}


def work(flops: float, seconds: float, dtype: str, *, devices: int = 1) -> dict[str, float]:
    """Return TFLOP/s, and their share of the most of so many devices, where that is known."""
    tflops = flops / seconds / 1e12
    peak = peak_tflops(jax.devices()[0].device_kind, dtype)
    return {"tflops_per_s": tflops,
            **({"share_of_peak": tflops / peak / devices} if peak else {})}


def waiting(step: Callable[..., Any], *arguments: Any, kept: bool = True) -> Callable[[], None]:
    """Return a call that computes `state, ... = step(state, ...)` on and on, and waits for it.

    arguments: the first is the state, which `step` may use up, and must be the first it returns.
    kept: the process keeps the memory of the steps, as in training, and not until the end of one.
    """
    held = list(arguments)
    if kept:
        memory.keep()

    def call() -> None:
        held[0], *rest = step(*held)
        jax.block_until_ready((held[0], rest))

    return call


def summary(seconds: list[float]) -> dict[str, float | int]:
    """Return median, 90th percentile and number of the timings."""
    ranked = sorted(seconds)
    return {
        "median_s": statistics.median(ranked),
        "p90_s": ranked[min(len(ranked) - 1, int(0.9 * len(ranked)))],
        "repeats": len(ranked),
    }


def machine(*packages: str) -> dict[str, Any]:
    """Return what a number depends on: the device, the versions of packages, the git revision."""
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        **provenance.machine(*packages),
    }


def peak_memory_bytes() -> int:
    """Return the most memory used so far, of the device where it counts, else of this process."""
    counted = jax.devices()[0].memory_stats() or {}
    return counted.get("peak_bytes_in_use") or provenance.peak_memory_bytes()


def program_bytes(program: jax.stages.Compiled) -> int:
    """Return the memory of a compiled program: its arguments and what it computes between."""
    memory = program.memory_analysis()
    return memory.temp_size_in_bytes + memory.argument_size_in_bytes if memory else 0


def write(path: str, line: dict[str, Any]) -> None:
    """Append one line of JSON to the file and print it."""
    text = json.dumps(line)
    print(text, flush=True)
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(text + "\n")
