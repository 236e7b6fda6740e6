"""Styles of music as tables: tempo, feel, grooves, harmony, bass lines and who may play."""

from dataclasses import dataclass

from stemsep.datasets.grooves import GROOVES, LAYERS


@dataclass(frozen=True)
class Style:
    """What songs of a style have in common; the strings are names from other tables.

    tempo: slowest and fastest, quarter notes a minute. swing: least and most, 0 straight, 1/3
    triplets. unit: 2 where eighths swing, 1 where sixteenths do. ternary: share of songs in 3/4 or
    6/8. drift: how far the tempo wanders from beat to beat; 0 is played by machines. voice: share
    of songs that are sung. share: how often the style comes, against others. A name that stands
    twice has twice the chance.
    """

    tempo: tuple[int, int]
    families: str
    bass: str
    lines: str
    players: str
    grooves: str = ""
    layers: str = ""
    kits: tuple[int, ...] = (0,)
    swing: tuple[float, float] = (0.0, 0.0)
    unit: int = 1
    ternary: float = 0.0
    drift: float = 0.003
    voice: float = 0.6
    share: int = 1


STYLES = {
    "rock": Style(
        tempo=(88, 160), share=4, kits=(0, 8, 16), ternary=0.08,
        grooves="rock|rock push|rock open|rock ride|crash ride|arena|toms|beat|half time",
        families="rock|pop|minor pop", bass="pick|finger",
        lines="eighths|kick|pop|riff|rock'n'roll|eighths walk",
        players="power|power|power|crunch|clean|riff guitar|organ|lead guitar|piano|strum|wall",
        layers="tambourine|tambourine 8|cowbell"),
    "classic rock": Style(
        tempo=(76, 140), share=3, kits=(0, 8, 16), swing=(0.0, 0.2), unit=2, drift=0.006,
        voice=0.75,
        grooves="rock|rock ride|crash ride|rock push|half time|half shuffle|toms|shuffle",
        families="rock|blues|pop", bass="finger|pick",
        lines="riff|kick|rock'n'roll|pop|eighths walk|boogie",
        players="crunch|crunch|riff guitar|organ|solo guitar|strum|piano|clean|lead guitar",
        layers="cowbell|tambourine|tambourine 8"),
    "arena rock": Style(
        tempo=(96, 150), share=2, kits=(16, 8, 0), voice=0.94,
        grooves="arena|rock|rock open|pop four|power ballad|crash ride",
        families="pop|rock|minor pop", bass="pick|synth",
        lines="eighths|kick|pop|push",
        players="wall|power|lead synth|synth chords|pad|lead guitar|solo guitar|piano|strings|"
                "backing voices",
        layers="tambourine|claps|cowbell"),
    "grunge": Style(
        tempo=(84, 150), share=2, kits=(0, 16, 8), drift=0.006, voice=0.81,
        grooves="rock|rock push|crash ride|half time|toms|rock open|beat",
        families="rock|minor pop|metal", bass="pick|finger",
        lines="eighths|kick|riff|pop",
        players="power|wall|crunch|clean|clean arp|riff guitar|lead guitar"),
    "indie": Style(
        tempo=(92, 170), share=3, kits=(0, 8, 32), drift=0.005, voice=0.88,
        grooves="rock|beat|pop|disco|toms|motown|rock ride|two step",
        families="pop|minor pop|rock", bass="pick|finger",
        lines="eighths|kick|pop|push|off|motown",
        players="clean|clean arp|crunch|strum|chops|organ|pad|bells|lead guitar|brass|arp synth",
        layers="tambourine 8|shaker|claps"),
    "pop": Style(
        tempo=(84, 132), share=4, kits=(0, 8, 24, 25), ternary=0.06, voice=0.94,
        grooves="pop|pop 16|pop four|rock|house|two step|half time|disco|stomp",
        families="pop|minor pop|soul", bass="finger|synth|pick",
        lines="pop|eighths|kick|push|whole|off|soul",
        players="piano|strum|pad|epiano|clean|synth chords|pluck|strings|arp synth|lead synth|"
                "mallet|picked",
        layers="claps|tambourine 16|shaker|tambourine"),
    "punk": Style(
        tempo=(150, 200), share=2, kits=(0, 16, 8), drift=0.006, voice=0.75,
        grooves="punk|d-beat|beat|rock|punk half|crash ride",
        families="rock|pop|minor pop", bass="pick",
        lines="eighths|kick|riff",
        players="power|power|wall|crunch|lead guitar|riff guitar"),
    "metal": Style(
        tempo=(90, 200), share=3, kits=(16, 16, 0, 8), ternary=0.12, voice=0.38,
        grooves="metal|gallop|blast|hammer blast|breakdown|d-beat|crash ride|half time|rock ride",
        families="metal|minor pop", bass="pick|finger",
        lines="kick|gallop|eighths|riff|sixteenths",
        players="power|wall|riff guitar|riff guitar|lead guitar|solo guitar|choir pad|strings|"
                "power"),
    "surf": Style(
        tempo=(120, 190), kits=(0, 8, 32), drift=0.005, voice=0.38,
        grooves="beat|rock ride|toms|motown|rock",
        families="rock|latin|minor pop|pop", bass="pick|finger",
        lines="eighths|rock'n'roll|two beat|eighths walk",
        players="clean|lead guitar|chops|organ|train guitar|sax|strum",
        layers="tambourine|cowbell|claps"),
    "rockabilly": Style(
        tempo=(140, 200), kits=(0, 32, 40), swing=(0.1, 0.3), unit=2, drift=0.005,
        grooves="train|shuffle|two beat|swing|blues ride",
        families="blues|country|rock", bass="acoustic|pick",
        lines="walking|rock'n'roll|two beat|boogie",
        players="train guitar|strum|solo guitar|piano|clean|sax|boogie guitar"),
    "funk": Style(
        tempo=(88, 124), share=2, kits=(0, 8), swing=(0.0, 0.18),
        grooves="funk|funk one|funk linear|pop 16|breakbeat|second line",
        families="vamp|soul|blues", bass="slap|finger|slap",
        lines="funk|slap|kick|riff|disco|soul",
        players="chops|chops|clavinet|brass|epiano|organ|sax|mallet|riff guitar|clean",
        layers="congas|tambourine 16|cowbell|shaker|claps"),
    "soul": Style(
        tempo=(68, 120), share=2, kits=(0, 8, 32), swing=(0.0, 0.15), ternary=0.15, voice=0.95,
        grooves="motown|pop|pop 16|ballad|funk one|soul",
        families="soul|pop", bass="finger",
        lines="motown|soul|pop|ballad|kick",
        players="epiano|brass|organ|strings|clean|piano|sax|chops|backing voices",
        layers="tambourine|tambourine 8|congas|claps"),
    "gospel": Style(
        tempo=(60, 140), kits=(0, 8), swing=(0.0, 0.33), unit=2, ternary=0.25, drift=0.006,
        voice=0.95,
        grooves="motown|soul|shuffle|pop 16|ballad|funk one",
        families="soul|blues|pop", bass="finger|fretless",
        lines="soul|walking|motown|ballad|kick",
        players="organ|organ|piano|piano|backing voices|brass|clean|epiano",
        layers="tambourine|tambourine 16|claps"),
    "disco": Style(
        tempo=(108, 132), share=2, kits=(0, 8, 24),
        grooves="disco|disco 16|pop four|house",
        families="soul|minor pop|vamp", bass="finger|slap|synth",
        lines="disco|disco 16|funk|motown|soul|riff",
        players="chops|strings|brass|epiano|piano|string stabs|clavinet|arp synth|clean",
        layers="congas|tambourine|claps|cowbell|tambourine 16"),
    "hip-hop": Style(
        tempo=(70, 105), share=2, kits=(25, 24, 0), swing=(0.0, 0.25), drift=0.0,
        grooves="hip-hop|boom bap|trap|trap roll|half time|breakbeat",
        families="minor pop|soul|vamp|electronic", bass="synth|finger|acoustic",
        lines="hip-hop|808|trap|kick|whole",
        players="epiano|piano|strings|pluck|pad|bells|stab|mallet|pizzicato|figure synth|flute",
        layers="claps|shaker"),
    "trap": Style(
        tempo=(60, 80), kits=(25, 24), drift=0.0,
        grooves="trap|trap roll|dubstep|half time",
        families="minor pop|electronic|metal", bass="synth",
        lines="808|trap|whole|hip-hop",
        players="bells|pluck|pad|piano|strings|figure synth|flute|choir pad|gate",
        layers="claps"),
    "house": Style(
        tempo=(118, 130), share=2, kits=(24, 25), swing=(0.0, 0.15), drift=0.0, voice=0.44,
        grooves="house|deep house|disco 16|pop four|minimal",
        families="electronic|soul|minor pop", bass="synth",
        lines="off|kick|disco|electro|stabs|acid|dub",
        players="house piano|stab|pad|organ|pluck|arp synth|sweep|figure synth|synth chords|"
                "lead synth",
        layers="claps|shaker|congas|cabasa"),
    "techno": Style(
        tempo=(124, 150), kits=(24, 25), drift=0.0, voice=0.15,
        grooves="techno|minimal|trance|house|electro",
        families="electronic", bass="synth",
        lines="off|acid|electro|sixteenths|drone",
        players="stab|arp synth|sweep|noise|pad|figure synth|gate|synth chords|lead synth",
        layers="shaker|claps|cowbell"),
    "drum and bass": Style(
        tempo=(160, 178), kits=(24, 25, 0), drift=0.0, voice=0.38,
        grooves="drum and bass|amen|breakbeat|two step|dubstep",
        families="electronic|minor pop|soul", bass="synth",
        lines="whole|808|electro|dub|drone|kick",
        players="pad|stab|epiano|arp synth|sweep|strings|pluck|noise|figure synth",
        layers="shaker|tambourine 16"),
    "synthpop": Style(
        tempo=(96, 140), share=2, kits=(24, 25, 16), drift=0.0, voice=0.75,
        grooves="pop four|electro|trance|stomp|pop",
        families="minor pop|pop|electronic", bass="synth",
        lines="arp|electro|eighths|off|disco|sixteenths",
        players="arp synth|pad|synth chords|lead synth|gate|pluck|stab|strings|bells",
        layers="claps|cowbell"),
    "new wave": Style(
        tempo=(110, 170), share=2, kits=(0, 8, 16, 24), voice=0.75,
        grooves="beat|rock|pop four|electro|punk|toms",
        families="minor pop|pop|rock", bass="pick|synth|finger",
        lines="eighths|off|electro|riff|kick",
        players="clean arp|synth chords|crunch|pad|chops|lead synth|organ|arp synth|power",
        layers="tambourine|claps"),
    "reggae": Style(
        tempo=(66, 96), share=2, kits=(0, 8, 25), swing=(0.0, 0.3),
        grooves="one drop|steppers|rockers",
        families="pop|minor pop|vamp|country", bass="finger|fretless",
        lines="one drop|reggae|steppers|dub",
        players="skank|skank|organ bubble|brass|clean|clavinet|sax|piano skank",
        layers="shaker|bongos|cowbell|tambourine"),
    "ska": Style(
        tempo=(120, 190), kits=(0, 8), swing=(0.0, 0.15),
        grooves="ska|two beat|punk|rock",
        families="pop|country|rock", bass="finger|pick",
        lines="eighths walk|walking|rock'n'roll|eighths",
        players="skank|skank|brass|sax|organ|piano skank|trumpet",
        layers="tambourine"),
    "bossa": Style(
        tempo=(100, 150), kits=(0, 32, 40),
        grooves="bossa|samba|brushes|ballad",
        families="jazz|soul", bass="acoustic|finger|fretless",
        lines="bossa|two beat|samba",
        players="nylon|nylon|piano|flute|epiano|vibes|strings|jazz guitar|sax",
        layers="shaker|clave|triangle|guiro"),
    "samba": Style(
        tempo=(90, 120), kits=(0, 8), voice=0.69,
        grooves="samba|songo|calypso",
        families="latin|jazz|pop", bass="finger|acoustic",
        lines="samba|bossa|tumbao",
        players="nylon|cavaquinho|piano|brass|flute|figure mallet|accordion",
        layers="agogo|cuica|shaker|tambourine 16|congas"),
    "salsa": Style(
        tempo=(84, 116), kits=(0, 8, 32), voice=0.69,
        grooves="mambo|songo|cha-cha",
        families="latin|vamp", bass="acoustic|finger",
        lines="tumbao|latin",
        players="montuno|montuno|brass|trumpet|vibes|flute|figure mallet|nylon",
        layers="clave|rhumba|tumbao|bongos|timbales|guiro|cowbell"),
    "latin pop": Style(
        tempo=(86, 110), kits=(0, 25, 24), voice=0.94,
        grooves="reggaeton|calypso|pop|cha-cha|disco",
        families="latin|pop|minor pop", bass="synth|finger",
        lines="tumbao|808|pop|latin",
        players="nylon|pluck|brass|piano|accordion|synth chords|figure mallet|lead synth|montuno",
        layers="guiro|shaker|congas|claps|timbales"),
    "afrobeat": Style(
        tempo=(96, 126), kits=(0, 8),
        grooves="afrobeat|funk linear|songo|second line",
        families="vamp|soul", bass="finger|slap",
        lines="riff|funk|latin|tumbao",
        players="chops|chops|brass|sax|organ|figure mallet|kalimba|clean|epiano",
        layers="shaker|congas|agogo|cowbell|clave"),
    "jazz": Style(
        tempo=(92, 200), share=2, kits=(32, 0, 40), swing=(0.16, 0.33), unit=2, ternary=0.15,
        drift=0.006, voice=0.25,
        grooves="swing|bebop|brushes|blues ride",
        families="jazz|blues", bass="acoustic",
        lines="walking|walking|two beat|halves",
        players="jazz piano|jazz guitar|sax|trumpet|vibes|jazz piano|brass|clarinet|organ"),
    "swing band": Style(
        tempo=(120, 190), kits=(32, 0), swing=(0.25, 0.33), unit=2, drift=0.004, voice=0.44,
        grooves="swing|blues ride|brushes|shuffle",
        families="jazz|blues", bass="acoustic",
        lines="walking",
        players="brass|brass|sax|trumpet|jazz piano|jazz guitar|clarinet|reeds"),
    "blues": Style(
        tempo=(60, 140), share=2, kits=(0, 8, 32), swing=(0.2, 0.33), unit=2, ternary=0.2,
        drift=0.006, voice=0.5,
        grooves="shuffle|blues ride|rock|half shuffle",
        families="blues", bass="finger|acoustic|pick",
        lines="boogie|walking|rock'n'roll|eighths|two beat",
        players="organ|lead guitar|crunch|piano|harmonica|solo guitar|boogie guitar|jazz guitar"),
    "country": Style(
        tempo=(80, 180), share=2, kits=(0, 32, 8, 40), swing=(0.0, 0.2), unit=2, ternary=0.18,
        drift=0.005, voice=0.69,
        grooves="train|country|two beat|shuffle|rock",
        families="country|pop", bass="finger|acoustic|pick",
        lines="two beat|country|rock'n'roll|eighths",
        players="strum|strum|steel picked|fiddle|piano|banjo|clean|pedal steel|train guitar",
        layers="tambourine|shaker"),
    "folk": Style(
        tempo=(76, 140), share=2, kits=(40, 32, 0), ternary=0.3, drift=0.008, voice=0.75,
        grooves="brushes|ballad|stomp|train|sparse|country",
        families="country|pop|minor pop", bass="acoustic|finger",
        lines="two beat|halves|whole|country",
        players="strum|picked|picked|fiddle|accordion|flute|banjo|mandolin|dulcimer|harmonica",
        layers="tambourine|shaker|claps"),
    "ballad": Style(
        tempo=(60, 84), share=2, kits=(0, 8, 16, 40), ternary=0.25, drift=0.005, voice=0.95,
        grooves="ballad|power ballad|pop|sparse|brushes|cymbals",
        families="pop|minor pop|soul", bass="finger|fretless|acoustic",
        lines="ballad|whole|halves|push",
        players="piano|piano|strings|picked|pad|epiano|clean arp|lead guitar|oboe|harp|"
                "backing voices",
        layers="shaker|tambourine|triangle"),
    "march": Style(
        tempo=(90, 126), kits=(48, 48, 0), ternary=0.3, voice=0.12,
        grooves="march|train|stomp|second line",
        families="country|pop|minor pop", bass="tuba|acoustic",
        lines="two beat|country",
        players="brass|trumpet|flute|reeds|horns|timpani|figure mallet|piccolo|bells",
        layers="triangle"),
    "cinematic": Style(
        tempo=(60, 140), kits=(48, 48, 0, 16), ternary=0.2, voice=0.44,
        grooves="toms|cymbals|jungle toms|sparse|march|half time",
        families="minor pop|metal|pop", bass="contrabass|synth",
        lines="whole|drone|halves|eighths",
        players="strings|strings|horns|choir pad|timpani|pizzicato|harp|tremolo|piano|"
                "figure mallet|sweep|bells"),
    "prog": Style(
        tempo=(70, 170), share=2, kits=(0, 8, 16), ternary=0.3, voice=0.5,
        families="minor pop|rock|jazz|metal", bass="pick|finger|fretless",
        lines="riff|kick|eighths|walking|funk",
        players="organ|lead synth|riff guitar|power|piano|mallet|arp synth|choir pad|strings|"
                "flute|solo guitar",
        layers="cowbell|tambourine"),
    "anything": Style(
        tempo=(60, 200), share=3, kits=(0, 8, 16, 24, 25, 32, 40), swing=(0.0, 0.2), ternary=0.1,
        grooves="|".join(GROOVES),
        families="pop|rock|soul|vamp|latin|electronic|jazz|minor pop",
        bass="finger|pick|synth|slap|acoustic|fretless",
        lines="kick|riff|eighths|pop|funk|walking|off|arp|tumbao",
        players="piano|organ|power|strum|chops|pluck|mallet|figure mallet|figure synth|stab|"
                "brass|strings|pad|lead synth|pizzicato|kalimba|timpani|noise|clavinet|xylophone|"
                "wall|gate|harpsichord",
        layers="|".join(LAYERS)),
}
