"""Songs on disk: a source `layout:path`, as in `slakh:/data/slakh2100`, gives a list of tracks."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from stemsep.audio import Clip
from stemsep.config import REST
from stemsep.datasets import folders, musdb, recipes, slakh
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.tracks import Track
from stemsep.errors import InputError


class Layout(NamedTuple):
    """find: root -> (split, folder) of each song; files: folder -> stem files and mixture."""

    find: Callable[[Path], list[tuple[str, Path]]]
    files: Callable[[Path], tuple[list[StemFile], Clip | None]]


LAYOUTS = {
    "slakh": Layout(slakh.find, slakh.files),
    "musdb": Layout(musdb.find, musdb.files),
    "folders": Layout(folders.find, folders.files),
    "demo": Layout(slakh.find, slakh.files),        # datasets.demo writes songs as Slakh does
}


def parse(source: str) -> tuple[str, Path]:
    """Split `layout:path`; raises InputError that lists the layouts."""
    layout, _, path = source.partition(":")
    if layout not in LAYOUTS or not path:
        raise InputError(f"config.data.source: {source!r} is no source; give layout:path, as in "
                         f"slakh:/data/slakh2100; layouts: {', '.join(LAYOUTS)}")
    return layout, Path(path).expanduser()


class SongFiles(NamedTuple):
    """A song as its layout finds it, its files not grouped yet."""

    split: str
    folder: Path
    files: list[StemFile]
    mixture: Clip | None


def _songs(source: str, *, faults: dict[str, InputError] | None = None) -> list[SongFiles]:
    """List the songs of `layout:path` with their files, by split and name; faults as in `tracks`.
    """
    name, root = parse(source)
    layout = LAYOUTS[name]
    if not root.is_dir():
        fault = "is a file" if root.exists() else "there is no such folder"
        raise InputError(f"{source}: {fault}; give the folder that holds the songs")
    places = layout.find(root)
    for (split, name), count in Counter((split, song.name) for split, song in places).items():
        if count > 1:
            raise InputError(f"{root}: the split {split!r} has {count} songs called {name!r}; "
                             "rename one of them")
    found = []
    for split, song in sorted(places):
        try:
            files, mixture = layout.files(song)
            if not files:
                raise InputError(f"{song}: holds no stem files (.wav, .flac, ...); add them, or "
                                 "move the folder away")
            found.append(SongFiles(split, song, files, mixture))
        except InputError as error:
            if faults is None:
                raise
            faults[f"{split}/{song.name}"] = error
    return found


def tracks(source: str, *, stems: Sequence[str] | None, recipe: str = "",
           faults: dict[str, InputError] | None = None) -> list[Track]:
    """List the songs of `layout:path`, their files grouped into `stems`, by split and name.

    stems: None for all that there are: of the recipe, of names, instruments, and the rest.
    recipe: path of a YAML recipe, or empty. A song that cannot be used raises InputError or, given
    `faults`, is entered there as split/name while the rest goes on. A source, a recipe or a stem
    that cannot be used raises in any case.
    """
    grouping = recipes.load(recipe)
    found = _songs(source, faults=faults)
    # Slakh's S00, S01, ... are one instrument in one song and another in the next: no names.
    names = {recipes.normal(file.name) for song in found for file in song.files
             if not re.fullmatch(r"S\d+", file.name)}
    if stems is None:
        stems = [*sorted({*recipes.INSTRUMENTS, *grouping.groups.values(), *names}), REST]
    recipes.check_stems(stems, grouping, names)
    return [Track(song.folder.name, song.split, recipes.group(song.files, stems, grouping),
                  song.mixture) for song in found]


__all__ = ["LAYOUTS", "Track", "parse", "tracks"]
