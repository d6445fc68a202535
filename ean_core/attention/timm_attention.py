"""timm's attention modules under `timm:<name>` (https://github.com/huggingface/pytorch-image-models, `create_attn`).

What building all of timm 1.0's at 16 to 2048 channels on maps of 1x1 to 56x56 showed
(tests/attention/test_timm_attention.py does it again for the installed timm):

- They keep their input's shape, all of them, as long as no stride or other number of outputs is asked for; those
  options are not offered here.
- None passes a state from block to block, as DIA does. `cbam`, `lcbam`, `coord`, `sk`, `lambda`, `nl` and `bat` hold
  batch norms: in a share-full or EAN network one running mean and variance serve all the connected blocks of a stage,
  though each block's features have their own. BN calibration (`search.bn_images`) covers them, and folding leaves them
  as they are.
- `halo` and `bat` work on square blocks: the sides of every stage's map must be multiples of `block_size`. The defaults
  here, 8 for CIFAR's networks (32x32: 32, 16, 8) and 7 for ImageNet's (224x224: 56, 28, 14, 7), fit the usual images.
- `bottleneck` needs the size of the map when it is built (`feat_size`), and is refused.
- `ge` can be built only in the form without parameters in timm 1.0 (its MLP raises an error); that form is the default.
- `sk` and `splat` hold convolutions over the features, `lambda`, `halo`, `nl` and `bat` attention over positions: they
  replace features more than they weight them, at many times the cost of the others.
- `lambda` multiplies features with each other: before its batch norms have statistics (a fresh network in eval mode)
  the values of nine connected blocks overflow. In training they do not.
- `nl` (a batch norm of weight zero) is the identity until it is trained.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor, nn

from ean_core.attention.base import Attention
from ean_core.attention.wrapped_module import WrappedModule
from ean_core.utils.errors import EANError, unknown_name

PREFIX = "timm:"

NAMES: dict[str, str] = {
    "se": "Squeeze-and-Excitation, https://arxiv.org/abs/1709.01507, with the hidden layer rounded to eights",
    "ese": "effective SE, one layer, https://arxiv.org/abs/1911.06667",
    "eca": "efficient channel attention, https://arxiv.org/abs/1910.03151",
    "ecam": "eca followed by an MLP",
    "ceca": "eca with circular padding over the channels",
    "ge": "Gather-Excite without parameters, https://arxiv.org/abs/1810.12348",
    "gc": "global context, scaling, https://arxiv.org/abs/1904.11492",
    "gca": "global context, adding",
    "cbam": "channel, then spatial mask, https://arxiv.org/abs/1807.06521",
    "lcbam": "light cbam",
    "coord": "coordinate attention, https://arxiv.org/abs/2103.02907",
    "scoord": "simplified coordinate attention",
    "ela": "efficient local attention, https://arxiv.org/abs/2403.01123",
    "strip": "strip attention",
    "sk": "selective kernel, https://arxiv.org/abs/1903.06586",
    "splat": "split attention, https://arxiv.org/abs/2004.08955",
    "lambda": "lambda layer with local context, https://arxiv.org/abs/2102.08602",
    "halo": "halo attention, https://arxiv.org/abs/2103.12731",
    "nl": "non-local, https://arxiv.org/abs/1711.07971",
    "bat": "bilinear attention with non-local, https://arxiv.org/abs/2010.03114",
}

REFUSED: dict[str, str] = {
    "bottleneck": "it has a weight for every position and so needs the size of the map when it is built (feat_size), "
    "which differs from stage to stage and from image size to image size; timm:halo is the nearest that does not",
}

DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    family: {"timm:ge": {"use_mlp": False}, "timm:halo": {"block_size": side}, "timm:bat": {"block_size": side}}
    for family, side in (("cifar", 8), ("imagenet", 7))
}

# Options that change the shape, are the caller's business, or take a map's size.
_NOT_OFFERED = {"stride", "padding", "out_channels", "dim_out", "feat_size", "device", "dtype"}


class TimmAttention(WrappedModule):
    """Base of the classes that `timm_attention` makes; `kind` and `wraps` are theirs."""

    kind: str
    wraps: Callable[..., nn.Module]

    def __init__(self, channels: int, **options: Any) -> None:
        module = type(self).wraps(channels, **options)
        in_blocks = getattr(module, "ba", module)  # bat holds its block attention inside
        super().__init__(module, name=PREFIX + self.kind, multiple_of=getattr(in_blocks, "block_size", 1))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TimmAttention:
        # network.to(memory_format=torch.channels_last) stops at weights of five dimensions, as lambda's: they pass it
        # flattened, which keeps device and type right.
        def flat(tensor: Tensor) -> Tensor:
            return fn(tensor.flatten(3)).reshape(tensor.shape) if tensor.dim() == 5 else fn(tensor)

        return super()._apply(flat, recurse)


@cache
def timm_attention(kind: str) -> type[Attention]:
    """The class for `timm:<kind>`: channels first, timm's options as keywords.

    Raises:
        EANError: for an unknown or refused name.
    """
    if kind in REFUSED:
        raise EANError(f"attention '{PREFIX}{kind}' cannot be used: {REFUSED[kind]}")
    if kind not in NAMES:
        raise unknown_name("attention", PREFIX + kind, [PREFIX + name for name in NAMES])
    from timm.layers import get_attn

    return type(f"Timm_{kind}", (TimmAttention,), {"kind": kind, "wraps": staticmethod(get_attn(kind))})


def option_names(cls: type[Attention]) -> list[str]:
    """The options that an attention class takes: its keyword arguments after the channels."""
    called = getattr(cls, "wraps", cls)
    parameters = list(inspect.signature(called).parameters.values())[1:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    hidden = _NOT_OFFERED if issubclass(cls, TimmAttention) else set()
    return [parameter.name for parameter in parameters if parameter.kind in named and parameter.name not in hidden]
