"""Spectrograms for people: a figure of a song and its stems, one above the other."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stemsep.errors import InputError
from stemsep.stft import Stft


def figure(
    waves: Mapping[str, np.ndarray], rate: int, *, title: str = "", max_s: float = 30.0
) -> Any:
    """Return a matplotlib Figure with the spectrogram of each wave, float32 [C, N].

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
    drawn = Figure(figsize=(10, 2.4 * len(levels) + 0.6), layout="constrained")
    FigureCanvasAgg(drawn)         # no pyplot: it would keep the figure in a global list
    axes = drawn.subplots(len(levels), sharex=True, squeeze=False)[:, 0]
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
    drawn.colorbar(mesh, ax=axes, label="dB", pad=0.01, aspect=40)
    if title:
        drawn.suptitle(title)
    return drawn


def pixels(drawn: Any) -> np.ndarray:
    """Return a figure as an image, uint8 [height, width, 3]."""
    drawn.canvas.draw()
    return np.array(drawn.canvas.buffer_rgba())[..., :3]


def level(wave_CN: np.ndarray, stft: Stft) -> np.ndarray:
    """Return the power of a wave in dB, the mean of its channels, float32 [F, T]."""
    power_TF = (np.abs(stft.analyse(wave_CN)) ** 2).mean(0)
    return 10 * np.log10(power_TF.T + 1e-12)
