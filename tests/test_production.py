"""How demo songs are played and mixed: laws of the effects, the instruments and the balance."""

import dataclasses

import numpy as np
import pytest

from stemsep.datasets import drum_synth, effects, kit, production
from stemsep.datasets.score import Note, Part, Song
from stemsep.datasets.soundfont import SoundFont, default_soundfont
from stemsep.datasets.studio import Studio, loosen
from stemsep.datasets.synth import render_synth
from stemsep.datasets.voice_synth import render_voice

RATE = 44100


def noise(seconds: float = 1.0, *, channels: int = 1, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return 0.1 * random.standard_normal((channels, round(seconds * RATE)), dtype=np.float32)


def rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


def tone(frequency_hz: float, seconds: float = 1.0) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return np.sin(2 * np.pi * frequency_hz * time_s, dtype=np.float64).astype(np.float32)[None]


def drums(*pitches: int, velocity: int = 100) -> Part:
    return Part("drums", 0, True, tuple(Note(0.25 * i, 0.25 * i + 0.1, pitch, velocity)
                                        for i, pitch in enumerate(pitches)))


def melody(program: int, *pitches: int) -> Part:
    return Part("melody", program, False, tuple(Note(0.5 * i + 0.1, 0.5 * i + 0.55, pitch, 100)
                                                for i, pitch in enumerate(pitches)))


@pytest.fixture(scope="module")
def font() -> SoundFont:
    return SoundFont.load(default_soundfont())


CUT_DB = -np.inf


@pytest.mark.parametrize(("kind", "below_db", "above_db"), [
    ("low", 6, 0), ("high", 0, 6), ("peak", 0, 0), ("lowpass", 0, CUT_DB), ("highpass", CUT_DB, 0)])
def test_a_filter_does_what_its_name_says(kind: str, below_db: float, above_db: float) -> None:
    biquad = effects.shelf(kind, 800, 6, sample_rate=RATE)
    for frequency_hz, expected_db in ((20, below_db), (20000, above_db)):
        out = effects.equalise(tone(frequency_hz), biquad)[:, RATE // 2:]
        gain_db = 20 * np.log10(rms(out) / rms(tone(frequency_hz)))
        if expected_db == CUT_DB:
            assert gain_db < -55
        else:
            assert gain_db == pytest.approx(expected_db, abs=0.3)


@pytest.mark.parametrize("channels", [1, 2])
def test_effects_keep_length_type_and_silence(channels: int) -> None:
    response = effects.room(np.random.default_rng(1), rt60_s=0.4, sample_rate=RATE,
                            channels=channels)
    shared = {"sample_rate": RATE}
    chain = [
        lambda w: effects.random_eq(w, np.random.default_rng(2), **shared),
        lambda w: effects.band_limit(w, low_hz=100, high_hz=5000, **shared),
        lambda w: effects.compress(w, threshold_db=0, ratio=4, attack_s=0.01, release_s=0.1,
                                   **shared),
        lambda w: effects.shape_transients(w, attack_db=6, sustain_db=-6, **shared),
        lambda w: effects.duck(w, [0.1, 0.5], depth_db=10, release_s=0.1, **shared),
        lambda w: effects.saturate(w, drive_db=12, bias=0.3),
        lambda w: effects.amplify(w, np.random.default_rng(3), **shared),
        lambda w: effects.reverberate(w, response, wet_db=-10),
        lambda w: effects.chorus(w, depth_s=0.003, rate_hz=1, mix=0.5, **shared),
        lambda w: effects.echo(w, delay_s=0.1, feedback=0.5, wet=0.5, **shared),
        lambda w: effects.hiss(w, np.random.default_rng(4), level_db=-60, **shared),
        lambda w: effects.place(w, pan=0.5),
    ]
    for number, effect in enumerate(chain):
        for samples in (100, 10007):
            wave = noise(samples / RATE, channels=channels)
            before = wave.copy()
            out = effect(wave)
            assert out.shape == wave.shape and out.dtype == np.float32, number
            assert np.all(np.isfinite(out)), number
            np.testing.assert_array_equal(wave, before, err_msg=f"effect {number} wrote its input")
            assert np.abs(effect(np.zeros_like(wave))).max() < 1e-6, number


def test_an_envelope_falls_by_20_db_in_its_release_as_a_loop_would() -> None:
    level_db = np.random.default_rng(0).uniform(-80, 0, size=500)
    fall_db = 20 * 64 / (0.1 * RATE)
    held = [level_db[0]]
    for value in level_db[1:]:
        held.append(max(value, held[-1] - fall_db))
    np.testing.assert_allclose(effects._hold(level_db, 0.1, RATE), held, atol=1e-9)


def test_compression_turns_down_what_is_loud_and_leaves_the_rest() -> None:
    wave = np.concatenate([0.02 * tone(500), tone(500), 0.02 * tone(500)], axis=1)
    out = effects.compress(wave, threshold_db=-6, ratio=4, attack_s=0.005, release_s=0.1,
                           sample_rate=RATE)
    np.testing.assert_array_equal(out[:, :RATE - 4000], wave[:, :RATE - 4000])
    # The tone's peak is 7.8 dB over the rms of all and 13.8 dB over the threshold; a quarter stays.
    middle = slice(RATE + RATE // 2, 2 * RATE)
    gain_db = 20 * np.log10(rms(out[:, middle]) / rms(wave[:, middle]))
    assert gain_db == pytest.approx(-10.3, abs=0.5)


def test_a_saturated_stem_keeps_its_rms() -> None:
    wave = noise()
    assert rms(effects.saturate(wave, drive_db=20, bias=0.3)) == pytest.approx(rms(wave), rel=1e-3)


def test_the_room_is_as_loud_as_asked() -> None:
    wave = noise()
    response = effects.room(np.random.default_rng(0), rt60_s=0.3, sample_rate=RATE, channels=1)
    wet = effects.reverberate(wave, response, wet_db=-6) - wave
    assert 20 * np.log10(rms(wet) / rms(wave)) == pytest.approx(-6, abs=0.1)


@pytest.mark.parametrize("pitch", range(35, 83))
def test_every_drum_sounds_where_it_is_struck_and_nowhere_else(pitch: int) -> None:
    part = Part("drums", 0, True, (Note(0.5, 0.6, pitch, 100),))
    wave = drum_synth.render_drums(part, 3, seconds=1.0, sample_rate=RATE)
    assert wave.shape == (1, RATE) and wave.dtype == np.float32
    assert np.all(wave[:, :RATE // 2] == 0)
    assert 0.01 < np.abs(wave[:, RATE // 2:RATE // 2 + 4410]).max() < 1.01


def test_a_closed_hat_damps_the_open_one() -> None:
    open_hat = Note(0.0, 0.1, 46, 100)
    ringing = drum_synth.render_drums(Part("d", 0, True, (open_hat,)), 1, seconds=1.0,
                                      sample_rate=RATE)
    damped = drum_synth.render_drums(Part("d", 0, True, (open_hat, Note(0.1, 0.2, 42, 1))), 1,
                                     seconds=1.0, sample_rate=RATE)
    after = slice(round(0.13 * RATE), round(0.3 * RATE))
    assert rms(damped[:, after]) < 0.3 * rms(ringing[:, after])


def test_kits_differ_by_seed_and_only_by_seed() -> None:
    one, same, other = (drum_synth.render_drums(drums(36, 38, 42, 49), seed, seconds=2.0,
                                                sample_rate=RATE) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert rms(one - other) > 0.1 * rms(one)


def test_no_drum_note_is_lost_between_the_groups_of_a_kit() -> None:
    part = drums(*range(20, 90))
    groups = [notes for _, notes, _ in kit._grouped(part)]
    assert sorted((note for notes in groups for note in notes), key=lambda n: n.start_s) == list(
        part.notes)


def test_a_kit_plays_every_stroke(font: SoundFont) -> None:
    part = drums(36, 38, 42, 45, 49, 51, 54)
    for seed in range(4):
        studio = Studio([font], 2.0, RATE, 1, 0.0)
        wave, _ = kit.play_drums(part, studio, np.random.default_rng(seed))
        for note in part.notes:
            start = round(note.start_s * RATE)
            assert np.abs(wave[:, start:start + 4000]).max() > 1e-4 * np.abs(wave).max()


@pytest.mark.parametrize("pitch", [45, 57, 69])
def test_a_singer_sings_the_note(pitch: int) -> None:
    part = Part("vocals", 53, False, (Note(0.2, 1.9, pitch, 100),))
    wave = render_voice(part, 5, seconds=2.0, sample_rate=RATE)
    assert wave.shape == (1, 2 * RATE) and rms(wave[:, :2000]) < 1e-3 * rms(wave)
    piece = wave[0, RATE:RATE + 32768].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)), 2 * len(piece))) ** 2
    correlation = np.fft.irfft(spectrum)[:len(piece)]
    shortest = RATE // 1000
    period = shortest + int(np.argmax(correlation[shortest:RATE // 60]))
    semitones = 12 * np.log2(RATE / period / (440 * 2 ** ((pitch - 69) / 12)))
    assert abs((semitones + 6) % 12 - 6) < 1.0


def test_a_choir_of_chords_is_shared_out_and_overlaps_are_kept() -> None:
    chord = tuple(Note(0.1, 0.9, pitch, 100) for pitch in (60, 64, 67, 71))
    wave = render_voice(Part("choir", 52, False, chord), 1, seconds=1.0, sample_rate=RATE)
    assert np.all(np.isfinite(wave)) and rms(wave) > 1e-3


@pytest.mark.parametrize("channels", [1, 2])
def test_a_synthesiser_falls_silent_after_its_notes(channels: int) -> None:
    wave = render_synth(melody(81, 60, 64), 2, seconds=4.0, sample_rate=RATE, channels=channels)
    assert wave.shape == (channels, 4 * RATE) and rms(wave[:, :RATE]) > 1e-3
    assert np.all(wave[:, :4000] == 0) and np.all(wave[:, round(3.2 * RATE):] == 0)


def test_a_second_take_has_the_same_notes_at_about_the_same_time() -> None:
    part = melody(27, 60, 62, 64)
    other = loosen(part, np.random.default_rng(0), spread_s=0.01)
    assert [note.pitch for note in other.notes] == [60, 62, 64]
    for first, second in zip(part.notes, other.notes):
        assert 0 < abs(first.start_s - second.start_s) <= 0.02
        assert second.end_s - second.start_s == pytest.approx(first.end_s - first.start_s)


def song() -> Song:
    return Song(2.0, 120, "rock", "C", (
        drums(36, 42, 38, 42, 36, 42, 38), melody(33, 36, 38, 40), melody(29, 52, 55, 57),
        dataclasses.replace(melody(53, 60, 62, 64), name="vocals"), melody(0, 72, 76, 79)))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_produced_song_is_finite_loud_and_does_not_clip(font: SoundFont, channels: int) -> None:
    for seed in range(2):
        stems = production.produce(song(), [font], seed=(seed,), channels=channels)
        assert [stem.part.name for stem in stems] == [part.name for part in song().parts]
        waves = np.stack([stem.wave_CN for stem in stems])
        assert waves.shape == (5, channels, 2 * RATE) and waves.dtype == np.float32
        assert np.all(np.isfinite(waves)) and np.abs(waves).max() <= 1
        assert np.all(np.abs(waves).max(axis=(1, 2)) > 1e-4)
        peak_db = 20 * np.log10(np.abs(waves.sum(axis=0)).max())
        assert -9.01 <= peak_db <= -0.29


def test_drums_stand_to_the_band_as_in_recordings() -> None:
    part = drums(36)
    parts = [part, part, melody(0, 60), melody(33, 40)]
    gaps_db = []
    for seed in range(30):
        mixed = [production.Stem(part, "", level * noise(seed=number))
                 for number, (part, level) in enumerate(zip(parts, (1, 1, 1e-3, 1)))]
        production.balance(mixed, np.random.default_rng(seed), sample_rate=RATE)
        kit_wave, band = (production.sum_of(mixed[:2]), production.sum_of(mixed[2:]))
        gaps_db.append(production.loudness(kit_wave, RATE) - production.loudness(band, RATE))
    assert -5 < np.mean(gaps_db) < 0 and 2 < np.std(gaps_db) < 5
    assert min(gaps_db) >= -10.1 and max(gaps_db) <= 8.1


def test_loudness_of_silence_and_of_a_click_is_the_floor() -> None:
    assert production.loudness(np.zeros((1, RATE), np.float32), RATE) == -70
    assert production.loudness(np.ones((2, 100), np.float32), RATE) == -70
    assert production.loudness(tone(1000), RATE) == pytest.approx(-3.0, abs=0.2)
