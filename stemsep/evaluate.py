"""Score a model on whole songs, beside baselines.

    python -m stemsep.evaluate --checkpoint runs/drums --source slakh:/data/slakh --output report

Songs are read from their audio files and separated by the code of `stemsep.separate`, at their own
rate, block by block. Writes OUTPUT/scores.json and OUTPUT/report.html, and prints a table.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from stemsep import audio, command, datasets, log, parallel, report
from stemsep.audio import Clip
from stemsep.datasets.tracks import SPLITS, Track
from stemsep.errors import InputError
from stemsep.files import write_json
from stemsep.metrics import Scores
from stemsep.section import unknown
from stemsep.separate import Separator
from stemsep.stream import Tape

MODEL = "model"
MIXTURE = "mixture"         # the mixture itself as the estimate of every target
HPSS = "hpss"               # percussive and harmonic sound (Fitzgerald 2010), split by librosa
BASELINES = (MIXTURE, HPSS)
BLOCK = 1 << 17             # samples scored at once

Waves = dict[str, np.ndarray]       # target -> float32 [C, N]


def evaluate(separator: Separator, tracks: Iterable[Track], *,
             baselines: Sequence[str] = (MIXTURE,),
             listener: report.Listener | None = None,
             progress: Callable[[], Any] = lambda: None) -> dict[str, Any]:
    """Score a separator and the baselines on tracks; returns what scores.json holds.

    "tracks": the scores of each, by method, target and measure, in dB; None where the target is
    silent in that track. "summary": mean, median and count of those that are not None. "errors":
    split/name -> the sentence that says why a track has no scores; the others go on. listener: gets
    what can be heard. progress: is called after each track. Raises InputError for an unknown
    baseline.
    """
    check_baselines(baselines)
    started = time.monotonic()
    scored, errors = [], {}
    for track in tracks:
        try:
            scored.append(score_track(separator, track, baselines, listener))
        except InputError as problem:
            errors[f"{track.split}/{track.name}"] = str(problem)
        progress()
    return {
        "model": separator.config.name, "targets": list(separator.stems),
        "seconds": sum(track["seconds"] for track in scored),
        "wall_s": round(time.monotonic() - started, 3),
        "summary": summarise(scored), "tracks": scored, "errors": errors,
    }


def check_baselines(names: Iterable[str]) -> None:
    """Raise InputError for a name that is no baseline."""
    for name in names:
        if name not in BASELINES:
            raise InputError(unknown("there is no baseline", name, BASELINES))


def score_track(separator: Separator, track: Track, baselines: Sequence[str],
                listener: report.Listener | None = None) -> dict[str, Any]:
    """Separate one song and score each method; raises InputError for a file that is no good."""
    targets = separator.config.targets
    song = Song(track)
    fixed = {HPSS: hpss(song.whole(), list(targets))} if HPSS in baselines else {}
    stems_of = separator.stream(song.mixture(), song.rate, song.channels, name=song.name)
    model = Tape((stems_SCN.reshape(-1, stems_SCN.shape[-1]) for stems_SCN in stems_of),
                 len(targets) * song.channels)
    references = [song.blocks([path for stem in stems for path in track.stems.get(stem, ())])
                  for stems in targets.values()]
    excerpt = listener.begin(f"{track.split}/{track.name}", song.rate) if listener else None
    scores: dict[str, dict[str, Scores]] = {}
    first = 0
    for mix_CN, *references_CN in zip(song.mixture(), *references):
        samples = mix_CN.shape[1]
        estimates = {MODEL: dict(zip(targets, model.take(samples).reshape(-1, *mix_CN.shape)))}
        if excerpt:
            excerpt.add(mix_CN, dict(zip(targets, references_CN)), estimates[MODEL])
        if MIXTURE in baselines:
            estimates[MIXTURE] = dict.fromkeys(targets, mix_CN)
        for name, waves in fixed.items():
            estimates[name] = {target: wave_CN[:, first:first + samples]
                               for target, wave_CN in waves.items()}
        for target, reference_CN in zip(targets, references_CN):
            for name, waves in estimates.items():
                if target in waves:
                    own = scores.setdefault(name, {})
                    own.setdefault(target, Scores()).add(reference_CN, waves[target])
        first += samples
    if excerpt:
        excerpt.keep()
    return {
        "name": track.name, "split": track.split, "sample_rate": song.rate,
        "seconds": song.samples / song.rate,
        "scores": {method: {target: {"sdr": sums.sdr(), "si_sdr": sums.si_sdr()}
                            for target, sums in own.items()} for method, own in scores.items()},
    }


class Song:
    """The audio of a track, at the rate and with the channels of its mixture.

    As long as the longest file; silence follows the end of the others. Without a file of the
    mixture, the stems add up to it.
    """

    def __init__(self, track: Track) -> None:
        stems = [clip for clips in track.stems.values() for clip in clips]
        self._mixture = [track.mixture] if track.mixture else stems
        if not self._mixture:
            raise InputError(f"{track.name}: has no audio files; add those of its stems")
        self._infos = {clip: audio.probe(clip) for clip in [*self._mixture, *stems]}
        self.name = str(self._mixture[0])
        self.rate = self._infos[self._mixture[0]].sample_rate
        self.channels = max(self._infos[clip].channels for clip in self._mixture)
        self.samples = max(audio.resampled(info.samples, info.sample_rate, self.rate)
                           for info in self._infos.values())

    def mixture(self) -> Iterator[np.ndarray]:
        """Yield the mixture as `blocks` does."""
        return self.blocks(self._mixture)

    def whole(self) -> np.ndarray:
        """Return the mixture, [C, N]."""
        return np.concatenate(list(self.mixture()), 1)

    def blocks(self, clips: Sequence[Clip]) -> Iterator[np.ndarray]:
        """Yield the sum of the files, or silence for none: [C, BLOCK], the last shorter."""
        tapes = [Tape(self._read(clip), self.channels) for clip in clips]
        for first in range(0, self.samples, BLOCK):
            total_CN = np.zeros((self.channels, min(BLOCK, self.samples - first)), np.float32)
            for tape in tapes:
                total_CN += tape.take(total_CN.shape[1])
            yield total_CN

    def _read(self, clip: Clip) -> Iterator[np.ndarray]:
        waves = audio.resample(audio.blocks(clip, BLOCK), self._infos[clip].sample_rate, self.rate)
        for block_CN in waves:
            yield audio.remap(block_CN, self.channels, clip)


def hpss(wave_CN: np.ndarray, targets: Sequence[str]) -> Waves:
    """Split a song by librosa's median filters, at its defaults: percussive sound is "drums".

    Harmonic sound is the other of two targets. Targets of another name have no such estimate.
    """
    if "drums" not in targets:
        return {}
    # Here, because librosa is slow to import.
    import librosa
    from librosa.decompose import hpss as median_filters

    spec_CFT = librosa.stft(wave_CN)
    parts = dict(zip(("harmonic", "drums"), median_filters(spec_CFT)))
    others = [target for target in targets if target != "drums"]
    if len(others) == 1:
        parts[others[0]] = parts["harmonic"]
    return {target: librosa.istft(parts[target], length=wave_CN.shape[1])
            for target in targets if target in parts}


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
                    page: bool = True, page_tracks: int = 12, page_song_s: float = 20.0,
                    show: Callable[[str], Any] = lambda table: None) -> dict[str, Any]:
    """Score a separator on a split of a source, with a progress bar; returns and writes the scores.

    They go to OUTPUT/scores.json with what was scored: `checkpoint` names the run. show: is called
    with their table before they are written, so that a full disk loses none. page: whether they go
    to OUTPUT/report.html too, with spectrograms and sound of at most `page_tracks` tracks,
    `page_song_s` seconds of each. Raises InputError where there is no track.
    """
    Path(output).mkdir(parents=True, exist_ok=True)     # what is forbidden is told now
    tracks, faults = find_tracks(source, split, separator, recipe=recipe)
    listener = report.Listener([f"{track.split}/{track.name}" for track in tracks],
                               seconds=page_song_s, tracks=page_tracks if page else 0)
    with log.progress(len(tracks), "evaluate", unit="track") as bar:
        results = evaluate(separator, tracks, baselines=baselines, listener=listener,
                           progress=bar.update)
    results = {"checkpoint": checkpoint, "source": source, "split": split, **results,
               "errors": {**faults, **results["errors"]}}
    show(report.table(results))
    write_json(Path(output) / "scores.json", results)
    if page:
        report.write_page(Path(output) / "report.html", results, listener.heard)
    return results


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
    checkpoint = flags.DEFINE_string(
        "checkpoint", None, "a training run, as in runs/drums, or an exported model.safetensors",
        required=True)
    source = flags.DEFINE_string(
        "source", None, "layout:path of the songs, as in slakh:/data/slakh", required=True)
    split = flags.DEFINE_enum("split", "test", [*SPLITS, "all"], "which tracks to score")
    output = flags.DEFINE_string("output", "report", "folder for scores.json and report.html")
    baselines = flags.DEFINE_list(
        "baselines", [MIXTURE], f"scored beside the model; choices: {', '.join(BASELINES)}")
    recipe = flags.DEFINE_string(
        "recipe", "", "YAML that groups stem files; default: the model's")
    overlap = flags.DEFINE_float(
        "overlap", None, "share of a window that the next one covers again; default: the model's")
    batch = flags.DEFINE_integer("batch", None, "windows at once; default: the model's")
    page = flags.DEFINE_bool("report", True, "write OUTPUT/report.html, a page to look at and hear")
    page_tracks = flags.DEFINE_integer(
        "report_tracks", 12, "at most so many tracks, evenly spread, have spectrograms and sound "
        "on that page, 2.6 MB each of two targets in stereo: 31 MB in all", lower_bound=0)
    page_song_s = flags.DEFINE_float(
        "report_song_s", 20.0, "seconds of each there, where all targets sound most; 0: none",
        lower_bound=0.0)

    def run(arguments: list[str]) -> int:
        command.no_arguments(arguments)
        check_baselines(baselines.value)
        datasets.parse(source.value)
        parallel.prepare()
        parallel.one_process("python -m stemsep.evaluate")
        separator = Separator.load(checkpoint.value, overlap=overlap.value, batch=batch.value)
        results = evaluate_source(separator, source.value, split.value, output=output.value,
                                  checkpoint=checkpoint.value, baselines=baselines.value,
                                  recipe=recipe.value, page=page.value,
                                  page_tracks=page_tracks.value, page_song_s=page_song_s.value,
                                  show=print)
        names = ["scores.json", *(["report.html"] if page.value else [])]
        print(f"written to {' and '.join(str(Path(output.value) / name) for name in names)}")
        return 1 if results["errors"] else 0

    command.run(run)


if __name__ == "__main__":
    main()
