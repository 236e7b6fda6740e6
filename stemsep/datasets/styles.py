"""Styles of music and the players that may take part, as tables."""

from dataclasses import dataclass

from stemsep.datasets.grooves import GROOVES, LAYERS


@dataclass(frozen=True)
class Style:
    """What songs of a style have in common; the strings are names from other tables.

    tempo: slowest and fastest, quarter notes a minute. swing: least and most, 0 straight, 1/3 triplets.
    unit: 2 where eighths swing, 1 where sixteenths do. ternary: share of songs in 3/4 or 6/8.
    players may name one several times, for more chance.
    """

    tempo: tuple[int, int]
    grooves: str
    families: str
    bass: str
    lines: str
    players: str
    kits: tuple[int, ...] = (0,)
    layers: str = ""
    swing: tuple[float, float] = (0.0, 0.0)
    unit: int = 1
    ternary: float = 0.0
    drift: float = 0.003
    voice: float = 0.5


STYLES = {
    "rock": Style((88, 160), "rock|rock push|rock open|rock ride|crash ride|arena|toms|beat|half time", "rock|pop|minor pop",
                  "pick|finger", "eighths|kick|pop|riff|rock'n'roll|eighths walk",
                  "power|power|power|crunch|clean|riff guitar|organ|lead guitar|piano|strum|wall", (0, 8, 16),
                  "tambourine|tambourine 8|cowbell", ternary=0.08),
    "pop": Style((84, 132), "pop|pop 16|pop four|rock|house|two step|half time|disco|stomp", "pop|minor pop|soul",
                 "finger|synth|pick", "pop|eighths|kick|push|whole|off|soul",
                 "piano|strum|pad|epiano|clean|synth chords|pluck|strings|arp synth|lead synth|mallet|picked", (0, 8, 24, 25),
                 "claps|tambourine 16|shaker|tambourine", ternary=0.06, voice=0.75),
    "punk": Style((150, 200), "punk|d-beat|beat|rock|punk half|crash ride", "rock|pop|minor pop", "pick",
                  "eighths|kick|riff", "power|power|wall|crunch|lead guitar|riff guitar", (0, 16, 8), voice=0.6, drift=0.006),
    "metal": Style((90, 200), "metal|gallop|blast|hammer blast|breakdown|d-beat|crash ride|half time|rock ride", "metal|minor pop",
                   "pick|finger", "kick|gallop|eighths|riff|sixteenths",
                   "power|wall|riff guitar|riff guitar|lead guitar|solo guitar|choir pad|strings|power", (16, 16, 0, 8),
                   ternary=0.12, voice=0.3),
    "funk": Style((88, 124), "funk|funk one|funk linear|pop 16|breakbeat|second line", "vamp|soul|blues",
                  "slap|finger|slap", "funk|slap|kick|riff|disco|soul",
                  "chops|chops|clavinet|brass|epiano|organ|sax|mallet|riff guitar|clean", (0, 8),
                  "congas|tambourine 16|cowbell|shaker|claps", swing=(0.0, 0.18)),
    "hip-hop": Style((70, 105), "hip-hop|boom bap|trap|trap roll|half time|breakbeat", "minor pop|soul|vamp|electronic",
                     "synth|finger|acoustic", "hip-hop|808|trap|kick|whole",
                     "epiano|piano|strings|pluck|pad|bells|stab|mallet|pizzicato|figure synth|flute", (25, 24, 0),
                     "claps|shaker", swing=(0.0, 0.25), drift=0.0),
    "disco": Style((108, 132), "disco|disco 16|pop four|house", "soul|minor pop|vamp", "finger|slap|synth",
                   "disco|disco 16|funk|motown|soul|riff",
                   "chops|strings|brass|epiano|piano|string stabs|clavinet|arp synth|clean", (0, 8, 24),
                   "congas|tambourine|claps|cowbell|tambourine 16"),
    "house": Style((118, 130), "house|deep house|disco 16|pop four|minimal", "electronic|soul|minor pop", "synth",
                   "off|kick|disco|electro|stabs|acid|dub",
                   "house piano|stab|pad|organ|pluck|arp synth|sweep|figure synth|synth chords|lead synth", (24, 25),
                   "claps|shaker|congas|cabasa", swing=(0.0, 0.15), drift=0.0, voice=0.35),
    "techno": Style((124, 150), "techno|minimal|trance|house|electro", "electronic", "synth", "off|acid|electro|sixteenths|drone",
                    "stab|arp synth|sweep|noise|pad|figure synth|gate|synth chords|lead synth", (24, 25),
                    "shaker|claps|cowbell", drift=0.0, voice=0.12),
    "drum and bass": Style((160, 178), "drum and bass|amen|breakbeat|two step|dubstep", "electronic|minor pop|soul", "synth",
                           "whole|808|electro|dub|drone|kick", "pad|stab|epiano|arp synth|sweep|strings|pluck|noise|figure synth",
                           (24, 25, 0), "shaker|tambourine 16", drift=0.0, voice=0.3),
    "trap": Style((60, 80), "trap|trap roll|dubstep|half time", "minor pop|electronic|metal", "synth", "808|trap|whole|hip-hop",
                  "bells|pluck|pad|piano|strings|figure synth|flute|choir pad|gate", (25, 24), "claps", drift=0.0),
    "synthpop": Style((96, 140), "pop four|electro|trance|stomp|pop", "minor pop|pop|electronic", "synth",
                      "arp|electro|eighths|off|disco|sixteenths", "arp synth|pad|synth chords|lead synth|gate|pluck|stab|strings|bells",
                      (24, 25, 16), "claps|cowbell", drift=0.0, voice=0.6),
    "reggae": Style((66, 96), "one drop|steppers|rockers", "pop|minor pop|vamp|country", "finger|fretless",
                    "one drop|reggae|steppers|dub", "skank|skank|organ bubble|brass|clean|clavinet|sax|piano skank", (0, 8, 25),
                    "shaker|bongos|cowbell|tambourine", swing=(0.0, 0.3), unit=1),
    "ska": Style((120, 190), "ska|two beat|punk|rock", "pop|country|rock", "finger|pick", "eighths walk|walking|rock'n'roll|eighths",
                 "skank|skank|brass|sax|organ|piano skank|trumpet", (0, 8), "tambourine", swing=(0.0, 0.15)),
    "bossa": Style((100, 150), "bossa|samba|brushes|ballad", "jazz|soul", "acoustic|finger|fretless", "bossa|two beat|samba",
                   "nylon|nylon|piano|flute|epiano|vibes|strings|jazz guitar|sax", (0, 32, 40), "shaker|clave|triangle|guiro"),
    "samba": Style((90, 120), "samba|songo|calypso", "latin|jazz|pop", "finger|acoustic", "samba|bossa|tumbao",
                   "nylon|cavaquinho|piano|brass|flute|figure mallet|accordion", (0, 8),
                   "agogo|cuica|shaker|tambourine 16|congas", voice=0.55),
    "salsa": Style((84, 116), "mambo|songo|cha-cha", "latin|vamp", "acoustic|finger", "tumbao|latin",
                   "montuno|montuno|brass|trumpet|vibes|flute|figure mallet|nylon", (0, 8, 32),
                   "clave|rhumba|tumbao|bongos|timbales|guiro|cowbell", voice=0.55),
    "latin pop": Style((86, 110), "reggaeton|calypso|pop|cha-cha|disco", "latin|pop|minor pop", "synth|finger",
                       "tumbao|808|pop|latin", "nylon|pluck|brass|piano|accordion|synth chords|figure mallet|lead synth|montuno",
                       (0, 25, 24), "guiro|shaker|congas|claps|timbales", voice=0.75),
    "afrobeat": Style((96, 126), "afrobeat|funk linear|songo|second line", "vamp|soul", "finger|slap", "riff|funk|latin|tumbao",
                      "chops|chops|brass|sax|organ|figure mallet|kalimba|clean|epiano", (0, 8), "shaker|congas|agogo|cowbell|clave"),
    "jazz": Style((92, 200), "swing|bebop|brushes|blues ride", "jazz|blues", "acoustic", "walking|walking|two beat|halves",
                  "jazz piano|jazz guitar|sax|trumpet|vibes|jazz piano|brass|clarinet|organ", (32, 0, 40),
                  swing=(0.16, 0.33), unit=2, ternary=0.15, drift=0.006, voice=0.2),
    "swing band": Style((120, 190), "swing|blues ride|brushes|shuffle", "jazz|blues", "acoustic", "walking",
                        "brass|brass|sax|trumpet|jazz piano|jazz guitar|clarinet|reeds", (32, 0), swing=(0.25, 0.33), unit=2,
                        drift=0.004, voice=0.35),
    "blues": Style((60, 140), "shuffle|blues ride|rock|half shuffle", "blues", "finger|acoustic|pick",
                   "boogie|walking|rock'n'roll|eighths|two beat",
                   "organ|lead guitar|crunch|piano|harmonica|solo guitar|boogie guitar|jazz guitar", (0, 8, 32),
                   swing=(0.2, 0.33), unit=2, ternary=0.2, drift=0.006, voice=0.4),
    "soul": Style((68, 120), "motown|pop|pop 16|ballad|funk one|soul", "soul|pop", "finger", "motown|soul|pop|ballad|kick",
                  "epiano|brass|organ|strings|clean|piano|sax|chops|backing voices", (0, 8, 32),
                  "tambourine|tambourine 8|congas|claps", swing=(0.0, 0.15), ternary=0.15, voice=0.8),
    "country": Style((80, 180), "train|country|two beat|shuffle|rock", "country|pop", "finger|acoustic|pick",
                     "two beat|country|rock'n'roll|eighths", "strum|strum|steel picked|fiddle|piano|banjo|clean|pedal steel|train guitar",
                     (0, 32, 8, 40), "tambourine|shaker", swing=(0.0, 0.2), unit=2, ternary=0.18, drift=0.005, voice=0.55),
    "folk": Style((76, 140), "brushes|ballad|stomp|train|sparse|country", "country|pop|minor pop", "acoustic|finger",
                  "two beat|halves|whole|country", "strum|picked|picked|fiddle|accordion|flute|banjo|mandolin|dulcimer|harmonica",
                  (40, 32, 0), "tambourine|shaker|claps", ternary=0.3, drift=0.008, voice=0.6),
    "ballad": Style((60, 84), "ballad|power ballad|pop|sparse|brushes|cymbals", "pop|minor pop|soul", "finger|fretless|acoustic",
                    "ballad|whole|halves|push", "piano|piano|strings|picked|pad|epiano|clean arp|lead guitar|oboe|harp|backing voices",
                    (0, 8, 16, 40), "shaker|tambourine|triangle", ternary=0.25, drift=0.005, voice=0.8),
    "march": Style((90, 126), "march|train|stomp|second line", "country|pop|minor pop", "tuba|acoustic", "two beat|country",
                   "brass|trumpet|flute|reeds|horns|timpani|figure mallet|piccolo|bells", (48, 0), "triangle", ternary=0.3, voice=0.1),
    "cinematic": Style((60, 140), "toms|cymbals|jungle toms|sparse|march|half time", "minor pop|metal|pop", "contrabass|synth",
                       "whole|drone|halves|eighths",
                       "strings|strings|horns|choir pad|timpani|pizzicato|harp|tremolo|piano|figure mallet|sweep|bells",
                       (48, 0, 16), ternary=0.2, voice=0.35),
    "new wave": Style((110, 170), "beat|rock|pop four|electro|punk|toms", "minor pop|pop|rock", "pick|synth|finger",
                      "eighths|off|electro|riff|kick", "clean arp|synth chords|crunch|pad|chops|lead synth|organ|arp synth|power",
                      (0, 8, 16, 24), "tambourine|claps", voice=0.6),
    "prog": Style((70, 170), "", "minor pop|rock|jazz|metal", "pick|finger|fretless", "riff|kick|eighths|walking|funk",
                  "organ|lead synth|riff guitar|power|piano|mallet|arp synth|choir pad|strings|flute|solo guitar", (0, 8, 16),
                  "cowbell|tambourine", ternary=0.3, voice=0.4),
    "anything": Style((60, 200), "|".join(GROOVES), "pop|rock|soul|vamp|latin|electronic|jazz|minor pop",
                      "finger|pick|synth|slap|acoustic|fretless", "kick|riff|eighths|pop|funk|walking|off|arp|tumbao",
                      "piano|organ|power|strum|chops|pluck|mallet|figure mallet|figure synth|stab|brass|strings|pad|lead synth|"
                      "pizzicato|kalimba|timpani|noise|clavinet|xylophone|wall|gate|harpsichord",
                      (0, 8, 16, 24, 25, 32, 40), "|".join(LAYERS), swing=(0.0, 0.2), ternary=0.1),
}

