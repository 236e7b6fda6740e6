"""Audio files come back as they were written, and every fault is one sentence with the file."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stemsep import audio
from stemsep.errors import InputError
from tests import corpus, trees


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_read_gives_back_what_was_written(tmp_path: Path, suffix: str, channels: int) -> None:
    wave_CN = trees.noise(3000, channels=channels)
    path = trees.write(tmp_path / f"song{suffix}", wave_CN)
    assert audio.probe(path) == audio.AudioInfo(trees.RATE, channels, 3000)
    read, rate = audio.read(path)
    assert rate == trees.RATE and read.dtype == np.float32
    np.testing.assert_array_equal(read, wave_CN)
    np.testing.assert_array_equal(audio.read(path, start=700, samples=50)[0], wave_CN[:, 700:750])
    np.testing.assert_array_equal(audio.read(path, start=2990, samples=50)[0], wave_CN[:, 2990:])
    assert audio.read(path, start=4000)[0].shape == (channels, 0)


@pytest.mark.parametrize("size", [1, 999, 1000, 5000])
def test_blocks_are_the_file(tmp_path: Path, size: int) -> None:
    wave_CN = trees.noise(1000, channels=2)
    parts = list(audio.blocks(trees.write(tmp_path / "song.flac", wave_CN), size))
    assert {part.shape[1] for part in parts[:-1]} <= {size}
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), wave_CN)


@pytest.mark.parametrize("name", ["song.wav", "song.raw", "song.txt", "song.gsm", "song"])
def test_formats_are_recognised_by_content(tmp_path: Path, name: str) -> None:
    wave_CN = trees.noise(500)
    trees.write(tmp_path / "song.flac", wave_CN).rename(tmp_path / name)
    np.testing.assert_array_equal(audio.read(tmp_path / name)[0], wave_CN)


def damage(path: Path, kind: str) -> Path:
    """Make `path` a file of the given kind of fault and return it."""
    whole = trees.write(path.with_suffix(".flac" if "flac" in kind else ".wav"), trees.noise(4000))
    content = whole.read_bytes()
    whole.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes({
            "empty": b"", "text": b"these are words, no sound\n" * 99, "short wav": content[:999],
            "header only": content[:30], "short flac": content[:len(content) // 2],
            "no samples": content[:40] + bytes(4),
        }[kind])
    return path


@pytest.mark.parametrize("kind, words", [
    ("missing", "there is no such file"), ("a folder", "is a folder"), ("empty", "is empty"),
    ("text", "no audio that can be read"), ("short wav", "cut short (999 of 8044 bytes)"),
    ("header only", "damaged or cut short"), ("short flac", "damaged or cut short"),
    ("no samples", "holds no samples"),
])
def test_unreadable_files_are_one_sentence(tmp_path: Path, kind: str, words: str) -> None:
    path = damage(tmp_path / "song.wav", kind)
    for action in (audio.read, lambda path: list(audio.blocks(path, 1000))):
        with pytest.raises(InputError) as caught:
            action(path)
        sentence = str(caught.value)
        assert str(path) in sentence and words in sentence and "; " in sentence
        assert "\n" not in sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_file(tmp_path: Path) -> None:
    path = trees.write(tmp_path / "song.wav", trees.noise(100))
    path.chmod(0)
    with pytest.raises(InputError, match="song.wav: cannot be opened"):
        audio.probe(path)


def test_length_that_the_header_leaves_open(tmp_path: Path) -> None:
    path = trees.write(tmp_path / "song.flac", trees.noise(5000))
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0                     # the upper 4 of STREAMINFO's 36 bits of total samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(InputError, match="song.flac: does not say how long it is; convert"):
        audio.read(path)


@pytest.mark.parametrize("kind, encoding", [
    ("WAV", "PCM_16"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
    ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("CAF", "PCM_24"), ("CAF", "ALAC_16"), ("AU", "PCM_16"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_no_format_is_cut_short_without_a_word(tmp_path: Path, kind: str, encoding: str) -> None:
    path = tmp_path / "song.xyz"
    path.write_bytes(corpus.written(kind, encoding, 2, 48000, samples=60000))
    assert audio.probe(path).samples == 60000
    for least in (1, 600, 12000):
        path.write_bytes(path.read_bytes()[:-least])
        with pytest.raises(InputError, match="song.xyz: (.*cut short|ends after|claims)"):
            audio.read(path)


@pytest.mark.parametrize("container, codec", [("ipod", "aac"), ("matroska", "flac"),
                                              ("mp4", "alac"), ("asf", "wmav2")])
def test_nor_is_what_ffmpeg_reads(tmp_path: Path, container: str, codec: str) -> None:
    path = tmp_path / "song.xyz"
    path.write_bytes(corpus.encoded(container, codec, 1))
    assert 22050 - 2048 <= audio.probe(path).samples <= 22050 + 2048
    path.write_bytes(path.read_bytes()[:-path.stat().st_size // 2])
    with pytest.raises(InputError, match="song.xyz: (is damaged or cut|ends after|is no audio)"):
        audio.read(path)


def test_a_raw_stream_may_begin_with_silence(tmp_path: Path) -> None:
    """FFmpeg takes the first packets for as large as all, and the file for minutes long."""
    path = tmp_path / "song.aac"
    path.write_bytes(corpus.encoded("adts", "aac", 1, silent_s=3.0))
    assert 3.5 <= audio.probe(path).samples / 44100 < 3.6


def test_a_stream_that_changes_midway(tmp_path: Path) -> None:
    path = tmp_path / "song.aac"
    path.write_bytes(corpus.encoded("adts", "aac", 1)
                     + corpus.encoded("adts", "aac", 1, layout="mono"))
    with pytest.raises(InputError, match="song.aac: changes its sample rate or channels midway"):
        audio.read(path)


@pytest.mark.parametrize("kind, encoding", [
    ("WAV", "PCM_16"), ("WAV", "IMA_ADPCM"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
    ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "ALAC_16")])
def test_blocks_of_any_size_are_the_same_samples(tmp_path: Path, kind: str, encoding: str) -> None:
    path = tmp_path / "song"
    path.write_bytes(corpus.written(kind, encoding, 1, 48000, samples=60000))
    whole_CN = audio.read(path)[0]
    for size in (700, 4096, 50000):
        np.testing.assert_array_equal(np.concatenate(list(audio.blocks(path, size)), 1), whole_CN)


def test_a_length_beyond_the_file_is_not_believed(tmp_path: Path) -> None:
    """Nothing of a claimed size is made: neither an array nor the other stems' silence."""
    path = trees.write(tmp_path / "song.flac", trees.noise(5000))
    content = path.read_bytes()
    claim = struct.unpack_from(">Q", content, 18)[0] | 1 << 35
    path.write_bytes(corpus.patched(content, 18, ">Q", claim))
    for action in (audio.probe, audio.read, lambda path: list(audio.blocks(path, 1000))):
        with pytest.raises(InputError, match="song.flac: (is damaged|claims)"):
            action(path)


