"""Drum grooves, percussion layers and fills as tables that can be read like tablature.

A line names a drum and gives its hits over the steps of a bar, a step being a sixteenth note: `X`
accented, `x` normal, `o` soft, `?` now and then, `-` nothing. Sixteen steps are a 4/4 bar, 32 two
of them, 12 a bar of 3/4 or 6/8.
"""

from functools import cache

# Pitches of the General MIDI percussion map.
DRUMS = {
    "kick": 36, "kick2": 35, "rim": 37, "snare": 38, "clap": 39, "snare2": 40, "hat": 42,
    "pedal": 44, "open": 46, "ride": 51, "ride2": 59, "bell": 53, "crash": 49, "crash2": 57,
    "splash": 55, "china": 52, "tom1": 50, "tom2": 48, "tom3": 47, "tom4": 45, "tom5": 43,
    "tom6": 41, "tamb": 54, "cowbell": 56, "vibraslap": 58, "bongo1": 60, "bongo2": 61,
    "conga1": 62, "conga2": 63, "conga3": 64, "timbale1": 65, "timbale2": 66, "agogo1": 67,
    "agogo2": 68, "cabasa": 69, "maracas": 70, "guiro": 73, "claves": 75, "wood1": 76,
    "wood2": 77, "cuica": 79, "triangle1": 80, "triangle2": 81,
}

