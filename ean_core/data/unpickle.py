"""Safely read a pickle of NumPy arrays and plain values.

A pickle may call any function while it is read (see the warning in https://docs.python.org/3/library/pickle.html).
CIFAR's files need four names, and even for these NumPy's own functions are not called: they accept dtypes with
objects, which are memory addresses. Arrays are built from raw bytes with a checked dtype and shape.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ean_core.io.pickle_allowlist import ArrayStandIn, DTypeStandIn
from ean_core.utils.errors import EANError
from ean_core.utils.regular_file import check_regular


def _latin1(text: str, encoding: str) -> bytes:
    """Decode bytes as protocols 0 to 2 of Python 3 store them, always in latin-1."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are stored as {encoding!r} and not as 'latin1'")
    return text.encode("latin1")


def _from_buffer(raw: bytes, dtype: DTypeStandIn, shape: tuple[int, ...], order: str) -> ArrayStandIn:
    array = ArrayStandIn()
    array.set(dtype, raw, shape, order)
    return array


class _Callable:
    """A stand-in for an allowed name: callable, but unlike a function or class not modifiable by a pickle."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it tries to change a function")


_RECONSTRUCT = _Callable(lambda *_: ArrayStandIn())
_FROM_BUFFER = _Callable(_from_buffer)
_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,  # protocol 5, the default from Python 3.14 on
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy", "ndarray"): _RECONSTRUCT,
    ("numpy", "dtype"): _Callable(DTypeStandIn),
    ("_codecs", "encode"): _Callable(_latin1),
    ("__builtin__", "bytes"): _Callable(lambda: b""),  # for empty arrays, called without arguments
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise EANError(f"asks for {module}.{name}") from None


def load_pickle(path: Path) -> dict[str, object]:
    """Read a dictionary of arrays, numbers, strings and lists; Python 2's strings are read as latin-1.

    Raises:
        EANError: if the file is missing or damaged, holds something else, or asks for a name that is not allowed.
    """
    if path.exists():
        check_regular(path, advice="replace it by the file itself")
    try:
        with path.open("rb") as file:
            _check_memo(file, path.stat().st_size)
            content = _arrays(_ArraysOnly(file, encoding="latin1").load())
    except EANError as error:
        raise EANError(
            f"{path} {error}, which image data never needs, and was not loaded: download it from the original source"
        ) from None
    except FileNotFoundError:
        raise EANError(f"{path} is missing: put it there, or remove its folder to have all of it downloaded") from None
    except OSError as error:
        raise EANError(f"{path} cannot be read ({error.strerror}): check its permissions and the disk") from error
    except Exception as error:  # a damaged pickle can raise almost anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EANError(f"{path} is truncated or damaged ({reason[:160]}): download the file again") from error
    if not isinstance(content, dict):
        raise EANError(
            f"{path} holds a {type(content).__name__} where a dictionary was expected: download the file again"
        )
    return content


def _check_memo(file: Any, size: int) -> None:
    """Refuse memo indices larger than the file: the unpickler would allocate memory up to the index."""
    for instruction, argument, _ in pickletools.genops(file):
        if instruction.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > size:
            raise pickle.UnpicklingError("its memory has holes")
    file.seek(0)


def _arrays(value: Any) -> Any:
    """The content with arrays in place of their stand-ins."""
    if isinstance(value, ArrayStandIn):
        return value.array
    if isinstance(value, DTypeStandIn | _Callable):
        raise pickle.UnpicklingError("it holds a function where a value was expected")
    if isinstance(value, dict):
        return {key: _arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_arrays(item) for item in value)
    return value
