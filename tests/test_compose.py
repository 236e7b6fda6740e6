"""Composed songs: laws of notes, shares of instruments, tables without misprints, MIDI files."""

from collections import Counter
from pathlib import Path

import mido
import numpy as np
import pytest

from stemsep.datasets import bass, grooves, harmony, players
from stemsep.datasets.band import BASSES, CONFUSERS, PLAYERS, VOICES
from stemsep.datasets.compose import compose
from stemsep.datasets.form import Bar
from stemsep.datasets.performance import Clock, Performance
from stemsep.datasets.score import INST_CLASSES, Note, Part, Song, inst_class, write_midi
from stemsep.datasets.styles import STYLES

SECONDS = 20.0


@pytest.fixture(scope="module")
def songs() -> list[Song]:
    return [compose(seed, SECONDS) for seed in range(250)]


@pytest.fixture(scope="module")
def parts(songs: list[Song]) -> list[Part]:
    return [part for song in songs for part in song.parts]


def share(songs: list[Song], name: str) -> float:
    return sum(any(part.name == name for part in song.parts) for song in songs) / len(songs)


def test_the_same_seed_gives_the_same_song(songs: list[Song]) -> None:
    assert [compose(seed, SECONDS) for seed in (0, 7, 123)] == [songs[seed] for seed in (0, 7, 123)]


def test_other_seeds_and_lengths_give_other_songs(songs: list[Song]) -> None:
    assert len({song.parts for song in songs}) == len(songs)
    assert compose(3, SECONDS).parts != compose(3, 2 * SECONDS).parts


@pytest.mark.parametrize("seconds", [1.0, 7.3, 61.0])
def test_songs_of_any_length_are_filled(seconds: float) -> None:
    """No silence in a song lasts longer than a slow bar."""
    for seed in range(40):
        song = compose(seed, seconds)
        assert song.seconds == seconds
        heard = np.zeros(int(np.ceil(seconds * 10)), bool)
        for note in (note for part in song.parts for note in part.notes):
            assert note.end_s <= seconds
            heard[int(note.start_s * 10):int(np.ceil(note.end_s * 10))] = True
        sounding = np.flatnonzero(np.concatenate([[True], heard, [True]]))
        assert np.diff(sounding).max() <= 45, f"seed {seed}"


def test_every_note_lies_in_the_song(parts: list[Part]) -> None:
    for note in (note for part in parts for note in part.notes):
        assert 0 <= note.start_s < note.end_s <= SECONDS
        assert 1 <= note.velocity <= 127 and 0 <= note.pitch <= 127
        assert type(note.pitch) is int and type(note.velocity) is int


def test_notes_are_in_order_and_none_of_one_pitch_overlap(parts: list[Part]) -> None:
    for part in parts:
        starts_s = [note.start_s for note in part.notes]
        assert starts_s == sorted(starts_s)
        ends_s: dict[int, float] = {}
        for note in part.notes:
            assert note.start_s >= ends_s.get(note.pitch, 0.0)
            ends_s[note.pitch] = note.end_s


def test_bends_are_in_order_and_within_two_semitones(parts: list[Part]) -> None:
    bent = [part for part in parts if part.bends]
    assert len(bent) > 20
    for part in bent:
        times_s = [bend.time_s for bend in part.bends]
        assert times_s == sorted(times_s) and 0 <= times_s[0] and times_s[-1] <= SECONDS
        assert max(abs(bend.semitones) for bend in part.bends) <= 2
        assert abs(part.bends[-1].semitones) < 1e-9


