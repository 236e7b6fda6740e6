"""What a group of settings is: names and types that are checked, and a way back from JSON."""

import dataclasses
import difflib
import typing
from typing import Any

from stemsep.errors import InputError


class Section:
    """A group of settings; an unknown name is an error that lists the known ones."""

    _frozen = False

    def __setattr__(self, name: str, value: Any) -> None:
        known = [f.name for f in dataclasses.fields(self)]  # type: ignore[arg-type]
        if name not in known:
            raise InputError(unknown(f"{type(self).__name__} has no setting", name, known))
        if self._frozen:
            raise InputError(
                f"{type(self).__name__}.{name} is read-only once the configuration was checked"
            )
        object.__setattr__(self, name, value)

    def freeze(self) -> None:
        """Make this section and those in it read-only."""
        object.__setattr__(self, "_frozen", True)
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, Section):
                value.freeze()


def unknown(what: str, name: str, known: typing.Iterable[str]) -> str:
    """Return the sentence for a wrong name: the nearest right one, and all choices."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{what} {name!r}{hint} choices: {', '.join(known)}"


def lookup(config: Any, path: str) -> Any:
    """Return the value of a dotted path, as in ``lookup(config, "optim.lr")``."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def check_types(section: Section, path: str) -> None:
    """Raise InputError at the first setting whose value has not its annotated type; whole numbers
    may stand for floats, lists for tuples.
    """
    for f in dataclasses.fields(section):  # type: ignore[arg-type]
        value, here = getattr(section, f.name), f"{path}.{f.name}"
        if isinstance(value, Section):
            check_types(value, here)
            continue
        kind = typing.get_origin(f.type) or f.type
        if kind is tuple and isinstance(value, (list, tuple)):
            value = tuple(
                convert(v, item, here)
                for v, item in zip(value, item_types(f.type, len(value), here))
            )
        else:
            value = convert(value, kind, here)
        setattr(section, f.name, value)


def item_types(kind: Any, length: int, here: str) -> tuple:
    """Return the type of each item of a tuple type; raises InputError when the length is another.
    """
    items = typing.get_args(kind)
    if items[-1] is Ellipsis:
        return (items[0],) * length
    if len(items) != length:
        raise InputError(f"{here} needs {len(items)} values, {length} given")
    return items


def convert(value: Any, kind: Any, here: str) -> Any:
    """Return value as `kind`; raises InputError naming the field when it is of another type."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise InputError(f"{here} must be {kind.__name__}, not {type(value).__name__} {value!r}")


def build(kind: Any, values: dict[str, Any], path: str) -> Any:
    """Return a section of type `kind` with `values`, recursively; raises InputError where they do
    not fit.
    """
    if not isinstance(values, dict):
        raise InputError(f"{path} is a group of settings, not {values!r}")
    section = kind()
    for name, value in values.items():
        known = [f.name for f in dataclasses.fields(kind)]
        if name not in known:
            raise InputError(unknown(f"{path} has no setting", name, known))
        current = getattr(section, name)
        setattr(
            section,
            name,
            (
                build(type(current), value, f"{path}.{name}")
                if isinstance(current, Section)
                else value
            ),
        )
    return section
