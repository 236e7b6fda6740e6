"""What the page plays and shows of a track: the right stretch, in time, drawn where the axis says.
"""

import base64
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from stemsep import report
from stemsep.report import image, page, sound
from stemsep.report.listen import lanes
from tests.pages import TARGETS, Reader, decoded, heard, listen, music, results, song


def lag(a: np.ndarray, b: np.ndarray) -> int:
    """Return by how many samples b comes later than a, from their cross-correlation."""
    spectrum = np.conj(np.fft.rfft(a, 2 * len(a))) * np.fft.rfft(b, 2 * len(a))
    correlation = np.fft.irfft(spectrum)
    at = int(np.argmax(correlation))
    return at if at < len(a) else at - 2 * len(a)


@pytest.mark.parametrize("rate, channels", [
    (44100, 2), (44100, 1), (48000, 2), (22050, 1), (8000, 1), (11025, 2), (96000, 2), (32000, 3)])
def test_sounds_are_in_time_after_decoding(rate: int, channels: int) -> None:
    """The mixture is the sum of the estimates, and of the references, sample by sample."""
    own = heard(song(3 * rate + 17, channels=channels), rate)
    waves = {(lane.target, lane.kind): decoded(lane.sound) for lane in own.lanes}
    (mixture_CN, to), *others = waves.values()
    assert to == sound.playable(rate) and to in sound.RATES
    assert len(mixture_CN) == (channels if channels < 3 else 1)
    assert abs(mixture_CN.shape[1] - (3 * rate + 17) * to / rate) <= 1
    assert all(wave_CN.shape == mixture_CN.shape for wave_CN, _ in others)
    for kind in ("estimate", "reference"):
        total_CN = sum(wave_CN for (_, own_kind), (wave_CN, _) in waves.items() if own_kind == kind)
        assert lag(mixture_CN[0], np.asarray(total_CN)[0]) == 0
        error = ((total_CN - mixture_CN) ** 2).sum() / (mixture_CN ** 2).sum()
        assert 10 * np.log10(error) < -12       # what MP3 loses
    difference = waves["drums", "estimate"][0] - waves["drums", "reference"][0]
    assert lag(waves["drums", "error"][0][0], difference[0]) == 0


@pytest.mark.parametrize("samples", [1, 2, 63, 1000])
@pytest.mark.parametrize("rate, channels", [(44100, 2), (8000, 1), (96000, 1)])
def test_tracks_of_a_few_samples(samples: int, rate: int, channels: int) -> None:
    own = heard(song(samples, channels=channels), rate)
    assert own.seconds == samples / rate and own.first_s == 0
    lengths = {decoded(lane.sound)[0].shape[1] for lane in own.lanes}
    assert len(lengths) == 1 and lengths.pop() >= 1
    assert Reader(page.page(results(), {"test/one": own})).open == []


def test_silence_is_dark_and_silent() -> None:
    own = heard(np.zeros((5, 2, 30000), np.float32), 8000)
    for lane in own.lanes:
        assert not decoded(lane.sound)[0].any()
        assert not pixels(lane.picture).any()


def test_what_would_clip_is_turned_down_alike() -> None:
    waves_LCN = song(20000)
    waves_LCN *= 3 / np.abs(waves_LCN).max()
    loud = {(lane.target, lane.kind): lane for lane in lanes(waves_LCN, TARGETS, 22050)}
    for key, row in ((("", "mixture"), 0), (("drums", "reference"), 1)):
        wave_CN, _ = decoded(loud[key].sound)
        ratio = np.sqrt((wave_CN ** 2).sum() / (waves_LCN[row] ** 2).sum())
        assert ratio == pytest.approx(sound.gain(list(waves_LCN)), rel=0.05) and ratio < 0.4
    assert sound.gain([np.zeros((1, 0)), np.full((1, 3), 0.5)]) == 1


def test_the_stretch_is_where_all_targets_sound() -> None:
    """A loud solo comes first, both targets sound from 7 s to 9 s, silence ends the song."""
    rate = 8000
    a, b = music(12 * rate, seed=1), 0.3 * music(12 * rate, seed=2)
    b[:, :7 * rate] = 0
    a[:, 9 * rate:] = b[:, 9 * rate:] = 0
    waves_LCN = np.stack([a + b, a, b, a, b])
    found = [heard(waves_LCN[..., :samples], rate, seconds=2.0)
             for samples in (12 * rate, 12 * rate - 100)]
    assert all((one.first_s, one.seconds) == (7.0, 2.0) for one in found)
    short = heard(waves_LCN[..., :rate + 5], rate, seconds=2.0)
    assert (short.first_s, short.seconds) == (0.0, 1 + 5 / rate)


