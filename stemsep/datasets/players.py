"""Those who accompany: chords struck, strummed, broken or held, riffs in unison, hits and noises.

In rhythm tables a step is a sixteenth: `X` strikes accented, `x` plainly, `-` holds on, `.` is
silent.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stemsep.datasets.form import Bar, Event
from stemsep.datasets.harmony import Chord, Key, close_voicing, fold, nearest, pick, power_voicing

RHYTHMS = {
    "whole": "X---------------", "halves": "X-------x-------", "quarters": "X---x---X---x---",
    "eighths": "X-x-X-x-X-x-X-x-", "staccato 8": "X.x.X.x.X.x.X.x.",
    "sixteenths": "XxxxXxxxXxxxXxxx", "back": "....X.......X...", "skank": "..X...X...X...X.",
    "skank 16": "..Xx..Xx..Xx..Xx", "charleston": "X-....X-........",
    "anticipate": "..........X-x-..", "push": "X-----X---------", "pop": "X-----x-----x---",
    "tresillo": "X--x--x-X--x--x-", "folk": "X---x-x-..x-x-x-", "campfire": "X---X-xx..xxX-xx",
    "funk": "x.xX..x.x..Xx.x.", "funk 2": "..x.X..x..x.X.xx", "chank": "....X.......X.x.",
    "bossa": "X-.x-.x-..x-.x-.", "montuno": "X-x-.x-x.x-x.x-x", "stab": "X...............",
    "stabs": "X..x......x.....", "offs": "..x-..x-..x-..x-", "gallop": "X-xxX-xxX-xxX-xx",
    "chug": "XxxxX.xxXxxxX.xx", "chug 8": "X.x.x.x.X.x.x.x.", "djent": "X..x..X.x..x..Xx",
    "syncopated": "x--x--x---x-x---", "house": "..X.x..X..X...x.", "rave": "X..X..X..X..X.X.",
    "comp": "..x-..X-.....x-.", "comp 2": "X-....x-..X-....", "train": "x.X.x.X.x.X.x.X.",
    "rest": "................",
}
TERNARY_RHYTHMS = {
    "whole": "X-----------", "waltz": "....x---x---", "six": "X-x-x-X-x-x-",
    "halves": "X-----x-----", "six back": "......X-----", "six push": "X---x-X---x-",
    "six 16": "XxxxxxXxxxxx", "three": "X---x---x---",
}
_ORDERS = ([0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3, 2, 1], [0, 2, 1, 2], [0, 2, 1, 3],
           [0, 3, 1, 3, 2, 3], [0, 0, 3, 0, 2, 0, 1, 0])
_FORCE = {"X": 1.12, "x": 0.94}


def strokes(table: str) -> list[tuple[int, int, str]]:
    """Read a table's strokes as (step, steps until the next stroke or rest, letter)."""
    found = []
    for step, letter in enumerate(table):
        if letter not in "-.":
            held = len(table[step + 1:]) - len(table[step + 1:].lstrip("-"))
            found.append((step, 1 + held, letter))
    return found


def _rhythm(name: str, bar: Bar) -> list[tuple[int, int, str]]:
    table = TERNARY_RHYTHMS if bar.steps == 12 else RHYTHMS
    return strokes(table[name])


def comp(rng: np.random.Generator, bars: Sequence[Bar], rhythms: Sequence[str], *,
         lay: Callable[[Chord], list[int]], staccato: float = 0.0,
         stagger: float = 0.0) -> list[Event]:
    """Strike chords in a rhythm.

    lay: turns a chord into pitches. staccato: share of each note's length that is silent. stagger:
    steps between the strings of a strum, 0 for keys.
    """
    chosen: dict[str, str] = {}
    home = pick(rng, rhythms)
    events: list[Event] = []
    for bar in bars:
        if bar.kind not in chosen:
            chosen[bar.kind] = home if rng.random() < 0.5 else pick(rng, rhythms)
        for step, length, letter in _rhythm(chosen[bar.kind], bar):
            if rng.random() < 0.03:
                continue
            pitches = lay(bar.chord_at(step))
            loud = 88 * _FORCE[letter]
            if stagger and step % 4 == 2:       # an up stroke: softer, the high strings first
                pitches, loud = pitches[-4:][::-1], 0.9 * loud
            held = max(0.3, length * (1 - staccato) - 0.1)
            events += [(bar.start + step + place * stagger, held, pitch, loud)
                       for place, pitch in enumerate(pitches)]
    return events


def pad(bars: Sequence[Bar], *, around: int, size: int) -> list[Event]:
    """Hold each chord while it lasts, its tones close to those before."""
    events: list[Event] = []
    centre = around
    for bar in bars:
        for first, length, chord in bar.spans():
            pitches = close_voicing(chord, centre, size)
            centre = (around + round(sum(pitches) / len(pitches))) // 2
            events += [(bar.start + first, length - 0.05, pitch, 78.0) for pitch in pitches]
    return _tied(events)


def _tied(events: Sequence[Event]) -> list[Event]:
    """Tie notes of one pitch that follow each other without a gap, up to four bars long."""
    open_notes: dict[int, Event] = {}
    whole: list[Event] = []
    for start, length, pitch, loud in events:
        before = open_notes.get(pitch)
        if before and start - before[0] - before[1] < 0.2 and start - before[0] < 48:
            open_notes[pitch] = before[0], start + length - before[0], pitch, loud
            continue
        whole += [before] if before else []
        open_notes[pitch] = start, length, pitch, loud
    return whole + list(open_notes.values())


