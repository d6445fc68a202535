"""Attention modules by name: se, sge, dia, timm's as `timm:eca`, and a user's own.

A file here holds one paper's formula and nothing else; how it runs fast once training is done belongs in
`ean_core.deploy`. A new attention is a file here, a class under `register` in the user's program, or a class in a file
of the user's that `load` imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.attention import timm_attention
from ean_core.attention.base import Attention, State
from ean_core.attention.dia import DenseImplicitAttention
from ean_core.attention.registry import ATTENTIONS, find, load, register
from ean_core.attention.se import SqueezeExcitation
from ean_core.attention.sge import SpatialGroupEnhance
from ean_core.utils.errors import EANError, first_line, unknown_name

# ImageNet's settings are those of the released code. CIFAR's give the parameter counts of the paper's Table 1; for SGE
# 2 and 4 groups give them too, so that 8 is an assumption. MobileNets' residuals have few channels, 16 to 320, of which
# 64 groups or a hidden layer of a sixteenth would leave too little: theirs are our choice.
DEFAULT_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "cifar": {
        "se": {"reduction": 16},
        "sge": {"groups": 8},
        "dia": {"reduction": 4},
        **timm_attention.DEFAULTS["cifar"],
    },
    "imagenet": {
        "se": {"reduction": 16},
        "sge": {"groups": 64},
        "dia": {"reduction": 20},
        **timm_attention.DEFAULTS["imagenet"],
    },
    "mobile": {
        "se": {"reduction": 4},
        "sge": {"groups": 8},
        "dia": {"reduction": 4},
        **timm_attention.DEFAULTS["imagenet"],
    },
}


def build_attention(
    name: str, channels: int, *, family: str = "cifar", options: Mapping[str, Any] | None = None
) -> Attention:
    """One attention module for residuals of `channels` channels.

    Args:
        name: a key of `ATTENTIONS`, `timm:` and a name of `timm_attention.NAMES`, or what `load` returned.
        channels: C of the residual (B, C, H, W).
        family: "cifar" or "imagenet", which chooses the paper's options, or "mobile".
        options: overrides, such as `{"reduction": 8}`.

    Raises:
        EANError: for an unknown name or option, or options that the module cannot be built with; for timm's, see
            `timm_attention.timm_attention`.
    """
    cls = find(name)
    merged = {**DEFAULT_OPTIONS[family].get(name, {}), **(options or {})}
    options_of_class = timm_attention.option_names(cls)
    for key in merged:
        if key not in options_of_class:
            raise unknown_name(f"option of attention {name!r}", key, options_of_class)
    try:
        return cls(channels, **merged)
    except (TypeError, ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        given = f" with {merged}" if merged else ""
        raise EANError(
            f"attention {name!r} cannot be built for {channels} channels{given} ({first_line(error)}): give other "
            "attention_options or another attention"
        ) from error


__all__ = [
    "ATTENTIONS",
    "Attention",
    "DenseImplicitAttention",
    "SpatialGroupEnhance",
    "SqueezeExcitation",
    "State",
    "build_attention",
    "find",
    "load",
    "register",
]
