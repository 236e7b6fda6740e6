"""How a song's melodic parts are played, and through what: singers, guitars, basses and others."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from stemsep.datasets import effects
from stemsep.datasets.effects import log_uniform, shelf
from stemsep.datasets.score import Part
from stemsep.datasets.soundfont import SoundFont, render
from stemsep.datasets.synth import render_synth
from stemsep.datasets.voice_synth import render_voice

_CLEAN_GUITARS, _DRIVEN_GUITARS = (26, 27, 28), (29, 30)
_SYNTH_BASSES = (38, 39)
_SYNTHS = range(80, 104)        # General MIDI's leads, pads and effects
_SINGER_SHARE = 0.75            # of vocal parts are computed, the others a font's choir
_SYNTH_SHARE = 0.5              # of synthesiser parts are computed, the others a font's


@dataclasses.dataclass(frozen=True, slots=True)
class Studio:
    """What the stems of one song share."""

    fonts: Sequence[SoundFont]
    seconds: float
    sample_rate: int
    channels: int
    tune_cents: float

    def play(self, font: SoundFont, part: Part, *, cents: float = 0.0) -> np.ndarray:
        """Return the part as the font plays it, in the song's tuning, float32 [C, N]."""
        return render(font, part, seconds=self.seconds, sample_rate=self.sample_rate,
                      channels=self.channels, tune_cents=self.tune_cents + cents)

    def synthesise(self, part: Part, random: Generator) -> np.ndarray:
        """Return the part as a synthesiser plays it, in a patch drawn for it, float32 [C, N]."""
        return render_synth(part, int(random.integers(2**31)), seconds=self.seconds,
                            sample_rate=self.sample_rate,
                            channels=self.channels, plucked=random.random() < 0.3)

    def widen(self, wave_1N: np.ndarray) -> np.ndarray:
        """Return a mono wave in all channels of the song."""
        return np.repeat(wave_1N, self.channels, axis=0)

    def font(self, random: Generator) -> SoundFont:
        """Draw one of the fonts."""
        return self.fonts[int(random.integers(len(self.fonts)))]


def play_voice(part: Part, studio: Studio, random: Generator) -> tuple[np.ndarray, str]:
    """Sing the part, sometimes doubled; compressed, bright, with a room or an echo."""
    rate = studio.sample_rate
    if random.random() < _SINGER_SHARE:
        seed, sound = int(random.integers(2**31)), "formant singer"
        mono = render_voice(part, seed, seconds=studio.seconds, sample_rate=rate)
        wave = studio.widen(mono)
        if random.random() < 0.25:
            second = render_voice(loosen(part, random, spread_s=0.02), seed + 1,
                                  seconds=studio.seconds, sample_rate=rate)
            wave = wave + studio.widen(second) * np.float32(random.uniform(0.2, 0.8))
    else:
        font = studio.font(random)
        wave, sound = studio.play(font, part, cents=random.normal(0, 5)), font.name
    rumble = shelf("highpass", random.uniform(60, 160), 0, sample_rate=rate)
    air = shelf("high", random.uniform(3000, 9000), random.uniform(-4, 8), sample_rate=rate)
    wave = effects.equalise(wave, rumble, air)
    wave = colour(wave, random, rate, eq=0.6, squeeze=0.85, drive=0.3)
    if random.random() < 0.25:
        wave = effects.echo(wave, delay_s=log_uniform(random, 0.08, 0.5),
                            feedback=random.uniform(0.1, 0.5),
                            wet=random.uniform(0.1, 0.4), sample_rate=rate)
    return surround(wave, random, studio, share=0.8, wet_db=(-26, -8),
                    pan=random.normal(0, 0.15)), sound


def play_guitar(part: Part, studio: Studio, random: Generator) -> tuple[np.ndarray, str]:
    """Play a guitar, driven ones through an amplifier; often twice, left and right."""
    rate, font = studio.sample_rate, studio.font(random)
    driven = part.program in _DRIVEN_GUITARS
    chance = 0.75 if driven else 0.3 if part.program in _CLEAN_GUITARS else 0.05
    amplified = random.random() < chance
    if driven and amplified and random.random() < 0.6:
        # A clean string into the amplifier: fonts hold notes driven one by one, but chords growl.
        part = dataclasses.replace(part, program=int(random.choice(_CLEAN_GUITARS)))
    takes = 2 if random.random() < (0.5 if driven else 0.3) else 1
    width, gain = random.uniform(0.4, 1), random.uniform(0.5, 1)
    total = np.zeros((studio.channels, round(studio.seconds * rate)), np.float32)
    settings = int(random.integers(2**31))
    for take in range(takes):
        wave = studio.play(font, part if take == 0 else loosen(part, random, spread_s=0.015),
                           cents=random.normal(0, 5))
        if amplified:       # both takes through the same amplifier
            wave = effects.amplify(wave, np.random.default_rng(settings), sample_rate=rate)
        pan = random.normal(0, 0.4) if takes == 1 else width * (1 if take else -1)
        level = np.float32(gain if take else 1)
        total += effects.place(wave, pan=float(np.clip(pan, -1, 1))) * level
    total = colour(total, random, rate, eq=0.7, squeeze=0.4, drive=0.1)
    if random.random() < 0.15:
        total = effects.chorus(total, depth_s=random.uniform(0.001, 0.006),
                               rate_hz=log_uniform(random, 0.1, 3),
                               mix=random.uniform(0.3, 1), sample_rate=rate)
    return surround(total, random, studio, share=0.6, wet_db=(-28, -8), pan=0.0), font.name


