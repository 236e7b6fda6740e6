"""Bass and chord players: each reads the bars and writes its events from patterns drawn for each kind of section.

In rhythm tables a step is a sixteenth: `X` strikes accented, `x` plainly, `-` holds on, `.` is silent.
"""

from collections.abc import Callable, Sequence

import numpy as np

from stemsep.datasets.form import Bar, Event
from stemsep.datasets.harmony import (
    Chord, Key, close_voicing, fold, guitar_voicing, nearest, open_voicing, pick, power_voicing)

# Letters are degrees: r root, 3 third, 5 fifth, 7 seventh, 8 octave, l the fifth below, a a semitone beside the
# next root, s the scale's step above the root.
BASS_LINES = {
    "whole": "r---------------", "halves": "r-------5-------", "quarters": "r---r---r---r---",
    "eighths": "r-r-r-r-r-r-r-r-", "eighths walk": "r-r-r-r-r-r-5-a-", "sixteenths": "rrrrrrrrrrrrrrrr",
    "push": "r-----r-r-----r-", "pop": "r-----r-5---l---", "ballad": "r-----5-8-----5-", "soul": "r..r..r-8..5..a-",
    "motown": "r-.r8-.5r-.35-a.", "disco": "r.8.r.8.r.8.r.8.", "disco 16": "r.r8..r8r.r8..58", "off": "..r-..r-..r-..r-",
    "gallop": "r-rrr-rrr-rrr-rr", "two beat": "r---....5---....", "country": "r---5---r---l-a-", "boogie": "r-r-3-3-5-5-7-7-",
    "rock'n'roll": "r-3-5-8-7-8-5-3-", "funk": "r.r...8.r..5.7.8", "slap": "r..r8..r.8r..r8.", "one drop": "....r-..5-r-3-..",
    "reggae": "r-..r.5-....3-5-", "steppers": "r..r..r.5..r..3.", "tumbao": "......5-....r---", "bossa": "r-----5-5-----r-",
    "samba": "r---5--r5---5--r", "hip-hop": "r------r--5-....", "808": "r-----------r---", "trap": "r------..r-r----",
    "electro": "r.rr.r.rr.rr.r8.", "acid": "rr8r.r7r8.r5rr3r", "drone": "r---------------", "arp": "r.5.8.5.r.5.8.5.",
    "dub": "r---..r.......5-", "stabs": "r...r...........", "rise": "r---3---5---s---", "latin": "r--5--8-..5-8---",
}
TERNARY_BASS_LINES = {
    "waltz": "r-----------", "six": "r-----5-----", "six eighths": "r-r-r-r-r-r-", "six push": "r---r-5---a-",
    "three": "r---5---5---", "six shuffle": "r---r-r---5-", "six arp": "r-3-5-8-5-3-",
}

RHYTHMS = {
    "whole": "X---------------", "halves": "X-------x-------", "quarters": "X---x---X---x---", "eighths": "X-x-X-x-X-x-X-x-",
    "staccato 8": "X.x.X.x.X.x.X.x.", "sixteenths": "XxxxXxxxXxxxXxxx", "back": "....X.......X...", "skank": "..X...X...X...X.",
    "skank 16": "..Xx..Xx..Xx..Xx", "charleston": "X-....X-........", "anticipate": "..........X-x-..", "push": "X-----X---------",
    "pop": "X-----x-----x---", "tresillo": "X--x--x-X--x--x-", "folk": "X---x-x-..x-x-x-", "campfire": "X---X-xx..xxX-xx",
    "funk": "x.xX..x.x..Xx.x.", "funk 2": "..x.X..x..x.X.xx", "chank": "....X.......X.x.", "bossa": "X-.x-.x-..x-.x-.",
    "montuno": "X-x-.x-x.x-x.x-x", "stab": "X...............", "stabs": "X..x......x.....", "offs": "..x-..x-..x-..x-",
    "gallop": "X-xxX-xxX-xxX-xx", "chug": "XxxxX.xxXxxxX.xx", "chug 8": "X.x.x.x.X.x.x.x.", "djent": "X..x..X.x..x..Xx",
    "syncopated": "x--x--x---x-x---", "house": "..X.x..X..X...x.", "rave": "X..X..X..X..X.X.", "comp": "..x-..X-.....x-.",
    "comp 2": "X-....x-..X-....", "train": "x.X.x.X.x.X.x.X.", "rest": "................",
}
TERNARY_RHYTHMS = {
    "whole": "X-----------", "waltz": "....x---x---", "six": "X-x-x-X-x-x-", "halves": "X-----x-----", "six back": "......X-----",
    "six push": "X---x-X---x-", "six 16": "XxxxxxXxxxxx", "three": "X---x---x---",
}

