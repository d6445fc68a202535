"""Which task a config belongs to, so that one command can take any of them."""

from __future__ import annotations

from pathlib import Path

from ean_core.errors import EANError, first_line


def task_of(path: str | Path) -> str:
    """The folder of the task that a config is for: "segmentation", "classification" or "crowd_counting".

    Segmentation configs are mmsegmentation's, and their model has a type; of the others, classification's names its
    data.

    Raises:
        EANError: if it is missing, or cannot be read as a config.
    """
    from mmengine.config import Config

    if not Path(path).is_file():
        raise EANError(f"{path} does not exist: give a config, as segmentation/configs/ean_se_demo.py")
    try:
        config = Config.fromfile(path, import_custom_modules=False)
    except Exception as error:  # a config is a program: it can fail in any way
        raise EANError(f"{path} cannot be read as a config ({type(error).__name__}: {first_line(error)})") from None
    if "train_dataloader" in config or "type" in config.get("model", {}):
        return "segmentation"
    return "classification" if "name" in config.get("data", {}) else "crowd_counting"
