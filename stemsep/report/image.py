"""Spectrograms as small PNG files, drawn without a plotting library."""

import struct
import zlib

import numpy as np

from stemsep.stft import Stft

RANGE_DB = 80           # from the darkest colour to the lightest
LOWEST_HZ = 40.0        # the lower edge of a picture; the upper one is half the sample rate
WIDTH, HEIGHT = 560, 112
SHADES = 64             # colours of a picture: about what the eye tells apart, and fewer bytes
# Eleven points of matplotlib's "magma" (van der Walt & Smith 2015, CC0): even to the eye, in grey
# and for colour-blind readers too.
MAGMA = ("#000004", "#140e36", "#3b0f70", "#641a80", "#8c2981", "#b73779", "#de4968", "#f7705c",
         "#fe9f6d", "#fecf92", "#fcfdbf")


def spectrogram(wave_CN: np.ndarray, rate: int) -> np.ndarray:
    """Return the level of a wave, float32 [C, N], for a picture: float32 [HEIGHT, columns] in dB.

    The highest frequency comes first; rows are even steps of log frequency from LOWEST_HZ to
    rate / 2, each the mean power of its band over the channels. There are at most WIDTH columns.
    """
    samples = wave_CN.shape[-1]
    n_fft = max(4, 2 * round(rate * 0.046 / 2))     # 46 ms, 2048 samples at 44.1 kHz
    stft = Stft(rate, n_fft, max(1, min(n_fft // 2, samples // (2 * WIDTH))))
    power_TF = (np.abs(stft.analyse(wave_CN)) ** 2).mean(0)
    frames = len(power_TF)
    edges = np.unique(np.linspace(0, frames, min(WIDTH, frames), endpoint=False).astype(int))
    power_TF = np.add.reduceat(power_TF, edges, axis=0) / np.diff([*edges, frames])[:, None]
    return (10 * np.log10(_bands(stft) @ power_TF.T + 1e-16)).astype(np.float32)


def _bands(stft: Stft) -> np.ndarray:
    """Return the share of each bin in each row of a picture, float64 [HEIGHT, bins]."""
    edges_hz = np.geomspace(stft.sample_rate / 2, min(LOWEST_HZ, stft.sample_rate / 8), HEIGHT + 1)
    edges = (edges_hz * stft.n_fft / stft.sample_rate)[:, None]      # in bins, which reach ±1/2
    upper, lower, bins = edges[:-1], edges[1:], np.arange(stft.bins)
    shared = np.minimum(upper, bins + 0.5) - np.maximum(lower, bins - 0.5)
    return np.maximum(shared, 0) / (upper - lower)


def place(frequency_hz: float, rate: int) -> float:
    """Return where a frequency is in a picture: 0 at its top, 1 at its bottom."""
    top, bottom = rate / 2, min(LOWEST_HZ, rate / 8)
    return float(np.log(top / frequency_hz) / np.log(top / bottom))


def png(level_FT: np.ndarray, top_db: float) -> bytes:
    """Return the PNG of a spectrogram in dB: the lightest colour from `top_db` on, the darkest from
    RANGE_DB below it.
    """
    shade = (level_FT - top_db + RANGE_DB) * (SHADES / RANGE_DB)
    return indexed(np.clip(shade, 0, SHADES - 1).astype(np.uint8), palette())


def palette() -> np.ndarray:
    """Return the colours from dark to light, uint8 [SHADES, 3]."""
    points = np.array([list(bytes.fromhex(colour[1:])) for colour in MAGMA], float)
    at = np.linspace(0, len(points) - 1, SHADES)
    return np.stack([np.interp(at, np.arange(len(points)), channel) for channel in points.T],
                    1).round().astype(np.uint8)


def indexed(pixels_HW: np.ndarray, colours: np.ndarray) -> bytes:
    """Return a PNG (ISO/IEC 15948) of indices, uint8 [height, width], into colours, uint8 [n, 3].
    """
    height, width = pixels_HW.shape
    rows = np.pad(pixels_HW, ((0, 0), (1, 0)))      # each row begins with its filter: 0, none
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colours.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    ))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