def test_silence_takes_few_bytes_and_is_believed(tmp_path: Path) -> None:
    path = trees.write(tmp_path / "song.flac", np.zeros((2, 500000), np.float32))
    assert audio.read(path)[0].shape == (2, 500000)
    assert path.stat().st_size < 2 * 500000 / 16


@pytest.mark.parametrize("rate", [1, 999, 1 << 20])
def test_rates_that_no_audio_has(tmp_path: Path, rate: int) -> None:
    path = trees.write(tmp_path / "song.wav", trees.noise(100), rate=rate)
    with pytest.raises(InputError, match=f"song.wav: its header says {rate} Hz, and audio has"):
        audio.probe(path)


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF])
def test_wav_from_a_pipe_is_not_cut_short(tmp_path: Path, length: int) -> None:
    path = trees.write(tmp_path / "song.wav", trees.noise(100))
    content = bytearray(path.read_bytes())
    content[40:44] = struct.pack("<I", length)
    path.write_bytes(content)
    if length:
        assert audio.read(path)[0].shape == (1, 100)
    else:
        with pytest.raises(InputError, match="holds no samples"):
            audio.read(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, bad: float) -> None:
    wave_CN = trees.noise(3000, channels=2)
    wave_CN[1, 1234] = bad
    soundfile.write(tmp_path / "song.wav", wave_CN.T, trees.RATE, subtype="FLOAT")
    for action in (audio.read, lambda path: list(audio.blocks(path, 1000))):
        with pytest.raises(InputError, match="song.wav: sample 1234 is not a number"):
            action(tmp_path / "song.wav")
    assert audio.read(tmp_path / "song.wav", samples=1234)[0].shape == (2, 1234)


