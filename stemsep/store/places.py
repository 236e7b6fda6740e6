"""Where a store lies: a folder, or a bucket of Google Cloud Storage or Amazon S3.

Both hold named values, each of which appears whole or not at all; `kvstore` says to TensorStore
where an array is.
"""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tensorstore as ts

from stemsep import files
from stemsep.errors import InputError

_WRITERS = files.LOCK + "-writers"      # shared by those who write a track just now


class Folder:
    """A place in the file system."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path).absolute()

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        """Whether there is anything but what a killed process left before its first file."""
        return self.path.is_dir() and not files.is_empty(self.path)

    def read(self, *keys: str) -> list[bytes | None]:
        """Return the values of keys, None for each that is not there."""
        found: list[bytes | None] = []
        for key in keys:
            try:
                found.append((self.path / key).read_bytes())
            except (FileNotFoundError, NotADirectoryError):
                found.append(None)
        return found

    def write(self, key: str, value: bytes) -> None:
        """Write a value in place of the one that is there."""
        files.write_bytes(self.path / key, value)

    def children(self, key: str) -> list[str]:
        """Return what lies below a key, one level down, in order; nothing that is half written."""
        folder = self.path / key
        names = os.listdir(folder) if folder.is_dir() else []
        return sorted(name for name in names if (folder / name).is_dir() or not _is_partial(name))

    def delete(self, key: str) -> None:
        """Delete a value, or all of the values right below a key; nothing may be there."""
        path = self.path / key
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        for inner in path.iterdir():
            inner.unlink()
        path.rmdir()

    def kvstore(self, key: str) -> dict[str, Any]:
        return {"driver": "file", "path": str(self.path / key)}

    def partial(self) -> list[str]:
        """Return what a killed process left of single values."""
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*")
                      if _is_partial(path.name) and path.is_file())

    @contextmanager
    def writing(self, *, shared: bool) -> Iterator[None]:
        """Keep other writers out (InputError), but for those who share; wait for the last track of
        those who are about to end.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self.path, shared=shared))
            except BlockingIOError as error:
                raise InputError(f"{self}: another process is writing to it; wait until it has "
                                 "ended") from error
            if not shared:
                with files.locked(self.path, wait=True, name=_WRITERS):
                    for key in self.partial():
                        (self.path / key).unlink()
            yield

    @contextmanager
    def writing_track(self) -> Iterator[None]:
        """Let a run that begins wait: a worker of one that was killed may live a little longer."""
        with files.locked(self.path, wait=True, shared=True, name=_WRITERS):
            yield


class Bucket:
    """A place in a bucket, gs://bucket/path or s3://bucket/path. It cannot be locked.

    endpoint: the address of a service that speaks S3, as http://127.0.0.1:9000; empty is Amazon's,
    or what AWS_ENDPOINT_URL says. For gs:// TENSORSTORE_GCS_HTTP_URL says it.
    """

    def __init__(self, url: str, endpoint: str = "") -> None:
        scheme, _, rest = url.partition("://")
        bucket, _, path = rest.rstrip("/").partition("/")
        self._url = f"{scheme}://{rest.rstrip('/')}"
        if not bucket:
            raise InputError(f"{url}: names no bucket; write {scheme}://bucket/path")
        self._base: dict[str, Any] = {"driver": _DRIVERS[scheme], "bucket": bucket}
        self._path = path + "/" if path else ""
        if scheme == "s3":
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
            if endpoint:        # for which TensorStore asks for a region, whatever it is
                self._base |= {"endpoint": endpoint, "aws_region": region or "us-east-1"}
            elif region:
                self._base["aws_region"] = region
            if "AWS_ACCESS_KEY_ID" in os.environ:   # else the library complains of what it misses
                self._base["aws_credentials"] = {"type": "environment"}
        self._context = ts.Context(RETRIES)
        self._opened: Any = None

    def __str__(self) -> str:
        return self._url

    @property
    def _kv(self) -> Any:
        if self._opened is None:
            self._opened = self._done(ts.KvStore.open(self._base, context=self._context))
        return self._opened

    def exists(self) -> bool:
        """Whether there is anything."""
        return bool(self.children(""))

    def read(self, *keys: str) -> list[bytes | None]:
        """Return the values of keys, None for each that is not there."""
        futures = [self._kv.read(self._path + key) for key in keys]
        results = [self._done(future) for future in futures]
        return [None if result.state == "missing" else result.value for result in results]

    def write(self, key: str, value: bytes) -> None:
        """Write a value in place of the one that is there."""
        self._done(self._kv.write(self._path + key, value))

    def children(self, key: str) -> list[str]:
        """Return what lies below a key, one level down, in order."""
        prefix = key + "/" if key else ""
        return sorted({name[len(prefix):].partition("/")[0] for name in self._below(prefix)})

    def delete(self, key: str) -> None:
        """Delete a value, or all of the values below a key; nothing may be there."""
        gone = [self._kv.write(self._path + name, None) for name in [key, *self._below(key + "/")]]
        for future in gone:
            self._done(future)

    def kvstore(self, key: str) -> dict[str, Any]:
        return {**self._base, "path": f"{self._path}{key}/"}

    def partial(self) -> list[str]:
        """Return nothing: in a bucket no value is ever half written."""
        return []

    @contextmanager
    def writing(self, *, shared: bool) -> Iterator[None]:
        """Do nothing: see the class."""
        yield

    @contextmanager
    def writing_track(self) -> Iterator[None]:
        """Do nothing: see the class."""
        yield

    def _below(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix."""
        first = self._path + prefix
        end = first[:-1] + chr(ord(first[-1]) + 1) if first else ""
        keys = [key.decode() for key in self._done(self._kv.list(ts.KvStore.KeyRange(first, end)))]
        # Not every service keeps to the range.
        return [key[len(self._path):] for key in keys if key.startswith(first)]

    def _done(self, future: Any) -> Any:
        """Wait for what the bucket answers; raises InputError where it refuses."""
        try:
            return future.result()
        except (ValueError, PermissionError, NotImplementedError) as error:
            raise InputError(f"{self}: the bucket refuses ({reason(error)}); check its name, your "
                             "credentials, and the endpoint (config.data.endpoint, "
                             "TENSORSTORE_GCS_HTTP_URL)") from error


Place = Folder | Bucket

_DRIVERS = {"gs": "gcs", "s3": "s3"}
# TensorStore's own 32 tries take minutes to say that a server is not there.
_RETRIES = {"max_retries": 6, "initial_delay": "0.2s", "max_delay": "2s"}
RETRIES = {"gcs_request_retries": _RETRIES, "s3_request_retries": _RETRIES}


def place(url: str | os.PathLike, endpoint: str = "") -> Place:
    """Return the place that a path or URL names; raises InputError for an unknown scheme."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", str(url))
    if scheme is None:
        return Folder(url)
    if scheme[1] not in _DRIVERS:
        raise InputError(f"{url}: a store lies in a folder, or at gs://bucket/path or "
                         "s3://bucket/path; give one of these")
    return Bucket(str(url), endpoint)


def reason(error: Exception) -> str:
    """Return the system's words in what TensorStore says of a failure, or the first line of it."""
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else str(error).splitlines()[0]


def _is_partial(name: str, ends: Collection[str] = (files.PART, ".__lock")) -> bool:
    return name.endswith(tuple(ends))
