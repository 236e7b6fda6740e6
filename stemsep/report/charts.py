"""Box plots of scores as SVG, drawn with the page's own colours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, LEFT, RIGHT = 380, 96, 14    # of the drawing: all, beside the axis (names), behind it
TOP, ROW, BOTTOM = 8, 38, 40        # above the boxes, of each, below them (numbers, unit)
FEW = 40                            # up to so many tracks, each has a point of its own


@dataclass(frozen=True)
class Box:
    """What a box shows of some values: quartiles, whiskers, and what lies beyond them."""

    low: float
    first: float
    median: float
    third: float
    high: float
    outliers: tuple[int, ...]   # their numbers among the values


def box(values: Sequence[float]) -> Box:
    """Return the box of at least one value.

    Quartiles as numpy's "linear" has them (Hyndman & Fan 1996, definition 7); whiskers reach to the
    farthest values within 1.5 times the interquartile range from the box (Tukey 1977).
    """
    first, median, third = np.percentile(values, [25, 50, 75])
    reach = 1.5 * (third - first) + 1e-9        # equal values are no outliers for their rounding
    inside = [value for value in values if first - reach <= value <= third + reach]
    return Box(min(inside), float(first), float(median), float(third), max(inside),
               tuple(number for number, value in enumerate(values)
                     if not first - reach <= value <= third + reach))


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers at even steps, two to eight: the first is at most `low`, the last at
    least `high`.
    """
    span = max(high - low, 0.1)
    decade = 10.0 ** math.floor(math.log10(span))
    step = next(step for step in (0.2 * decade, 0.5 * decade, decade, 2 * decade)
                if span / step <= 6)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [round(k * step, 10) for k in range(first, last + 1)]


def box_plot(rows: Mapping[str, Mapping[str, float]], *, title: str, unit: str, axis: list[float],
             classes: Mapping[str, str]) -> str:
    """Return an SVG with a box of each row, label -> track -> value; all may be empty.

    axis: its ticks. classes: label -> class of its colour. Titles name the track of each point.
    """
    height = TOP + ROW * len(rows) + BOTTOM
    bottom = TOP + ROW * len(rows)
    said = "; ".join(f"{label}: {_said(list(values.values()))}" for label, values in rows.items())
    parts = [f'<svg class="box" viewBox="0 0 {WIDTH} {height}" role="img" '
             f'aria-label="{escape(f"{title}, {unit}. {said}")}">']
    for tick in axis:
        x = _place(tick, axis)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>'
                     f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{_short(tick)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:g}" y="{bottom + 33}" '
                 f'text-anchor="middle">{escape(unit)}</text>')
    for number, (label, values) in enumerate(rows.items()):
        y = TOP + ROW * (number + 0.5)
        parts.append(f'<text class="name" x="{LEFT - 8}" y="{y + 4:g}" text-anchor="end">'
                     f'{escape(label)}</text>')
        if values:
            parts.append(f'<g class="{escape(classes[label])}">{_row(values, y, axis)}</g>')
        else:
            parts.append(f'<text x="{LEFT + 6}" y="{y + 4:g}">no scores</text>')
    return "".join([*parts, "</svg>"])


def _row(values: Mapping[str, float], y: float, axis: list[float]) -> str:
    """Return box, whiskers and points of one row at the height y."""
    names, numbers = list(values), list(values.values())
    shown = box(numbers)
    low, first, median, third, high = (_place(value, axis) for value in (
        shown.low, shown.first, shown.median, shown.third, shown.high))
    parts = [f"<title>{escape(_said(numbers))}</title>"
             f'<path class="whisker" d="M{low} {y}H{first}M{third} {y}H{high}'
             f'M{low} {y - 5}v10M{high} {y - 5}v10"/>'
             f'<rect x="{first}" y="{y - 9}" width="{max(third - first, 0.5):.1f}" height="18"/>'
             f'<path class="median" d="M{median} {y - 9}v18"/>']
    for number, (name, value) in enumerate(zip(names, numbers)):
        outlier = number in shown.outliers
        if outlier or len(numbers) <= FEW:
            kind, radius = ("outlier", 3) if outlier else ("point", 2)
            parts.append(f'<circle class="{kind}" cx="{_place(value, axis)}" cy="{y}" '
                         f'r="{radius}"><title>{escape(name)}: {value:.2f} dB</title></circle>')
    return "".join(parts)


def _said(values: Sequence[float]) -> str:
    """Return a box in words."""
    if not values:
        return "no scores"
    shown = box(values)
    return (f"median {shown.median:.2f}, quartiles {shown.first:.2f} to {shown.third:.2f}, "
            f"whiskers {shown.low:.2f} to {shown.high:.2f}, {len(values)} tracks")


def _place(value: float, axis: list[float]) -> float:
    """Return the x of a value."""
    share = (value - axis[0]) / (axis[-1] - axis[0])
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _short(tick: float) -> str:
    """Return a tick's number, with a minus sign."""
    return f"{tick:g}".replace("-", "−")
