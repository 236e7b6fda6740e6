"""Whether a store is whole: every record, every shard's checksum, and nothing in no record."""

import json
import math
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

from stemsep.datasets.tracks import SPLITS
from stemsep.errors import InputError
from stemsep.store import Record, Store


def verify(store: Store) -> Iterator[tuple[str, list[str]]]:
    """Yield (split/track, what is wrong with it) of every track; reads all of the store.

    Also of what a killed run left, which the next run of preprocessing clears away. Memory is that
    of one shard.
    """
    for split in SPLITS:
        for name in store.names(split):
            try:
                record = store.record(split, name)
            except InputError as fault:
                yield f"{split}/{name}", [str(fault)]
                continue
            yield f"{split}/{record.name}", track_faults(store, record)
    for name in leftovers(store):
        yield name, ["is in no record: a run was killed; run python -m stemsep.preprocess again"]


def track_faults(store: Store, record: Record) -> list[str]:
    """Return what is wrong with a track: its array's description, its shards' checksums."""
    key, spec = f"{record.split}/{record.name}/zarr.json", store.spec
    path = f"{store.place}/{key}"
    try:
        shape = json.loads(store.place.read(key)[0] or b"")["shape"]
    except (ValueError, KeyError, TypeError):
        return [f"{path}: is missing or damaged"]
    if shape != [record.frames, len(spec.stems), *spec.frame_shape]:
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
                         f"{store.place}/index/{record.split}/{record.name}.json and run python "
                         "-m stemsep.preprocess again")
    return found


def checksums(store: Store, record: Record, place: int) -> tuple[int, ...]:
    """Return the CRC-32 of what each shard of a stem holds, as `Record.checksums` has it; raises
    InputError for a shard that cannot be read.
    """
    if not record.norms[place]:
        return ()
    windows = (store.read(record, first, count, stems=[place]).result()
               for first, count in store.spec.shards(record.frames))
    return tuple(zlib.crc32(np.ascontiguousarray(window).data) for window in windows)


def leftovers(store: Store) -> list[str]:
    """Return what a killed run left: tracks without a record, partial and lock files."""
    folders = [f"{split}/{name}" for split in SPLITS
               for name in set(store.place.children(split)) - set(store.names(split))]
    return sorted({*folders, *store.place.partial()})


def contents(store: Store) -> str:
    """Return what a store holds as lines of text."""
    spec = store.spec
    tracks = {split: store.tracks(split) for split in SPLITS}
    size = sum(size_of(store, own) for own in tracks.values())
    lines = [
        str(store.place),
        f"  {spec.sample_rate} Hz, {spec.channels} channel{'s' * (spec.channels > 1)}, "
        f"STFT {spec.n_fft}/{spec.hop}, {size / 1e9:.2f} GB",
        f"  {'split':<12}{'tracks':>8}{'hours':>9}" + "".join(f"{s:>12}" for s in spec.stems),
    ]
    for split, records in tracks.items():
        hours = sum(record.samples for record in records) / spec.sample_rate / 3600
        heard = [sum(record.norms[place] > 0 for record in records)
                 for place in range(len(spec.stems))]
        lines.append(f"  {split:<12}{len(records):>8}{hours:>9.2f}"
                     + "".join(f"{count:>12}" for count in heard))
    lines.append("  (below a stem: the tracks in which it sounds)")
    lines += [f"  {line}" for split, records in tracks.items() for line in _varied(split, records)]
    return "\n".join(lines)


def _varied(split: str, records: list[Record]) -> list[str]:
    """Return a line on the variations among the tracks of a split, if there are any."""
    found = [record.variation for record in records if record.variation]
    if not found:
        return []
    pitch, tempo = [v.semitones for v in found], [v.tempo for v in found]
    return [f"{split}: {len(found)} of the tracks are variations of others (semitones "
            f"{min(pitch):+.2f} to {max(pitch):+.2f}, tempo {min(tempo):.3f} to {max(tempo):.3f})"]


def size_of(store: Store, tracks: Iterable[Record]) -> int:
    """Return the bytes of the spectrograms: the frames of all stems that are not silent."""
    frame_bytes = 2 * math.prod(store.spec.frame_shape)
    return sum(record.frames * frame_bytes * sum(norm > 0 for norm in record.norms)
               for record in tracks)
