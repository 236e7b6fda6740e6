"""Results and sounds for pages of scores, as `evaluate` gives them, without a model."""

import base64
import io
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import soundfile

from stemsep import report
from stemsep.evaluate import summarise
from stemsep.report.listen import Heard
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


def heard(waves_LCN: np.ndarray, rate: int, *, seconds: float = 20.0) -> Heard:
    """Return what a listener keeps of a track."""
    listener = report.Listener(["test/one"], seconds=seconds, tracks=1)
    listen(listener, "test/one", waves_LCN, rate)
    return listener.heard["test/one"]


def decoded(uri: str) -> tuple[np.ndarray, int]:
    """Return the sound of a data URI, [C, N], and its rate."""
    data = base64.b64decode(uri.split(",", 1)[1])
    wave_NC, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    return wave_NC.T, rate


class Reader(HTMLParser):
    """Gathers the text, the tags with their attributes, and the tags that were not closed."""

    VOID = {"meta", "link", "img", "input"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
