"""Single lines: sung melodies, raps, leads, solos and plucked or struck figures."""

from collections.abc import Sequence

import numpy as np

from stemsep.datasets.form import Bar, Event
from stemsep.datasets.harmony import Key, nearest, pick

# Lengths of a phrase's notes in steps, drawn from one of these and cut at the phrase's end.
_LENGTHS: dict[str, tuple[tuple[float, ...], ...]] = {
    "sung": ((2, 2, 4), (2, 2, 2, 4, 6), (4, 4, 8), (1, 1, 2, 2, 4), (3, 3, 2), (4, 2, 2, 8),
             (6, 2), (8, 8, 12), (2,), (2, 1, 1, 4)),
    "rap": ((1, 1, 2), (1,), (1, 1, 1, 2), (2, 1, 1), (4 / 3, 4 / 3, 4 / 3, 2)),
    "solo": ((1, 1, 1, 2), (2, 2, 1, 1), (1,), (2 / 3, 2 / 3, 2 / 3, 2), (4 / 3,), (2, 4, 1),
             (0.5, 0.5, 1, 2), (3, 1)),
}

# Intervals between neighbouring notes in scale steps, the usual ones most often.
_MOVES = {
    "sung": (-1, -1, -1, 1, 1, 1, 0, 0, -2, 2, 2, -2, 3, -3, 4, -4, 5),
    "rap": (0, 0, 0, 0, 0, 1, -1, 0, 0, 2, -2),
    "solo": (-1, -1, 1, 1, -1, 1, 2, -2, 0, 3, -3, 4, -4, 7),
}
_Phrase = list[tuple[float, float, int]]        # step, length, move in the scale


def melody(rng: np.random.Generator, bars: Sequence[Bar], key: Key, *, low: int, high: int,
           manner: str = "sung", legato: float = 0.92) -> list[Event]:
    """Sing, rap or solo within low..high, in phrases of two bars.

    Phrases come back within a kind of section, except in solos. Notes lie in the key's scale; those
    on a beat move to the nearest tone of the chord. legato: sounding share of a note's length.
    """
    scale = key.pitches(low, high)
    phrases: dict[tuple[str, int], _Phrase] = {}
    rest = pick(rng, (0.0, 0.05, 0.15, 0.3))
    phrase: _Phrase = []
    events: list[Event] = []
    place = len(scale) // 2
    for bar in bars:
        if bar.number % 2 == 0:
            name = bar.kind, bar.number // 2 % 4 if bar.number % 4 else pick(rng, (0, 0, 1))
            if name not in phrases or manner == "solo":
                phrases[name] = _phrase(rng, 2 * bar.steps, manner=manner, rest=rest)
            phrase = phrases[name]
            place = int(np.clip(place, len(scale) // 4, 3 * len(scale) // 4))
        first = bar.steps * (bar.number % 2)
        for step, length, move in phrase:
            inside = step - first
            if not 0 <= inside < bar.steps:
                continue
            place += move if 0 <= place + move < len(scale) else -move
            place = max(0, min(len(scale) - 1, place))
            on_beat = inside % bar.beat == 0
            pitch = scale[place]
            if on_beat and (manner != "solo" or inside == 0):
                pitch = _chord_tone(bar, inside, pitch, low=low, high=high)
            events.append((bar.start + inside, max(0.3, length * legato), pitch,
                           84 + 14 * on_beat + 10 * bar.level))
    return events


def _phrase(rng: np.random.Generator, steps: int, *, manner: str, rest: float) -> _Phrase:
    lengths = pick(rng, _LENGTHS[manner])
    step = float(pick(rng, (0, 0, 0, 2, 4, 6)))
    end = steps - pick(rng, (0, 2, 4, 6, 8))
    phrase: _Phrase = []
    while step < end:
        length = min(pick(rng, lengths), end - step)
        if rng.random() >= rest:
            phrase.append((step, length, pick(rng, _MOVES[manner])))
        step += length
    if phrase and manner == "sung":         # the last note is held
        first, _, move = phrase[-1]
        phrase[-1] = first, min(8.0, steps - first), move
    return phrase


def _chord_tone(bar: Bar, step: float, pitch: int, *, low: int, high: int) -> int:
    chord = bar.chord_at(step)
    tones = [nearest((chord.root + tone) % 12, pitch) for tone in chord.tones]
    found = min(tones, key=lambda tone: abs(tone - pitch))
    return found + 12 if found < low else found - 12 if found > high else found


def harmonised(events: Sequence[Event], key: Key, *, steps: int) -> list[Event]:
    """Write a second voice below or above a melody, `steps` of the scale away."""
    scale = key.pitches(24, 108)
    places = [int(np.searchsorted(scale, pitch)) + steps for _, _, pitch, _ in events]
    return [(start, length, scale[place], loud * 0.85)
            for place, (start, length, _, loud) in zip(places, events)]


def figure(rng: np.random.Generator, bars: Sequence[Bar], *, low: int, high: int) -> list[Event]:
    """Repeat a short plucked or struck figure; its tones follow the chord, its rhythm stays."""
    cells: dict[str, tuple[int, list[tuple[int, int]]]] = {}        # length, then (step, tone)
    gap = pick(rng, (0.8, 1.8))
    middle = int(rng.integers(low + 6, high - 5))
    events: list[Event] = []
    for bar in bars:
        if bar.kind not in cells:
            cells[bar.kind] = _cell(rng)
        length, cell = cells[bar.kind]
        starts = range(0, bar.steps, length)
        for at, tone in [(start + step, tone) for start in starts for step, tone in cell]:
            if at < bar.steps:
                chord = bar.chord_at(at)
                pitch = nearest((chord.root + chord.tones[tone % len(chord.tones)]) % 12, middle)
                pitch += 12 if tone > 4 and pitch + 12 <= high else 0
                events.append((bar.start + at, gap, pitch, 94.0 if at % bar.beat == 0 else 82.0))
    return events


def _cell(rng: np.random.Generator) -> tuple[int, list[tuple[int, int]]]:
    length = pick(rng, (4, 6, 8, 8, 16, 3, 12))
    pace = pick(rng, (1, 2, 2, 4))
    busy = pick(rng, (0.45, 0.7, 1.0))
    cell = [(step, int(rng.integers(0, 8))) for step in range(0, length, pace)
            if rng.random() < busy]
    return length, cell or [(0, 0)]
