"""Collections of songs: separated with what is done already left out, and a line in a manifest for
each song that is done or failed, so that the same command goes on with what is missing.
"""

import functools
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from stemsep import audio, engine, remote, stages
from stemsep.errors import InputError
from stemsep.jobs import Job
from stemsep.manifest import Manifest, Record
from stemsep.outputs import Form, write_song
from stemsep.quality import Quality
from stemsep.separator import Passage, Separator

_READERS = 8        # songs read at once, at most: each keeps two batches of windows
_LOOKUPS = 16       # files that are asked for at once: those of buckets take a while each
_CHUNK = 16         # songs that a worker of a cluster gets at once

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


def fingerprint(job: Job, model: str, settings: Settings) -> str:
    """Return what the stems of a song follow from: its file, by size and time, the model and the
    settings, but the batch, which changes nothing.
    """
    if remote.is_remote(job.source):
        stamp = remote.stamp(job.source)
    else:
        facts = os.stat(job.source)
        stamp = repr([facts.st_size, facts.st_mtime_ns])
    said = [stamp, job.name, model, asdict(replace(settings.quality, batch=None)),
            asdict(settings.form)]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:24]


def unfinished(jobs: Iterable[Job], manifest: Manifest, model: str,
               settings: Settings) -> list[Job]:
    """Return the songs that are not done; one that is not there at all is among them."""
    def done(job: Job) -> bool:
        try:
            return manifest.mentions(job) and manifest.has(
                job, fingerprint(job, model, settings))
        except (OSError, ValueError):
            return False

    jobs = list(jobs)
    pool = ThreadPoolExecutor(_LOOKUPS)
    try:
        return [job for job, is_done in zip(jobs, pool.map(done, jobs)) if not is_done]
    finally:
        pool.shutdown(cancel_futures=True)      # an interrupt waits for no more of them


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
                "fingerprint": song.fingerprint, **done,
                "wall_s": round(time.monotonic() - begin_s, 3), "time": _now()}
        record(done)
        return done

    readers = min(_READERS, max(2, engine.cores() // 2))
    each = separator.each(jobs, functools.partial(_Song, separator, model, settings), finish,
                          readers=readers, times=times)
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

    def __init__(self, separator: Separator, model: str, settings: Settings, job: Job) -> None:
        self._job, self._settings, self._stems = job, settings, separator.stems
        self._stack = ExitStack()       # the folder of what was fetched, and of what will be sent
        try:
            path = Path(job.source)
            if remote.is_remote(job.source):
                path = remote.fetch(job.source, self._folder())
            with _named(path, job):
                self.info, self.tags = audio.probe(path), audio.tags(path)
            # Of the file that is read: another one may take its place meanwhile.
            self.fingerprint = fingerprint(job, model, settings)
            super().__init__(separator, self._blocks(path), self.info.sample_rate,
                             self.info.channels, residual=settings.form.residual,
                             grid=settings.form.grid, name=job.source)
        except BaseException:
            self.close()
            raise

    def _blocks(self, path: Path) -> Iterator[np.ndarray]:
        with _named(path, self._job):
            yield from audio.blocks(path, 1 << 16)

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
        return {
            "files": files, "bytes": sizes, "seconds": self.info.samples / self.info.sample_rate,
            "sample_rate": self.info.sample_rate, "channels": self.info.channels,
            "samples": self.info.samples, "peak": round(peak, 6),
            "gain_db": round(-20 * float(np.log10(peak)), 4) if peak > 1 and form.rescales else 0.0,
        }

    def close(self) -> None:
        """Remove what was fetched, and what was sent away."""
        self._stack.close()

    def _folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="stemsep-")))


@contextmanager
def _named(path: Path, job: Job) -> Iterator[None]:
    """What is wrong with a song that was fetched is told of its address, which the user knows."""
    try:
        yield
    except InputError as error:
        if not remote.is_remote(job.source):
            raise
        raise InputError(str(error).replace(str(path), job.source)) from error


@functools.lru_cache(maxsize=1)
def _loaded(settings: Settings) -> Separator:
    """A worker of a cluster works on many chunks: it loads and compiles once."""
    from stemsep import parallel

    parallel.prepare()
    return settings.load()


def separate_chunk(
    settings: Settings, jobs: Sequence[Job]
) -> tuple[list[Record], audio.DiskRefused | None]:
    """Separate some songs on the machine of a cluster; returns their records, and why they are not
    all there where its disk refuses.
    """
    records: list[Record] = []
    try:
        for _ in separate_jobs(_loaded(settings), jobs, settings, record=records.append):
            pass
    except audio.DiskRefused as error:
        return records, error
    return records, None


def separate_on_ray(
    jobs: Sequence[Job], settings: Settings, *, workers: int, devices: float
) -> Iterator[Record]:
    """Separate songs on a Ray cluster, chunk by chunk; yields their records as they come.

    workers: how many work at once, 0 for as many as the cluster has room for. devices: GPUs of each
    of them, 0 for none. Raises DiskRefused as `separate_jobs`, after the records of what was done.
    """
    size = max(1, min(_CHUNK, len(jobs) // (2 * (workers or engine.cores()))))
    chunks = [tuple(jobs[first:first + size]) for first in range(0, len(jobs), size)]
    task = functools.partial(separate_chunk, settings)
    for chunk, result in engine.run(task, chunks, workers=workers, engine="ray", devices=devices):
        if isinstance(result, Exception):
            yield from (_failed(job, result) for job in chunk)
            continue
        records, refused = result
        yield from records
        if refused is not None:
            raise refused


def _failed(job: Job, error: Exception) -> Record:
    words = str(error)
    if not isinstance(error, InputError):       # a fault of ours costs one song, not the collection
        words = f"{job.source}: {type(error).__name__}: {error}; please report this"
    return {"song": job.source, "name": job.name, "status": "failed", "error": words,
            "time": _now()}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")    # to be compared as text
