"""Turn songs on disk into a store: read, group, resample, transform; only what is missing or new.

    python -m stemsep.preprocess --config configs/drums.py
"""

import functools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from absl.flags import FlagHolder
from tqdm import tqdm

from stemsep import audio, command, datasets, engine, log
from stemsep.config import Config
from stemsep.datasets.tracks import SPLITS, Track
from stemsep.errors import InputError
from stemsep.store import Sources, Store, StoreSpec


@dataclass
class Summary:
    """What a run did to the tracks, each named split/name; failed: name -> the reason in words."""

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    audio_h: float = 0.0        # of the stem files that were read


def preprocess(config: Config, *, progress: bool = True) -> Summary:
    """Bring the store of `config` up to date with its source; returns what was done.

    Missing demo songs are made first. A track that fails is recorded in the summary and the rest
    goes on; what a user should know of is printed. Raises InputError when the source or the store
    cannot be used at all.
    """
    _make_demo(config, progress)
    faults: dict[str, InputError] = {}
    tracks = datasets.tracks(config.data.source, stems=config.stems, recipe=config.data.recipe,
                             faults=faults)
    summary = Summary(failed={name: str(error) for name, error in faults.items()})
    store = Store.create(config.store, store_spec(config))
    with store.writing():
        waiting = _plan(store, tracks, datasets.parse(config.data.source)[1], summary)
        if waiting:
            _write(store, waiting, config.data.workers, summary, progress)
    for name, reason in summary.failed.items():
        tqdm.write(f"failed: {name}: {reason}", file=sys.stderr)
    _warn_of_silence(config, store)
    return summary


def store_spec(config: Config) -> StoreSpec:
    """Return what the store of a configuration holds."""
    a = config.audio
    return StoreSpec(a.sample_rate, a.channels, a.n_fft, a.hop, config.stems)


def main(holder: FlagHolder, arguments: list[str]) -> int:
    """Run the command; returns 1 when tracks failed."""
    command.no_arguments(arguments)
    config, begin_s = command.checked_config(holder), time.monotonic()
    summary = preprocess(config)
    print(f"{config.store}: {len(summary.written)} tracks written ({summary.audio_h:.2f} hours of "
          f"stems in {time.monotonic() - begin_s:.0f} s), {len(summary.kept)} kept, "
          f"{len(summary.removed)} removed, {len(summary.failed)} failed")
    return 1 if summary.failed else 0


def _make_demo(config: Config, progress: bool) -> None:
    """Compose and render the songs that a demo source lacks."""
    layout, root = datasets.parse(config.data.source)
    if layout != "demo":
        return
    from stemsep.datasets import demo  # here, because it brings the synthesizer along

    d = config.data.demo
    made = demo.make(root, tracks=d.tracks, seconds=d.seconds, seed=d.seed, channels=d.channels,
                     soundfonts=d.soundfonts, workers=config.data.workers, progress=progress)
    if made:
        tqdm.write(f"{root}: {made} demo songs of {d.seconds:g} s made")


def _plan(store: Store, tracks: Sequence[Track], root: Path,
          summary: Summary) -> list[tuple[Track, Sources]]:
    """Remove what vanished from the source; return what is to be written, with its sources."""
    records = {(split, record.name): record for split in SPLITS for record in store.tracks(split)}
    for split, name in sorted(set(records) - {(track.split, track.name) for track in tracks}):
        if f"{split}/{name}" not in summary.failed:
            tqdm.write(f"removed: {split}/{name} is no longer in the source")
            store.remove(split, name)
            summary.removed.append(f"{split}/{name}")
    waiting = []
    for track in tracks:
        name, record = f"{track.split}/{track.name}", records.get((track.split, track.name))
        try:
            sources = {stem: tuple(_fingerprint(path, root) for path in paths)
                       for stem, paths in track.stems.items()}
        except OSError as error:
            summary.failed[name] = command.describe(error)
            continue
        if record is not None and record.sources == sources:
            summary.kept.append(name)
        else:
            if record is not None:
                files = ", ".join(_differing(record.sources, sources))
                tqdm.write(f"changed: {name} is made anew because of {files}")
            waiting.append((track, sources))
    return waiting


def _fingerprint(path: Path, root: Path) -> tuple[str, int, int]:
    status = path.stat()
    return path.relative_to(root).as_posix(), status.st_size, status.st_mtime_ns


def _differing(before: Sources, now: Sources) -> list[str]:
    """Return the files that changed, came or went, or belong to another stem now."""
    old = {(stem, *file) for stem, files in before.items() for file in files}
    new = {(stem, *file) for stem, files in now.items() for file in files}
    return sorted({file[1] for file in old ^ new})