def test_where_the_band_stops_only_singers_and_drums_are_heard() -> None:
    chord = harmony.Chord(0, (0, 4, 7))
    bars = [Bar(16 * n, 16, 4, "verse", n, 2, ((0, chord),), 0.5, "full", n == 1) for n in (0, 1)]
    exact = Performance(0, 4.0, bars, Clock(np.arange(9) / 2, 0.0, 2), 0.0, 0.0, 0.0)
    held = [(0.0, 32.0, 60, 90.0), (24.0, 4.0, 62, 90.0)]
    assert [(note.start_s, note.end_s) for note in exact.part("pad", 89, held).notes] == [(0, 2.5)]
    assert [note.end_s for note in exact.part("vocals", 53, held).notes] == [4, 3.5]


@pytest.mark.parametrize("unit", [1, 2])
def test_swing_delays_only_off_beats(unit: int) -> None:
    quarters_s = np.arange(6) * 0.4
    straight, swung = Clock(quarters_s, 0.0, unit), Clock(quarters_s, 1 / 3, unit)
    steps = np.arange(0, 16, 0.25)
    late_s = swung.seconds(steps) - straight.seconds(steps)
    np.testing.assert_allclose(straight.seconds(steps), 0.1 * steps)
    assert np.all(np.diff(swung.seconds(steps)) > 0)
    np.testing.assert_allclose(late_s[steps % (2 * unit) == 0], 0, atol=1e-12)
    np.testing.assert_allclose(late_s[steps % (2 * unit) == unit], 0.1 * unit / 3)


def test_registers_are_sensible(parts: list[Part]) -> None:
    for part in parts:
        pitches = [note.pitch for note in part.notes]
        low, high = (27, 81) if part.is_drum else (24, 54) if part.name == "bass" else (30, 108)
        assert low <= min(pitches) and max(pitches) <= high, part.name


def test_shares_of_drums_bass_and_voices(songs: list[Song]) -> None:
    assert 0.93 <= share(songs, "drums") <= 0.99
    assert 0.88 <= share(songs, "bass") <= 0.96
    assert 0.5 <= share(songs, "vocals") <= 0.75
    assert all(part.program in VOICES for song in songs for part in song.parts
               if part.name == "vocals")


def test_bands_have_three_to_nine_players_and_one_kit(songs: list[Song]) -> None:
    sizes = Counter(len(song.parts) for song in songs)
    assert set(sizes) == {3, 4, 5, 6, 7, 8, 9}
    for song in songs:
        assert len({part.name for part in song.parts}) == len(song.parts)
        assert sum(part.is_drum for part in song.parts) <= 1
        assert all(part.notes for part in song.parts)
        # 112 to 119 are drums by another name: as "accompaniment" they would be wrong labels.
        assert not {part.program for part in song.parts if not part.is_drum} & set(range(112, 120))


def test_all_styles_kits_and_many_instruments_are_reached(songs: list[Song]) -> None:
    assert {song.style for song in songs} == set(STYLES)
    assert {part.program for song in songs for part in song.parts if part.is_drum} >= {
        0, 8, 16, 24, 25, 32, 40, 48}
    assert len({part.program for song in songs for part in song.parts if not part.is_drum}) > 80
    assert {note.pitch for song in songs for part in song.parts if part.is_drum
            for note in part.notes} >= set(range(35, 60)) - {58}


def test_tempos_spread(songs: list[Song]) -> None:
    tempos = np.array([song.tempo_bpm for song in songs])
    assert tempos.min() >= 60 and tempos.max() <= 200
    assert np.percentile(tempos, 10) < 85 and np.percentile(tempos, 90) > 150
    assert len({song.key for song in songs}) > 50


def test_some_passages_lack_drums_and_some_have_nothing_else(songs: list[Song]) -> None:
    """Seconds with drums alone and with all but drums, among songs that have drums."""
    alone = without = total = 0
    for song in (song for song in songs if any(part.is_drum for part in song.parts)):
        heard = np.zeros((2, int(SECONDS)), bool)
        for part in song.parts:
            for note in part.notes:
                heard[int(part.is_drum), int(note.start_s):int(np.ceil(note.end_s))] = True
        alone += int((heard[1] & ~heard[0]).sum())
        without += int((heard[0] & ~heard[1]).sum())
        total += heard.shape[1]
    assert 0.005 < alone / total < 0.1
    assert 0.01 < without / total < 0.15


