"""Bass lines: tables of degrees over a bar, walking, with the bass drum, or the band's riff."""

from collections.abc import Sequence

import numpy as np

from stemsep.datasets.form import Bar, Event
from stemsep.datasets.harmony import fold, nearest, pick
from stemsep.datasets.players import riff_in, strokes

# A step is a sixteenth. Letters are degrees: r root, 3 third, 5 fifth, 7 seventh, 8 octave, l the
# fifth below, s the step below the third, a a note that leads to the next root; `-` holds on, `.`
# is silent.
BASS_LINES = {
    "whole": "r---------------", "halves": "r-------5-------", "quarters": "r---r---r---r---",
    "eighths": "r-r-r-r-r-r-r-r-", "eighths walk": "r-r-r-r-r-r-5-a-",
    "sixteenths": "rrrrrrrrrrrrrrrr", "push": "r-----r-r-----r-", "pop": "r-----r-5---l---",
    "ballad": "r-----5-8-----5-", "soul": "r..r..r-8..5..a-", "motown": "r-.r8-.5r-.35-a.",
    "disco": "r.8.r.8.r.8.r.8.", "disco 16": "r.r8..r8r.r8..58", "off": "..r-..r-..r-..r-",
    "gallop": "r-rrr-rrr-rrr-rr", "two beat": "r---....5---....", "country": "r---5---r---l-a-",
    "boogie": "r-r-3-3-5-5-7-7-", "rock'n'roll": "r-3-5-8-7-8-5-3-", "funk": "r.r...8.r..5.7.8",
    "slap": "r..r8..r.8r..r8.", "one drop": "....r-..5-r-3-..", "reggae": "r-..r.5-....3-5-",
    "steppers": "r..r..r.5..r..3.", "tumbao": "......5-....r---", "bossa": "r-----5-5-----r-",
    "samba": "r---5--r5---5--r", "hip-hop": "r------r--5-....", "808": "r-----------r---",
    "trap": "r------..r-r----", "electro": "r.rr.r.rr.rr.r8.", "acid": "rr8r.r7r8.r5rr3r",
    "drone": "r---------------", "arp": "r.5.8.5.r.5.8.5.", "dub": "r---..r.......5-",
    "stabs": "r...r...........", "rise": "r---3---5---s---", "latin": "r--5--8-..5-8---",
}
TERNARY_BASS_LINES = {
    "waltz": "r-----------", "six": "r-----5-----", "six eighths": "r-r-r-r-r-r-",
    "six push": "r---r-5---a-", "three": "r---5---5---", "six shuffle": "r---r-r---5-",
    "six arp": "r-3-5-8-5-3-",
}
_LOWEST, _HIGHEST = 26, 52


def bass(rng: np.random.Generator, bars: Sequence[Bar], lines: Sequence[str], *,
         kicks: frozenset[int], riffs: dict[str, list[Event]]) -> list[Event]:
    """Play one of some lines: a table's, "walking", "kick" (with the drum) or "riff" (the band's).

    kicks: the steps of the bass drum. riffs: the band's, for each kind of section.
    """
    chosen: dict[str, str] = {}
    home = pick(rng, lines)
    events: list[Event] = []
    gap = pick(rng, (0.06, 0.15, 0.4, 0.8))       # the player's habit: how early notes are let go
    for bar, after in zip(bars, [*bars[1:], bars[-1]]):
        if bar.kind not in chosen:
            chosen[bar.kind] = home if rng.random() < 0.6 else pick(rng, lines)
        line = chosen[bar.kind]
        if line == "riff":
            events += [(bar.start + step, length, fold(pitch, 28, 40), 96.0)
                       for step, length, pitch, _ in riff_in(bar, riffs)]
        elif line == "walking":
            events += _walk(rng, bar, after)
        elif line == "kick":
            table = "".join("r" if bar.start + step in kicks else "-" for step in range(bar.steps))
            events += _line(rng, bar, after, "r" + table[1:], gap=gap)
        else:
            table = BASS_LINES.get(line) or TERNARY_BASS_LINES[line]
            events += _line(rng, bar, after, table[:bar.steps], gap=gap)
    return events


def _line(rng: np.random.Generator, bar: Bar, after: Bar, table: str, *, gap: float) -> list[Event]:
    events: list[Event] = []
    for step, length, letter in strokes(table):
        chord = bar.chord_at(step)
        root = fold(24 + chord.root, 28, 39)
        tones = chord.tones
        degrees = {"r": 0, "3": tones[1], "5": 6 if 6 in tones else 7, "8": 12, "l": -5,
                   "7": tones[3] if len(tones) > 3 else 10, "s": tones[1] - 1}
        if letter == "a":
            pitch = nearest(after.chords[0][1].root, root) + pick(rng, (-1, 1, 2))
        else:
            pitch = root + degrees[letter] + 12 * (rng.random() < 0.04)
        events.append((bar.start + step, max(0.4, length - gap), fold(pitch, _LOWEST, _HIGHEST),
                       98.0 if step % 4 == 0 else 88.0))
    return events


def _walk(rng: np.random.Generator, bar: Bar, after: Bar) -> list[Event]:
    """Play a note on each quarter: a chord's root, its tones, one that leads to the next root."""
    events: list[Event] = []
    pitch = 36
    roots = {first for first, _ in bar.chords}
    for step in range(0, bar.steps, 4):
        chord = bar.chord_at(step)
        if step in roots:
            pitch = nearest(chord.root, pitch)
        elif step == bar.steps - 4:
            pitch = nearest(after.chords[0][1].root, pitch) + pick(rng, (-1, 1, 2, -2))
        else:
            upward = pick(rng, (-3, 3, 5))
            pitch = nearest((chord.root + pick(rng, chord.tones)) % 12, pitch + upward)
        pitch = fold(pitch, 28, 50)
        events.append((bar.start + step, 3.6, pitch, 92.0))
        if rng.random() < 0.15:
            events.append((bar.start + step + 2, 1.5, pitch, 74.0))
    return events
