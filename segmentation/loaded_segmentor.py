"""Load a segmentor for the commands that work on any task: Grad-CAM and export."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from ean_core.inference.explain.targets import region_target
from ean_core.inference.images import Preparation
from ean_core.inference.loaded_model import LoadedModel
from ean_core.utils.errors import EANError
from segmentation import FORMAT
from segmentation.commands import quiet_imports


def load_segmentor(path: Path, config: str | Path) -> LoadedModel:
    """Load a last.pth, or the .safetensors exported from it, with the config that it was trained with.

    Images are resized like the config's test images.

    Raises:
        EANError: if a file cannot be read, they do not belong together, or the backbone is not this project's.
    """
    quiet_imports()
    from segmentation.inference import Segmentor
    from segmentation.model.logits_network import Logits
    from segmentation.predictor import SegmentPredictor

    segmentor = Segmentor(config, path, device="cpu")
    check_composition(segmentor.model, config)
    backbone, classes = segmentor.model.backbone, tuple(segmentor.meta["classes"])
    norm = segmentor.model.data_preprocessor
    mean, std = (tuple((values.flatten() / 255).tolist()) for values in (norm.mean, norm.std))
    network = backbone.network
    model = {"arch": backbone.arch, "attention": backbone.attention, "sharing": network.sharing}
    model |= {"scheme": network.scheme.text if backbone.attention else None}
    model |= {"attention_options": backbone.attention_options, "head": type(segmentor.model.decode_head).__name__}
    content = {"format": FORMAT, "model": model, "classes": classes, "mean": mean, "std": std}
    content |= {"meta": {"dataset_meta": segmentor.meta}, "recipe": segmentor.config.to_dict()}
    return LoadedModel(
        path=path,
        kind="segmentor",
        network=Logits(segmentor.model).eval(),
        trunk=network,
        prepare=Preparation(3, mean, std, fit=resize_scale(segmentor.config)),
        classes=classes,
        make_target=partial(region_target, classes=classes),
        output="logits",
        content=json.loads(json.dumps(content, default=str)),  # plain values, as in a file
        config=Path(config),
        make_predictor=partial(SegmentPredictor, segmentor=segmentor),
    )


def ask_for_config(path: Path, content: dict[str, Any]) -> LoadedModel:
    """Refuse a segmentor's weights without their config, since names in a file are never imported.

    Raises:
        EANError: always.
    """
    raise EANError(f"{path} contains the weights of a segmentor: give its config too, with --config")


def check_composition(model: Any, config: str | Path) -> None:
    """Refuse a segmentor other than an EANResNet with one decode head and one logit per class.

    Raises:
        EANError: naming the unsupported part.
    """
    backbone, head = model.backbone, model.decode_head
    if not hasattr(backbone, "network"):
        raise EANError(f"the backbone in {config} is a {type(backbone).__name__}: this command needs an EANResNet")
    if not hasattr(head, "align_corners"):
        raise EANError(f"the segmentor in {config} has several decode heads: this command needs exactly one")
    if head.out_channels != head.num_classes:
        raise EANError(
            f"the head in {config} has out_channels={head.out_channels} for {head.num_classes} classes: this command "
            "needs a head with one output per class"
        )


def resize_scale(config: Any) -> tuple[int, int] | None:
    """The scale that the config's test images are resized to; None if they are not resized.

    Raises:
        EANError: if they are resized in an unsupported way.
    """
    resize = next((step for step in config.test_dataloader.dataset.pipeline if step["type"] == "Resize"), None)
    if resize is None:
        return None
    if not resize.get("keep_ratio") or not isinstance(resize.get("scale"), list | tuple):
        raise EANError(
            "the config resizes its test images in a way that is not supported here: give its Resize a scale of two "
            "numbers and keep_ratio=True"
        )
    return tuple(resize["scale"])
