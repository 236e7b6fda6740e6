"""Time BSS Eval of a song beside museval, and compare their numbers.

    python -m benchmarks.bss_eval --output results.jsonl

Needs museval (the extra `benchmark`). The song is noise of different colours for each stem, of
which the estimates have a share of the others and of noise: what it sounds like changes no timing.
One line of JSON each, with the greatest difference of any score in dB.
"""

import statistics
from collections.abc import Callable

import numpy as np
import scipy.signal
from absl import flags

from benchmarks import timer
from benchmarks.peers import museval_metrics
from stemsep import command
from stemsep.bss_eval import MEASURES, BssEval


def signals(stems: int, channels: int, samples: int, *,
            seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return true signals and estimates of them, float32 [stems, channels, samples].

    Each stem is noise through an all-pole filter of its own, panned; an estimate is its stem with
    an echo, a tenth of the others and a little noise.
    """
    rng = np.random.default_rng(seed)
    true = np.empty((stems, channels, samples), np.float32)
    for stem, pole in zip(true, rng.uniform(-0.9, 0.9, stems)):
        dry = scipy.signal.lfilter([0.1], [1, -pole], rng.normal(size=samples))
        stem[:] = rng.uniform(0.3, 1, (channels, 1)) * dry + 0.01 * rng.normal(size=stem.shape)
    estimates = true + 0.1 * (true.sum(0) - true)
    estimates[..., 7:] += 0.2 * estimates[..., :-7]
    estimates += 0.01 * rng.normal(size=estimates.shape)
    return true, estimates.astype(np.float32)


def ours(true: np.ndarray, estimates: np.ndarray, *, window: int) -> np.ndarray:
    """Return what `museval_metrics.bss_eval` does, by stemsep."""
    names = [str(number) for number in range(len(true))]
    found = BssEval(dict(zip(names, true)), window=window)(dict(zip(names, estimates)))
    return np.stack([[found[name][measure] for name in names] for measure in MEASURES])


def compare(*, stems: int, channels: int, rate: int, seconds: int, repeats: int,
            output: str) -> None:
    """Time both in turns; a line each."""
    true, estimates = signals(stems, channels, rate * seconds)
    scores: dict[str, np.ndarray] = {}

    def call(name: str, method: Callable[..., np.ndarray]) -> Callable[[], None]:
        def timed() -> None:
            scores[name] = method(true, estimates, window=rate)
        return timed

    timed_s = timer.take_turns({
        "stemsep": call("stemsep", ours), "museval": call("museval", museval_metrics.bss_eval),
    }, repeats=repeats, warmup=0)
    for name, taken in timed_s.items():
        timer.write(output, {
            "benchmark": "bss_eval", "who": name, **timer.compared(timed_s, name),
            **timer.summary(taken), "audio_s_per_s": seconds / statistics.median(taken),
            "dtype": "float64", "stems": stems,
            "channels": channels, "sample_rate": rate, "audio_s": seconds,
            **({"max_difference_db": float(np.abs(scores["stemsep"] - scores["museval"]).max())}
               if name == "stemsep" else {}),
            **timer.machine("numpy", "scipy", "museval")})


def main() -> None:
    """Run the command."""
    numbers = {name: flags.DEFINE_integer(name, default, about, lower_bound=1)
               for name, default, about in (
                   ("stems", 4, "targets"), ("channels", 2, "of each"),
                   ("rate", 44100, "samples a second"), ("seconds", 60, "of the song"),
                   ("repeats", 3, "rounds of timing"))}
    output = flags.DEFINE_string("output", "", "file of JSON lines to append to")

    def run(arguments: list[str]) -> None:
        command.no_arguments(arguments)
        compare(output=output.value, **{name: flag.value for name, flag in numbers.items()})

    command.run(run)


if __name__ == "__main__":
    main()
