"""Which task a config belongs to, so that one command can take any of them."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ean_core.utils.errors import EANError, first_line


def check_config_file(path: str | Path, *, folder: str) -> None:
    """Refuse what is no file, with the nearest name beside it or in a task's folder of configs.

    Raises:
        EANError: if it is a folder, or does not exist.
    """
    path = Path(path)
    if path.is_dir():
        raise EANError(f"configuration {path} is a folder: give a file, as those in {folder}/")
    if not path.is_file():
        known = {one.name: one for place in (Path(folder), path.parent) for one in place.glob("*.py")}
        near = get_close_matches(path.name, known, n=1)
        hint = f"; did you mean {known[near[0]]}?" if near else ""
        raise EANError(f"configuration {path} does not exist: see {folder}/{hint}")


def task_of(path: str | Path) -> str:
    """The folder of the task that a config is for: "segmentation", "classification" or "crowd_counting".

    Segmentation configs are mmsegmentation's, and their model has a type; of the others, classification's names its
    data.

    Raises:
        EANError: if it is missing, or cannot be read as a config.
    """
    from ean_core.utils.recipe_file import read_recipe_file  # MMEngine takes a second to import

    check_config_file(path, folder="segmentation/configs")
    try:
        config = read_recipe_file(path, import_custom_modules=False)
    except EANError:
        raise
    except Exception as error:  # a config is a program: it can fail in any way
        raise EANError(f"{path} cannot be read as a config ({type(error).__name__}: {first_line(error)})") from None
    if "train_dataloader" in config or "type" in config.get("model", {}):
        return "segmentation"
    return "classification" if "name" in config.get("data", {}) else "crowd_counting"
