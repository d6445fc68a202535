"""A loaded network file of any task: the network with all that predicting, explaining and exporting need.

Each task registers a function that loads its files (`ean_core.utils.task_registry.register_loader`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from ean_core.inference.explain.targets import Target, class_target
from ean_core.inference.images import Preparation
from ean_core.inference.shipped_models import find_model
from ean_core.io.file_format import later_version
from ean_core.io.safe_load import A_STATE, load_tensors
from ean_core.networks import StagedNetwork
from ean_core.networks.network_file import FORMAT, build_network
from ean_core.utils.checked_dataclasses import check_arguments
from ean_core.utils.devices import choose_device
from ean_core.utils.errors import EANError
from ean_core.utils.shipped_files import ROOT, model_path
from ean_core.utils.task_registry import Loader, file_formats, get_loader, register_loader, task_of_config


class MakeTarget(Protocol):
    """Makes the target that Grad-CAM explains: (output for one image, name or index, or None for the network's own
    choice)."""

    def __call__(self, output: Tensor, target: str | int | None) -> Target: ...


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network and the content of its file.

    Attributes:
        path: of the file.
        kind: "classifier", "counter" or "segmentor".
        network: normalized images (B, C, H, W) to the task's output, in eval mode.
        trunk: the residual network in it, whose stages and attention are explained.
        prepare: converts images to its input.
        classes: names, in the order of the outputs; empty for a counter.
        make_target: chooses the scalar that Grad-CAM explains.
        output: name of the output, for an exported network.
        content: the file, without the weights.
        config: that a segmentor was loaded with.
        make_predictor: makes what `ean_core.load` returns; None for a classifier.
    """

    path: Path
    kind: str
    network: nn.Module
    trunk: StagedNetwork
    prepare: Preparation
    classes: tuple[str, ...]
    make_target: MakeTarget
    output: str
    content: Mapping[str, Any]
    config: Path | None = None
    make_predictor: Callable[[LoadedModel], Any] | None = None

    @property
    def device(self) -> torch.device:
        """The device that the network is on."""
        return next(self.network.parameters()).device

    def pixels(self, image: Image.Image) -> Tensor:
        """An image as the network sees it: uint8 (C, H, W)."""
        return self.prepare.pixels(image)

    def inputs(self, pixels: Sequence[Tensor]) -> Tensor:
        """Images of one size, uint8 (C, H, W) each -> float32 (B, C, H, W) on the network's device."""
        return self.prepare.normalize(torch.stack(list(pixels)).to(self.device))

    @torch.inference_mode()
    def outputs(self, pixels: Sequence[Tensor]) -> Tensor:
        """Images of one size -> the network's output, on the CPU."""
        return self.network(self.inputs(pixels)).float().cpu()

    def require_stages(self, what: str) -> None:
        """Refuse a plain network of timm's (`ean_core.inference.timm_classifier`), which has no stages of ours.

        Args:
            what: that needs them, for the message.

        Raises:
            EANError: if there are none.
        """
        if not hasattr(self.trunk, "stages"):
            raise EANError(
                f"{self.path} is a plain {self.content['model']['arch']}, which has no stages as this project's "
                f"networks have them: {what} needs such a network"
            )

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}, {self.describe()}"

    def describe(self) -> str:
        """Architecture, attention, and how many blocks are connected to it, such as "resnet20, se 3/9"."""
        model = self.content["model"]
        if not model.get("attention"):
            return model["arch"]
        scheme = self.trunk.scheme
        return f"{model['arch']}, {model['attention']} {scheme.connections}/{len(scheme)}"


