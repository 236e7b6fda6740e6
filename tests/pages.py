"""Results and sounds for pages of scores, as `evaluate` gives them, without a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stemsep import report
from stemsep.evaluate import summarise
from tests.trees import noise

HOSTILE = "</script><script>alert(1)</script> \"'&<b>  🥁"
TARGETS = ("drums", "the <rest>")
METHODS = ("model", "mixture", "irm", "a new <method>")
MEASURES = ("sdr", "si_sdr", "bss_sir", "pesq_x")


def results(names: Sequence[str] = ("one", HOSTILE, "three"), *, seed: int = 0) -> dict[str, Any]:
    """Return what `evaluate_source` returns; the first target is silent in the last track."""
    rng = np.random.default_rng(seed)
    tracks = [{
        "name": name, "split": "test", "sample_rate": 44100, "seconds": 20.0,
        "scores": {method: {target: {
            measure: None if name == names[-1] and target == TARGETS[0] else float(value)
            for measure, value in zip(MEASURES, rng.normal(5, 4, len(MEASURES)))}
            for target in TARGETS} for method in METHODS}} for name in names]
    return {"checkpoint": "runs/<x>", "source": "folders:/songs", "split": "test",
            "model": "a <model>", "targets": list(TARGETS), "seconds": 20.0 * len(tracks),
            "wall_s": 4.0, "summary": summarise(tracks), "tracks": tracks,
            "errors": {"test/<broken>": "a<b>.wav: is no audio"}}


def music(samples: int, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return noise with less of high frequencies, which an encoder keeps: float32 [C, N]."""
    white = noise(samples + 32, channels=channels, seed=seed)
    kernel = np.hanning(33)[:, None] / 16
    windows = np.lib.stride_tricks.sliding_window_view(white, 33, axis=1)[:, :samples]
    return (windows @ kernel)[..., 0].astype(np.float32)


def listen(listener: report.Listener, name: str, waves_LCN: np.ndarray, rate: int, *,
           block: int = 5000) -> None:
    """Let a listener hear a track, [mixture and two references and two estimates, C, N]."""
    excerpt = listener.begin(name, rate)
    if excerpt is None:
        return
    for first in range(0, waves_LCN.shape[-1], block):
        mix, a, b, x, y = waves_LCN[..., first:first + block]
        excerpt.add(mix, dict(zip(TARGETS, (a, b))), dict(zip(TARGETS, (x, y))))
    excerpt.keep()


def song(samples: int, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return a mixture, two references and two estimates, which add up too, [5, C, N]."""
    a, b = (music(samples, channels=channels, seed=seed + k) for k in (1, 2))
    return np.stack([a + b, a, b, 0.8 * a + 0.1 * b, 0.2 * a + 0.9 * b])
