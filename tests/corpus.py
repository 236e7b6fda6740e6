"""Some hundred small audio files, sound, odd and damaged: the same ones on every machine.

What libsndfile and FFmpeg write here is cut short, overwritten, given headers that lie, and called
by wrong names.
"""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import soundfile

from tests import trees

SAMPLES = 2000
# (format, encoding, suffix, channels, rate) of what libsndfile writes.
WRITTEN = [
    ("WAV", "PCM_U8", "wav", 1, 8000), ("WAV", "PCM_16", "wav", 2, 8000),
    ("WAV", "PCM_24", "wav", 1, 44100), ("WAV", "PCM_32", "wav", 1, 192000),
    ("WAV", "FLOAT", "wav", 2, 8000), ("WAV", "DOUBLE", "wav", 1, 8000),
    ("WAV", "ULAW", "wav", 1, 8000), ("WAV", "IMA_ADPCM", "wav", 1, 8000),
    ("WAV", "MS_ADPCM", "wav", 2, 8000), ("WAV", "GSM610", "wav", 1, 8000),
    ("WAV", "PCM_16", "wav", 8, 48000), ("WAVEX", "PCM_24", "wav", 8, 48000),
    ("RF64", "PCM_16", "rf64", 1, 8000), ("W64", "PCM_24", "w64", 2, 8000),
    ("AIFF", "PCM_S8", "aif", 1, 8000), ("AIFF", "PCM_24", "aiff", 2, 192000),
    ("AIFF", "FLOAT", "aifc", 1, 8000), ("AU", "PCM_16", "au", 1, 8000),
    ("AU", "FLOAT", "au", 2, 8000), ("CAF", "PCM_24", "caf", 1, 8000),
    ("CAF", "ALAC_16", "caf", 2, 44100), ("FLAC", "PCM_S8", "flac", 1, 8000),
    ("FLAC", "PCM_16", "flac", 2, 8000), ("FLAC", "PCM_24", "flac", 8, 192000),
    ("OGG", "VORBIS", "ogg", 2, 44100), ("OGG", "OPUS", "opus", 1, 48000),
    ("MP3", "MPEG_LAYER_III", "mp3", 2, 44100), ("NIST", "PCM_16", "wav", 1, 8000),
    ("VOC", "PCM_16", "wav", 1, 8000), ("PAF", "PCM_24", "wav", 2, 8000),
    ("IRCAM", "FLOAT", "wav", 1, 8000), ("MAT4", "FLOAT", "wav", 1, 8000),
    ("MAT5", "DOUBLE", "wav", 2, 8000), ("SVX", "PCM_16", "aif", 1, 8000),
    ("XI", "DPCM_16", "wav", 1, 44100), ("SDS", "PCM_16", "wav", 1, 8000),
]
# (container, codec, suffix, streams) of what FFmpeg writes.
ENCODED = [
    ("ipod", "aac", "m4a", 1), ("mp4", "aac", "mp4", 3), ("adts", "aac", "aac", 1),
    ("asf", "wmav2", "wma", 1), ("matroska", "flac", "mp4", 1), ("mp4", "alac", "m4a", 1),
]
PLAYLISTS = {
    "hls.wav": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
    "hls.m4a": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
    "concat.wav": "ffconcat version 1.0\nfile '{path}'\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{address}'\n",
    "m3u.mp3": "{path}\n{address}\n",
}
_NUMBERS = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)       # that a header may lie with


def written(kind: str, encoding: str, channels: int, rate: int, *,
            samples: int = SAMPLES) -> bytes:
    """Return noise as libsndfile writes it."""
    file = io.BytesIO()
    wave_CN = trees.noise(samples, channels=channels)
    soundfile.write(file, wave_CN.T, rate, format=kind, subtype=encoding)
    return file.getvalue()


