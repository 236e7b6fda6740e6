"""Keys, scales, chords and progressions, and how a chord is laid out for a keyboard or a guitar."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

# Semitones above the tonic.
SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
}

# A family: the scales that melodies take, then progressions in Roman numerals over the major
# scale's degrees (so a minor key's sixth is bVI); each numeral lasts a bar or half of one.
PROGRESSIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pop": ("major, major pentatonic", (
        "I V vi IV", "vi IV I V", "I vi IV V", "IV I V vi", "I IV vi V", "I iii IV V", "I V IV IV",
        "I Iadd9 IV V", "ii V I vi", "I V ii IV", "vi V IV V", "IV V iii vi", "I I IV V")),
    "minor pop": ("minor, minor pentatonic, harmonic minor", (
        "i bVI bIII bVII", "i iv v i", "i bVII bVI V7", "i bVII bVI bVII", "i iv bVI V7",
        "bVI bVII i i", "i bIII bVII iv", "i i bVI bVII", "i v bVI iv", "iv i V7 i")),
    "rock": ("mixolydian, minor pentatonic, blues, major", (
        "I bVII IV I", "I IV I V", "I bIII IV I", "I I bVII IV", "I IV bVII IV", "I bVI bVII I",
        "I V IV I", "I bIII bVII IV", "i bIII IV bVI", "I I I IV")),
    "blues": ("blues, minor pentatonic, mixolydian", (
        "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 V7 I7 I7",
        "i7 i7 i7 i7 iv7 iv7 i7 i7 bVI7 V7 i7 i7", "I7 V7 IV7 IV7 I7 V7 I7 V7", "I7 IV7 I7 V7")),
    "jazz": ("major, dorian, mixolydian, blues", (
        "ii7 V7 Imaj7 Imaj7", "Imaj7 vi7 ii7 V7", "iii7 VI7 ii7 V7", "iim7b5 V7 i7 i7",
        "Imaj7 IV7 iii7 VI7 ii7 V7 Imaj7 V7", "i7 i7 ii7 bII7", "Imaj7 bIIImaj7 bVImaj7 bII7",
        "vi7 ii7 V7 Imaj7 IVmaj7 iim7b5 III7 vi7")),
    "soul": ("dorian, minor pentatonic, major pentatonic", (
        "Imaj7 IVmaj7", "ii7 V9 Imaj9 vi7", "i9 IV9", "IVmaj7 iii7 ii7 Imaj7",
        "vi7 V6 IVmaj7 V7sus4", "Imaj7 I7 IVmaj7 iv6", "bVImaj7 bVII7 i9 i9", "I ii7 iii7 IV")),
    "vamp": ("dorian, mixolydian, minor pentatonic, blues", (
        "i7 IV7", "I9 I9", "i7 i7 i7 bVII", "I7 bVII", "i bVII", "i7 bIIImaj7", "I7 I7 IV9 IV9",
        "i i")),
    "metal": ("phrygian, harmonic minor, minor", (
        "i bII i bVII", "i bVI bVII i", "i bV i bII", "i i bIII bII", "i iv bVI V", "i bVII bVI bV",
        "i i i i", "i bIII iv bVI")),
    "country": ("major, major pentatonic", (
        "I IV V I", "I I IV IV I I V V", "I I V V V V I I", "I IV I V", "IV I V I", "I V I V",
        "I vi IV V", "I I7 IV IV")),
    "latin": ("minor, harmonic minor, dorian, major", (
        "i iv V7 i", "I IV V IV", "i V7 V7 i", "Imaj7 II7 ii7 V7", "i7 iv7 V7 V7", "i bVII bVI V7",
        "I vi ii V7")),
    "electronic": ("minor, phrygian, dorian, minor pentatonic", (
        "i", "i i bVI bVII", "i bIII", "i9 bVImaj7", "iv bVI i bVII", "i i i bII", "vi IV I V",
        "i7 v7", "bVImaj7 bVII i i")),
}

_QUALITIES = {
    "": (0, 4, 7), "7": (0, 4, 7, 10), "maj7": (0, 4, 7, 11), "6": (0, 4, 7, 9),
    "9": (0, 4, 7, 10, 14), "maj9": (0, 4, 7, 11, 14), "add9": (0, 4, 7, 14),
    "sus4": (0, 5, 7), "sus2": (0, 2, 7), "7sus4": (0, 5, 7, 10), "m7b5": (0, 3, 6, 10),
    "dim": (0, 3, 6), "aug": (0, 4, 8),
}
_MINOR_QUALITIES = {
    "": (0, 3, 7), "7": (0, 3, 7, 10), "9": (0, 3, 7, 10, 14), "6": (0, 3, 7, 9),
    "maj7": (0, 3, 7, 11), "m7b5": (0, 3, 6, 10), "dim": (0, 3, 6), "sus4": (0, 5, 7),
}
_DEGREES = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
_GUITAR_STRINGS = (40, 45, 50, 55, 59, 64)


@dataclass(frozen=True, slots=True)
class Chord:
    """A root (pitch class 0..11) and its tones in semitones above the root, the root first."""

    root: int
    tones: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic (pitch class 0..11) and the scale that melodies take."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        return f"{NOTE_NAMES[self.tonic]} {self.mode}"

    def pitches(self, low: int, high: int) -> list[int]:
        """List the scale's pitches from `low` to `high`, both included."""
        classes = {(self.tonic + tone) % 12 for tone in SCALES[self.mode]}
        return [pitch for pitch in range(low, high + 1) if pitch % 12 in classes]


