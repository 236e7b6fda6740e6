"""Scores and spectrograms for people: a table of text, a picture of a separated song."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stemsep import pictures


def table(results: Mapping[str, Any]) -> str:
    """Return the scores that `evaluate` returned as lines of text: a summary, then each track.

    Of BSS Eval, if it was measured, the medians over tracks, as SiSEC has them.
    """
    bss = [m for m in ("bss_sdr", "bss_isr", "bss_sir", "bss_sar") if any(
        m in measures for targets in results["summary"].values() for measures in targets.values())]
    lines = [f"{'target':<20}{'method':<10}{'SDR mean':>10}{'median':>9}{'SI-SDR mean':>13}"
             f"{'median':>9}{'tracks':>8}" + "".join(f"{f'v4 {m[-3:].upper()}':>9}" for m in bss)]
    for target in results["targets"]:
        for method, targets in results["summary"].items():
            if target in targets:
                sdr, si_sdr = targets[target]["sdr"], targets[target]["si_sdr"]
                lines.append(
                    f"{target:<20}{method:<10}{number(sdr['mean']):>10}{number(sdr['median']):>9}"
                    f"{number(si_sdr['mean']):>13}{number(si_sdr['median']):>9}{sdr['count']:>8}"
                    + "".join(f"{number(targets[target][m]['median']):>9}" for m in bss))
    lines += ["", "SDR of the model in each track; – is a target that is silent there",
              f"{'track':<32}" + "".join(f"{target:>20}" for target in results["targets"])]
    for track in results["tracks"]:
        scores = track["scores"]["model"]
        lines.append(f"{track['name']:<32}" + "".join(
            f"{number(scores[target]['sdr']):>20}" for target in results["targets"]))
    lines += [f"not scored: {name}: {why}" for name, why in results["errors"].items()]
    seconds, wall_s = results["seconds"], results["wall_s"]
    count = len(results["tracks"])
    lines += ["", f"dB; {count} tracks, {seconds:.0f} s of audio in {wall_s:.0f} s "
              f"({seconds / max(wall_s, 1e-3):.1f} times real time)"]
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Return a score with two decimals, or a dash where there is none."""
    return "–" if value is None else f"{value:.2f}"


def picture(path: str | Path, waves: Mapping[str, np.ndarray], rate: int, *,
            title: str = "", max_s: float = 30.0) -> None:
    """Write a PNG with the spectrogram of each wave, float32 [C, N], one above the other.

    Of the first `max_s` seconds, as `pictures.figure` draws them. Raises InputError where
    matplotlib is not installed.
    """
    drawn = pictures.figure(waves, rate, title=title, max_s=max_s)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=110, format="png")
