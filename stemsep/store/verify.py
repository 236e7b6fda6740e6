"""Whether a store is whole: every record, every shard's checksum, and nothing in no record."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stemsep import files
from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from stemsep.store import Record, Store, shards


def verify(store: Store) -> Iterator[tuple[str, list[str]]]:
    """Yield (split/track, what is wrong with it) of every track; reads all of the store.

    Also of what a killed run left, which the next run of preprocessing clears away. Memory is that
    of one shard.
    """
    for split in SPLITS:
        for path in sorted((store.path / "index" / split).glob("*.json")):
            try:
                record = store.record(path)
            except InputError as fault:
                yield f"{split}/{path.stem}", [str(fault)]
                continue
            yield f"{split}/{record.name}", track_faults(store, record)
    for name in leftovers(store):
        yield name, ["is in no record: a run was killed; run python -m stemsep.preprocess again"]


def track_faults(store: Store, record: Record) -> list[str]:
    """Return what is wrong with a track: its array's description, its shards' checksums."""
    path = store.path / record.split / record.name / "zarr.json"
    try:
        shape = json.loads(path.read_text(encoding="utf-8"))["shape"]
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{path}: is missing or damaged"]
    spec = store.spec
    if shape != [record.frames, len(spec.stems), spec.channels, spec.stft.bins, 2]:
        return [f"{path}: has the shape {shape}, which is not that of its record"]
    found = []
    for place, stem in enumerate(spec.stems):
        try:
            whole = checksums(store, record, place) == record.checksums[place]
        except InputError as fault:
            found.append(f"stem {stem!r}: {fault}")
            continue
        if not whole:
            found.append(f"stem {stem!r}: differs from its checksum; delete "
                         f"{store.path / 'index' / record.split / record.name}.json and run python "
                         "-m stemsep.preprocess again")
    return found


def checksums(store: Store, record: Record, place: int) -> tuple[int, ...]:
    """Return the CRC-32 of what each shard of a stem holds, as `Record.checksums` has it; raises
    InputError for a shard that cannot be read.
    """
    if not record.norms[place]:
        return ()
    windows = (store.read(record, first, count, stems=[place]).result()
               for first, count in shards(record.frames))
    return tuple(zlib.crc32(np.ascontiguousarray(window).data) for window in windows)


def leftovers(store: Store) -> list[str]:
    """Return what a killed run left: tracks without a record, partial and lock files."""
    known = {(split, path.stem) for split in SPLITS
             for path in (store.path / "index" / split).glob("*.json")}
    folders = [folder for split in SPLITS for folder in (store.path / split).glob("*")
               if (split, folder.name) not in known]
    partial = [path for pattern in ("*.__lock", f"*{files.PART}")
               for path in store.path.rglob(pattern) if path.is_file()]
    return [str(path.relative_to(store.path)) for path in sorted({*folders, *partial})]


def contents(store: Store) -> str:
    """Return what a store holds as lines of text."""
    spec = store.spec
    lines = [
        str(store.path),
        f"  {spec.sample_rate} Hz, {spec.channels} channel{'s' * (spec.channels > 1)}, "
        f"STFT {spec.n_fft}/{spec.hop}, {size_of(store.path) / 1e9:.2f} GB",
        f"  {'split':<12}{'tracks':>8}{'hours':>9}" + "".join(f"{s:>12}" for s in spec.stems),
    ]
    for split in SPLITS:
        records = store.tracks(split)
        hours = sum(record.samples for record in records) / spec.sample_rate / 3600
        heard = [sum(record.norms[place] > 0 for record in records)
                 for place in range(len(spec.stems))]
        lines.append(f"  {split:<12}{len(records):>8}{hours:>9.2f}"
                     + "".join(f"{count:>12}" for count in heard))
    lines.append("  (below a stem: the tracks in which it sounds)")
    return "\n".join(lines)


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
