"""Who may join a song's band: instruments, what they play and where they lie, as a table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Player:
    """One who may join a song.

    programs: General MIDI numbers to draw from. plays: how, a name that compose.py knows.
    low, high: the register, an octave at least. rhythms: names from the table of rhythms, for those
    who strike chords. loud: factor on velocity.
    """

    programs: tuple[int, ...]
    plays: str
    low: int = 48
    high: int = 76
    rhythms: str = ""
    loud: float = 1.0


_POP_RHYTHMS = "whole|halves|quarters|eighths|push|pop|tresillo|syncopated"
_STRUMS = "folk|campfire|eighths|quarters|pop|push|sixteenths|syncopated|train|halves"
_CHUGS = "chug|chug 8|gallop|staccato 8|djent|sixteenths|whole|push|tresillo"
_STABS = "stab|stabs|back|charleston|house|rave|offs|tresillo|rest"
_FUNKS = "funk|funk 2|chank|back|skank 16|syncopated"
_JAZZ = "comp|comp 2|charleston|anticipate|halves|offs"

PLAYERS = {
    "piano": Player((0, 1, 2), "two hands", 50, 72, _POP_RHYTHMS + "|staccato 8|folk"),
    "house piano": Player((1, 0, 3), "chords", 55, 74, "house|rave|tresillo|offs|syncopated"),
    "jazz piano": Player((0, 1), "chords", 54, 72, _JAZZ),
    "piano skank": Player((0, 3, 1), "chords", 55, 72, "skank|skank 16"),
    "montuno": Player((0, 1), "chords", 60, 80, "montuno|syncopated"),
    "epiano": Player((4, 5, 2), "chords", 48, 72, _POP_RHYTHMS + "|comp|funk 2|offs", 0.95),
    "clavinet": Player((7,), "chords", 48, 68, _FUNKS + "|sixteenths|house", 0.9),
    "harpsichord": Player((6,), "arpeggio", 52, 80, "", 0.9),
    "organ": Player((16, 17, 18), "chords", 50, 74,
                    "whole|halves|stabs|pop|tresillo|offs|eighths", 0.85),
    "church organ": Player((19, 20), "pad", 48, 72, "", 0.8),
    "organ bubble": Player((16, 17), "chords", 52, 72, "skank 16|skank|offs", 0.85),
    "accordion": Player((21, 23), "chords", 55, 76, "offs|skank|whole|tresillo", 0.85),
    "strum": Player((25, 24, 25), "strum", 40, 76, _STRUMS, 0.95),
    "nylon": Player((24,), "strum", 40, 76, "bossa|syncopated|comp 2|tresillo|folk"),
    "cavaquinho": Player((24, 105, 15), "chop", 55, 84, "sixteenths|funk 2|syncopated|montuno"),
    "picked": Player((25, 24), "arpeggio", 48, 72),
    "steel picked": Player((25, 15), "arpeggio", 50, 74),
    "clean": Player((27, 26, 27), "strum", 45, 76, _STRUMS + "|chank|stabs|whole", 0.95),
    "clean arp": Player((27, 26), "arpeggio", 50, 76),
    "jazz guitar": Player((26,), "chop", 50, 72, _JAZZ + "|quarters|quarters"),
    "train guitar": Player((25, 27, 26), "chop", 45, 72, "train|eighths|chank"),
    "boogie guitar": Player((27, 29), "figure", 40, 60),
    "chops": Player((27, 28, 27, 26), "chop", 55, 80, _FUNKS),
    "skank": Player((27, 28, 25), "chop", 55, 80, "skank|skank|skank 16"),
    "power": Player((30, 29, 30), "palm", 36, 64, _CHUGS, 0.9),
    "wall": Player((30, 29), "power", 36, 67, "whole|halves|eighths|sixteenths|pop|push", 0.9),
    "crunch": Player((29, 30, 29), "power", 40, 67,
                     "eighths|pop|push|whole|quarters|tresillo|chank", 0.9),
    "riff guitar": Player((30, 29, 27, 28), "unison", 40, 70, "", 0.95),
    "lead guitar": Player((29, 30, 27, 26), "lead", 55, 84, "", 0.95),
    "solo guitar": Player((30, 29), "solo", 57, 88, "", 0.95),
    "pedal steel": Player((27, 25), "lead", 57, 81, "", 0.9),
    "mandolin": Player((105, 25), "chords", 67, 86, "sixteenths|eighths|back"),
    "banjo": Player((105,), "arpeggio", 57, 79),
    "harp": Player((46,), "arpeggio", 50, 88),
    "dulcimer": Player((15, 107), "arpeggio", 55, 81),
    "strings": Player((48, 49, 50, 51), "pad", 55, 79, "", 0.9),
    "string stabs": Player((48, 50), "chords", 60, 84, _STABS, 0.95),
    "tremolo": Player((44,), "pad", 50, 76, "", 0.9),
    "pizzicato": Player((45,), "figure", 48, 79, "", 1.1),
    "fiddle": Player((110, 40), "lead", 57, 86),
    "timpani": Player((47,), "hits", 38, 53, "", 1.1),
    "orchestra hits": Player((55,), "hits", 48, 72),
    "backing voices": Player((52, 53), "pad", 55, 74, "", 0.9),
    "choir pad": Player((52, 91, 54), "pad", 50, 74, "", 0.9),
    "brass": Player((61, 62, 63, 61), "chords", 55, 76, _STABS + "|pop|push|halves"),
    "trumpet": Player((56, 59), "lead", 58, 82),
    "horns": Player((60, 57), "pad", 45, 67, "", 0.95),
    "sax": Player((65, 66, 64, 67), "lead", 50, 78),
    "reeds": Player((65, 66, 71), "chords", 52, 74, _STABS + "|comp"),
    "clarinet": Player((71,), "lead", 55, 84),
    "oboe": Player((68, 69), "lead", 60, 84),
    "flute": Player((73, 75, 72, 77), "lead", 62, 91),
    "piccolo": Player((72, 78), "lead", 74, 98, "", 0.85),
    "harmonica": Player((22,), "lead", 60, 84),
    "vibes": Player((11,), "chords", 57, 79, _JAZZ),
    "mallet": Player((12, 13, 11), "arpeggio", 55, 84),
    "figure mallet": Player((12, 13, 12, 108), "figure", 55, 84, "", 1.1),
    "xylophone": Player((13, 9), "figure", 67, 96, "", 1.05),
    "kalimba": Player((108, 10), "figure", 60, 84, "", 1.1),
    "bells": Player((8, 9, 10, 14, 98), "arpeggio", 67, 91, "", 0.9),
    "pluck": Player((106, 104, 107, 98, 46), "figure", 52, 81),
    "figure synth": Player((80, 81, 62, 84, 87), "figure", 45, 79, "", 0.85),
    "synth chords": Player((81, 90, 62, 63, 80), "chords", 52, 76,
                           _POP_RHYTHMS + "|offs|house|sixteenths", 0.8),
    "stab": Player((81, 63, 62, 55, 90, 87), "chords", 52, 76, _STABS, 0.9),
    "gate": Player((81, 90, 50, 87), "chords", 52, 76, "sixteenths|staccato 8|gallop|skank 16",
                   0.75),
    "arp synth": Player((81, 80, 38, 84, 88), "arpeggio", 50, 84, "", 0.85),
    "lead synth": Player((80, 81, 82, 83, 84, 87), "lead", 60, 86, "", 0.85),
    "pad": Player((88, 89, 90, 92, 93, 94, 95, 50), "pad", 50, 76, "", 0.85),
    "sweep": Player((95, 92, 97, 101, 103, 96), "pad", 48, 72, "", 0.85),
    "noise": Player((96, 99, 101, 102, 103, 122, 126, 121), "noise", 48, 72, "", 0.7),
}

BASSES = {
    "finger": (33,), "pick": (34,), "slap": (36, 37), "synth": (38, 39), "acoustic": (32,),
    "fretless": (35,), "tuba": (58,), "contrabass": (43, 32),
}
# Struck and plucked parts are what a separator mistakes for drums, so every style may get one.
CONFUSERS = (
    "mallet", "figure mallet", "xylophone", "pizzicato", "kalimba", "timpani", "chops", "pluck",
    "stab", "clavinet", "orchestra hits", "string stabs", "harpsichord", "picked", "montuno",
    "power", "wall", "noise", "vibes", "banjo")
# Choir, voice and voice lead: what stands for singers.
VOICES = (52, 53, 54, 85)
