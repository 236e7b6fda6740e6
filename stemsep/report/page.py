"""report.html: scores, box plots, spectrograms and sound on one page that needs nothing else."""

from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from stemsep.files import write_bytes
from stemsep.report import charts, image, names, tables
from stemsep.report.listen import KINDS, MIXTURE, Heard, Lane

COLOURS = 6             # of methods, in page.css: --c0 to --c5
TICKS_KHZ = (0.1, 0.3, 1, 3, 10)
BOXES = ("Each box spans the quartiles over tracks, its line is the median; whiskers reach to the "
         "farthest tracks within 1.5 times the interquartile range, and rings are tracks beyond. "
         "Point at one for its name.")
LEGEND = (f'<p class="legend"><span>−{image.RANGE_DB}</span><i></i><span>0&nbsp;dB, below the '
          "loudest point of the mixture</span></p>")
MEANS = {"mixture": "what the model hears", "estimate": "what the model says",
         "reference": "the truth", "error": "estimate − reference"}


def write_page(path: str | Path, results: Mapping[str, Any], heard: Mapping[str, Heard]) -> None:
    """Write the page of what `evaluate` returned, whole or not at all.

    heard: the excerpts of a `Listener`, by "split/name"; a page without any has the scores alone.
    """
    write_bytes(Path(path), page(results, heard).encode())


def page(results: Mapping[str, Any], heard: Mapping[str, Heard]) -> str:
    """Return the page as HTML: one text with style, script, pictures and sound inside."""
    here = resources.files(__package__)
    style, script, html = ((here / name).read_text("utf-8")
                           for name in ("page.css", "page.js", "page.html"))
    anchors = {name: f"track-{number}" for number, name in enumerate(heard)}
    return Template(html).substitute(
        title=escape(f"Separation report: {results['model']}"), model=escape(results["model"]),
        style=style.replace("/* colours */", f"--scale: {', '.join(image.MAGMA)};"),
        script=script, facts=_facts(results), summary=_scores(results), notes=_notes(results),
        plots=_plots(results), errors=_errors(results["errors"]),
        tracks=_tracks(results, anchors), listen=_listen(results, heard, anchors))


def _facts(results: Mapping[str, Any]) -> str:
    seconds, wall_s = results["seconds"], results["wall_s"]
    facts = {
        "checkpoint": results.get("checkpoint"), "source": results.get("source"),
        "split": results.get("split"), "tracks": len(results["tracks"]),
        "audio": clock(seconds),
        "scored in": f"{clock(wall_s)} ({seconds / max(wall_s, 1e-3):.1f} × real time)"}
    return "".join(f"<div><dt>{name}</dt><dd>{escape(str(fact))}</dd></div>"
                   for name, fact in facts.items() if fact is not None)


def _scores(results: Mapping[str, Any]) -> str:
    if not results["tracks"]:
        return "<p>No track was scored.</p>"
    return tables.summary(results)


def _notes(results: Mapping[str, Any]) -> str:
    """Return what the measures and methods on the page are."""
    notes = [(names.measure(key), names.MEASURES[key][1]) for key in tables.measures(results)
             if key in names.MEASURES]
    notes += [(names.method(key), names.METHODS[key][1]) for key in results["summary"]
              if key in names.METHODS]
    notes.append(("–", "the reference is silent in that track, and there is nothing to score"))
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>"
                   for name, text in notes)


def _plots(results: Mapping[str, Any]) -> str:
    """Return a figure for each target: the first measure (SDR) over tracks, a box a method."""
    if not results["tracks"]:
        return ""
    measure = tables.measures(results)[0]
    values = {target: _values(results, target, measure) for target in results["targets"]}
    shown = [value for rows in values.values() for row in rows.values() for value in row.values()]
    axis = charts.ticks(min(shown, default=0.0), max(shown, default=1.0))
    classes = {names.method(method): f"c{number % COLOURS}"
               for number, method in enumerate(results["summary"])}
    figures = "".join(
        f"<figure><figcaption>{escape(target)}</figcaption>" + charts.box_plot(
            rows, title=f"{names.measure(measure)} of {target} over tracks",
            unit=f"{names.measure(measure)} in dB", axis=axis, classes=classes) + "</figure>"
        for target, rows in values.items())
    return f'<div class="plots">{figures}</div><p class="how">{BOXES}</p>'


def _values(results: Mapping[str, Any], target: str, measure: str) -> dict[str, dict[str, float]]:
    """Return method -> track -> score of a target, without the silent tracks."""
    return {names.method(method): {
        f"{track['split']}/{track['name']}": value for track in results["tracks"]
        if (value := track["scores"].get(method, {}).get(target, {}).get(measure)) is not None}
        for method, targets in results["summary"].items() if target in targets}


def _errors(errors: Mapping[str, str]) -> str:
    if not errors:
        return ""
    rows = "".join(f"<li><b>{escape(name)}</b> {escape(why)}</li>" for name, why in errors.items())
    return f'<section class="errors"><h2>Not scored</h2><ul>{rows}</ul></section>'


