"""Results are told and compared: the tables are those of the committed lines."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import compare, report
from stemsep.errors import InputError

LINES = report.results(report.HERE / "results")
LINE = {"benchmark": "loader", "who": "stemsep", "config": "demo", "batch": 8, "device": "cpu",
        "median_s": 1.0, "revision": "a"}


def write(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_readme_has_the_tables_of_the_committed_results() -> None:
    text = (report.HERE / "README.md").read_text()
    assert report.inserted(text, report.text(LINES)) == text, "run python -m benchmarks.report"


def test_every_result_has_a_table_and_every_plot_is_there() -> None:
    sections = {section.benchmark: section for section in report.SECTIONS}
    assert set(LINES) <= set(sections)
    for name, lines in LINES.items():
        plot = report.HERE / "plots" / f"{name}.svg"
        assert plot.exists() == bool(report.drawn(sections[name], lines)), plot


def test_a_comparison_names_its_peer_and_the_ratio() -> None:
    for lines in LINES.values():
        for line in lines:
            assert ("peer" in line) == ("ratio" in line), line
            assert line.get("peer", line.get("who")) == line.get("who")


def test_what_is_written_by_hand_stays() -> None:
    readme = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    once = report.inserted(readme, "new")
    assert once == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    assert report.inserted(once, "new") == once
    with pytest.raises(ValueError, match="both marks"):
        report.inserted("before", "new")


def test_what_is_on_paper_is_told_so() -> None:
    line = {**LINE, "machine": "8xH100 NVLink", "versions": {"jax": "1"}, "cpu": "x", "cores": 2}
    assert report.origin([line]) == "On paper, not measured. jax 1. Revision a."


def test_numbers_have_three_digits() -> None:
    assert [report.number(value) for value in (0.123456, 16, 12345.6, 1.2e-7, "a", True, 999.96)
            ] == ["0.123", "16", "12346", "1.20e-07", "a", "True", "1000"]


def test_a_plot_is_the_same_whenever_it_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks import plots
    lines = [{**LINE, "batch": batch, "ratio": batch / 10} for batch in (8, 16)]
    for name in ("a", "b"):
        plots.bars(tmp_path / f"{name}.svg", lines, "ratio", "our speed over its")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_same_work_is_compared(tmp_path: Path) -> None:
    old = compare.read(write(tmp_path / "old", LINE, {**LINE, "batch": 16},
                             {**LINE, "benchmark": "memory", "peak_memory_bytes": 5}))
    new = compare.read(write(tmp_path / "new", {**LINE, "median_s": 9.0},     # the last one counts
                             {**LINE, "median_s": 1.2, "revision": "b"},
                             {**LINE, "batch": 32}))
    assert compare.table(old, new) == [("loader, stemsep, batch 8", "median_s", 1.0, 1.2, 1.2)]


def test_the_status_says_whether_something_got_slower(tmp_path: Path) -> None:
    old = write(tmp_path / "old", LINE)
    new = write(tmp_path / "new", {**LINE, "median_s": 1.2})

    def status(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "benchmarks.compare", *arguments],
                              capture_output=True, text=True)

    over = status(str(old), str(new), "--fail_over=1.1")
    assert over.returncode == 1 and "1.20 of what it was, over 1.1" in over.stdout
    assert status(str(old), str(new), "--fail_over=1.3").returncode == 0
    assert status(str(old), str(new)).returncode == 0
    alone = status(str(old), str(write(tmp_path / "c", {**LINE, "batch": 1})), "--fail_over=2")
    assert alone.returncode == 1 and alone.stderr.startswith("error: the files have no result")


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{}\n")
    with pytest.raises(InputError, match="line 1 is no result"):
        compare.read(tmp_path / "bad")
