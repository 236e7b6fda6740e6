"""The lists that say which split a track of Slakh2100 is in: orig, split2 and redux.

slakh-utils publishes splits_v2.json and redux.json, which say of every track what becomes of it in
comparison to the original splits: {"Track00003": {"action": "move", "destination_split": "test",
...}, "Track00049": {"action": "omit", ...}, "Track00001": {"action": null}, ...}. A list of one's
own may be plain: {"train": ["Track00001", ...], "validation": [...], "test": [...]}.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from stemsep.datasets.listing import Remarks, counted, some
from stemsep.datasets.splits import LEFT_OUT, SPLIT_FOLDERS, subfolders
from stemsep.errors import InputError
from stemsep.section import unknown

ORIGINAL = "orig"
_LAST_OF_SPLIT = {"train": 1500, "validation": 1875, "test": 2100}


def original_split(name: str) -> str | None:
    """Return the split of Slakh2100-orig that a track is in by its number; None without one."""
    number = int(match[1]) if (match := re.fullmatch(r"Track(\d{5})", name)) else 0
    return next((split for split, last in _LAST_OF_SPLIT.items() if 1 <= number <= last), None)


def in_list(root: Path, given: str) -> tuple[list[tuple[str, str, Path]], Remarks]:
    """Return (split, name, folder) of the songs below `root` that a list has, and remarks.

    given: a path, a file's name in `root`, or ORIGINAL. Where a song lies, be it in another split's
    folder or among the omitted ones, plays no part. Raises InputError for a list that cannot be
    used, and when it has none of the songs.
    """
    folders = _anywhere(root)
    if given == ORIGINAL:
        title, numbered = "the original splits", ((n, original_split(n)) for n in folders)
        splits = {name: split for name, split in numbered if split}
    else:
        path = root / given if (root / given).is_file() else Path(os.path.expanduser(given))
        title, splits = path.name, load(path)
    found = [(splits[name], name, folder) for name, folder in folders.items()
             if splits.get(name, LEFT_OUT) != LEFT_OUT]
    if not found:
        raise InputError(f"{root}: {title} has no split for any of its {counted(len(folders))} "
                         f"({some(list(folders))}); give another list")
    lists = {
        f"that {title} omits": [n for n in folders if splits.get(n) == LEFT_OUT],
        f"without a split in {title}": [n for n in folders if n not in splits],
        f"of {title} that the dataset lacks": [
            n for n, split in splits.items() if n not in folders and split != LEFT_OUT],
    }
    return sorted(found), Remarks([f"{counted(len(names))} {which}: {some(names)}"
                                   for which, names in lists.items() if names])


def load(path: Path) -> dict[str, str]:
    """Read a list; returns name -> split, or LEFT_OUT for what it omits.

    Raises InputError that names the file, the track and what is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a list of "
                         "splits, or a name in the dataset's folder") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: is no JSON ({error}); download the list again") from error
    entries = list(content.values()) if isinstance(content, dict) else []
    if entries and all(isinstance(entry, list) for entry in entries):
        return _plain(content, path)
    if entries and all(isinstance(entry, dict) and "action" in entry for entry in entries):
        return {name: _published(name, entry, path) for name, entry in content.items()}
    raise InputError(f"{path}: is no list of splits, which gives an 'action' for each track, as "
                     "redux.json, or a list of tracks for each split; give another file")


def _plain(content: dict[str, list], path: Path) -> dict[str, str]:
    splits: dict[str, str] = {}
    for given, names in content.items():
        split = _split(given, str(path))
        for name in map(str, names):
            if splits.setdefault(name, split) != split:
                raise InputError(f"{path}: {name} is in both {splits[name]!r} and {split!r}; leave "
                                 "it in one")
    return splits


def _published(name: str, entry: dict[str, Any], path: Path) -> str:
    action = entry["action"]
    if action == "omit":
        return LEFT_OUT
    if action == "move":
        return _split(entry.get("destination_split"), f"{path}: {name}")
    if action is not None:
        raise InputError(unknown(f"{path}: {name}: there is no action", str(action),
                                 ("move", "omit", "null")))
    if split := original_split(name):
        return split
    raise InputError(f"{path}: {name} stays in its original split, and only Track00001 to "
                     "Track02100 have one; give it the action 'move'")


def _split(given: Any, where: str) -> str:
    known = {**SPLIT_FOLDERS, LEFT_OUT: LEFT_OUT}
    if str(given).lower() not in known:
        raise InputError(unknown(f"{where}: there is no split", str(given), list(known)))
    return known[str(given).lower()]


def _anywhere(root: Path) -> dict[str, Path]:
    """Return name -> folder of every song, side by side or in folders of splits."""
    found: dict[str, Path] = {}
    for folder in subfolders(root):
        holds_songs = folder.name.lower() in (*SPLIT_FOLDERS, LEFT_OUT)
        for song in subfolders(folder) if holds_songs else [folder]:
            other = found.setdefault(song.name, song)
            if other is not song:
                raise InputError(f"{root}: {song.name} is in both {other.parent.name!r} and "
                                 f"{song.parent.name!r}; remove one of them")
    if not found:
        raise InputError(f"{root}: holds no songs; it needs one folder a song")
    return found