def test_huge_samples_are_numbers(tmp_path: Path) -> None:
    wave_CN = np.full((1, 100), 3e38, np.float32)
    soundfile.write(tmp_path / "song.wav", wave_CN.T, trees.RATE, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read(tmp_path / "song.wav")[0], wave_CN)


@pytest.mark.parametrize("rate, to", [(8000, 16000), (44100, 16000), (16000, 44100)])
def test_resampling_keeps_a_tone(rate: int, to: int) -> None:
    def tone(rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)[None]

    parts = np.split(tone(rate), [0, 1, 700, 5000], axis=1)     # blocks of any lengths
    resampled = np.concatenate(list(audio.resample(parts, rate, to)), axis=1)
    assert resampled.shape == (1, to) and resampled.dtype == np.float32
    inside = slice(to // 10, -to // 10)     # the ends ring
    np.testing.assert_allclose(resampled[:, inside], tone(to)[:, inside], atol=1e-4)


def test_resampling_to_the_same_rate_is_nothing() -> None:
    wave_CN = trees.noise(100)
    assert list(audio.resample([wave_CN], 8000, 8000)) == [wave_CN]


def test_a_plain_file_has_no_second_stream(tmp_path: Path) -> None:
    path = trees.write(tmp_path / "song.stem.mp4.wav", trees.noise(500))
    with pytest.raises(InputError, match=r"song.*#track=2: has 1 streams? of audio, not 3"):
        audio.read(audio.Clip(path, stream=2))


@pytest.mark.parametrize("samples", [1, 2, 999, 44100])
@pytest.mark.parametrize("rate, to", [(44100, 16000), (8000, 44100), (48000, 44100)])
def test_resampled_lengths_are_what_is_promised(samples: int, rate: int, to: int) -> None:
    waves = audio.resample([trees.noise(samples, channels=2)], rate, to)
    assert sum(wave.shape[1] for wave in waves) == audio.resampled(samples, rate, to)


def test_remap() -> None:
    stereo, mono = trees.noise(100, channels=2), trees.noise(100)
    np.testing.assert_allclose(audio.remap(stereo, 1, "x"), stereo.mean(axis=0, keepdims=True))
    np.testing.assert_array_equal(audio.remap(mono, 2, "x"), np.concatenate([mono, mono]))
    assert audio.remap(stereo, 2, "x") is stereo


@pytest.mark.parametrize("channels", range(3, 9))
def test_surround_has_an_explicit_rule(channels: int) -> None:
    wave_CN = trees.noise(50, channels=channels)
    with pytest.raises(InputError, match=f"six.wav: {channels} channels cannot become 1; set "
                                         "config.audio.surround"):
        audio.remap(wave_CN, 1, "six.wav")
    np.testing.assert_array_equal(audio.remap(wave_CN, 2, "x", "front"), wave_CN[:2])
    left, right = audio.remap(wave_CN, 2, "x", "downmix")
    np.testing.assert_allclose(audio.remap(wave_CN, 1, "x", "downmix")[0], (left + right) / 2,
                               atol=1e-6)
    if channels == 6:       # front left and right, centre, low frequencies, back left and right
        want = wave_CN[0] + 0.5 ** 0.5 * (wave_CN[2] + wave_CN[4])
        np.testing.assert_allclose(left, want, atol=1e-6)


def test_too_many_channels_cannot_be_mixed_down() -> None:
    with pytest.raises(InputError, match="9 channels cannot become 2; mix the file down first"):
        audio.remap(np.zeros((9, 5), np.float32), 2, "x", "downmix")


def test_clips_are_parts_of_files(tmp_path: Path) -> None:
    wave_CN = trees.noise(8000, channels=2)
    path = trees.write(tmp_path / "song.flac", wave_CN)
    clip = audio.Clip(path, 0.25, 0.5)
    part = wave_CN[:, 2000:4000]
    assert audio.probe(clip) == audio.AudioInfo(trees.RATE, 2, 2000)
    np.testing.assert_array_equal(audio.read(clip)[0], part)
    np.testing.assert_array_equal(audio.read(clip, start=100, samples=50)[0], part[:, 100:150])
    np.testing.assert_array_equal(np.concatenate(list(audio.blocks(clip, 333)), 1), part)
    assert str(clip) == f"{path}#t=0.25,0.5" and audio.Clip(path).name == "song.flac"
    to_the_end = audio.Clip(path, 0.75, 99.0)
    np.testing.assert_array_equal(audio.read(to_the_end)[0], wave_CN[:, 6000:])
    with pytest.raises(InputError, match=r"song.flac#t=2: lasts 1.00 s, and from 2 s on nothing"):
        audio.probe(audio.Clip(path, 2.0))


@pytest.mark.parametrize("bits, tolerance", [(32, 0), (24, 2 ** -23), (16, 2 ** -15)])
def test_writer_gives_back_what_was_written(tmp_path: Path, bits: int, tolerance: float) -> None:
    wave_CN = np.random.default_rng(0).uniform(-1, 1, (2, 5000)).astype(np.float32)
    path = tmp_path / "new" / "song.wav"
    with audio.Writer(path, 44100, 2, bits=bits) as writer:
        for first in range(0, 5000, 1700):
            writer.write(wave_CN[:, first:first + 1700])
        assert not path.exists()
    read, rate = audio.read(path)
    assert rate == 44100 and soundfile.info(path).format == "WAV"
    np.testing.assert_allclose(read, wave_CN, rtol=0, atol=tolerance)
    assert list(path.parent.iterdir()) == [path]


def test_whole_numbers_clip(tmp_path: Path) -> None:
    with audio.Writer(tmp_path / "song.wav", 8000, 1, bits=16) as writer:
        writer.write(np.array([[2.0, -2.0, 0.25]], np.float32))
    np.testing.assert_allclose(audio.read(tmp_path / "song.wav")[0], [[1, -1, 0.25]], atol=1e-4)


def test_writer_leaves_nothing_behind_a_failure(tmp_path: Path) -> None:
    path = trees.write(tmp_path / "song.wav", trees.noise(10))
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="in the middle"):
        with audio.Writer(path, 8000, 1) as writer:
            writer.write(trees.noise(1000))
            raise RuntimeError("in the middle")
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before


