"""From written events to sounding notes: tempo and swing, human time and force, cut to the song."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stemsep.datasets.band import VOICES
from stemsep.datasets.form import Bar, Event
from stemsep.datasets.harmony import pick
from stemsep.datasets.score import Bend, Note, Part

_SHORTEST_S = 0.02      # of a note, and between two strokes of one pitch
_QUARTER = 4            # steps


@dataclass(frozen=True)
class Clock:
    """Turns steps into seconds: tempo, swing, and a tempo that wanders when nobody hears a click.

    quarters_s: the time of every quarter note. swing: how far an off-beat comes late, as a share of
    its distance from the beat; 1/3 gives triplets. unit: that distance, 2 steps where eighths
    swing, 1 where sixteenths do.
    """

    quarters_s: np.ndarray
    swing: float
    unit: int

    def seconds(self, steps: np.ndarray) -> np.ndarray:
        """Turn steps into seconds."""
        inside = np.mod(steps, 2 * self.unit)
        late = np.where(inside < self.unit, inside, 2 * self.unit - inside) * self.swing
        return np.interp(steps + late, np.arange(len(self.quarters_s)) * _QUARTER, self.quarters_s)


def draw_clock(rng: np.random.Generator, *, tempo_bpm: float, steps: int, drift: float,
               swing: float, unit: int) -> Clock:
    """Draw a clock for `steps` steps whose tempo wanders by about `drift` from beat to beat."""
    quarters = steps // _QUARTER + 2
    wander = np.cumsum(rng.normal(0, drift, quarters))
    wander -= np.linspace(0, wander[-1], quarters)      # comes back, so that the mean tempo stays
    lengths_s = 60 / tempo_bpm * np.exp(np.clip(wander, -0.04, 0.04))
    return Clock(np.concatenate([[0.0], np.cumsum(lengths_s)]), swing, unit)


@dataclass(frozen=True)
class Performance:
    """How one band plays: exactly or loosely, evenly or not; the same for each of its parts.

    origin_s: the clock's time at which the song begins. looseness_s: standard deviation of a
    note's time. spread: standard deviation of a note's velocity.
    """

    seed: int
    seconds: float
    bars: Sequence[Bar]
    clock: Clock
    origin_s: float
    looseness_s: float
    spread: float

    def part(self, name: str, program: int, events: Sequence[Event], *, is_drum: bool = False,
             vibrato: float | None = None) -> Part:
        """Perform events as a part, whose notes may be none.

        vibrato: depth in semitones, for a part that plays one note at a time and bends it.
        """
        rng = np.random.default_rng((self.seed, 5, *name.encode()))
        sounding = events if is_drum or program in VOICES else self._stopped(events)
        start, length, raw_pitch, loud = np.array(sorted(sounding)).reshape(-1, 4).T
        pitch = np.clip(raw_pitch, 0, 127).astype(int)
        bias_s = rng.normal(0, 0.7 * self.looseness_s, 128)     # each limb has its own habit
        late_s = rng.normal(0, self.looseness_s, len(start)) + bias_s[pitch if is_drum else 0]
        start_s = self.clock.seconds(start) - self.origin_s + late_s
        end_s = self.clock.seconds(start + length) - self.origin_s + late_s
        velocity = loud * self._force(start) + rng.normal(0, self.spread, len(start))
        # What began before the song is heard from its first moment on; strokes have passed.
        kept = (start_s >= 0) | ((end_s > 0.25) & (not is_drum))
        start_s = np.maximum(start_s, 0.0)
        kept &= start_s < self.seconds - _SHORTEST_S
        order = np.lexsort((pitch, start_s))
        order = order[kept[order]]
        end_s = np.minimum(np.maximum(end_s, start_s + _SHORTEST_S), self.seconds)
        velocity = np.clip(np.rint(velocity), 6, 127).astype(int)
        notes = _separated(start_s[order].tolist(), end_s[order].tolist(), pitch[order].tolist(),
                           velocity[order].tolist())
        bends = [] if vibrato is None else _bends(rng, notes, depth=vibrato)
        return Part(name, program, is_drum, tuple(notes), tuple(bends))

    def _stopped(self, events: Sequence[Event]) -> list[Event]:
        """Leave out what the bars in which the band stops leave silent."""
        stops = [(bar.start + bar.beat, bar.start + bar.steps) for bar in self.bars if bar.stops]
        heard: list[Event] = []
        for start, length, pitch, loud in events:
            for silent, ends in stops:
                if start < silent:
                    length = min(length, silent - start)
            if not any(silent <= start < ends for silent, ends in stops):
                heard.append((start, length, pitch, loud))
        return heard

    def _force(self, steps: np.ndarray) -> np.ndarray:
        """Return the factor on velocity that the sections' levels give at some steps."""
        levels = np.array([bar.level for bar in self.bars])
        index = np.clip(steps // self.bars[0].steps, 0, len(levels) - 1).astype(int)
        return 0.74 + 0.32 * levels[index]


def _separated(starts_s: list[float], ends_s: list[float], pitches: list[int],
               velocities: list[int]) -> list[Note]:
    """Make notes of which no two of one pitch overlap: a stroke ends the one before it."""
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
    return [Note(starts_s[index], ends_s[index], pitches[index], velocities[index])
            for index in kept]


def _bends(rng: np.random.Generator, notes: Sequence[Note], *, depth: float) -> list[Bend]:
    """Bend notes as a singer does: slide into some, swing on long ones by `depth` semitones."""
    rate_hz = rng.uniform(4.6, 6.4)
    slide_share = rng.uniform(0.05, 0.5)
    bends: list[Bend] = []
    for note in notes:
        length_s = note.end_s - note.start_s
        if rng.random() < slide_share:
            interval = pick(rng, (-1.0, -2.0, -0.5, 0.5, -1.0))
            slide_s = min(0.4 * length_s, rng.uniform(0.04, 0.16))
            bends += [Bend(note.start_s + slide_s * share, interval * (1 - share))
                      for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
        calm_s = rng.uniform(0.17, 0.4)
        if length_s > calm_s + 0.2:
            times_s = np.arange(calm_s, length_s - 0.03, 0.03)
            grown = depth * np.minimum(1.0, (times_s - calm_s) / 0.4)
            swing = grown * np.sin(2 * np.pi * rate_hz * (times_s - calm_s))
            bends += [Bend(note.start_s + time_s, semitones)
                      for time_s, semitones in zip(times_s.tolist(), swing.tolist())]
            bends.append(Bend(note.end_s - 0.001, 0.0))
    return sorted(bends, key=lambda bend: bend.time_s)