def _tracks(results: Mapping[str, Any], anchors: Mapping[str, str]) -> str:
    if not results["tracks"]:
        return ""
    return f"<section id=\"tracks\"><h2>Tracks</h2>{tables.tracks(results, anchors)}</section>"


def _listen(results: Mapping[str, Any], heard: Mapping[str, Heard],
            anchors: Mapping[str, str]) -> str:
    """Return the part with spectrograms and players."""
    found = [(track, heard[name]) for track in results["tracks"]
             if (name := f"{track['split']}/{track['name']}") in heard]
    if not found:
        return ""
    sections = "".join(_track(track, excerpt, anchors[f"{track['split']}/{track['name']}"])
                       for track, excerpt in found)
    of = f"{len(found)} of {len(results['tracks'])} tracks, evenly spread" if len(found) < len(
        results["tracks"]) else "All tracks"
    means = ", ".join(f"<b>{kind}</b> is {means}" for kind, means in MEANS.items())
    return (
        f'<section id="listen"><h2>Spectrograms and sound</h2><p>{of}; of each the stretch in '
        f"which all targets sound most. Of the sounds {means}.</p>"
        '<p class="how"><b>S</b> plays a sound alone, or together with others that are soloed; '
        "<b>M</b> mutes one. All sounds of a track run in time. Click into a picture to go there."
        f"</p>{sections}</section>")


def _track(track: Mapping[str, Any], heard: Heard, anchor: str) -> str:
    """Return the player of a track: controls, then a lane for each sound."""
    name = escape(track["name"])
    first, last = _times(heard, 0, 1)
    groups: dict[str, list[str]] = {}
    for lane in heard.lanes:
        groups.setdefault(lane.target, []).append(_lane(track["name"], lane, heard))
    groups[""].append(f'<div class="beside">{tables.of_track(track)}{LEGEND}</div>')
    rows = "".join(f'<div class="row">{"".join(lanes)}</div>' for lanes in groups.values())
    return (
        f'<section class="track" id="{anchor}" data-seconds="{heard.seconds:.6f}" '
        f'aria-labelledby="{anchor}-name"><h3 id="{anchor}-name">{name} '
        f'<small>{escape(track["split"])}, {first} to {last} of {clock(track["seconds"])}</small>'
        f'</h3><div class="controls"><button class="play" type="button" '
        f'aria-label="Play {name}"></button><input class="seek" type="range" min="0" '
        f'max="{heard.seconds:.6f}" step="any" value="0" aria-label="Position in {name}">'
        f'<output class="time">0:00 / {clock(heard.seconds)}</output></div>'
        f'<p class="status" role="status"></p><div class="lanes">{rows}</div></section>')


def _lane(track: str, lane: Lane, heard: Heard) -> str:
    """Return a lane: its name, solo and mute, its spectrogram with axes, its sound."""
    kind = lane.kind if lane.kind in (MIXTURE, *KINDS) else ""
    label = escape(f"{lane.target} {kind}".strip())
    mark = 'class="mark"'
    axis = "".join(
        f'<span {mark} style="top:{100 * image.place(1000 * khz, heard.rate):.1f}%">{khz:g}</span>'
        for khz in TICKS_KHZ if 1000 * khz < 0.4 * heard.rate)
    times = "".join(f"<span>{time}</span>" for time in _times(heard, 0, 0.5, 1))
    muted = str(lane.kind != MIXTURE).lower()
    name = escape(lane.target) or MIXTURE
    return (
        f'<figure class="lane" data-target="{escape(lane.target)}" data-kind="{kind}">'
        f'<figcaption><span><b>{name}</b>{f" {kind}" if lane.target else ""}</span>'
        f'<span class="buttons"><button class="solo" type="button" aria-pressed="false" '
        f'aria-label="Solo {label}" title="Solo">S</button><button class="mute" type="button" '
        f'aria-pressed="{muted}" aria-label="Mute {label}" title="Mute">M</button></span>'
        f'</figcaption><div class="plot"><div class="axis" aria-hidden="true">{axis}'
        f'</div><div class="screen"><img src="{lane.picture}" decoding="async" alt="Spectrogram of '
        f'{label} in {escape(track)}"><i class="playhead"></i></div>'
        f'<i class="unit" aria-hidden="true">kHz</i><div class="times" aria-hidden="true">{times}'
        "</div></div>"
        f'<audio controls preload="none" src="{lane.sound}"></audio></figure>')


def _times(heard: Heard, *shares: float) -> list[str]:
    """Return times of the track at shares of the excerpt, in tenths of seconds of a short one."""
    return [clock(heard.first_s + share * heard.seconds, tenths=heard.seconds < 10)
            for share in shares]


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Return a time as 1:02:03 or 2:03, with tenths of a second 2:03.4."""
    whole, tenth = divmod(round(10 * seconds), 10) if tenths else (round(seconds), 0)
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return f"{text}.{tenth}" if tenths else text
