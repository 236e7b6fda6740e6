"""Separation: exact lengths, no seams, one result whatever the batch, blocks and devices are."""

import functools
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import soundfile

from stemsep import audio
from stemsep.collection import Settings
from stemsep.config import REST, Config, from_dict, to_dict
from stemsep.errors import InputError
from stemsep.estimate import make_estimator
from stemsep.jobs import plan
from stemsep.models import PREPARED
from stemsep.outputs import Form
from stemsep.parallel import DataParallel
from stemsep.quality import Quality
from stemsep.separate import separate_songs
from stemsep.separator import Passage, Separator
from stemsep.stft import Stft
from tests.trees import noise, write

ROOT = Path(__file__).parent.parent
RATE = 8000
NONE = {"params": np.zeros(1, np.float32)}      # the variables of what has none to learn


def tiny(channels: int = 1) -> Config:
    c = Config(name="tiny")
    c.audio.sample_rate, c.audio.n_fft, c.audio.hop, c.audio.channels = RATE, 256, 64, channels
    c.data.window_frames = 32
    c.model.name, c.model.widths, c.model.estimate = "strided", (4, 8), "mask"
    c.model.features = "log"
    return c.check()


def trained(config: Config) -> dict[str, Any]:
    """Return parameters that give masks of many values; the same every time."""
    variables = make_estimator(config).init(jax.random.key(0), config.data.window_frames)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: np.asarray(
        x + 0.3 * rng.normal(size=x.shape) * (x.ndim > 1), np.float32), variables)


@functools.cache        # compiled once
def separator(channels: int = 1, **settings: Any) -> Separator:
    config, own = tiny(channels), {name: settings.pop(name) for name in ("devices", "shared")
                                   if name in settings}
    return Separator(config, trained(config), quality=Quality(**settings), **own)


def same(variables: Any, mix_BTFC: jax.Array, *, scale: float) -> jax.Array:
    """Estimate every stem as the mixture."""
    return jnp.stack([mix_BTFC, mix_BTFC], 1)


@functools.cache
def identity(**settings: Any) -> Separator:
    return Separator(tiny(), NONE, estimators=[same], quality=Quality(**settings))


def error_db(estimate: np.ndarray, truth: np.ndarray) -> float:
    assert estimate.shape == truth.shape
    return float(10 * np.log10(((estimate - truth) ** 2).sum() / (truth ** 2).sum() + 1e-30))


def test_a_residual_needs_a_last_target_that_is_the_rest() -> None:
    config = from_dict({**to_dict(tiny()), "data": {
        **to_dict(tiny())["data"], "targets": {"accompaniment": REST, "drums": ["drums"]}}})
    turned = Separator(config, NONE, estimators=[same])
    with pytest.raises(InputError, match="--residual gives 'drums' all that accompaniment leaves"):
        turned(noise(100), RATE, residual=True)
    turned(noise(100), RATE)


