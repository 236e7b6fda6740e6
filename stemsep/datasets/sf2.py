"""SoundFont files (SF2, and SF3 with Vorbis samples) read into presets, regions and samples.

The numbers of generators and modulators, their defaults and how zones add up are those of the
SoundFont technical specification 2.04, chapters 7 to 9.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import soundfile

from stemsep.errors import InputError

PERCUSSION_BANK = 128


class Gen(IntEnum):
    """Generators that the renderer knows (section 8.1.2)."""

    START, END, LOOP_START, LOOP_END, START_COARSE = 0, 1, 2, 3, 4
    MOD_LFO_PITCH, VIB_LFO_PITCH, MOD_ENV_PITCH = 5, 6, 7
    CUTOFF, RESONANCE, MOD_LFO_CUTOFF, MOD_ENV_CUTOFF = 8, 9, 10, 11
    END_COARSE, MOD_LFO_VOLUME, PAN = 12, 13, 17
    MOD_LFO_DELAY, MOD_LFO_RATE, VIB_LFO_DELAY, VIB_LFO_RATE = 21, 22, 23, 24
    MOD_DELAY, MOD_ATTACK, MOD_HOLD, MOD_DECAY, MOD_SUSTAIN, MOD_RELEASE = 25, 26, 27, 28, 29, 30
    KEY_MOD_HOLD, KEY_MOD_DECAY = 31, 32
    VOL_DELAY, VOL_ATTACK, VOL_HOLD, VOL_DECAY, VOL_SUSTAIN, VOL_RELEASE = 33, 34, 35, 36, 37, 38
    KEY_VOL_HOLD, KEY_VOL_DECAY = 39, 40
    INSTRUMENT, KEY_RANGE, VELOCITY_RANGE, LOOP_START_COARSE, KEY, VELOCITY = 41, 43, 44, 45, 46, 47
    ATTENUATION, LOOP_END_COARSE, COARSE_TUNE, FINE_TUNE, SAMPLE, LOOP_MODE = 48, 50, 51, 52, 53, 54
    SCALE_TUNING, EXCLUSIVE_CLASS, ROOT_KEY = 56, 57, 58


GENERATORS = 61
DEFAULTS = np.zeros(GENERATORS, np.int32)
DEFAULTS[[21, 23, 25, 26, 27, 28, 30, 33, 34, 35, 36, 38]] = -12000     # 1 ms
DEFAULTS[Gen.CUTOFF] = 13500
DEFAULTS[[Gen.KEY, Gen.VELOCITY, Gen.ROOT_KEY]] = -1
DEFAULTS[Gen.SCALE_TUNING] = 100
# They say where a sample lies and how it is played: only an instrument may set them (section 8.5).
INSTRUMENT_ONLY = {*range(5), 12, 45, 46, 47, 50, 54, 57, 58}

# Modulators heard where no controller moves: (source, destination, second source) → amount. The
# specification has -2400 cents from velocity to cutoff; players that follow it sound dull and
# FluidSynth leaves it out, so half of it is the default here. A font may override either.
VELOCITY_ATTENUATION = (0x0502, int(Gen.ATTENUATION), 0)
VELOCITY_CUTOFF = (0x0102, int(Gen.CUTOFF), 0)
DEFAULT_MODULATORS = {VELOCITY_ATTENUATION: 960, VELOCITY_CUTOFF: -1200}

PRESET = np.dtype([("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("zone", "<u2"),
                   ("unused", "<u4", 3)])
INSTRUMENT = np.dtype([("name", "S20"), ("zone", "<u2")])
ZONE = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
GENERATOR = np.dtype([("number", "<u2"), ("amount", "<i2")])
MODULATOR = np.dtype([("source", "<u2"), ("destination", "<u2"), ("amount", "<i2"),
                      ("second", "<u2"), ("transform", "<u2")])
SAMPLE = np.dtype([("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("loop_start", "<u4"),
                   ("loop_end", "<u4"), ("rate", "<u4"), ("root", "u1"), ("correction", "i1"),
                   ("link", "<u2"), ("kind", "<u2")])
TABLES = {"phdr": PRESET, "pbag": ZONE, "pmod": MODULATOR, "pgen": GENERATOR, "inst": INSTRUMENT,
          "ibag": ZONE, "imod": MODULATOR, "igen": GENERATOR, "shdr": SAMPLE}
ROM, VORBIS = 0x8000, 0x10          # bits of a sample's kind; the second is SF3's


@dataclass(frozen=True, slots=True)
class Sample:
    """One recording, full scale ±1: loop points in samples from its start, correction in cents."""

    wave_N: np.ndarray
    loop_start: int
    loop_end: int
    rate: int
    root: int
    correction: int


@dataclass(frozen=True, eq=False, slots=True)
class Region:
    """An instrument's zone as a preset plays it: generators summed, ranges and modulators merged.

    generators: int32 [61], by `Gen`; modulators: (source, destination, second source) → amount.
    """

    keys: tuple[int, int]
    velocities: tuple[int, int]
    generators: np.ndarray
    modulators: dict[tuple[int, int, int], int]

    def matches(self, key: int, velocity: int) -> bool:
        return (self.keys[0] <= key <= self.keys[1]
                and self.velocities[0] <= velocity <= self.velocities[1])


@dataclass(frozen=True, slots=True)
class Zone:
    """What one bag of a preset or an instrument says, its global zone included."""

    generators: dict[int, int]
    modulators: dict[tuple[int, int, int], int]

    def span(self, number: int) -> tuple[int, int]:
        """Lowest and highest key or velocity; everything if the zone does not say."""
        packed = self.generators.get(number, 127 << 8) & 0xffff
        return packed & 0xff, packed >> 8


class Sf2:
    """The tables of one file. Regions and samples are made when they are asked for, then kept."""

    def __init__(self, path: Path) -> None:
        """Read `path`; InputError names the file and the reason if it is no SoundFont."""
        self.path = path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        chunks = _chunks(path, data)
        name = chunks.get("INAM", memoryview(b"")).tobytes().split(b"\0")[0]
        self.name = name.decode("latin-1").strip() or path.stem
        self._pool = chunks["smpl"]
        self._tables = {key: _table(path, key, chunks[key], dtype) for key, dtype in TABLES.items()}
        presets = self._tables["phdr"][:-1]
        self.presets: dict[tuple[int, int], int] = {}
        for number, preset in enumerate(presets):       # of two at one place the first is heard
            self.presets.setdefault((int(preset["bank"]), int(preset["program"])), number)
        self._regions: dict[int, list[Region]] = {}
        self._samples: dict[int, Sample] = {}

    def regions(self, preset: int) -> list[Region]:
        """Every region of a preset (its place in the file), in the order of the file."""
        if preset not in self._regions:
            self._regions[preset] = list(self._flatten(preset))
        return self._regions[preset]

    def _flatten(self, preset: int) -> Iterator[Region]:
        for outer in self._zones("p", "phdr", preset, Gen.INSTRUMENT):
            for inner in self._zones("i", "inst", outer.generators[Gen.INSTRUMENT], Gen.SAMPLE):
                if self._tables["shdr"]["kind"][inner.generators[Gen.SAMPLE]] & ROM:
                    continue                            # the recording is in a sound card, not here
                spans = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in (
                    (outer.span(n), inner.span(n)) for n in (Gen.KEY_RANGE, Gen.VELOCITY_RANGE))]
                if any(low > high for low, high in spans):
                    continue
                values = DEFAULTS.copy()
                for number, amount in inner.generators.items():
                    values[number] = amount
                for number, amount in outer.generators.items():
                    if number not in INSTRUMENT_ONLY:
                        values[number] += amount
                values[Gen.SAMPLE] = inner.generators[Gen.SAMPLE]
                modulators = DEFAULT_MODULATORS | inner.modulators
                for where, amount in outer.modulators.items():
                    modulators[where] = modulators.get(where, 0) + amount
                yield Region(spans[0], spans[1], values, modulators)

    def _zones(self, letter: str, table: str, number: int, terminal: int) -> list[Zone]:
        """Zones of preset or instrument `number` that end in `terminal`, global zone merged in."""
        if not 0 <= number < len(self._tables[table]) - 1:
            raise InputError(f"{self.path}: {table} {number} is named but not there")
        owners, bags = self._tables[table]["zone"], self._tables[letter + "bag"]
        first, last = int(owners[number]), int(owners[number + 1])
        zones: list[Zone] = []
        shared = Zone({}, {})
        limit = len(self._tables["inst" if letter == "p" else "shdr"]) - 1
        for index in range(first, min(last, len(bags) - 1)):
            begin, end = bags[index], bags[index + 1]
            zone = Zone(*self._bag(letter, begin, end))
            if terminal not in zone.generators:
                if index == first:
                    shared = zone
                continue
            if not 0 <= zone.generators[terminal] < limit:
                raise InputError(
                    f"{self.path}: {table} {number} names {Gen(terminal).name.lower()} "
                    f"{zone.generators[terminal]}, the file has {limit}")
            zones.append(Zone(shared.generators | zone.generators,
                              shared.modulators | zone.modulators))
        return zones

    def _bag(self, letter: str, begin: np.void, end: np.void
             ) -> tuple[dict[int, int], dict[tuple[int, int, int], int]]:
        rows = self._tables[letter + "gen"][begin["generator"]:end["generator"]].tolist()
        generators = {number: amount for number, amount in rows if number < GENERATORS}
        rows = self._tables[letter + "mod"][begin["modulator"]:end["modulator"]].tolist()
        modulators = {}
        for source, destination, amount, second, _ in rows:
            if _moves(source) and (second == 0 or _moves(second)) and destination < GENERATORS:
                # Fonts turn the velocity filter off as SF2.01 writes it (second source) or as 2.04.
                place = (source, destination, 0 if destination == Gen.CUTOFF else second)
                modulators[place] = amount
        return generators, modulators

    def sample(self, number: int) -> Sample:
        """Decode recording `number` to float32, full scale ±1; InputError if it is damaged."""
        if number not in self._samples:
            self._samples[number] = self._decode(number)
        return self._samples[number]

    def _decode(self, number: int) -> Sample:
        row = self._tables["shdr"][number]
        start, end, kind = int(row["start"]), int(row["end"]), int(row["kind"])
        name = row["name"].split(b"\0")[0].decode("latin-1")
        loop_start, loop_end = int(row["loop_start"]), int(row["loop_end"])
        if kind & VORBIS:       # addresses count bytes, loop points count samples from the start
            try:
                wave_N, _ = soundfile.read(io.BytesIO(self._pool[start:end]), dtype="float32")
            except soundfile.LibsndfileError as error:
                raise InputError(
                    f"{self.path}: sample {name!r} cannot be decoded: {error}") from error
            wave_N = wave_N.reshape(len(wave_N), -1)[:, 0]
        else:
            if not start < end <= len(self._pool) // 2:
                raise InputError(f"{self.path}: sample {name!r} lies outside the file")
            pool = np.frombuffer(self._pool, "<i2", count=len(self._pool) // 2)
            wave_N = pool[start:end].astype(np.float32) / 32768
            loop_start, loop_end = loop_start - start, loop_end - start
        root = int(row["root"])
        return Sample(wave_N, loop_start, loop_end, int(row["rate"]) or 44100,
                      root if root < 128 else 60, int(row["correction"]))


def modulation(source: int, key: int, velocity: int) -> float:
    """Value of a modulator's source (section 8.2), -1..1, in a note that no controller touches."""
    index, curve = source & 0x7f, source >> 10
    if index == 0:
        return 1.0
    x = (velocity if index == 2 else key) / 127
    x = 1 - x if source & 0x100 else x
    bipolar = bool(source & 0x200)
    if bipolar and curve in (1, 2):
        x = 2 * x - 1
        return np.copysign(_curve(curve, abs(x)), x)
    y = _curve(curve, x)
    return 2 * y - 1 if bipolar else y


