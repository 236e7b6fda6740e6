"""Scores and spectrograms for people: a table of text, a picture of a separated song."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stemsep.errors import InputError
from stemsep.stft import Stft


def table(results: Mapping[str, Any]) -> str:
    """Return the scores that `evaluate` returned as lines of text: a summary, then each track."""
    lines = [f"{'target':<20}{'method':<10}{'SDR mean':>10}{'median':>9}{'SI-SDR mean':>13}"
             f"{'median':>9}{'tracks':>8}"]
    for target in results["targets"]:
        for method, targets in results["summary"].items():
            if target in targets:
                sdr, si_sdr = targets[target]["sdr"], targets[target]["si_sdr"]
                lines.append(
                    f"{target:<20}{method:<10}{number(sdr['mean']):>10}{number(sdr['median']):>9}"
                    f"{number(si_sdr['mean']):>13}{number(si_sdr['median']):>9}{sdr['count']:>8}")
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

    Level in dB below the loudest point of all, time in s, frequency in kHz on a logarithmic axis;
    of the first `max_s` seconds. Raises InputError where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("the picture needs matplotlib; pip install matplotlib") from error

    stft = Stft(rate, 2048, 512)
    shown = round(max_s * rate)
    levels = {name: level(wave_CN[:, :shown], stft) for name, wave_CN in waves.items()}
    top = max(power_FT.max() for power_FT in levels.values())
    figure = Figure(figsize=(10, 2.4 * len(levels) + 0.6), layout="constrained")
    FigureCanvasAgg(figure)         # no pyplot: it would keep the figure in a global list
    axes = figure.subplots(len(levels), sharex=True, squeeze=False)[:, 0]
    for axis, (name, power_FT) in zip(axes, levels.items()):
        times_s = np.arange(power_FT.shape[1]) * stft.hop / rate
        kilohertz = np.arange(1, stft.bins) * rate / stft.n_fft / 1000      # 0 Hz has no logarithm
        mesh = axis.pcolormesh(times_s, kilohertz, power_FT[1:] - top, vmin=-80, vmax=0,
                               cmap="magma", shading="nearest")
        axis.set_yscale("log")
        axis.set_ylim(0.04, rate / 2000)
        axis.set_yticks([f for f in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if f < rate / 2000])
        axis.yaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.set_ylabel("kHz")
        axis.set_title(name, loc="left", fontsize=10)
    axes[-1].set_xlabel("s")
    figure.colorbar(mesh, ax=axes, label="dB", pad=0.01, aspect=40)
    if title:
        figure.suptitle(title)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, format="png")


def level(wave_CN: np.ndarray, stft: Stft) -> np.ndarray:
    """Return the power of a wave in dB, the mean of its channels, float32 [F, T]."""
    power_TF = (np.abs(stft.analyse(wave_CN)) ** 2).mean(0)
    return 10 * np.log10(power_TF.T + 1e-12)