@pytest.mark.parametrize("block", [1, 999, 8000, 50000])
def test_how_a_track_is_cut_into_blocks_changes_nothing(block: int) -> None:
    waves_LCN = song(20000)
    made = []
    for size in (block, 20000):
        listener = report.Listener(["one"], seconds=1.5, tracks=1)
        listen(listener, "one", waves_LCN, 8000, block=size)
        made.append(listener.heard["one"])
    assert made[0] == made[1]


def test_threads_and_order_change_nothing() -> None:
    names_ = [f"test/{k}" for k in range(10)]
    songs = {name: song(9000, seed=k) for k, name in enumerate(names_)}
    made = []
    for order, threads in ((names_, 1), (names_[::-1], 4)):
        listener = report.Listener(names_, seconds=0.5, tracks=4)
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda name: listen(listener, name, songs[name], 8000), order))
        made.append(listener.heard)
    assert made[0] == made[1]
    assert set(made[0]) == {"test/0", "test/2", "test/5", "test/7"}     # evenly spread


@pytest.mark.parametrize("seconds, tracks", [(0.0, 5), (3.0, 0)])
def test_a_page_can_do_without_sound(seconds: float, tracks: int) -> None:
    listener = report.Listener(["a", "b"], seconds=seconds, tracks=tracks)
    assert listener.begin("a", 8000) is None and listener.heard == {}
    assert len(page.page(results(), {})) < 100_000


def test_size_and_memory_are_bounded() -> None:
    """A track of any length has as much on the page as `seconds` have, and takes as much memory."""
    rate, sizes, peaks = 16000, [], []
    block_LCN = song(5000)
    for seconds in (12, 60):
        listener = report.Listener(["one"], seconds=4.0, tracks=1)
        tracemalloc.start()
        excerpt = listener.begin("one", rate)
        assert excerpt
        mix, a, b, x, y = block_LCN
        for _ in range(seconds * rate // 5000):
            excerpt.add(mix, dict(zip(TARGETS, (a, b))), dict(zip(TARGETS, (x, y))))
        excerpt.keep()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        own = listener.heard["one"]
        sizes.append(sum(len(lane.sound) + len(lane.picture) for lane in own.lanes))
    assert sizes[1] < 1.1 * sizes[0] < 7 * (4 * 16_000 * 1.34 + 90_000)
    assert peaks[1] < 1.3 * peaks[0]


def pixels(uri: str) -> np.ndarray:
    """Return the indices of our PNG, uint8 [height, width]; checks every chunk's sum."""
    data = base64.b64decode(uri.split(",", 1)[1])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        size, = struct.unpack(">I", data[at:at + 4])
        kind, content = data[at + 4:at + 8], data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + content) == struct.unpack(">I", data[at + 8 + size:][:4])[0]
        chunks[kind] = content
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


@pytest.mark.parametrize("rate, frequency", [
    (44100, 1000), (44100, 60), (8000, 2000), (48000, 9000)])
def test_a_tone_is_where_the_axis_says(rate: int, frequency: float) -> None:
    tone = 0.5 * np.sin(2 * np.pi * frequency * np.arange(2 * rate) / rate)
    tone[:rate] = 0         # it begins in the middle
    level_FT = image.spectrogram(tone.astype(np.float32)[None], rate)
    assert level_FT.shape[0] == image.HEIGHT and level_FT.shape[1] <= image.WIDTH
    row, column = np.unravel_index(np.argmax(level_FT), level_FT.shape)
    bin_rows = image.HEIGHT * (image.place(frequency - 22, rate) - image.place(frequency, rate))
    assert abs(row + 0.5 - image.HEIGHT * image.place(frequency, rate)) <= max(1.5, bin_rows)
    loud = np.flatnonzero(level_FT[row] > level_FT[row].max() - 20)
    assert loud[0] == pytest.approx(level_FT.shape[1] / 2, abs=0.03 * level_FT.shape[1])
    uri = sound.data_uri(image.png(level_FT, float(level_FT.max())), "image/png")
    assert pixels(uri).max() == image.SHADES - 1 and pixels(uri).shape == level_FT.shape


def test_without_mp3_sounds_are_wav(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"WAV": "WAV"})
    wave_CN = music(500)
    uri = sound.encode(wave_CN, 44100)
    assert uri.startswith("data:audio/wav;")
    np.testing.assert_allclose(decoded(uri)[0], wave_CN, atol=1e-4)