def whole(blocks: Iterator[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(blocks), -1)


@pytest.mark.parametrize("samples", [1, 1000, 44100, 1000003])
@pytest.mark.parametrize("channels, batch, overlap, rate", [
    (1, 8, 0.5, RATE), (2, 3, 0.0, RATE), (2, 16, 0.77, 11025), (1, 8, 0.25, 4000)])
def test_masks_of_one_give_the_song_back(samples: int, channels: int, batch: int, overlap: float,
                                         rate: int) -> None:
    song_CN = noise(samples, channels=channels)
    stems = identity(batch=batch, overlap=overlap)(song_CN, rate)
    assert list(stems) == ["drums", "accompaniment"]
    for wave_CN in stems.values():
        assert wave_CN.dtype == np.float32
        assert error_db(wave_CN, song_CN) < -90


def test_batch_and_blocks_change_nothing() -> None:
    song_CN = noise(30011, channels=2)
    expected = np.stack(list(separator(batch=1)(song_CN, RATE).values()))
    assert np.abs(expected[0]).max() > 0.01
    assert error_db(expected[0], 0.5 * song_CN) > -20       # masks that are masks
    eight = np.stack(list(separator()(song_CN, RATE).values()))
    assert error_db(eight, expected) < -80
    cuts = np.sort(np.random.default_rng(1).integers(0, 30011, 40))
    blocks = np.split(song_CN, [1, 2, *cuts], axis=1)
    assert error_db(whole(separator().stream(blocks, RATE, 2)), expected) < -80


def test_devices_and_mappings_change_nothing(tmp_path: Path) -> None:
    """Four devices, by pmap and by shard_map, give what one gives."""
    song_CN = noise(30011, channels=2)
    code = f"""
import numpy as np
from stemsep.parallel import DataParallel
from tests import test_separate as t
song_CN = t.noise(30011, channels=2)
for mapping in ("pmap", "shard_map"):
    devices = DataParallel(mapping)
    assert devices.size == 4
    stems = t.separator(batch=6, devices=devices)(song_CN, t.RATE)      # 6 becomes 8
    np.save({str(tmp_path)!r} + "/" + mapping, np.stack(list(stems.values())))
"""
    flag = "--xla_force_host_platform_device_count=4"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=300, env={
        **os.environ, "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"})
    expected = np.stack(list(separator()(song_CN, RATE).values()))
    for mapping in ("pmap", "shard_map"):
        assert error_db(np.load(tmp_path / f"{mapping}.npy"), expected) < -80


def test_memory_does_not_grow_with_the_song() -> None:
    def peak(seconds: int) -> int:
        blocks = (np.zeros((1, RATE), np.float32) for _ in range(seconds))
        tracemalloc.start()
        done = sum(stems_SCN.shape[-1] for stems_SCN in separate.stream(blocks, RATE, 1))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert done == seconds * RATE
        return most
    separate = identity(batch=2)
    peak(5)
    stem = 80 * RATE * 4
    assert peak(80) < stem / 2


def test_silence_gives_silence() -> None:
    for wave_CN in separator()(np.zeros((2, 5000), np.float32), RATE).values():
        assert not wave_CN.any()


@pytest.mark.parametrize("rate", [RATE, 2 * RATE, 5000])
def test_stems_of_a_softmax_sum_to_the_song_at_any_rate(rate: int) -> None:
    """No band is lost, not even one that the network cannot see."""
    song_CN = noise(20000)
    stems = separator()(song_CN, rate)
    assert error_db(sum(stems.values(), np.zeros_like(song_CN)), song_CN) < -90


def test_a_song_at_another_rate_gets_the_same_stems() -> None:
    """The network sees the same spectrum: a song at twice the rate has the stems of the song."""
    slow_CN = scipy.signal.resample(noise(4000), 20000, axis=1).astype(np.float32)
    fast_CN = scipy.signal.resample(slow_CN, 40000, axis=1).astype(np.float32)
    separate = separator()
    slow, fast = separate(slow_CN, RATE), separate(fast_CN, 2 * RATE)
    for stem in slow:
        expected = scipy.signal.resample(slow[stem], 40000, axis=1)
        assert error_db(fast[stem], expected) < -35


def test_a_mono_model_separates_each_channel_by_itself() -> None:
    song_CN = noise(9000, channels=3)
    together = separator()(song_CN, RATE)
    for channel in range(3):
        alone = separator()(song_CN[channel:channel + 1], RATE)
        for stem, wave_CN in alone.items():
            assert error_db(together[stem][channel:channel + 1], wave_CN) < -80


def test_a_shared_mask_is_that_of_the_mean() -> None:
    """A channel of a shared mask is to the song as the mean of the stems to the mean of the song.
    """
    left, gains = noise(9000), np.array([[1], [0.25], [-0.5]], np.float32)
    shared = separator(shared=True)(left * gains, RATE)
    mean = separator()(left * gains.mean(), RATE)
    for stem, wave_CN in shared.items():
        assert error_db(wave_CN * gains.mean(), mean[stem] * gains) < -80
    with pytest.raises(InputError, match="audio.channels 1"):
        separator(channels=2, shared=True)