GROOVES = {
    "rock": """hat X-x-X-x-X-x-X-x- ; snare ----X-------X--- ; kick X------?X-?-----""",
    "rock push": """hat x-x-x-x-x-x-x-x- ; snare ----X-------X-?- ; kick X-----X-x-X---?-""",
    "rock open": """open X---X---X---X--- ; snare ----X-------X--- ; kick X-?---x-X-----?-""",
    "rock ride": """ride X-x-X-x-X-x-X-x- ; snare ----X--o-o--X--o ; kick X--x----X-x--?--""",
    "crash ride": """crash X---X---X---X--- ; snare ----X-------X--- ; kick X--?--x-X-x-----""",
    "arena": """hat x---x---x---x--- ; snare ----X-------X--- ; kick X-x-----X-x-----""",
    "pop": """hat x-o-x-o-x-o-x-o- ; snare ----X-------X--- ; kick X-----x---x-----""",
    "pop 16": """hat XoxoXoxoXoxoXoxo ; snare ----X-------X--- ; kick X--?--x-x-?-----""",
    "pop four": """hat --x---x---x---x- ; snare ----X-------X--- ; kick X---X---X---X---
        ; clap ----x-------x---""",
    "motown": """snare X---X---X---X--- ; tamb x-x-x-x-x-x-x-x- ; kick X--x--x-X--x--x-
        ; hat x-x-x-x-x-x-x-x-""",
    "soul": """hat x-x-x-x-x-x-x-x- ; snare ----X--o----X--o ; kick X-x---?-x-x---?-""",
    "beat": """hat X-X-X-X-X-X-X-X- ; snare ----X-X-----X--- ; kick X-----X-X-----?-""",
    "punk": """hat X-X-X-X-X-X-X-X- ; snare --X---X---X---X- ; kick X---X---X---X-?-""",
    "d-beat": """open X-X-X-X-X-X-X-X- ; snare ----X-------X--- ; kick X-X---X-X-X---X-""",
    "punk half": """crash X---X---X---X--- ; snare --------X------- ; kick X-x--xx---x-x-x-""",
    "metal": """open X---X---X---X--- ; snare ----X-------X--- ; kick XxxxXxxxXxxxXxxx""",
    "gallop": """ride X---X---X---X--- ; snare ----X-------X--- ; kick X-xxX-xxX-xxX-xx""",
    "blast": """ride X-X-X-X-X-X-X-X- ; snare -X-X-X-X-X-X-X-X ; kick X-X-X-X-X-X-X-X-""",
    "hammer blast": """china X---X---X---X--- ; snare x-x-x-x-x-x-x-x- ; kick XxxxXxxxXxxxXxxx""",
    "breakdown": """china X---X---X---X--- ; snare --------X------- ; kick X--X--X---XX-X--""",
    "funk": """hat XoxoXoxoXoxoXo-- ; open --------------x- ; snare ----X--o-o--X--o
        ; kick X-x---x---x--x--""",
    "funk one": """hat x-x-x-x-x-x-x-x- ; snare ----Xo-o-o-oX--o ; kick X--x--x---xx--x-""",
    "funk linear": """hat x-x--xx-x--x-xx- ; snare ---oX--o-oX-o--o ; kick X-----x-x----x--""",
    "second line": """snare xoxXoxXoxoxXoXox ; kick X--x--x-----x--- ; pedal ----x-------x---""",
    "hip-hop": """hat x-x-x-x-x-xxx-x- ; snare ----X-------X--- ; kick X--x---x--x-----""",
    "boom bap": """hat x-x-x-x-x-x-x-x- ; snare ----X-------X-?o ; kick X-?----xx-x--?--""",
    "trap": """hat x-x-x-xxx-x-xxxx ; snare --------X------- ; kick X------x--x---?-
        ; clap --------x-------""",
    "trap roll": """hat xxx-x-xxxxxxx-x- ; clap --------X------- ; kick X-----x---x--x--
        ; open ------------?---""",
    "disco": """hat x-x-x-x-x-x-x-x- ; open --X---X---X---X- ; snare ----X-------X---
        ; kick X---X---X---X---""",
    "disco 16": """hat xx-xxx-xxx-xxx-x ; open --X---X---X---X- ; clap ----X-------X---
        ; kick X---X---X---X---""",
    "house": """open --X---X---X---X- ; clap ----X-------X--- ; kick X---X---X---X---
        ; hat o-o-o-o-o-o-o-oo""",
    "deep house": """hat --x---x---x---xo ; rim ---x--x---x-x--- ; kick X---X---X---X---
        ; maracas oxoxoxoxoxoxoxox""",
    "techno": """kick X---X---X---X--- ; hat --X---X---X---X- ; ride oooooooooooooooo
        ; tom6 ---x--?---x--?--""",
    "minimal": """kick X---X---X---X--- ; rim ------x--x------ ; hat ?-x-?-x-?-x-?-x-
        ; clap ----?-------x---""",
    "trance": """kick X---X---X---X--- ; open --X---X---X---X- ; hat xoxoxoxoxoxoxoxo
        ; snare ----x-------x---""",
    "electro": """kick X-----x---X----- ; snare ----X-------X--- ; hat xxxxxxxxxxxxxxxx
        ; cowbell --?--x----x--?--""",
    "breakbeat": """hat x-x-x-x-x-x-x-x- ; snare ----X--o-o--X--o ; kick X-x-------xx----""",
    "amen": """ride x-x-x-x-x-x-x-x-x-x-x-x-x-x-x-x- ; snare ----X--x-x--X--x----X--x-x----X-
            ; kick X-X-------XX----X-X-------X----- ; crash --------------------------?-----""",
    "drum and bass": """hat x-x-x-x-x-x-x-x- ; snare ----X-------X--- ; kick X---------X-----
        ; maracas oooooooooooooooo""",
    "two step": """hat x-xx--x-x-xx--x- ; snare ----X-------X--- ; kick X------x--x-----""",
    "dubstep": """hat x--x--x-x--x--x- ; snare --------X------- ; kick X--?------?--x--""",
    "reggaeton": """kick X---X---X---X--- ; snare ---x--x----x--x- ; hat x-x-x-x-x-x-x-x-""",
    "one drop": """hat x-xox-x-x-xox-x- ; rim --------X------- ; kick --------X-------""",
    "steppers": """kick X---X---X---X--- ; rim --------X--?---- ; hat x-xxx-x-x-xxx-x-""",
    "rockers": """hat x-x-x-x-x-x-x-x- ; snare --------X------? ; kick X---x---X---x---""",
    "ska": """hat --X---X---X---X- ; snare ----X-------X--- ; kick X-------X-------""",
    "bossa": """hat x-x-x-x-x-x-x-x- ; rim x--x--x---x--x-- ; kick X--xx--xX--xx--x""",
    "samba": """hat xoxxxoxxxoxxxoxx ; snare o-oxo-o-ox-xo-ox ; kick x--xX--xx--xX--x
        ; tamb xoxxxoxxxoxxxoxx""",
    "songo": """cowbell x-x-x-x-x-x-x-x- ; snare ---xo--x-o-x-o-o ; kick ---x--x----x--x-
        ; tom4 ------------x-x-""",
    "mambo": """bell x-xx-xx-x-xx-xx- ; rim ----x-------x--- ; tom4 ------x-------x-
        ; kick ------x-----?---""",
    "cha-cha": """cowbell X---X---X---X--- ; rim ----x-------x--- ; tom4 ------------x-x-
        ; kick X-----x-X-------""",
    "calypso": """hat x-xxx-xxx-xxx-xx ; snare --x---x---x---xx ; kick X---X---X---X---""",
    "afrobeat": """hat x-xxx-xxx-xx--x- ; open ------------x--- ; snare ---o--x---o-x--o
        ; kick X--x---xX--x----""",
    "swing": """ride X---X-x-X---X-x- ; pedal ----x-------x--- ; snare -?----?---o---?-
        ; kick o---o---o-?-o---""",
    "bebop": """ride X-?-X-x-X-?-X-x- ; pedal ----X-------X--- ; snare --?--?o-x--?--o-
        ; kick ?-----?-?---?-x-""",
    "brushes": """snare X-o-x-oxX-o-x-ox ; pedal ----x-------x--- ; kick o-------o-------""",
    "shuffle": """hat X-x-X-x-X-x-X-x- ; snare ----X-------X--- ; kick X-----x-X-?-----""",
    "blues ride": """ride X-x-X-x-X-x-X-x- ; snare o-o-X-o-o-o-X-o- ; kick X---X---X---X---""",
    "half shuffle": """hat x-x-x-x-x-x-x-x- ; snare -o-o-o-oXo-o-o-o ; kick X-----x----x-x--""",
    "train": """snare ooXoooXoooXoooXo ; kick X---X---X---X---""",
    "country": """hat x-x-x-x-x-x-x-x- ; rim ----X-------X--- ; kick X-------X-----?-""",
    "two beat": """hat --x---x---x---x- ; snare ----X-------X--- ; kick X-------X-------""",
    "march": """snare X-xxX-xxXxxxX-x- ; kick X-------X------- ; crash --------?-------""",
    "ballad": """hat x-o-x-o-x-o-x-o- ; rim ----X-------X--- ; kick X-----x-X-------""",
    "power ballad": """hat x---x---x---x--- ; snare --------X------- ; kick X-------?-x-----""",
    "half time": """hat x-x-x-x-x-x-x-x- ; snare --------X------- ; kick X---?-x---x-----""",
    "toms": """tom6 X--x--x-X--x--x- ; tom4 ----x-------x-x- ; kick X---X---X---X---
        ; snare ------------?---""",
    "jungle toms": """tom6 x-xxx-xxx-xxx-xx ; tom3 --X--X----X--X-- ; kick X-------X-------
        ; pedal ----x-------x---""",
    "stomp": """kick X-x-----X-x----- ; clap ----X-------X--- ; snare ----x-------x---""",
    "cymbals": """ride x---o---x---o--- ; crash2 o--------------- ; kick o---------------""",
    "sparse": """kick X--------------- ; rim --------x------- ; hat --?---?---?---?-""",
}

