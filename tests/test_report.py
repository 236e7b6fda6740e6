"""report.html: all scores are on it, nothing is beside it, and its sounds are in time."""

import base64
import configparser
import fnmatch
import io
import re
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stemsep import report
from stemsep.report import charts, image, names, page, sound, tables
from stemsep.report.listen import Heard, lanes
from tests.pages import HOSTILE, MEASURES, METHODS, TARGETS, listen, music, results, song

ROOT = Path(__file__).parent.parent


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


def heard(waves_LCN: np.ndarray, rate: int, *, seconds: float = 20.0) -> Heard:
    listener = report.Listener(["test/one"], seconds=seconds, tracks=1)
    listen(listener, "test/one", waves_LCN, rate)
    return listener.heard["test/one"]


def decoded(uri: str) -> tuple[np.ndarray, int]:
    """Return the sound of a data URI, [C, N], and its rate."""
    data = base64.b64decode(uri.split(",", 1)[1])
    wave_NC, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    return wave_NC.T, rate


def test_every_score_is_on_the_page() -> None:
    scores = results()
    reader = Reader(page.page(scores, {}))
    assert reader.open == []
    values = {attributes["data-value"] for attributes in reader.of("td")
              if "data-value" in attributes}
    text = " ".join(reader.texts)
    for track in scores["tracks"]:
        assert track["name"] in reader.texts
        for own in track["scores"].values():
            for measured in own.values():
                for value in measured.values():
                    assert value is None or f"{value:.6f}" in values
    for targets in scores["summary"].values():
        for measured in targets.values():
            for one in measured.values():
                assert tables.number(one["mean"]) in reader.texts
                assert tables.number(one["median"]) in reader.texts
    assert reader.texts.count("–") == len(METHODS) * len(MEASURES) + 1      # and its explanation
    for said in [*TARGETS, *map(names.method, METHODS), *map(names.measure, MEASURES),
                 "test/<broken>", "a<b>.wav: is no audio", "runs/<x>", "a <model>"]:
        assert said in text


def test_nothing_that_comes_from_outside_is_markup() -> None:
    track = heard(song(8000), 8000)
    html = page.page(results(), {f"test/{HOSTILE}": track})
    reader = Reader(html)
    assert reader.open == []
    assert len(reader.of("script")) == 1 and "alert(1)</script>" not in html
    allowed = {"html", "head", "body", "meta", "title", "link", "style", "header", "h1", "h2", "h3",
               "p", "dl", "dt", "dd", "div", "main", "section", "table", "thead", "tbody", "tr",
               "th", "td", "small", "figure", "figcaption", "svg", "line", "text", "g", "path",
               "rect", "circle", "ul", "li", "b", "i", "a", "span", "button", "input", "output",
               "img", "audio", "script"}
    assert {tag for tag, _ in reader.tags} <= allowed | {"title"}
    bold = html.count("<b>")
    plain = page.page(results(("one", "two", "three")), {"test/two": track})
    assert plain.count("<b>") == bold
    assert not [key for _, attributes in reader.tags for key in attributes if key[:2] == "on"]


def test_the_page_needs_nothing_else() -> None:
    html = page.page(results(), {"test/one": heard(song(8000), 8000)})
    reader = Reader(html)
    for _, attributes in reader.tags:
        for key in ("src", "href", "poster", "srcset"):
            value = attributes.get(key) or "data:"
            assert value.startswith(("data:", "#")), value[:80]
    without_data = re.sub(r"data:[\w/]+;base64,[\w+/=]+", "", html)
    for word in ("http://", "https://", "@import", "url(", "fetch(", "XMLHttpRequest"):
        assert word not in without_data
    assert len(reader.of("img")) == len(reader.of("audio")) == 7
    assert all(attributes["alt"] for attributes in reader.of("img"))
    assert all("aria-label" in attributes for attributes in reader.of("button"))
    anchors = {attributes["id"] for _, attributes in reader.tags if "id" in attributes}
    links = [str(attributes["href"])[1:] for attributes in reader.of("a")]
    assert links and set(links) <= anchors


