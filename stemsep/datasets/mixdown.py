"""Write any combination of stems as audio, in folders that are a source themselves.

    python -m stemsep.datasets.mixdown slakh:/data/slakh2100 --output mixed \\
        --targets "{'drums': ['drums'], 'accompaniment': 'rest'}"

OUTPUT/<split>/<song>/<target>.flac, which `folders:OUTPUT` reads. A song appears with all its
files, or not at all; what is current is not done again.
"""

import dataclasses
import json
import math
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags
from tqdm import tqdm

from stemsep import audio, checks, command, datasets, engine, files, log
from stemsep.config import REST, Config
from stemsep.datasets import recipes
from stemsep.datasets.mix import RECORD, UNFINISHED, Form, Job, write_song
from stemsep.datasets.tracks import SPLITS, Track, fingerprints
from stemsep.errors import InputError

RESIDUALS = "residuals"             # what slakh-utils calls all that its recipe leaves
_NO_STEMS = ("mixture", "mix")      # names that `folders:` takes for the song itself
_FLAC_BITS = (16, 24)
# Of the settings that checks name, the flags of this command.
_FLAGS = {"config.data.source: ": "", "config.data.targets": "--targets",
          "config.data.recipe": "--recipe", "config.audio.surround": "--surround"}


@dataclass
class Plan:
    """What a run is going to do, and what it did; songs are named split/name.

    failed: song -> why. gone: those of the output that the source has no longer.
    """

    waiting: list[Job] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def mixdown(source: str, output: Path, targets: Mapping[str, Any], form: Form = Form(), *,
            recipe: str = "", split: str = "all", workers: int = 0, dry: bool = False,
            progress: bool = True) -> Plan:
    """Write the targets of all songs of a source to `output`; returns what was done.

    targets: target -> stems, or "rest". dry: only plan. A song that fails is recorded and the rest
    goes on; what a user should know of is printed. Raises InputError when the source, the targets
    or the output cannot be used at all, and when the disk refuses a file.
    """
    config = Config(name="mixdown")
    config.data.targets = dict(targets)
    _check(config, form)
    root = datasets.parse(source)[1]
    _check_output(output, root)
    tracks, faults = _songs(source, config, recipe, split)
    plan = Plan(failed={name: said(fault) for name, fault in faults.items()})
    settings = {"form": dataclasses.asdict(form), "targets": config.targets}
    if dry:
        _compare(plan, tracks, output, root, settings)
        return plan
    output.mkdir(parents=True, exist_ok=True)
    try:
        with files.locked(output):
            _compare(plan, tracks, output, root, settings)
            plan.gone = _gone(plan, tracks, output, split)
            try:
                shutil.rmtree(output / UNFINISHED, ignore_errors=True)      # of a killed run
                _write(plan, output, form, workers=workers, progress=progress)
            finally:
                shutil.rmtree(output / UNFINISHED, ignore_errors=True)
    except BlockingIOError as error:
        raise InputError(f"{output}: another process is writing to it; wait until it has "
                         "ended") from error
    return plan


def _songs(source: str, config: Config, recipe: str,
           split: str) -> tuple[list[Track], dict[str, InputError]]:
    """Return the songs of a split, or of all, and why others cannot be used."""
    faults: dict[str, InputError] = {}
    found = datasets.tracks(source, stems=config.stems, recipe=recipe, faults=faults)
    tracks = [track for track in found if split in ("all", track.split)]
    faults = {name: fault for name, fault in faults.items()
              if split == "all" or name.startswith(f"{split}/")}
    if not tracks and not faults:
        have = ", ".join(sorted({track.split for track in found}))
        raise InputError(f"{source}: has no songs in split {split!r}; give --split {have} or all")
    return tracks, faults


def _compare(plan: Plan, tracks: list[Track], output: Path, root: Path,
             settings: dict[str, Any]) -> None:
    """Enter into the plan what is to be written, what is kept, and what cannot be."""
    for track in tracks:
        name = f"{track.split}/{track.name}"
        try:
            record = {**settings, "sources": fingerprints(track, root)}
            record = json.loads(json.dumps(record))     # as it reads when it was written
            if _is_current(output / track.split / track.name, record):
                plan.kept.append(name)
            else:
                plan.waiting.append((track, record))
        except InputError as error:
            plan.failed[name] = str(error)
        except OSError as error:
            plan.failed[name] = command.describe(error)