_STRIKE = {"X": 1.12, "x": 0.94}


def bass(rng: np.random.Generator, bars: Sequence[Bar], lines: Sequence[str], *, kicks: frozenset[int],
         riffs: dict[str, list[Event]]) -> list[Event]:
    """Play a bass line: a table's, or "kick" (with the bass drum), "walking" or "riff" (the band's)."""
    chosen: dict[str, str] = {}
    home = pick(rng, lines)
    events: list[Event] = []
    gap = pick(rng, (0.06, 0.15, 0.4, 0.8))       # a short or a long release, the player's habit
    for bar, after in zip(bars, [*bars[1:], bars[-1]]):
        line = chosen.setdefault(bar.kind, home if rng.random() < 0.6 else pick(rng, lines))
        if line == "riff":
            events += [(bar.start + step, length, fold(pitch, 28, 40), 96.0)
                       for step, length, pitch, _ in _riff_in(bar, riffs)]
        elif line == "walking":
            events += _walk(rng, bar, after)
        elif line == "kick":
            table = "".join("r" if bar.start + step in kicks else "-" for step in range(bar.steps))
            events += _line(rng, bar, after, "r" + table[1:], gap)
        else:
            table = BASS_LINES.get(line) or TERNARY_BASS_LINES[line]
            events += _line(rng, bar, after, table, gap)
    return events


def _line(rng: np.random.Generator, bar: Bar, after: Bar, table: str, gap: float) -> list[Event]:
    events = []
    following = after.chords[0][1].root
    for step, length, letter in strokes(table[:bar.steps]):
        chord = bar.chord_at(step)
        root = fold(24 + chord.root, 28, 39)
        tones = chord.tones
        degree = {"r": 0, "3": tones[1], "5": 6 if 6 in tones else 7, "7": tones[3] if len(tones) > 3 else 10,
                  "8": 12, "l": -5, "s": tones[1] - 1}
        if letter == "a":
            pitch = nearest(following, root) + pick(rng, (-1, 1, 2))
        else:
            pitch = root + degree[letter]
        if rng.random() < 0.04:
            pitch += 12
        events.append((bar.start + step, max(0.4, length - gap), fold(pitch, 26, 52), 98.0 if step % 4 == 0 else 88.0))
    return events


def _walk(rng: np.random.Generator, bar: Bar, after: Bar) -> list[Event]:
    """A quarter note on each beat: root, chord tones or steps, and a note that leads to the next root."""
    events: list[Event] = []
    beats = range(0, bar.steps, 4)
    pitch = 36
    for step in beats:
        chord = bar.chord_at(step)
        if any(first == step for first, _ in bar.chords):
            pitch = fold(nearest(chord.root, pitch), 28, 45)
        elif step == beats[-1]:
            pitch = nearest(after.chords[0][1].root, pitch) + pick(rng, (-1, 1, 2, -2))
        else:
            pitch = nearest((chord.root + pick(rng, chord.tones)) % 12, pitch + pick(rng, (-3, 3, 5)))
        events.append((bar.start + step, 3.6, fold(pitch, 28, 52), 92.0))
        if rng.random() < 0.15:
            events.append((bar.start + step + 2, 1.5, fold(pitch, 28, 52), 74.0))
    return events


