"""A song as notes: what the composer writes, the renderer plays and a MIDI file holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DRUM_CHANNEL = 9        # of General MIDI's sixteen, counted from 0
# Slakh's number for a drum kit in `program_num`; General MIDI programs are 0..127.
DRUM_PROGRAM = 128

# Slakh's spelling, in the order of General MIDI's families of eight programs. Slakh names the
# synth effects (96..103) "Sound Effects" and the noises (120..127) "Sound effects".
INST_CLASSES = (
    "Piano", "Chromatic Percussion", "Organ", "Guitar", "Bass", "Strings", "Strings (continued)",
    "Brass", "Reed", "Pipe", "Synth Lead", "Synth Pad", "Sound Effects", "Ethnic", "Percussive",
    "Sound effects")

_TICKS_PER_BEAT = 480
_BEND_RANGE = 2.0       # semitones; what a General MIDI synthesizer bends by unless told otherwise


@dataclass(frozen=True, slots=True)
class Note:
    """One note: seconds from the start of the song, pitch 0..127 and velocity 1..127 as in MIDI."""

    start_s: float
    end_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Bend:
    """From `time_s` on, the part sounds `semitones` higher (lower if negative)."""

    time_s: float
    semitones: float


@dataclass(frozen=True, slots=True)
class Part:
    """What one player plays: a General MIDI program and its notes, in order of their start.

    program: 0..127; for drums the number of the kit within the percussion bank (0 standard,
    8 room, 16 power, ...).
    """

    name: str
    program: int
    is_drum: bool
    notes: tuple[Note, ...]
    bends: tuple[Bend, ...] = ()


@dataclass(frozen=True, slots=True)
class Song:
    """Parts that sound together; `seconds` is the length that a rendering is cut or padded to."""

    seconds: float
    tempo_bpm: float
    style: str
    key: str
    parts: tuple[Part, ...]


def inst_class(program: int, is_drum: bool) -> str:
    """Name the instrument's class as Slakh's metadata.yaml spells `inst_class`."""
    return "Drums" if is_drum else INST_CLASSES[program // 8]


def write_midi(song: Song, path: Path | str, *, parts: Sequence[Part] | None = None) -> None:
    """Write the song, or only some parts of it, as a MIDI file; the same song gives the same bytes.

    One track holds the tempo, then comes one track a part, each on a channel of its own; drums
    share channel 9. Times are rounded to ticks, of which a quarter note has 480; a note lasts one
    tick at least. Raises ValueError for more than 15 melodic parts: MIDI has no channels for them.
    """
    import mido  # here, because a song is composed and rendered without it

    parts = song.parts if parts is None else parts
    free_channels = [channel for channel in range(16) if channel != DRUM_CHANNEL]
    if sum(not part.is_drum for part in parts) > len(free_channels):
        raise ValueError(f"{path}: a MIDI file holds at most 15 melodic parts; write fewer of them")
    tempo_us = mido.bpm2tempo(song.tempo_bpm)
    ticks_per_s = 1e6 / tempo_us * _TICKS_PER_BEAT
    end_tick = round(song.seconds * ticks_per_s)
    midi = mido.MidiFile(type=1, ticks_per_beat=_TICKS_PER_BEAT)
    midi.tracks.append(_track([(0, 0, mido.MetaMessage("set_tempo", tempo=tempo_us))], end_tick))
    for part in parts:
        channel = DRUM_CHANNEL if part.is_drum else free_channels.pop(0)
        midi.tracks.append(_track(_messages(part, channel, ticks_per_s), end_tick))
    midi.save(path)


def _messages(part: Part, channel: int, ticks_per_s: float) -> list[tuple[int, int, Any]]:
    """List what a part sends as (tick, rank, message); at one tick the lower rank comes first."""
    import mido

    timed = [(0, 0, mido.MetaMessage("track_name", name=part.name)),
             (0, 0, mido.Message("program_change", channel=channel, program=part.program))]
    widest = max((abs(bend.semitones) for bend in part.bends), default=0.0)
    bend_range = max(_BEND_RANGE, float(math.ceil(widest)))
    if bend_range > _BEND_RANGE:        # parameter 0 of General MIDI, set by the data entry
        timed += [(0, 1, mido.Message("control_change", channel=channel, control=control,
                                      value=value))
                  for control, value in ((101, 0), (100, 0), (6, int(bend_range)))]
    for bend in part.bends:
        wheel = max(-8192, min(8191, round(bend.semitones / bend_range * 8192)))
        timed.append((round(bend.time_s * ticks_per_s), 2,
                      mido.Message("pitchwheel", channel=channel, pitch=wheel)))
    for note in part.notes:
        first = round(note.start_s * ticks_per_s)
        last = max(first + 1, round(note.end_s * ticks_per_s))
        timed.append((first, 3, mido.Message("note_on", channel=channel, note=note.pitch,
                                             velocity=note.velocity)))
        # A string struck again at the tick where it stops must stop first, hence rank 1.
        timed.append((last, 1, mido.Message("note_off", channel=channel, note=note.pitch)))
    return timed


def _track(timed: list[tuple[int, int, Any]], end_tick: int) -> Any:
    """Order messages by (tick, rank) into a track, whose times are distances."""
    import mido

    track = mido.MidiTrack()
    now = 0
    for tick, _, message in sorted(timed, key=lambda item: item[:2]):
        track.append(message.copy(time=tick - now))
        now = tick
    track.append(mido.MetaMessage("end_of_track", time=max(0, end_tick - now)))
    return track
