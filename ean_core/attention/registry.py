"""The attentions by name: ours, timm's, and a user's own; and the rule that a name alone never runs code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from ean_core.attention import timm_attention
from ean_core.attention.base import Attention
from ean_core.attention.dia import DenseImplicitAttention
from ean_core.attention.se import SqueezeExcitation
from ean_core.attention.sge import SpatialGroupEnhance
from ean_core.attention.wrapped_module import as_attention
from ean_core.utils.errors import EANError, unknown_name
from ean_core.utils.own_code import load_class

ATTENTIONS: dict[str, type[Attention]] = {
    "se": SqueezeExcitation,
    "sge": SpatialGroupEnhance,
    "dia": DenseImplicitAttention,
}

_Module = TypeVar("_Module", bound=type[nn.Module])


def register(name: str) -> Callable[[_Module], _Module]:
    """Class decorator: make an attention known under `name` to `create_model`, the search and the tests.

    The class takes the number of channels first and keyword options after it. It is an `Attention` with a `mask`, or
    any `nn.Module` that keeps the shape of its input.
    """

    def add(cls: _Module) -> _Module:
        registered = ATTENTIONS.get(name)
        if registered is not None and getattr(registered, "wraps", registered) is not cls:
            raise EANError(f"attention {name!r} is registered already, for {registered.__name__}: take another name")
        if registered is None:
            ATTENTIONS[name] = as_attention(cls, name=name)
        return cls

    return add


def is_reference(name: str) -> bool:
    """Whether a name says where a class of the user's own is: `my_module:Gate` or `path/to/file.py:Gate`."""
    return ":" in name and not name.startswith(timm_attention.PREFIX)


def load(reference: str) -> str:
    """Import a user's own attention class and register it. This runs the code of that module or file.

    Nothing else imports a class by name: neither a checkpoint nor a scheme.json nor `create_model` does, so that only
    what the user names in a call, a command line or a recipe can run.

    Args:
        reference: `my_module:Gate`, a module that can be imported (the working directory counts), or
            `path/to/file.py:Gate`; a name of another kind is given back as it is.

    Returns:
        the name for `create_model` and network files: the reference without the file's folder, `file.py:Gate`, so that
        a network trained here can be loaded where the file lies elsewhere.

    Raises:
        EANError: if there is no such module, file or class, or importing it fails.
    """
    if not is_reference(reference):
        return reference
    name, cls = load_class(reference, nn.Module, kind="attention", example="se or timm:eca")
    register(name)(cls)
    return name


def find(name: str) -> type[Attention]:
    """The class of a name, without importing anything but timm.

    Raises:
        EANError: for an unknown name, with the nearest; for a class of the user's own that was not loaded yet.
    """
    if name in ATTENTIONS:
        return ATTENTIONS[name]
    if name.startswith(timm_attention.PREFIX):
        return timm_attention.timm_attention(name.removeprefix(timm_attention.PREFIX))
    if is_reference(name):
        file = name.rpartition(":")[0]
        where = f"FOLDER/{name}" if file.endswith(".py") else name
        raise EANError(
            f"attention {name!r} is a class outside this project, and is not loaded because a file names it: if you "
            f"trust {file}, give --attention {where} to the command, or call ean_core.attention.load({where!r}) first"
        )
    if name.lower() in timm_attention.NAMES and name.lower() not in ATTENTIONS:
        raise EANError(f"unknown attention {name!r}: did you mean {timm_attention.PREFIX + name.lower()!r}?")
    raise unknown_name(
        "attention", name, [*ATTENTIONS, *(timm_attention.PREFIX + kind for kind in timm_attention.NAMES)]
    )