TERNARY_GROOVES = {
    "waltz": """hat x---x---x--- ; snare ----x---x--- ; kick X-----------""",
    "country waltz": """hat x-x-x-x-x-x- ; rim ----X---X--- ; kick X-----?-----""",
    "jazz waltz": """ride X---X-x-X--- ; pedal ----x------- ; snare ------?---o-
        ; kick X-------?---""",
    "slow rock": """hat X-x-x-X-x-x- ; snare ------X----- ; kick X---?-----x-""",
    "six ride": """ride X-x-x-X-x-x- ; snare ------X--o-o ; kick X---x-----x-""",
    "six open": """open X-----X----- ; snare ------X----- ; kick X-x-----x-x-""",
    "soul six": """hat xoxoxoxoxoxo ; rim ------X----- ; kick X---x-?---x-""",
    "six march": """snare X-xxxxX-x-x- ; kick X-----X----- ; crash ?-----------""",
    "bembe": """bell X-x-xx-x-x-x ; conga2 ----x-----x- ; tom4 --x-----x---
        ; kick x-----x-----""",
    "metal six": """china X-----X----- ; snare ------X----- ; kick XxxxxxXxxxxx""",
    "jig": """snare X-oX-oX-oXxo ; kick X-----X----- ; tamb x-x-x-x-x-x-""",
    "six toms": """tom6 X--x--x--x-- ; tom3 --x-----x-x- ; kick X-----X-----""",
}

