"""How a voice sounds, against the SoundFont specification, on a font of one sine."""

from pathlib import Path

import numpy as np
import pytest

from stemsep.datasets import soundfont
from stemsep.datasets.score import Bend, Note
from stemsep.datasets.sf2 import Gen
from stemsep.datasets.soundfont import render
from tests.sine_font import (
    HERTZ, LOOPED, PERIOD, RATE, TAIL, Presets, cents, decibels, held, hertz_of, part, sine_font
)


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


def test_a_delayed_voice_plays_all_of_its_recording(tmp_path: Path) -> None:
    once = LOOPED | {Gen.LOOP_MODE: 0, Gen.VIB_LFO_PITCH: 100}
    font = sine_font(tmp_path / "f.sf2", {
        (0, 0): [once], (0, 1): [once | {Gen.VOL_DELAY: -1200, Gen.VIB_LFO_DELAY: -1200}]})
    now_N, later_N = (render(font, part(Note(0, 9, 69, 127), program=p), seconds=1.0)[0]
                      for p in (0, 1))
    assert not later_N[:RATE // 2].any()
    np.testing.assert_allclose(later_N[RATE // 2:], now_N[:RATE // 2], atol=1e-4)


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


@pytest.mark.parametrize("attenuation, heard", [
    (100, 4.0), (600, 24.0), (-80, -3.2), (-900, -4.15)])
def test_a_font_attenuates_as_the_hardware_did(tmp_path: Path, attenuation: int, heard: float
                                               ) -> None:
    font = sine_font(tmp_path / "f.sf2", {
        (0, 0): [LOOPED], (0, 1): [LOOPED | {Gen.ATTENUATION: attenuation}]})
    levels = [decibels(render(font, part(Note(0, 9, 69, 127), program=p), seconds=0.5))
              for p in (0, 1)]
    assert levels[0] - levels[1] == pytest.approx(heard, abs=0.02)


def test_oscillators(tmp_path: Path) -> None:
    """5 Hz after 0.2 s: ±100 cents of vibrato by either oscillator, and a tremolo of ±6 dB."""
    rate, delay = round(1200 * np.log2(5 / 8.176)), round(1200 * np.log2(0.2))
    mod = LOOPED | {Gen.MOD_LFO_DELAY: delay, Gen.MOD_LFO_RATE: rate}
    font = sine_font(tmp_path / "f.sf2", {
        (0, 0): [LOOPED | {Gen.VIB_LFO_DELAY: delay, Gen.VIB_LFO_RATE: rate,
                           Gen.VIB_LFO_PITCH: 100}],
        (0, 1): [mod | {Gen.MOD_LFO_PITCH: 100}], (0, 2): [mod | {Gen.MOD_LFO_VOLUME: 60}],
        (0, 3): [LOOPED]})
    waves = [render(font, part(Note(0, 9, 69, 127), program=p), seconds=1.0)[0] for p in range(4)]
    np.testing.assert_array_equal(waves[0], waves[1])
    for start_s, expected in ((0.1, 0.0), (0.25, 100.0), (0.3, 0.0), (0.35, -100.0), (0.65, 100.0)):
        middle = round(start_s * RATE)
        heard = cents(hertz_of(waves[0][middle - 600:middle + 600]) / HERTZ)
        assert heard == pytest.approx(expected, abs=12)     # the mean over a seventh of a turn
        louder = decibels(waves[2][middle - 300:middle + 300]) - decibels(
            waves[3][middle - 300:middle + 300])
        assert louder == pytest.approx(6 * expected / 100, abs=0.5)


def test_high_keys_decay_sooner(tmp_path: Path) -> None:
    """100 timecents a key: an octave up from key 60 falls twice as fast, an octave down half."""
    zone = LOOPED | {Gen.VOL_DECAY: 0, Gen.VOL_SUSTAIN: 1000, Gen.KEY_VOL_DECAY: 100}
    font = sine_font(tmp_path / "f.sf2", {(0, 0): [zone]})
    for key, per_s in ((48, 50), (60, 100), (72, 200)):
        wave_N = render(font, held(key), seconds=0.4)[0]
        fall = decibels(wave_N[2000:4000]) - decibels(wave_N[2000 + 8820:4000 + 8820])
        assert fall == pytest.approx(per_s * 0.2, abs=0.2)
