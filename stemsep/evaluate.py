"""Score a model on whole songs, beside baselines.

    python -m stemsep.evaluate --checkpoint runs/drums --source slakh:/data/slakh --output report

Songs are read from their audio files and separated by the code of `stemsep.separate`, at their own
rate, block by block, several at a time. Writes OUTPUT/scores.json, OUTPUT/scores.csv and the page
OUTPUT/report.html, and prints a table.
"""

import csv
import io
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from stemsep import baselines as known
from stemsep import command, datasets, log, parallel, report
from stemsep.baselines import BASELINES, MIXTURE
from stemsep.datasets.tracks import SPLITS, Track
from stemsep.errors import InputError
from stemsep.files import write_bytes, write_json
from stemsep.options import define_quality, quality
from stemsep.scoring import score_tracks
from stemsep.separator import Separator


def evaluate(separator: Separator, tracks: Iterable[Track], *,
             baselines: Sequence[str] = (MIXTURE,), bss_eval: bool = False, workers: int = 0,
             listener: report.Listener | None = None,
             progress: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """Score a separator and the baselines on tracks; returns what scores.json holds.

    "tracks": the scores of each, by method, target and measure, in dB; None where the target is
    silent in that track. "summary": mean, median and count of those that are not None. "errors":
    split/name -> the sentence that says why a track has no scores; the others go on. bss_eval: adds
    the measures of BSS Eval v4, medians of a track's frames, whose median in the summary is the
    number of SiSEC; whole songs are then in memory. workers: tracks at a time, 0 for one a core;
    the scores are the same with any. listener: gets what can be heard. progress: is called after
    each track. Raises InputError for an unknown baseline.
    """
    known.check(baselines)
    if workers < 0:
        raise InputError(f"workers is {workers}; give how many tracks to score at a time, or 0 for "
                         "one a core")
    started, tracks = time.monotonic(), list(tracks)
    found = score_tracks(separator, tracks, names=baselines, bss_eval=bss_eval, workers=workers,
                         listener=listener, progress=progress)
    scored = [scores for scores in found if not isinstance(scores, InputError)]
    return {
        "model": separator.config.name, "targets": list(separator.stems),
        "seconds": sum(track["seconds"] for track in scored),
        "wall_s": round(time.monotonic() - started, 3),
        "summary": summarise(scored), "tracks": scored,
        "errors": {f"{track.split}/{track.name}": str(problem)
                   for track, problem in zip(tracks, found) if isinstance(problem, InputError)},
    }


def summarise(scored: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return {method: {target: {measure: {"mean", "median", "count"}}}} of tracks with a score."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for track in scored:
        for method, targets in track["scores"].items():
            for target, measures in targets.items():
                for measure, value in measures.items():
                    kept = values.setdefault(method, {}).setdefault(target, {})
                    kept.setdefault(measure, []).extend([] if value is None else [value])
    return {method: {target: {measure: {
        "mean": float(np.mean(v)) if v else None, "median": float(np.median(v)) if v else None,
        "count": len(v)} for measure, v in measures.items()}
        for target, measures in targets.items()} for method, targets in values.items()}


def evaluate_source(separator: Separator, source: str, split: str, *, output: str | Path,
                    checkpoint: str, baselines: Sequence[str] = (MIXTURE,), recipe: str = "",
                    bss_eval: bool = False, workers: int = 0, page: bool = True,
                    page_tracks: int = 12, page_song_s: float = 20.0,
                    show: Callable[[str], Any] = lambda table: None) -> dict[str, Any]:
    """Score a separator on a split of a source, with a progress bar; returns and writes the scores.

    They go to OUTPUT/scores.json with what was scored: `checkpoint` names the run; and those of
    tracks to OUTPUT/scores.csv. show: is called with their table before they are written, so that a
    full disk loses none. page: whether they go to OUTPUT/report.html too, with spectrograms and
    sound of at most `page_tracks` tracks, `page_song_s` seconds of each. The rest is as in
    `evaluate`. Raises InputError where there is no track.
    """
    Path(output).mkdir(parents=True, exist_ok=True)     # what is forbidden is told now
    tracks, faults = find_tracks(source, split, separator, recipe=recipe)
    listener = report.Listener([f"{track.split}/{track.name}" for track in tracks],
                               seconds=page_song_s, tracks=page_tracks if page else 0)
    with log.progress(len(tracks), "evaluate", unit="track") as bar:
        results = evaluate(separator, tracks, baselines=baselines, bss_eval=bss_eval,
                           workers=workers, listener=listener, progress=bar.update)
    results = {"checkpoint": checkpoint, "source": source, "split": split, **results,
               "errors": {**faults, **results["errors"]}}
    show(report.table(results))
    write_json(Path(output) / "scores.json", results)
    write_bytes(Path(output) / "scores.csv", as_csv(results["tracks"]).encode())
    if page:
        report.write_page(Path(output) / "report.html", results, listener.heard)
    return results


def as_csv(scored: Sequence[dict[str, Any]]) -> str:
    """Return the scores of tracks as CSV: a line of names, then one for each track, method and
    target; no number where there is no score.
    """
    rows = [{**{key: track[key] for key in ("name", "split", "seconds")}, "method": method,
             "target": target, **measures} for track in scored
            for method, targets in track["scores"].items() for target, measures in targets.items()]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["name"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def find_tracks(source: str, split: str, separator: Separator, *,
                recipe: str = "") -> tuple[list[Track], dict[str, str]]:
    """Return the tracks of a split ("all": of every split), and why others cannot be used.

    Raises InputError where there is none.
    """
    config, faults = separator.config, dict[str, InputError]()
    found = datasets.tracks(source, stems=config.stems, recipe=recipe or config.data.recipe,
                            faults=faults)
    tracks = [track for track in found if split in ("all", track.split)]
    faults = {name: fault for name, fault in faults.items()
              if split == "all" or name.startswith(f"{split}/")}
    if not tracks and not faults:
        have = [f"{name} ({n})" for name in SPLITS if (n := sum(t.split == name for t in found))]
        raise InputError(f"{source}: no tracks in split {split!r}; " + (
            f"give --split: there are {', '.join(have)}" if have else "there are none at all"))
    return tracks, {name: str(fault) for name, fault in faults.items()}


def main() -> None:
    """Run the command."""
    checkpoints = flags.DEFINE_list(
        "checkpoint", None, "a training run, as in runs/drums, or an exported model.safetensors; "
        "of several, a,b, the estimates are averaged", required=True)
    source = flags.DEFINE_string(
        "source", None, "layout:path of the songs, as in slakh:/data/slakh", required=True)
    split = flags.DEFINE_enum("split", "test", [*SPLITS, "all"], "which tracks to score")
    output = flags.DEFINE_string("output", "report", "folder for scores.json, scores.csv and "
                                 "report.html")
    baselines = flags.DEFINE_list(
        "baselines", [MIXTURE], f"scored beside the model; choices: {', '.join(BASELINES)}")
    recipe = flags.DEFINE_string(
        "recipe", "", "YAML that groups stem files; default: the model's")
    define_quality()
    bss_eval = flags.DEFINE_bool(
        "bss_eval", False, "BSS Eval v4 too, museval's numbers: for a song of 5 minutes with 4 "
        "stereo stems some 8 s of a core a method, and 1 GB, as whole songs are in memory")
    workers = flags.DEFINE_integer(
        "workers", 0, "tracks scored at a time; 0: one a core", lower_bound=0)
    page = flags.DEFINE_bool("report", True, "write OUTPUT/report.html, a page to look at and hear")
    page_tracks = flags.DEFINE_integer(
        "report_tracks", 12, "at most so many tracks, evenly spread, have spectrograms and sound "
        "on that page, 2.6 MB each of two targets in stereo: 31 MB in all", lower_bound=0)
    page_song_s = flags.DEFINE_float(
        "report_song_s", 20.0, "seconds of each there, where all targets sound most; 0: none",
        lower_bound=0.0)

    def run(arguments: list[str]) -> int:
        command.no_arguments(arguments)
        known.check(baselines.value)
        datasets.parse(source.value)
        parallel.prepare()
        parallel.one_process("python -m stemsep.evaluate")
        separator = Separator.load(*checkpoints.value, quality=quality())
        results = evaluate_source(separator, source.value, split.value, output=output.value,
                                  checkpoint=",".join(checkpoints.value), baselines=baselines.value,
                                  recipe=recipe.value, bss_eval=bss_eval.value,
                                  workers=workers.value, page=page.value,
                                  page_tracks=page_tracks.value, page_song_s=page_song_s.value,
                                  show=print)
        names = ["scores.json", "scores.csv", *(["report.html"] if page.value else [])]
        print(f"written to {', '.join(str(Path(output.value) / name) for name in names)}")
        return 1 if results["errors"] else 0

    command.run(run)


if __name__ == "__main__":
    main()
