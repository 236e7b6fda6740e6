"""Sound for a page: small files that every browser plays, all of one length and in time."""

import base64
import io
from collections.abc import Sequence

import numpy as np
import soundfile

from stemsep import audio

# MPEG 1 and 2, which every browser plays. LAME notes its own delay in the file; where a decoder
# ignores the note, all sounds of one rate and length are late by the same.
RATES = (16000, 22050, 24000, 32000, 44100, 48000)
QUALITY = 0.5           # of 0 to 1; about 120 kbit/s in stereo


def encode(wave_CN: np.ndarray, rate: int, *, gain: float = 1.0) -> str:
    """Return a data URI with a wave, float32 [C, N], as MP3, or as WAV where libsndfile has no MP3.

    At a rate of RATES, so that none of its frequencies below 24 kHz are lost. More than two
    channels become their mean.
    """
    if len(wave_CN) > 2:
        wave_CN = wave_CN.mean(0, keepdims=True)
    to = playable(rate)
    if to != rate:
        wave_CN = np.concatenate(list(audio.resample([wave_CN], rate, to)), 1)
    wave_CN = np.clip(gain * wave_CN, -1, 1)
    file = io.BytesIO()
    if "MP3" in soundfile.available_formats():
        soundfile.write(file, wave_CN.T, to, format="MP3", bitrate_mode="VARIABLE",
                        compression_level=QUALITY)
        kind = "audio/mpeg"
    else:
        soundfile.write(file, wave_CN.T, to, format="WAV", subtype="PCM_16")
        kind = "audio/wav"
    return data_uri(file.getvalue(), kind)


def playable(rate: int) -> int:
    """Return the lowest of RATES that holds all frequencies of `rate`, or the highest of them."""
    return next((to for to in RATES if to >= rate), RATES[-1])


def gain(waves: Sequence[np.ndarray]) -> float:
    """Return what to multiply waves by so that none clips: 1 where none does."""
    peak = max((float(np.abs(wave_CN).max(initial=0)) for wave_CN in waves), default=0.0)
    return min(1.0, 0.98 / peak) if peak else 1.0


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes of a MIME type as a URI that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