def strokes(table: str) -> list[tuple[int, int, str]]:
    """Read a table's strokes as (step, steps until the next stroke or rest, letter)."""
    found = []
    for step, letter in enumerate(table):
        if letter not in "-.":
            held = len(table[step + 1:]) - len(table[step + 1:].lstrip("-"))
            found.append((step, 1 + held, letter))
    return found


def comp(rng: np.random.Generator, bars: Sequence[Bar], rhythms: Sequence[str],
         *, lay: Callable[[Chord], list[int]], staccato: float = 0.0, stagger: float = 0.0) -> list[Event]:
    """Strike chords in a rhythm: `lay` turns a chord into pitches, `stagger` parts the strings (steps)."""
    chosen: dict[str, str] = {}
    home = pick(rng, rhythms)
    events = []
    for bar in bars:
        name = chosen.setdefault(bar.kind, home if rng.random() < 0.5 else pick(rng, rhythms))
        table = (RHYTHMS.get(name) or TERNARY_RHYTHMS[name])[:bar.steps]
        for step, length, letter in strokes(table):
            if rng.random() < 0.03:
                continue
            pitches = lay(bar.chord_at(step))
            up = stagger > 0 and step % 4 == 2
            pitches = pitches[-4:][::-1] if up else pitches
            loud = 88 * _STRIKE[letter] * (0.9 if up else 1.0)
            held = length * (1 - staccato) if staccato else length - 0.1
            events += [(bar.start + step + place * stagger, held, pitch, loud) for place, pitch in enumerate(pitches)]
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
    return joined(events)


def joined(events: list[Event]) -> list[Event]:
    """Tie notes of one pitch that follow each other without a gap, up to four bars long."""
    ties: dict[int, Event] = {}
    whole: list[Event] = []
    for start, length, pitch, loud in events:
        before = ties.get(pitch)
        if before and 0 <= start - before[0] - before[1] < 0.2 and start - before[0] < 48:
            ties[pitch] = (before[0], start + length - before[0], pitch, loud)
            continue
        whole += [before] if before else []
        ties[pitch] = (start, length, pitch, loud)
    return whole + list(ties.values())


def arpeggio(rng: np.random.Generator, bars: Sequence[Bar], *, around: int, pace: float, ring: float) -> list[Event]:
    """Break chords into single notes, one every `pace` steps, in an order drawn once a kind of section."""
    orders: dict[str, list[int]] = {}
    events = []
    for bar in bars:
        if bar.kind not in orders:
            orders[bar.kind] = pick(rng, (
                [0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3, 2, 1], [0, 2, 1, 2], [0, 2, 1, 3], [0, 3, 1, 3, 2, 3],
                [int(tone) for tone in rng.integers(0, 5, 8)], [0, 0, 3, 0, 2, 0, 1, 0]))
        order = orders[bar.kind]
        for place in range(int(bar.steps / pace)):
            step = place * pace
            chord = bar.chord_at(step)
            pitches = close_voicing(chord, around, 3)
            pitches = [*pitches, *(pitch + 12 for pitch in pitches)]
            if rng.random() < 0.04:
                continue
            events.append((bar.start + step, pace * ring, pitches[order[place % len(order)]],
                           92.0 if step % bar.beat == 0 else 78.0))
    return events


def power(rng: np.random.Generator, bars: Sequence[Bar], rhythms: Sequence[str], *, palm: bool) -> list[Event]:
    """Distorted power chords: held, or chugged with the palm on the strings between accents."""
    chosen: dict[str, str] = {}
    events = []
    lowest = pick(rng, (40, 40, 38, 36, 33))       # standard tuning, or tuned down
    for bar in bars:
        name = chosen.setdefault(bar.kind, pick(rng, rhythms))
        for step, length, letter in strokes((RHYTHMS.get(name) or TERNARY_RHYTHMS[name])[:bar.steps]):
            pitches = power_voicing(bar.chord_at(step), lowest)
            muted = palm and letter == "x"
            held = 0.55 if muted else length - 0.08
            events += [(bar.start + step + 0.04 * place, held, pitch, 84.0 if muted else 104.0)
                       for place, pitch in enumerate(pitches[:1 if muted and rng.random() < 0.5 else 3])]
    return events


