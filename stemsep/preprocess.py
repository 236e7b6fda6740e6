"""Turn songs on disk into a store: read, group, resample, transform; only what is missing or new.

    python -m stemsep.preprocess --config configs/drums.py [--dry_run]
"""

import functools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from absl import flags
from absl.flags import FlagHolder
from tqdm import tqdm

from stemsep import audio, command, datasets, engine, log, stream, variation
from stemsep.config import Config
from stemsep.datasets.tracks import SPLITS, Track, fingerprints
from stemsep.errors import InputError
from stemsep.store import Record, Sources, Store, StoreSpec


@dataclass
class Summary:
    """What a run did to the tracks, each named split/name; failed: name -> the reason in words.

    left_out: sentences on what the layout leaves out on purpose.
    """

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    audio_h: float = 0.0        # of the stem files that were read


@dataclass
class Plan:
    """What a run is going to do.

    waiting: the tracks to write, with their sources. removed: (split, name) of those in the store
    that the source has no longer, or of variations that are no longer wanted. notes: why a track is
    made anew or removed.
    """

    waiting: list[tuple[Track, Sources]] = field(default_factory=list)
    removed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def preprocess(config: Config, *, progress: bool = True) -> Summary:
    """Bring the store of `config` up to date with its source; returns what was done.

    Missing demo songs are made first. A track that fails is recorded in the summary and the rest
    goes on; what a user should know of is printed. With the engine `spmd` this process does its
    share of the tracks. Raises InputError when the source or the store cannot be used at all.
    """
    variation.check_installed(config)
    _make_demo(config, progress)
    tracks, summary = _tracks(config)
    spmd = config.data.engine == "spmd"
    mine = engine.share(tracks, config.data.engine)
    store = Store.create(config.store, store_spec(config), endpoint=config.data.endpoint)
    own = {(track.split, track.name) for track in mine}
    with store.writing(only=own if spmd else None):
        first = not spmd or engine.rank()[0] == 0
        plan = _plan(store, mine, tracks if first else None, config, summary)
        for note in [*(f"left out: {n}" for n in summary.left_out if first), *plan.notes]:
            tqdm.write(note)
        for split, name in plan.removed:
            store.remove(split, name)
            summary.removed.append(f"{split}/{name}")
        _write(store, plan.waiting, config, summary, progress)
    for name, reason in summary.failed.items():
        tqdm.write(f"failed: {name}: {reason}", file=sys.stderr)
    if not spmd:        # the others may still be writing
        _warn_of_silence(config, store)
    return summary


def dry_run(config: Config) -> tuple[Summary, Plan]:
    """Return what `preprocess` would do, and why; nothing is written, no demo song made."""
    variation.check_installed(config)
    tracks, summary = _tracks(config)
    mine = engine.share(tracks, config.data.engine)
    try:
        store = Store.open(config.store, store_spec(config), endpoint=config.data.endpoint)
    except InputError as error:
        if "is no store" not in str(error):
            raise
        return summary, Plan([(track, {}) for track in mine])
    return summary, _plan(store, mine, tracks, config, summary)


def store_spec(config: Config) -> StoreSpec:
    """Return what the store of a configuration holds."""
    a = config.audio
    return StoreSpec(a.sample_rate, a.channels, a.n_fft, a.hop, config.stems, a.surround)


def main(holder: FlagHolder, arguments: list[str], *, dry: bool = False) -> int:
    """Run the command; returns 1 when tracks failed."""
    command.no_arguments(arguments)
    config, begin_s = command.checked_config(holder), time.monotonic()
    if dry:
        return _tell(config)
    summary = preprocess(config)
    print(f"{config.store}: {len(summary.written)} tracks written ({summary.audio_h:.2f} hours of "
          f"stems in {time.monotonic() - begin_s:.0f} s), {len(summary.kept)} kept, "
          f"{len(summary.removed)} removed, {len(summary.failed)} failed")
    return 1 if summary.failed else 0


