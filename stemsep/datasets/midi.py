"""Songs to train on from any collection of MIDI files: played and mixed, in Slakh's layout.

    python -m stemsep.datasets.midi --midi DIR --soundfont A.sf2 B.sf3 --output OUT --variations 3

Every track is a function of (seed, its file's content, its variation, the settings): the same bytes
with any number of workers, and whatever else the collection holds. Files that are no songs are
named and left out.
"""

import functools
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from absl import flags

from stemsep import command, engine, files, log
from stemsep.datasets import fluid, record
from stemsep.datasets.midi_collection import (
    Entry, Index, MidiFile, check_same, divide, find, forget_changed, learn, midi_paths
)
from stemsep.datasets.midi_songs import LIMIT_S, RENDERERS, Heard, Job, digest, hear, make_track
from stemsep.datasets.songs import load_font
from stemsep.datasets.soundfont import check_files, default_soundfont
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError

GENERATOR = 1       # raised whenever the same settings give other songs
RECORD = "midi.json"
_SONGS = "songs of MIDI files"


@dataclass
class Summary:
    """What a run did, or would do. left_out, failed: name -> why; notes: sentences.

    made, there: tracks as split/name; seconds: of those made.
    """

    made: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    seconds: float = 0.0
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Maker:
    """One run: the collection, the folder of tracks, the settings of all its tracks."""

    midi: Path
    root: Path
    settings: dict[str, Any]
    fonts: Sequence[str]
    workers: int
    engine: str
    progress: bool
    summary: Summary

    def run(self) -> None:
        """Make the tracks that are missing; the folder's lock is ours, or shared in a job of
        several processes, each of which does what belongs to its songs.
        """
        for unfinished in self.root.glob(".Track*") if self.engine != "spmd" else ():
            shutil.rmtree(unfinished, ignore_errors=True)
        index, found, changed = self.look(save=self.save)
        # First the tracks, then the index: a run that is killed in between finds them again.
        for entry in filter(self.is_mine, changed):
            for name in self.names(entry):
                for track in self.root.glob(f"*/{name}"):
                    self.remove(track)
        self.save(index)
        jobs, moves = self.plan(index, found)
        for before, after in moves:
            after.parent.mkdir(exist_ok=True)
            before.rename(after)
        try:
            self.make(index, jobs)
        finally:
            self.save(index)

    def save(self, index: Index) -> None:
        """Write the index: in a job of several processes the first one does."""
        if self.engine != "spmd" or engine.rank()[0] == 0:
            index.save(self.root)

    def is_mine(self, entry: Entry) -> bool:
        """Whether a song is this process's, by its number, which is the same in all processes."""
        if self.engine != "spmd":
            return True
        own, count = engine.rank()
        return entry.number % count == own

    def rehearse(self) -> None:
        """Tell what `run` would do, and write nothing."""
        index, found, _ = self.look(save=lambda _: None)
        jobs, _ = self.plan(index, found)
        for job in jobs:
            entry = index.songs[job.digest]
            minutes, seconds = divmod(round(entry.seconds), 60)
            self.summary.notes.append(f"{job.folder.parent.name}/{job.folder.name}: {entry.name}, "
                                      f"{minutes}:{seconds:02d}, parts: {entry.parts}")
            self.count(index, job)

    def look(self, *, save: Callable[[Index], None]) -> tuple[Index, list[MidiFile], list[Entry]]:
        """Return the index with all files read, the files, and the songs whose files changed."""
        index, left_out = Index.load(self.root), self.summary.left_out
        found = find(self.midi, without=self.root, left_out=left_out)
        check_same(index, self.midi, found, self.root)
        learn(index, found, self.heard(index, found), lambda: save(index))
        index.folder = str(self.midi.resolve())
        left_out |= {file.name: index.unusable[file.digest] for file in found
                     if file.digest in index.unusable}
        changed = forget_changed(index, found)
        self.summary.notes += [f"{entry.name} has changed: its song is made anew"
                               for entry in changed]
        gone = len(index.songs) - sum(file.digest in index.songs for file in found)
        if gone:
            self.summary.notes.append(f"songs that are kept, although their MIDI files are gone: "
                                      f"{gone}")
        self.summary.notes += [f"{entry.name} is longer than {LIMIT_S / 60:g} minutes, and cut "
                               "there" for entry in index.songs.values()
                               if entry.seconds >= LIMIT_S]
        return index, found, changed

    def heard(self, index: Index,
              found: Sequence[MidiFile]) -> Iterator[tuple[MidiFile, Heard | str]]:
        """Read the files that the index does not know; yields each with its song, or why it has
        none."""
        new = {file.path: file for file in found
               if file.digest not in index.songs and file.digest not in index.unusable}
        task = functools.partial(hear, seconds=self.settings["seconds"],
                                 renderer=self.settings["renderer"])
        with log.progress(len(new), "reading MIDI files", unit="file",
                          visible=self.progress) as bar:
            for path, result in engine.run(task, list(new), workers=self.workers,
                                           engine=self.engine):
                if isinstance(result, InputError):
                    yield new[path], str(result)
                elif isinstance(result, Exception):
                    self.summary.failed[new[path].name] = result
                else:
                    yield new[path], result
                bar.update()

    def plan(self, index: Index,
             found: Sequence[MidiFile]) -> tuple[list[Job], list[tuple[Path, Path]]]:
        """Return the tracks to make, and where those go whose split is another now."""
        splits, by_digest = divide(index), {file.digest: file for file in found}
        there = {path.name: path for split in SPLITS for path in (self.root / split).glob("Track*")}
        jobs, moves = [], []
        for key, entry in sorted(index.songs.items(), key=lambda item: item[1].number):
            if not self.is_mine(entry):
                continue
            for variation, name in enumerate(self.names(entry)):
                folder = self.root / splits[key] / name
                if name in there:
                    self.summary.there.append(f"{splits[key]}/{name}")
                    if there[name] != folder:
                        moves.append((there[name], folder))
                elif key in by_digest and key not in index.unusable:
                    file = by_digest[key]
                    jobs.append(Job(file.path, file.name, key, variation, folder))
        if moves:
            self.summary.notes.append(f"tracks that belong to another split now: {len(moves)}")
        return jobs, moves

    def make(self, index: Index, jobs: Sequence[Job]) -> None:
        """Make tracks in parallel; one that fails stops no other."""
        values = {name: self.settings[name] for name in ("seconds", "seed", "channels", "renderer")}
        task = functools.partial(make_track, fonts=tuple(self.fonts), **values)
        with log.progress(len(jobs), "rendering songs", unit="track",
                          visible=self.progress) as bar:
            for job, result in engine.run(task, jobs, workers=self.workers, engine=self.engine):
                if isinstance(result, Exception):
                    self.summary.failed[f"{job.name}, variation {job.variation + 1}"] = result
                elif result:
                    self.count(index, job)
                else:
                    why = "nothing of it can be heard with these fonts"
                    index.unusable[job.digest] = self.summary.left_out[job.name] = why
                bar.update()

    def count(self, index: Index, job: Job) -> None:
        """Count a track as made."""
        self.summary.made.append(f"{job.folder.parent.name}/{job.folder.name}")
        self.summary.seconds += index.songs[job.digest].seconds

    def names(self, entry: Entry) -> list[str]:
        """Return the names of a song's tracks, one for each variation."""
        variations = self.settings["variations"]
        first = (entry.number - 1) * variations + 1
        return [f"Track{first + variation:05d}" for variation in range(variations)]

    def remove(self, track: Path) -> None:
        """Delete a track, which is hidden before its files go."""
        hidden = self.root / f".{track.name}-removed"
        track.rename(hidden)
        shutil.rmtree(hidden)


