"""Which stem files make up which stem: by name, by a YAML recipe, or by General MIDI instrument.

A recipe is the file that slakh-utils calls a submix definition: a `Mixing key` (inst_class,
program_num, plugin_name, or name, the file's own) and `Recipes`, which maps a stem to the list of
the values that belong to it.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stemsep.audio import Clip
from stemsep.config import REST
from stemsep.datasets.score import DRUM_PROGRAM
from stemsep.errors import InputError
from stemsep.section import unknown

MIXING_KEYS = ("inst_class", "program_num", "plugin_name", "name")

# General MIDI programs of each instrument, counted from 0; every program belongs to exactly one.
# These are the families of eight, but for the voices (52-54 among the ensembles, 85 among the synth
# leads) and the orchestra hit (55).
INSTRUMENTS: dict[str, tuple[int, ...]] = {
    "drums": (DRUM_PROGRAM,),
    "bass": tuple(range(32, 40)),
    "piano": tuple(range(0, 8)),
    "guitar": tuple(range(24, 32)),
    "vocals": (52, 53, 54, 85),
    "strings": tuple(range(40, 52)),
    "chromatic_percussion": tuple(range(8, 16)),
    "organ": tuple(range(16, 24)),
    "brass": tuple(range(56, 64)),
    "reed": tuple(range(64, 72)),
    "pipe": tuple(range(72, 80)),
    "synth_lead": (80, 81, 82, 83, 84, 86, 87),
    "synth_pad": tuple(range(88, 96)),
    "ethnic": tuple(range(104, 112)),
    "percussive": tuple(range(112, 120)),
    "effects": (55, *range(96, 104), *range(120, 128)),
}

# What people call the files of a stem, beside its own name.
FILE_NAMES = {
    "drum": "drums", "drumkit": "drums", "vocal": "vocals", "voice": "vocals", "voices": "vocals",
    "singing": "vocals", "guitars": "guitar", "keys": "piano",
}

# Slakh's classes that are no instrument's name; they decide where program_num is missing.
_CLASSES = {"strings_(continued)": "strings", "sound_effects": "effects"}


@dataclass(frozen=True)
class StemFile:
    """An audio file of a song and what is known about it; None where the metadata does not say.

    name: what the layout calls it, the name of the file in most.
    """

    clip: Clip
    name: str
    inst_class: str | None = None
    program_num: int | None = None
    plugin_name: str | None = None
    is_drum: bool = False


@dataclass(frozen=True)
class Recipe:
    """key: one of MIXING_KEYS; groups: value, as `normal` spells it -> stem."""

    key: str
    groups: Mapping[str, str]


NO_RECIPE = Recipe("name", {})


def normal(value: Any) -> str:
    """Spell a name as names are compared: lower case, one underscore between words."""
    return "_".join(str(value).replace("-", " ").replace("_", " ").split()).lower()


def text(recipe: str) -> str:
    """Return the YAML text of a recipe, given as a path or as its text (which has several lines).

    Raises InputError where the file cannot be read. Empty is no recipe.
    """
    if not recipe or "\n" in recipe:
        return recipe
    try:
        return Path(recipe).read_text(encoding="utf-8").rstrip("\n") + "\n"
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{recipe}: cannot be read ({reason}); give the path of a YAML "
                         "recipe") from error


def load(recipe: str) -> Recipe:
    """Read a YAML recipe, a path or the text itself; an empty one is no recipe.

    Raises InputError naming the file and what is wrong in it.
    """
    if not recipe:
        return NO_RECIPE
    path = "the recipe" if "\n" in recipe else recipe
    try:
        content = yaml.safe_load(text(recipe))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); set config.data.recipe to a YAML "
                         "recipe") from error
    recipes = content.get("Recipes") if isinstance(content, dict) else None
    if not isinstance(recipes, dict) or "Mixing key" not in content:
        raise InputError(f"{path}: is no recipe; it needs 'Mixing key' and 'Recipes', which gives "
                         "each stem a list of values")
    key = content["Mixing key"]
    if key not in MIXING_KEYS:
        raise InputError(unknown(f"{path}: the mixing key cannot be", str(key), MIXING_KEYS))
    groups: dict[str, str] = {}
    for stem, values in recipes.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{path}: {stem!r} needs a list of values, not {values!r}")
        stem = normal(stem)
        for value in map(normal, values):
            if groups.setdefault(value, stem) != stem:
                raise InputError(f"{path}: {value!r} is in both {groups[value]!r} and {stem!r}; "
                                 "leave it in one")
    return Recipe(key, groups)


def check_stems(stems: Sequence[str], recipe: Recipe, names: set[str]) -> None:
    """Raise InputError for a stem that is no instrument, in no recipe, and in no file's name, and
    for a recipe's stem that nobody asks for although its name is nearly that of one.

    names: those of the source's files, as `normal` spells them.
    """
    known = list(INSTRUMENTS)
    known += sorted({*recipe.groups.values(), *names}.difference(known))
    for stem in stems:
        if stem != REST and normal(stem) not in known:
            raise InputError(unknown("config.data.targets: there is no stem", stem, [*known, REST]))
    wanted = {normal(stem) for stem in stems if stem != REST}
    made = set(recipe.groups.values())
    for stem in sorted(made - wanted - set(INSTRUMENTS)):
        near = difflib.get_close_matches(stem, wanted - made, n=1)
        if near or not made & wanted:
            raise InputError(unknown("config.data.recipe makes a stem that no target names:", stem,
                                     sorted(wanted - made or wanted)))


def group(files: Sequence[StemFile], stems: Sequence[str],
          recipe: Recipe) -> dict[str, tuple[Clip, ...]]:
    """Return stem -> its files, in order of name; every file is in one stem at most.

    What no other stem takes belongs to "rest", and is left out where `stems` has none.
    """
    grouped: dict[str, list[Clip]] = {stem: [] for stem in stems}
    spelled = {normal(stem): stem for stem in stems}
    for file in sorted(files, key=lambda file: str(file.clip)):
        stem = next((spelled[s] for s in _candidates(file, recipe) if s in spelled), REST)
        if stem in grouped:
            grouped[stem].append(file.clip)
    return {stem: tuple(clips) for stem, clips in grouped.items()}


def _candidates(file: StemFile, recipe: Recipe) -> list[str]:
    """Return the stems that a file could belong to, the most particular first.

    An instrument for which the recipe has values is what the recipe says, and nothing else.
    """
    name = normal(file.name)
    program = DRUM_PROGRAM if file.is_drum else file.program_num
    value = program if recipe.key == "program_num" else getattr(file, recipe.key)
    known = value is not None and normal(value) in recipe.groups
    by_recipe = [recipe.groups[normal(value)]] if known else []
    built_in = [FILE_NAMES[name]] if name in FILE_NAMES else []
    if program is not None:
        built_in += [stem for stem, programs in INSTRUMENTS.items() if program in programs]
    elif file.inst_class is not None:
        family = normal(file.inst_class)
        built_in.append(_CLASSES.get(family, family))
    overridden = set(recipe.groups.values())
    return [name, *by_recipe, *(stem for stem in built_in if stem not in overridden)]
