"""Trimming a segmentor: its images, the areas of each one's classes, and the file of the trimmed network."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from pprint import pformat
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import METRICS
from torch import Tensor, nn

from ean_core.data.seeding import generator_for
from ean_core.inference.loaded_model import LoadedModel
from ean_core.io.safetensors_file import write_safetensors
from ean_core.networks import stages_blocks
from ean_core.pipeline.task import Metric
from ean_core.pipeline.trim.task import TEST, VALIDATION, Parts, checkpoint_identity, with_later_stages
from ean_core.training.runner import QuietRunner
from ean_core.utils.devices import choose_device
from ean_core.utils.errors import EANError
from ean_core.utils.files import atomic_path, write_atomic
from ean_core.utils.screen import say
from segmentation.config import build_dataset, read_config
from segmentation.data.label_checks import check_parts
from segmentation.evaluation import check_test_parts
from segmentation.inference import load_segmentor
from segmentation.recipe import OF_A_NETWORK

TIMED_SIDE = 512
"""Pixels a side of the images that segmentors are timed on."""


@dataclass(frozen=True, eq=False)
class SegmentorTrim:
    """A trained segmentor and its images; implements `ean_core.pipeline.trim.task.TrimTask`.

    Attributes:
        model: as loaded, on the device.
        config: with its data sets.
        segmentor: mmsegmentation's model, in which trimmed networks are evaluated.
        indices: positions of the images of each part in its data set.
        source: part -> the config's part, "val" or "test".
        parts: how many images do what.
        fingerprints: of the images.
    """

    model: LoadedModel
    config: Config
    segmentor: Any
    indices: Mapping[str, list[int]]
    source: Mapping[str, str]
    parts: Parts
    fingerprints: Mapping[str, str]

    name: ClassVar[str] = "segmentation"
    metric: ClassVar[Metric] = Metric("mIoU", "mIoU", "%")
    image_shape: ClassVar[tuple[int, int, int]] = (3, TIMED_SIDE, TIMED_SIDE)

    @property
    def network(self) -> nn.Module:
        """Backbone, neck and decode head."""
        return self.model.network

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What the run is of: checkpoint, network and data."""
        path = self.model.path
        return {
            **checkpoint_identity(path),
            "config": Path(self.config.filename).stem,
            "model": dict(self.model.content["model"]),
            "data": dict(self.fingerprints),
        }

    def training_batches(self, count: int) -> Iterator[Tensor]:
        """See `TrimTask`; cropped and augmented as in training."""
        loader = QuietRunner.build_dataloader(copy.deepcopy(self.config.train_dataloader), seed=0)
        for batch in islice(loader, max(1, count // self.config.train_dataloader.batch_size)):
            with torch.no_grad():
                prepared = self.segmentor.data_preprocessor(batch, training=True)
            yield prepared["inputs"]

    def results(self, network: Any, part: str) -> np.ndarray:
        """(N, K, 2) pixels in intersection and union of each class, of images processed as the config tests them."""
        model = copy.copy(self.segmentor)  # its parts are the network's
        model._modules = dict(self.segmentor._modules)
        model.backbone, model.decode_head = network.backbone, network.decode_head
        if model.with_neck:
            model.neck = network.neck
        settings = copy.deepcopy(self.config[f"{self.source[part]}_dataloader"])
        settings.dataset.indices = self.indices[part]
        loader = QuietRunner.build_dataloader(settings, seed=0)
        metric = METRICS.build(self.config.test_evaluator)
        metric.dataset_meta = loader.dataset.metainfo
        with torch.no_grad():
            for batch in loader:
                samples = model.eval().test_step(batch)
                metric.process(batch, [sample.to_dict() for sample in samples])
        if metric.non_finite:
            raise EANError(f"the outputs of {self.model.path} are not finite: its training diverged")
        return np.array([np.stack([intersection, union], axis=1) for intersection, union, *_ in metric.results])

    def group_figures(self, results: np.ndarray, part: str) -> Mapping[str, float]:
        """None: all images are one group."""
        return {}

    def save(self, network: Any, path: Path, info: Mapping[str, Any]) -> list[Path]:
        """A .safetensors and a config with the connections that are left, which go together, and a scheme.json."""
        content, backbone = self.model.content, self.segmentor.backbone
        trained = self.config.model.backbone.get("scheme")
        scheme = with_later_stages(network.scheme, trained, stages_blocks(backbone.arch))
        file, config = path.with_suffix(".safetensors"), path.with_suffix(".py")
        weights = {name: value.detach().cpu().contiguous() for name, value in network.prune().state_dict().items()}
        model = {**content["model"], "scheme": scheme.text}
        with atomic_path(file) as temporary:
            write_safetensors(temporary, weights, {**content, "model": model, "trim": dict(info)})
        write_atomic(config, self.config_text(scheme.text, file.name))
        origin = {"arch": backbone.arch, "attention": backbone.attention}
        scheme.save(path.with_name("scheme.json"), **origin, method="trim")
        return [file, config, path.with_name("scheme.json")]

    def config_text(self, scheme: str, file: str) -> str:
        """The config with the segmentor's attention and another scheme: whole, so that it moves with the weights."""
        whole = Config.fromfile(self.config.filename)  # as the user wrote it, without this command's --data-root
        backbone = self.config.model.backbone  # as it was built: a search trains several networks by one config
        network = {name: backbone[name] for name in OF_A_NETWORK if name in backbone}
        whole.model.backbone.update({**network, "scheme": scheme})
        fields = {name: value for name, value in whole.to_dict().items() if not name.startswith("_")}
        lines = [f"{name} = {pformat(value, width=110, sort_dicts=False)}\n" for name, value in fields.items()]
        return f"# {Path(self.config.filename).stem}, trimmed: the config of {file}.\n{''.join(lines)}"

    def finetune(self, network: nn.Module, *, epochs: int, directory: Path, resume: bool) -> nn.Module:
        """There is none.

        Raises:
            EANError: always.
        """
        raise EANError("--finetune is for classifiers, and this is a segmentor: train it with the scheme.json instead")


def start_trim(model: LoadedModel, arguments: argparse.Namespace) -> SegmentorTrim:
    """Read the images that a segmentor was trained on.

    Args:
        model: the segmentor, loaded with its config.
        arguments: `data_root` is used.

    Raises:
        EANError: if they cannot be read.
    """
    if arguments.finetune:
        raise EANError("--finetune is for classifiers, and this is a segmentor: leave it out")
    others = ("part", "annotations", "empty", "test_root", "test_is_validation")
    if any(getattr(arguments, name) for name in others):
        raise EANError(f"{model.path} is a segmentor: its config names its data, so give --data-root alone")
    config = read_config(model.config, data_root=arguments.data_root or "data")
    check_test_parts(config)
    init_default_scope("mmseg")
    MMLogger.get_instance("segmentation-trim", log_level="ERROR")
    datasets = {part: build_dataset(config[f"{part}_dataloader"].dataset) for part in ("train", "val", "test")}
    contents, warnings = check_parts(datasets)
    say(*warnings)
    fingerprints = {part: content.fingerprint for part, content in contents.items()}
    fingerprints |= {"content": {part: content.content for part, content in contents.items()}}
    segmentor, _ = load_segmentor(config, model.path)
    device = choose_device(None)
    model.network.to(device)
    indices, source, note = split_images(fingerprints, len(datasets["val"]), len(datasets["test"]))
    parts = Parts(len(datasets["train"]), len(indices[VALIDATION]), len(indices[TEST]), note)
    return SegmentorTrim(model, config, segmentor.to(device), indices, source, parts, fingerprints)


def split_images(
    fingerprints: Mapping[str, str], val: int, test: int
) -> tuple[dict[str, list[int]], dict[str, str], str]:
    """Positions of the images of each part, which of the config's parts they are in, and a sentence on them."""
    if fingerprints["val"] != fingerprints["test"]:
        note = "the config's validation part, which was not trained on"
        return {VALIDATION: list(range(val)), TEST: list(range(test))}, {VALIDATION: "val", TEST: "test"}, note
    order = torch.randperm(val, generator=generator_for(0, val))
    choosing, reporting = order[: val // 2].sort().values.tolist(), order[val // 2 :].sort().values.tolist()
    note = f"a random half of the {val} validation images, which are the test images too; the other half only reports"
    return {VALIDATION: choosing, TEST: reporting}, {VALIDATION: "val", TEST: "val"}, note
