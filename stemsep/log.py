"""What a run tells: a progress bar, lines on the console, log.jsonl, and what else the log goes to.
The main process only.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Protocol

import numpy as np
from tqdm import tqdm

from stemsep import pictures
from stemsep.errors import InputError
from stemsep.lines import Lines, aside, put_aside

_CANDIDATES = {"raw": "parameters", "ema": "averaged parameters"}
# What of a line of log.jsonl depends on the machine, and differs between two runs that train alike.
SPEEDS = ("steps_per_s", "audio_s_per_s", "input_wait", "tflops", "peak_share")


class Sink(Protocol):
    """What the log goes to as well. Its methods raise OSError where it cannot be written to."""

    name: str  # as people know it

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers of a step, named as in "train/loss"."""

    def text(self, step: int, name: str, text: str) -> None:
        """Take lines of text."""

    def song(self, step: int, name: str, picture_HWC: np.ndarray, waves: Mapping[str, np.ndarray],
             rate: int) -> None:
        """Take a picture of a song, uint8, and waves, float32 [C, N] within ±1 of 1 or 2 channels.
        """

    def close(self) -> None:
        """Write what is left."""


class Log:
    """The log of a training run.

    Metrics of the steps stay on the device until the next log point, so reading them never holds up
    the loop; a loss that is not finite is therefore found one log point late, and the step it came
    from is named. `get` brings metrics from the device to the host. skips_allowed: how many steps
    in a row may say that they were "skipped"; skipped: how many did until `start`. owed: the
    validation of step `start` is still to be told. song_s: seconds of each song that the sinks get.
    Where log.jsonl or a sink cannot be written to, as on a full disk, that is said once, and
    training goes on.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        start: int,
        owed: bool = False,
        steps: int,
        seconds_a_step: float,
        visible: bool,
        get: Callable[[Any], Any],
        skips_allowed: int = 0,
        skipped: int = 0,
        sinks: Sequence[Sink] = (),
        song_s: float = 10.0,
    ) -> None:
        self._skips_allowed, self.skipped = skips_allowed, skipped  # in a row, until now
        self._sinks, self._song_s = list(sinks), song_s
        self._heard: set[str] = set()  # songs whose mixture the sinks have
        self._tflop, self._peak_tflops = 0.0, 0.0  # of a step, and of a second at most
        self._on_speed: Callable[[float], None] | None = None
        self._seconds_a_step, self._visible, self._get = seconds_a_step, visible, get
        self._last: dict[str, Any] = {}  # of the newest step
        self._new: list[tuple[int, Any]] = []  # since the last log point
        # Of the log point before, still to be read: its steps and their speed.
        self._due: tuple[list[tuple[int, Any]], dict[str, float]] = [], {}
        self._aside = workdir / "unlogged.json"  # see `interrupt`
        if visible:
            self._new = aside(self._aside, start)
        self._waited_s, self._since_s, self._done = 0.0, time.perf_counter(), start
        self._file = Lines(workdir / "log.jsonl", start, owed=owed) if visible else None
        self._bar = progress(steps, "train", unit="step", initial=start, visible=visible)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._file:
            self._file.close()
        self._tell(lambda sink: sink.close())

    def measure(
        self, *, flops: float, peak_tflops: float | None, on_speed: Callable[[float], None]
    ) -> None:
        """Begin to measure, now: log points tell the TFLOP/s of steps of so many floating point
        operations, and the share of the peak where that is known.

        on_speed: is called once with the steps a second, as soon as some were timed.
        """
        self._tflop, self._peak_tflops, self._on_speed = flops / 1e12, peak_tflops or 0.0, on_speed
        self.pause()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time spent inside as waiting for input, if the device had nothing to do."""
        begin_s = time.perf_counter()
        yield
        if all(metric.is_ready() for metric in self._last.values()):
            self._waited_s += time.perf_counter() - begin_s

    def pause(self) -> None:
        """Start the clock anew: what came before (a validation, a save) was no training."""
        self._since_s, self._waited_s, self._done = time.perf_counter(), 0.0, int(self._bar.n)

    def step(self, step: int, metrics: Any) -> None:
        """Note the metrics of a step, arrays on the device."""
        self._new.append((step, metrics))
        self._last = metrics
        self._bar.update()

    def point(self) -> None:
        """Read and write the metrics of the log point before; those since are read at the next."""
        self._read_due()
        elapsed_s, steps = time.perf_counter() - self._since_s, self._bar.n - self._done
        speed = {
            "steps_per_s": steps / elapsed_s,
            "audio_s_per_s": steps * self._seconds_a_step / elapsed_s,
            "input_wait": self._waited_s / elapsed_s,
        }
        if self._tflop:
            speed["tflops"] = speed["steps_per_s"] * self._tflop
        if self._tflop and self._peak_tflops:
            speed["peak_share"] = speed["tflops"] / self._peak_tflops
        self._due, self._new = (self._new, speed), []
        if steps and self._on_speed:
            told, self._on_speed = self._on_speed, None
            told(speed["steps_per_s"])
        self.pause()

    def flush(self) -> None:
        """Read everything now, before a checkpoint: a broken state is never saved."""
        self.point()
        self._read_due()

    def interrupt(self) -> None:
        """Write what is due, and put the metrics since the last log point aside: a run that goes on
        from here logs as if it had not been interrupted. Raises as a log point does.
        """
        self._read_due()
        kept = [(step, self._read(metrics)) for step, metrics in self._new]
        for step, metrics in kept:
            if not metrics.get("skipped"):
                check_finite(step, "loss", float(metrics["loss"]))
        if self._file and kept:
            put_aside(self._aside, kept)

    def write(self, record: dict[str, Any]) -> None:
        """Write one line of log.jsonl, and its numbers to the sinks; the record has a "step"."""
        if self._file:
            self._file.write(record)
            if self._file.failed_now:
                self.say(f"{self._file.failed_now}; training goes on")
        values = {
            group(name): value for name, value in record.items()
            if name != "step" and isinstance(value, (int, float))
        }
        self._tell(lambda sink: sink.scalars(record["step"], values))

    def text(self, step: int, name: str, text: str) -> None:
        """Give the sinks a text, which the console has been told."""
        self._tell(lambda sink: sink.text(step, name, text))

    def songs(
        self, step: int, songs: Mapping[str, Mapping[str, np.ndarray]], rate: int
    ) -> None:
        """Give the sinks what a step makes of songs: their spectrograms, and what one hears.

        songs: name -> {"mixture": wave, stem: wave, ...}, float32 [C, N]. The sinks get the first
        `song_s` seconds, and the audio of a mixture, which stays the same, only once. What it takes
        is no training time.
        """
        if not (self._sinks and self._song_s):
            return
        for name, waves in songs.items():
            shown = {part: wave_CN[:, :round(self._song_s * rate)]
                     for part, wave_CN in waves.items()}
            drawn = pictures.figure(shown, rate, title=f"{name}, step {step}", max_s=self._song_s)
            picture_HWC = pictures.pixels(drawn)
            peak = max(1.0, *(float(np.abs(wave_CN[:2]).max()) for wave_CN in shown.values()))
            heard = {part: wave_CN[:2] / peak for part, wave_CN in shown.items()
                     if part != "mixture" or name not in self._heard}
            self._heard.add(name)
            self._tell(lambda sink: sink.song(step, name, picture_HWC, heard, rate))
        self.pause()

    def validation(self, step: int, scores: dict[str, dict[str, float | None]], *, best: str,
                   best_score: float) -> None:
        """Tell the scores of a validation by what they are of, "raw" or "ema", which of the two is
        better, and the best score so far; what it took is no training time.
        """
        record: dict[str, Any] = {"step": step}
        for of, values in scores.items():
            prefix = "validation_" if of == "raw" else f"validation_{of}_"
            record |= {prefix + name: value for name, value in values.items()}
            said = ", ".join(f"{name} {value:.4f}" if name.startswith("loss") else
                             f"{name} {value:.2f} dB"
                             for name, value in values.items() if value is not None)
            mark = " (better)" if of == best and len(scores) > 1 else ""
            self.say(f"step {step}: validation of the {_CANDIDATES[of]}{mark}: {said}")
        self.write({**record, "validation_best": best, "validation_best_score": best_score})
        self.pause()

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        if self._visible:
            self._bar.write(text)

    def _tell(self, tell: Callable[[Sink], None]) -> None:
        for sink in list(self._sinks):
            try:
                tell(sink)
            except OSError as problem:
                self._sinks.remove(sink)
                self.say(f"{sink.name} cannot be written to ({problem.strerror or problem}) and "
                         "gets nothing more of this run; training goes on")

    def _read_due(self) -> None:
        (pending, speed), self._due = self._due, ([], {})
        if not pending:
            return
        values = [(step, self._read(metrics)) for step, metrics in pending]
        last, kept = values[-1][0], [m for step, m in values if not self._is_skipped(step, m)]
        mean = {name: float(np.mean([metrics[name] for metrics in kept]))
                for name in (kept[0] if kept else ()) if name != "skipped"}
        if self._skips_allowed:
            mean["skipped"] = len(values) - len(kept)
        self.write({"step": last, **mean,
                    **{name: round(value, 6) for name, value in speed.items()}})
        if not kept:
            return
        stems = " + ".join(f"{name.removeprefix('loss_')} {value:.4f}"
                           for name, value in mean.items() if name.startswith("loss_"))
        share = f" ({100 * speed['peak_share']:.1f} %)" if "peak_share" in speed else ""
        tflops = f", {speed['tflops']:.3g} TFLOP/s{share}" if "tflops" in speed else ""
        self._bar.set_postfix_str(
            f"loss {mean['loss']:.4f} ({stems}), gradient {mean['gradient_norm']:.2g}, "
            f"{speed.get('audio_s_per_s', 0):.0f}x real time{tflops}, "
            f"{100 * speed.get('input_wait', 0):.1f} % waiting for input",
            refresh=False,
        )

    def _read(self, metrics: Any) -> dict[str, Any]:
        """Bring metrics to the host, where those that were put aside are already."""
        there = all(isinstance(value, np.generic) for value in metrics.values())
        return metrics if there else self._get(metrics)

    def _is_skipped(self, step: int, metrics: dict[str, Any]) -> bool:
        """Whether a step was skipped, which is told; raises InputError where it must not be, or
        where too many in a row were.
        """
        if not metrics.get("skipped"):
            for name in ("loss", "gradient_norm"):
                check_finite(step, name, float(metrics[name]))
            self.skipped = 0
            return False
        self.skipped += 1
        self.say(f"step {step}: the loss is {metrics['loss']:.3g} and the gradient "
                 f"{metrics['gradient_norm']:.3g}; the step was skipped")
        if self.skipped > self._skips_allowed:
            raise InputError(
                f"step {step}: more than {self._skips_allowed} steps in a row were not finite; "
                "training stopped, and the last checkpoint is from before; lower config.optim.lr "
                "or set config.optim.clip_norm=1")
        return True


def check_finite(step: int, name: str, value: float) -> None:
    """Raise InputError naming the step where a value is not finite: training cannot go on."""
    if not math.isfinite(value):
        raise InputError(
            f"step {step}: the {name.replace('_', ' ')} is {value}; training stopped, and the last "
            "checkpoint is from before; lower config.optim.lr or set config.optim.clip_norm=1"
        )


def progress(
    total: float, what: str, *, unit: str, initial: int = 0, visible: bool = True
) -> tqdm:
    """Return a progress bar; where nobody watches a terminal, it writes a line every 10 s only."""
    interval_s = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        initial=initial,
        disable=not (visible and total),
        mininterval=interval_s,
        maxinterval=max(10.0, interval_s),
        dynamic_ncols=True,
    )


def group(name: str) -> str:
    """Return the name of a number with its group: "train/loss", "validation/loss", "speed/..."."""
    if name in SPEEDS:
        return f"speed/{name}"
    if name.startswith("validation_"):
        return f"validation/{name.removeprefix('validation_')}"
    return f"train/{name}"
