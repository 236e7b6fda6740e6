"""The record of a collection of songs: which are done, which failed and why.

OUTPUT/manifest.jsonl is written as songs end, so whatever ends the work, what is done is known.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from stemsep import remote
from stemsep.errors import InputError
from stemsep.jobs import Job

_SEND_S = 10.0      # between two copies of a manifest to a bucket, where no file can be appended to

Record = dict[str, Any]


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
        self._file: BinaryIO | None = None
        self._done: dict[str, Record] = {}      # by song
        self._wrote: dict[str, str] = {}        # file -> the song whose stem it is

    def __enter__(self) -> "Manifest":
        if remote.is_remote(self._place):
            self._text = remote.read_text(self._place)
        else:
            self._file = self._locked()
        # What several parts say of a song, or several songs of a file, counts by its time.
        for record in sorted(self._read(), key=lambda record: str(record.get("time"))):
            self._done[record["song"]] = record
            self._wrote.update(dict.fromkeys(record.get("bytes", ()), record["song"]))
        return self

    def _locked(self) -> BinaryIO:
        Path(self._place).parent.mkdir(parents=True, exist_ok=True)
        file = open(self._place, "ab+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise InputError(f"{self._place}: another process separates into this folder; wait "
                             "until it has ended, give another --output, or --shard to "
                             "both") from error
        except OSError:
            pass        # some disks of clusters have no locks
        if file.tell():     # a line that a killed process left is ended
            file.seek(file.tell() - 1)
            if file.read(1) != b"\n":
                file.write(b"\n")
        return file

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        elif self._text:
            remote.write_text(self._place, self._text)

    def add(self, record: Record) -> None:
        """Write a line, from any thread."""
        with self._lock:
            line = _line(record)
            if self._file is not None:
                self._file.write(line.encode())
                self._file.flush()
                os.fsync(self._file.fileno())
                return
            self._text += line
            if time.monotonic() - self._sent_s > _SEND_S:
                self._sent_s = time.monotonic()
                try:
                    remote.write_text(self._place, self._text)
                except InputError:
                    pass        # it is sent again soon, and at the end, where it must not fail

    def mentions(self, job: Job) -> bool:
        """Whether anything is known of a song."""
        return job.source in self._done

    def has(self, job: Job, fingerprint: str) -> bool:
        """Whether a song is done: of the same file, model and settings, with all files there that
        it wrote, none of which another song of its name has written over.
        """
        record = self._done.get(job.source, {})
        return (record.get("fingerprint") == fingerprint and record.get("status") == "done"
                and all(self._wrote[file] == job.source
                        and _size(f"{self._output.rstrip('/')}/{file}") == size
                        for file, size in record["bytes"].items()))

    def _read(self) -> Iterator[Record]:
        if remote.is_remote(self._output):
            texts = [remote.read_text(file) for file, _ in
                     remote.listing(f"{self._output.rstrip('/')}/manifest*", frozenset([".jsonl"]))]
        else:
            texts = [path.read_text(encoding="utf-8", errors="replace")
                     for path in sorted(Path(self._output).glob("manifest*.jsonl"))]
        for line in "\n".join(texts).split("\n"):       # names may hold other ends of lines
            try:
                record = json.loads(line)
            except ValueError:      # cut short by what killed its writer
                continue
            if isinstance(record, dict) and "song" in record:
                yield record


def _size(place: str) -> int | None:
    if remote.is_remote(place):
        return remote.size(place)
    path = Path(place)
    return path.stat().st_size if path.is_file() else None


def _line(record: Record) -> str:
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        line.encode()
    except UnicodeEncodeError:      # names of files may be of bytes that are no text
        line = json.dumps(record, allow_nan=False) + "\n"
    return line
