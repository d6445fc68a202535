"""Files that come with the project, which lie in the packages: in a checkout and once installed alike."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the packages."""

SCHEMES = ROOT / "ean_core" / "schemes"
"""The paper's schemes and those found here, a scheme.json each."""

MODELS = ROOT / "ean_core" / "trained"
"""Trained networks, a .safetensors each."""


def scheme_names() -> list[str]:
    """The names of the schemes in `SCHEMES`."""
    return sorted(path.stem for path in SCHEMES.glob("*.json"))


def shipped_scheme(name: str) -> Path | None:
    """The file of a scheme in `SCHEMES`; None for another name."""
    return SCHEMES / f"{name}.json" if name in scheme_names() else None
