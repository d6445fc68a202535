"""Which images of a config train the supernet, which score schemes, and which test."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config

from ean_core.data.seeding import generator_for
from ean_core.utils.errors import EANError
from segmentation.config import build_dataset
from segmentation.data.label_checks import Contents, check_parts
from segmentation.recipe import DataRecipe

SOURCE = ("type", "data_root", "ann_file", "data_prefix", "only", "part")
"""Fields of a data set's config that decide which images these are."""


@dataclass(frozen=True)
class SearchSplit:
    """The images of a config, split for a search.

    Attributes:
        name: of the data, for records.
        classes: their number.
        contents: of the lists "train", "val" and "test".
        held_out: indices of the training images that score schemes; empty if the config's validation images do.
        val_dataset: config of the data set that scores schemes, with the test pipeline.
        val_indices: its images that do.
    """

    name: str
    classes: int
    contents: Mapping[str, Contents]
    held_out: tuple[int, ...]
    val_dataset: Mapping[str, Any]
    val_indices: tuple[int, ...]

    @classmethod
    def of(cls, config: Config, recipe: DataRecipe) -> tuple[SearchSplit, list[str]]:
        """Check the images, and split them.

        Returns:
            the split, and warnings.

        Raises:
            EANError: for data that cannot be read, or no images to score schemes on but the test images.
        """
        parts = {part: config[f"{part}_dataloader"].dataset for part in ("train", "val", "test")}
        sets = {part: build_dataset(dataset) for part, dataset in parts.items()}
        tests_on_val = source_of(parts["val"]) == source_of(parts["test"])
        contents, warnings = check_parts(sets)
        held_out: tuple[int, ...] = ()
        if recipe.val_share is not None:
            held_out = draw(contents["train"].pairs, share=recipe.val_share, seed=recipe.split_seed)
            val_dataset = {**parts["train"], "pipeline": parts["val"].pipeline}
        elif tests_on_val:
            raise EANError(
                f"{config.filename} validates on its test images, and schemes must not be chosen by them: give "
                "data=dict(val_share=0.2), which holds out that share of the training images, or a val_dataloader of "
                "other images"
            )
        else:
            val_dataset = dict(parts["val"])
        val_indices = held_out or tuple(range(contents["val"].pairs))
        root = str(parts["train"].data_root).rstrip("/").rpartition("/")[2]
        classes = len(sets["train"].metainfo["classes"])
        return cls(root, classes, contents, held_out, val_dataset, val_indices), warnings

    def supernet_dataset(self, config: Config) -> Any:
        """The training data set's config without the images that score schemes."""
        dataset = copy.deepcopy(config.train_dataloader.dataset)
        if self.held_out:
            out = set(self.held_out)
            dataset.indices = [index for index in range(self.contents["train"].pairs) if index not in out]
        return dataset

    def describe(self) -> str:
        """Numbers of images and classes, for the first line of a run."""
        counts = {part: contents.pairs for part, contents in self.contents.items()}
        where = f"held out of the {counts['train']:,} training images" if self.held_out else "the validation images"
        return (
            f"{self.name}: {counts['train']:,} training and {counts['test']:,} test images, {self.classes} classes, "
            f"schemes scored on {len(self.val_indices):,} images, {where}"
        )

    def fingerprint(self) -> dict[str, Any]:
        """What decides which images these are."""
        fingerprints = {part: contents.fingerprint for part, contents in self.contents.items()}
        content = {part: contents.content for part, contents in self.contents.items()}
        return {
            "name": self.name,
            **fingerprints,
            "content": content,
            "schemes scored on": list(self.held_out) or "val",
        }


def source_of(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a data set's config that decide which images these are."""
    return {name: dataset.get(name) for name in SOURCE}


def draw(count: int, *, share: float, seed: int) -> tuple[int, ...]:
    """Indices of a share of `count` images, at least one and not all, in order.

    Raises:
        EANError: if there are fewer than two images.
    """
    if count < 2:
        raise EANError(f"{count} training images cannot be split for a search: give at least two")
    size = min(count - 1, max(1, round(share * count)))
    return tuple(sorted(torch.randperm(count, generator=generator_for(seed, count))[:size].tolist()))
