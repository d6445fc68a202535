"""Reading files that hold tensors and plain values only, so that a file from the internet cannot run code."""

from __future__ import annotations

import errno
import io
import pickle
import struct
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from ean_core.io.checksum import KEY, checksum_of
from ean_core.io.pickle_allowlist import STATES, WEIGHTS, names_in, plain
from ean_core.io.safetensors_file import SUFFIX, read_safetensors
from ean_core.utils.errors import EANError, first_line

A_STATE = (
    "is the state that a run goes on from: give the classifier.pth or best.pth beside it, or for a segmentor, where "
    "the command takes one, its --config too"
)
"""What a last.pth is, where a network is asked for."""

AGAIN = "move it away and make it again"
_MAGIC = 0x1950A86A20F9469CFC6C  # begins the files that PyTorch wrote before version 1.6
_PICKLES = 5  # that such a file consists of, before its raw numbers
_one_at_a_time = threading.Lock()  # torch has one list of names for all threads


def load_tensors(path: str | Path, *, state: bool = False) -> Any:
    """Read a file of tensors and plain values; a .safetensors gives what its .pth would.

    The names that the file asks for are checked against our own list before any is looked up, the zip's checksums are
    compared with its bytes, and so is the file's own checksum where it has one.

    Args:
        path: a .pth of torch.save, new or old form, or a .safetensors of this project.
        state: whether a run's state is wanted, a last.pth, and no network.

    Raises:
        EANError: if the file is missing, damaged, asks for code, or holds weights that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
        raise EANError(f"{path} {what}: give a file that a training command wrote")
    if path.suffix == SUFFIX:
        content: Any = read_safetensors(path)
    else:
        with path.open("rb") as file:
            check_names(path, file, WEIGHTS | set(STATES) if state else WEIGHTS)
            content = read_pth(path, file, state=state)
    if not state and isinstance(content, dict) and {"state_dict", "optimizer", "message_hub"} <= set(content):
        raise EANError(f"{path} {A_STATE}")
    check_tensors(path, content)
    check_sum(path, content)
    return content


def check_names(path: Path, file: IO[bytes], allowed: frozenset[str] | set[str]) -> None:
    """Refuse a .pth that asks for a name that is not in the list, and one whose bytes have changed.

    Raises:
        EANError: naming what it asks for.
    """
    try:
        zipped = file.read(4) == b"PK\x03\x04"  # as torch tells the two forms apart
        if not zipped:
            check_old_form(path, file)
        pickles = [io.BytesIO(record(path, file))] if zipped else [file] * _PICKLES
        file.seek(0)
        for one in pickles:
            for name in names_in(one):
                if name not in allowed:
                    raise refused(path, name)
    except (EANError, MemoryError):
        raise
    except Exception as error:  # pickletools, zipfile and torch raise many kinds on bad bytes
        raise damaged(path, error) from None


def record(path: Path, file: IO[bytes]) -> bytes:
    """The pickle inside a zip, as torch itself finds it, once all of the zip's checksums were compared.

    Raises:
        EANError: if a part of the file has changed, or is stored as torch.save stores none.
    """
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
        if not stored or sum(part.file_size for part in parts) > size or len(set(archive.namelist())) < len(parts):
            raise EANError(f"{path} is a zip file, but none that torch.save wrote: give the file itself")
        if (part := archive.testzip()) is not None:
            raise EANError(f"{path} has changed since it was written (the checksum of {part} differs): {AGAIN}")
    file.seek(0)
    return torch._C.PyTorchFileReader(file).get_record("data.pkl")


def check_old_form(path: Path, file: IO[bytes]) -> None:
    """Refuse a file that does not begin as PyTorch's old ones do; tar files, which some versions run, among them."""
    file.seek(0)
    begins = _MAGIC.to_bytes(10, "little") in file.read(16)
    file.seek(0)
    if not begins or tarfile.is_tarfile(file):
        raise EANError(f"{path} is damaged, or no file of weights: {AGAIN}")


def read_pth(path: Path, file: IO[bytes], *, state: bool) -> Any:
    """`torch.load` of a file whose names were checked, with our stand-ins and nobody else's."""
    stand_ins = [(one, name) for name, one in STATES.items() if one is not None] if state else []
    file.seek(0)
    with _one_at_a_time:
        others = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        try:
            torch.serialization.add_safe_globals(stand_ins)
            content = torch.load(file, map_location="cpu", weights_only=True)
            return plain(content) if state else content
        except MemoryError:
            raise
        except Exception as error:  # on bad bytes torch raises IndexError, struct.error, AssertionError and more
            raise damaged(path, error) from None
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(others)


def refused(path: Path, name: str) -> EANError:
    """The sentence for a name that is not in the list."""
    if name.startswith("mmengine.logging"):  # the log buffers in an old last.pth
        return EANError(f"{path} {A_STATE}")
    return EANError(f"{path} holds more than weights and was not loaded, as it can run code (it asks for {name[:80]})")


def damaged(path: Path, error: Exception) -> EANError:
    """The sentence for bytes that cannot be read; the error itself where it is the disk's."""
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: of a place before the file
        raise error
    if isinstance(error, pickle.UnpicklingError | struct.error | UnicodeDecodeError | ValueError):
        return EANError(f"{path} is damaged, or no file of weights: {AGAIN}")
    return EANError(f"{path} is damaged or truncated ({first_line(error)}), or no file of weights: {AGAIN}")


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors in a file's content, with their dotted names; a state's log is none of them."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if key != "message_hub":
                yield from tensors_in(one, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from tensors_in(one, f"{name}.{number}")


def check_tensors(path: Path, content: Any) -> None:
    """Refuse tensors larger than the bytes behind them, and numbers that are not finite.

    Raises:
        EANError: naming the first such tensor.
    """
    try:
        for name, tensor in tensors_in(content):
            if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                raise EANError(f"{path} is damaged ({name} is larger than what is stored of it): {AGAIN}")
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise EANError(
                    f"{path} holds numbers that are not finite, the first in {name.removeprefix('state_dict.')}: its "
                    "training diverged, so train it again with a lower learning rate"
                )
    except RecursionError:
        raise EANError(f"{path} is damaged (its content never ends): {AGAIN}") from None


def check_sum(path: Path, content: Any) -> None:
    """Refuse a file of ours whose content is another than when it was written.

    Raises:
        EANError: if the checksum in it differs.
    """
    if isinstance(content, dict) and KEY in content and content.pop(KEY) != checksum_of(content):
        raise EANError(f"{path} has changed since it was written (its checksum differs): {AGAIN}")
