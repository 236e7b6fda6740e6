"""A trace of some steps of training: --profile_steps=10:12"""

from pathlib import Path
from typing import Any

import jax

from stemsep.errors import InputError

FOLDER = "profile"  # in a run's folder


def parse(steps: str) -> tuple[int, int] | None:
    """Return the first and the last step of "10:12", or None for "".

    Raises InputError for what is no such range.
    """
    if not steps:
        return None
    first, _, last = steps.partition(":")
    if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last)):
        raise InputError(
            f"--profile_steps={steps} is no range of steps; write the first and the last, counted "
            "as in the log: --profile_steps=10:12"
        )
    return int(first), int(last)


class Trace:
    """The trace of the steps from the first to the last of `steps`, both included and counted as in
    the log; of those that a run does which has done `start` of its `stop` steps.

    `note` says where it will be, or why there is none; empty if none was asked for.
    """

    def __init__(
        self, workdir: Path, steps: tuple[int, int] | None, *, start: int, stop: int, visible: bool
    ) -> None:
        self._folder, self._running, self.note = workdir / FOLDER, False, ""
        self._first, self._last = 0, -1
        self._step: Any = None
        if not (steps and visible):
            return
        first, last = max(steps[0], start + 1), min(steps[1], stop)
        asked = f"--profile_steps={steps[0]}:{steps[1]}"
        if first > last:
            does = f"steps {start + 1} to {stop}" if start < stop else "no steps any more"
            self.note = f"{asked}: no trace, as this run does {does}"
            return
        self._first, self._last = first, last
        self.note = f"a trace of the steps {first} to {last} will be in {self._folder}"

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_: object) -> None:
        if self._running:
            self._stop()

    def before(self, step: int) -> None:
        """Begin to trace, if this is a step to be traced."""
        if step == self._first:
            # The second file opens in ui.perfetto.dev, with nothing installed.
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._running = True
        if self._running:
            self._step = jax.profiler.StepTraceAnnotation("train", step_num=step)
            self._step.__enter__()

    def after(self, step: int, results: Any) -> None:
        """End to trace, if this was the last such step; waits for its results."""
        if not self._running:
            return
        self._step.__exit__(None, None, None)
        if step == self._last:
            jax.block_until_ready(results)
            self._stop()

    def _stop(self) -> None:
        self._running = False
        jax.profiler.stop_trace()