def test_a_page_of_faults_alone_and_of_one_measure() -> None:
    empty = {**results(), "tracks": [], "summary": {}}
    assert "No track was scored" in page.page(empty, {})
    scores = results()
    for own in [scores["summary"], *(track["scores"] for track in scores["tracks"])]:
        for targets in own.values():
            for target in targets:
                targets[target] = {"bss_sdr": targets[target]["sdr"]}
    assert "SDR (BSS Eval) of drums over tracks" in page.page(scores, {})


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 50])
def test_boxes_are_numpys_quartiles(count: int) -> None:
    values = np.random.default_rng(count).standard_cauchy(count).tolist()
    box = charts.box(values)
    assert [box.first, box.median, box.third] == np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    reach = 1.5 * (box.third - box.first)
    outside = {k for k, value in enumerate(values)
               if value < box.first - reach - 1e-6 or value > box.third + reach + 1e-6}
    assert set(box.outliers) == outside
    inside = [value for k, value in enumerate(values) if k not in outside]
    assert (box.low, box.high) == (min(inside), max(inside))


def test_equal_scores_have_a_box_and_every_outlier_a_name() -> None:
    box = charts.box([0.1 + 0.2] * 7)
    assert box.outliers == () and box.low == box.high
    values = {f"track <{k}>": float(k) for k in range(50)} | {"far & away": 500.0}
    svg = charts.box_plot({"model": values, "none": {}}, title="<t>", unit="dB",
                          axis=charts.ticks(0, 500), classes={"model": "c0", "none": "c1"})
    reader = Reader(svg)
    assert reader.open == [] and "no scores" in reader.texts
    assert "far & away: 500.00 dB" in reader.texts
    assert len(reader.of("circle")) == 1        # of many tracks only the outlier has a point


@pytest.mark.parametrize("low, high", [(0, 1), (-3.2, 7.8), (5, 5), (-100, 100), (0.01, 0.02)])
def test_ticks_are_round_and_around(low: float, high: float) -> None:
    ticks = charts.ticks(low, high)
    assert ticks[0] <= low and ticks[-1] >= high and 2 <= len(ticks) <= 8
    assert np.ptp(np.diff(ticks)) < 1e-9


def lag(a: np.ndarray, b: np.ndarray) -> int:
    """Return by how many samples b comes later than a, from their cross-correlation."""
    spectrum = np.conj(np.fft.rfft(a, 2 * len(a))) * np.fft.rfft(b, 2 * len(a))
    correlation = np.fft.irfft(spectrum)
    at = int(np.argmax(correlation))
    return at if at < len(a) else at - 2 * len(a)


@pytest.mark.parametrize("rate, channels", [
    (44100, 2), (44100, 1), (48000, 2), (22050, 1), (8000, 1), (11025, 2), (96000, 2), (32000, 3)])
def test_sounds_are_in_time_after_decoding(rate: int, channels: int) -> None:
    """The mixture is the sum of the estimates, and of the references, sample by sample."""
    own = heard(song(3 * rate + 17, channels=channels), rate)
    waves = {(lane.target, lane.kind): decoded(lane.sound) for lane in own.lanes}
    (mixture_CN, to), *others = waves.values()
    assert to == sound.playable(rate) and to in sound.RATES
    assert len(mixture_CN) == (channels if channels < 3 else 1)
    assert abs(mixture_CN.shape[1] - (3 * rate + 17) * to / rate) <= 1
    assert all(wave_CN.shape == mixture_CN.shape for wave_CN, _ in others)
    for kind in ("estimate", "reference"):
        total_CN = sum(wave_CN for (_, own_kind), (wave_CN, _) in waves.items() if own_kind == kind)
        assert lag(mixture_CN[0], np.asarray(total_CN)[0]) == 0
        error = ((total_CN - mixture_CN) ** 2).sum() / (mixture_CN ** 2).sum()
        assert 10 * np.log10(error) < -12       # what MP3 loses
    difference = waves["drums", "estimate"][0] - waves["drums", "reference"][0]
    assert lag(waves["drums", "error"][0][0], difference[0]) == 0


@pytest.mark.parametrize("samples", [1, 2, 63, 1000])
@pytest.mark.parametrize("rate, channels", [(44100, 2), (8000, 1), (96000, 1)])
def test_tracks_of_a_few_samples(samples: int, rate: int, channels: int) -> None:
    own = heard(song(samples, channels=channels), rate)
    assert own.seconds == samples / rate and own.first_s == 0
    lengths = {decoded(lane.sound)[0].shape[1] for lane in own.lanes}
    assert len(lengths) == 1 and lengths.pop() >= 1
    assert Reader(page.page(results(), {"test/one": own})).open == []


