"""Parameters by their names: "down0/kernel" is the kernel of the layer down0.

A pattern (`fnmatch`) chooses the names that it matches, and all in a layer that it matches:
"down*" both down0/kernel and down0_norm/scale, "*/kernel" all kernels.
"""

import fnmatch
from collections.abc import Iterable
from typing import Any

import jax
import optax

from stemsep.errors import InputError


def name(path: tuple) -> str:
    """Return the name of a parameter by its path in the tree."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def leaves(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their names."""
    return {name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def chosen(pattern: str, parameter: str) -> bool:
    """Whether a pattern chooses a parameter's name."""
    return (fnmatch.fnmatchcase(parameter, pattern)
            or fnmatch.fnmatchcase(parameter, f"{pattern}/*"))


def check(patterns: Iterable[str], params: Any, field: str) -> None:
    """Raise InputError for a pattern that chooses none of the parameters."""
    names = list(leaves(params))
    for pattern in patterns:
        if not any(chosen(pattern, parameter) for parameter in names):
            layers = sorted({parameter.split("/")[0] for parameter in names})
            raise InputError(f"{field}: {pattern!r} matches no parameter, as {names[0]!r}; the "
                             f"layers are {', '.join(layers)}")


def check_some_trained(patterns: tuple[str, ...], params: Any, field: str) -> None:
    """Raise InputError where the patterns choose all of the parameters."""
    if all(_any(patterns, parameter) for parameter in leaves(params)):
        raise InputError(f"{field} {patterns} matches every parameter, and leaves none to train; "
                         "leave out a pattern")


def frozen(tx: optax.GradientTransformation,
           patterns: tuple[str, ...]) -> optax.GradientTransformation:
    """Return an optimiser that leaves the parameters that any pattern chooses as they are.

    They take none of its memory, and the norm that clipping looks at is that of the others.
    """
    if not patterns:
        return tx

    def labels(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "frozen" if _any(patterns, name(path)) else "trained", params)

    return optax.partition({"trained": tx, "frozen": optax.set_to_zero()}, labels)


def scaled(factors: dict[str, float]) -> optax.GradientTransformation:
    """Return a transformation that multiplies the update of each parameter by the factor of the
    first pattern that chooses it, else by 1: a factor of its learning rate.
    """
    def factor(path: tuple) -> float:
        return next((value for pattern, value in factors.items() if chosen(pattern, name(path))),
                    1.0)

    return optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(
        lambda path, update: update * factor(path), updates))


def kept(patterns: tuple[str, ...], old: Any, new: Any) -> Any:
    """Return a new tree, such as of statistics, with the old leaves that any pattern chooses."""
    if not patterns:
        return new
    return jax.tree_util.tree_map_with_path(
        lambda path, was, now: was if _any(patterns, name(path)) else now, old, new)


def stopped(patterns: tuple[str, ...], params: Any) -> Any:
    """Return the parameters with no gradient of those that any pattern chooses: what only they need
    is not computed.
    """
    if not patterns:
        return params
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jax.lax.stop_gradient(leaf) if _any(patterns, name(path)) else leaf,
        params)


def _any(patterns: tuple[str, ...], parameter: str) -> bool:
    return any(chosen(pattern, parameter) for pattern in patterns)
