"""Where a run lies: a local folder, which one run writes to at a time, or gs://bucket/path."""

import errno
import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from etils import epath

from stemsep import files
from stemsep.errors import InputError

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of file systems that have none


def folder(workdir: str | os.PathLike) -> epath.Path:
    """Return the folder of a run, absolute, or its place in a bucket.

    Raises InputError for addresses that checkpoints cannot be written to.
    """
    scheme, slashes, rest = _parts(workdir)
    if not scheme:
        return epath.Path(os.path.abspath(workdir))
    url = f"{scheme}://{rest.rstrip('/')}"
    if scheme != "gs":
        raise InputError(
            f"{url}: a run lies in a local folder or at gs://bucket/path; train in a local folder "
            "and copy it there afterwards"
        )
    if not rest.strip("/"):
        raise InputError(f"{workdir}: names no bucket; write gs://bucket/path")
    if importlib.util.find_spec("gcsfs") is None:
        raise InputError(f"{url}: needs gcsfs; pip install 'stemsep[gcs]', or give a local folder")
    return epath.Path(url)


def in_bucket(workdir: str | os.PathLike) -> bool:
    """Whether a run lies in a bucket."""
    return bool(_parts(workdir)[0])


def local(workdir: str | os.PathLike, name: str) -> Path:
    """Return the local folder for what a run writes beside its checkpoints: the run's own, or
    runs/<name> where it lies in a bucket, in which no file can be appended to.
    """
    return Path("runs") / name if in_bucket(workdir) else Path(workdir)


@contextmanager
def alone(workdir: epath.Path) -> Iterator[None]:
    """Keep other runs out of a local workdir, which is made; a bucket cannot be locked.

    Raises InputError where another run has it.
    """
    with ExitStack() as stack:
        if not in_bucket(workdir):
            workdir.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(files.locked(Path(workdir)))
            except BlockingIOError as error:
                raise InputError(
                    f"{workdir}: another run is training here; wait until it has ended, or give "
                    "another --workdir"
                ) from error
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
        yield


def _parts(workdir: str | os.PathLike) -> tuple[str, str, str]:
    """Return the scheme of a URL, its slashes and the rest; pathlib makes one slash of two."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(//?)(.*)", os.fspath(workdir))
    return (found[1], found[2], found[3]) if found else ("", "", os.fspath(workdir))