@trees.small_disk()
def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="song.wav: cannot be written .File too large.; free some"):
        with audio.Writer(tmp_path / "song.wav", 8000, 1) as writer:
            for _ in range(10):
                writer.write(trees.noise(8000))
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "song.wav").mkdir()
    for path in (tmp_path / "file" / "song.wav", tmp_path / "song.wav"):
        with pytest.raises(InputError, match="song.wav: cannot be written"):
            audio.Writer(path, 8000, 1)
    with pytest.raises(InputError, match="12 bits; choices: 32, 24, 16"):
        audio.Writer(tmp_path / "other.wav", 8000, 1, bits=12)


def test_flac_has_its_limits(tmp_path: Path) -> None:
    for rate, channels in ((700000, 1), (8000, 9)):
        with pytest.raises(InputError, match="song.flac: FLAC holds at most .*; write WAV"):
            audio.Writer(tmp_path / "song.flac", rate, channels, bits=16)
    assert not list(tmp_path.iterdir())


def test_songs_over_4_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stemsep.writer._WAV_BYTES", 1000)
    wave_CN = trees.noise(500)
    with audio.Writer(tmp_path / "long.wav", 8000, 1, samples=500) as writer:
        writer.write(wave_CN)
    assert soundfile.info(tmp_path / "long.wav").format == "RF64"
    np.testing.assert_array_equal(audio.read(tmp_path / "long.wav")[0], wave_CN)
    with pytest.raises(InputError, match="WAV holds at most 4 GiB"):
        with audio.Writer(tmp_path / "unforeseen.wav", 8000, 1) as writer:
            writer.write(wave_CN)
    assert not (tmp_path / "unforeseen.wav").exists()
