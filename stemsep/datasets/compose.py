"""Compose songs: a number becomes a song of many parts, so that nobody has to download any."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from stemsep.datasets.band import BASSES, CONFUSERS, PLAYERS, VOICES, Player
from stemsep.datasets.bass import BASS_LINES, TERNARY_BASS_LINES, bass
from stemsep.datasets.drummer import Drummer
from stemsep.datasets.form import Bar, Event, Meter, draw_form
from stemsep.datasets.grooves import DRUMS, LAYERS, TERNARY_GROOVES
from stemsep.datasets.harmony import (
    Key, chop_voicing, close_voicing, draw_key, guitar_voicing, open_voicing, pick
)
from stemsep.datasets.melody import figure, harmonised, melody
from stemsep.datasets.performance import Performance, draw_clock
from stemsep.datasets.players import (
    TERNARY_RHYTHMS, arpeggio, comp, draw_riff, hits, noise, pad, power, unison
)
from stemsep.datasets.score import Part, Song
from stemsep.datasets.styles import STYLES, Style

_SUNG_KINDS = ("verse", "chorus", "lift", "bridge", "outro")
_RAPPED_STYLES = ("hip-hop", "trap")
_STEPS_A_MINUTE = 4     # for each quarter note a minute


def compose(seed: int, seconds: float) -> Song:
    """Compose a song of `seconds` seconds; the same arguments give an equal song.

    It begins anywhere in an imagined longer song. Of 100 songs about 96 have drums, 92 a bass and
    60 a voice. Seeds that follow each other go through all styles. Raises ValueError for a
    negative seed or a song shorter than a second.
    """
    if seed < 0 or seconds < 1:
        raise ValueError(f"song {seed} of {seconds} s: the seed must be 0 or more, the length 1 s")
    rng = np.random.default_rng((seed, 0))
    name = _style_name(seed)
    style = STYLES[name]
    ternary = rng.random() < style.ternary
    meter = pick(rng, (Meter(12, 4), Meter(12, 6))) if ternary else Meter()
    tempo_bpm = round(float(rng.uniform(*style.tempo)), 2)
    family = pick(rng, style.families.split("|"))
    key = draw_key(rng, family)
    # In the middle of things, or with the first bar a moment after the beginning.
    skipped = float(rng.uniform(0, 24) if rng.random() < 0.5 else -rng.uniform(0.05, 2))
    steps = 24 + 1.06 * seconds / 60 * tempo_bpm * _STEPS_A_MINUTE
    bars = draw_form(rng, meter, tonic=key.tonic, family=family, steps=steps)
    swing = 0.0 if meter.beat == 6 else float(rng.uniform(*style.swing))
    clock = draw_clock(rng, tempo_bpm=tempo_bpm, steps=bars[-1].start + meter.steps,
                       drift=style.drift, swing=swing, unit=style.unit)
    step_s = 15 / tempo_bpm
    by_machines = style.drift == 0 and rng.random() < 0.7
    performance = Performance(
        seed, seconds, bars, clock, origin_s=skipped * step_s,
        looseness_s=0.0 if by_machines else pick(rng, (0.0, 0.003, 0.006, 0.01, 0.015)),
        spread=pick(rng, (1.0, 4.0, 8.0, 12.0)))
    band = Band(seed, style, key, bars, performance, step_s, rapped=name in _RAPPED_STYLES)
    return Song(seconds, tempo_bpm, name, key.name, tuple(band.parts()))


def _style_name(seed: int) -> str:
    """Deal the styles like a deck of cards in which a style lies as often as its share says."""
    cards = [name for name, style in STYLES.items() for _ in range(style.share)]
    deal, place = divmod(seed, len(cards))
    return cards[np.random.default_rng((deal, 1)).permutation(len(cards))[place]]


class Band:
    """Those who play one song; `parts()` gives what they play."""

    def __init__(self, seed: int, style: Style, key: Key, bars: Sequence[Bar],
                 performance: Performance, step_s: float, *, rapped: bool) -> None:
        self.seed, self.style, self.key, self.bars = seed, style, key, bars
        self.performance, self.step_s, self.rapped = performance, step_s, rapped
        self.ternary = bars[0].steps == 12
        rng = np.random.default_rng((seed, 2))
        self.has_drums = rng.random() < 0.963
        # Where the drums play alone all others rest, unless that is the whole song.
        tutti = [bar for bar in bars if bar.drums != "alone" or not self.has_drums]
        self.tutti = tutti or list(bars)
        home = draw_riff(rng, key, bars[0].steps)
        self.riffs = {kind: home if rng.random() < 0.5 else draw_riff(rng, key, bars[0].steps)
                      for kind in dict.fromkeys(bar.kind for bar in bars)}

    def parts(self) -> list[Part]:
        """Choose the band and let each play; a part without a note in the song is left out."""
        rng = np.random.default_rng((self.seed, 3))
        has_bass, sings = rng.random() < 0.925, rng.random() < self.style.voice
        parts, kicks = self._drums() if self.has_drums else ([], frozenset())
        parts += [self._bass(kicks)] if has_bass else []
        parts += self._voices() if sings else []
        size = max(len(parts) + 1, pick(rng, (3, 4, 4, 5, 5, 6, 6, 7, 8, 9)))
        names: list[str] = []
        while len(parts) + len(names) < size:
            others = CONFUSERS if rng.random() < 0.6 else list(PLAYERS)
            of_style = not names or rng.random() < 0.7
            name = pick(rng, self.style.players.split("|") if of_style else others)
            names += [name] if name not in names else []
        for number, name in enumerate(names):
            parts += self._player(name, number, doubled=number == 0 and size < 9)
        return [part for part in parts if part.notes]

    def _drums(self) -> tuple[list[Part], frozenset[int]]:
        """Play the drums; return their part and the steps of the bass drum."""
        rng = np.random.default_rng((self.seed, 4))
        any_kit = (0, 8, 16, 24, 25, 32, 40)
        kit = pick(rng, self.style.kits if rng.random() < 0.85 else any_kit)
        grooves = [name for name in self.style.grooves.split("|") if name]
        if self.ternary:
            waltz = self.bars[0].beat == 4
            grooves = [name for name in TERNARY_GROOVES if ("waltz" in name) == waltz]
        layers = [name for name in self.style.layers.split("|") if name]
        layers = [pick(rng, layers) for _ in range(pick(rng, (0, 0, 1, 1, 2)))] if layers else []
        layers += [pick(rng, list(LAYERS))] if rng.random() < 0.15 else []
        drummer = Drummer(rng, grooves, layers, kit=kit, step_s=self.step_s,
                          busy=float(rng.uniform(0, 1) ** 1.5))
        events = drummer.hits(self.bars)
        part = self.performance.part("drums", kit, events, is_drum=True)
        if not part.notes:      # the song fell on a passage without drums
            events = drummer.hits([dataclasses.replace(bar, drums="full") for bar in self.bars])
            part = self.performance.part("drums", kit, events, is_drum=True)
        both = DRUMS["kick"], DRUMS["kick2"]
        kicks = frozenset(round(start) for start, _, pitch, _ in events if pitch in both)
        return [part], kicks

    def _bass(self, kicks: frozenset[int]) -> Part:
        rng = np.random.default_rng((self.seed, 5))
        program = pick(rng, BASSES[pick(rng, self.style.bass.split("|"))])
        lines = self.style.lines.split("|")
        if rng.random() < 0.15:
            program, lines = int(rng.integers(32, 40)), list(BASS_LINES)
        if self.ternary:
            lines = [*TERNARY_BASS_LINES, "kick", "riff"]
        bars = self._taking_part(rng, presence=0.95)
        events = bass(rng, bars, lines, kicks=kicks, riffs=self.riffs)
        return self.performance.part("bass", program, events)

    def _voices(self) -> list[Part]:
        """Let one sing or rap, and at times another with them in the loud sections."""
        rng = np.random.default_rng((self.seed, 6))
        low = pick(rng, (45, 48, 52, 55, 57))
        manner = "rap" if self.rapped and rng.random() < 0.5 else "sung"
        bars = [bar for bar in self.tutti if bar.kind in _SUNG_KINDS] or self.tutti
        sung = melody(rng, bars, self.key, low=low, high=low + pick(rng, (14, 17, 19)),
                      manner=manner)
        program = pick(rng, VOICES)
        vibrato = float(rng.uniform(0.1, 0.6))
        parts = [self.performance.part("vocals", program, sung, vibrato=vibrato)]
        if rng.random() < 0.3:
            second = harmonised(sung, self.key, steps=pick(rng, (-2, 2, 2, -3)))
            loud = {bar.start // bar.steps for bar in bars if bar.level > 0.75}
            second = [event for event in second if event[0] // self.bars[0].steps in loud]
            parts.append(self.performance.part("second voice", pick(rng, (52, 53, program)), second,
                                               vibrato=vibrato / 2))
        return parts

    def _player(self, name: str, number: int, *, doubled: bool) -> list[Part]:
        """Let one play, at times along with a second who plays the same on another instrument."""
        rng = np.random.default_rng((self.seed, 7, number))
        player = PLAYERS[name]
        program = pick(rng, player.programs)
        if rng.random() < 0.1:      # an unheard-of sound; from 112 on they are drums and noises
            program = pick(rng, [number for number in range(112)
                                 if number // 8 != 4 and number not in VOICES])
        # The first is always there, so that a passage without drums is no silence.
        presence = 2.0 if number == 0 else pick(rng, (0.45, 0.7, 0.9))
        loud = player.loud * float(rng.uniform(0.82, 1.1))
        events = [(start, length, pitch, loud * velocity) for start, length, pitch, velocity
                  in self._events(rng, player, self._taking_part(rng, presence=presence))]
        bent = player.plays in ("lead", "solo")
        vibrato = float(rng.uniform(0, 0.5)) if bent else None
        parts = [self.performance.part(name, program, events, vibrato=vibrato)]
        if doubled and rng.random() < 0.3:
            program = pick(rng, player.programs)
            parts.append(self.performance.part(f"{name} 2", program, events, vibrato=vibrato))
        return parts

    def _events(self, rng: np.random.Generator, player: Player,
                bars: Sequence[Bar]) -> list[Event]:
        """Let a player play the bars in the way that the table names."""
        around = int(rng.integers(player.low + 6, player.high - 5))
        low, high = player.low, player.high
        rhythms = list(TERNARY_RHYTHMS) if self.ternary else player.rhythms.split("|")
        staccato = pick(rng, (0.0, 0.0, 0.3, 0.6))
        match player.plays:
            case "chords":
                return comp(rng, bars, rhythms, lay=lambda chord: close_voicing(chord, around),
                            staccato=staccato)
            case "two hands":
                return comp(rng, bars, rhythms, lay=lambda chord: open_voicing(chord, around),
                            staccato=staccato)
            case "strum":
                return comp(rng, bars, rhythms, lay=guitar_voicing,
                            stagger=float(rng.uniform(0.006, 0.028)) / self.step_s)
            case "chop":
                return comp(rng, bars, rhythms, lay=chop_voicing, staccato=0.5,
                            stagger=float(rng.uniform(0.003, 0.01)) / self.step_s)
            case "power" | "palm":
                return power(rng, bars, rhythms, palm=player.plays == "palm")
            case "pad":
                return pad(bars, around=around, size=pick(rng, (2, 3, 4)))
            case "arpeggio":
                return arpeggio(rng, bars, around=around, pace=pick(rng, (1, 2, 2, 4 / 3, 1, 4)),
                                ring=pick(rng, (0.5, 0.95, 2.5)))
            case "lead":
                return melody(rng, bars, self.key, low=low, high=high,
                              legato=pick(rng, (0.6, 0.9, 1.0)))
            case "solo":
                return melody(rng, bars, self.key, low=low, high=high, manner="solo")
            case "unison":
                return unison(bars, self.riffs, fifths=rng.random() < 0.4,
                              octave=pick(rng, (0, 0, 12)))
            case "figure":
                return figure(rng, bars, low=low, high=high)
            case "hits":
                return hits(rng, bars, low=low, high=high)
            case "noise":
                return noise(rng, bars, low=low, high=high)
        raise ValueError(f"a player that plays {player.plays!r}: nobody here knows how")

    def _taking_part(self, rng: np.random.Generator, *, presence: float) -> list[Bar]:
        """List the bars that a player plays: whole kinds of sections, rather the loud ones."""
        kinds = {bar.kind: bar.level for bar in self.tutti}
        taken = {kind for kind, level in kinds.items() if rng.random() < presence * (0.5 + level)}
        return [bar for bar in self.tutti if bar.kind in taken] or self.tutti
