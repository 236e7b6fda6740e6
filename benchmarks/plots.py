"""Plots of results: one bar for each, as SVG that is the same whenever it is drawn."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from benchmarks import compare

# Where a bar's value is one thing over another, equal is marked.
RATIOS = ("ratio", "efficiency", "step_s_per_base_s")
_STEADY = {"svg.hashsalt": "stemsep", "svg.fonttype": "none", "font.size": 8}


def bars(path: Path, lines: list[dict[str, Any]], field: str, heading: str) -> None:
    """Draw a field of lines of one benchmark, one below the other; the file's folder is made."""
    keys = [compare.identity(line) for line in lines]
    labels = [compare.label(key, keys).partition(", ")[2] for key in keys]
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STEADY):
        figure = Figure(figsize=(9, 0.6 + 0.22 * len(lines)), layout="constrained")
        axes = figure.subplots()
        places = range(len(lines))
        values = [line[field] for line in lines]
        drawn = axes.barh(places, values, color="#4878a8")
        axes.bar_label(drawn, [f"{value:.2f}" if value < 100 else f"{value:.0f}"
                               for value in values], padding=2)
        axes.set_yticks(places, labels)
        axes.invert_yaxis()
        axes.margins(x=0.1)
        axes.set_xlabel(heading)
        axes.spines[["top", "right"]].set_visible(False)
        if field in RATIOS:
            axes.axvline(1, color="black", linewidth=0.8)
        figure.savefig(path, format="svg", metadata={"Date": None})
