"""Songs on disk: a source `layout:path`, as in `slakh:/data/slakh2100`, gives a list of tracks."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from stemsep.config import REST
from stemsep.datasets import folders, lists, musdb, recipes, slakh, stems
from stemsep.datasets.listing import Contents, Listing, Remarks, Song, counted, some
from stemsep.datasets.tracks import Track
from stemsep.errors import InputError

# Each lists the songs below a root, which is a folder but for `list`.
LAYOUTS: dict[str, Callable[[Path], Listing]] = {
    "slakh": slakh.find,
    "musdb": musdb.find,
    "folders": folders.find,
    "stems": stems.find,
    "list": lists.find,
    "demo": lambda root: slakh.find(root, bad_renders={}),  # datasets.demo writes songs as Slakh's
}
_SPLITS = "#splits="        # what follows is the list of splits of a slakh: source


def parse(source: str) -> tuple[str, Path]:
    """Split `layout:path`, without a list of splits; raises InputError that lists the layouts."""
    layout, _, place = source.partition(":")
    path, listed, splits = place.partition(_SPLITS)
    if layout not in LAYOUTS or not path:
        raise InputError(f"config.data.source: {source!r} is no source; give layout:path, as in "
                         f"slakh:/data/slakh2100; layouts: {', '.join(LAYOUTS)}")
    if listed and (layout != "slakh" or not splits):
        raise InputError(f"config.data.source: {source!r} is no source; a list of splits goes with "
                         f"slakh: only, as in slakh:/data/slakh2100{_SPLITS}redux.json")
    return layout, Path(os.path.expanduser(path))


def _listing(source: str) -> Listing:
    layout, root = parse(source)
    if layout != "list" and not root.is_dir():
        fault = "is a file" if root.exists() else "there is no such folder"
        raise InputError(f"{source}: {fault}; give the folder that holds the songs")
    splits = source.partition(_SPLITS)[2]
    return slakh.find(root, splits) if splits else LAYOUTS[layout](root)


def _songs(source: str, faults: dict[str, InputError] | None,
           remarks: Remarks) -> list[tuple[Song, Contents]]:
    """List the songs of a source with their files, by split and name; faults as in `tracks`."""
    listing = _listing(source)
    remarks.left_out += listing.remarks.left_out
    remarks.warnings += listing.remarks.warnings
    for (split, name), count in Counter(song[:2] for song in listing.songs).items():
        if count > 1:
            raise InputError(f"{parse(source)[1]}: the split {split!r} has {count} songs called "
                             f"{name!r}; rename one of them")
    found = []
    for song in sorted(listing.songs, key=lambda song: song[:2]):
        try:
            found.append((song, _contents(song)))
        except InputError as error:
            if faults is None:
                raise
            faults[f"{song.split}/{_legible(song.name)}"] = error
    _remark(found, remarks)
    return found


def _contents(song: Song) -> Contents:
    """Return the files of a song; raises InputError when it cannot be used."""
    try:
        contents = song.contents()
    except OSError as error:
        raise InputError(f"{_legible(str(error.filename))}: cannot be opened ({error.strerror}); "
                         "check that it is there and that you may read it") from error
    for name in (song.name, *(file.clip.path.name for file in contents.files)):
        if _legible(name) != name:
            raise InputError(f"{_legible(name)}: is no name in UTF-8; rename it")
    return contents


def _legible(name: str) -> str:
    """Return a name with the bytes that are no UTF-8 spelled out."""
    return name.encode(errors="backslashreplace").decode()


def _remark(found: list[tuple[Song, Contents]], remarks: Remarks) -> None:
    """Add what the songs' contents say, and what is odd about the songs beside each other."""
    alike, origins = defaultdict(list), defaultdict(list)
    for song, contents in found:
        name = f"{song.split}/{song.name}"
        remarks.left_out += [f"{name}: {sentence}" for sentence in contents.left_out]
        remarks.warnings += [f"{name}: {sentence}" for sentence in contents.warnings]
        alike[song.name.lower()].append(name)
        if contents.origin:
            origins[contents.origin].append(song)
    remarks.warnings += [f"{', '.join(names)} have the same name, but for upper and lower case; "
                         "are they one song?" for names in alike.values() if len(names) > 1]
    again = [f"{song.split}/{song.name}" for same in origins.values()
             if len({song.split for song in same}) > 1 for song in same]
    if again:
        remarks.warnings.append(f"{counted(len(again))} play MIDI files that songs of another "
                                f"split play too: {some(again)}; Slakh's list redux.json leaves "
                                "such songs out")


def tracks(source: str, *, stems: Sequence[str] | None, recipe: str = "",
           faults: dict[str, InputError] | None = None,
           remarks: Remarks | None = None) -> list[Track]:
    """List the songs of `layout:path`, their files grouped into `stems`, by split and name.

    stems: None for all that there are: of the recipe, of names, instruments, and the rest.
    recipe: path of a YAML recipe, or empty. A song that cannot be used raises InputError or, given
    `faults`, is entered there as split/name while the rest goes on. A source, a recipe or a stem
    that cannot be used raises in any case. What is left out on purpose, and what a user should
    know, is added to `remarks`.
    """
    grouping = recipes.load(recipe)
    found = _songs(source, faults, Remarks() if remarks is None else remarks)
    # Slakh's S00, S01, ... are one instrument in one song and another in the next: no names.
    names = {recipes.normal(file.name) for _, contents in found for file in contents.files
             if not re.fullmatch(r"S\d+", file.name)}
    if stems is None:
        stems = [*sorted({*recipes.INSTRUMENTS, *grouping.groups.values(), *names}), REST]
    recipes.check_stems(stems, grouping, names)
    return [Track(song.name, song.split, recipes.group(contents.files, stems, grouping),
                  contents.mixture) for song, contents in found]


__all__ = ["LAYOUTS", "Remarks", "Track", "parse", "tracks"]