def test_what_makes_calls_faster_is_made_of_the_parameters_and_is_no_part_of_the_model() -> None:
    config, ours = tiny(), trained(tiny())
    quiet = jax.tree.map(lambda x: np.asarray(0.5 * x), ours)
    first = Separator(config, ours)
    other = first.with_variables(quiet)
    assert other.fingerprint() != first.fingerprint() == Separator(config, ours).fingerprint()
    assert other.with_variables(ours).fingerprint() == first.fingerprint()
    assert PREPARED in first._variables[0] and PREPARED in other._variables[0]
    unprepared = Separator(
        config, ours, estimators=[lambda *given, **settings: make_estimator(config)(
            *given, **settings)])
    assert PREPARED not in unprepared._variables[0]
    assert unprepared.fingerprint() == first.fingerprint()
    song_CN = noise(9000)
    want = unprepared(song_CN, RATE)
    for stem, wave_CN in first(song_CN, RATE).items():
        assert error_db(wave_CN, want[stem]) < -80


def test_a_stereo_model_takes_mono_as_two_equal_channels() -> None:
    song_CN, separate = noise(9000), separator(channels=2)
    mono, stereo = separate(song_CN, RATE), separate(np.repeat(song_CN, 2, 0), RATE)
    for stem, wave_CN in mono.items():
        assert error_db(wave_CN, stereo[stem].mean(0, keepdims=True)) < -80
    with pytest.raises(InputError, match="song.wav: 3 channels.*stereo"):
        list(separate.stream([noise(10, channels=3)], RATE, 3, name="song.wav"))


def test_the_residual_makes_the_stems_sum_to_the_song() -> None:
    song_CN = noise(20000, channels=2)
    stems = identity()(song_CN, RATE, residual=True)
    np.testing.assert_allclose(stems["drums"] + stems["accompaniment"], song_CN, atol=1e-7)
    assert np.abs(stems["accompaniment"]).max() < 1e-5


@pytest.mark.parametrize("bits", [16, 24])
def test_files_sum_to_the_song_sample_by_sample(tmp_path: Path, bits: int) -> None:
    song = write(tmp_path / "song.flac", noise(20001, channels=2), rate=11025)
    form = Form(names="{stem}.wav", residual=True, bits=bits)
    paths = separator().separate_file(song, tmp_path / "out", form=form)
    mixture, _ = soundfile.read(song, dtype="int32")
    stems = [soundfile.read(path, dtype="int32")[0] for path in paths.values()]
    np.testing.assert_array_equal(sum(stems), mixture)
    assert audio.probe(paths["drums"]) == audio.AudioInfo(11025, 2, 20001)
    assert soundfile.info(paths["drums"]).subtype == f"PCM_{bits}"


