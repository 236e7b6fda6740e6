"""Single lines: sung melodies, leads, solos and plucked figures, and how a voice or a string bends its notes."""

from collections.abc import Sequence

import numpy as np

from stemsep.datasets.form import Bar, Event
from stemsep.datasets.harmony import Key, nearest, pick
from stemsep.datasets.score import Bend, Note

# Lengths of a phrase's notes in steps, drawn from one of these and cut at the phrase's end.
_SUNG = ((2, 2, 4), (2, 2, 2, 4, 6), (4, 4, 8), (1, 1, 2, 2, 4), (3, 3, 2), (4, 2, 2, 8), (6, 2), (8, 8, 12))
_SOLO = ((1, 1, 1, 2), (2, 2, 1, 1), (1,), (2 / 3, 2 / 3, 2 / 3, 2), (4 / 3,), (2, 4, 1), (0.5, 0.5, 1, 2), (3, 1))

# Intervals between neighbouring notes in scale steps, with the most usual ones most often.
_STEPS = (-1, -1, -1, 1, 1, 1, 0, 0, -2, 2, 2, -2, 3, -3, 4, -4, 5)


def melody(rng: np.random.Generator, bars: Sequence[Bar], key: Key, *, low: int, high: int,
           solo: bool = False, legato: float = 0.92) -> list[Event]:
    """Sing or solo within low..high: phrases of two bars that come back, altered, within a kind of section.

    Notes lie in the key's scale; those on a beat move to the nearest tone of the chord.
    """
    scale = key.pitches(low, high)
    phrases: dict[tuple[str, int], list[tuple[float, float, int]]] = {}
    rest = pick(rng, (0.0, 0.05, 0.15, 0.3))
    events: list[Event] = []
    place = len(scale) // 2
    for bar in bars:
        name = bar.kind, pick(rng, (0, 0, 1)) if bar.number // 2 % 2 == 0 else bar.number // 2 % 4
        if bar.number % 2 == 0:
            phrase = phrases.get(name)
            if phrase is None or solo:
                phrase = phrases[name] = _phrase(rng, 2 * bar.steps, solo=solo, rest=rest)
            place = int(np.clip(place, len(scale) // 4, 3 * len(scale) // 4))
        first = bar.steps * (bar.number % 2)
        for step, length, move in phrase:
            if not first <= step < first + bar.steps:
                continue
            place += move if 0 <= place + move < len(scale) else -move
            place = max(0, min(len(scale) - 1, place))
            pitch, inside = scale[place], step - first
            if inside % bar.beat == 0 and (not solo or inside == 0):
                chord = bar.chord_at(inside)
                pitch = min((nearest((chord.root + tone) % 12, pitch) for tone in chord.tones),
                            key=lambda tone: abs(tone - pitch))
                pitch = pitch + 12 if pitch < low else pitch - 12 if pitch > high else pitch
            loud = 84 + 14 * (inside % bar.beat == 0) + 10 * bar.level
            events.append((bar.start + inside, max(0.3, length * legato), pitch, loud))
    return events


def _phrase(rng: np.random.Generator, steps: int, *, solo: bool, rest: float) -> list[tuple[float, float, int]]:
    """Draw a phrase as (step, length, move in the scale)."""
    lengths = pick(rng, _SOLO if solo else _SUNG)
    step = float(pick(rng, (0, 0, 0, 2, 4, 6)))
    end = steps - pick(rng, (0, 2, 4, 6, 8))
    phrase = []
    while step < end:
        length = min(pick(rng, lengths), end - step)
        if rng.random() >= rest:
            phrase.append((step, length, pick(rng, _STEPS)))
        step += length
    if phrase and not solo:         # the last note is held
        first, _, move = phrase[-1]
        phrase[-1] = first, min(8.0, steps - first), move
    return phrase


def harmonised(events: list[Event], key: Key, *, thirds: int) -> list[Event]:
    """A second voice below or above a melody, `thirds` scale steps away."""
    scale = key.pitches(24, 108)
    doubled = []
    for start, length, pitch, loud in events:
        place = int(np.searchsorted(scale, pitch)) + thirds
        doubled.append((start, length, scale[max(0, min(len(scale) - 1, place))], loud * 0.85))
    return doubled


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
        for at, tone in [(turn + step, tone) for turn in range(0, bar.steps, length) for step, tone in cell]:
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
    cell = [(step, int(rng.integers(0, 8))) for step in range(0, length, pace) if rng.random() < busy]
    return length, cell or [(0, 0)]


def expression(rng: np.random.Generator, notes: Sequence[Note], *, depth: float) -> list[Bend]:
    """Bend single-voiced notes as a singer does: slides into some, vibrato on long ones.

    depth: semitones of the vibrato at full swing.
    """
    rate_hz = rng.uniform(4.6, 6.4)
    slide_share = rng.uniform(0.05, 0.5)
    bends: list[Bend] = []
    for note in notes:
        if rng.random() < slide_share:
            from_semitones = pick(rng, (-1.0, -2.0, -0.5, 0.5, -1.0))
            slide_s = min(0.4 * (note.end_s - note.start_s), rng.uniform(0.04, 0.16))
            bends += [Bend(note.start_s + slide_s * share, from_semitones * (1 - share))
                      for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
        calm_s = rng.uniform(0.15, 0.4)
        if note.end_s - note.start_s > calm_s + 0.2:
            times_s = np.arange(note.start_s + calm_s, note.end_s - 0.03, 0.03)
            grown = np.minimum(1.0, (times_s - times_s[0]) / 0.4)
            swing = depth * grown * np.sin(2 * np.pi * rate_hz * (times_s - times_s[0]))
            bends += [Bend(time_s, semitones) for time_s, semitones in zip(times_s.tolist(), swing.tolist())]
            bends.append(Bend(note.end_s - 0.001, 0.0))
    return sorted(bends, key=lambda bend: bend.time_s)
