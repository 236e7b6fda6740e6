"""Separate songs: files, folders of them at any depth, patterns, addresses in buckets.

    python -m stemsep.separate --checkpoint runs/drums --output separated SONG_OR_FOLDER...

Writes OUTPUT/<song>/<stem>.wav at the song's own rate, channels and length. Nothing is resampled: a
song is analysed at its own rate with frames as long, and bins as wide, as those of training, so the
network sees in the lowest bins what it knows, and no high frequencies are cut. Songs that are done
are left out: the same command goes on where it was stopped.
"""

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from absl import flags
from tqdm import tqdm

from stemsep import collection, command, engine, log, parallel, provenance, stages
from stemsep.collection import Manifest, Record, Settings
from stemsep.errors import InputError
from stemsep.jobs import Job, plan, read_list, shard, shard_numbers
from stemsep.options import define_form, define_quality, form, quality
from stemsep.parallel import DataParallel
from stemsep.separator import Separator
from stemsep.writer import format_of

_NOISE_S = 60       # of what --benchmark separates where no song is given
_BAR = ("{desc}: {percentage:3.0f}%|{bar}| {n:.1f} of {total:.0f} songs "
        "[{elapsed}<{remaining}{postfix}]")


class Report:
    """What a user sees of a collection: a progress bar, a sentence for each song that is not as
    it should be, and a summary.
    """

    def __init__(self, jobs: list[Job], settings: Settings, rate: int) -> None:
        self._settings, self._count = settings, len(jobs)
        self._rates, self._written = {rate}, set[int]()     # those that need no word any more
        self._bar = log.progress(len(jobs), "separate", unit="song")
        self._bar.bar_format = _BAR
        self._lock, self._begin_s = threading.Lock(), time.monotonic()
        self._done_s, self._songs = 0.0, 0.0
        self._parts: dict[Job, float] = {}      # of songs under way, in seconds
        self.done = self.failed = 0

    def progress(self, job: Job, seconds: float, of_song: float) -> None:
        """Count seconds of a song that were just done; of_song: how many it has."""
        with self._lock:
            self._done_s += seconds
            self._songs += seconds / of_song
            part = self._parts[job] = self._parts.get(job, 0.0) + seconds
            if part >= of_song:
                del self._parts[job]
            self._bar.set_description_str(f"{Path(job.name).name} {100 * part / of_song:.0f} %",
                                          refresh=False)
            self._bar.set_postfix_str(f"{self._speed():.1f} times real time", refresh=False)
            # A sum of parts may be a little more than the whole.
            self._bar.update(min(self._songs + self.failed, self._count) - self._bar.n)

    def counting(self, write: Callable[[Record], Any]) -> Callable[[Record], None]:
        """Return a call that writes a record and counts it, in any thread."""
        def count(record: Record) -> None:
            write(record)
            with self._lock:
                self.done += record["status"] == "done"
                self.failed += record["status"] == "failed"

        return count

    def ended(self, record: Record) -> None:
        """Say what is to be said of a song that has ended."""
        song = record["song"]
        if record["status"] == "failed":
            tell(f"error: {record['error']}")
            return
        rate, form = record["sample_rate"], self._settings.form
        if rate not in self._rates:
            tell(f"{song} and others of {rate} Hz are separated at that rate; the model was "
                 "trained at another one")
        written = format_of(form.names).rate(rate)
        if written != rate and rate not in self._written:
            tell(f"{song} and others of {rate} Hz: their stems have {written} Hz, as "
                 f"{Path(form.names).suffix} knows no {rate}")
        self._rates.add(rate)
        self._written.add(rate)
        if said := form.clipping(record["peak"]):
            tell(f"{song}: {said}")

    def close(self, left_out: int, times: stages.Times | None = None) -> None:
        """Print the summary; left_out: songs that were done before."""
        self._bar.close()
        if not self._count:
            print(f"nothing is left to do: {left_out} were done already (--again separates them "
                  "once more)" if left_out else "nothing is to do: this part has no songs")
            return
        wall_s = time.monotonic() - self._begin_s
        line = (f"{self.done} of {self.done + self.failed} songs separated: {self._done_s:.0f} s "
                f"of audio in {wall_s:.0f} s, {self._speed():.1f} times real time")
        if times is not None and self.done:
            line += f" (at the same time: {times.shares(wall_s)} of it)"
        print(line + (f"; {left_out} were done already" if left_out else ""))

    def benchmark(self, separator: Separator, times: stages.Times) -> None:
        """Print how fast it was, compiling apart, and what it took."""
        self._bar.close()
        compile_s = times.seconds["compile"]
        wall_s = max(time.monotonic() - self._begin_s - compile_s, 1e-9)
        memory = f"{provenance.peak_memory_bytes() / 1e9:.2f} GB"
        if (of_device := separator.peak_bytes()) is not None:
            memory += f", of a device {of_device / 1e9:.2f} GB"
        print(f"speed    {self._done_s / wall_s:.2f} times real time: {self._done_s:.1f} s of "
              f"audio in {wall_s:.2f} s\n"
              f"at work  {times.shares(wall_s)} of that time, side by side\n"
              f"compile  {compile_s:.2f} s before that, or to load what was compiled before\n"
              f"devices  {separator.describe()}\n"
              f"memory   {memory} at most")

    def _speed(self) -> float:
        return self._done_s / max(time.monotonic() - self._begin_s, 1e-9)


