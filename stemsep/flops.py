"""The floating point operations of a function, counted from what it does and not by a compiler, and
how many of them devices do in a second.

A compiler's own count takes the body of a loop once, however often it runs, and convolutions that
it leaves to a library not at all.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax

# The most TFLOP/s of a device by the beginning of its kind, dense: (bfloat16, float32). Of GPUs
# from the data sheets of NVIDIA (H100, H200, A100, L4, T4, V100; theirs with sparsity, halved),
# where float32 is what JAX computes it with unless told otherwise: TF32 from Ampere on. None where
# it has no such units. Of TPUs from cloud.google.com/tpu/docs (a page each of v2 to v6e), a core of
# v2 and v3, where two make a chip; float32 is multiplied in one pass of bfloat16 there.
PEAK_TFLOPS: dict[str, tuple[float | None, float]] = {
    "NVIDIA H200 NVL": (835.5, 417.5),
    "NVIDIA H200": (989.5, 494.5),
    "NVIDIA H100 NVL": (835.5, 417.5),
    "NVIDIA H100 PCIe": (756.5, 378.0),
    "NVIDIA H100": (989.5, 494.5),
    "NVIDIA A100": (312.0, 156.0),
    "NVIDIA L4": (121.0, 60.0),
    "Tesla T4": (None, 8.1),
    "Tesla V100-PCIE": (None, 14.0),
    "Tesla V100": (None, 15.7),
    "TPU v2": (22.5, 22.5),
    "TPU v3": (61.5, 61.5),
    "TPU v4": (275.0, 275.0),
    "TPU v5 lite": (197.0, 197.0),
    "TPU v5e": (197.0, 197.0),
    "TPU v5": (459.0, 459.0),
    "TPU v5p": (459.0, 459.0),
    "TPU v6 lite": (918.0, 918.0),
    "TPU v6e": (918.0, 918.0),
}


def count(function: Callable, *arguments: Any) -> float:
    """Return the operations of the matrix products and convolutions in `function(*arguments)`, an
    addition and a multiplication two; of a mapped function those of one device.

    All else is left out: it is a few per cent in these networks. A loop of unknown length counts
    once, of branches the longest.
    """
    return _total(jax.make_jaxpr(function)(*arguments).jaxpr)


def peak_tflops(kind: str, dtype: str) -> float | None:
    """Return the most TFLOP/s of a device of a kind in "bfloat16" or "float32", or None where it is
    not known, as of a CPU or a part of a GPU.
    """
    if "MIG" in kind:
        return None
    for known, peaks in PEAK_TFLOPS.items():
        rest = kind.removeprefix(known)
        # "NVIDIA L40S" is no L4, "TPU v4 lite" no v4; after the name come memory and socket.
        if kind.startswith(known) and not rest[:1].isalnum() and not rest.startswith(" lite"):
            return peaks[dtype == "float32"]
    return None


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
