"""Tables of scores as HTML. Every text that comes from outside is escaped here."""

from collections.abc import Mapping
from html import escape
from typing import Any

from stemsep.report import names


def number(value: float | None) -> str:
    """Return a score with two decimals and a minus sign, or a dash where there is none."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def measures(results: Mapping[str, Any]) -> list[str]:
    """Return the measures of the results, each once, in their order."""
    return list(dict.fromkeys(measure for targets in results["summary"].values()
                              for scores in targets.values() for measure in scores))


def summary(results: Mapping[str, Any]) -> str:
    """Return the table of means, medians and counts by target and method.

    The count stands at the end of a row where all measures have the same, else beside each.
    """
    shown = measures(results)
    scores = [own for targets in results["summary"].values() for own in targets.values()]
    alike = all(len({score["count"] for score in own.values()}) == 1 for own in scores)
    rows = []
    for target in results["targets"]:
        methods = [m for m, targets in results["summary"].items() if target in targets]
        for place, method in enumerate(methods):
            head = (f'<th scope="rowgroup" rowspan="{len(methods)}">{escape(target)}</th>'
                    if place == 0 else "")
            cells = _summary_cells(results["summary"][method][target], shown, alike)
            rows.append(f'<tr{_first(place)}>{head}<th scope="row">'
                        f'{escape(names.method(method))}</th>{cells}</tr>')
    groups = "".join(f'<th scope="colgroup" colspan="{2 if alike else 3}">'
                     f"{escape(names.measure(measure))} <small>dB</small></th>"
                     for measure in shown)
    corner = '<td class="first"></td>' if alike else ""
    pair = '<th scope="col" class="first">mean</th><th scope="col">median</th>'
    columns = (pair * len(shown) + '<th scope="col" class="first">tracks</th>' if alike
               else (pair + '<th scope="col">tracks</th>') * len(shown))
    return (f'{_scroll("Scores by target and method")}<table class="summary"><thead><tr>'
            f'<th scope="col" rowspan="2">target</th><th scope="col" rowspan="2">method</th>'
            f"{groups}{corner}</tr><tr>{columns}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>")


def _summary_cells(own: Mapping[str, Mapping[str, Any]], shown: list[str], alike: bool) -> str:
    """Return the cells of a row from its measures' mean, median and count."""
    cells = []
    for measure in shown:
        score = own.get(measure, {"mean": None, "median": None, "count": 0})
        cells.append(f'<td class="first">{number(score["mean"])}</td>'
                     f'<td>{number(score["median"])}</td>')
        if not alike or measure == shown[-1]:
            count = next(iter(own.values()))["count"] if alike else score["count"]
            cells.append(f'<td class="count{" first" if alike else ""}">{count}</td>')
    return "".join(cells)


def _first(place: int) -> str:
    return ' class="first"' if place == 0 else ""


def _scroll(label: str) -> str:
    """Return the beginning of a box that scrolls by itself, with the keyboard too."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">'


def tracks(results: Mapping[str, Any], anchors: Mapping[str, str]) -> str:
    """Return a table for each measure: a row a track, a column for each target and method.

    anchors: "split/name" -> id of the place on the page where the track can be heard.
    """
    return "".join(_of_measure(results, measure, anchors) for measure in measures(results))


def _of_measure(results: Mapping[str, Any], measure: str, anchors: Mapping[str, str]) -> str:
    columns = [(target, method) for target in results["targets"]
               for method, targets in results["summary"].items()
               if measure in targets.get(target, {})]
    groups = "".join(
        f'<th scope="colgroup" class="first" colspan="{sum(t == target for t, _ in columns)}">'
        f"{escape(target)}</th>"
        for target in dict.fromkeys(target for target, _ in columns))
    heads = "".join(
        f'<th scope="col" class="sorts{_after(columns, k)}">{escape(names.method(method))}</th>'
        for k, (_, method) in enumerate(columns))
    rows = []
    for track in results["tracks"]:
        cells = []
        for k, (target, method) in enumerate(columns):
            value = track["scores"].get(method, {}).get(target, {}).get(measure)
            kept = "" if value is None else f' data-value="{value:.6f}"'
            cells.append(f'<td class="{_after(columns, k).strip()}"{kept}>{number(value)}</td>')
        rows.append(f'<tr>{_track_head(track, anchors)}{"".join(cells)}</tr>')
    name = escape(names.measure(measure))
    return (f'<div class="measure" data-measure="{escape(measure)}" data-name="{name}">'
            f'<h3>{name} <small>dB</small></h3>{_scroll(f"{names.measure(measure)} by track")}'
            f'<table class="tracks"><thead><tr><td></td>{groups}</tr><tr>'
            f'<th scope="col" class="sorts">track</th>{heads}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div></div>")


def _after(columns: list[tuple[str, str]], k: int) -> str:
    """Return the class of a column that begins a target's group."""
    return " first" if k == 0 or columns[k - 1][0] != columns[k][0] else ""


def _track_head(track: Mapping[str, Any], anchors: Mapping[str, str]) -> str:
    name, anchor = escape(track["name"]), anchors.get(f"{track['split']}/{track['name']}")
    text = f'<a href="#{anchor}">{name}</a>' if anchor else name
    return f'<th scope="row" data-value="{name}">{text}</th>'


def of_track(track: Mapping[str, Any]) -> str:
    """Return the model's scores of one track: a row a target, a column a measure."""
    scores = track["scores"].get("model", {})
    shown = list(dict.fromkeys(measure for own in scores.values() for measure in own))
    heads = "".join(f'<th scope="col">{escape(names.measure(measure))}</th>' for measure in shown)
    rows = "".join(
        f'<tr><th scope="row">{escape(target)}</th>'
        + "".join(f"<td>{number(own.get(measure))}</td>" for measure in shown) + "</tr>"
        for target, own in scores.items())
    label = f"Scores of {track['name']}"
    return (f'{_scroll(label)}<table><thead><tr><th scope="col">model, dB</th>{heads}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>")
