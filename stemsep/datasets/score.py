"""A song as notes: what the composer writes, the renderer plays and a MIDI file holds."""

from dataclasses import dataclass

DRUM_PROGRAM = 128      # Slakh's number for a drum kit in `program_num`; General MIDI programs are 0..127


@dataclass(frozen=True, slots=True)
class Note:
    """One note; times in seconds from the start of the song, pitch and velocity as in MIDI (0..127, 1..127)."""

    start_s: float
    end_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Bend:
    """From `time_s` on, the part sounds `semitones` higher (lower if negative, at most 2 either way)."""

    time_s: float
    semitones: float


@dataclass(frozen=True, slots=True)
class Part:
    """What one player plays: a General MIDI program and its notes, in order of their start.

    program: 0..127; for drums the number of the kit within the percussion bank (0 standard, 8 room, 16 power, ...).
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