def test_melodies_stay_in_the_key(songs: list[Song]) -> None:
    """Sung notes are in the scale or, on a beat, in the chord: few are outside the scale."""
    inside = total = 0
    for song in songs:
        tonic, mode = song.key.split(" ", 1)
        key = harmony.Key(harmony.NOTE_NAMES.index(tonic), mode)
        classes = {pitch % 12 for pitch in key.pitches(0, 127)}
        for part in (part for part in song.parts if part.name == "vocals"):
            inside += sum(note.pitch % 12 in classes for note in part.notes)
            total += len(part.notes)
    assert inside > 0.75 * total


def test_refuses_a_negative_seed_and_no_length() -> None:
    with pytest.raises(ValueError, match="seed"):
        compose(-1, SECONDS)
    with pytest.raises(ValueError, match="length"):
        compose(0, 0.0)


def test_grooves_are_bars() -> None:
    for lengths, table in (((16, 32), grooves.GROOVES), ((12,), grooves.TERNARY_GROOVES),
                           ((16,), grooves.LAYERS)):
        for name in table:
            length, lines = grooves.groove(name)
            assert length in lengths, name
            for drum, hits in lines:
                assert drum in grooves.DRUMS and len(hits) == length, (name, drum)
                assert set(hits) <= set("Xxo?-"), (name, drum)
    assert all(drum in grooves.DRUMS for run in grooves.FILL_RUNS.values() for drum in run.split())


def test_rhythms_and_bass_lines_are_bars() -> None:
    for length, table in ((16, players.RHYTHMS), (16, bass.BASS_LINES),
                          (12, players.TERNARY_RHYTHMS), (12, bass.TERNARY_BASS_LINES)):
        assert {name for name, line in table.items() if len(line) != length} == set()


def test_every_name_in_the_tables_exists() -> None:
    lines = {*bass.BASS_LINES, "kick", "walking", "riff"}
    for name, style in STYLES.items():
        for names, known in ((style.families, harmony.PROGRESSIONS), (style.bass, BASSES),
                             (style.lines, lines), (style.players, PLAYERS),
                             (style.grooves, grooves.GROOVES), (style.layers, grooves.LAYERS)):
            assert set(names.split("|")) - {""} <= set(known), name
    for player in PLAYERS.values():
        assert set(player.rhythms.split("|")) - {""} <= set(players.RHYTHMS)
        assert bool(player.rhythms) == (player.plays in (
            "chords", "two hands", "strum", "chop", "power", "palm"))
    assert set(CONFUSERS) <= set(PLAYERS)
    for modes, progressions in harmony.PROGRESSIONS.values():
        assert set(modes.split(", ")) <= set(harmony.SCALES)
        for progression in progressions:
            assert all(harmony.parse_chord(numeral, 0) for numeral in progression.split())


def test_chords_are_read_from_numerals() -> None:
    assert harmony.parse_chord("I", 0) == harmony.Chord(0, (0, 4, 7))
    assert harmony.parse_chord("bVII", 0) == harmony.Chord(10, (0, 4, 7))
    assert harmony.parse_chord("ii7", 2) == harmony.Chord(4, (0, 3, 7, 10))
    with pytest.raises(ValueError, match="Roman"):
        harmony.parse_chord("H7", 0)


@pytest.mark.parametrize("low", range(20, 40))
def test_folding_keeps_the_pitch_class(low: int) -> None:
    for pitch in range(128):
        folded = harmony.fold(pitch, low, low + 12)
        assert low <= folded <= low + 12 and (folded - pitch) % 12 == 0