def make(midi: Path | str, output: Path | str, *, soundfonts: Sequence[str | Path] = (),
         variations: int = 1, seconds: float = 0.0, channels: int = 1, seed: int = 0,
         renderer: str = "demo", workers: int = 0, engine: str = "local", dry_run: bool = False,
         progress: bool = True) -> Summary:
    """Write the tracks that `output` lacks of songs of the MIDI files in `midi`.

    soundfonts: General MIDI fonts, of which every part draws one; none for TimGM6mb. variations:
    tracks a song, differently played and mixed, in one split. seconds: the most of a song, 0 for
    all of it (up to LIMIT_S). renderer: one of RENDERERS. engine: one of engine.ENGINES; workers:
    its processes, 0 for one a core. dry_run: only tell what would be made. Raises InputError for
    settings and fonts that cannot be used, for songs of other settings in `output`, and where no
    file is a song. Waits while another process makes songs there.
    """
    if renderer not in RENDERERS:
        raise InputError(f"--renderer: {renderer!r} is none; choose {', '.join(RENDERERS)}")
    if renderer == "fluidsynth":
        fluid.check()
    root, fonts = Path(output), _fonts(soundfonts)
    settings = {"variations": variations, "seconds": float(seconds), "channels": channels,
                "seed": seed, "renderer": renderer, "soundfonts": list(fonts),
                "generator": GENERATOR}
    summary = Summary()
    maker = _Maker(Path(midi), root, settings, list(fonts.values()), workers, engine, progress,
                   summary)
    record.check(root / RECORD, settings, songs=_SONGS)
    if dry_run:
        maker.rehearse()
        return summary
    # Before the folder is made: a wrong --midi leaves nothing behind.
    midi_paths(maker.midi, without=root)
    root.mkdir(parents=True, exist_ok=True)
    with record.alone(root, shared=engine == "spmd"):
        record.check(root / RECORD, settings, songs=_SONGS)     # another process may have been here
        if not (root / RECORD).exists():
            files.write_json(root / RECORD, settings)
        maker.run()
    return summary