def test_silence_is_dark_and_silent() -> None:
    own = heard(np.zeros((5, 2, 30000), np.float32), 8000)
    for lane in own.lanes:
        assert not decoded(lane.sound)[0].any()
        assert not pixels(lane.picture).any()


def test_what_would_clip_is_turned_down_alike() -> None:
    waves_LCN = song(20000)
    waves_LCN *= 3 / np.abs(waves_LCN).max()
    loud = {(lane.target, lane.kind): lane for lane in lanes(waves_LCN, TARGETS, 22050)}
    for key, row in ((("", "mixture"), 0), (("drums", "reference"), 1)):
        wave_CN, _ = decoded(loud[key].sound)
        ratio = np.sqrt((wave_CN ** 2).sum() / (waves_LCN[row] ** 2).sum())
        assert ratio == pytest.approx(sound.gain(list(waves_LCN)), rel=0.05) and ratio < 0.4
    assert sound.gain([np.zeros((1, 0)), np.full((1, 3), 0.5)]) == 1


def test_the_stretch_is_where_all_targets_sound() -> None:
    """A loud solo comes first, both targets sound from 7 s to 9 s, silence ends the song."""
    rate = 8000
    a, b = music(12 * rate, seed=1), 0.3 * music(12 * rate, seed=2)
    b[:, :7 * rate] = 0
    a[:, 9 * rate:] = b[:, 9 * rate:] = 0
    waves_LCN = np.stack([a + b, a, b, a, b])
    found = [heard(waves_LCN[..., :samples], rate, seconds=2.0)
             for samples in (12 * rate, 12 * rate - 100)]
    assert all((one.first_s, one.seconds) == (7.0, 2.0) for one in found)
    short = heard(waves_LCN[..., :rate + 5], rate, seconds=2.0)
    assert (short.first_s, short.seconds) == (0.0, 1 + 5 / rate)


@pytest.mark.parametrize("block", [1, 999, 8000, 50000])
def test_how_a_track_is_cut_into_blocks_changes_nothing(block: int) -> None:
    waves_LCN = song(20000)
    made = []
    for size in (block, 20000):
        listener = report.Listener(["one"], seconds=1.5, tracks=1)
        listen(listener, "one", waves_LCN, 8000, block=size)
        made.append(listener.heard["one"])
    assert made[0] == made[1]


def test_threads_and_order_change_nothing() -> None:
    names_ = [f"test/{k}" for k in range(10)]
    songs = {name: song(9000, seed=k) for k, name in enumerate(names_)}
    made = []
    for order, threads in ((names_, 1), (names_[::-1], 4)):
        listener = report.Listener(names_, seconds=0.5, tracks=4)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda name: listen(listener, name, songs[name], 8000), order))
        made.append(listener.heard)
    assert made[0] == made[1]
    assert set(made[0]) == {"test/0", "test/2", "test/5", "test/7"}     # evenly spread


@pytest.mark.parametrize("seconds, tracks", [(0.0, 5), (3.0, 0)])
def test_a_page_can_do_without_sound(seconds: float, tracks: int) -> None:
    listener = report.Listener(["a", "b"], seconds=seconds, tracks=tracks)
    assert listener.begin("a", 8000) is None and listener.heard == {}
    assert len(page.page(results(), {})) < 100_000


def test_size_and_memory_are_bounded() -> None:
    """A track of any length has as much on the page as `seconds` have, and takes as much memory."""
    rate, sizes, peaks = 16000, [], []
    block_LCN = song(5000)
    for seconds in (12, 60):
        listener = report.Listener(["one"], seconds=4.0, tracks=1)
        tracemalloc.start()
        excerpt = listener.begin("one", rate)
        assert excerpt
        mix, a, b, x, y = block_LCN
        for _ in range(seconds * rate // 5000):
            excerpt.add(mix, dict(zip(TARGETS, (a, b))), dict(zip(TARGETS, (x, y))))
        excerpt.keep()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        own = listener.heard["one"]
        sizes.append(sum(len(lane.sound) + len(lane.picture) for lane in own.lanes))
    assert sizes[1] < 1.1 * sizes[0] < 7 * (4 * 16_000 * 1.34 + 90_000)
    assert peaks[1] < 1.3 * peaks[0]


def pixels(uri: str) -> np.ndarray:
    """Return the indices of our PNG, uint8 [height, width]; checks every chunk's sum."""
    data = base64.b64decode(uri.split(",", 1)[1])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        size, = struct.unpack(">I", data[at:at + 4])
        kind, content = data[at + 4:at + 8], data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + content) == struct.unpack(">I", data[at + 8 + size:][:4])[0]
        chunks[kind] = content
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