def parse_chord(numeral: str, tonic: int) -> Chord:
    """Read a Roman numeral such as "bVII", "ii7" or "V7sus4"; lower case means minor."""
    match = re.fullmatch(r"(b?)([iIvV]+)(.*)", numeral)
    if match is None:
        raise ValueError(f"chord {numeral!r}: not a Roman numeral from i to VII")
    flat, degree, quality = match.groups()
    tones = (_MINOR_QUALITIES if degree.islower() else _QUALITIES)[quality]
    return Chord((tonic + _DEGREES[degree.upper()] - len(flat)) % 12, tones)


def draw_progression(rng: np.random.Generator, family: str, tonic: int) -> list[Chord]:
    """Draw a progression of the family: mostly a known one, at times altered or made up."""
    numerals = PROGRESSIONS[family][1]
    chords = [parse_chord(numeral, tonic) for numeral in pick(rng, numerals).split()]
    if rng.random() < 0.15:         # made up: any chords of the family in any order
        every = sorted({numeral for line in numerals for numeral in line.split()})
        chords = [parse_chord(pick(rng, every), tonic) for _ in range(int(rng.integers(2, 6)))]
    if rng.random() < 0.15:         # begin elsewhere in the cycle
        turn = int(rng.integers(len(chords)))
        chords = chords[turn:] + chords[:turn]
    if rng.random() < 0.2:
        place = int(rng.integers(len(chords)))
        root = chords[place].root
        chords[place] = Chord(root, pick(rng, [(0, 5, 7), (0, 2, 7), chords[place].tones]))
    return chords


def draw_key(rng: np.random.Generator, family: str) -> Key:
    """Draw a tonic and one of the family's scales."""
    return Key(int(rng.integers(12)), pick(rng, PROGRESSIONS[family][0].split(", ")))


def nearest(pitch_class: int, around: int) -> int:
    """Find the pitch of this class that lies nearest to `around`."""
    return around + (pitch_class - around + 6) % 12 - 6


def fold(pitch: int, low: int, high: int) -> int:
    """Move a pitch by octaves into low..high, which span an octave at least."""
    if pitch < low:
        return pitch + 12 * -((pitch - low) // 12)
    if pitch > high:
        return pitch - 12 * -((high - pitch) // 12)
    return pitch


def close_voicing(chord: Chord, around: int, size: int = 4) -> list[int]:
    """Lay the chord's tones close together around a pitch, ascending."""
    return sorted({nearest((chord.root + tone) % 12, around) for tone in chord.tones[:size]})


def open_voicing(chord: Chord, around: int) -> list[int]:
    """Lay the root low and the other tones above it with gaps, as two hands at a piano do."""
    root = nearest(chord.root, around - 10)
    upper = [nearest((chord.root + tone) % 12, around + 4) for tone in chord.tones[1:]]
    return sorted({root, nearest((chord.root + 7) % 12, root + 7), *upper})


def guitar_voicing(chord: Chord) -> list[int]:
    """Finger the chord on a guitar: on each string the lowest chord tone within four frets."""
    classes = {(chord.root + tone) % 12 for tone in chord.tones}
    pitches: list[int] = []
    for string in _GUITAR_STRINGS:
        fretted = [string + fret for fret in range(5) if (string + fret) % 12 in classes]
        if pitches or (fretted and fretted[0] % 12 == chord.root):
            pitches += [fretted[0]] if fretted and fretted[0] not in pitches else []
    return pitches or close_voicing(chord, 57)


def chop_voicing(chord: Chord) -> list[int]:
    """Finger the chord on the three high strings only."""
    return guitar_voicing(chord)[-3:]


def power_voicing(chord: Chord, lowest: int = 38) -> list[int]:
    """Root, fifth and octave, the root as low as the guitar goes."""
    root = fold(36 + chord.root, lowest, lowest + 11)
    return [root, root + (6 if 6 in chord.tones else 7), root + 12]


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Draw one of the choices; much faster than `rng.choice`."""
    return choices[int(rng.random() * len(choices))]
