"""MIDI files read as songs: notes in seconds with their programs, pedals, volumes and bends."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from stemsep.datasets.score import DRUM_CHANNEL, Bend, Note, Part, Song, inst_class
from stemsep.errors import InputError

MAX_BYTES = 1 << 24
MAX_NOTES = 100_000             # some files are pictures drawn in millions of notes
_MAX_TICK = 1 << 40
_LONGEST_OPEN_S = 10.0          # of a note that the file never ends
_SHORTEST_S = 0.001             # of any note: a note of no length is a stroke
_WIDEST_BEND = 24.0             # semitones
_TEMPOS_BPM = (10.0, 1000.0)    # what is written down of others
_DRUM_BANKS = (120, 127)        # of General MIDI 2 and of Yamaha's XG
# Roland's message that makes a channel one of drums (1, 2) or not (0), without device and sum.
_USE_FOR_RHYTHM = re.compile(rb"\x41.\x42\x12\x40([\x10-\x1f])\x15([\x00-\x02])", re.DOTALL)
_RUN = re.compile(rb"[\x80-\xff]{4096}")
# At one tick these come before the notes of all tracks: many files keep them in a track of their
# own. Pedals (64) and "all notes off" (120, 123 and above) keep their places among the notes.
_SETTINGS = ("set_tempo", "program_change", "pitchwheel", "sysex")
_AMONG_NOTES = (64, 120, *range(123, 128))


def read_midi(path: Path | str) -> Song:
    """Read a MIDI file as `parse` does; InputError names the file and says why it cannot be."""
    try:
        return parse(content(Path(path)))
    except InputError as problem:
        raise InputError(f"{path}: {problem}; repair the file or take it away") from problem


def content(path: Path) -> bytes:
    """Return the bytes of a file; InputError says why it is none to read."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"has {size >> 20} MiB, and music has no more than {MAX_BYTES >> 20}")
        return path.read_bytes()
    except OSError as problem:
        raise InputError(f"cannot be read ({problem.strerror})") from problem


def parse(data: bytes) -> Song:
    """Read the bytes of a MIDI file as a song; InputError says, without a name, why it is none.

    A part is what one track plays on one channel with one program: a change of program begins
    another part. Volume and expression, as far as they change within a part, and the sustain pedal
    become velocities and lengths of notes; a string struck again ends its note before. The song's
    tempo is that of its first note; all tempos are in the times. `seconds` is where the last track
    ends.
    """
    reader = _Reader()
    end_s = 0.0
    for time_s, track, port, message in _timed(_file(data), reader):
        end_s = time_s
        reader.take(time_s, track, port, message)
    reader.end(end_s)
    parts = reader.parts()
    if not parts:
        raise InputError("has no notes that sound")
    return Song(end_s, reader.tempo_bpm, "", "", tuple(parts))


def _file(data: bytes) -> Any:
    """Return mido's reading of the bytes."""
    import mido  # here, because songs are composed and rendered without it

    if not data:
        raise InputError("is empty")
    start = data.find(b"MThd", 0, 256)      # RIFF and old Macs put a header before it
    if start < 0:
        raise InputError("is no MIDI file (it does not begin with MThd)")
    if _RUN.search(data):       # mido would read thousands of bytes as one number, for hours
        raise InputError("is damaged (it holds a long run of bytes that are no music)")
    try:
        midi = mido.MidiFile(file=io.BytesIO(data[start:]))
    except EOFError as problem:
        raise InputError("is cut off in the middle") from problem
    # mido tells what is wrong with a file by errors of a dozen kinds, its own and Python's.
    except Exception as problem:
        raise InputError(f"is damaged ({problem or type(problem).__name__})") from problem
    if midi.type == 2:
        raise InputError("is a MIDI file of type 2, whose tracks are songs of their own")
    if not midi.ticks_per_beat:
        raise InputError("is damaged (a quarter note has no ticks)")
    return midi