# What a percussionist adds on top.
LAYERS = {
    "tambourine": """tamb ----X-------X---""",
    "tambourine 8": """tamb x-X-x-X-x-X-x-X-""",
    "tambourine 16": """tamb xoXoxoXoxoXoxoXo""",
    "shaker": """maracas xoXoxoXoxoXoxoXo""",
    "cabasa": """cabasa x-xxx-xxx-xxx-xx""",
    "claps": """clap ----X-------X---""",
    "cowbell": """cowbell X---X---X---X---""",
    "congas": """conga1 x--xx---x--xx--- ; conga2 ------x-------xx ; conga3 ----------?-----""",
    "tumbao": """conga1 x-o-X-o-x-o-o--- ; conga2 ------------x-x- ; conga3 ------xx--------""",
    "bongos": """bongo1 X-xxX-xxX-xxX-xx ; bongo2 --------------x-""",
    "clave": """claves x--x--x---x-x---""",
    "rhumba": """claves x--x---x--x-x---""",
    "agogo": """agogo1 x--x----x-x----- ; agogo2 ------xx------x-""",
    "blocks": """wood1 x--x--x----x---- ; wood2 --------x-----x-""",
    "triangle": """triangle1 x-x-x-x-x-x-x-x- ; triangle2 ---x---x---x---x""",
    "guiro": """guiro x---x-x-x---x-x-""",
    "timbales": """timbale1 x-x-xx-xx-xx-x-x ; timbale2 ----------?---x-""",
    "cuica": """cuica --x--x-x--x--x--""",
}

# What keeps time in a groove.
TIME_KEEPERS = ("hat", "open", "ride", "crash", "bell", "china", "pedal", "ride2", "cowbell")

# Order in which a fill walks over the kit.
FILL_RUNS = {
    "down": "snare tom1 tom2 tom4 tom6", "low": "tom3 tom5 tom6", "up": "tom6 tom4 tom2 snare",
    "roll": "snare", "double": "snare snare tom2 tom4", "alternate": "snare tom6",
    "kicks": "snare kick tom4 kick", "linear": "snare tom2 kick kick", "tom roll": "tom6",
    "hats": "snare open", "claps": "clap", "cymbal": "crash kick", "rims": "rim snare",
    "snares": "snare2 snare", "toms": "tom1 tom2 tom4 tom5", "high": "tom1 tom2 tom3",
    "bongos": "bongo1 bongo2", "cowbell": "cowbell snare tom4",
}


@cache
def groove(name: str) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Read a groove or a layer: its length in steps and the hits of each drum."""
    table = GROOVES.get(name) or TERNARY_GROOVES.get(name) or LAYERS[name]
    lines = tuple((drum, hits) for drum, hits in (line.split() for line in table.split(";")))
    return len(lines[0][1]), lines
