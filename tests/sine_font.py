"""Small SoundFonts of one sine, notes to play on them, and measures of what is heard."""

import io
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from stemsep.datasets.score import Bend, Note, Part
from stemsep.datasets.sf2 import Gen
from stemsep.datasets.soundfont import SoundFont

RATE = 44100
PERIOD = 100                    # samples of the sine: 441 Hz, near key 69
HERTZ = RATE / PERIOD
TAIL = 2000                     # samples of another sine after the loop, three times as high
LOOPED: dict[int, int] = {Gen.LOOP_MODE: 1}
Presets = Mapping[tuple[int, int], Sequence[Mapping[int, int]]]


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def _place(generator: tuple[int, int]) -> tuple[bool, bool]:
    """Ranges come first in a zone, the sample comes last."""
    return generator[0] == Gen.SAMPLE, generator[0] not in (Gen.KEY_RANGE, Gen.VELOCITY_RANGE)


def sine_font(path: Path, presets: Presets, *, vorbis: bool = False,
              outer: Mapping[int, int] | None = None,
              modulators: tuple[tuple[int, int, int, int], ...] = ()) -> SoundFont:
    """Write a font whose presets (bank, program) have zones of one sine with a loop, and load it.

    outer: generators of every preset's zone; modulators of every zone: source, destination,
    amount, second source. A zone that has the key SAMPLE: -1 is global.
    """
    at = np.arange(20 * PERIOD)
    after = np.arange(TAIL)
    wave = np.concatenate([np.sin(2 * np.pi * at / PERIOD), np.sin(6 * np.pi * after / PERIOD)])
    wave *= 0.5
    pool = (wave * 32768).astype("<i2").tobytes() + b"\0" * 92
    end = len(wave)
    if vorbis:
        buffer = io.BytesIO()
        soundfile.write(buffer, wave, RATE, format="OGG", subtype="VORBIS")
        pool = buffer.getvalue()
        end = len(pool)
    kind = 0x11 if vorbis else 1
    shdr = struct.pack("<20sIIIIIBbHH", b"sine", 0, end, 10 * PERIOD, 20 * PERIOD, RATE, 69, 0, 0,
                       kind) + struct.pack("<20sIIIIIBbHH", b"EOS", *[0] * 9)
    tables = {name: b"" for name in (b"phdr", b"pbag", b"pgen", b"inst", b"ibag", b"imod", b"igen")}
    for number, ((bank, program), zones) in enumerate(presets.items()):
        tables[b"phdr"] += struct.pack("<20sHHHIII", b"preset", program, bank, number, 0, 0, 0)
        tables[b"pbag"] += struct.pack("<HH", len(tables[b"pgen"]) // 4, 0)
        for generator, amount in {**(outer or {}), Gen.INSTRUMENT: number}.items():
            tables[b"pgen"] += struct.pack("<Hh", generator, amount)
        tables[b"inst"] += struct.pack("<20sH", b"sine", len(tables[b"ibag"]) // 4)
        for zone in zones:
            tables[b"ibag"] += struct.pack("<HH", len(tables[b"igen"]) // 4,
                                           len(tables[b"imod"]) // 10)
            for generator, amount in sorted({Gen.SAMPLE: 0, **zone}.items(), key=_place):
                if generator != Gen.SAMPLE or amount >= 0:
                    tables[b"igen"] += struct.pack("<Hh", generator, amount)
            for source, destination, amount, second in modulators:
                tables[b"imod"] += struct.pack("<HHhHH", source, destination, amount, second, 0)
    tables[b"phdr"] += struct.pack("<20sHHHIII", b"EOP", 0, 0, len(presets), 0, 0, 0)
    tables[b"pbag"] += struct.pack("<HH", len(tables[b"pgen"]) // 4, 0)
    tables[b"inst"] += struct.pack("<20sH", b"EOI", len(tables[b"ibag"]) // 4)
    tables[b"ibag"] += struct.pack("<HH", len(tables[b"igen"]) // 4, len(tables[b"imod"]) // 10)
    tables |= {b"shdr": shdr, b"pmod": b"\0" * 10, b"imod": tables[b"imod"] + b"\0" * 10,
               b"pgen": tables[b"pgen"] + b"\0" * 4, b"igen": tables[b"igen"] + b"\0" * 4}
    order = (b"phdr", b"pbag", b"pmod", b"pgen", b"inst", b"ibag", b"imod", b"igen", b"shdr")
    body = (b"sfbk" + chunk(b"LIST", b"INFO" + chunk(b"INAM", b"Sine\0\0"))
            + chunk(b"LIST", b"sdta" + chunk(b"smpl", pool))
            + chunk(b"LIST", b"pdta" + b"".join(chunk(name, tables[name]) for name in order)))
    path.write_bytes(chunk(b"RIFF", body))
    return SoundFont.load(path)


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
