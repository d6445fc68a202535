"""The names that a pickle may use, with safe stand-ins; any other name is refused before the pickle is loaded.

A pickle calls functions by name while it is loaded. PyTorch's own allow-list for `weights_only` has
`torch._tensor._rebuild_from_type_v2`, which calls its argument, and MMEngine's has `getattr`: together they can run
any code. So neither list is used, and only the names written out here are allowed.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy as np
import torch

WEIGHTS = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor",  # in files from before PyTorch 0.4
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
        *(f"torch.{name}Storage" for name in ("Float", "Double", "Half", "BFloat16", "Bool", "Byte", "Char", "Short")),
        *(f"torch.{name}Storage" for name in ("Int", "Long")),
    }
)
"""Names in files of weights, ours and public ones: tensors, and dictionaries of tensors."""

_OTHER_WAYS = frozenset({"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX"})
"""Opcodes other than `GLOBAL` that look up a name; torch.save writes none of them."""

_DTYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


def names_in(pickle: IO[bytes]) -> Iterator[str]:
    """Yield the names that a pickle uses, as "module.name", and leave the stream at its end.

    Raises:
        ValueError: if the bytes are not a pickle.
    """
    for instruction, argument, _ in pickletools.genops(pickle):
        if instruction.name == "GLOBAL":
            yield str(argument).replace(" ", ".", 1).replace("__builtin__.", "builtins.", 1)  # its name in Python 2
        elif instruction.name in _OTHER_WAYS:
            yield f"a name by {instruction.name}"


class DTypeStandIn:
    """Stands in for `numpy.dtype`: a number type and byte order, never structured or of objects."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in _DTYPES:
            raise ValueError(f"a NumPy type {str(code)[:20]!r} was found where a plain number type was expected")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def array(self, raw: bytes | bytearray | str) -> np.ndarray:
        """Raw bytes as a 1-D array in this machine's byte order."""
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, np.dtype(self.order + self.code)).astype(self.code)


class ArrayStandIn:
    """Stands in for `numpy.ndarray`: raw bytes with a checked dtype and shape."""

    def __init__(self) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.set(dtype, raw, shape, "F" if fortran else "C")

    def set(self, dtype: DTypeStandIn, raw: bytes | bytearray | str, shape: tuple[int, ...], order: str) -> None:
        """Set the array; raises ValueError if the bytes do not match the shape."""
        if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"an array of shape {str(shape)[:40]} was found")
        self.array = dtype.array(raw).reshape(shape, order="F" if order == "F" else "C")


class BufferStandIn:
    """Stands in for MMEngine's `HistoryBuffer` in old states."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.content = {
            "log_history": _tensor(state["_log_history"]),
            "count_history": _tensor(state["_count_history"]),
            "max_length": int(state["max_length"]),
        }


def _array(*_: Any) -> ArrayStandIn:
    return ArrayStandIn()


def _scalar(dtype: DTypeStandIn, raw: bytes | str) -> Any:
    return dtype.array(raw).item()


def _nothing(*_: Any) -> None:
    """Stands in for `getattr`, with which old states look up a buffer's methods; the result is not used."""


def _no_bytes() -> bytes:
    return b""


def _tensor(array: ArrayStandIn) -> torch.Tensor:
    return torch.tensor(array.array, dtype=torch.float64)


STATES: dict[str, Callable[..., Any] | None] = {
    "mmengine.logging.history_buffer.HistoryBuffer": BufferStandIn,
    "numpy.ndarray": ArrayStandIn,
    "numpy.dtype": DTypeStandIn,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "builtins.getattr": _nothing,
    "builtins.bytes": _no_bytes,
    "_codecs.encode": None,  # handled by torch, which only accepts encodings as arguments
}
"""Further names in states from before version 0.2 -> stand-ins; newer states use only `WEIGHTS`."""


def plain(value: Any) -> Any:
    """A state's content with plain values in place of stand-ins."""
    if isinstance(value, BufferStandIn):
        return value.content
    if isinstance(value, ArrayStandIn):
        return value.array.tolist()
    if isinstance(value, dict):
        content = type(value)((key, plain(item)) for key, item in value.items())
        if hasattr(value, "_metadata"):  # a state dict's module versions, and the network's scheme
            content._metadata = value._metadata
        return content
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    return value