def _gone(plan: Plan, tracks: list[Track], output: Path, split: str) -> list[str]:
    """Return the songs of the output that the source has no longer."""
    known = {*plan.failed, *(f"{track.split}/{track.name}" for track in tracks)}
    written = sorted("/".join(path.parts[-3:-1]) for path in output.glob(f"*/*/{RECORD}"))
    return [name for name in written
            if name not in known and (split == "all" or name.startswith(f"{split}/"))]


def _check(config: Config, form: Form) -> None:
    """Raise InputError for targets and forms that cannot be written, or not be read as stems."""
    checks.check_targets(config)
    spelled: dict[str, str] = {}
    for target in config.data.targets:
        if target.lower() in _NO_STEMS or target.startswith("."):
            raise InputError(f"config.data.targets: {target!r} cannot name a stem's file (mixtures "
                             "are called mixture and mix, hidden files begin with a dot); give it "
                             "another name")
        if (other := spelled.setdefault(recipes.normal(target), target)) != target:
            raise InputError(f"config.data.targets: {other!r} and {target!r} are one name; give "
                             "one of them another")
    if form.format == "flac" and form.bits not in _FLAC_BITS:
        raise InputError(f"--bits {form.bits}: FLAC holds 16 or 24; give --format wav")
    if 0 < form.rate < 1000:
        raise InputError(f"--rate {form.rate}: is in Hz and at least 1000; give 44100, say")


def _check_output(output: Path, root: Path) -> None:
    """Raise InputError where a mixdown would lie in its source, or among other files."""
    if output.resolve().is_relative_to(root.resolve()):
        raise InputError(f"--output {output}: lies in the source {root}, and would be songs of it; "
                         "give a folder elsewhere")
    if output.exists() and not output.is_dir():
        raise InputError(f"--output {output}: is a file; give a folder")
    for path in sorted(output.iterdir()) if output.exists() else ():
        if not path.name.startswith(".") and not (path.name in SPLITS and path.is_dir()):
            raise InputError(f"--output {output}: holds {path.name!r}, which no mixdown wrote; "
                             "give a folder that does not exist yet")


