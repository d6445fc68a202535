"""The names that a pickle may hold, each with what stands for it here; every other name is refused before it is used.

A pickle names functions and calls them while it is read. PyTorch's own list for `weights_only` has
`torch._tensor._rebuild_from_type_v2`, which calls what it is given, and MMEngine's has `getattr`: together they run
anything. So neither list is taken; a name that is not written out here does not pass.
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
        "torch._utils._rebuild_tensor",  # of files from before PyTorch 0.4
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        "torch.Size",
        *(f"torch.{name}Storage" for name in ("Float", "Double", "Half", "BFloat16", "Bool", "Byte", "Char", "Short")),
        *(f"torch.{name}Storage" for name in ("Int", "Long")),
    }
)
"""What files of weights need, ours and public ones: tensors, and dictionaries of them."""

_OTHER_WAYS = frozenset({"STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEWOBJ_EX"})
"""Instructions by which a pickle reaches a name without `GLOBAL`; torch.save writes none of them."""

_DTYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


def names_in(pickle: IO[bytes]) -> Iterator[str]:
    """The names that one pickle asks for, as "module.name", in order; the stream is left behind its end.

    Raises:
        ValueError: where the bytes are no pickle.
    """
    for instruction, argument, _ in pickletools.genops(pickle):
        if instruction.name == "GLOBAL":
            yield str(argument).replace(" ", ".", 1).replace("__builtin__.", "builtins.", 1)  # Python 2's name of it
        elif instruction.name in _OTHER_WAYS:
            yield f"a name by {instruction.name}"


class DTypeStandIn:
    """`numpy.dtype`: a number's kind and byte order, never a structured type or one of objects."""

    def __init__(self, code: str, *_: Any) -> None:
        if code not in _DTYPES:
            raise ValueError(f"a NumPy type {str(code)[:20]!r} was found, where a plain number's was expected")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def array(self, raw: bytes | bytearray | str) -> np.ndarray:
        """Raw bytes as numbers in a row, in this machine's byte order."""
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        return np.frombuffer(raw, np.dtype(self.order + self.code)).astype(self.code)


class ArrayStandIn:
    """`numpy.ndarray`, of raw bytes and a checked type and shape."""

    def __init__(self) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.set(dtype, raw, shape, "F" if fortran else "C")

    def set(self, dtype: DTypeStandIn, raw: bytes | bytearray | str, shape: tuple[int, ...], order: str) -> None:
        """Take the numbers; raises ValueError where there are more or fewer than the shape says."""
        if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"an array of shape {str(shape)[:40]} was found")
        self.array = dtype.array(raw).reshape(shape, order="F" if order == "F" else "C")


class BufferStandIn:
    """MMEngine's `HistoryBuffer` in an old state."""

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
    """The methods that a buffer lists are looked up by `getattr` in an old state; nobody asks for them."""


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
    "_codecs.encode": None,  # torch's own reading of bytes, to which encodings are all that can be given
}
"""What states from before version 0.2 hold besides, with what is called in its place; new ones hold `WEIGHTS` only."""


def plain(value: Any) -> Any:
    """A state's content without stand-ins."""
    if isinstance(value, BufferStandIn):
        return value.content
    if isinstance(value, ArrayStandIn):
        return value.array.tolist()
    if isinstance(value, dict):
        content = type(value)((key, plain(one)) for key, one in value.items())
        if hasattr(value, "_metadata"):  # of a state dict: versions of its modules, and the network's scheme
            content._metadata = value._metadata
        return content
    if type(value) in (list, tuple):
        return type(value)(plain(one) for one in value)
    return value
