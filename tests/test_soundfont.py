"""The SoundFont player against what the specification says, on a font of one sine written here."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stemsep.datasets import soundfont
from stemsep.datasets.score import Bend, Note, Part
from stemsep.datasets.sf2 import Gen, Sf2
from stemsep.datasets.soundfont import FADE_S, SoundFont, default_soundfont, render
from stemsep.errors import InputError
from tests.sine_font import HERTZ, LOOPED, PERIOD, RATE, TAIL, Presets, sine_font


def part(*notes: Note, program: int = 0, is_drum: bool = False, bends: tuple[Bend, ...] = ()
         ) -> Part:
    return Part("part", program, is_drum, notes, bends)


def held(key: int = 69, velocity: int = 127, *, end_s: float = 9.0) -> Part:
    return part(Note(0.0, end_s, key, velocity))


def hertz_of(wave_N: np.ndarray, rate: int = RATE) -> float:
    """Frequency of a sine: the peak of its spectrum, refined by a parabola."""
    power = np.log(np.abs(np.fft.rfft(wave_N * np.blackman(len(wave_N)), 4 * len(wave_N))) + 1e-30)
    peak = int(power[1:-1].argmax()) + 1
    below, top, above = power[peak - 1:peak + 2]
    return (peak + 0.5 * (below - above) / (below - 2 * top + above)) * rate / (4 * len(wave_N))


def cents(ratio: float) -> float:
    return 1200 * np.log2(ratio)


def decibels(wave_N: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(wave_N, dtype=np.float64)))


@pytest.fixture(scope="module")
def timgm() -> SoundFont:
    return SoundFont.load(default_soundfont())


@pytest.mark.parametrize("zone, key, tune, expected", [
    ({}, 69, 0.0, 0), ({}, 81, 0.0, 1200), ({}, 50, 0.0, -1900), ({}, 69, 37.0, 37),
    ({Gen.COARSE_TUNE: -3, Gen.FINE_TUNE: 20}, 69, 0.0, -280),
    ({Gen.SCALE_TUNING: 50}, 73, 0.0, 200), ({Gen.ROOT_KEY: 60}, 60, 0.0, 0),
    ({Gen.KEY: 71}, 20, 0.0, 200), ({Gen.MOD_ENV_PITCH: 700}, 69, 0.0, 700)])
@pytest.mark.parametrize("rate", [44100, 16000])
def test_pitch(tmp_path: Path, zone: dict[int, int], key: int, tune: float, expected: float,
               rate: int) -> None:
    font = sine_font(tmp_path / "f.sf2", {(0, 0): [LOOPED | zone]})
    wave_N = render(font, held(key), seconds=1.0, sample_rate=rate, tune_cents=tune)[0]
    assert cents(hertz_of(wave_N[rate // 10:], rate) / HERTZ) == pytest.approx(expected, abs=0.2)


def test_a_looped_sine_is_a_sine(tmp_path: Path) -> None:
    font = sine_font(tmp_path / "f.sf2", {(0, 0): [LOOPED]})
    wave_N = render(font, held(74), seconds=2.0)[0]
    angle = 2 * np.pi * HERTZ * 2 ** (5 / 12) * np.arange(len(wave_N)) / RATE
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    fit, *_ = np.linalg.lstsq(basis, wave_N, rcond=None)
    assert decibels(wave_N - basis @ fit) < decibels(wave_N) - 70
    assert np.hypot(*fit) == pytest.approx(soundfont.GAIN * 0.5 * np.sqrt(0.5), rel=0.01)


def test_loop_modes(tmp_path: Path) -> None:
    """Mode 0 plays the recording once, mode 1 loops, mode 3 loops and plays the rest at release."""
    release = {Gen.VOL_RELEASE: 3000}
    font = sine_font(tmp_path / "f.sf2", {(0, mode): [LOOPED | {Gen.LOOP_MODE: mode} | release]
                                          for mode in (0, 1, 3)})
    once_N, always_N, until_N = (render(font, part(Note(0, 0.5, 69, 127), program=mode),
                                        seconds=1.0)[0] for mode in (0, 1, 3))
    recorded = 20 * PERIOD + TAIL
    assert np.abs(once_N[:recorded]).max() > 0.05 and not once_N[recorded:].any()
    assert hertz_of(always_N[25000:27000]) == pytest.approx(HERTZ, rel=1e-3)
    np.testing.assert_array_equal(until_N[:22050], always_N[:22050])
    assert hertz_of(until_N[23100:24000]) == pytest.approx(3 * HERTZ, rel=1e-2)
    assert not until_N[22050 + 1000 + TAIL + 10:].any()


def test_volume_envelope(tmp_path: Path) -> None:
    """Delay 0.1 s, attack 0.2 s, hold 0.1 s, decay 100 dB in 2 s to -20 dB; release 100 dB/s."""
    times = {Gen.VOL_DELAY: 0.1, Gen.VOL_ATTACK: 0.2, Gen.VOL_HOLD: 0.1, Gen.VOL_DECAY: 2.0,
             Gen.VOL_RELEASE: 1.0}
    zone = {number: round(1200 * np.log2(s)) for number, s in times.items()}
    font = sine_font(tmp_path / "f.sf2", {(0, 0): [LOOPED | zone | {Gen.VOL_SUSTAIN: 200}],
                                          (0, 1): [LOOPED]})
    wave_N = render(font, part(Note(0, 1.2, 69, 127)), seconds=2.0)[0]
    peaks = np.abs(wave_N[:RATE * 2 // 200 * 200].reshape(-1, 200)).max(axis=1)
    full = np.abs(render(font, part(Note(0, 1, 69, 127), program=1), seconds=0.5)).max()
    at = np.arange(len(peaks)) * 200 / RATE
    level = peaks / full
    assert not level[at < 0.095].any()
    rising = (at > 0.11) & (at < 0.295)
    np.testing.assert_allclose(level[rising], (at[rising] - 0.1) / 0.2, atol=0.025)
    np.testing.assert_allclose(level[(at > 0.31) & (at < 0.39)], 1, atol=0.01)
    for begin, end, per_s, start_db in (
            (0.41, 0.79, 50, 0), (0.81, 1.19, 0, 20), (1.21, 1.7, 100, 20)):
        where = (at > begin) & (at < end)
        fall = start_db + per_s * (at[where] - (begin - 0.01))
        np.testing.assert_allclose(-20 * np.log10(level[where]), fall, atol=0.5)
    assert not wave_N[int(1.85 * RATE):].any()


def test_velocity_is_a_square_law(tmp_path: Path) -> None:
    font = sine_font(tmp_path / "f.sf2", {(0, 0): [LOOPED]},
                     modulators=((0x0102, Gen.CUTOFF, 0, 0),))
    full = decibels(render(font, held(), seconds=0.5))
    for velocity in (5, 20, 64, 100):
        level = decibels(render(font, held(velocity=velocity), seconds=0.5))
        assert full - level == pytest.approx(40 * np.log10(127 / velocity), abs=0.05)


def test_velocity_closes_the_filter_unless_the_font_says_otherwise(tmp_path: Path) -> None:
    presets: Presets = {(0, 0): [LOOPED | {Gen.CUTOFF: 8000}]}
    levels = []
    for number, modulators in enumerate(((), ((0x0102, Gen.CUTOFF, 0, 0x0d02),),
                                         ((0x0502, Gen.ATTENUATION, 0, 0),))):
        font = sine_font(tmp_path / f"{number}.sf2", presets, modulators=modulators)
        loud, soft = (render(font, held(81, v), seconds=0.5)[0, 4000:] for v in (127, 40))
        levels.append(decibels(loud) - decibels(soft))
    law = 40 * np.log10(127 / 40)
    assert levels[0] > law + 2
    assert levels[1] == pytest.approx(law, abs=0.05)
    assert levels[2] == pytest.approx(levels[0] - law, abs=0.05)


def test_filter_is_three_decibels_down_at_its_cutoff(tmp_path: Path) -> None:
    cutoff = round(1200 * np.log2(HERTZ / 8.176) / 50) * 50
    tune = cutoff - 1200 * np.log2(HERTZ / 8.176)
    font = sine_font(tmp_path / "f.sf2", {
        (0, 0): [LOOPED], (0, 1): [LOOPED | {Gen.CUTOFF: cutoff}],
        (0, 2): [LOOPED | {Gen.CUTOFF: cutoff, Gen.RESONANCE: 120}],
        (0, 3): [LOOPED | {Gen.CUTOFF: cutoff - 1200, Gen.MOD_ENV_CUTOFF: 1200}]})
    note = Note(0, 9, 69, 127)
    levels = [decibels(render(font, part(note, program=p), seconds=1.0, tune_cents=tune)[0, 9000:])
              for p in range(4)]
    assert levels[0] - levels[1] == pytest.approx(3.0, abs=0.1)
    assert levels[2] - levels[0] == pytest.approx(12 - 3 - 6, abs=0.1)      # half of Q is taken off
    assert levels[3] == pytest.approx(levels[1], abs=0.1)


def test_pan_is_of_equal_power_and_mono_is_the_mean(tmp_path: Path) -> None:
    pans = {0: -500, 1: -250, 2: 0, 3: 400, 4: 500}
    font = sine_font(tmp_path / "f.sf2", {(0, p): [LOOPED | {Gen.PAN: pan}]
                                          for p, pan in pans.items()})
    for program, pan in pans.items():
        note = part(Note(0, 0.3, 69, 127), program=program)
        stereo_CN = render(font, note, seconds=0.5, channels=2)
        left, right = np.abs(stereo_CN).max(axis=1)
        assert np.hypot(left, right) == pytest.approx(soundfont.GAIN * 0.5, rel=0.01)
        assert np.arctan2(right, left) == pytest.approx(np.pi / 2 * (pan / 1000 + 0.5), abs=1e-3)
        mono_CN = render(font, note, seconds=0.5)
        np.testing.assert_allclose(mono_CN[0], stereo_CN.mean(axis=0), atol=1e-7)


def test_linked_stereo_zones_sound_together(tmp_path: Path) -> None:
    font = sine_font(tmp_path / "f.sf2", {
        (0, 0): [LOOPED | {Gen.PAN: -500}, LOOPED | {Gen.PAN: 500, Gen.COARSE_TUNE: 12}]})
    left_N, right_N = render(font, held(), seconds=1.0, channels=2)[:, 4410:]
    assert cents(hertz_of(right_N) / hertz_of(left_N)) == pytest.approx(1200, abs=0.2)


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


def test_bends(tmp_path: Path) -> None:
    """From the start a bend is a detuning; within a note it moves the pitch, not the phase."""
    font = sine_font(tmp_path / "f.sf2", {(0, 0): [LOOPED]})
    notes = (Note(0.1, 0.9, 69, 127),)
    bent = render(font, part(*notes, bends=(Bend(0.0, 2.0),)), seconds=1.0)
    np.testing.assert_array_equal(bent, render(font, part(*notes), seconds=1.0, tune_cents=200))
    moving = render(font, part(*notes, bends=(Bend(0.5, 2.0), Bend(0.7, -1.0))), seconds=1.0)[0]
    for begin, end, semitones in ((0.1, 0.5, 0), (0.51, 0.7, 2), (0.71, 0.9, -1)):
        piece = moving[int(begin * RATE):int(end * RATE)]
        assert cents(hertz_of(piece) / HERTZ) == pytest.approx(100 * semitones, abs=1)
    assert np.abs(np.diff(moving)).max() < 1.01 * np.abs(np.diff(bent)).max()


def test_drums_are_tuned_one_by_one(tmp_path: Path) -> None:
    font = sine_font(tmp_path / "f.sf2", {(128, 0): [LOOPED]})
    for key, semitones in ((69, 1.5), (70, 0.0)):
        note = part(Note(0, 9, key, 127), is_drum=True)
        wave_N = render(font, note, seconds=0.5, drum_tune={69: 1.5})[0, 2000:]
        expected = 100 * (key - 69 + semitones)
        assert cents(hertz_of(wave_N) / HERTZ) == pytest.approx(expected, abs=0.3)


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
    code = ("import sys; from stemsep.datasets.soundfont import default_soundfont as f; "
            "assert f().is_file(); assert 'pretty_midi' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)
    monkeypatch.setattr(soundfont.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="install pretty_midi"):
        default_soundfont()