def arpeggio(rng: np.random.Generator, bars: Sequence[Bar], *, around: int, pace: float,
             ring: float) -> list[Event]:
    """Break chords: a note every `pace` steps that rings for `ring` times as long.

    The order of the tones is drawn once for each kind of section.
    """
    orders: dict[str, list[int]] = {}
    events = []
    for bar in bars:
        if bar.kind not in orders:
            made_up = [int(tone) for tone in rng.integers(0, 6, 8)]
            orders[bar.kind] = made_up if rng.random() < 0.2 else pick(rng, _ORDERS)
        order = orders[bar.kind]
        for place in range(int(bar.steps / pace)):
            step = place * pace
            low = close_voicing(bar.chord_at(step), around, 3)
            pitches = [*low, *(pitch + 12 for pitch in low)]
            if rng.random() >= 0.04:
                events.append((bar.start + step, pace * ring,
                               pitches[order[place % len(order)] % len(pitches)],
                               92.0 if step % bar.beat == 0 else 78.0))
    return events


def power(rng: np.random.Generator, bars: Sequence[Bar], rhythms: Sequence[str], *,
          palm: bool) -> list[Event]:
    """Play power chords: held, or chugged with the palm on the strings between accents."""
    chosen: dict[str, str] = {}
    events: list[Event] = []
    lowest = pick(rng, (40, 40, 38, 36, 33))       # standard tuning, or tuned down
    for bar in bars:
        if bar.kind not in chosen:
            chosen[bar.kind] = pick(rng, rhythms)
        for step, length, letter in _rhythm(chosen[bar.kind], bar):
            pitches = power_voicing(bar.chord_at(step), lowest)
            muted = palm and letter == "x"
            if muted and rng.random() < 0.5:
                pitches = pitches[:1]
            held, loud = (0.55, 84.0) if muted else (length - 0.08, 104.0)
            events += [(bar.start + step + 0.04 * place, held, pitch, loud)
                       for place, pitch in enumerate(pitches)]
    return events


def draw_riff(rng: np.random.Generator, key: Key, steps: int) -> list[Event]:
    """Make up a riff over one or two bars of `steps` steps: few low pitches of the scale."""
    scale = key.pitches(40, 58)
    tonic = 38 + (key.tonic - 38) % 12
    total = steps * pick(rng, (1, 1, 2))
    pace = pick(rng, ((2, 2, 1, 1), (2, 2, 4), (1, 1, 2, 3), (3, 3, 2), (2,)))
    events: list[Event] = []
    step = 0
    while step < total:
        length = min(pick(rng, pace), total - step)
        if rng.random() > 0.15 or step == 0:
            pitch = tonic if step == 0 or rng.random() < 0.4 else pick(rng, scale)
            events.append((float(step), length - 0.15, pitch, 100.0))
        step += length
    return events


def unison(bars: Sequence[Bar], riffs: dict[str, list[Event]], *, fifths: bool,
           octave: int) -> list[Event]:
    """Play the band's riff, `octave` semitones up, with a fifth above each note or without."""
    return [(bar.start + step, length, pitch + octave + above, loud)
            for bar in bars for step, length, pitch, loud in riff_in(bar, riffs)
            for above in ((0, 7) if fifths else (0,))]


def riff_in(bar: Bar, riffs: dict[str, list[Event]]) -> list[Event]:
    """List the notes that the section's riff has in this bar, their steps counted within it."""
    riff = riffs[bar.kind]
    two_bars = riff[-1][0] >= bar.steps
    first = bar.steps * (bar.number % 2) if two_bars else 0
    return [(step - first, length, pitch, loud) for step, length, pitch, loud in riff
            if first <= step < first + bar.steps]


def hits(rng: np.random.Generator, bars: Sequence[Bar], *, low: int, high: int) -> list[Event]:
    """Strike roots and fifths now and then, most where sections begin, at times a roll: timpani."""
    events: list[Event] = []
    for bar in bars:
        pitch = fold(nearest(bar.chords[0][1].root, (low + high) // 2), low, high)
        if bar.number == 0 or rng.random() < 0.3:
            events.append((bar.start, 4.0, pitch, 104.0))
            if rng.random() < 0.5:
                events.append((bar.start + 2 * bar.beat, 3.0, fold(pitch + 7, low, high), 88.0))
        if bar.last and rng.random() < 0.35:
            first = bar.start + bar.steps - 8
            events += [(first + step / 2, 0.5, pitch, 50.0 + 4 * step) for step in range(14)]
    return events


def noise(rng: np.random.Generator, bars: Sequence[Bar], *, low: int, high: int) -> list[Event]:
    """Hold single notes through a section or its last two bars: sweeps, rain, sea, applause."""
    events: list[Event] = []
    for bar in bars:
        if bar.number == (0 if rng.random() < 0.5 else max(0, bar.of - 2)):
            pitch = fold(nearest(bar.chords[0][1].root, (low + high) // 2), low, high)
            length = bar.steps * min(4, bar.of - bar.number)
            events.append((bar.start, length, pitch, 80.0))
    return events
