"""Turns a song's parts into stems as a studio would: who plays what, through what, in which room
and how loud.

What a network learns from computed songs carries over to recordings only as far as the sounds vary.
So everything that differs between recordings is drawn anew for every song: fonts, kits and tunings,
sampled or computed drums, equalisers, compressors, amplifiers, rooms, balances. What shapes the
whole mix (bus compressor, band limits) is one gain or one filter for all stems alike, so that the
mix stays the sum of its stems.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from stemsep.datasets import effects
from stemsep.datasets.drum_synth import KICKS
from stemsep.datasets.effects import log_uniform, shelf
from stemsep.datasets.kit import play_drums
from stemsep.datasets.score import Part, Song
from stemsep.datasets.soundfont import SoundFont
from stemsep.datasets.studio import Studio, play_bass, play_guitar, play_other, play_voice

SILENT = 1e-5       # a part whose peak is not above this gives no stem
# Where loudness (LUFS) stands in a mix without its drums: (typical, spread) in dB.
_BALANCE_DB = {"voice": (0.0, 2.5), "lead": (-2.0, 2.5), "bass": (1.5, 3.0),
               "guitar": (-4.0, 3.0), "other": (-6.5, 3.5)}
# Below this a channel is cut in most mixes: a range in Hz.
_LOW_CUT_HZ = {"bass": (34, 70), "voice": (80, 180), "lead": (60, 200), "guitar": (60, 200),
               "other": (50, 180)}
_DRUMS_DB = (0.0, 3.2)          # drums against everything else together
_VOICES = (52, 53, 54, 85)      # programs that stand for singers
_ELECTRONIC_KITS = (24, 25)
_FLOOR_LUFS = -70.0
_PLAYERS = {"drums": play_drums, "voice": play_voice, "bass": play_bass, "guitar": play_guitar,
            "lead": play_other, "other": play_other}


@dataclasses.dataclass(frozen=True, slots=True)
class Stem:
    """A part as it sounds in the mix; `sound` names the fonts and synthesisers that play it."""

    part: Part
    sound: str
    wave_CN: np.ndarray


def produce(song: Song, fonts: Sequence[SoundFont], *, seed: Sequence[int], channels: int,
            sample_rate: int = 44100) -> list[Stem]:
    """Render and mix the song; the stems add up to the mix, whose peak is between −9 and −0.3 dB of
    full scale.

    No stem exceeds full scale. Parts that stay silent give no stem. The same seed gives the same
    stems.
    """
    random = np.random.default_rng([*seed, 0])
    studio = Studio(fonts, song.seconds, sample_rate, channels,
                    tune_cents=float(random.normal(0, 12)))
    stems = []
    pump_db, pump_s = _pumping(song, random)
    for index, part in enumerate(song.parts):
        own = np.random.default_rng([*seed, 1, index])
        wave_CN, sound = _PLAYERS[role(part)](part, studio, own)
        if not part.is_drum:
            wave_CN = _make_room(wave_CN, role(part), own, sample_rate)
        if pump_db and not part.is_drum:
            kicks_s = [note.start_s for drums in song.parts if drums.is_drum
                       for note in drums.notes if note.pitch in KICKS]
            wave_CN = effects.duck(wave_CN, kicks_s, depth_db=pump_db, release_s=pump_s,
                                   sample_rate=sample_rate)
        if np.abs(wave_CN).max(initial=0) > SILENT:
            stems.append(Stem(part, sound, wave_CN))
    balance(stems, random, sample_rate=sample_rate)
    master(stems, random, sample_rate=sample_rate)
    return stems


def _make_room(wave_CN: np.ndarray, what: str, random: Generator, sample_rate: int) -> np.ndarray:
    """Leave the lowest octave to the kick and the highest to the cymbals, as most mixes do.

    Guitars and voices stand forward between 700 Hz and 3 kHz in loud ones.
    """
    if random.random() < 0.8:
        wave_CN = effects.band_limit(wave_CN, low_hz=random.uniform(*_LOW_CUT_HZ[what]),
                                     high_hz=sample_rate, sample_rate=sample_rate,
                                     order=int(random.integers(1, 3)))
    if what in ("guitar", "voice", "lead") and random.random() < 0.5:
        wave_CN = effects.equalise(wave_CN, shelf(
            "peak", log_uniform(random, 700, 3000), random.uniform(2, 12),
            sample_rate=sample_rate, q=log_uniform(random, 0.5, 1.5)))
    if random.random() < 0.4:
        wave_CN = effects.equalise(wave_CN, shelf(
            "high", log_uniform(random, 2500, 7000), random.uniform(-14, -2),
            sample_rate=sample_rate))
    return wave_CN


def _pumping(song: Song, random: Generator) -> tuple[float, float]:
    """Draw by how many dB and for how long the kick ducks the band: in dance music often, else
    hardly ever."""
    electronic = any(part.is_drum and part.program in _ELECTRONIC_KITS for part in song.parts)
    if random.random() > (0.4 if electronic else 0.04):
        return 0.0, 0.1
    return float(random.uniform(2, 14)), float(random.uniform(0.05, 0.3))


def role(part: Part) -> str:
    """Tell what a part is in the mix: drums, bass, guitar, voice, lead or other."""
    name = part.name.lower()
    if part.is_drum:
        return "drums"
    if part.program in _VOICES or "voc" in name or "voice" in name or "sing" in name:
        return "voice"
    if part.program // 8 == 4:
        return "bass"
    if part.program // 8 == 3:
        return "guitar"
    return "lead" if "lead" in name or "melody" in name or "solo" in name else "other"


def loudness(wave_CN: np.ndarray, sample_rate: int) -> float:
    """Return the integrated loudness in LUFS (ITU-R BS.1770-4); −70 for silence and for less than
    0.4 s."""
    import pyloudnorm  # here, because workers of other tasks never need it

    if wave_CN.shape[1] < 0.4 * sample_rate + 1:
        return _FLOOR_LUFS
    with np.errstate(divide="ignore", invalid="ignore"):
        lufs = pyloudnorm.Meter(sample_rate).integrated_loudness(wave_CN.T)
    return max(float(lufs), _FLOOR_LUFS) if np.isfinite(lufs) else _FLOOR_LUFS


def balance(stems: Sequence[Stem], random: Generator, *, sample_rate: int) -> None:
    """Set every stem's loudness: the band by roles, then all drums together against the band.

    The waves are changed in place: all those of a long song are large.
    """
    for stem in stems:
        typical_db, spread_db = _BALANCE_DB.get(role(stem.part), (0.0, 0.0))
        target = -20 + typical_db + (spread_db * float(np.clip(random.standard_normal(), -2, 2)))
        _louder(stem, target - loudness(stem.wave_CN, sample_rate))
    drums = [stem for stem in stems if stem.part.is_drum]
    band = [stem for stem in stems if not stem.part.is_drum]
    if not drums or not band:
        return
    for stem in drums[1:]:      # a second drum part is percussion: quieter than the kit
        _louder(stem, -random.uniform(2, 12))
    kit_lufs = loudness(sum_of(drums), sample_rate)
    wanted_db = float(np.clip(random.normal(*_DRUMS_DB), -10, 8))
    gap_db = loudness(sum_of(band), sample_rate) + wanted_db - kit_lufs
    for stem in drums:
        _louder(stem, gap_db)


def sum_of(stems: Sequence[Stem]) -> np.ndarray:
    """Return the mix, float32 [C, N]."""
    total = stems[0].wave_CN.copy()
    for stem in stems[1:]:
        total += stem.wave_CN
    return total


def _louder(stem: Stem, gain_db: float) -> None:
    # At most 60 dB: what is too short to have a loudness is left quiet.
    factor = np.float32(10 ** (min(gain_db, 60) / 20))
    np.multiply(stem.wave_CN, factor, out=stem.wave_CN)


def master(stems: Sequence[Stem], random: Generator, *, sample_rate: int) -> None:
    """Shape the mix, by what is applied to every stem alike, and set its peak; in place."""
    if not stems:
        return
    waves = [stem.wave_CN for stem in stems]
    biquads = []
    if random.random() < 0.4:
        biquads.append(shelf("low", log_uniform(random, 60, 300), random.normal(0, 2.5),
                             sample_rate=sample_rate))
        biquads.append(shelf("high", log_uniform(random, 2000, 8000), random.normal(-1, 3),
                             sample_rate=sample_rate))
    if random.random() < 0.25:      # tape, broadcast and lossy coding take the highest octave
        top = shelf("lowpass", random.uniform(9000, 17000), 0, sample_rate=sample_rate, q=0.8)
        biquads += [top] * random.integers(2, 5)
    if random.random() < 0.3:
        biquads.append(shelf("highpass", random.uniform(20, 70), 0, sample_rate=sample_rate))
    if biquads:
        for wave in waves:
            wave[:] = effects.equalise(wave, *biquads)
    total = sum_of(stems)
    if random.random() < 0.5:
        gain = effects.compression_gain(total, threshold_db=random.uniform(2, 10),
                                        ratio=log_uniform(random, 1.5, 20),
                                        attack_s=log_uniform(random, 0.0005, 0.03),
                                        release_s=log_uniform(random, 0.05, 0.6),
                                        sample_rate=sample_rate)
        for wave in (*waves, total):
            wave *= gain
    peak_db = -random.uniform(0.3, 9)
    peak = max(float(np.abs(total).max()), 1e-9)
    # A stem may be higher than the mix where others cancel it: no stem may clip either.
    tallest = max(float(np.abs(wave).max()) for wave in waves)
    factor = np.float32(min(10 ** (peak_db / 20) / peak, 0.999 / max(tallest, 1e-9)))
    for wave in waves:
        wave *= factor
