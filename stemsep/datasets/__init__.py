"""Songs on disk: a source is named `layout:path`, as in `slakh:/data/slakh2100`, and gives a list of tracks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from stemsep.datasets import folders, recipes, slakh
from stemsep.datasets.recipes import StemFile
from stemsep.datasets.tracks import Track
from stemsep.errors import InputError


class Layout(NamedTuple):
    """find: root -> (split, folder) of each song; files: folder -> its stem files and its mixture."""

    find: Callable[[Path], list[tuple[str, Path]]]
    files: Callable[[Path], tuple[list[StemFile], Path | None]]


LAYOUTS = {
    "slakh": Layout(slakh.find, slakh.files),
    "folders": Layout(folders.find, folders.files),
    "demo": Layout(slakh.find, slakh.files),        # songs that datasets.demo wrote, as Slakh lays them out
}


def parse(source: str) -> tuple[str, Path]:
    """Split `layout:path`; raises InputError that lists the layouts."""
    layout, colon, path = source.partition(":")
    if not colon or layout not in LAYOUTS or not path:
        raise InputError(f"{source!r} is no source; give layout:path, as in slakh:/data/slakh2100; layouts: "
                         f"{', '.join(LAYOUTS)}")
    return layout, Path(path).expanduser()


def tracks(source: str, *, stems: Sequence[str], recipe: str = "",
           faults: dict[str, InputError] | None = None) -> list[Track]:
    """List the songs of `layout:path`, each with its files grouped into `stems`, ordered by split and name.

    recipe: path of a YAML recipe, or empty. A song that cannot be used raises InputError or, given `faults`, is
    entered there under its name while the rest goes on. A source that cannot be used raises in any case.
    """
    name, root = parse(source)
    layout, grouping = LAYOUTS[name], recipes.load(recipe)
    if not root.is_dir():
        raise InputError(f"{source}: {'is a file' if root.exists() else 'there is no such folder'}; give the folder "
                         "that holds the songs")
    found = []
    for split, song in layout.find(root):
        try:
            files, mixture = layout.files(song)
            if not files:
                raise InputError(f"{song}: holds no stem files (.wav, .flac, ...); add them or move the folder away")
            found.append((split, song, files, mixture))
        except InputError as error:
            if faults is None:
                raise
            faults[song.name] = error
    names = {recipes.normal(file.name) for *_, files, _ in found for file in files}
    recipes.check_stems(stems, grouping, names - {f"s{number:02d}" for number in range(100)})
    return [Track(song.name, split, recipes.group(files, stems, grouping), mixture)
            for split, song, files, mixture in sorted(found, key=lambda item: item[:2])]


__all__ = ["LAYOUTS", "Track", "parse", "tracks"]
