"""Compose songs: a number becomes a song of many parts, for training on music that nobody has to download."""

from collections.abc import Sequence

import numpy as np

from stemsep.datasets import melody, players
from stemsep.datasets.drummer import Drummer
from stemsep.datasets.form import Bar, Clock, Event, Meter, draw_form
from stemsep.datasets.grooves import DRUMS, TERNARY_GROOVES
from stemsep.datasets.harmony import Key, draw_key, pick
from stemsep.datasets.score import Note, Part, Song
from stemsep.datasets.styles import BASSES, PLAYERS, STYLES, VOICES, Player, Style

_SHORTEST_S = 0.02      # of a note, and between two strokes of one pitch
# Struck and plucked parts are what a drum separator mistakes for drums, so every style may get one.
_CONFUSERS = ("mallet", "figure mallet", "xylophone", "pizzicato", "kalimba", "timpani", "chops", "pluck", "stab",
              "clavinet", "orchestra hits", "string stabs", "harpsichord", "picked", "montuno")
_SUNG_KINDS = ("verse", "chorus", "lift", "bridge", "outro")


def compose(seed: int, seconds: float) -> Song:
    """Compose a song of `seconds` seconds; the same arguments give an equal song.

    It begins anywhere in an imagined longer song. About 96 of 100 songs have drums, 92 a bass, half a voice.
    """
    rng = np.random.default_rng((seed, 0))
    name = pick(rng, list(STYLES))
    style = STYLES[name]
    meter = pick(rng, (Meter(12, 4), Meter(12, 6))) if rng.random() < style.ternary else Meter()
    tempo_bpm = round(float(rng.uniform(*style.tempo)), 2)
    family = pick(rng, style.families.split("|"))
    key = draw_key(rng, family)
    skipped = float(rng.uniform(0, 1.5 * meter.steps)) if rng.random() < 0.5 else -float(rng.uniform(0.05, 2))
    steps = max(0.0, skipped) + seconds * tempo_bpm / 15 * 1.05 + meter.steps
    bars = draw_form(rng, meter, key.tonic, family, steps=steps)
    clock = Clock.draw(rng, tempo_bpm=tempo_bpm, steps=bars[-1].start + meter.steps, drift=style.drift,
                       swing=0.0 if meter.beat == 6 else float(rng.uniform(*style.swing)), unit=style.unit)
    stage = Stage(seed, seconds, style, meter, tempo_bpm, key, bars, clock, skipped)
    return Song(seconds, tempo_bpm, name, key.name, tuple(stage.parts()))