def test_nothing_appears_under_its_name_when_a_song_ends_badly(tmp_path: Path) -> None:
    wave_CN = noise(100000)
    wave_CN[0, 90000] = np.nan
    soundfile.write(tmp_path / "song.wav", wave_CN.T, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match="song.wav: sample 90000"):
        identity().separate_file(tmp_path / "song.wav", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_bad_song_is_named_and_the_rest_goes_on(tmp_path: Path,
                                                  capsys: pytest.CaptureFixture) -> None:
    write(tmp_path / "in" / "a.wav", noise(3000))
    (tmp_path / "in" / "b.wav").write_text("no audio")
    write(tmp_path / "in" / "deep" / "c.flac", noise(3000, channels=2))
    jobs = plan([tmp_path / "in", tmp_path / "gone.wav"], tmp_path / "out")
    assert separate_songs(identity(), jobs, Settings((), str(tmp_path / "out"))) == 2
    said = capsys.readouterr()
    assert "b.wav" in said.err and "gone.wav" in said.err and "2 of 4 songs" in said.out
    written = sorted(str(path.relative_to(tmp_path / "out"))
                     for path in (tmp_path / "out").rglob("*") if path.suffix == ".wav")
    assert written == [f"{song}/{stem}.wav" for song in ("a", "deep/c")
                       for stem in ("accompaniment", "drums")]


def test_songs_of_one_name_do_not_meet(tmp_path: Path) -> None:
    for name in ("x/song.wav", "x/Song.flac", "y/song.wav", "z/song.wav", "x/.hidden.wav",
                 "x/out/song/drums.wav"):
        write(tmp_path / name, noise(10))
    (tmp_path / "x" / "notes.txt").touch()
    out = tmp_path / "x" / "out"
    jobs = plan([tmp_path / "x", tmp_path / "y/song.wav", tmp_path / "z/song.wav",
                 tmp_path / "y" / ".." / "y" / "song.wav"], out)
    assert [Path(job.source).relative_to(tmp_path) for job in jobs] == [
        Path("x/Song.flac"), Path("x/song.wav"), Path("y/song.wav"), Path("z/song.wav")]
    assert [job.name for job in jobs] == ["Song", "song.wav", "song (2)", "song (3)"]


@pytest.mark.parametrize("setting, value", [("overlap", 1.0), ("overlap", -0.1), ("batch", -1)])
def test_settings_out_of_range_are_sentences(setting: str, value: float) -> None:
    with pytest.raises(InputError, match=setting):
        identity(**{setting: value})


@pytest.mark.parametrize("wave, words", [
    (noise(10)[0], "a wave is"), (np.zeros((1, 10), np.int16), "a wave is"),
    (np.zeros((1, 0), np.float32), "a wave is"), (noise(2, channels=9000), "give it as wave.T"),
    (np.full((1, 9), np.nan, np.float32), "not a number")])
def test_a_wave_of_another_kind_is_an_error(wave: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        identity()(wave, RATE)


def test_a_song_that_gives_no_numbers_fails_alone(tmp_path: Path) -> None:
    """So loud that the network overflows: no stem of NaN appears, and the next song has its own."""
    for name, loud in (("a", 3e38), ("b", 1.0)):
        soundfile.write(tmp_path / f"{name}.wav", loud * noise(3000).T, RATE, subtype="FLOAT")
    for bits in (16, 32):
        output = tmp_path / str(bits)
        assert separate_songs(separator(), plan([tmp_path / f"{n}.wav" for n in "ab"], output),
                              Settings((), str(output), form=Form(bits=bits))) == 1
        assert [path.name for path in output.iterdir() if any(path.rglob("*.wav"))] == ["b"]


def test_equal_items_have_their_own_songs() -> None:
    waves, own = [noise(5000, seed=seed) for seed in range(3)], iter(range(3))
    done = separator().each(["x"] * 3, lambda _: Passage(separator(), [waves[next(own)]], RATE, 1),
                            lambda _, song, stems: whole(stems), readers=1)
    for wave_CN, (_, stems_SCN) in zip(waves, done, strict=True):
        assert error_db(stems_SCN, np.stack(list(separator()(wave_CN, RATE).values()))) < -80


def test_blocks_and_rates_of_another_kind_are_errors() -> None:
    for rate in (-1, 0, 1, 10 ** 7):
        with pytest.raises(InputError, match=f"a sample rate of {rate} Hz; audio has"):
            identity()(noise(100), rate)
    for block in (noise(100)[0], noise(100, channels=2), np.full((1, 9), np.inf, np.float32)):
        with pytest.raises(ValueError, match="a wave"):
            list(identity().stream([noise(100), block], RATE, 1))


def test_a_mere_mixture_is_named_after_its_folder(tmp_path: Path) -> None:
    for name in ("Track1/mix.wav", "Track2/mixture.flac", "song.wav", "disc.1/mix.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = {Path(job.source).relative_to(tmp_path).as_posix(): job.name
             for job in plan([tmp_path], "out")}
    assert names == {"Track1/mix.wav": "Track1", "Track2/mixture.flac": "Track2",
                     "song.wav": "song", "disc.1/mix.wav": "disc.1"}
    assert plan([tmp_path / "Track1" / "mix.wav"], "out")[0].name == "Track1"


def test_shifts_are_averaged(tmp_path: Path) -> None:
    """A shift is the song begun later; their mean is what comes out, block by block too."""
    song_CN, advance = noise(20001, channels=2), 16 * 64
    expected = np.zeros((2, *song_CN.shape))
    for shift in range(3):
        late = round(advance * shift / 3)
        begun = np.concatenate([np.zeros((2, late), np.float32), song_CN], 1)
        expected += np.stack(list(separator()(begun, RATE).values()))[:, :, late:] / 3
    shifted = separator(shifts=3)
    assert error_db(np.stack(list(shifted(song_CN, RATE).values())), expected) < -80
    blocks = np.split(song_CN, [1, 700, 7000], axis=1)
    assert error_db(whole(shifted.stream(blocks, RATE, 2)), expected) < -80
    stems = shifted(song_CN, RATE, residual=True)
    np.testing.assert_allclose(sum(stems.values()), song_CN, atol=1e-6)


def test_the_wiener_filter_shares_the_song_out() -> None:
    """Of both channels together, though the model is mono."""
    song_CN = noise(9000, channels=2)
    stems = separator(wiener=2)(song_CN, RATE)
    assert error_db(sum(stems.values(), np.zeros_like(song_CN)), song_CN) < -60
    assert error_db(stems["drums"], separator()(song_CN, RATE)["drums"]) > -30


def test_what_lies_above_the_band_of_training_can_go_to_the_rest() -> None:
    song_CN = noise(16000)
    stems = separator(highs="rest")(song_CN, 2 * RATE)
    spectrum = {stem: np.abs(np.fft.rfft(wave_CN[0]))[4200:] for stem, wave_CN in stems.items()}
    of_song = np.abs(np.fft.rfft(song_CN[0]))[4200:]
    assert np.linalg.norm(spectrum["drums"]) < 1e-2 * np.linalg.norm(of_song)
    assert error_db(spectrum["accompaniment"], of_song) < -30
    assert error_db(sum(stems.values(), np.zeros_like(song_CN)), song_CN) < -90
    config = from_dict({**to_dict(tiny()), "data": {
        **to_dict(tiny())["data"], "targets": {"drums": ["drums"], "bass": ["bass"]}},
        "model": {**to_dict(tiny())["model"], "mask": "sigmoid"}})
    with pytest.raises(InputError, match="highs 'rest' gives .* this model has none"):
        Separator(config, NONE, estimators=[same], quality=Quality(highs="rest"))


def flux(wave_N: np.ndarray, overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the spectral flux of frames at the borders of windows, and of those elsewhere."""
    hop = 64
    frames_TN = np.lib.stride_tricks.sliding_window_view(wave_N, 128)[::hop // 4]
    spectra_TF = np.abs(np.fft.rfft(frames_TN * np.hanning(128)))
    flux_T = np.maximum(np.diff(spectra_TF, axis=0), 0).sum(1)[256:-256]
    times_N = (np.arange(len(flux_T)) + 256) * hop // 4 + 64
    advance = round(32 * (1 - overlap)) * hop
    borders = np.abs((times_N + advance // 2) % advance - advance // 2) <= 128
    assert borders.sum() > 40
    return flux_T[borders], flux_T[~borders]


def moody(variables: Any, mix_BTFC: jax.Array, *, scale: float) -> jax.Array:
    """Estimate steady stems, but other ones in each window: the worst for where they meet."""
    sum_B = jnp.abs(mix_BTFC).sum((1, 2, 3))
    mask_B111 = (0.5 + 0.4 * jnp.sin(1e3 * sum_B))[:, None, None, None]
    return jnp.stack([mask_B111 * mix_BTFC, (1 - mask_B111) * mix_BTFC], 1)


@pytest.mark.parametrize("sound", ["sine", "noise"])
@pytest.mark.parametrize("overlap", [0.25, 0.5])    # with more, the borders are all over
def test_no_click_where_windows_meet(sound: str, overlap: float,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Spectral flux at the borders of windows is no larger than elsewhere, on a steady sound."""
    song_CN = noise(60000) if sound == "noise" else (
        0.5 * np.sin(2 * np.pi * 440 * np.arange(60000) / RATE)).astype(np.float32)[None]

    def borders_and_elsewhere() -> tuple[np.ndarray, np.ndarray]:
        separate = Separator(tiny(), NONE, estimators=[moody],
                             quality=Quality(overlap=overlap))
        return flux(separate(song_CN, RATE)["drums"][0], overlap)

    at_borders, elsewhere = borders_and_elsewhere()
    if sound == "noise":
        assert at_borders.mean() <= 1.05 * elsewhere.mean()
    else:
        assert at_borders.max() <= 1.05 * elsewhere.max()
        # The measure finds the clicks of windows that are not cross-faded
        monkeypatch.setattr("stemsep.stream.fade", lambda frames: np.where(
            np.arange(frames) < round(frames * (1 - overlap)), 1, 1e-6).astype(np.float32))
        at_borders, elsewhere = borders_and_elsewhere()
        assert at_borders.max() > 2 * elsewhere.max()


def pointwise(variables: Any, mix_BTFC: jax.Array, *, scale: float) -> jax.Array:
    """Estimate stems by masks that depend on a point and not on the window that it is in."""
    mask = jnp.tanh(jnp.abs(mix_BTFC) * scale)
    return jnp.stack([mask * mix_BTFC, (1 - mask) * mix_BTFC], 1)


@functools.cache
def of_points(overlap: float) -> Separator:
    return Separator(tiny(), NONE, estimators=[pointwise], quality=Quality(overlap=overlap))


@pytest.mark.parametrize("samples", [1, 2111, 30011])
@pytest.mark.parametrize("rate", [RATE, 11025, 16000, 5000])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_windows_together_are_one_spectrogram_of_the_song(
    overlap: float, rate: int, samples: int
) -> None:
    """From the first sample to the last, whatever the windows: the host's STFT of all of it."""
    song_CN, stft = noise(samples, channels=2), Stft(RATE, 256, 64).at_rate(rate)
    spec_CTF = stft.analyse(song_CN)
    mask_CTF = np.tanh(np.abs(spec_CTF) * np.sqrt(256 / stft.n_fft))
    drums_CN = stft.synthesise(mask_CTF * spec_CTF, samples)
    assert error_db(of_points(overlap)(song_CN, rate)["drums"], drums_CN) < -100


@pytest.mark.parametrize("memory, least, most", [(0, 1, 1), (10 ** 7, 2, 63), (10 ** 12, 64, 64)])
def test_a_batch_takes_the_memory_there_is(memory: int, least: int, most: int,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """As many windows as fit, and the same stems."""
    monkeypatch.setattr(DataParallel, "free_bytes", lambda self: memory)
    song_CN = noise(20000, channels=2)
    fitted = Separator(tiny(2), trained(tiny(2)), quality=Quality(batch=0))
    stems = fitted(song_CN, RATE)
    windows = max(batch[0] for batch in fitted._batches._programs)
    assert least <= windows <= most
    assert windows == 1 or fitted._batches._programs[windows, 2, 31 * 64 + 256].temp_bytes <= memory
    for stem, wave_CN in separator(channels=2)(song_CN, RATE).items():
        assert error_db(stems[stem], wave_CN) < -80


def test_a_batch_is_bounded_where_memory_is_not_counted() -> None:
    fitted = identity(batch=0)
    fitted(noise(100), RATE)
    assert [batch[0] for batch in fitted._batches._programs] == [8]


def test_threads_share_a_separator() -> None:
    from concurrent.futures import ThreadPoolExecutor

    shared = [noise(9000 + 700 * n, channels=1 + n % 2, seed=n) for n in range(8)]
    expected = [separator()(song_CN, RATE)["drums"] for song_CN in shared]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda song_CN: separator()(song_CN, RATE)["drums"], shared))
    for one, other in zip(found, expected):
        assert error_db(one, other) < -80


def test_the_first_minute_is_the_first_minute_of_all() -> None:
    """What comes later changes nothing before, but for what a window sees."""
    song_CN = noise(60000)
    cut, all_of_it = separator()(song_CN[:, :30000], RATE), separator()(song_CN, RATE)
    seen = 32 * 64 + 256
    for stem, wave_CN in cut.items():
        assert error_db(wave_CN[:, :-seen], all_of_it[stem][:, :30000 - seen]) < -80