def _timed(midi: Any, reader: "_Reader") -> Iterator[tuple[float, int, int, Any]]:
    """Yield (seconds, track, port, message) of all tracks in order of time; tells the reader the
    tracks' names and the tempo."""
    merged = []
    for track, messages in enumerate(midi.tracks):
        tick = port = 0
        for message in messages:
            tick += message.time
            if tick > _MAX_TICK:
                raise InputError("is damaged (its times are absurd)")
            if message.type == "midi_port":
                port = message.port
            elif message.type == "track_name":
                reader.names.setdefault(track, _printable(message.name))
            setting = message.type in _SETTINGS or (
                message.type == "control_change" and message.control not in _AMONG_NOTES)
            merged.append((tick, not setting, track, port, message))
    merged.sort(key=lambda item: item[:3])      # stable: within a track the order stays
    division = midi.ticks_per_beat      # a negative one counts frames, whatever the tempo is
    frames = {29: 30000 / 1001}.get(-(division >> 8), -(division >> 8))
    fixed_s = 1 / (frames * max(division & 0xFF, 1)) if division < 0 else 0.0
    tick_s = fixed_s or 0.5 / division
    now_s, now = 0.0, 0
    for tick, _, track, port, message in merged:
        now_s, now = now_s + (tick - now) * tick_s, tick
        if message.type == "set_tempo" and message.tempo:
            reader.set_tempo(message.tempo)
            tick_s = fixed_s or message.tempo / 1e6 / division
        yield now_s, track, port, message


def _printable(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable()).strip()[:80]


class _Key(NamedTuple):
    """What tells parts apart; their order is that of parts in a song."""

    track: int
    port: int
    channel: int
    program: int
    is_drum: bool


class _Stroke(NamedTuple):
    """A note that may sound yet; loud is 0..1 by volume and expression."""

    key: _Key
    start_s: float
    pitch: int
    velocity: int
    loud: float


@dataclass
class _Channel:
    """What a channel remembers from message to message."""

    is_drum: bool
    program: int = 0
    volume: int = 100
    expression: int = 127
    pedal: bool = False
    wheel: float = 0.0              # -1..1
    bend_range: float = 2.0         # semitones
    parameter: list[int] = field(default_factory=lambda: [127, 127])
    bends: list[tuple[float, float]] = field(default_factory=list)
    down: dict[tuple[int, int], _Stroke] = field(default_factory=dict)      # by track and pitch
    held: dict[tuple[int, int], _Stroke] = field(default_factory=dict)      # by the pedal alone