def separate_songs(separator: Separator, jobs: list[Job], settings: Settings, *,
                   part: str = "", again: bool = False, benchmark: bool = False,
                   keep: bool = True) -> int:
    """Separate songs into settings.output; returns how many could not be.

    Those are named on stderr while the rest goes on. Songs that the manifest says are done are left
    out, but `again`. Shows a progress bar and prints a summary; of a benchmark, how fast it was.
    keep: else the stems of a song are removed when it has ended.
    """
    with Manifest(settings.output, part) as manifest:
        model = separator.fingerprint()
        left = jobs if again else collection.unfinished(jobs, manifest, model, settings)
        report, times = Report(left, settings, separator.stft.sample_rate), stages.Times()
        try:
            with closing(collection.separate_jobs(
                    separator, left, settings, record=report.counting(manifest.add),
                    progress=report.progress, times=times)) as ended:
                for _, record in ended:
                    report.ended(record)
                    for file in () if keep else record.get("files", {}).values():
                        (Path(settings.output) / file).unlink()
        finally:
            if benchmark:
                report.benchmark(separator, times)
            else:
                report.close(len(jobs) - len(left), times)
    return report.failed


def time_songs(jobs: list[Job], settings: Settings, *, keep: bool) -> int:
    """Separate songs, or noise where there are none, and print how fast that was; returns how many
    could not be. keep: else the stems go to a temporary folder and are removed.
    """
    separator = settings.load()
    with tempfile.TemporaryDirectory(prefix="stemsep-") as folder:
        if not jobs:
            rate, channels = separator.stft.sample_rate, separator.channels
            wave_NC = np.random.default_rng(0).normal(0, 0.1, (_NOISE_S * rate, channels))
            jobs = [Job(f"{folder}/noise.wav", "noise")]
            soundfile.write(jobs[0].source, wave_NC.astype(np.float32), rate)
        if not keep:
            settings = replace(settings, output=f"{folder}/stems")
        return separate_songs(separator, jobs, settings, again=True, benchmark=True,
                              keep=keep)


def separate_on_ray(jobs: list[Job], settings: Settings, *, part: str, again: bool, workers: int,
                    devices: float) -> int:
    """Separate songs as `separate_songs` does, on a Ray cluster whose machines see the files."""
    separator = settings.load()
    with Manifest(settings.output, part) as manifest:
        left = jobs if again else collection.unfinished(jobs, manifest, separator.fingerprint(),
                                                        settings)
        report = Report(left, settings, separator.stft.sample_rate)
        by_source = {job.source: job for job in left}
        try:
            for record in collection.separate_on_ray(left, settings, workers=workers,
                                                     devices=devices):
                report.counting(manifest.add)(record)
                if record["status"] == "done":
                    report.progress(by_source[record["song"]], record["seconds"], record["seconds"])
                report.ended(record)
        finally:
            report.close(len(jobs) - len(left))
    return report.failed


