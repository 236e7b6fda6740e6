"""MIDI files are read as what was written, or have a reason; songs are arranged for a band."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from stemsep.datasets import midi_file
from stemsep.datasets.compose import compose
from stemsep.datasets.midi_file import parse, read_midi
from stemsep.datasets.midi_songs import LIMIT_S, arrange
from stemsep.datasets.score import Bend, Note, Part, Song, write_midi
from stemsep.errors import InputError

TICK_S = 60 / 120 / 480     # of a file of mido's without a tempo


@pytest.mark.parametrize("seed", range(6))
def test_what_is_written_is_read(seed: int, tmp_path: Path) -> None:
    song = compose(seed, 15.0)
    write_midi(song, tmp_path / "song.mid")
    read = read_midi(tmp_path / "song.mid")
    tick_s = mido.bpm2tempo(song.tempo_bpm) / 1e6 / 480
    assert read.seconds == pytest.approx(song.seconds, abs=tick_s)
    assert read.tempo_bpm == pytest.approx(song.tempo_bpm, rel=1e-5)
    assert len(read.parts) == len(song.parts)
    for got, part in zip(read.parts, song.parts):
        assert (got.name, got.program, got.is_drum) == (part.name, part.program, part.is_drum)
        written = sorted(part.notes, key=lambda note: (round(note.start_s / tick_s), note.pitch))
        assert len(got.notes) == len(written)
        for note, wanted in zip(got.notes, written):
            assert (note.pitch, note.velocity) == (wanted.pitch, wanted.velocity)
            assert note.start_s == pytest.approx(wanted.start_s, abs=tick_s)
            assert note.end_s == pytest.approx(wanted.end_s, abs=2 * tick_s)
        for note in part.notes[::5]:
            middle_s = (note.start_s + note.end_s) / 2 + tick_s / 3
            near = [bent(part, middle_s + shift_s) for shift_s in (-tick_s, 0, tick_s)]
            assert min(near) - 1e-3 <= bent(got, middle_s) <= max(near) + 1e-3


def bent(part: Part, time_s: float) -> float:
    return ([0.0] + [bend.semitones for bend in part.bends if bend.time_s <= time_s])[-1]


def test_written_again_the_file_is_the_same(tmp_path: Path) -> None:
    write_midi(compose(3, 10.0), tmp_path / "first.mid")
    first = read_midi(tmp_path / "first.mid")
    write_midi(first, tmp_path / "second.mid")
    second = read_midi(tmp_path / "second.mid")
    assert [part.notes for part in second.parts] == [part.notes for part in first.parts]


def test_wide_bends_are_written_with_their_range(tmp_path: Path) -> None:
    bends = (Bend(0.0, -7.0), Bend(0.5, 11.5), Bend(1.0, 0.0))
    part = Part("lead", 80, False, (Note(0.0, 1.5, 60, 90),), bends)
    write_midi(Song(2.0, 120.0, "", "", (part,)), tmp_path / "song.mid")
    [read] = read_midi(tmp_path / "song.mid").parts
    assert [bend.time_s for bend in read.bends] == pytest.approx([0, 0.5, 1.0], abs=TICK_S)
    assert [bend.semitones for bend in read.bends] == pytest.approx([-7, 11.5, 0], abs=0.01)


def song_of(*tracks: Sequence[Any], kind: int = 1, division: int = 480) -> Song:
    return parse(bytes_of(*tracks, kind=kind, division=division))


def bytes_of(*tracks: Sequence[Any], kind: int = 1, division: int = 480) -> bytes:
    file = mido.MidiFile(type=kind, ticks_per_beat=division)
    file.tracks.extend(mido.MidiTrack(track) for track in tracks)
    return saved(file)


def saved(file: mido.MidiFile) -> bytes:
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def on(pitch: int = 60, velocity: int = 90, *, after: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=pitch, velocity=velocity, time=after, channel=channel)


def off(pitch: int = 60, *, after: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("note_off", note=pitch, time=after, channel=channel)


def control(number: int, value: int, *, after: int = 0) -> mido.Message:
    return mido.Message("control_change", control=number, value=value, time=after)


def tempo(quarter_us: int, *, after: int = 0) -> mido.MetaMessage:
    return mido.MetaMessage("set_tempo", tempo=quarter_us, time=after)


def test_times_follow_every_tempo() -> None:
    song = song_of([tempo(1_000_000), tempo(250_000, after=480), tempo(0, after=480)],
                   [on(after=240), off(after=480), on(after=720), off(after=480)])
    assert song.tempo_bpm == 60
    assert [(note.start_s, note.end_s) for note in song.parts[0].notes] == [
        pytest.approx((0.5, 1.125)), pytest.approx((1.5, 1.75))]


def test_frames_count_time_whatever_the_tempo_is() -> None:
    data = bytearray(bytes_of([tempo(1_000_000), on(after=50), off(after=100)]))
    data[12:14] = (256 - 25, 40)
    [note] = parse(bytes(data)).parts[0].notes
    assert (note.start_s, note.end_s) == pytest.approx((0.05, 0.15))


def test_a_change_of_program_begins_another_part() -> None:
    song = song_of([mido.Message("program_change", program=24), on(60), off(60, after=480),
                    mido.Message("program_change", program=30), on(62), off(62, after=480),
                    mido.Message("program_change", program=24), on(64), off(64, after=480)])
    assert [(part.program, [note.pitch for note in part.notes]) for part in song.parts] == [
        (24, [60, 64]), (30, [62])]


def test_drums_are_channel_10_and_what_banks_and_roland_say() -> None:
    roland = mido.Message("sysex", data=[0x41, 0x10, 0x42, 0x12, 0x40, 0x1B, 0x15, 2, 0])
    yamaha = mido.Message("control_change", control=0, value=127, channel=2)
    song = song_of([roland, yamaha, *[on(36, channel=channel) for channel in (0, 2, 9, 11)],
                    *[off(36, after=100, channel=channel) for channel in (0, 2, 9, 11)]], kind=0)
    assert [part.is_drum for part in song.parts] == [False, True, True, True]


def test_the_pedal_holds_notes_until_it_rises_or_the_string_is_struck_again() -> None:
    song = song_of([control(64, 127), on(60), on(64), off(60, after=480), off(64),
                    on(60, after=480), off(60, after=240), control(64, 0, after=720)])
    held = {(note.pitch, round(note.start_s, 6)): note.end_s for note in song.parts[0].notes}
    assert held == {(60, 0): pytest.approx(1.0), (64, 0): pytest.approx(2.0),
                    (60, 1): pytest.approx(2.0)}


def test_volume_and_expression_become_velocities_where_they_change() -> None:
    song = song_of([control(7, 40), on(60, 100), off(60, after=100)])
    assert song.parts[0].notes[0].velocity == 100
    song = song_of([control(7, 100), on(60, 100), off(60, after=100), control(11, 64),
                    on(60, 100), off(60, after=100), control(7, 0), on(60, 100), off(60, after=99)])
    assert [note.velocity for note in song.parts[0].notes] == [100, 50]


def test_bends_know_their_range() -> None:
    wheel = mido.Message("pitchwheel", pitch=4096)
    song = song_of([on(60), wheel, control(101, 0, after=480), control(100, 0), control(6, 12),
                    off(60, after=480)])
    assert [bend.semitones for bend in song.parts[0].bends] == [1.0, 6.0]


def test_notes_that_never_end_or_last_no_time_are_notes() -> None:
    song = song_of([on(60), on(64), off(64), on(67, after=960 * 60), off(67, after=480)])
    lengths = {note.pitch: note.end_s - note.start_s for note in song.parts[0].notes}
    assert lengths == {60: pytest.approx(10), 64: pytest.approx(0.001), 67: pytest.approx(0.5)}


def test_a_track_names_its_part_unless_it_holds_several() -> None:
    name = mido.MetaMessage("track_name", name="Lead\x00 vocals ")
    assert song_of([name, on(), off(after=9)]).parts[0].name == "Lead vocals"
    both = song_of([name, on(), on(36, channel=9), off(after=9), off(36, channel=9)], kind=0)
    assert [part.name for part in both.parts] == ["Piano", "Drums"]


@pytest.mark.parametrize(("data", "why"), [
    (b"", "is empty"),
    (b"To be, or not to be", "is no MIDI file"),
    (bytes_of([on(), off(after=480)])[:-9], "is cut off in the middle"),
    (bytes_of([on(), off(after=480)], kind=2), "is a MIDI file of type 2"),
    (bytes_of([tempo(500_000)]), "has no notes"),
    (bytes_of([on(velocity=0), off(after=480)]), "has no notes"),
    (bytes_of([control(7, 0), on(), off(after=480)]), "has no notes that sound"),
    (bytes_of([on(), off(after=480)])[:22] + b"\xff" * 200_000, "is damaged"),
    (bytes_of([on(), off(after=480)], division=0), "is damaged"),
    (bytes_of([on(after=2 ** 41), off(after=480)]), "is damaged .its times are absurd"),
])
def test_a_file_that_is_no_song_has_a_reason(data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "song.mid").write_bytes(data)
    with pytest.raises(InputError, match=f"song.mid: {why}.*repair the file or take it away"):
        read_midi(tmp_path / "song.mid")


def test_more_notes_than_music_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi_file, "MAX_NOTES", 3)
    with pytest.raises(InputError, match="more than 3 notes"):
        song_of([on(), on(), on(), on()])
    monkeypatch.setattr(midi_file, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="has 0 MiB"):
        read_midi(__file__)


def test_damaged_bytes_give_a_song_or_a_reason(tmp_path: Path) -> None:
    write_midi(compose(1, 10.0), tmp_path / "song.mid")
    whole, rng = (tmp_path / "song.mid").read_bytes(), np.random.default_rng(0)
    outcomes = {"song": 0, "reason": 0}
    for trial in range(400):
        data = bytearray(whole)
        for place in rng.integers(len(data), size=rng.integers(1, 9)):
            data[place] = rng.integers(256)
        if trial % 2:
            del data[rng.integers(len(data)):]
        if trial % 5 == 0:
            data[:0] = rng.bytes(int(rng.integers(1, 300)))
        try:
            song = parse(bytes(data))
            arranged = arrange(song, seconds=0, sung=True)
            assert 0 < arranged.seconds <= LIMIT_S
            write_midi(arranged, tmp_path / "again.mid")
            outcomes["song"] += 1
        except InputError:
            outcomes["reason"] += 1
    assert min(outcomes.values()) > 20, outcomes


# ---- arranging ----

def part_of(program: int, *starts_s: float, name: str = "part", is_drum: bool = False) -> Part:
    return Part(name, program, is_drum,
                tuple(Note(start_s, start_s + 0.5, 60, 90) for start_s in starts_s))


def test_all_drums_are_one_kit_and_other_parts_are_15_at_most() -> None:
    melodic = [part_of(program % 20, *np.arange(program + 1.0)) for program in range(25)]
    drums = [part_of(8, 0.5, is_drum=True), part_of(0, 0.0, 1.0, is_drum=True)]
    arranged = arrange(Song(30.0, 120.0, "", "", (*melodic, *drums)), seconds=0, sung=False)
    assert [part.is_drum for part in arranged.parts] == [True] + 15 * [False]
    assert arranged.parts[0].program == 0
    assert [note.start_s for note in arranged.parts[0].notes] == [0.0, 0.5, 1.0]
    assert {part.program for part in arranged.parts[1:]} == {*range(5), *range(10, 20)}


def test_a_song_is_cut_to_its_music() -> None:
    song = Song(9e6, 120.0, "", "", (part_of(0, 5.0, 8.0, 11.0), part_of(1, 9000.0)))
    whole = arrange(song, seconds=0, sung=False)
    assert [note.start_s for note in whole.parts[0].notes] == [1.0, 4.0, 7.0]
    assert len(whole.parts) == 1 and whole.seconds == 9.5
    short = arrange(song, seconds=4.25, sung=False)
    assert [(note.start_s, note.end_s) for note in short.parts[0].notes] == [(1.0, 1.5),
                                                                             (4.0, 4.25)]
    assert short.seconds == 4.25
    with pytest.raises(InputError, match="no notes within 0.5 seconds"):
        arrange(song, seconds=0.5, sung=False)


def test_what_a_singer_sings_is_labelled_as_a_voice() -> None:
    song = Song(9.0, 120.0, "", "", (part_of(65, 0.0, name="Lead Vocal"), part_of(52, 0.0)))
    assert [part.program for part in arrange(song, seconds=0, sung=True).parts] == [53, 52]
    assert [part.program for part in arrange(song, seconds=0, sung=False).parts] == [65, 52]
