"""Plays the parts of a score with a SoundFont, in NumPy and SciPy: instruments for demo songs.

What notes have in common is computed once: voices of one region and key share their resampled
recording, and those of like velocity its filtering; then each has only its envelope left.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from stemsep.datasets.score import Part
from stemsep.datasets.sf2 import PERCUSSION_BANK, Gen, Region, Sf2
from stemsep.datasets.sf2_motion import held_volume, release_volume
from stemsep.datasets.sf2_voice import Voice, block_peaks, filtered, resampled, tone
from stemsep.errors import InputError

GAIN = 0.25             # of a full-scale recording at velocity 127: a dozen voices do not clip
FADE_S = 0.005          # in which a voice of the same exclusive class is cut


class SoundFont:
    """A font, loaded once; samples are decoded when first played, and kept as float32."""

    def __init__(self, file: Sf2) -> None:
        self.file = file
        self.name = file.name

    @classmethod
    def load(cls, path: str | Path) -> "SoundFont":
        """Read an SF2 or SF3 file; InputError names file and reason if it is none."""
        font = cls(Sf2(Path(path)))
        if not font.file.presets:
            raise InputError(f"{path}: the font has no presets")
        return font

    def drum_kits(self) -> list[int]:
        """Kit numbers in the percussion bank (0 standard, 8 room, 16 power, ...)."""
        return sorted(program for bank, program in self.file.presets if bank == PERCUSSION_BANK)

    def programs(self) -> list[int]:
        """General MIDI programs in bank 0."""
        return sorted(program for bank, program in self.file.presets if bank == 0)

    def regions(self, part: Part) -> list[Region]:
        """Regions that play `part`, those of its `preset`."""
        return self.file.regions(self.file.presets[self.preset(part)])

    def preset(self, part: Part) -> tuple[int, int]:
        """Bank and program that play `part`: its own or, if the font lacks it, the nearest of kin.

        A drum part falls back to the first kit; InputError if the font has no such bank at all.
        """
        bank = PERCUSSION_BANK if part.is_drum else 0
        present = self.drum_kits() if part.is_drum else self.programs()
        if not present:
            raise InputError(
                f"{self.file.path}: no presets in bank {bank}, which part {part.name!r} needs")
        program = part.program
        if program not in present:
            family = [p for p in present if p // 8 == program // 8] or present
            program = present[0] if part.is_drum else min(family, key=lambda p: abs(p - program))
        return bank, program


def default_soundfont() -> Path:
    """Where TimGM6mb lies: in the wheel of pretty_midi, found without importing that package."""
    spec = importlib.util.find_spec("pretty_midi")
    path = Path(spec.origin).parent / "TimGM6mb.sf2" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise InputError(
            "TimGM6mb.sf2 was not found: install pretty_midi, whose wheel carries it, "
            "or name another SoundFont")
    return path


def check_files(fonts: Sequence[str | Path]) -> None:
    """Raise InputError for a font that is no file."""
    for font in fonts:
        if not Path(font).is_file():
            raise InputError(f"{font}: no such SoundFont; give .sf2 or .sf3 files")


def render(font: SoundFont, part: Part, *, seconds: float, sample_rate: int = 44100,
           channels: int = 1, tune_cents: float = 0.0,
           drum_tune: Mapping[int, float] | None = None) -> np.ndarray:
    """Play `part` for `seconds`; returns float32 [channels, round(seconds * sample_rate)].

    tune_cents detunes the whole part, drum_tune single drums: pitch → semitones. Mono is the mean
    of the stereo channels. The level is the font's own, never normalised, so parts keep their
    balance. The same arguments give the same bytes.
    """
    if channels not in (1, 2):
        raise ValueError(f"channels is {channels}: a font plays in mono (1) or stereo (2)")
    out_CN = np.zeros((channels, round(seconds * sample_rate)), np.float32)
    voices = _voices(font, part, out_CN.shape[1], sample_rate=sample_rate, tune_cents=tune_cents,
                     drum_tune=drum_tune or {})
    waves: dict[tuple, dict[tuple, list[Voice]]] = {}
    for voice in voices:
        wave, shape = voice.group()
        waves.setdefault(wave, {}).setdefault(shape, []).append(voice)
    for shapes in waves.values():
        longest = max((v for group in shapes.values() for v in group), key=lambda v: v.length)
        sample = font.file.sample(int(longest.values[Gen.SAMPLE]))
        wave_N = resampled(sample, longest, sample_rate)
        if not len(wave_N):
            continue
        peak_T = block_peaks(wave_N)
        for group in shapes.values():
            for voice in group:
                voice.trim(wave_N, peak_T, sample_rate)
            _mix(out_CN, wave_N, group, sample_rate)
    return out_CN


def _voices(font: SoundFont, part: Part, frames: int, *, sample_rate: int, tune_cents: float,
            drum_tune: Mapping[int, float]) -> list[Voice]:
    """The voices of every note that sounds, cut by their exclusive classes and by the end."""
    regions = font.regions(part)
    tones: dict[tuple[int, int], list[tuple[Region, int, list[float]]]] = {}
    voices: list[Voice] = []
    held: dict[int, list[Voice]] = {}           # by pitch: struck again, a key lets go first
    sounding: dict[int, list[Voice]] = {}       # by exclusive class
    for note in sorted(part.notes, key=lambda note: note.start_s):
        start = max(round(note.start_s * sample_rate), 0)
        if start >= frames or note.velocity < 1:
            continue
        place = (note.pitch, note.velocity)
        if place not in tones:
            tones[place] = [(r, *tone(r, *place)) for r in regions if r.matches(*place)]
        release = max(round(note.end_s * sample_rate) - start, 1)
        cents = tune_cents + 100 * (drum_tune.get(note.pitch, 0.0) if part.is_drum else 0.0)
        for earlier in held.get(note.pitch, ()):
            earlier.release = min(earlier.release, max(start - earlier.start, 1))
        fresh = [Voice(region, key, values, cents, start, release, frames - start)
                 for region, key, values in tones[place]]
        held[note.pitch] = fresh
        for number in sorted({int(v.values[Gen.EXCLUSIVE_CLASS]) for v in fresh} - {0}):
            for earlier in sounding.get(number, ()):
                cut = start - earlier.start + round(FADE_S * sample_rate)
                if cut < earlier.length:
                    earlier.length, earlier.choked = cut, True
            sounding[number] = [v for v in fresh if v.values[Gen.EXCLUSIVE_CLASS] == number]
        voices += fresh
    bends = sorted((bend.time_s * sample_rate, 100 * bend.semitones) for bend in part.bends)
    for voice in voices:
        voice.shorten(sample_rate)
        voice.bend(bends)
    return [voice for voice in voices if voice.length > 0]


def _mix(out_CN: np.ndarray, wave_N: np.ndarray, group: list[Voice], rate: int) -> None:
    """Filter the wave once for all voices of a group, shape each by its envelope, and add them."""
    longest = max(group, key=lambda voice: voice.length)
    wave_N = filtered(wave_N[:longest.length], longest, rate)
    down = min(max(voice.release for voice in group) + 1, len(wave_N))
    envelope_N = held_volume(longest.values, down, rate)
    held_N = wave_N[:down] * envelope_N
    tail = max(min(voice.length, len(wave_N)) - voice.release for voice in group)
    fall_N = release_volume(longest.values, max(tail, 0), rate)
    fade_N = np.linspace(1, 0, round(FADE_S * rate), dtype=np.float32)
    for voice in group:
        length = min(voice.length, len(wave_N))
        release = min(voice.release, length)
        sound_N = held_N[:length]
        if release < length:
            sound_N = np.empty(length, np.float32)
            sound_N[:release] = held_N[:release]
            np.multiply(wave_N[release:length], fall_N[:length - release], out=sound_N[release:])
            sound_N[release:] *= envelope_N[release]
        if voice.choked and length == voice.length:
            fade = min(len(fade_N), length)
            sound_N = np.concatenate([sound_N[:length - fade],
                                      sound_N[length - fade:] * fade_N[len(fade_N) - fade:]])
        gains = GAIN * voice.gains()
        if len(out_CN) == 1:
            gains = gains.mean(keepdims=True)
        for out_N, gain in zip(out_CN, gains):
            out_N[voice.start:voice.start + length] += sound_N * gain