def play_bass(part: Part, studio: Studio, random: Generator) -> tuple[np.ndarray, str]:
    """Play a bass: dry, compressed, sometimes driven."""
    rate, font = studio.sample_rate, studio.font(random)
    wave, sound = studio.play(font, part, cents=random.normal(0, 4)), font.name
    if part.program in _SYNTH_BASSES and random.random() < _SYNTH_SHARE:
        wave, sound = studio.synthesise(part, random), "synthesiser"
    if random.random() < 0.4:
        grit = effects.saturate(wave, drive_db=random.uniform(-6, 18), bias=random.uniform(0, 0.3))
        grit = effects.band_limit(grit, low_hz=0, high_hz=log_uniform(random, 1500, 6000),
                                  sample_rate=rate)
        share = np.float32(random.uniform(0.2, 1))
        wave = share * grit + (1 - share) * wave
    if random.random() < 0.5:
        weight = shelf("low", random.uniform(50, 110), random.uniform(-10, 4), sample_rate=rate)
        top = shelf("lowpass", log_uniform(random, 800, 8000), 0, sample_rate=rate)
        wave = effects.equalise(wave, weight, top)
    wave = colour(wave, random, rate, eq=0.6, squeeze=0.7, drive=0.0)
    return surround(wave, random, studio, share=0.15, wet_db=(-30, -16), pan=0.0), sound


def play_other(part: Part, studio: Studio, random: Generator) -> tuple[np.ndarray, str]:
    """Play keys, strings, winds and the like, now and then with a chorus or an echo."""
    rate, font = studio.sample_rate, studio.font(random)
    wave, sound = studio.play(font, part, cents=random.normal(0, 4)), font.name
    if part.program in _SYNTHS and random.random() < _SYNTH_SHARE:
        wave, sound = studio.synthesise(part, random), "synthesiser"
    elif random.random() < 0.2:         # a second player or another font beneath
        other = studio.font(random)
        second = studio.play(other, loosen(part, random, spread_s=0.02), cents=random.normal(0, 8))
        wave = wave + second * np.float32(random.uniform(0.2, 0.8))
        sound = " + ".join(sorted({sound, other.name}))
    wave = colour(wave, random, rate, eq=0.7, squeeze=0.4, drive=0.12)
    if random.random() < 0.2:
        wave = effects.chorus(wave, depth_s=random.uniform(0.001, 0.006),
                              rate_hz=log_uniform(random, 0.1, 4),
                              mix=random.uniform(0.3, 1), sample_rate=rate)
    if random.random() < 0.15:
        wave = effects.echo(wave, delay_s=log_uniform(random, 0.08, 0.5),
                            feedback=random.uniform(0.1, 0.6),
                            wet=random.uniform(0.15, 0.5), sample_rate=rate)
    return surround(wave, random, studio, share=0.65, wet_db=(-26, -4),
                    pan=random.normal(0, 0.4)), sound


def loosen(part: Part, random: Generator, *, spread_s: float) -> Part:
    """Return the part as played another time: every note a little early or late."""
    notes = []
    for note in part.notes:
        shift_s = float(np.clip(random.normal(0, spread_s), -2 * spread_s, 2 * spread_s))
        shift_s = max(shift_s, -note.start_s)
        notes.append(dataclasses.replace(note, start_s=note.start_s + shift_s,
                                         end_s=note.end_s + shift_s))
    return dataclasses.replace(part, notes=tuple(sorted(notes, key=lambda note: note.start_s)))


def colour(wave_CN: np.ndarray, random: Generator, rate: int, *, eq: float, squeeze: float,
           drive: float) -> np.ndarray:
    """Equalise, compress and saturate with the given chances; now and then limit the band and add
    noise."""
    if random.random() < eq:
        wave_CN = effects.random_eq(wave_CN, random, sample_rate=rate)
    if random.random() < squeeze:
        wave_CN = effects.compress(wave_CN, threshold_db=random.uniform(-6, 6),
                                   ratio=log_uniform(random, 1.5, 8),
                                   attack_s=log_uniform(random, 0.001, 0.04),
                                   release_s=log_uniform(random, 0.05, 0.5), sample_rate=rate)
    if random.random() < drive:
        wave_CN = effects.saturate(wave_CN, drive_db=random.uniform(-10, 10),
                                   bias=random.uniform(0, 0.3))
    if random.random() < 1 / 12:        # a telephone, an old record, a toy
        wave_CN = effects.band_limit(wave_CN, low_hz=log_uniform(random, 80, 500),
                                     high_hz=log_uniform(random, 2000, 9000), sample_rate=rate)
    if random.random() < 0.15:
        wave_CN = effects.hiss(wave_CN, random, level_db=random.uniform(-65, -35), sample_rate=rate)
    return wave_CN


def surround(wave_CN: np.ndarray, random: Generator, studio: Studio, *, share: float,
             wet_db: tuple[float, float], pan: float) -> np.ndarray:
    """Place the stem and, with a chance of `share`, add a room of its own."""
    wave_CN = effects.place(wave_CN, pan=float(np.clip(pan, -1, 1)))
    if random.random() < share:
        response = effects.room(random, rt60_s=log_uniform(random, 0.2, 2.5),
                                sample_rate=studio.sample_rate, channels=studio.channels)
        wave_CN = effects.reverberate(wave_CN, response, wet_db=random.uniform(*wet_db))
    return wave_CN