class Stage:
    """All that the players of one song share; `parts()` lets them play."""

    def __init__(self, seed: int, seconds: float, style: Style, meter: Meter, tempo_bpm: float, key: Key,
                 bars: list[Bar], clock: Clock, skipped: float) -> None:
        self.seed, self.seconds, self.style, self.meter, self.key = seed, seconds, style, meter, key
        self.bars, self.clock, self.step_s = bars, clock, 15 / tempo_bpm
        self.origin_s = float(clock.seconds(np.array([0.0]))[0]) + skipped * self.step_s
        rng = self.rng = np.random.default_rng((seed, 1))
        exact = style.drift == 0 and rng.random() < 0.7
        self.looseness_s = 0.0 if exact else pick(rng, (0.0, 0.003, 0.006, 0.01, 0.015))
        self.velocity_spread = pick(rng, (1.0, 4.0, 8.0, 12.0))
        self.riffs = self._riffs()

    def parts(self) -> list[Part]:
        """Choose the band and let each play; a part without a note in the song is left out."""
        rng = self.rng
        has_drums, has_bass = rng.random() < 0.965, rng.random() < 0.93
        has_voice = rng.random() < self.style.voice
        size = pick(rng, (3, 4, 4, 5, 5, 6, 6, 7, 8, 9))
        parts: list[Part | None] = []
        drum_events = self._drums() if has_drums else []
        if has_drums:
            parts.append(self._part("drums", self.kit, drum_events, is_drum=True))
        kicks = frozenset(round(start) for start, _, pitch, _ in drum_events if pitch == DRUMS["kick"])
        if has_bass:
            parts.append(self._bass(kicks))
        if has_voice:
            parts += self._voices()
        wanted = max(1, size - len(parts))
        names: list[str] = []
        pool = self.style.players.split("|")
        while len(names) < wanted:
            choices = pool if rng.random() < 0.72 else _CONFUSERS if rng.random() < 0.6 else list(PLAYERS)
            choice = pick(rng, choices)
            if choice not in names:
                names.append(choice)
        for number, chosen in enumerate(names):
            parts.append(self._player(np.random.default_rng((self.seed, 10 + number)), chosen))
        return [part for part in parts if part is not None and part.notes]

    def _riffs(self) -> dict[str, list[Event]]:
        home = players.draw_riff(self.rng, self.key, self.meter.steps)
        return {kind: home if self.rng.random() < 0.5 else players.draw_riff(self.rng, self.key, self.meter.steps)
                for kind in dict.fromkeys(bar.kind for bar in self.bars)}

    def _drums(self) -> list[Event]:
        rng = np.random.default_rng((self.seed, 2))
        self.kit = pick(rng, self.style.kits) if rng.random() < 0.85 else pick(rng, (0, 8, 16, 24, 25, 32, 40))
        grooves = [groove for groove in self.style.grooves.split("|") if groove]
        if self.meter.steps == 12:
            grooves = [groove for groove in TERNARY_GROOVES if ("waltz" in groove) == (self.meter.beat == 4)]
        layers = [layer for layer in self.style.layers.split("|") if layer]
        taken = [pick(rng, layers) for _ in range(pick(rng, (0, 0, 1, 1, 2)))] if layers else []
        drummer = Drummer(rng, grooves, taken, kit=self.kit, step_s=self.step_s, busy=float(rng.uniform(0, 1) ** 1.5))
        events = drummer.hits(self.bars)
        if not self._heard(events):     # the song fell on a passage without drums
            loud = [Bar(**{**_fields(bar), "drums": "full"}) for bar in self.bars]
            events = drummer.hits(loud)
        return events

    def _bass(self, kicks: frozenset[int]) -> Part | None:
        rng = np.random.default_rng((self.seed, 3))
        program = pick(rng, BASSES[pick(rng, self.style.bass.split("|"))])
        lines = self.style.lines.split("|")
        if rng.random() < 0.15:
            program, lines = int(rng.integers(32, 40)), list(players.BASS_LINES)
        if self.meter.steps == 12:
            lines = [*players.TERNARY_BASS_LINES, "kick", "riff"]
        bars = self._active(rng, presence=0.9)
        return self._part("bass", program, players.bass(rng, bars, lines, kicks=kicks, riffs=self.riffs))

    def _voices(self) -> list[Part | None]:
        rng = np.random.default_rng((self.seed, 4))
        low = pick(rng, (45, 48, 52, 55, 57))
        bars = [bar for bar in self._sounding() if bar.kind in _SUNG_KINDS] or self._sounding()
        sung = melody.melody(rng, bars, self.key, low=low, high=low + pick(rng, (14, 17, 19)))
        program = pick(rng, VOICES)
        parts = [self._part("vocals", program, sung, vibrato=float(rng.uniform(0.1, 0.6)))]
        if rng.random() < 0.3:
            chorus = [event for event in sung if self._bar_at(event[0]).level > 0.75]
            second = melody.harmonised(chorus, self.key, thirds=pick(rng, (-2, 2, 2, -3)))
            parts.append(self._part("second voice", pick(rng, (52, 53, program)), second, vibrato=0.2))
        return parts

    def _player(self, rng: np.random.Generator, name: str) -> Part | None:
        player = PLAYERS[name]
        program = pick(rng, player.programs)
        if rng.random() < 0.1:      # an unheard-of sound for this role; 112 and above are drums and noises
            program = pick(rng, [number for number in range(112) if number // 8 != 4 and number not in VOICES])
        presence = 1.0 if player.plays in ("hits", "noise") else pick(rng, (0.45, 0.7, 0.9))
        bars = self._active(rng, presence=presence)
        events = self._events(rng, player, bars)
        loud = player.loud * float(rng.uniform(0.82, 1.1))
        vibrato = float(rng.uniform(0, 0.5)) if player.plays in ("lead", "solo") else None
        return self._part(name, program, [(*event[:3], event[3] * loud) for event in events], vibrato=vibrato)

    def _events(self, rng: np.random.Generator, player: Player, bars: Sequence[Bar]) -> list[Event]:
        """Let a player play the bars in the way the table names."""
        around = int(rng.integers(player.low + 6, max(player.low + 7, player.high - 6)))
        register = {"low": player.low, "high": player.high}
        rhythms = player.rhythms.split("|")
        if self.meter.steps == 12:
            rhythms = list(players.TERNARY_RHYTHMS)
        staccato = pick(rng, (0.0, 0.0, 0.3, 0.6))
        match player.plays:
            case "chords" | "two hands":
                lay = players.keys(around, wide=player.plays == "two hands")
                return players.comp(rng, bars, rhythms, lay=lay, staccato=staccato)
            case "strum":
                stagger = float(rng.uniform(0.006, 0.028)) / self.step_s
                return players.comp(rng, bars, rhythms, lay=players.guitar, stagger=stagger)
            case "chop":
                stagger = float(rng.uniform(0.003, 0.01)) / self.step_s
                return players.comp(rng, bars, rhythms, lay=players.chop, staccato=0.5, stagger=stagger)
            case "power" | "palm":
                return players.power(rng, bars, rhythms, palm=player.plays == "palm")
            case "pad":
                return players.pad(bars, around=around, size=pick(rng, (2, 3, 4)))
            case "arpeggio":
                pace = pick(rng, (1.0, 2.0, 2.0, 4 / 3, 1.0, 4.0))
                return players.arpeggio(rng, bars, around=around, pace=pace, ring=pick(rng, (0.5, 0.95, 2.5)))
            case "figure":
                return melody.figure(rng, bars, **register)
            case "lead":
                return melody.melody(rng, bars, self.key, legato=pick(rng, (0.6, 0.9, 1.0)), **register)
            case "solo":
                return melody.melody(rng, bars, self.key, solo=True, **register)
            case "unison":
                return players.unison(bars, self.riffs, fifths=rng.random() < 0.4, octave=pick(rng, (0, 0, 12)))
            case "hits":
                return players.hits(rng, bars, **register)
            case "noise":
                return players.noise(rng, bars, **register)
        raise ValueError(f"player {player}: nobody knows how to play {player.plays!r}")

    def _sounding(self) -> list[Bar]:
        """List the bars that are not the drummer's alone."""
        return [bar for bar in self.bars if bar.drums != "alone"]

    def _active(self, rng: np.random.Generator, *, presence: float) -> list[Bar]:
        """List the bars in which a player takes part: a decision for each kind of section, the loud ones first."""
        kinds = dict.fromkeys(bar.kind for bar in self.bars)
        level = {bar.kind: bar.level for bar in self.bars}
        taking = {kind for kind in kinds if rng.random() < presence * (0.55 + 0.6 * level[kind])}
        return [bar for bar in self._sounding() if bar.kind in taking] or self._sounding()

    def _bar_at(self, step: float) -> Bar:
        return self.bars[int(np.clip(step // self.meter.steps, 0, len(self.bars) - 1))]

    def _heard(self, events: list[Event]) -> bool:
        starts_s = self.clock.seconds(np.array([event[0] for event in events])) - self.origin_s if events else np.array([])
        return bool(np.any((starts_s >= 0) & (starts_s < self.seconds - _SHORTEST_S)))

    def _part(self, name: str, program: int, events: list[Event], *, is_drum: bool = False,
              vibrato: float | None = None) -> Part | None:
        """Perform events: human timing and force, seconds instead of steps, cut to the song."""
        if not events:
            return None
        rng = np.random.default_rng((self.seed, 5, sum(map(ord, name))))
        start, length, pitch, loud = np.array(sorted(events)).T
        pitch = np.clip(pitch, 0, 127).astype(int)
        level = np.array([bar.level for bar in self.bars])
        bar = np.clip(start // self.meter.steps, 0, len(self.bars) - 1).astype(int)
        bias_s = rng.normal(0, 0.7 * self.looseness_s, 128 if is_drum else 1)
        late_s = rng.normal(0, self.looseness_s, len(start)) + (bias_s[pitch] if is_drum else bias_s[0])
        start_s = self.clock.seconds(start) - self.origin_s + late_s
        end_s = np.minimum(self.clock.seconds(start + length) - self.origin_s + late_s, self.seconds)
        velocity = loud * (0.74 + 0.32 * level[bar]) + rng.normal(0, self.velocity_spread, len(start))
        velocity = np.clip(np.rint(velocity), 6, 127).astype(int)
        # What began before the song is heard from its first moment, unless it is a stroke that has passed.
        lasting = (start_s >= 0) | ((end_s > 0.25) & (not is_drum))
        start_s = np.maximum(start_s, 0.0)
        kept = lasting & (start_s < self.seconds - _SHORTEST_S)
        order = np.lexsort((pitch, start_s))
        order = order[kept[order]]
        notes = _separated(start_s[order].tolist(), np.maximum(end_s, start_s + _SHORTEST_S)[order].tolist(),
                           pitch[order].tolist(), velocity[order].tolist())
        bends = () if vibrato is None else tuple(melody.expression(rng, notes, depth=vibrato))
        return Part(name, program, is_drum, tuple(notes), bends)


def _fields(bar: Bar) -> dict:
    return {name: getattr(bar, name) for name in Bar.__slots__}


def _separated(starts_s: list[float], ends_s: list[float], pitches: list[int], velocities: list[int]) -> list[Note]:
    """Make notes of which no two of one pitch overlap: a new stroke ends the one before, as on a string."""
    sounding: dict[int, int] = {}
    kept: list[int] = []
    for index, (start_s, pitch) in enumerate(zip(starts_s, pitches)):
        before = sounding.get(pitch)
        if before is not None:
            if start_s - starts_s[before] < _SHORTEST_S:
                continue
            ends_s[before] = min(ends_s[before], start_s)
        sounding[pitch] = index
        kept.append(index)
    return [Note(starts_s[index], ends_s[index], pitches[index], velocities[index]) for index in kept]
