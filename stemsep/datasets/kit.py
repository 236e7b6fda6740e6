"""A drum kit as it is recorded: sampled or computed drums, a microphone for each group of them, a
room and a bus."""

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from stemsep.datasets import drum_synth, effects
from stemsep.datasets.effects import log_uniform, shelf
from stemsep.datasets.score import Note, Part
from stemsep.datasets.soundfont import render
from stemsep.datasets.studio import Studio

_STICK = 37                     # on the rim of the snare
# Recorded drums are fuller than those of fonts: a kick has most of its power below 60 Hz, where a
# bass has little, a snare and toms have theirs between the bass and the guitars. Range of the boost
# in Hz, and of its gain in dB.
_BODIES = {"kick": (42, 66, 5, 16), "snare": (160, 260, 0, 6), "toms": (80, 180, 0, 4)}
_MELODIC_KITS = 48              # from this kit on, keys hold timpani and sound effects, not drums
# The groups of a kit as they are mixed: pitches and the range of their peaks; what is named nowhere
# is percussion.
_GROUPS = (("kick", drum_synth.KICKS, (0.45, 1.1)),
           ("snare", drum_synth.SNARES + drum_synth.CLAPS + (_STICK,), (0.5, 1.2)),
           ("toms", drum_synth.TOMS, (0.35, 0.9)),
           ("hats", drum_synth.CLOSED_HATS + drum_synth.OPEN_HATS, (0.05, 0.3)),
           ("rides", drum_synth.RIDES, (0.08, 0.35)),
           ("crashes", drum_synth.CRASHES, (0.1, 0.45)),
           ("percussion", (), (0.08, 0.4)))


def play_drums(part: Part, studio: Studio, random: Generator) -> tuple[np.ndarray, str]:
    """Play a kit: every group of drums from a sampled or a computed kit, or both; then the bus."""
    rate = studio.sample_rate
    sampled_share = random.choice([1.0, 1.0, 0.5, 0.5, 0.0])
    sampled, computed = _sampled_kit(part, studio, random), _computed_kit(studio, random)
    total, sounds = np.zeros((studio.channels, round(studio.seconds * rate)), np.float32), []
    for name, notes, (low, high) in _grouped(part):
        choices: list[Callable] = []
        for _ in range(1 + (random.random() < 0.35)):
            play = sampled if random.random() < sampled_share else computed
            if random.random() < 0.3:       # this drum comes from another kit
                play = (_sampled_kit(part, studio, random) if play is sampled
                        else _computed_kit(studio, random))
            choices.append(play)
        wave = np.zeros_like(total)
        for layer, play in enumerate(choices):
            sound, label = play(dataclasses.replace(part, notes=notes))
            if np.abs(sound).max(initial=0) < 1e-5:      # the font has no such drum
                sound, label = computed(dataclasses.replace(part, notes=notes))
            sounds.append(label)
            share = 1 if layer == 0 else random.uniform(0.1, 0.7)
            wave += sound * np.float32(share / max(np.abs(sound).max(), 1e-6))
        wave = _drum_channel(name, wave, random, rate)
        loudest = max(note.velocity for note in notes) / 127
        level = log_uniform(random, low, high) * loudest ** 1.5
        total += wave * np.float32(level / max(np.abs(wave).max(), 1e-6))
    return _drum_bus(total, random, studio), " + ".join(sorted(set(sounds)))


def _grouped(part: Part) -> list[tuple[str, tuple[Note, ...], tuple[float, float]]]:
    """Sort a kit's notes into the groups that are mixed apart; groups without notes are left
    out."""
    named = {pitch for _, pitches, _ in _GROUPS for pitch in pitches}
    groups = []
    for name, pitches, levels in _GROUPS:
        notes = tuple(note for note in part.notes
                      if (note.pitch in pitches or not pitches and note.pitch not in named)
                      and note.velocity > 0)
        if notes:
            groups.append((name, notes, levels))
    return groups


