"""One song of a MIDI file from its notes to a folder in Slakh's layout: arrange, render, write.

Kept apart from the command, because worker processes import the module of what they run.
"""

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from stemsep.datasets import fluid, production
from stemsep.datasets.band import VOICES
from stemsep.datasets.midi_file import content, parse
from stemsep.datasets.production import Stem, role
from stemsep.datasets.score import Note, Part, Song
from stemsep.datasets.songs import SAMPLE_RATE, load_font, save_track
from stemsep.errors import InputError

LIMIT_S = 1200.0        # of a song: its stems stand in memory together, 10 MB a minute each
_MELODIC_PARTS = 15     # what a MIDI file has channels for
_LEAD_IN_S = 1.0        # of silence before the first note is kept
_RING_S = 2.0           # after the last note
_SHORTEST_S = 0.02      # of a note at the cut
_SINGER = 53            # the program "Voice Oohs"
RENDERERS: dict[str, Callable[..., list[Stem]]] = {"demo": production.produce,
                                                   "fluidsynth": fluid.produce}


class Job(NamedTuple):
    """A track to make. name: of the MIDI file in its collection; digest: of its content."""

    midi: Path
    name: str
    digest: str
    variation: int
    folder: Path


class Heard(NamedTuple):
    """What a MIDI file gives: seconds and parts of its song as it is rendered."""

    seconds: float
    parts: int


def hear(midi: Path, *, seconds: float, renderer: str) -> Heard:
    """Read a MIDI file; InputError says, without its name, why no song can be made of it."""
    song = arrange(parse(content(midi)), seconds=seconds, sung=renderer == "demo")
    return Heard(song.seconds, len(song.parts))


def make_track(job: Job, *, seconds: float, seed: int, channels: int, fonts: Sequence[str],
               renderer: str) -> bool:
    """Render and write one track, a function of the file's content, the variation and the settings.

    The folder appears as `save_track` says. Returns False, and writes nothing, where no part can be
    heard. Raises InputError when the file has changed since it was listed, or the disk refuses.
    """
    data = content(job.midi)
    if digest(data) != job.digest:
        raise InputError("changed while songs were made; run the same command again")
    song = arrange(parse(data), seconds=seconds, sung=renderer == "demo")
    stems = RENDERERS[renderer](song, [load_font(font) for font in fonts], channels=channels,
                                seed=(seed, int(job.digest[:16], 16), job.variation),
                                sample_rate=SAMPLE_RATE)
    if stems:
        save_track(job.folder, song, stems, midi_file=job.name, midi_sha256=job.digest,
                   variation=job.variation, renderer=renderer,
                   soundfonts=[Path(font).name for font in fonts])
    return bool(stems)


def digest(data: bytes) -> str:
    """Return what tells one file's content from another's."""
    return hashlib.sha256(data).hexdigest()


def arrange(song: Song, *, seconds: float, sung: bool) -> Song:
    """Return the song as it is rendered: one kit, at most 15 other parts, and cut to length.

    seconds: at most so long, 0 for the whole song up to LIMIT_S; of the silence before the first
    note one second is left. sung: parts that are named as voices get a voice's program, because a
    singer plays them. Raises InputError where nothing is left.
    """
    parts = [part for part in song.parts if not part.is_drum]
    if sung:
        parts = [dataclasses.replace(part, program=_SINGER)
                 if role(part) == "voice" and part.program not in VOICES else part
                 for part in parts]
    parts = _fewer(parts)
    drums = [part for part in song.parts if part.is_drum]
    if drums:
        # Files have a track for every drum, or change kits; mixed apart they would be no kit.
        parts = [_merged(drums), *parts]
    first_s = min(note.start_s for part in parts for note in part.notes)
    early_s = max(first_s - _LEAD_IN_S, 0.0)
    limit_s = min(seconds or LIMIT_S, LIMIT_S)
    cut = [_cut(part, early_s, limit_s) for part in parts]
    kept = tuple(part for part in cut if part.notes)
    if not kept:
        raise InputError(f"has no notes within {limit_s:g} seconds")
    last_s = max(note.end_s for part in kept for note in part.notes)
    return dataclasses.replace(song, seconds=min(last_s + _RING_S, limit_s), parts=kept)


def _fewer(parts: list[Part]) -> list[Part]:
    """Return at most 15 parts: those of one program together, and of these the ones that play most.
    """
    if len(parts) <= _MELODIC_PARTS:
        return parts
    alike = defaultdict(list)
    for part in parts:
        alike[part.program].append(part)
    merged = [_merged(same) for same in alike.values()]
    busiest = sorted(merged, key=lambda part: -len(part.notes))[:_MELODIC_PARTS]
    return [part for part in merged if part in busiest]


def _merged(parts: list[Part]) -> Part:
    """Return parts as one, called and programmed as the one that plays most.

    Bends are lost where several parts are merged: they would bend each other's notes.
    """
    if len(parts) == 1:
        return parts[0]
    notes = sorted((note for part in parts for note in part.notes),
                   key=lambda note: (note.start_s, note.pitch))
    busiest = max(parts, key=lambda part: len(part.notes))
    return dataclasses.replace(busiest, notes=tuple(notes), bends=())


def _cut(part: Part, early_s: float, limit_s: float) -> Part:
    """Return what a part plays from `early_s` on for `limit_s`, counted from there."""
    notes = tuple(Note(note.start_s - early_s, min(note.end_s - early_s, limit_s), note.pitch,
                       note.velocity)
                  for note in part.notes if note.start_s - early_s < limit_s - _SHORTEST_S)
    bends = tuple(dataclasses.replace(bend, time_s=bend.time_s - early_s)
                  for bend in part.bends if bend.time_s - early_s < limit_s)
    return dataclasses.replace(part, notes=notes, bends=bends)
