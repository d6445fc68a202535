"""A segmentor for the commands of all tasks: Grad-CAM of a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ean_core.errors import EANError
from ean_core.explain.targets import region_target
from ean_core.opened import Opened
from ean_core.photos import Preparation


def open_segmentor(path: Path, config: str | Path) -> Opened:
    """A last.pth with the config that it was trained with; photos are resized as the config's test images.

    Raises:
        EANError: if one cannot be read, they do not belong together, or the backbone is not this project's.
    """
    from segmentation.logits import Logits
    from segmentation.predicting import Segmentor

    segmentor = Segmentor(config, path, device="cpu")
    backbone, classes = segmentor.model.backbone, tuple(segmentor.meta["classes"])
    if not hasattr(backbone, "network"):
        raise EANError(f"the backbone in {config} is a {type(backbone).__name__}: Grad-CAM here looks into EANResNet")
    norm = segmentor.model.data_preprocessor
    mean, std = (tuple((values.flatten() / 255).tolist()) for values in (norm.mean, norm.std))
    return Opened(
        path=path,
        kind="segmentor",
        network=Logits(segmentor.model).eval(),
        trunk=backbone.network,
        prepare=Preparation(3, mean, std, fit=fit_of(segmentor.config)),
        classes=classes,
        make_target=lambda output, wanted: region_target(output, classes, wanted),
        output="logits",
        content={"model": {"arch": backbone.arch, "attention": backbone.attention}},
    )


def fit_of(config: Any) -> tuple[int, int] | None:
    """The scale that the config's test images are resized to, if they are.

    Raises:
        EANError: if they are resized in another way than photos are here.
    """
    resize = next((step for step in config.test_dataloader.dataset.pipeline if step["type"] == "Resize"), None)
    if resize is None:
        return None
    if not resize.get("keep_ratio") or not isinstance(resize.get("scale"), list | tuple):
        raise EANError(
            "the config resizes its test images in a way that photos here are not: give its Resize a scale of two "
            "numbers and keep_ratio=True"
        )
    return tuple(resize["scale"])