@pytest.mark.parametrize("seed", [0, 5, 11, 40])
def test_midi_files_hold_the_song(tmp_path: Path, seed: int) -> None:
    """Read back with mido, the notes and bends are the song's to a tick."""
    song = compose(seed, SECONDS)
    write_midi(song, tmp_path / "song.mid")
    midi = mido.MidiFile(tmp_path / "song.mid")
    tick_s = mido.bpm2tempo(song.tempo_bpm) / 1e6 / midi.ticks_per_beat
    assert midi.length == pytest.approx(SECONDS, abs=tick_s)
    assert len(midi.tracks) == 1 + len(song.parts)
    for track, part in zip(midi.tracks[1:], song.parts):
        notes, bends, program, channels = read_track(track, tick_s)
        assert track.name == part.name and program == part.program
        assert channels == {9} if part.is_drum else 9 not in channels and len(channels) == 1
        assert len(notes) == len(part.notes) and len(bends) == len(part.bends)
        written = sorted(part.notes, key=lambda note: (round(note.start_s / tick_s), note.pitch))
        for read, note in zip(notes, written):
            assert (read.pitch, read.velocity) == (note.pitch, note.velocity)
            assert read.start_s == pytest.approx(note.start_s, abs=tick_s)
            assert read.end_s == pytest.approx(note.end_s, abs=tick_s)
        for (time_s, semitones), bend in zip(bends, part.bends):
            assert time_s == pytest.approx(bend.time_s, abs=tick_s)
            assert semitones == pytest.approx(bend.semitones, abs=1e-3)


def read_track(track: mido.MidiTrack, tick_s: float,
               ) -> tuple[list[Note], list[tuple[float, float]], int, set[int]]:
    now, program = 0, -1
    sounding: dict[int, tuple[int, int]] = {}
    notes, bends, channels = [], [], set()
    for message in track:
        now += message.time
        channels |= set() if message.is_meta else {message.channel}
        if message.type == "program_change":
            program = message.program
        elif message.type == "pitchwheel":
            bends.append((now * tick_s, message.pitch / 4096))
        elif message.type == "note_on":
            assert message.note not in sounding
            sounding[message.note] = now, message.velocity
        elif message.type == "note_off":
            first, velocity = sounding.pop(message.note)
            notes.append(Note(first * tick_s, now * tick_s, message.note, velocity))
    assert not sounding
    notes.sort(key=lambda note: (round(note.start_s / tick_s), note.pitch))
    return notes, bends, program, channels


def test_midi_files_are_the_same_every_time(tmp_path: Path) -> None:
    song = compose(2, SECONDS)
    for name in ("first.mid", "second.mid"):
        write_midi(song, tmp_path / name)
    assert (tmp_path / "first.mid").read_bytes() == (tmp_path / "second.mid").read_bytes()


def test_a_midi_file_can_hold_one_part(tmp_path: Path) -> None:
    song = compose(2, SECONDS)
    write_midi(song, tmp_path / "S01.mid", parts=song.parts[1:2])
    midi = mido.MidiFile(tmp_path / "S01.mid")
    assert [track.name for track in midi.tracks[1:]] == [song.parts[1].name]
    assert midi.length == pytest.approx(SECONDS, abs=0.01)


def test_too_many_parts_for_midi_are_refused(tmp_path: Path) -> None:
    parts = tuple(Part(f"part {n}", n, False, (Note(0, 1, 60, 90),)) for n in range(16))
    with pytest.raises(ValueError, match="15 melodic parts"):
        write_midi(Song(1.0, 120.0, "none", "C major", parts), tmp_path / "song.mid")
    assert not (tmp_path / "song.mid").exists()


def test_instrument_classes_are_families_of_eight() -> None:
    assert len(INST_CLASSES) == 16
    assert inst_class(0, True) == "Drums"
    assert inst_class(33, False) == "Bass"
    assert inst_class(48, False) == "Strings (continued)"
    assert inst_class(118, False) == "Percussive"
    assert [inst_class(8 * family + 7, False) for family in range(16)] == list(INST_CLASSES)
