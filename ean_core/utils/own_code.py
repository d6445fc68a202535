"""Import a class of the user's own, from a file or a module that a command, a recipe or a call names.

Nothing else imports a class by name: a name in a checkpoint or a scheme.json never runs code.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ean_core.utils.errors import EANError, first_line, unknown_name
from ean_core.utils.files import sha256_of

_FILES: dict[str, ModuleType] = {}  # resolved path -> the module made from it: a file runs once
_DIGESTS: dict[str, str] = {}  # name of a class -> digest of its file


def code_of(*names: str | None) -> dict[str, dict[str, str]]:
    """For a run's identity: {"own_code": name -> 12 hexadecimal digits of its file's SHA-256}, for what is own code.

    Args:
        names: as `load_class` returned them, among others, which are left out.

    Returns:
        nothing where none is own code.
    """
    digests = {name: _DIGESTS[name] for name in names if name in _DIGESTS}
    return {"own_code": digests} if digests else {}


def load_class(reference: str, base: type, *, kind: str, example: str) -> tuple[str, Any]:
    """Import a user's own class. This runs the code of that module or file.

    Args:
        reference: `my_module:Gate`, a module that can be imported (the working directory counts), or
            `path/to/file.py:Gate`.
        base: classes of the module that are derived from it are suggested for an unknown name.
        kind: what the class is for, such as "attention", for error messages.
        example: names of that kind that need no file, for error messages.

    Returns:
        the name under which records and files know the class: the reference without the file's folder, `file.py:Gate`,
        so that what was made here can be used where the file lies elsewhere; and the class, or whatever has its name.

    Raises:
        EANError: if there is no such module, file or class, or importing it fails.
    """
    where, _, class_name = reference.rpartition(":")
    from_file = where.endswith(".py")
    module = _file(Path(where), kind) if from_file else _module(where, kind, example)
    if not hasattr(module, class_name):
        derived = [
            key
            for key, value in vars(module).items()
            if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
        ]
        raise unknown_name(f"class in {where}", class_name, derived)
    name, source = f"{Path(where).name}:{class_name}" if from_file else reference, getattr(module, "__file__", None)
    if source is not None and Path(source).is_file():
        _DIGESTS[name] = sha256_of(source)[:12]
    return name, getattr(module, class_name)


def _file(path: Path, kind: str) -> ModuleType:
    """The module made from a file, once per path; modules beside it can be imported by it."""
    if not path.is_file():
        raise EANError(f"{kind} file {path} does not exist: give PATH/TO/FILE.py:CLASS")
    key = str(path.resolve())
    if key not in _FILES:
        spec = importlib.util.spec_from_file_location(f"ean_own_{len(_FILES)}_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses and torch look the module of a class up
        _run(lambda: spec.loader.exec_module(module), what=path, folder=path.resolve().parent)
        _FILES[key] = module
    return _FILES[key]


def _module(name: str, kind: str, example: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise EANError(f"{kind} {name!r}: expected MODULE:CLASS or PATH/TO/FILE.py:CLASS")
    try:
        return _run(lambda: importlib.import_module(name), what=name, folder=Path.cwd())
    except ModuleNotFoundError:
        raise EANError(
            f"no module {name!r} can be imported: give PATH/TO/FILE.py:CLASS, or a name such as {example}"
        ) from None


def _run(work: Callable[[], ModuleType | None], *, what: object, folder: Path) -> ModuleType | None:
    """Import with a folder at the end of the search path, so that it can shadow nothing."""
    sys.path.append(str(folder))
    try:
        return work()
    except (EANError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name != what:
            raise EANError(f"{what} needs the module {error.name!r}, which is not there: install it") from error
        raise
    except (Exception, SystemExit) as error:  # the user's code can fail in any way, and can be a script that ends
        raise EANError(f"{what} cannot be imported ({type(error).__name__}: {first_line(error)}): fix it") from error
    finally:
        sys.path.remove(str(folder))
