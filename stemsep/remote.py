"""Songs in buckets, and their stems: what lies at an address (gs://, s3://, https://, ...) is
copied to a local file before it is read, and from one after it was written. Through fsspec.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stemsep.errors import InputError


def is_remote(place: object) -> bool:
    """Whether a place is an address and no path."""
    return "://" in str(place)


def listing(address: str, suffixes: frozenset[str]) -> list[tuple[str, str]]:
    """Return the files with these suffixes below an address, at any depth, in order: their
    addresses, and their names below it; of a file, its own; of nothing, none. Stars stand for
    names, as in a shell.
    """
    with _told(address):
        system, path = _system(address)
        below = "*" not in path and not system.isfile(path)
        found = system.find(path) if below else system.glob(path)
        return sorted(
            (str(system.unstrip_protocol(file)),
             file.removeprefix(path).lstrip("/") if below else Path(file).name)
            for file in found
            if Path(file).suffix.lower() in suffixes and not Path(file).name.startswith("."))


def full(address: str) -> str:
    """Return an address as `listing` writes it."""
    with _told(address):
        system, path = _system(address)
        return str(system.unstrip_protocol(path))


def fetch(address: str, folder: Path) -> Path:
    """Copy a file to a folder and return its path; raises InputError where it is not there."""
    path = folder / "song"      # an address may be of what is no name of a file
    with _told(address):
        system, source = _system(address)
        with system.open(source, "rb") as file, open(path, "wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
    return path


def stamp(address: str) -> str:
    """Return what tells a file from another version of it: its size and its tag or time."""
    with _told(address):
        system, path = _system(address)
        facts = system.info(path)
    known = ("etag", "ETag", "md5Hash", "generation", "mtime", "LastModified", "updated", "created")
    return repr([facts.get("size"), *(str(facts[name]) for name in known if name in facts)])


def send(path: Path, address: str) -> None:
    """Copy a file to an address, where it appears whole."""
    with _told(address):
        system, target = _system(address)
        system.put_file(str(path), target)


def size(address: str) -> int | None:
    """Return how many bytes lie at an address, or None where nothing does."""
    with _told(address):
        system, path = _system(address)
        return int(system.size(path)) if system.isfile(path) else None


def read_text(address: str) -> str:
    """Return a text, empty where there is none."""
    with _told(address):
        system, path = _system(address)
        return system.cat_file(path).decode() if system.isfile(path) else ""


def write_text(address: str, text: str) -> None:
    """Put a text in place of the one that is there."""
    with _told(address):
        system, path = _system(address)
        system.pipe_file(path, text.encode())


def _system(address: str) -> tuple[Any, str]:
    import fsspec  # slow to import with its implementations

    system, path = fsspec.core.url_to_fs(address)
    # Listings are kept otherwise, and what was just written is not in them.
    system.invalidate_cache()
    return system, path


@contextmanager
def _told(address: str) -> Iterator[None]:
    """What goes wrong leaves as an InputError that names the address."""
    try:
        yield
    except ImportError as error:
        raise InputError(f"{address}: {error}; install it, or copy the files to this "
                         "machine") from error
    except ValueError as error:
        raise InputError(f"{address}: {error}; give a path, or an address that fsspec "
                         "knows") from error
    except FileNotFoundError as error:
        raise InputError(f"{address}: there is no such file; check the address") from error
    except Exception as error:      # each service has its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{address}: cannot be reached ({reason}); check the address, and that "
                         "you are logged in") from error
