"""Read a pickle of NumPy arrays and plain values, and nothing that could run code.

A pickle may name any function to be called while it is read (https://docs.python.org/3/library/pickle.html, the
warning on top). CIFAR's files need four names; any other is refused before it is looked up.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from ean_core.utils.errors import EANError


def _latin1(text: str, encoding: str) -> bytes:
    """How protocols 0 to 2 of Python 3 write bytes; the only encoding they use."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are stored as {encoding!r} and not as 'latin1'")
    return text.encode("latin1")


# The functions are taken from NumPy's own pickling: their module is named otherwise in NumPy 1 and 2.
_RECONSTRUCT = np.empty(0, np.uint8).__reduce__()[0]
_FROM_BUFFER = np.empty(1, np.uint8).__reduce_ex__(5)[0]
_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROM_BUFFER,  # protocol 5, the default from Python 3.14 on
    ("numpy._core.numeric", "_frombuffer"): _FROM_BUFFER,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
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
        EANError: if the file is missing or damaged, holds something else, or names anything that could do harm.
    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except EANError as error:
        raise EANError(
            f"{path} {error}, which image files never need, and was not loaded: get the file from its original source"
        ) from None
    except FileNotFoundError:
        raise EANError(f"{path} is missing: put it there, or remove its folder to have all of it downloaded") from None
    except OSError as error:
        raise EANError(f"{path} cannot be read ({error.strerror}): check its permissions and the disk") from error
    except Exception as error:  # a damaged pickle raises almost anything: the opcodes run on rubbish
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EANError(f"{path} is truncated or damaged ({reason}): get the file again") from error
    if not isinstance(content, dict):
        raise EANError(f"{path} holds a {type(content).__name__} where a dictionary was expected: get the file again")
    return content