def _is_current(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the folder of a song holds what `record` says, whole.

    Raises InputError for a folder with files that no mixdown wrote: they are never overwritten.
    """
    if not folder.exists():
        return False
    try:
        before = json.loads((folder / RECORD).read_bytes())
        written = dict(before["files"])
    except (OSError, ValueError, KeyError, TypeError):
        before, written = {}, {}
    for path in sorted(folder.iterdir()):
        if path.name not in (RECORD, *written):
            raise InputError(f"{path}: was not written by a mixdown and would be lost; move it "
                             "away, or give another --output")
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.name != RECORD}
    return before == {**record, "files": sizes}


def _write(plan: Plan, output: Path, form: Form, *, workers: int, progress: bool) -> None:
    """Write the waiting songs in parallel; what becomes of each goes into the plan."""
    for name in plan.gone:
        tqdm.write(f"note: {output}/{name} is no longer in the source; delete it if you do not "
                   "want it")
    over_db = 0.0
    task = partial(write_song, output=output, form=form)
    with log.progress(len(plan.waiting), "mixdown", unit="song", visible=progress) as bar:
        for (track, _), result in engine.run(task, plan.waiting, workers=workers):
            name = f"{track.split}/{track.name}"
            if isinstance(result, dict):
                plan.written.append(name)
                if result:
                    over_db = max(over_db, *result.values())
                    clipped = ", ".join(f"{file} by {db:.1f} dB" for file, db in result.items())
                    tqdm.write(f"note: {name} is beyond full scale and clipped: {clipped}")
            elif isinstance(result, audio.DiskRefused):
                raise result        # no other song would fare better
            elif isinstance(result, (InputError, engine.WorkerDied)):
                plan.failed[name] = said(result)
            else:
                raise result
            bar.update()
    if over_db:
        lower_db = math.floor((form.gain_db - over_db) * 10) / 10
        tqdm.write(f"note: --gain_db {lower_db:g} would lower all songs alike so that none clips; "
                   "--format wav --bits 32 never clips")
    for name, reason in plan.failed.items():
        tqdm.write(f"failed: {name}: {reason}", file=sys.stderr)


def said(error: Exception) -> str:
    """Return an error's sentence with this command's flags in place of settings."""
    sentence = str(error)
    for setting, flag in _FLAGS.items():
        sentence = sentence.replace(setting, flag)
    return sentence


def recipe_targets(recipe: str) -> dict[str, Any]:
    """Return the stems of a recipe as targets, and what it leaves as "residuals"."""
    if not recipe:
        raise InputError("--targets is missing; give what to write, as in --targets \"{'drums': "
                         "['drums'], 'accompaniment': 'rest'}\", or a --recipe, which names stems")
    stems = dict.fromkeys(recipes.load(recipe).groups.values())
    return {**{stem: [stem] for stem in stems}, RESIDUALS: REST}


def main() -> None:
    """Run the command; its status is 1 when songs failed."""
    output = flags.DEFINE_string("output", None, "a folder of its own", required=True)
    targets = flags.DEFINE(command.DictParser(), "targets", None, "target -> stems, or 'rest'; "
                           "default: each stem of the recipe, and 'residuals'")
    recipe = flags.DEFINE_string("recipe", "", "YAML that groups stem files")
    split = flags.DEFINE_enum("split", "all", [*SPLITS, "all"], "which songs")
    kind = flags.DEFINE_enum("format", "flac", ["flac", "wav"], "of the files")
    bits = flags.DEFINE_enum("bits", "24", ["16", "24", "32"], "of a sample; 32: float, WAV only")
    rate = flags.DEFINE_integer("rate", 0, "Hz; 0: of the song's files, the highest",
                                lower_bound=0, upper_bound=768000)
    channels = flags.DEFINE_integer("channels", 0, "1 or 2; 0: as the song's files",
                                    lower_bound=0, upper_bound=2)
    surround = flags.DEFINE_enum("surround", "refuse", list(audio.SURROUND),
                                 "what becomes of files of more than two channels")
    gain_db = flags.DEFINE_float("gain_db", 0.0, "of all songs alike, in dB", lower_bound=-200,
                                 upper_bound=200)
    mixture = flags.DEFINE_bool("mixture", False, "write the sum of all files of a song too")
    workers = flags.DEFINE_integer("workers", 0, "processes; 0: one a core", lower_bound=0)
    dry = flags.DEFINE_bool("dry_run", False, "only say what would be done")
    flags.FLAGS.set_gnu_getopt(True)        # flags may follow the source

    def run(arguments: list[str]) -> int:
        if len(arguments) != 1:
            raise InputError("give one source, as in slakh:/data/slakh2100")
        form = Form(kind.value, int(bits.value), rate.value, channels.value, surround.value,
                    gain_db.value, mixture.value)
        place = Path(output.value).expanduser()
        try:
            plan = mixdown(arguments[0], place, targets.value or recipe_targets(recipe.value), form,
                           recipe=recipe.value, split=split.value, workers=workers.value,
                           dry=dry.value)
        except InputError as error:
            raise InputError(said(error)) from error
        return _tell(plan, place, dry=dry.value)

    command.run(run)


def _tell(plan: Plan, output: Path, *, dry: bool) -> int:
    """Print what was done, or what would be; returns the status."""
    if dry:
        for track, _ in plan.waiting:
            print(f"to write: {track.split}/{track.name}")
        for name, reason in plan.failed.items():
            print(f"cannot be used: {name}: {reason}", file=sys.stderr)
    songs = (f"{len(plan.waiting)} songs to write" if dry else f"{len(plan.written)} songs written")
    print(f"{output}: {songs}, {len(plan.kept)} kept, {len(plan.failed)} failed"
          + ("; nothing was done (--dry_run)" if dry else ""))
    return 1 if plan.failed else 0


if __name__ == "__main__":
    main()