def _tell(config: Config) -> int:
    """Print what a run would do; returns 1 when tracks cannot be used."""
    layout, root = datasets.parse(config.data.source)
    if layout == "demo" and not root.exists():
        copies = config.data.variation.copies
        varied = f", with {copies} variations of each that trains" if copies else ""
        print(f"{root}: {config.data.demo.tracks} demo songs would be made, then written to "
              f"{config.store}{varied}; nothing was done (--dry_run)")
        return 0
    summary, plan = dry_run(config)
    lines = [f"left out: {sentence}" for sentence in summary.left_out]
    lines += plan.notes
    lines += [f"to write: {_name(t)}" + (f" ({t.variation})" if t.variation else "")
              for t, _ in plan.waiting]
    for line in lines:
        print(line)
    for name, reason in summary.failed.items():
        print(f"cannot be used: {name}: {reason}", file=sys.stderr)
    size = sum(_size(track) for track, _ in plan.waiting) / 1e9
    print(f"{config.store}: {len(plan.waiting)} tracks to write ({size:.2f} GB of audio files), "
          f"{len(summary.kept)} to keep, {len(plan.removed)} to remove, {len(summary.failed)} that "
          "cannot be used; nothing was done (--dry_run)")
    return 1 if summary.failed else 0


def _tracks(config: Config) -> tuple[list[Track], Summary]:
    """Return the tracks of the source with their variations, and a summary with those that cannot
    be used.
    """
    faults, remarks = dict[str, InputError](), datasets.Remarks()
    tracks = datasets.tracks(config.data.source, stems=config.stems, recipe=config.data.recipe,
                             faults=faults, remarks=remarks)
    tracks = variation.with_copies(tracks, config)
    return tracks, Summary(failed={name: str(error) for name, error in faults.items()},
                           left_out=remarks.left_out)


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


def _plan(store: Store, mine: Sequence[Track], everyone: Sequence[Track] | None, config: Config,
          summary: Summary) -> Plan:
    """Compare the source with the store; what is kept and what cannot be read go to the summary.

    mine: the tracks of this process. everyone: all tracks of the source, to find what is in the
    store only; None where another process looks for that.
    """
    root, plan = datasets.parse(config.data.source)[1], Plan()
    root = root.parent if root.is_file() else root      # a list: its paths are below its folder
    records = {(split, record.name): record for split in SPLITS for record in store.tracks(split)}
    if everyone is not None:
        _plan_removals(plan, records, everyone, summary)
    for track in mine:
        name, record = f"{track.split}/{track.name}", records.get((track.split, track.name))
        try:
            sources = fingerprints(track, root)
        except OSError as error:
            summary.failed[name] = command.describe(error)
            continue
        if record is not None:
            reasons = _differing(record.sources, sources)
            if record.variation != track.variation:
                reasons.append("config.data.variation")
            if not reasons:
                summary.kept.append(name)
                continue
            plan.notes.append(f"changed: {name} is made anew because of {', '.join(reasons)}")
        plan.waiting.append((track, sources))
    return plan


def _plan_removals(plan: Plan, records: Mapping[tuple[str, str], Record],
                   everyone: Sequence[Track], summary: Summary) -> None:
    """Find what is in the store only; a track that cannot be read now stays, with its variations.
    """
    wanted = {(track.split, track.name) for track in everyone}
    for (split, name), record in sorted(records.items()):
        origin = record.variation.of if record.variation else name
        if (split, name) in wanted or f"{split}/{origin}" in summary.failed:
            continue
        plan.removed.append((split, name))
        plan.notes.append(f"removed: {split}/{name} is no longer " + (
            "wanted (config.data.variation)" if (split, origin) in wanted else "in the source"))


def _differing(before: Sources, now: Sources) -> list[str]:
    """Return the files that changed, came or went, or belong to another stem now."""
    old = {(stem, *file) for stem, files in before.items() for file in files}
    new = {(stem, *file) for stem, files in now.items() for file in files}
    return sorted({file[1] for file in old ^ new})


