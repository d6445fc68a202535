"""Trimming a counter: its photos, each one's error, and the file of the trimmed network."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from mmengine.device import get_device
from torch import Tensor, nn

from crowd_counting.data.holdout import Split, split_by_name
from crowd_counting.data.load import load_crowd
from crowd_counting.data.loader import CrowdLoader
from crowd_counting.data.points import CrowdData, CrowdImage, check_decodes
from crowd_counting.headline_error import RELATIVE_ERROR, error_metrics, error_name, image_shares, share_weights
from crowd_counting.job import whole_images
from crowd_counting.model.counter_file import normalization_of, save_counter
from crowd_counting.model.network import Counter, CounterSpec
from crowd_counting.model.training_model import CountingModel, evaluate, inside_mask
from crowd_counting.recipe import DataRecipe
from ean_core.data.loader import Plan
from ean_core.data.normalize import Normalize
from ean_core.data.seeding import generator_for
from ean_core.inference.loaded_model import LoadedModel
from ean_core.networks import stages_blocks
from ean_core.pipeline.task import Metric
from ean_core.pipeline.trim.task import TEST, Parts, checkpoint_identity, with_later_stages
from ean_core.utils.checked_dataclasses import build
from ean_core.utils.errors import EANError

SIDE = 512
"""Pixels a side of the images that counters are timed on."""
BATCH = 4


@dataclass(frozen=True, eq=False)
class CounterTrim:
    """A trained counter and its photos; implements `ean_core.pipeline.trim.task.TrimTask`.

    A counter of several parts, or of photos without people too, is judged by the relative error of them all, as in its
    training.

    Attributes:
        model: as loaded, on the device.
        data: the photos that it was trained on.
        split: training and validation photos, as in its training.
        recipe: of its training crops.
    """

    model: LoadedModel
    data: CrowdData
    split: Split
    recipe: DataRecipe

    name: ClassVar[str] = "crowd counting"
    image_shape: ClassVar[tuple[int, int, int]] = (3, SIDE, SIDE)

    @property
    def network(self) -> nn.Module:
        """The counter of the checkpoint."""
        return self.model.network

    @cached_property
    def metric(self) -> Metric:
        """The MAE, or the relative error of several parts."""
        return error_metrics(image.part for image in (*self.split[1], *self.data.test))[0]

    @cached_property
    def parts(self) -> Parts:
        """How many photos do what."""
        train, val = self.split
        note = "held out from training, where they chose the epoch"
        return Parts(len(train), len(val), len(self.data.test), note)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """What the run is of: checkpoint, network and data."""
        path = self.model.path
        return {
            **checkpoint_identity(path),
            "model": dict(self.model.content["model"]),
            "data": {"name": self.data.name, "fingerprint": self.data.fingerprint(), "content": self.data.content},
        }

    @cached_property
    def _normalize(self) -> Normalize:
        return Normalize(*normalization_of(self.model.path, dict(self.model.content))).to(get_device())

    def training_batches(self, count: int) -> Iterator[Tensor]:
        """See `TrimTask`; a crop of each, as in training, of photos drawn from all parts alike."""
        train, plan = self.split[0], Plan(min(BATCH, count), train=True)
        drawn = torch.randperm(len(train), generator=generator_for(0, len(train)))[:count]
        photos = tuple(train[index] for index in drawn.tolist())
        stride = self.model.content["model"]["stride"]
        for batch in CrowdLoader(photos, plan, self.recipe, stride=stride, device=get_device()):
            inputs = batch["inputs"]
            yield self._normalize(inputs) * inside_mask(batch["sizes"], inputs.shape[-2:])[:, None]

    def results(self, network: Counter, part: str) -> np.ndarray:
        """(N,) each whole photo's share in the metric, see `image_shares`."""
        model = CountingModel(network, self._normalize)
        rows = evaluate(model, whole_images(self._photos(part), stride=network.stride))
        return image_shares(rows, self.metric)

    def _photos(self, part: str) -> tuple[CrowdImage, ...]:
        return self.data.test if part == TEST else self.split[1]

    def group_figures(self, results: np.ndarray, part: str) -> Mapping[str, float]:
        """The MAE of each of several parts."""
        if self.metric != RELATIVE_ERROR:
            return {}
        photos = self._photos(part)
        errors = results / share_weights([(photo.part, photo.count) for photo in photos], self.metric)
        return {
            f"{error_name(name)}, people": float(errors[[photo.part == name for photo in photos]].mean())
            for name in dict.fromkeys(photo.part for photo in photos)
        }

    def save(self, network: Counter, path: Path, info: Mapping[str, Any]) -> list[Path]:
        """A .pth for the counting commands, and the connections that are left as a scheme.json."""
        content = self.model.content
        spec = build(CounterSpec, content["model"], where=str(self.model.path))
        blocks = stages_blocks(spec.arch)
        scheme, file = with_later_stages(network.scheme, spec.scheme, blocks), path.with_suffix(".pth")
        spec = dataclasses.replace(spec, scheme=scheme.text)
        kept = {name: content[name] for name in ("mean", "std", "recipe", "epoch") if name in content}
        save_counter(file, network.prune(), spec, **kept, validation=None, trim=dict(info))
        origin = {"arch": spec.arch, "attention": spec.attention, "attention_options": dict(spec.attention_options)}
        scheme.save(path.with_name("scheme.json"), **origin, data=self.data.name, method="trim")
        return [file, path.with_name("scheme.json")]

    def finetune(self, network: nn.Module, *, epochs: int, directory: Path, resume: bool) -> nn.Module:
        """There is none.

        Raises:
            EANError: always.
        """
        raise EANError(
            "--finetune is for classifiers: train a counter from the trimmed one instead, with "
            "crowd_counting/train.py --weights trimmed.pth --scheme scheme.json"
        )