BASSES = {"finger": (33,), "pick": (34,), "slap": (36, 37), "synth": (38, 39), "acoustic": (32,), "fretless": (35,),
          "tuba": (58,), "contrabass": (43, 32)}


@dataclass(frozen=True)
class Player:
    """One who may join a song.

    programs: General MIDI numbers to draw from. plays: what, a name that `compose` knows. low, high: the
    register. rhythms: names from the table of rhythms, for those who strike chords. loud: factor on velocity.
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
    "organ": Player((16, 17, 18), "chords", 50, 74, "whole|halves|stabs|pop|tresillo|offs|eighths", 0.85),
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
    "crunch": Player((29, 30, 29), "power", 40, 67, "eighths|pop|push|whole|quarters|tresillo|chank", 0.9),
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
    "trumpet": Player((56, 59), "lead", 58, 82), "horns": Player((60, 57), "pad", 45, 67, "", 0.95),
    "sax": Player((65, 66, 64, 67), "lead", 50, 78),
    "reeds": Player((65, 66, 71), "chords", 52, 74, _STABS + "|comp"),
    "clarinet": Player((71,), "lead", 55, 84), "oboe": Player((68, 69), "lead", 60, 84),
    "flute": Player((73, 75, 72, 77), "lead", 62, 91), "piccolo": Player((72, 78), "lead", 74, 98, "", 0.85),
    "harmonica": Player((22,), "lead", 60, 84),
    "vibes": Player((11,), "chords", 57, 79, _JAZZ), "mallet": Player((12, 13, 11), "arpeggio", 55, 84),
    "figure mallet": Player((12, 13, 12, 108), "figure", 55, 84, "", 1.1),
    "xylophone": Player((13, 9), "figure", 67, 96, "", 1.05),
    "kalimba": Player((108, 10), "figure", 60, 84, "", 1.1),
    "bells": Player((8, 9, 10, 14, 98), "arpeggio", 67, 91, "", 0.9),
    "pluck": Player((106, 104, 107, 98, 46), "figure", 52, 81),
    "figure synth": Player((80, 81, 62, 84, 87), "figure", 45, 79, "", 0.85),
    "synth chords": Player((81, 90, 62, 63, 80), "chords", 52, 76, _POP_RHYTHMS + "|offs|house|sixteenths", 0.8),
    "stab": Player((81, 63, 62, 55, 90, 87), "chords", 52, 76, _STABS, 0.9),
    "gate": Player((81, 90, 50, 87), "chords", 52, 76, "sixteenths|staccato 8|gallop|skank 16", 0.75),
    "arp synth": Player((81, 80, 38, 84, 88), "arpeggio", 50, 84, "", 0.85),
    "lead synth": Player((80, 81, 82, 83, 84, 87), "lead", 60, 86, "", 0.85),
    "pad": Player((88, 89, 90, 92, 93, 94, 95, 50), "pad", 50, 76, "", 0.85),
    "sweep": Player((95, 92, 97, 101, 103, 96), "pad", 48, 72, "", 0.85),
    "noise": Player((96, 99, 101, 102, 103, 122, 126, 121), "noise", 48, 72, "", 0.7),
}
VOICES = (52, 53, 54, 85)