def encoded(container: str, codec: str, streams: int, *, silent_s: float = 0,
            layout: str = "stereo") -> bytes:
    """Return silence and half a second of noise as FFmpeg writes it, at 44.1 kHz."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        tracks = [output.add_stream(codec, rate=44100, layout=layout, bit_rate=128000)
                  for _ in range(streams)]
        for number, track in enumerate(tracks):
            wave_CN = np.pad(trees.noise(22050, channels=1 + (layout == "stereo"), seed=number),
                             ((0, 0), (round(silent_s * 44100), 0)))
            frame = av.AudioFrame.from_ndarray(wave_CN, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = 44100, 0, Fraction(1, 44100)
            for packet in [*track.encode(frame), *track.encode(None)]:
                output.mux(packet)
    return file.getvalue()


def whole() -> dict[str, bytes]:
    """Return name -> a file that is sound, in every format."""
    files = {f"{kind}-{encoding}-{channels}-{rate}.{suffix}":
             written(kind, encoding, channels, rate)
             for kind, encoding, suffix, channels, rate in WRITTEN}
    files |= {f"{container}-{codec}-{streams}.{suffix}": encoded(container, codec, streams)
              for container, codec, suffix, streams in ENCODED}
    return files


def odd() -> Iterator[tuple[str, bytes]]:
    """Yield (name, file) of lengths, samples and contents that are unusual."""
    for kind, encoding, suffix, channels, rate in WRITTEN:
        for samples in (0, 1):
            if kind not in ("SDS", "XI"):
                yield (f"{samples}-samples-{kind}-{encoding}-{channels}.{suffix}",
                       written(kind, encoding, channels, rate, samples=samples))
    for value in (np.nan, np.inf, -np.inf, 3e38, 1e-42):
        for kind, suffix in (("WAV", "wav"), ("AU", "au"), ("CAF", "caf"), ("AIFF", "aif")):
            file, wave_NC = io.BytesIO(), trees.noise(SAMPLES, channels=2).T.copy()
            wave_NC[777, 1] = value
            soundfile.write(file, wave_NC, 8000, format=kind, subtype="FLOAT")
            yield f"{value}-{kind}.{suffix}", file.getvalue()
    rng = np.random.default_rng(1)
    for number, size in enumerate((0, 1, 4, 12, 44, 999, 4096, 70000)):
        yield f"random-{size}.{('wav', 'flac', 'mp3', 'm4a')[number % 4]}", rng.bytes(size)
        yield f"zeros-{size}.{('aif', 'ogg', 'opus', 'wma')[number % 4]}", bytes(size)
    yield "words.wav", b"These are words, and no sound.\n" * 50
    yield "page.mp3", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n"
    yield "archive.flac", b"PK\x03\x04" + rng.bytes(500)
    yield "picture.wav", b"\x89PNG\r\n\x1a\n" + rng.bytes(500)
    yield "tag.mp3", b"ID3\x04\0\0\0\0\0\x7f" + rng.bytes(117)


def damaged(name: str, data: bytes, *, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield (name, file): cut short, overwritten, and with numbers in its header that are lies."""
    rng, (stem, _, suffix) = np.random.default_rng(seed), name.rpartition(".")
    for share in (0.02, 0.3, 0.6, 0.97):
        yield f"{stem}-cut-{share}.{suffix}", data[:int(share * len(data))]
    for number in range(3):
        changed = bytearray(data)
        first = int(rng.integers(len(data)))
        changed[first:first + len(data) // 8] = bytes(len(changed[first:first + len(data) // 8]))
        yield f"{stem}-zeroed-{number}.{suffix}", bytes(changed)
    for number, reach in enumerate((64, 64, 400, len(data), len(data))):
        changed = bytearray(data)
        for place in rng.integers(min(reach, len(data)), size=4):
            changed[place] ^= 1 << int(rng.integers(8))
        yield f"{stem}-flipped-{number}.{suffix}", bytes(changed)
    for number in range(4):
        place, lie = 4 * int(rng.integers(1, 16)), _NUMBERS[number]
        changed = bytearray(data)
        changed[place:place + 4] = struct.pack("<I", lie)
        yield f"{stem}-lies-{place}-{lie}.{suffix}", bytes(changed)
    yield f"{stem}-named.{'flac' if suffix == 'wav' else 'wav'}", data


def lying() -> Iterator[tuple[str, bytes]]:
    """Yield (name, file) of WAV, RF64, W64, AU, CAF, AIFF and FLAC whose headers lie in one field.
    """
    wav = written("WAV", "PCM_16", 1, 8000)
    fields = {"riff": (4, "<I"), "channels": (22, "<H"), "rate": (24, "<I"), "bytes": (28, "<I"),
              "block": (32, "<H"), "bits": (34, "<H"), "size": (40, "<I"), "format": (20, "<H")}
    for field, (place, form) in fields.items():
        for lie in (0, 1, 3, 255, 65535, 1 << 20, 4 * 10**9, 2**32 - 1):
            if lie < 1 << 8 * struct.calcsize(form):
                yield f"wav-{field}-{lie}.wav", patched(wav, place, form, lie)
    huge = {
        "RF64-size": (written("RF64", "PCM_16", 1, 8000), b"ds64", 16, "<Q"),
        "RF64-samples": (written("RF64", "PCM_16", 1, 8000), b"ds64", 24, "<Q"),
        "CAF-size": (written("CAF", "PCM_16", 1, 8000), b"data", 4, ">q"),
        "CAF-rate": (written("CAF", "PCM_16", 1, 8000), b"desc", 12, ">q"),
        "CAF-packets": (written("CAF", "ALAC_16", 1, 8000), b"pakt", 12, ">q"),
        "CAF-frames": (written("CAF", "ALAC_16", 1, 8000), b"pakt", 20, ">q"),
        "AIFF-frames": (written("AIFF", "PCM_16", 1, 8000), b"COMM", 10, ">I"),
        "AIFF-size": (written("AIFF", "PCM_16", 1, 8000), b"SSND", 4, ">I"),
        "AU-size": (written("AU", "PCM_16", 1, 8000), b".snd", 8, ">I"),
        "AU-rate": (written("AU", "PCM_16", 1, 8000), b".snd", 16, ">I"),
        "AU-channels": (written("AU", "PCM_16", 1, 8000), b".snd", 20, ">I"),
        "FLAC-samples": (written("FLAC", "PCM_16", 1, 8000), b"fLaC", 21, ">Q"),
        "W64-size": (written("W64", "PCM_16", 1, 8000), b"data\xf3\xac\xd3\x11", 16, "<Q"),
        "ADPCM-fact": (written("WAV", "MS_ADPCM", 1, 8000), b"fact", 8, "<I"),
        "GSM-size": (written("WAV", "GSM610", 1, 8000), b"data", 4, "<I"),
    }
    for name, (data, mark, offset, form) in huge.items():
        for lie in (1 << 20, 10**9, 2**31 - 1, 10**12, 2**40, 2**62):
            if lie < 1 << 8 * struct.calcsize(form):
                place = data.index(mark) + offset
                suffix = name.split("-")[0].lower().replace("adpcm", "wav").replace("gsm", "wav")
                lied = lie | data[place] << 56 if name == "FLAC-samples" else lie
                yield (f"{name}-{lie}.{suffix.replace('aiff', 'aif')}",
                       patched(data, place, form, lied & (1 << 8 * struct.calcsize(form)) - 1))


def patched(data: bytes, place: int, form: str, value: int) -> bytes:
    """Return `data` with a number in place of another."""
    packed = struct.pack(form, value)
    return data[:place] + packed + data[place + len(packed):]


def cases(*, path: str, address: str) -> dict[str, bytes]:
    """Return name -> content of every file that is odd or damaged.

    path, address: of a good file, which the playlists name.
    """
    files = dict(odd()) | dict(lying())
    for seed, (name, data) in enumerate(whole().items()):
        files |= dict(damaged(name, data, seed=seed))
    for name, text in PLAYLISTS.items():
        files[name] = text.format(path=path, address=address).encode()
    return files
