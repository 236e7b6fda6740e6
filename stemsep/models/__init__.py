"""The networks: ``build(config)`` chooses one by its name, ``infer`` is its output, and faster with
variables that ``prepare`` returned.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from stemsep.config import ModelConfig
from stemsep.errors import InputError
from stemsep.models.layers import HEAVY, PREPARED, Network
from stemsep.models.ops import prefer_fast
from stemsep.models.strided import StridedUNet
from stemsep.models.tfc_tdf import TfcTdfUNet
from stemsep.models.unet import UNet

__all__ = ["HEAVY", "NETWORKS", "PREPARED", "build", "infer", "prefer_fast", "prepare"]
NETWORKS = {"unet": UNet, "strided": StridedUNet, "tfc_tdf": TfcTdfUNet}
_AT_ONCE = 15 << 18  # values of the largest layer, 15 MiB: more of them fall out of the caches


def build(
    config: ModelConfig, *, bins: int, channels: int, outputs: int, axis_name: str | None = None,
) -> nn.Module:
    """Build the network that the configuration names, without its parameters.

    Its contract is ``network.apply(variables, x_BTFC, train=...)`` to ``[B, T, F, outputs]`` with
    any frames; see the class. Raises InputError for an unknown name.
    """
    if config.name not in NETWORKS:
        raise InputError(f"model.name is {config.name!r}; the choices are {', '.join(NETWORKS)}")
    own: dict[str, Any] = {}
    if config.name == "tfc_tdf":
        own = {"blocks": config.blocks, "bottleneck": config.bottleneck}
    return NETWORKS[config.name](
        channels=channels, outputs=outputs, bins=bins, widths=tuple(config.widths),
        dropout=config.dropout, norm=config.norm, norm_momentum=config.norm_momentum,
        bin_affine=config.bin_affine, dtype=jnp.dtype(config.dtype), axis_name=axis_name,
        fast=prefer_fast(), **own,
    )


def prepare(network: Any, variables: Any) -> Any:
    """Return the variables and beside them, in the collection `PREPARED`, what the operators make
    of the kernels alone. It is right as long as the kernels stay as they are: not in training.
    """
    return {**variables, **_made(network, variables)} if _takes_prepared(network) else variables


def infer(network: Any, variables: Any, x_BTFC: jax.Array) -> jax.Array:
    """Return the network's output out of training, ``[B, T, F, outputs]``.

    On CPU large windows go through a few at a time: what lies between takes less memory, and more
    of it stays in the caches.
    """
    apply = functools.partial(network.apply, train=False)
    batch, *window = x_BTFC.shape
    if not _takes_prepared(network):
        return apply(variables, x_BTFC)
    parts = -(-batch // max(1, _AT_ONCE // network.largest(*window[:2])))
    if parts == 1:
        return apply(variables, x_BTFC)
    if PREPARED not in variables:       # once for all parts
        variables = prepare(network, variables)
    few = -(-batch // parts)
    padded = jnp.pad(x_BTFC, ((0, parts * few - batch), *[(0, 0)] * 3))
    y_PBTFK = jax.lax.map(functools.partial(apply, variables), padded.reshape(parts, few, *window))
    return y_PBTFK.reshape(-1, *y_PBTFK.shape[2:])[:batch]


def _takes_prepared(network: Any) -> bool:
    return isinstance(network, Network) and network.fast


@functools.partial(jax.jit, static_argnums=0)
def _made(network: Network, variables: Any) -> Any:
    x_BTFC = jnp.zeros((1, 1, network.bins, network.channels))
    # Its output, which nobody asks for, is not computed.
    return network.apply(variables, x_BTFC, train=False, mutable=[PREPARED])[1]
