"""Packages that only some commands need, and the sentence for those who do not have them."""

from __future__ import annotations

from importlib.util import find_spec

from ean_core.utils.errors import EANError


def require(*modules: str, extra: str, what: str) -> None:
    """Make sure that packages are installed, before any work is done.

    Args:
        modules: import names, which are also the names to install.
        extra: of setup.py, which installs all of them.
        what: needs them, as the sentence's subject.

    Raises:
        EANError: if one is missing, with the command that installs it.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        raise EANError(
            f"{what} needs {names}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f'pip install {" ".join(missing)}, or pip install -e ".[{extra}]"'
        )
