"""The networks: ``build(config)`` chooses one by its name."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from stemsep.config import ModelConfig
from stemsep.errors import InputError
from stemsep.models.layers import HEAVY
from stemsep.models.ops import prefer_fast
from stemsep.models.strided import StridedUNet
from stemsep.models.tfc_tdf import TfcTdfUNet
from stemsep.models.unet import UNet

__all__ = ["HEAVY", "NETWORKS", "build", "prefer_fast"]
NETWORKS = {"unet": UNet, "strided": StridedUNet, "tfc_tdf": TfcTdfUNet}


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