class _Reader:
    """Takes the messages of a file in order, and collects the notes of every part."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.tempo_bpm = 120.0
        self._channels: dict[tuple[int, int], _Channel] = {}
        self._notes: dict[_Key, list[tuple[_Stroke, float]]] = {}
        self._count = 0

    def set_tempo(self, quarter_us: int) -> None:
        """Note the tempo until the first note has sounded."""
        if not self._count:
            self.tempo_bpm = min(max(6e7 / quarter_us, _TEMPOS_BPM[0]), _TEMPOS_BPM[1])

    def take(self, now_s: float, track: int, port: int, message: Any) -> None:
        """Take one message."""
        if message.type == "sysex":
            if match := _USE_FOR_RHYTHM.match(bytes(message.data)):
                block = match[1][0] & 15        # Roland counts the drums first, then 1 to 9
                channel = {0: DRUM_CHANNEL}.get(block, block - 1 if block < 10 else block)
                self._channel(port, channel).is_drum = match[2][0] > 0
            return
        if message.is_meta or not hasattr(message, "channel"):
            return
        channel = self._channel(port, message.channel)
        if message.type == "note_on" and message.velocity:
            self._strike(now_s, _Key(track, port, message.channel, channel.program,
                                     channel.is_drum), channel, message)
        elif message.type in ("note_on", "note_off"):
            if stroke := channel.down.pop((track, message.note), None):
                self._release(now_s, channel, stroke)
        elif message.type == "program_change":
            channel.program = message.program
        elif message.type == "pitchwheel":
            channel.wheel = message.pitch / 8192
            channel.bends.append((now_s, channel.wheel * channel.bend_range))
        elif message.type == "control_change":
            self._control(now_s, channel, message.control, message.value)

    def end(self, end_s: float) -> None:
        """End what the file never ends."""
        for channel in self._channels.values():
            for stroke in (*channel.down.values(), *channel.held.values()):
                self._finish(stroke, min(end_s, stroke.start_s + _LONGEST_OPEN_S))

    def parts(self) -> list[Part]:
        """Return the parts that sound, each with its notes in order."""
        channels_of: dict[int, set[tuple[int, int]]] = {}
        for key in self._notes:
            channels_of.setdefault(key.track, set()).add((key.port, key.channel))
        parts = []
        for key, strokes in sorted(self._notes.items(), key=lambda item: item[0][:3]):
            top = max(stroke.loud for stroke, _ in strokes)
            notes = [Note(stroke.start_s, end_s, stroke.pitch,
                          max(1, round(stroke.velocity * stroke.loud / top)))
                     for stroke, end_s in strokes if stroke.loud > 0]
            if not notes:
                continue
            notes.sort(key=lambda note: (note.start_s, note.pitch))
            # The name of a track with several players is that of the song.
            name = self.names.get(key.track) if len(channels_of[key.track]) == 1 else None
            bends = [] if key.is_drum else self._channels[key.port, key.channel].bends
            parts.append(Part(name or inst_class(key.program, key.is_drum), key.program,
                              key.is_drum, tuple(notes), _heard(bends, notes)))
        return parts

    def _channel(self, port: int, number: int) -> _Channel:
        if (port, number) not in self._channels:
            self._channels[port, number] = _Channel(number == DRUM_CHANNEL)
        return self._channels[port, number]

    def _strike(self, now_s: float, key: _Key, channel: _Channel, message: Any) -> None:
        self._count += 1
        if self._count > MAX_NOTES:
            raise InputError(f"has more than {MAX_NOTES} notes, which is no music for a band")
        place = (key.track, message.note)
        for sounding in (channel.down, channel.held):
            if earlier := sounding.pop(place, None):
                self._finish(earlier, now_s)
        loud = channel.volume * channel.expression / 127 ** 2
        channel.down[place] = _Stroke(key, now_s, message.note, message.velocity, loud)

    def _release(self, now_s: float, channel: _Channel, stroke: _Stroke) -> None:
        if channel.pedal and not channel.is_drum:
            channel.held[stroke.key.track, stroke.pitch] = stroke
        else:
            self._finish(stroke, now_s)

    def _finish(self, stroke: _Stroke, end_s: float) -> None:
        end_s = max(end_s, stroke.start_s + _SHORTEST_S)
        self._notes.setdefault(stroke.key, []).append((stroke, end_s))

    def _control(self, now_s: float, channel: _Channel, control: int, value: int) -> None:
        """Take a controller, numbered as in the table of General MIDI."""
        if control == 0 and value in _DRUM_BANKS:
            channel.is_drum = True
        elif control == 7:
            channel.volume = value
        elif control == 11:
            channel.expression = value
        elif control in (100, 101):
            channel.parameter[101 - control] = value
        elif control in (98, 99):       # a parameter that General MIDI does not have
            channel.parameter = [127, 127]
        elif control in (6, 38) and channel.parameter == [0, 0]:
            kept = channel.bend_range % 1 if control == 6 else channel.bend_range // 1
            change = value if control == 6 else min(value, 99) / 100
            channel.bend_range = min(kept + change, _WIDEST_BEND)
            channel.bends.append((now_s, channel.wheel * channel.bend_range))
        elif control == 121:
            channel.expression, channel.wheel, channel.pedal = 127, 0.0, False
            channel.bends.append((now_s, 0.0))
            self._let_go(now_s, channel)
        elif control == 64:
            channel.pedal = value >= 64
            if not channel.pedal:
                self._let_go(now_s, channel)
        elif control in _AMONG_NOTES:
            for stroke in channel.down.values():
                self._release(now_s, channel, stroke)
            channel.down = {}
            if control == 120:
                self._let_go(now_s, channel)

    def _let_go(self, now_s: float, channel: _Channel) -> None:
        """End the notes that the pedal alone holds."""
        for stroke in channel.held.values():
            self._finish(stroke, now_s)
        channel.held = {}


def _heard(bends: list[tuple[float, float]], notes: list[Note]) -> tuple[Bend, ...]:
    """Return a channel's bends as far as they change what one of its parts plays."""
    first_s, last_s = notes[0].start_s, max(note.end_s for note in notes)
    before = [semitones for time_s, semitones in bends if time_s <= first_s]
    heard = [(first_s, before[-1])] if before else []
    heard += [(time_s, semitones) for time_s, semitones in bends if first_s < time_s < last_s]
    kept: list[Bend] = []
    for time_s, semitones in heard:
        if semitones != (kept[-1].semitones if kept else 0.0):
            kept.append(Bend(time_s, semitones))
    return tuple(kept)
