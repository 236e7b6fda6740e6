"""Time the train step of a configuration on 1 to N devices, and predict what more would give.

    python -m benchmarks.scaling --config configs/demo.py --output results.jsonl

Weak scaling keeps the batch of a device, config.train.batch, strong scaling that of all together.
Each number of devices is a process of its own, all timed in turns; of a machine without
accelerators they are virtual devices, which share its cores: there `efficiency` is the time of the
same work on one device over theirs, and shows what splitting costs, not what more devices give. On
accelerators it is the speed of each device over that of one alone.

Each line tells the collectives of a step, counted in the compiled HLO, and the bytes that they
combine on each device. From those, a line each predicts the efficiency of weak scaling on paper for
8×H100 with NVLink and a v5e-16 slice, with --paper_batches windows a device: see
`benchmarks.collectives` for the formula and the bandwidths. The time of a step there is not
measured: it is assumed to reach --share of the peak with operations in proportion to the windows;
so is the latency of a collective, 20 µs.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags

from benchmarks import timer
from benchmarks.collectives import MACHINES, collectives
from benchmarks.contestants import SHARED, Contestant, out_of_memory
from stemsep import command, flops, optim, parallel, state
from stemsep.config import Config, from_dict, to_dict
from stemsep.errors import InputError
from stemsep.estimate import make_estimator
from stemsep.parallel import AXIS, DataParallel, Program
from stemsep.steps import make_train_step

LATENCY_S = 20e-6     # of a collective, on paper: the order of what small ones take in a machine


def compare(config: Config, counts: Sequence[int], *, virtual: bool, repeats: int, share: float,
            paper_batches: Sequence[int], output: str) -> None:
    """Time the steps on each number of devices in turns; a line each, and the predictions."""
    batch = config.train.batch
    for count in counts:
        if batch % count:
            raise InputError(f"config.train.batch is {batch}, which does not divide over {count} "
                             "devices for strong scaling")
    cases = {("weak", count): batch * count for count in counts}
    cases |= {("strong", count): batch for count in counts if count > 1}
    contestants = {}
    try:
        for case, total in cases.items():
            contestants[case] = start(config, case[1], total, virtual=virtual)
        calls = {str(case): contestant for case, contestant in contestants.items()}
        seconds = timer.take_turns(calls, repeats=repeats)
        memory = {case: one.peak_memory_bytes() for case, one in contestants.items()}
    finally:
        for contestant in contestants.values():
            contestant.close()
    first = counts[0]
    one_s = seconds[str(("weak", first))]
    for (mode, count), total in cases.items():
        taken, facts = seconds[str((mode, count))], contestants[mode, count].facts
        times = timer.summary(taken)
        # Windows a second over those of the fewest devices.
        speed = float(np.median(np.array(one_s) / np.array(taken))) * total / cases["weak", first]
        timer.write(output, {
            "benchmark": "scaling", "who": "stemsep", "config": config.name, "scaling": mode,
            "mapping": config.parallel, "batch": total, "dtype": config.model.dtype,
            "window_frames": config.data.window_frames, **times,
            "audio_s_per_s": audio_s(config, total) / times["median_s"],
            "speedup": speed, "efficiency": speed if virtual else speed * first / count,
            "peak_memory_bytes": memory[mode, count],
            **timer.work(facts["flops"], float(times["median_s"]), config.model.dtype,
                         devices=count),
            **timer.machine("jax", "jaxlib", "flax"), "devices": count, "virtual": virtual,
            **facts})
    on_paper(config, contestants["weak", counts[-1]].facts, cases["weak", counts[-1]], share=share,
             batches=paper_batches, output=output)


def count_only(config: Config, count: int, *, virtual: bool, share: float,
               paper_batches: Sequence[int], output: str) -> None:
    """Compile the step for so many devices, of one window each, and write the predictions."""
    parts = config.optim.accumulate
    with contextlib.closing(start(config, count, count * parts, virtual=virtual)) as contestant:
        on_paper(config, contestant.facts, count * parts, share=share, batches=paper_batches,
                 output=output)


def on_paper(config: Config, facts: dict[str, Any], windows: int, *, share: float,
             batches: Sequence[int], output: str) -> None:
    """Predict from what is known of a step of so many windows, where it combines anything."""
    if not facts["collective_bytes"]:
        print("one device combines nothing: nothing is predicted for more")
        return
    for batch in batches:
        predict(config, facts, facts["flops"] / windows, batch=batch, share=share, output=output)


def predict(config: Config, facts: dict[str, Any], window_flops: float, *, batch: int, share: float,
            output: str) -> None:
    """Write a line for each machine on paper, with so many windows a device."""
    for name, machine in MACHINES.items():
        peak = flops.peak_tflops(machine.kind, config.model.dtype)
        assert peak is not None         # for the types: the kinds are known
        step_s = batch * window_flops / (share * peak * 1e12)
        timer.write(output, {
            **timer.machine("jax"), "benchmark": "scaling_on_paper", "config": config.name,
            "machine": name, "device": machine.kind, "devices": machine.devices,
            "device_batch": batch, "batch": batch * machine.devices,
            "dtype": config.model.dtype, "collectives": facts["collectives"],
            "collective_bytes": facts["collective_bytes"],
            "moved_bytes": machine.moved_bytes(facts["collective_bytes"]),
            "bytes_per_s": machine.bytes_per_s,
            "step_s": step_s, "share_of_peak_assumed": share,
            "all_reduce_s": machine.seconds(facts["collective_bytes"]),
            "latency_s_assumed": LATENCY_S,
            **machine.efficiency(facts["collective_bytes"], step_s,
                                 latency_s=LATENCY_S * sum(facts["collectives"].values()))})


def start(config: Config, count: int, batch: int, *, virtual: bool) -> Contestant:
    """Return the step of a global batch on so many devices, in a process of its own."""
    given = os.environ.get("XLA_FLAGS", "")
    flag = f" --xla_force_host_platform_device_count={count}" if virtual else ""
    return Contestant(make, to_dict(config), count, batch,
                      environment={**SHARED, "XLA_FLAGS": (given + flag).strip()})


def make(values: dict[str, Any], count: int,
         batch: int) -> tuple[Callable[[], None], dict[str, Any]]:
    """Return a call that does a step on the first devices of the machine, and what it consists of.
    """
    parallel.prepare()
    config = from_dict(values)
    devices = DataParallel(config.parallel, devices=jax.devices()[:count])
    program, held, example = compiled(config, devices, batch)
    found = collectives(program.call.as_text())     # type: ignore[attr-defined]
    return timer.waiting(program, held, example), {
        "flops": program.flops, "compile_s": program.compile_s,
        "program_bytes": program.argument_bytes + program.temp_bytes,
        "collectives": dict(Counter(one.kind for one in found)),
        "collective_bytes": sum(one.bytes for one in found),
        "xla_flags": os.environ["XLA_FLAGS"],
        "peak": timer.peak_memory_bytes}


def compiled(config: Config, devices: DataParallel, batch: int) -> tuple[Program, Any, Any]:
    """Return the compiled step of a configuration, its first state and a batch of noise."""
    devices.check_batch(batch, "the global batch", parts=config.optim.accumulate)
    estimator = make_estimator(config, axis_name=AXIS)
    tx = optim.make(config.optim, config.train.steps)
    alpha_S = np.full(len(config.targets), 1 / len(config.targets), np.float32)
    held = devices.replicate(state.create(
        estimator, tx, alpha_S, seed=config.seed, frames=config.data.window_frames,
        ema=bool(config.optim.ema_decay)))
    shape = (batch, len(config.stems), config.data.window_frames, config.audio.channels,
             config.audio.n_fft // 2 + 1, 2)
    noise = np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float16)
    example = devices.put({"stems": noise})
    step = devices.map(make_train_step(estimator, tx, config), donate=True)
    return devices.compiled(step, held, example), held, example


def audio_s(config: Config, batch: int) -> float:
    """Return the seconds of audio in a batch of windows."""
    return batch * config.data.window_frames * config.audio.hop / config.audio.sample_rate


def main(argv: list[str]) -> None:
    """Run the command."""
    command.no_arguments(argv)
    f = flags.FLAGS
    config = command.checked_config(f["config"])
    os.environ.update(SHARED)          # this process looks at the devices only
    virtual = jax.default_backend() == "cpu"
    there = 8 if virtual else jax.device_count()
    counts = numbers("devices", f.devices) or [2 ** k for k in range(there.bit_length())]
    if not virtual and counts[-1] > there:
        raise InputError(f"--devices {counts[-1]}: there are {there} here")
    batches = numbers("paper_batches", f.paper_batches)
    try:
        if f.repeats:
            compare(config, counts, virtual=virtual, repeats=f.repeats, share=f.share,
                    paper_batches=batches, output=f.output)
        else:
            count_only(config, counts[-1], virtual=virtual, share=f.share, paper_batches=batches,
                       output=f.output)
    except RuntimeError as problem:
        if not out_of_memory(problem):
            raise
        raise InputError(
            f"memory ends with {','.join(map(str, counts))} devices: give fewer --devices, or a "
            "smaller --config.train.batch") from problem


def numbers(name: str, texts: list[str]) -> list[int]:
    """Return the numbers of a flag in their order, or raise InputError."""
    if not all(text.isdigit() and int(text) for text in texts):
        raise InputError(f"--{name} {','.join(texts)}: write numbers, as 1,2,4,8")
    return sorted(map(int, texts))


def define_flags() -> None:
    """Define the command's flags."""
    flags.DEFINE_list("devices", [], "numbers of devices; empty: 1,2,4,... of those that are here, "
                      "and 1,2,4,8 virtual ones where there are no accelerators")
    flags.DEFINE_integer("repeats", 10, "rounds of timing; 0: only count what the most devices "
                         "combine, and predict", lower_bound=0)
    flags.DEFINE_list("paper_batches", ["8", "64", "256"], "windows of each device on paper")
    flags.DEFINE_float("share", 0.4, "of the peak that a step on paper reaches",
                       lower_bound=0.001, upper_bound=1.0)
    flags.DEFINE_string("output", "", "file of JSON lines to append to")
    command.define_config()


if __name__ == "__main__":
    define_flags()
    command.run(main, config=True)