def _write(store: Store, waiting: Sequence[tuple[Track, Sources]], workers: int, summary: Summary,
           progress: bool) -> None:
    """Write the tracks in parallel; what becomes of each goes into the summary."""
    task = functools.partial(write_track, store_path=str(store.path))
    begin_s = time.monotonic()
    with log.progress(len(waiting), "preprocess", unit="track", visible=progress) as bar:
        for (track, _), result in engine.run(task, waiting, workers=workers):
            name = f"{track.split}/{track.name}"
            if isinstance(result, tuple):
                audio_s, note = result
                summary.written.append(name)
                summary.audio_h += audio_s / 3600
                if note:
                    tqdm.write(f"note: {name}: {note}")
            elif isinstance(result, (InputError, engine.WorkerDied)):
                summary.failed[name] = str(result)
            elif isinstance(result, OSError):
                summary.failed[name] = command.describe(result)
            else:
                raise result
            minutes = (time.monotonic() - begin_s) / 60
            bar.set_postfix_str(f"{summary.audio_h / minutes:.1f} h of audio/min", refresh=False)
            bar.update()


def write_track(item: tuple[Track, Sources], *, store_path: str) -> tuple[float, str]:
    """Write one track; returns the seconds of its stem files, and a note for the user or "".

    Raises InputError for a file that cannot be used; then nothing of the track is in the store.
    """
    track, sources = item
    store = _opened(store_path)
    rate = store.spec.sample_rate
    try:
        infos = {path: audio.probe(path) for paths in track.stems.values() for path in paths}
        lengths = {path: -(-i.samples * rate // i.sample_rate) for path, i in infos.items()}
        samples = max(lengths.values())
        store.write_track(track.split, track.name, samples=samples, sources=sources,
                          waves=_waves(track, store.spec, samples))
    except BaseException:
        store.remove(track.split, track.name)
        raise
    shorter = [path.name for path, length in lengths.items() if length < samples]
    note = "" if not shorter else (
        f"padded at the end with silence: {', '.join(shorter)} (from "
        f"{min(lengths.values()) / rate:.3f} s, the longest stem lasts {samples / rate:.3f} s)")
    return sum(info.samples / info.sample_rate for info in infos.values()), note


@functools.lru_cache(maxsize=1)
def _opened(store_path: str) -> Store:
    """Open a store once a process; a worker writes many tracks."""
    return Store.open(store_path)


def _waves(track: Track, spec: StoreSpec, samples: int) -> Iterator[np.ndarray | None]:
    """Yield for each stem the sum of its files, float32 [C, samples], or None if it has none."""
    for stem in spec.stems:
        by_rate: dict[int, np.ndarray] = {}
        for path in track.stems[stem]:
            wave_CN, rate = audio.read(path)
            wave_CN = audio.remap(wave_CN, spec.channels, path)
            by_rate[rate] = _add(by_rate[rate], wave_CN) if rate in by_rate else wave_CN
        # Files of one rate were added first, so that a stem is resampled once.
        total = None
        for rate, wave_CN in by_rate.items():
            wave_CN = audio.resample(wave_CN, rate, spec.sample_rate)[:, :samples]
            total = wave_CN if total is None else _add(total, wave_CN)
        if total is not None and total.shape[1] < samples:
            total = np.pad(total, [(0, 0), (0, samples - total.shape[1])])
        yield total


def _add(a_CN: np.ndarray, b_CN: np.ndarray) -> np.ndarray:
    """Add the shorter of two waves into the longer one, which is returned."""
    longer, shorter = (a_CN, b_CN) if a_CN.shape[1] >= b_CN.shape[1] else (b_CN, a_CN)
    longer[:, :shorter.shape[1]] += shorter
    return longer


def _warn_of_silence(config: Config, store: Store) -> None:
    """Print a line for each target that is silent in all training tracks: nothing learns it."""
    records = store.tracks("train")
    for target, stems in config.targets.items():
        places = [store.spec.stems.index(stem) for stem in stems]
        if records and not any(record.norms[place] for record in records for place in places):
            tqdm.write(f"warning: target {target!r} has no sound in any of the {len(records)} "
                       "training tracks; check config.data.targets and the source's stems",
                       file=sys.stderr)


if __name__ == "__main__":
    # By its own name: as __main__.write_track, workers would not find the task.
    from stemsep.preprocess import main as command_main

    command.run(functools.partial(command_main, command.define_config()), config=True)