def _write(store: Store, waiting: Sequence[tuple[Track, Sources]], config: Config,
           summary: Summary, progress: bool) -> None:
    """Write the tracks in parallel; what becomes of each goes into the summary."""
    task = functools.partial(write_track, store_path=str(store.place),
                             endpoint=config.data.endpoint)
    sizes = {_name(track): _size(track) for track, _ in waiting}
    begin_s, todo, total = time.monotonic(), sum(sizes.values()), sum(sizes.values())
    with log.progress(len(waiting), "preprocess", unit="track", visible=progress) as bar:
        for (track, _), result in engine.run(task, waiting, workers=config.data.workers,
                                             engine=config.data.engine):
            name = _name(track)
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
            todo -= sizes[name]
            spent_s = time.monotonic() - begin_s
            # By bytes, because tracks differ in length: the bar counts them one by one.
            left_s = spent_s * todo / max(total - todo, 1)
            bar.set_postfix_str(f"{summary.audio_h / spent_s * 60:.1f} h of audio/min, "
                                f"{tqdm.format_interval(left_s)} left", refresh=False)
            bar.update()


def _name(track: Track) -> str:
    return f"{track.split}/{track.name}"


def _size(track: Track) -> int:
    """Return the bytes of a track's files, of those that are there."""
    paths = {clip.path for clips in track.stems.values() for clip in clips}
    return sum(path.stat().st_size for path in paths if path.exists())


def write_track(item: tuple[Track, Sources], *, store_path: str,
                endpoint: str = "") -> tuple[float, str]:
    """Write one track; returns the seconds of its stem files, and a note for the user or "".

    Raises InputError for a file that cannot be used; then nothing of the track is in the store.
    """
    track, sources = item
    store = _opened(store_path, endpoint)
    rate = store.spec.sample_rate
    try:
        infos = {clip: audio.probe(clip) for clips in track.stems.values() for clip in clips}
        lengths = {clip: audio.resampled(i.samples, i.sample_rate, rate)
                   for clip, i in infos.items()}
        samples = max(lengths.values())
        waves = (_wave(track, stem, infos, store.spec, samples) if track.stems[stem] else None
                 for stem in store.spec.stems)
        store.write_track(track.split, track.name, sources=sources, waves=waves,
                          samples=variation.varied_samples(samples, track.variation),
                          variation=track.variation)
    except BaseException:
        store.remove(track.split, track.name)
        raise
    shorter = [clip.name for clip, length in lengths.items() if length < samples]
    note = "" if not shorter else (
        f"padded at the end with silence: {', '.join(shorter)} (from "
        f"{min(lengths.values()) / rate:.3f} s, the longest stem lasts {samples / rate:.3f} s)")
    return sum(info.samples / info.sample_rate for info in infos.values()), note


def _wave(track: Track, stem: str, infos: Mapping[audio.Clip, audio.AudioInfo], spec: StoreSpec,
          samples: int) -> Iterator[np.ndarray]:
    """Yield a stem as it is to be stored, block by block. samples: of the longest, not varied."""
    blocks = stream.add_files(track.stems[stem], infos, rate=spec.sample_rate,
                              channels=spec.channels, surround=spec.surround)
    return variation.vary(blocks, track.variation, stem, samples=samples, channels=spec.channels,
                          rate=spec.sample_rate)


@functools.lru_cache(maxsize=1)
def _opened(store_path: str, endpoint: str) -> Store:
    """Open a store once a process; a worker writes many tracks."""
    return Store.open(store_path, endpoint=endpoint)


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

    config_flag = command.define_config()
    dry_flag = flags.DEFINE_bool("dry_run", False, "only say what would be done")
    command.run(lambda arguments: command_main(config_flag, arguments, dry=dry_flag.value),
                config=True)
