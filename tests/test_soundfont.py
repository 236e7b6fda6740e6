"""Fonts read, chosen from and played: zones, programs, whole parts, and files that are bad."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stemsep.datasets import soundfont
from stemsep.datasets.score import Note
from stemsep.datasets.sf2 import Gen, Sf2
from stemsep.datasets.soundfont import FADE_S, SoundFont, default_soundfont, render
from stemsep.errors import InputError
from tests.sine_font import (
    HERTZ, LOOPED, RATE, Presets, cents, decibels, held, hertz_of, part, sine_font
)


@pytest.fixture(scope="module")
def timgm() -> SoundFont:
    return SoundFont.load(default_soundfont())


def test_zones_add_up(tmp_path: Path) -> None:
    """A global zone gives defaults, a zone overrides them, the preset adds; ranges select."""
    shared = LOOPED | {Gen.SAMPLE: -1, Gen.COARSE_TUNE: 5, Gen.FINE_TUNE: 30}
    low: dict[int, int] = {Gen.KEY_RANGE: 0 | 60 << 8, Gen.ROOT_KEY: 48}
    high: dict[int, int] = {
        Gen.KEY_RANGE: 61 | 127 << 8, Gen.VELOCITY_RANGE: 64 | 127 << 8,
        Gen.COARSE_TUNE: 1, Gen.ROOT_KEY: 72}
    presets: Presets = {(0, 0): [shared, low, high]}
    font = sine_font(tmp_path / "f.sf2", presets, outer={
        Gen.COARSE_TUNE: 2, Gen.VELOCITY_RANGE: 0 | 120 << 8, Gen.ROOT_KEY: 3})
    for key, expected in ((48, 730), (72, 330)):
        wave_N = render(font, held(key, 100), seconds=0.5)[0, 2000:]
        assert cents(hertz_of(wave_N) / HERTZ) == pytest.approx(expected, abs=0.3)
    assert not render(font, held(72, 63), seconds=0.1).any()
    assert not render(font, held(48, 121), seconds=0.1).any()


def test_exclusive_class_cuts_the_sounding_note(tmp_path: Path) -> None:
    long = LOOPED | {Gen.VOL_RELEASE: 5000}
    hats = [long | {Gen.KEY_RANGE: key | key << 8, Gen.EXCLUSIVE_CLASS: 1} for key in (42, 46)]
    font = sine_font(tmp_path / "f.sf2", {
        (128, 0): [*hats, long | {Gen.KEY_RANGE: 50 | 50 << 8}]})
    first, second = Note(0, 0.1, 46, 127), Note(0.5, 0.6, 42, 100)
    together, alone, next_alone, other = (
        render(font, part(*notes, is_drum=True), seconds=0.52)[0] for notes in (
            (first, second), (first,), (second,), (first, Note(0.5, 0.6, 50, 100))))
    cut, faded = RATE // 2, RATE // 2 + round(FADE_S * RATE)
    np.testing.assert_array_equal(together[:cut], alone[:cut])
    np.testing.assert_allclose(together[faded:], next_alone[faded:], atol=1e-7)
    assert np.abs(other[faded:] - together[faded:]).max() > 1e-3
    assert np.abs(np.diff(together)).max() < 1.2 * np.abs(np.diff(alone)).max()     # no click


def test_vorbis_samples_sound_like_plain_ones(tmp_path: Path) -> None:
    presets: Presets = {(0, 0): [LOOPED]}
    plain, vorbis = (render(sine_font(tmp_path / name, presets, vorbis=name == "f.sf3"), held(64),
                            seconds=1.0)[0] for name in ("f.sf2", "f.sf3"))
    assert decibels(plain - vorbis) < decibels(plain) - 25


def test_missing_programs_fall_back(tmp_path: Path) -> None:
    font = sine_font(tmp_path / "f.sf2", {
        (0, 33): [LOOPED], (0, 80): [LOOPED | {Gen.COARSE_TUNE: 12}],
        (128, 0): [LOOPED], (128, 8): [LOOPED | {Gen.COARSE_TUNE: 12}]})
    assert (font.name, font.programs(), font.drum_kits()) == ("Sine", [33, 80], [0, 8])
    for program, is_drum, octave in ((39, False, 0), (87, False, 1), (1, False, 0), (120, False, 1),
                                     (8, True, 1), (25, True, 0)):
        note = part(Note(0, 9, 69, 127), program=program, is_drum=is_drum)
        wave_N = render(font, note, seconds=0.3)[0, 2000:]
        assert cents(hertz_of(wave_N) / HERTZ) == pytest.approx(1200 * octave, abs=1)


@pytest.mark.parametrize("program", [0, 4, 16, 26, 33, 48, 56, 81, 90])
def test_notes_add_up_and_move_in_time(timgm: SoundFont, program: int) -> None:
    """What notes share changes nothing: a part is the sum of its notes, wherever they stand."""
    notes = (Note(0.0, 0.3, 60, 100), Note(0.4, 0.6, 64, 70), Note(0.4, 1.1, 60, 100),
             Note(0.5, 0.9, 67, 71), Note(1.0, 1.2, 64, 30))
    whole = render(timgm, part(*notes, program=program), seconds=2.0, channels=2)
    single = np.zeros_like(whole)
    for note in notes:
        shift = round(note.start_s * RATE)
        end_s = (round(note.end_s * RATE) - shift) / RATE
        alone = part(Note(0.0, end_s, note.pitch, note.velocity), program=program)
        single[:, shift:] += render(timgm, alone, seconds=2.0 - shift / RATE, channels=2)
    np.testing.assert_allclose(whole, single, atol=2e-6)
    again = render(timgm, part(*notes, program=program), seconds=2.0, channels=2)
    assert whole.tobytes() == again.tobytes()


def test_every_program_and_kit_of_timgm6mb_sounds(timgm: SoundFont) -> None:
    parts = [part(Note(0.0, 0.2, 60, 100), program=p) for p in range(128)]
    parts += [part(Note(0.0, 0.2, 38, 100), program=kit, is_drum=True) for kit in timgm.drum_kits()]
    for one in parts:
        wave_CN = render(timgm, one, seconds=0.4)
        assert wave_CN.shape == (1, 17640) and wave_CN.dtype == np.float32
        assert -75 < decibels(wave_CN) < -15, one
        assert np.abs(wave_CN).max() < 0.5, one


def test_a_struck_drum_in_timgm6mb_rings_on_and_a_closed_hat_chokes_an_open_one(
        timgm: SoundFont) -> None:
    crash = render(timgm, part(Note(0, 0.05, 49, 110), is_drum=True), seconds=1.0)
    assert decibels(crash[:, RATE // 2:]) > decibels(crash) - 25
    opened, closed = Note(0, 0.1, 46, 110), Note(0.2, 0.3, 42, 20)
    alone, choked = (render(timgm, part(*notes, is_drum=True), seconds=1.0)[:, RATE * 2 // 5:]
                     for notes in ((opened,), (opened, closed)))
    assert decibels(choked + 1e-9) < decibels(alone) - 20


def test_the_end_cuts_and_silence_is_silent(timgm: SoundFont) -> None:
    long, short = (render(timgm, held(60), seconds=s) for s in (1.5, 0.7))
    assert short.shape == (1, round(0.7 * RATE))
    np.testing.assert_allclose(short, long[:, :short.shape[1]], atol=1e-6)
    assert not render(timgm, part(), seconds=0.1).any()
    assert not render(timgm, part(Note(3, 4, 60, 100)), seconds=0.5).any()


@pytest.mark.parametrize("spoil, reason", [
    (lambda data: b"", "not a SoundFont"), (lambda data: b"RIFF\4\0\0\0WAVE", "not a SoundFont"),
    (lambda data: data[:len(data) // 2], "cut short"),
    (lambda data: data.replace(b"shdr", b"xhdr"), "no chunk shdr"),
    (lambda data: data.replace(b"igen" + struct.pack("<I", 12), b"igen" + struct.pack("<I", 11)),
     "igen")])
def test_bad_files_are_named(tmp_path: Path, spoil: Callable[[bytes], bytes], reason: str
                             ) -> None:
    path = tmp_path / "bad.sf2"
    sine_font(path, {(0, 0): [LOOPED]})
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=f"bad.sf2.*{reason}"):
        SoundFont.load(path)


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none.sf2.*cannot be read"):
        SoundFont.load(tmp_path / "none.sf2")
    font = sine_font(tmp_path / "f.sf3", {(0, 0): [LOOPED]}, vorbis=True)
    with pytest.raises(InputError, match="f.sf3.*bank 128"):
        render(font, part(is_drum=True), seconds=0.1)
    with pytest.raises(ValueError, match="mono"):
        render(font, part(), seconds=0.1, channels=3)
    data = (tmp_path / "f.sf3").read_bytes()
    (tmp_path / "f.sf3").write_bytes(data.replace(b"OggS", b"Gone"))
    with pytest.raises(InputError, match="f.sf3: sample 'sine'"):
        Sf2(tmp_path / "f.sf3").sample(0)


def test_the_default_font_is_found_without_importing_its_package(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pretty_midi", raising=False)
    assert default_soundfont().is_file()
    assert "pretty_midi" not in sys.modules
    monkeypatch.setattr(soundfont.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="install pretty_midi"):
        default_soundfont()