@pytest.mark.parametrize("rate, frequency", [
    (44100, 1000), (44100, 60), (8000, 2000), (48000, 9000)])
def test_a_tone_is_where_the_axis_says(rate: int, frequency: float) -> None:
    tone = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * rate) / rate)
    tone[:rate] = 0         # it begins in the middle
    level_FT = image.spectrogram(tone.astype(np.float32)[None], rate)
    assert level_FT.shape[0] == image.HEIGHT and level_FT.shape[1] <= image.WIDTH
    row, column = np.unravel_index(np.argmax(level_FT), level_FT.shape)
    bin_rows = image.HEIGHT * (image.place(frequency - 22, rate) - image.place(frequency, rate))
    assert abs(row + 0.5 - image.HEIGHT * image.place(frequency, rate)) <= max(1.5, bin_rows)
    loud = np.flatnonzero(level_FT[row] > level_FT[row].max() - 20)
    assert loud[0] == pytest.approx(level_FT.shape[1] / 2, abs=0.03 * level_FT.shape[1])
    uri = sound.data_uri(image.png(level_FT, float(level_FT.max())), "image/png")
    assert pixels(uri).max() == image.SHADES - 1 and pixels(uri).shape == level_FT.shape


def test_without_mp3_sounds_are_wav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "WAV"})
    wave_CN = music(500)
    uri = sound.encode(wave_CN, 44100)
    assert uri.startswith("data:audio/wav;")
    np.testing.assert_allclose(decoded(uri)[0], wave_CN, atol=1e-4)


def test_an_installed_package_has_the_pages_files(tmp_path: Path) -> None:
    """Everything in the package that is not Python is in setup.cfg's package_data, and in a wheel.
    """
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    listed = {package: [pattern.strip() for pattern in patterns.split(",")]
              for package, patterns in settings["options.package_data"].items()}
    files = [path.relative_to(ROOT) for path in (ROOT / "stemsep").rglob("*")
             if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert Path("stemsep/report/page.js") in files
    for path in files:
        patterns = listed.get(".".join(path.parent.parts), [])
        assert any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns), path
    assert set(wheel(tmp_path)) >= set(map(str, files))


def wheel(folder: Path) -> list[str]:
    """Build a wheel of a copy of the package; returns the names of the files in it."""
    pytest.importorskip("setuptools", reason="builds a wheel with setuptools")
    copied = subprocess.run(["cp", "-r", *(str(ROOT / name) for name in (
        "stemsep", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")), str(folder)])
    assert copied.returncode == 0
    built = subprocess.run(
        [sys.executable, "-c", "from setuptools.build_meta import build_wheel; build_wheel('.')"],
        cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    path, = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_command_writes_it(tmp_path: Path) -> None:
    from stemsep.evaluate import evaluate_source
    from tests.test_separate import identity
    from tests.trees import noise
    from tests.trees import song as write_song

    for name in ("one", "two"):
        write_song(tmp_path / "songs" / "test" / name,
                   {"drums": noise(9000), "bass": noise(9000, seed=1)})
    settings: dict[str, Any] = {"output": tmp_path / "out", "checkpoint": "run"}
    source = f"folders:{tmp_path / 'songs'}"
    evaluate_source(identity(), source, "test", page=False, **settings)
    assert not (tmp_path / "out" / "report.html").exists()
    evaluate_source(identity(), source, "test", page_tracks=1, page_song_s=0.5, **settings)
    reader = Reader((tmp_path / "out" / "report.html").read_text())
    assert len(reader.of("audio")) == 7 and reader.open == []
    for attributes in reader.of("audio"):
        wave_CN, _ = decoded(str(attributes["src"]))
        assert wave_CN.shape == (1, 8000)       # half a second, at 16 kHz
