"""Optional packages, and the error if one is missing."""

from __future__ import annotations

from importlib.util import find_spec

from ean_core.utils.errors import EANError


def require(*modules: str, extra: str, what: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        modules: import names, which must equal the names on PyPI.
        extra: the extra of setup.py that installs them.
        what: the feature that needs them, as the subject of the error message.

    Raises:
        EANError: if one is missing, with the command to install it.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        raise EANError(
            f"{what} needs {names}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f'pip install {" ".join(missing)}, or pip install -e ".[{extra}]"'
        )
