"""Files that come with the project, which lie in the packages: in a checkout and once installed alike."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the packages."""

SCHEMES = ROOT / "ean_core" / "schemes"
"""The paper's schemes and those found here, a scheme.json each."""

TOOLS = ROOT / ("ean_tools" if (ROOT / "ean_tools").is_dir() else "tools")
"""The commands, whose folder has another name once it is installed (setup.py)."""

MODELS = ROOT / "ean_core" / "trained"
"""Trained networks, a .safetensors each."""


def model_names() -> list[str]:
    """The names of the trained networks in `MODELS`."""
    return sorted(path.stem for path in MODELS.glob("*.safetensors"))


def model_path(checkpoint: str | Path) -> Path:
    """The file that a checkpoint argument means: that of a shipped model for its name, else the path itself."""
    path = Path(checkpoint)
    return MODELS / f"{path}.safetensors" if not path.exists() and str(path) in model_names() else path


def remedy(path: str | Path) -> str:
    """What to do about a damaged file, for an error message."""
    return "install the project again" if Path(path).parent == MODELS else "move it away and create it again"


def results_folder(checkpoint: str | Path) -> Path:
    """Where a command writes what it finds about a checkpoint: beside it, or in work_dirs/NAME for a shipped model."""
    path = model_path(checkpoint)
    return Path("work_dirs") / path.stem if path.parent == MODELS else path.parent


def scheme_names() -> list[str]:
    """The names of the schemes in `SCHEMES`."""
    return sorted(path.stem for path in SCHEMES.glob("*.json"))


def shipped_scheme(name: str) -> Path | None:
    """The file of a scheme in `SCHEMES`; None for another name."""
    return SCHEMES / f"{name}.json" if name in scheme_names() else None