def tell(sentence: str) -> None:
    """Print a sentence on stderr, beside a progress bar if there is one."""
    tqdm.write(sentence, file=sys.stderr)


def songs(arguments: Iterable[str], lists: Iterable[str], output: str) -> list[Job]:
    """Return the songs of arguments and lists; raises InputError where there is none."""
    given = [*arguments, *(line for path in lists for line in read_list(path))]
    if not given:
        raise InputError("no song given; name audio files, folders of them, or --list FILE")
    if found := plan(given, output):
        return found
    named = ", ".join(given[:3]) + (", ..." if len(given) > 3 else "")
    raise InputError(f"{named}: holds no audio files; name a WAV or FLAC file, or a folder of them")


def main() -> None:
    """Run the command."""
    checkpoints = flags.DEFINE_list(
        "checkpoint", None, "a training run, as in runs/drums, or an exported model.safetensors; "
        "of several, a,b, the estimates are averaged", required=True)
    output = flags.DEFINE_string("output", "separated", "where stems go: a folder or a bucket")
    lists = flags.DEFINE_multi_string("list", [], "a file with a song a line; - is standard input")
    define_form()
    define_quality()
    part = flags.DEFINE_string("shard", "", "2/8 is the second of eight parts of the songs")
    again = flags.DEFINE_bool("again", False, "separate songs that are done once more")
    benchmark = flags.DEFINE_bool(
        "benchmark", False, "tell how fast the songs are separated, done or not, or a minute of "
        "noise if none is given; their stems are kept only where --output is given")
    kind = flags.DEFINE_enum(
        "engine", "local", engine.ENGINES, "this process with all its devices; a part of the songs "
        "in each process of a launched job (spmd); a Ray cluster")
    workers = flags.DEFINE_integer("workers", 0, "with ray: how many at once; 0: all that fit")
    devices = flags.DEFINE_float("devices_per_worker", 0.0, "with ray: GPUs of each worker")
    flags.FLAGS.set_gnu_getopt(True)        # flags may follow songs

    def run(arguments: list[str]) -> int:
        signal.signal(signal.SIGTERM, signal.default_int_handler)   # leaves no half files either
        settings = Settings(tuple(checkpoints.value), output.value, quality(), form())
        timed, share = benchmark.value, part.value
        if timed and (kind.value != "local" or share):
            raise InputError("--benchmark times this process with all its devices; leave out "
                             + ("--shard" if share else f"--engine={kind.value}"))
        jobs = []
        if arguments or lists.value or not timed:
            jobs = songs(arguments, lists.value, output.value)
        if share:
            shard_numbers(share)
        parallel.prepare(accelerators=kind.value != "ray")
        if kind.value == "ray":
            return 1 if separate_on_ray(shard(jobs, share), settings, part=share,
                                        again=again.value, workers=workers.value,
                                        devices=devices.value) else 0
        job = DataParallel(local=True)      # several processes: each has songs of its own
        own, count = engine.rank() if kind.value == "spmd" else (job.process, job.processes)
        if timed:
            if count > 1:
                raise InputError("--benchmark times one process with all its devices; start it as "
                                 "one")
            return 1 if time_songs(jobs, settings, keep=flags.FLAGS["output"].present) else 0
        if count > 1:
            if share:
                raise InputError("--shard is for processes that know nothing of each other, and "
                                 "these share the songs out themselves; leave it out")
            share = f"{own + 1}/{count}"
        failed = separate_songs(settings.load(), shard(jobs, share), settings, part=share,
                                again=again.value)
        job.wait_for_all("separated")       # one that leaves early would end the others
        return 1 if failed else 0

    command.run(run)


if __name__ == "__main__":
    main()
