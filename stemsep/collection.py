"""Collections of songs: separated with what is done already left out, and a line in a manifest for
each song that is done or failed.

OUTPUT/manifest.jsonl is written as songs end, so whatever ends the work, the same command goes on
with what is missing.
"""

import fcntl
import functools
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from stemsep import audio, engine, remote, stages
from stemsep.errors import InputError
from stemsep.jobs import Job
from stemsep.outputs import Form, write_song
from stemsep.separator import Passage, Quality, Separator

_SEND_S = 10.0      # between two copies of a manifest to a bucket, where no file can be appended to
_CHUNK = 16         # songs that a worker of a cluster gets at once

Record = dict[str, Any]
Progress = Callable[[Job, float, float], Any]


@dataclass(frozen=True)
class Settings:
    """All that the stems of a song depend on, beside the song; it can be sent to other machines."""

    checkpoints: tuple[str, ...]
    output: str
    quality: Quality = Quality()
    form: Form = Form()

    def load(self) -> Separator:
        """Return the separator; raises InputError where the form does not suit the model."""
        separator = Separator.load(*self.checkpoints, quality=self.quality)
        self.form.check(separator.stems)
        if self.form.residual:
            separator.check_residual()
        return separator


class Manifest:
    """What was separated into a folder or bucket: a line of JSON each song, in the order in which
    they ended; of a song that has several, the last one counts.

    part: "2/8" of a collection that several machines share has a file of its own. Raises InputError
    where another process writes to the same. All parts are read.
    """

    def __init__(self, output: str, part: str = "") -> None:
        name = f"manifest.{part.replace('/', '-of-')}.jsonl" if part else "manifest.jsonl"
        self._place = f"{output.rstrip('/')}/{name}"
        self._output = output
        self._lock = threading.Lock()
        self._text, self._sent_s = "", 0.0
        self._file: TextIO | None = None
        self._done = {record["song"]: record for record in self._read() if "song" in record}

    def __enter__(self) -> "Manifest":
        if remote.is_remote(self._place):
            self._text = remote.read_text(self._place)
            return self
        Path(self._place).parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._place, "a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise InputError(f"{self._place}: another process separates into this folder; wait "
                             "until it has ended, give another --output, or --shard to "
                             "both") from error
        if self._file.tell():       # a line that a killed process left is ended
            self._file.seek(self._file.tell() - 1)
            if self._file.read(1) != "\n":
                self._file.write("\n")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        elif self._text:
            remote.write_text(self._place, self._text)

    def add(self, record: Record) -> None:
        """Write a line, from any thread."""
        with self._lock:
            line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
            if self._file is not None:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
                return
            self._text += line
            if time.monotonic() - self._sent_s > _SEND_S:
                remote.write_text(self._place, self._text)
                self._sent_s = time.monotonic()

    def has(self, job: Job, fingerprint: str) -> bool:
        """Whether a song is done: of the same file, model and settings, with all files there."""
        record = self._done.get(job.source, {})
        return (record.get("fingerprint") == fingerprint and record.get("status") == "done"
                and all(_size(f"{self._output.rstrip('/')}/{file}") == size
                        for file, size in record["bytes"].items()))

    def _read(self) -> Iterator[Record]:
        if remote.is_remote(self._output):
            texts = [remote.read_text(file) for file, _ in
                     remote.listing(f"{self._output.rstrip('/')}/manifest*", frozenset([".jsonl"]))]
        else:
            texts = [path.read_text(encoding="utf-8", errors="replace")
                     for path in sorted(Path(self._output).glob("manifest*.jsonl"))]
        for line in "\n".join(texts).splitlines():
            try:
                record = json.loads(line)
            except ValueError:      # cut short by what killed its writer
                continue
            if isinstance(record, dict):
                yield record


def fingerprint(job: Job, model: str, settings: Settings) -> str:
    """Return what the stems of a song follow from: its file, by size and time, the model and the
    settings.
    """
    if remote.is_remote(job.source):
        stamp = remote.stamp(job.source)
    else:
        facts = os.stat(job.source)
        stamp = repr([facts.st_size, facts.st_mtime_ns])
    said = [stamp, job.name, model, asdict(settings.quality), asdict(settings.form)]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:24]


def unfinished(jobs: Iterable[Job], manifest: Manifest, model: str,
               settings: Settings) -> list[Job]:
    """Return the songs that are not done; one that is not there at all is among them."""
    def done(job: Job) -> bool:
        try:
            return manifest.has(job, fingerprint(job, model, settings))
        except (OSError, InputError):
            return False

    return [job for job in jobs if not done(job)]


