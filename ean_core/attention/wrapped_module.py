"""Any module that keeps its input's shape as an attention: timm's, and a user's own `nn.Module`."""

from __future__ import annotations

from torch import Tensor, nn

from ean_core.attention.base import Attention, State
from ean_core.utils.errors import EANError


class WrappedModule(Attention):
    """A module (B, C, H, W) -> (B, C, H, W) in the place of M(x; W) * x (Eq. 2); it passes no state on.

    Args:
        module: gives the recalibrated residual itself, so that there is no mask to be had from it.
        name: what to call it in an error.
        multiple_of: the module takes maps only whose sides are multiples of this.
    """

    def __init__(self, module: nn.Module, *, name: str, multiple_of: int = 1) -> None:
        super().__init__()
        self.module = module
        self.name = name
        self.multiple_of = multiple_of

    def mask(self, residual: Tensor, state: State) -> tuple[Tensor, State]:
        """There is none.

        Raises:
            EANError: always.
        """
        raise EANError(f"attention {self.name!r} gives recalibrated features and no mask: only its output can be shown")

    def forward(self, residual: Tensor, state: State = None) -> tuple[Tensor, State]:
        """The module's output, and the state as it came."""
        height, width = residual.shape[2:]
        if height % self.multiple_of or width % self.multiple_of:
            raise EANError(
                f"attention {self.name!r} works on blocks of {self.multiple_of}x{self.multiple_of} positions and a "
                f"stage of this network has {height}x{width}: give a block_size that divides every stage's side "
                "(attention_options), or another image size"
            )
        out = self.module(residual)
        if out.shape != residual.shape:
            raise EANError(
                f"attention {self.name!r} turns {tuple(residual.shape)} into {tuple(out.shape)}: it must keep the shape"
            )
        return out, state


def as_attention(cls: type[nn.Module], *, name: str) -> type[Attention]:
    """The class itself if it is an `Attention`; else one that wraps it, with the same arguments.

    Raises:
        EANError: if it is not a module class.
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise EANError(
            f"attention {name!r} is {cls!r}: give a class derived from ean_core.attention.Attention (with mask()) or "
            "from torch.nn.Module (features in, features of the same shape out)"
        )
    if issubclass(cls, Attention):
        return cls

    class Own(WrappedModule):
        wraps = cls  # `option_names` reads the options off this class

        def __init__(self, channels: int, **options: object) -> None:
            super().__init__(cls(channels, **options), name=name)

    Own.__name__ = Own.__qualname__ = cls.__name__
    return Own