def load_file(path: str | Path, *, device: str | None = None, config: str | Path | None = None) -> LoadedModel:
    """Load a network file of any task.

    Args:
        path: a classifier.pth, supernet.pth or counter or, with a config, a segmentor's last.pth; the .safetensors
            made of one; or the name of a shipped model.
        device: default CUDA where there is one.
        config: of the segmentor. It is a program and runs, unlike the checkpoint: give one that you trust.

    Raises:
        EANError: if the file is missing, damaged, of another kind, or asks for code; or the device cannot be used.
    """
    check_arguments(
        "load",
        path=(path, str | Path),
        device=(device, str | torch.device | None),
        config=(config, str | Path | None),
    )
    if config is None and (shipped := find_model(path)) is not None and shipped.about.config is not None:
        config = ROOT / shipped.about.config  # comes with the project, as the model does
    path = model_path(path)
    if config is not None:
        model = load_with_config(path, Path(config))
    else:
        content, loader = read_content(path)
        model = loader(path, content)
    model.network.to(choose_device(device))
    return model


def load_with_config(path: Path, config: Path) -> LoadedModel:
    """Load a checkpoint that needs its configuration, by the configuration's task.

    Raises:
        EANError: if that task's checkpoints need none.
    """
    task = task_of_config(config)
    if task.load_with_config is None:
        raise EANError(f"{config} is a configuration of {task.name}, whose checkpoints need none: leave it out")
    return task.load_with_config(path, config)


def read_content(path: Path) -> tuple[dict[str, Any], Loader]:
    """The content of a network file, and what makes a model of it.

    Raises:
        EANError: if no task has a loader for the file.
    """
    if path.name == "last.pth" and path.exists():  # lies in the same directory as the networks, and is soon mistaken
        raise EANError(f"{path} {A_STATE}")
    content = load_tensors(path)
    file_format = content.get("format") if isinstance(content, dict) else None
    loader = get_loader(file_format) if isinstance(file_format, str) else None
    if loader is None:
        later = (later_version(path, file_format, known) for known in file_formats())
        if error := next(filter(None, later), None):
            raise error
        is_a = f"a file of format {file_format!r}" if file_format else "another kind of file"
        raise EANError(
            f"{path} is {is_a}, not a network of this project: give a classifier.pth, or a best.pth of a crowd "
            "counter, or a .safetensors made of one"
        )
    return content, loader


def load_classifier(path: Path, content: dict[str, Any]) -> LoadedModel:
    """The model of a classifier.pth's or supernet.pth's content.

    Raises:
        EANError: if the file does not say how its images were prepared.
    """
    network = build_network(path, content)
    for name in ("mean", "std", "image_shape"):
        if content.get(name) is None:
            raise EANError(
                f"{path} does not say the {name} of its images, so images cannot be prepared for it: train it again"
            )
    classes = tuple(content.get("classes") or ())
    if not classes:  # a file that names no classes: numbers, as its labels were
        classes = tuple(map(str, range(content["model"]["num_classes"])))
    channels, size, _ = content["image_shape"]
    return LoadedModel(
        path=path,
        kind="classifier",
        network=network,
        trunk=network,
        prepare=Preparation(channels, tuple(content["mean"]), tuple(content["std"]), size, resize_of(content, size)),
        classes=classes,
        make_target=partial(class_target, classes=classes),
        output="logits",
        content=content,
    )


register_loader(FORMAT, load_classifier)


def resize_of(content: Mapping[str, Any], size: int) -> int:
    """The shorter side before the crop; older files do not say it, but their data set decides it."""
    if content.get("resize") is not None:
        return int(content["resize"])
    from_files = (content.get("data") or {}).get("name") in ("imagenet", "folder")
    return round(size * 256 / 224) if from_files else size


def label_files(paths: Sequence[str | Path]) -> list[str]:
    """A short name for each file that no other has: its stem, its folder where stems are alike, or its whole path."""
    paths = [Path(path) for path in paths]
    for name in (lambda path: path.stem, lambda path: path.absolute().parent.name):
        names = [name(path) for path in paths]
        if len(set(names)) == len(names) and not (
            len(names) == 1 and names[0] in ("classifier", "best", "final", "last")
        ):
            return names
    return [str(path) for path in paths]