def _fonts(soundfonts: Sequence[str | Path]) -> dict[str, str]:
    """Return name and content's digest -> path of each font, sorted; in any order they play alike.

    Raises InputError for a font that cannot be read, or cannot play both melodies and drums.
    """
    check_files(soundfonts)
    fonts = {}
    for path in [str(font) for font in soundfonts] or [str(default_soundfont())]:
        font = load_font(path)
        if not font.programs() or not font.drum_kits():
            lacks = "drum kits (bank 128)" if font.programs() else "instruments (bank 0)"
            raise InputError(f"{path}: has no {lacks}, which songs need; give General MIDI fonts")
        fonts[f"{Path(path).name} {digest(Path(path).read_bytes())[:16]}"] = path
    return dict(sorted(fonts.items()))


def _tell(output: str, summary: Summary, *, dry_run: bool) -> int:
    """Print what a run did; returns its status, 1 where songs failed that should be there."""
    for sentence in summary.notes:
        print(sentence)
    for name, why in sorted(summary.left_out.items()):
        print(f"left out: {name}: {why}")
    for name, error in sorted(summary.failed.items()):
        known = isinstance(error, (InputError, engine.WorkerDied))
        why = (command.describe(error) if isinstance(error, OSError) else
               str(error) if known else f"{type(error).__name__}: {error}")
        print(f"failed: {name}: {why}", file=sys.stderr)
        if not known and not isinstance(error, OSError):
            print(*getattr(error, "__notes__", ()), file=sys.stderr)
    print(f"{output}: {len(summary.made)} tracks {'to make' if dry_run else 'made'} "
          f"({summary.seconds / 3600:.2f} hours), {len(summary.there)} were there, "
          f"{len(summary.left_out)} MIDI files left out"
          + (f", {len(summary.failed)} failed" if summary.failed else ""))
    if not summary.made and not summary.there and not summary.failed:
        raise InputError("no MIDI file there is a song that can be made; see above why")
    return 1 if summary.failed else 0


def main() -> None:
    """Run the command."""
    midi = flags.DEFINE_string("midi", None, "folder with MIDI files, at any depth")
    output = flags.DEFINE_string("output", "data/midi", "folder for the songs, in Slakh's layout")
    soundfonts = flags.DEFINE_multi_string(
        "soundfont", [], "an .sf2 or .sf3 file; more may follow it, or separate by commas")
    variations = flags.DEFINE_integer("variations", 1, "tracks a song, played and mixed "
                                      "differently", lower_bound=1)
    seconds = flags.DEFINE_float("seconds", 0.0, "the most of a song; 0: all of it, up to "
                                 f"{LIMIT_S:g}", lower_bound=0, upper_bound=LIMIT_S)
    channels = flags.DEFINE_integer("channels", 1, "1 mono, 2 stereo", lower_bound=1,
                                    upper_bound=2)
    seed = flags.DEFINE_integer("seed", 0, "other sounds and mixes for each", lower_bound=0)
    renderer = flags.DEFINE_enum("renderer", "demo", list(RENDERERS), "what plays the songs; "
                                 "fluidsynth needs its library and the extra of that name")
    dry_run = flags.DEFINE_bool("dry_run", False, "only tell what would be made and left out")
    workers = flags.DEFINE_integer("workers", 0, "processes; 0: one a core", lower_bound=0)
    engine_name = flags.DEFINE_enum("engine", "local", list(engine.ENGINES), "what runs them: "
                                    "processes here, a launched job, or Ray (an extra)")
    flags.FLAGS.set_gnu_getopt(True)        # flags may follow fonts

    def run(arguments: list[str]) -> int:
        if not midi.value:
            raise InputError("--midi is missing; give the folder that holds the MIDI files")
        fonts = [name for given in soundfonts.value for name in given.split(",") if name]
        summary = make(midi.value, output.value, soundfonts=fonts + arguments,
                       variations=variations.value, seconds=seconds.value, channels=channels.value,
                       seed=seed.value, renderer=renderer.value, workers=workers.value,
                       engine=engine_name.value, dry_run=dry_run.value)
        return _tell(output.value, summary, dry_run=dry_run.value)

    command.run(run)


if __name__ == "__main__":
    main()
