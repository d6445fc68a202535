"""Attention modules by name. A new one is one file here, or a class registered from outside with `register`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ean_core.attention.base import Attention, State
from ean_core.attention.dia import DenseImplicitAttention
from ean_core.attention.se import SqueezeExcitation
from ean_core.attention.sge import SpatialGroupEnhance
from ean_core.errors import EANError, unknown_name

ATTENTIONS: dict[str, type[Attention]] = {
    "se": SqueezeExcitation,
    "sge": SpatialGroupEnhance,
    "dia": DenseImplicitAttention,
}

# The paper's settings, which depend on the kind of network (supplement and released code).
DEFAULT_OPTIONS: dict[str, dict[str, dict[str, int]]] = {
    "cifar": {"se": {"reduction": 16}, "sge": {"groups": 8}, "dia": {"reduction": 4}},
    "imagenet": {"se": {"reduction": 16}, "sge": {"groups": 64}, "dia": {"reduction": 20}},
}


def register(name: str) -> Callable[[type[Attention]], type[Attention]]:
    """Class decorator: make an attention known under `name` to `create_model`, the search and the tests.

    The class takes the number of channels first and keyword options after it.
    """

    def add(cls: type[Attention]) -> type[Attention]:
        if name in ATTENTIONS and ATTENTIONS[name] is not cls:
            raise EANError(
                f"attention {name!r} is registered already, for {ATTENTIONS[name].__name__}: take another name"
            )
        ATTENTIONS[name] = cls
        return cls

    return add


def build_attention(
    name: str, channels: int, *, family: str = "cifar", options: Mapping[str, Any] | None = None
) -> Attention:
    """One attention module for residuals of `channels` channels.

    Args:
        name: a key of `ATTENTIONS`.
        channels: C of the residual (B, C, H, W).
        family: "cifar" or "imagenet", which chooses the paper's options.
        options: overrides, such as `{"reduction": 8}`.

    Raises:
        EANError: for an unknown name or option.
    """
    if name not in ATTENTIONS:
        raise unknown_name("attention", name, list(ATTENTIONS))
    cls = ATTENTIONS[name]
    merged = {**DEFAULT_OPTIONS[family].get(name, {}), **(options or {})}
    known = [key for key in inspect.signature(cls).parameters if key != "channels"]
    for key in merged:
        if key not in known:
            raise unknown_name(f"option of attention {name!r}", key, known)
    return cls(channels, **merged)


__all__ = [
    "ATTENTIONS",
    "Attention",
    "DenseImplicitAttention",
    "SpatialGroupEnhance",
    "SqueezeExcitation",
    "State",
    "build_attention",
    "register",
]
