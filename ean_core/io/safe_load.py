"""Load files of tensors and plain values, such that a file from the internet cannot run code."""

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
from ean_core.utils.errors import EANError, first_line, nearest
from ean_core.utils.regular_file import check_regular
from ean_core.utils.shipped_files import model_names, model_path, remedy

A_STATE = (
    "is the state for resuming a run: give the classifier.pth or best.pth beside it, or for a segmentor also its "
    "--config, if the command takes one"
)
"""End of the error for a last.pth where a network is expected."""

EXPORTED = (".onnx", ".pt2")
_MAGIC = 0x1950A86A20F9469CFC6C  # magic number of files that PyTorch wrote before version 1.6
_PICKLES = 5  # pickles at the start of such a file, before the raw numbers
_load_lock = threading.Lock()  # torch's allow-list is global


def load_tensors(path: str | Path, *, state: bool = False) -> Any:
    """Load a file of tensors and plain values; a .safetensors gives the same content as its .pth.

    The names in a pickle are checked against our own allow-list before any is looked up. The checksums of the zip
    archive, and the file's own if it has one, are verified.

    Args:
        path: a .pth of torch.save, in the new or old format, a .safetensors of this project, or the name of a shipped
            model.
        state: whether a run's state (last.pth) is expected rather than a network.

    Raises:
        EANError: if the file is missing, damaged, asks for code, or holds weights that are not finite.
    """
    path = model_path(path)
    check_regular(path, advice=f"give a file that a training command wrote{nearest(path.name, model_names())}")
    if path.suffix in EXPORTED:
        raise EANError(
            f"{path} is an exported network, which other programs run: give the .pth or {SUFFIX} that it was made of"
        )
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
    """Refuse a .pth that uses a name that is not allowed, or whose bytes have changed.

    Raises:
        EANError: with the name.
    """
    try:
        zipped = file.read(4) == b"PK\x03\x04"  # as torch distinguishes the two formats
        if not zipped:
            check_old_form(path, file)
        pickles = [io.BytesIO(record(path, file))] if zipped else [file] * _PICKLES
        file.seek(0)
        for stream in pickles:
            for name in names_in(stream):
                if name not in allowed:
                    raise refused(path, name)
    except (EANError, MemoryError):
        raise
    except Exception as error:  # pickletools, zipfile and torch raise many kinds on bad bytes
        raise damaged(path, error) from None


def record(path: Path, file: IO[bytes]) -> bytes:
    """The pickle in a zip archive, as torch itself locates it, after verifying the archive's checksums.

    Raises:
        EANError: if part of the file has changed, or torch.save cannot have written it.
    """
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        repeated = len(set(archive.namelist())) < len(entries)
        if not stored or repeated or sum(entry.file_size for entry in entries) > size:
            raise EANError(f"{path} is a zip file, but torch.save did not write it: give the file inside it")
        if (entry := archive.testzip()) is not None:
            raise EANError(f"{path} has changed since it was written (the checksum of {entry} differs): {remedy(path)}")
    file.seek(0)
    return torch._C.PyTorchFileReader(file).get_record("data.pkl")


def check_old_form(path: Path, file: IO[bytes]) -> None:
    """Refuse files without the magic number of PyTorch's old format, and tar files, which some versions execute."""
    file.seek(0)
    begins = _MAGIC.to_bytes(10, "little") in file.read(16)
    file.seek(0)
    if not begins or tarfile.is_tarfile(file):
        raise EANError(f"{path} is damaged, or is not a file of weights: {remedy(path)}")


def read_pth(path: Path, file: IO[bytes], *, state: bool) -> Any:
    """`torch.load` a file whose names were checked, allowing only our own stand-ins."""
    stand_ins = [(stand_in, name) for name, stand_in in STATES.items() if stand_in is not None] if state else []
    file.seek(0)
    with _load_lock:
        torch_allowed = torch.serialization.get_safe_globals()
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
            torch.serialization.add_safe_globals(torch_allowed)


def refused(path: Path, name: str) -> EANError:
    """The error for a name that is not allowed."""
    if name.startswith("mmengine.logging"):  # the log buffers in an old last.pth
        return EANError(f"{path} {A_STATE}")
    return EANError(f"{path} holds more than weights and was not loaded, since it could run code (it uses {name[:80]})")


def damaged(path: Path, error: Exception) -> EANError:
    """The error for damaged content; errors of the disk are raised unchanged."""
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a seek to before the start
        raise error
    if isinstance(error, pickle.UnpicklingError | struct.error | UnicodeDecodeError | ValueError):
        return EANError(f"{path} is damaged, or is not a file of weights: {remedy(path)}")
    return EANError(
        f"{path} is damaged or truncated ({first_line(error)}), or is not a file of weights: {remedy(path)}"
    )


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors in a file's content with their dotted names, except those of a state's log."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != "message_hub":
                yield from tensors_in(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from tensors_in(item, f"{name}.{number}")


def check_tensors(path: Path, content: Any) -> None:
    """Refuse tensors larger than their storage, and numbers that are not finite.

    Raises:
        EANError: with the name of the first such tensor.
    """
    try:
        for name, tensor in tensors_in(content):
            if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                raise EANError(f"{path} is damaged ({name} is larger than its storage): {remedy(path)}")
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise EANError(
                    f"{path} holds numbers that are not finite, the first in {name.removeprefix('state_dict.')}: its "
                    "training diverged, so train it again with a lower learning rate"
                )
    except RecursionError:
        raise EANError(f"{path} is damaged (its content is nested too deep): {remedy(path)}") from None


def check_sum(path: Path, content: Any) -> None:
    """Verify the checksum of a file of this project.

    Raises:
        EANError: if it differs from the stored one.
    """
    if isinstance(content, dict) and KEY in content and content.pop(KEY) != checksum_of(content):
        raise EANError(f"{path} has changed since it was written (its checksum differs): {remedy(path)}")
