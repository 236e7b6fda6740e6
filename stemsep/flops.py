"""The floating point operations of a function, counted from what it does and not by a compiler.

A compiler's own count takes the body of a loop once, however often it runs, and convolutions that
it leaves to a library not at all.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count(function: Callable, *arguments: Any) -> float:
    """Return the operations of the matrix products and convolutions in `function(*arguments)`, an
    addition and a multiplication two; of a mapped function those of one device.

    All else is left out: it is a few per cent in these networks. A loop of unknown length counts
    once, of branches the longest.
    """
    return _total(jax.make_jaxpr(function)(*arguments).jaxpr)


def _total(jaxpr: Any) -> float:
    total = 0.0
    for equation in jaxpr.eqns:
        name, inside = equation.primitive.name, list(map(_total, _inside(equation.params)))
        if name == "dot_general":
            total += _product(equation)
        elif name == "conv_general_dilated":
            total += _convolution(equation)
        elif name == "cond":
            total += max(inside)
        else:
            total += sum(inside) * (equation.params["length"] if name == "scan" else 1)
    return total


def _inside(params: dict[str, Any]) -> Iterator[Any]:
    """Yield the programs that an operation runs: of a loop, of branches, of a function."""
    for value in params.values():
        for part in value if isinstance(value, (list, tuple)) else (value,):
            part = getattr(part, "jaxpr", part)  # a closed one holds its constants as well
            if hasattr(part, "eqns"):
                yield part


def _product(equation: Any) -> float:
    (contracted, _), _ = equation.params["dimension_numbers"]
    summed = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return 2.0 * summed * math.prod(equation.outvars[0].aval.shape)


def _convolution(equation: Any) -> float:
    """Count the products with what was given: not with the zeros between and around it."""
    params = equation.params
    numbers = params["dimension_numbers"]
    given, kernel, out = (var.aval.shape for var in (*equation.invars, *equation.outvars))
    axes = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:],
               params["window_strides"], params["padding"], params["lhs_dilation"],
               params["rhs_dilation"])
    pairs = math.prod(
        _pairs(given[i], kernel[k], out[o], stride, low, spread, apart)
        for i, k, o, stride, (low, _), spread, apart in axes
    )
    # A group of features, or of the batch, sees its own channels only; the kernel has no more.
    batch = out[numbers.out_spec[0]] * out[numbers.out_spec[1]]
    return 2.0 * batch * kernel[numbers.rhs_spec[1]] * pairs


def _pairs(given: int, kernel: int, out: int, stride: int, low: int, spread: int,
           apart: int) -> int:
    """Return how many pairs of an output and a tap of the kernel meet a given value, on one axis.

    spread: steps from one given value to the next, with zeros between. apart: the same of taps.
    """
    pairs = 0
    for tap in range(kernel):
        # Output i meets the place i * stride + tap * apart - low among the spread values.
        places = range(tap * apart - low, tap * apart - low + out * stride, stride)
        pairs += sum(1 for at in places if 0 <= at <= (given - 1) * spread and at % spread == 0)
    return pairs
