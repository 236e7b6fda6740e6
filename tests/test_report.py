"""report.html: all scores are on it, nothing is beside it, and its sounds are in time."""

import configparser
import fnmatch
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stemsep.report import charts, names, page, tables
from tests.pages import HOSTILE, MEASURES, METHODS, TARGETS, Reader, decoded, heard, results, song

ROOT = Path(__file__).parent.parent


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


def test_counts_that_differ_stand_beside_each_measure() -> None:
    scores = results()
    alike = Reader(tables.summary(scores))
    assert alike.texts.count("tracks") == 1
    counts = [cell for cell in alike.of("td") if str(cell.get("class")).startswith("count")]
    assert len(counts) == len(METHODS) * len(TARGETS)
    scores["summary"]["irm"]["drums"]["bss_sir"]["count"] = 77
    differ = Reader(tables.summary(scores))
    assert differ.texts.count("tracks") == len(MEASURES) and differ.texts.count("77") == 1


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