def hits(rng: np.random.Generator, bars: Sequence[Bar], *, low: int, high: int) -> list[Event]:
    """Rare strokes on roots and fifths where sections begin, at times a roll (timpani, bells, orchestra hits)."""
    events: list[Event] = []
    for bar in bars:
        chord = bar.chords[0][1]
        pitch = fold(nearest(chord.root, (low + high) // 2), low, high)
        if bar.number == 0 or rng.random() < 0.3:
            events.append((bar.start, 4.0, pitch, 104.0))
            events += [(bar.start + 8, 3.0, fold(pitch + 7, low, high), 88.0)] if bar.steps > 8 and rng.random() < 0.5 else []
        if bar.last and rng.random() < 0.35:
            events += [(bar.start + bar.steps - 8 + step / 2, 0.5, pitch, 50.0 + 4 * step) for step in range(14)]
    return events


def noise(rng: np.random.Generator, bars: Sequence[Bar], *, low: int, high: int) -> list[Event]:
    """Long single notes over a section, or over its last bars: sweeps, rain, sea, applause."""
    events = []
    for bar in bars:
        if bar.number == (0 if rng.random() < 0.5 else max(0, bar.of - 2)):
            pitch = fold(nearest(bar.chords[0][1].root, (low + high) // 2), low, high)
            events.append((float(bar.start), float(bar.steps * min(4, bar.of - bar.number)), pitch, 80.0))
    return events


def draw_riff(rng: np.random.Generator, key: Key, steps: int) -> list[Event]:
    """Make up a riff over one or two bars: few pitches of the scale above the tonic, on sixteenths."""
    scale = key.pitches(40, 58)
    tonic = nearest(key.tonic, 42)
    tonic = tonic if tonic >= 38 else tonic + 12
    total = steps * pick(rng, (1, 1, 2))
    events: list[Event] = []
    step = 0
    pace = pick(rng, ((2, 2, 1, 1), (2, 2, 4), (1, 1, 2, 3), (3, 3, 2), (2,)))
    while step < total:
        length = min(pick(rng, pace), total - step)
        if rng.random() > 0.15 or step == 0:
            pitch = tonic if step == 0 or rng.random() < 0.4 else pick(rng, scale)
            events.append((float(step), length - 0.15, pitch, 100.0))
        step += length
    return events


def unison(bars: Sequence[Bar], riffs: dict[str, list[Event]], *, fifths: bool, octave: int) -> list[Event]:
    """Play the band's riff, with a fifth above each note for distorted guitars."""
    events = []
    for bar in bars:
        for step, length, pitch, loud in _riff_in(bar, riffs):
            both = (pitch + octave, pitch + octave + 7) if fifths else (pitch + octave,)
            events += [(bar.start + step, length, sounding, loud) for sounding in both]
    return events


def _riff_in(bar: Bar, riffs: dict[str, list[Event]]) -> list[Event]:
    riff = riffs[bar.kind]
    two_bars = riff[-1][0] >= bar.steps
    first = bar.steps * (bar.number % 2) if two_bars else 0
    return [(step - first, length, pitch, loud) for step, length, pitch, loud in riff
            if first <= step < first + bar.steps]


def guitar(chord: Chord) -> list[int]:
    """Lay a chord on all strings."""
    return guitar_voicing(chord)


def chop(chord: Chord) -> list[int]:
    """Lay a chord on the three high strings."""
    return guitar_voicing(chord)[-3:]


def keys(around: int, *, wide: bool) -> Callable[[Chord], list[int]]:
    """Lay chords on a keyboard around a pitch, with one hand or with two."""
    return (lambda chord: open_voicing(chord, around)) if wide else (lambda chord: close_voicing(chord, around))