def start_trim(model: LoadedModel, arguments: argparse.Namespace) -> CounterTrim:
    """Read the photos that a counter was trained on.

    Args:
        model: the counter.
        arguments: `part` or `annotations`, which the file's own data set stands for, `data_root` and `empty` are used.

    Raises:
        EANError: if the file does not say its data, they cannot be read, or they are other data.
    """
    if arguments.test_root or arguments.test_is_validation:
        raise EANError(f"{model.path} is a crowd counter: --test-root and --test-is-validation are for classifiers")
    if arguments.finetune:
        raise EANError("--finetune is for classifiers, and this is a crowd counter: leave it out")
    trained = (model.content.get("recipe") or {}).get("data") or {}
    data = load_crowd(
        parts=parts_of(model, trained, arguments),
        annotations=arguments.annotations,
        data_root=arguments.data_root,
        empty=arguments.empty,
    )
    check_same_photos(model, trained, data)
    split = split_by_name(data.train, set(trained.get("val", ())))
    if not all(split):
        raise EANError(f"{model.path} does not say which photos were held out from its training: train it again")
    check_decodes((*data.train, *data.test))
    fields = {field.name for field in dataclasses.fields(DataRecipe)} - {"cache", "empty", "split"}
    values = {name: value for name, value in trained.items() if name in fields}
    recipe = build(DataRecipe, values, where=f"{model.path}: recipe.data")
    model.network.to(torch.device(get_device()))
    return CounterTrim(model, data, split, recipe)


def parts_of(model: LoadedModel, trained: Mapping[str, Any], arguments: argparse.Namespace) -> Sequence[str]:
    """The parts whose photos are read: those that --part names, else those of the training; none with --annotations.

    Raises:
        EANError: if the counter was trained on other data than parts.
    """
    if arguments.part or arguments.annotations is not None:
        return arguments.part or ()
    names = str(trained.get("name", "")).split("+")
    if not all(name.startswith("part_") for name in names):
        raise EANError(
            f"{model.path} was trained on {'+'.join(names) or 'unknown data'}: give --annotations FILE or --part"
        )
    return [name.removeprefix("part_") for name in names]


def check_same_photos(model: LoadedModel, trained: Mapping[str, Any], data: CrowdData) -> None:
    """Refuse other photos than those of the training.

    Raises:
        EANError: if annotated photos or photos without people differ.
    """
    empty, found = trained.get("empty"), data.empty_scenes
    if bool(empty) != bool(found):
        raise EANError(
            f"{model.path} was trained with {empty['images']} photos without people: give their folder, --empty FOLDER"
            if empty
            else f"{model.path} was trained without photos of nobody: leave --empty out"
        )
    if trained.get("fingerprint") != data.fingerprint() or empty != found:
        raise EANError(
            f"{model.path} was trained on {trained.get('name') or 'unknown data'}, and not on these photos of "
            f"{data.name}{' and without people' if found else ''}: give the --part or --annotations, --data-root and "
            "--empty that it was trained with"
        )