def _curve(curve: int, x: float) -> float:
    """Linear, concave, convex or switch; the concave curve reaches 96 dB (section 9.5.3)."""
    if curve == 1:
        return 1.0 if x >= 1 else min(1.0, -40 / 96 * np.log10(1 - x))
    if curve == 2:
        return 0.0 if x <= 0 else max(0.0, 1 + 40 / 96 * np.log10(x))
    if curve == 3:
        return float(x >= 0.5)
    return x


def _moves(source: int) -> bool:
    """Whether a source is velocity or key; controllers, wheels and pressure rest in a score."""
    return not source & 0x80 and source & 0x7f in (2, 3)


def _table(path: Path, name: str, chunk: memoryview, dtype: np.dtype) -> np.ndarray:
    rows = len(chunk) // dtype.itemsize
    if len(chunk) % dtype.itemsize or not rows:
        raise InputError(
            f"{path}: chunk {name!r} has {len(chunk)} bytes, not rows of {dtype.itemsize}")
    return np.frombuffer(chunk, dtype, count=rows)


def _chunks(path: Path, data: bytes) -> dict[str, memoryview]:
    """Leaves of the RIFF tree by name; InputError if one that a SoundFont must have is missing."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise InputError(f"{path}: not a SoundFont (no RIFF header of type sfbk)")
    view, found, offset = memoryview(data), {}, 12
    while offset + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, offset)
        offset += 8
        if kind == b"LIST":
            offset += 4     # go into the list: leaf names are unique
            continue
        if offset + size > len(data):
            raise InputError(
                f"{path}: chunk {kind.decode('latin-1')!r} is cut short: copy the file again")
        found[kind.decode("latin-1")] = view[offset:offset + size]
        offset += size
        if size % 2 and data[offset:offset + 4] != b"LIST":
            offset += 1                                 # the padding that some SF3 files leave out
    missing = sorted({"smpl", *TABLES} - found.keys())
    if missing:
        raise InputError(f"{path}: no chunk {', '.join(missing)}: incomplete, or another format")
    return found
