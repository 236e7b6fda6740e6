"""The networks' heavy operators, each in a plain and in a fast form of equal results.

Plain is what XLA makes of the textbook operator. On CPU its gradients are 10 to 80 times slower
than they need be, because a strided or dilated convolution leaves XLA's matrix multiplication; the
fast forms are the same sums arranged as unstrided convolutions, or made with fewer products. All
arrays are ``[B, T, F, C]``, kernels ``[rows, columns, in, out]``.

A multiplication of matrices is fastest with many outputs. So where a kernel has few, its rows are
computed aside, as further outputs of a kernel of one row (`_aside`), and meet at their frames.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from stemsep.models import winograd

Kernel = jax.Array | tuple[jax.Array, ...]  # or what was made of it alone, see `conv_parts`
_NHWC = ("NHWC", "HWIO", "NHWC")
_MANY = 128     # channels that keep a multiplication of matrices busy


def prefer_fast() -> bool:
    """Say whether this platform gains from the fast forms: the one place that chooses by platform.

    GPU and TPU libraries know strided and transposed convolutions; there the plain forms move less
    memory.
    """
    return jax.default_backend() == "cpu"


def conv(x_BTFC: jax.Array, kernel: Kernel, *, fast: bool) -> jax.Array:
    """Convolve with a 3×3 or 1×1 kernel, stride 1 and "SAME" zero padding.

    Fast: one of 1×1 is a multiplication of matrices; one of 3×3 has its rows aside, or of many
    channels fewer products, and the gradient of its kernel is arranged in longer vectors.
    """
    if isinstance(kernel, tuple):
        return _conv_of_parts(x_BTFC, kernel)
    if not fast:
        return _conv(x_BTFC, kernel)
    return _conv3x3(x_BTFC, kernel) if kernel.shape[0] == 3 else _conv_of_parts(x_BTFC, (kernel,))


def down_conv(x_BTFC: jax.Array, kernel: jax.Array, *, fast: bool) -> jax.Array:
    """Convolve with a 5×5 kernel, stride 2 and "SAME" padding.

    Maps ``[B, T, F, C]`` to ``[B, ⌈T/2⌉, ⌈F/2⌉, K]``. Fast: even and odd frames by themselves, with
    the rows aside; both gradients are made of convolutions without gaps.
    """
    if not fast:
        return _conv(x_BTFC, kernel, (2, 2))
    # "SAME" starts one position before an even size and two before an odd one.
    first = ((0, 0), (x_BTFC.shape[1] % 2, 0), (x_BTFC.shape[2] % 2, 0), (0, 0))
    return _down(jnp.pad(x_BTFC, first), kernel)


def up_conv(x_BTFC: jax.Array, kernel: Kernel, *, fast: bool) -> jax.Array:
    """Convolve transposed with a 5×5 kernel, stride 2 and "SAME" padding.

    Maps ``[B, T, F, C]`` to ``[B, 2T, 2F, K]``, as
    ``lax.conv_transpose(..., transpose_kernel=False)`` does. Fast: every second tap of the kernel
    meets zeros, so even and odd bins of the output are a small convolution each, with the rows
    aside.
    """
    if isinstance(kernel, tuple):
        return _up_of_parts(x_BTFC, kernel)
    if not fast:
        return lax.conv_transpose(x_BTFC, kernel, (2, 2), "SAME", dimension_numbers=_NHWC)
    return _up(x_BTFC, kernel)


def conv_parts(kernel: jax.Array) -> tuple[jax.Array, ...]:
    """Return what the fast `conv` makes of its kernel alone, which it takes in the kernel's place:
    what is used often out of training need be made only once.
    """
    if kernel.shape[0] == 1:
        return (kernel,)
    if min(kernel.shape[2:]) < _MANY:
        return (_aside(kernel),)
    # In half precision its sums lose too much.
    return winograd.taps(kernel) if kernel.dtype.itemsize >= 4 else (kernel,)


def up_conv_parts(kernel: jax.Array) -> tuple[jax.Array, ...]:
    """Return what the fast `up_conv` makes of its kernel alone, as `conv_parts` does."""
    # An even bin sees taps 1 and 3 on its neighbours -1 and 0, an odd one taps 0, 2 and 4 on -1, 0
    # and 1.
    return _aside(kernel[:, 1::2]), _aside(kernel[:, ::2])


def max_pool(x_BTFC: jax.Array, *, fast: bool) -> jax.Array:
    """Keep the largest of every 2×2 positions: ``[B, T, F, C]`` to ``[B, ⌊T/2⌋, ⌊F/2⌋, C]``.

    Of equal largest values the first, row by row, receives the gradient, as in XLA's own pooling.
    """
    if fast:
        return _max_pool(x_BTFC)
    window = (1, 2, 2, 1)
    return lax.reduce_window(x_BTFC, -jnp.inf, lax.max, window, window, "VALID")


def space_to_depth(x_BTFC: jax.Array) -> jax.Array:
    """Turn 2×2 positions into channels, row slowest: ``[B, 2T, 2F, C]`` to ``[B, T, F, 4C]``."""
    batch, frames, bins, channels = x_BTFC.shape
    # Two columns lie side by side already, so only the rows are moved.
    x = x_BTFC.reshape(batch, frames // 2, 2, bins // 2, 2 * channels)
    return x.transpose(0, 1, 3, 2, 4).reshape(batch, frames // 2, bins // 2, 4 * channels)


def depth_to_space(x_BTFC: jax.Array) -> jax.Array:
    """Undo `space_to_depth`: ``[B, T, F, 4C]`` to ``[B, 2T, 2F, C]``."""
    batch, frames, bins, channels = x_BTFC.shape
    x = x_BTFC.reshape(batch, frames, bins, 2, channels // 2).transpose(0, 1, 3, 2, 4)
    return x.reshape(batch, 2 * frames, 2 * bins, channels // 4)


def _conv(x_BTFC: jax.Array, kernel: jax.Array, stride: tuple[int, int] = (1, 1),
          padding: str | tuple[tuple[int, int], tuple[int, int]] = "SAME") -> jax.Array:
    return lax.conv_general_dilated(x_BTFC, kernel, stride, padding, dimension_numbers=_NHWC)


def _aside(kernel: jax.Array) -> jax.Array:
    """Return a kernel with its rows as further outputs, ``[1, columns, in, rows·out]``."""
    rows, columns, inputs, outputs = kernel.shape
    return kernel.transpose(1, 2, 0, 3).reshape(1, columns, inputs, rows * outputs)


def _later(x_BTFC: jax.Array, frames: int) -> jax.Array:
    """Return what was there `frames` before; before the first and after the last is zero."""
    none = (0, 0, 0)
    return lax.pad(x_BTFC, jnp.zeros((), x_BTFC.dtype), (none, (frames, -frames, 0), none, none))


def _conv_of_parts(x_BTFC: jax.Array, parts: tuple[jax.Array, ...]) -> jax.Array:
    if len(parts) > 1:
        return winograd.convolve(x_BTFC, parts)
    (kernel,) = parts
    if kernel.shape[:2] == (1, 1):
        return jnp.einsum("btfc,ck->btfk", x_BTFC, kernel[0, 0])
    if kernel.shape[0] == 3:
        return _conv(x_BTFC, kernel)
    rows = _conv(x_BTFC, kernel, padding=((1, 1), (1, 1)))
    first, middle, last = jnp.split(rows, 3, axis=-1)
    return first[:, :-2] + middle[:, 1:-1] + last[:, 2:]


def _conv3x3_forward(x_BTFC: jax.Array, kernel: jax.Array) -> jax.Array:
    return _conv_of_parts(x_BTFC, conv_parts(kernel))


def _conv3x3_kernel_gradient(x_BTFC: jax.Array, dy_BTFK: jax.Array) -> jax.Array:
    if x_BTFC.shape[-1] > dy_BTFK.shape[-1]:    # more channels are better the output
        return _adjoint(_conv3x3_kernel_gradient(dy_BTFK, x_BTFC))
    return _taps_gradient(x_BTFC, dy_BTFK, (3, 3), ((1, 1), (1, 1)))


_conv3x3 = jax.custom_vjp(_conv3x3_forward)
_conv3x3.defvjp(
    lambda x, kernel: (_conv3x3_forward(x, kernel), (x, kernel)),
    lambda kept, dy: (
        _conv3x3_forward(dy, _adjoint(kept[1])), _conv3x3_kernel_gradient(kept[0], dy)
    ),
)


def _down_forward(x_BTFC: jax.Array, kernel: jax.Array) -> jax.Array:
    inputs, outputs = kernel.shape[2:]
    if inputs < 8:
        # Few channels make short vectors: fold 2×2 positions, and the taps alike, into channels.
        taps = jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
        taps = taps.reshape(3, 2, 3, 2, inputs, outputs).transpose(0, 2, 1, 3, 4, 5)
        return _thin_conv(space_to_depth(x_BTFC), taps.reshape(3, 3, 4 * inputs, outputs))
    if inputs < 32:
        return _conv(x_BTFC, kernel, (2, 2), ((1, 2), (1, 2)))
    # Of the even frames taps 1 and 3 meet those at 0 and 1, of the odd ones taps 0, 2 and 4 those
    # at -1, 0 and 1.
    even, odd = (_conv(x_BTFC[:, frame::2], _aside(kernel[1 - frame::2]), (1, 2), ((0, 0), (1, 2)))
                 for frame in (0, 1))
    one, three = jnp.split(even, 2, axis=-1)
    zero, two, four = jnp.split(odd, 3, axis=-1)
    return _later(zero, 1) + one + two + _later(three, -1) + _later(four, -1)


def _up_forward(x_BTFC: jax.Array, kernel: jax.Array) -> jax.Array:
    return _up_of_parts(x_BTFC, up_conv_parts(kernel))


def _up_of_parts(x_BTFC: jax.Array, parts: tuple[jax.Array, ...]) -> jax.Array:
    def both_frames(part: jax.Array) -> jax.Array:      # [B, T, 2, F, K]
        rows = _conv(x_BTFC, part, padding=((0, 0), (1, part.shape[1] - 2)))
        zero, one, two, three, four = jnp.split(rows, 5, axis=-1)
        return jnp.stack(
            [_later(one, 1) + three, _later(zero, 1) + two + _later(four, -1)], axis=2)

    y = jnp.stack([both_frames(part) for part in parts], axis=4)
    batch, frames, _, bins, _, outputs = y.shape
    return y.reshape(batch, 2 * frames, 2 * bins, outputs)


def _thin_conv(x_BTFC: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolve with a 3×3 kernel; of very few channels, two neighbouring bins at once."""
    batch, frames, bins, inputs = x_BTFC.shape
    outputs = kernel.shape[3]
    if min(inputs, outputs) > 4 or bins % 2:
        return _conv(x_BTFC, kernel)
    # Twice the channels with half the taps zero: the longer vectors gain more than the zeros cost.
    # Bin d of the group at a - 1 meets bin c of a group at tap 2 (a - 1) + d - c + 1.
    none = jnp.zeros_like(kernel[:, :1])
    padded = jnp.concatenate([none, none, kernel, none], axis=1)
    taps = jnp.stack([padded[:, [2 * a + d + 1 - c for a in range(3)]]
                      for d in (0, 1) for c in (0, 1)], axis=2)
    taps = taps.reshape(3, 3, 2, 2, inputs, outputs).transpose(0, 1, 2, 4, 3, 5)
    pairs = x_BTFC.reshape(batch, frames, bins // 2, 2 * inputs)
    y = _conv(pairs, taps.reshape(3, 3, 2 * inputs, 2 * outputs))
    return y.reshape(batch, frames, bins, outputs)


def _adjoint(kernel: jax.Array) -> jax.Array:
    """Return the kernel for the gradient of an input: with it `_up` is the transpose of `_down`,
    the reverse, and `_conv3x3` that of itself.
    """
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _down_kernel_gradient(x_BTFC: jax.Array, dy_BTFK: jax.Array) -> jax.Array:
    """Return the gradient of `_down`'s kernel from its input and its output's gradient.

    The taps of either parity meet the positions of the other: four unstrided problems.
    """
    quarters = _quarters(x_BTFC)
    return _of_phases(lambda row, column: _taps_gradient(
        quarters[2 * row + column], dy_BTFK, (2 + row, 2 + column), ((row, 1), (column, 1))))


def _up_kernel_gradient(x_BTFC: jax.Array, dy_BTFK: jax.Array) -> jax.Array:
    """Return the gradient of `_up`'s kernel, as `_down_kernel_gradient` does."""
    if dy_BTFK.shape[-1] < 32:      # few channels are better the input
        return _adjoint(_down_kernel_gradient(dy_BTFK, x_BTFC))
    quarters = _quarters(dy_BTFK)
    return _of_phases(lambda row, column: _taps_gradient(
        x_BTFC, quarters[2 * row + column], (2 + row, 2 + column), ((1, row), (1, column))))


def _of_phases(taps: Callable[[int, int], jax.Array]) -> jax.Array:
    """Return a 5×5 kernel of taps(row, column), those that positions of this parity meet: of rows
    and columns the even ones taps 1 and 3, the odd ones taps 0, 2 and 4.
    """
    phases = [[taps(row, column) for column in (0, 1)] for row in (0, 1)]
    return jnp.stack([
        jnp.stack([phases[1 - row % 2][1 - column % 2][row // 2, column // 2]
                   for column in range(5)])
        for row in range(5)])


def _taps_gradient(x_BTFC: jax.Array, dy_BTFK: jax.Array, size: tuple[int, int],
                   padding: tuple[tuple[int, int], tuple[int, int]]) -> jax.Array:
    """Return the gradient of the kernel of a convolution of stride 1, from its input and its
    output's gradient; the padding is at most one position a side.

    XLA sums over the windows innermost, in vectors as long as they are many. Few windows are cut
    into blocks of frames, and what meets across a cut is added.
    """
    batch, frames = x_BTFC.shape[:2]
    blocks = next(n for n in range(max(1, 8 // batch), 0, -1) if frames % n == 0)
    x = x_BTFC.reshape(batch, blocks, frames // blocks, *x_BTFC.shape[2:])
    dy = dy_BTFK.reshape(batch, blocks, frames // blocks, *dy_BTFK.shape[2:])

    def gradient(x: jax.Array, dy: jax.Array, rows: int, pad: tuple[int, int]) -> jax.Array:
        x, dy = x.reshape(-1, *x.shape[2:]), dy.reshape(-1, *dy.shape[2:])

        def convolve(kernel: jax.Array) -> jax.Array:
            return _conv(x, kernel, padding=(pad, padding[1]))

        empty = jnp.zeros((rows, size[1], x.shape[-1], dy.shape[-1]), x.dtype)
        return jax.linear_transpose(convolve, empty)(dy)[0]

    whole = gradient(x, dy, size[0], padding[0])
    if blocks > 1 and padding[0][0]:
        first = gradient(x[:, :-1, -1:], dy[:, 1:, :1], 1, (0, 0))
        whole = whole.at[:1].add(first)
    if blocks > 1 and padding[0][1]:
        last = gradient(x[:, 1:, :1], dy[:, :-1, -1:], 1, (0, 0))
        whole = whole.at[-1:].add(last)
    return whole


_down, _up = jax.custom_vjp(_down_forward), jax.custom_vjp(_up_forward)
_down.defvjp(
    lambda x, kernel: (_down_forward(x, kernel), (x, kernel)),
    lambda kept, dy: (_up_forward(dy, _adjoint(kept[1])), _down_kernel_gradient(kept[0], dy)),
)
_up.defvjp(
    lambda x, kernel: (_up_forward(x, kernel), (x, kernel)),
    lambda kept, dy: (_down_forward(dy, _adjoint(kept[1])), _up_kernel_gradient(kept[0], dy)),
)


def _quarters(x_BTFC: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    batch, frames, bins, channels = x_BTFC.shape
    x = x_BTFC[:, : frames // 2 * 2, : bins // 2 * 2]
    x = x.reshape(batch, frames // 2, 2, bins // 2, 2, channels)
    return x[:, :, 0, :, 0], x[:, :, 0, :, 1], x[:, :, 1, :, 0], x[:, :, 1, :, 1]


@jax.custom_vjp
def _max_pool(x_BTFC: jax.Array) -> jax.Array:
    a, b, c, d = _quarters(x_BTFC)
    return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _max_pool_forward(x_BTFC: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y_BTFC = _max_pool(x_BTFC)
    return y_BTFC, (x_BTFC, y_BTFC)


def _max_pool_backward(kept: tuple[jax.Array, jax.Array], dy_BTFC: jax.Array) -> tuple[jax.Array]:
    x_BTFC, y_BTFC = kept
    a, b, c, _ = (quarter == y_BTFC for quarter in _quarters(x_BTFC))
    zero = jnp.zeros_like(dy_BTFC)
    upper = jnp.stack([jnp.where(a, dy_BTFC, zero), jnp.where(b & ~a, dy_BTFC, zero)], axis=3)
    lower = jnp.stack(
        [jnp.where(c & ~(a | b), dy_BTFC, zero), jnp.where(a | b | c, zero, dy_BTFC)], axis=3
    )
    batch, frames, bins, channels = y_BTFC.shape
    dx = jnp.stack([upper, lower], axis=2).reshape(batch, 2 * frames, 2 * bins, channels)
    odd_frames, odd_bins = x_BTFC.shape[1] % 2, x_BTFC.shape[2] % 2
    return (jnp.pad(dx, ((0, 0), (0, odd_frames), (0, odd_bins), (0, 0))),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