def separate_jobs(
    separator: Separator, jobs: Sequence[Job], settings: Settings, *,
    record: Callable[[Record], Any] = lambda record: None,
    progress: Progress = lambda job, seconds, of_song: None,
    times: stages.Times | None = None,
) -> Generator[tuple[Job, Record], None, None]:
    """Separate songs; yields each with its record, in order.

    A record of status "done" says what was written, one of "failed" why not; `record` is called
    with it, in any thread, as soon as a song has ended. progress: is called with the seconds of
    audio just done and those of the whole song. Raises DiskRefused where no song could be written
    any more.
    """
    model = separator.fingerprint()

    def finish(job: Job, song: "_Song", stems: Iterator[np.ndarray]) -> Record:
        begin_s = time.monotonic()
        of_song = song.info.samples / song.info.sample_rate
        done = song.write(stems, lambda seconds: progress(job, seconds, of_song))
        done = {"song": job.source, "name": job.name, "status": "done",
                "fingerprint": fingerprint(job, model, settings), **done,
                "wall_s": round(time.monotonic() - begin_s, 3), "time": _now()}
        record(done)
        return done

    each = separator.each(jobs, functools.partial(_Song, separator, settings), finish,
                          readers=max(2, engine.cores() // 2), times=times)
    with closing(each):     # whatever ends this ends its threads
        for job, result in each:
            if isinstance(result, audio.DiskRefused):
                raise result
            if isinstance(result, Exception):
                result = _failed(job, result)
                record(result)
            yield job, result


class _Song(Passage):
    """A file on its way through a separator to the files of its stems."""

    def __init__(self, separator: Separator, settings: Settings, job: Job) -> None:
        self._job, self._settings = job, settings
        self._stack = ExitStack()       # the folder of what was fetched, and of what will be sent
        try:
            path = Path(job.source)
            if remote.is_remote(job.source):
                path = remote.fetch(job.source, self._folder())
            self.info = audio.probe(path)
            self.tags = audio.tags(path)
            form = settings.form
            super().__init__(separator, audio.blocks(path, 1 << 16), self.info.sample_rate,
                             self.info.channels, residual=form.residual, grid=form.grid,
                             name=job.source)
            self._stems = separator.stems
        except BaseException as error:
            self.close()
            # What was fetched is known to the user by its address.
            if isinstance(error, InputError) and remote.is_remote(job.source):
                raise InputError(str(error).replace(str(path), job.source)) from error
            raise

    def write(self, stems: Iterator[np.ndarray], progress: Callable[[float], Any]) -> Record:
        """Write the stems and return what was written; see `separate_jobs`."""
        form, output = self._settings.form, self._settings.output.rstrip("/")
        away = remote.is_remote(output)
        folder = self._folder() if away else Path(output)
        files = form.files(self._job.name, self._stems)
        peak = write_song(
            stems, [folder / file for file in files.values()], form.weights(self._stems), form,
            sample_rate=self.info.sample_rate, channels=self.info.channels,
            samples=self.info.samples, tags=self.tags,
            progress=lambda samples: progress(samples / self.info.sample_rate))
        sizes = {file: (folder / file).stat().st_size for file in files.values()}
        if away:
            for file in files.values():
                remote.send(folder / file, f"{output}/{file}")
        rescaled = peak > 1 and not form.unlimited and form.clip in (None, "rescale")
        return {
            "files": files, "bytes": sizes, "seconds": self.info.samples / self.info.sample_rate,
            "sample_rate": self.info.sample_rate, "channels": self.info.channels,
            "samples": self.info.samples, "peak": round(peak, 6),
            "gain_db": round(-20 * float(np.log10(peak)), 4) if rescaled else 0.0,
        }

    def close(self) -> None:
        """Remove what was fetched, and what was sent away."""
        self._stack.close()

    def _folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="stemsep-")))


@functools.lru_cache(maxsize=1)
def _loaded(settings: Settings) -> Separator:
    """A worker of a cluster works on many chunks: it loads and compiles once."""
    from stemsep import parallel

    parallel.prepare()
    return settings.load()


def separate_chunk(settings: Settings, jobs: Sequence[Job]) -> list[Record]:
    """Separate some songs on the machine of a cluster; returns their records."""
    return [record for _, record in separate_jobs(_loaded(settings), jobs, settings)]


def separate_on_ray(
    jobs: Sequence[Job], settings: Settings, *, workers: int, devices: float
) -> Iterator[Record]:
    """Separate songs on a Ray cluster, chunk by chunk; yields their records as they come.

    workers: how many work at once, 0 for as many as the cluster has room for. devices: GPUs of each
    of them, 0 for none.
    """
    size = max(1, min(_CHUNK, len(jobs) // (2 * (workers or engine.cores()))))
    chunks = [tuple(jobs[first:first + size]) for first in range(0, len(jobs), size)]
    task = functools.partial(separate_chunk, settings)
    for chunk, result in engine.run(task, chunks, workers=workers, engine="ray", devices=devices):
        if isinstance(result, audio.DiskRefused):
            raise result
        if isinstance(result, Exception):
            yield from (_failed(job, result) for job in chunk)
        else:
            yield from result


def _failed(job: Job, error: Exception) -> Record:
    words = str(error)
    if not isinstance(error, InputError):       # a fault of ours costs one song, not the collection
        words = f"{job.source}: {type(error).__name__}: {error}; please report this"
    return {"song": job.source, "name": job.name, "status": "failed", "error": words,
            "time": _now()}


def _size(place: str) -> int | None:
    if remote.is_remote(place):
        return remote.size(place)
    path = Path(place)
    return path.stat().st_size if path.is_file() else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