def _sampled_kit(part: Part, studio: Studio, random: Generator) -> Callable:
    """Draw a kit of a font and a tuning of its drums."""
    font = studio.font(random)
    kits = [kit for kit in font.drum_kits() if kit < _MELODIC_KITS]
    program = int(random.choice(kits)) if kits and random.random() < 0.7 else part.program
    tune = {pitch: float(np.clip(random.normal(0, 1.5), -4, 4)) for pitch in range(27, 88)}
    for pitch in drum_synth.KICKS:      # those of General MIDI fonts are small and high
        tune[pitch] = random.uniform(-8, 0)

    def play(group: Part) -> tuple[np.ndarray, str]:
        wave = render(font, dataclasses.replace(group, program=program), seconds=studio.seconds,
                      sample_rate=studio.sample_rate, channels=studio.channels, drum_tune=tune)
        return wave, f"{font.name} kit {program}"
    return play


def _computed_kit(studio: Studio, random: Generator) -> Callable:
    kit_seed = int(random.integers(2**31))

    def play(group: Part) -> tuple[np.ndarray, str]:
        return drum_synth.render_drums(group, kit_seed, seconds=studio.seconds,
                                       sample_rate=studio.sample_rate,
                                       channels=studio.channels), "computed kit"
    return play


def _drum_channel(name: str, wave_CN: np.ndarray, random: Generator, rate: int) -> np.ndarray:
    """What one microphone's channel does to its drum."""
    if name in _BODIES and random.random() < 0.85:
        low_hz, high_hz, least_db, most_db = _BODIES[name]
        body = shelf("peak", random.uniform(low_hz, high_hz), random.uniform(least_db, most_db),
                     sample_rate=rate, q=log_uniform(random, 0.7, 2))
        wave_CN = effects.equalise(wave_CN, body)
    if random.random() < 0.5:
        wave_CN = effects.random_eq(wave_CN, random, sample_rate=rate, depth_db=7)
    if name in ("kick", "snare", "toms") and random.random() < 0.35:
        wave_CN = effects.shape_transients(wave_CN, attack_db=random.uniform(-6, 9),
                                           sustain_db=random.uniform(-9, 6), sample_rate=rate)
    if random.random() < 0.15:
        wave_CN = effects.saturate(wave_CN, drive_db=random.uniform(-6, 12),
                                   bias=random.uniform(0, 0.4))
    if name == "snare" and random.random() < 0.12:
        response = effects.room(random, rt60_s=random.uniform(0.15, 0.4), sample_rate=rate,
                                channels=len(wave_CN), gated=True)
        wave_CN = effects.reverberate(wave_CN, response, wet_db=random.uniform(-12, 0))
    return wave_CN


def _drum_bus(wave_CN: np.ndarray, random: Generator, studio: Studio) -> np.ndarray:
    """The room all drums stand in, then what is done to the whole kit."""
    rate = studio.sample_rate
    if random.random() < 0.9:
        response = effects.room(random, rt60_s=log_uniform(random, 0.15, 0.9), sample_rate=rate,
                                channels=studio.channels)
        wave_CN = effects.reverberate(wave_CN, response, wet_db=random.uniform(-26, -7))
    if random.random() < 0.6:
        wave_CN = effects.random_eq(wave_CN, random, sample_rate=rate, depth_db=5)
    if random.random() < 0.5:
        # Between kick and cymbals real kits have more of shells and room than dry samples.
        body = shelf("peak", log_uniform(random, 250, 1500), random.uniform(0, 9),
                     sample_rate=rate, q=random.uniform(0.3, 0.8))
        wave_CN = effects.equalise(wave_CN, body)
    if random.random() < 0.45:
        squeezed = effects.compress(wave_CN, threshold_db=random.uniform(-3, 9),
                                    ratio=log_uniform(random, 2, 12),
                                    attack_s=log_uniform(random, 0.001, 0.03),
                                    release_s=log_uniform(random, 0.04, 0.4), sample_rate=rate)
        # Less than all of it is parallel compression.
        share = np.float32(random.choice([1.0, random.uniform(0.3, 1)]))
        wave_CN = share * squeezed + (1 - share) * wave_CN
    if random.random() < 0.35:
        wave_CN = effects.saturate(wave_CN, drive_db=random.uniform(-14, 6),
                                   bias=random.uniform(0, 0.2))
    if random.random() < 0.15:
        wave_CN = effects.hiss(wave_CN, random, level_db=random.uniform(-65, -40), sample_rate=rate)
    if random.random() < 0.2:
        wave_CN = effects.band_limit(wave_CN, low_hz=random.choice([0, random.uniform(30, 120)]),
                                     high_hz=log_uniform(random, 5000, 16000), sample_rate=rate,
                                     order=int(random.integers(1, 4)))
    return wave_CN
