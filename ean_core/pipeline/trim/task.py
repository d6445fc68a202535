"""What trimming needs of a task: a trained network, images, and each image's result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from ean_core.pipeline.task import Metric
from ean_core.scheme import Scheme, SchemeLike, as_scheme_of_first_stages
from ean_core.utils.files import sha256_of
from ean_core.utils.text import how_many

VALIDATION, TEST = "validation", "test"


@dataclass(frozen=True)
class Parts:
    """Which images do what.

    Attributes:
        training: how many there are; mean masks and batch norm calibration use some of them.
        validation: how many images choose.
        test: how many the result is reported on at the end; 0 for none.
        note: a sentence that says where the validation images come from.
    """

    training: int
    validation: int
    test: int
    note: str

    def describe(self) -> str:
        """The parts in a sentence."""
        tested = how_many(self.test, "test image") if self.test else "no test images"
        return f"{how_many(self.validation, 'validation image')} ({self.note}), {tested}"


def checkpoint_identity(path: Path) -> dict[str, str | None]:
    """Name and checksum of a checkpoint, for `TrimTask.identity`; no checksum of a network that is not from a file."""
    return {"checkpoint": path.name, "checkpoint_sha256": sha256_of(path) if path.is_file() else None}


def with_later_stages(kept: Scheme, scheme: SchemeLike, blocks: Sequence[int]) -> Scheme:
    """The connections of a network that keeps only its first stages, with the bits of `scheme` for the later ones.

    Args:
        kept: of the stages that the network keeps.
        scheme: as the network was trained, of all stages or, as a search finds it, of those that it keeps.
        blocks: of all stages.
    """
    whole = as_scheme_of_first_stages(scheme, blocks, stages=len(kept.blocks))
    return Scheme(kept.bits + whole.bits[len(kept) :], tuple(blocks))


class TrimTask(Protocol):
    """A trained network with its data, read and checked.

    Attributes:
        name: of the task, such as "classification".
        network: in eval mode, on the device it is to be measured on: images (B, C, H, W) -> the task's output.
        metric: how it is judged.
        parts: of the data.
        image_shape: (C, H, W) of the images that it is timed on.
        identity: which network and which data these are, as plain values.
    """

    name: str
    network: nn.Module
    metric: Metric
    parts: Parts
    image_shape: tuple[int, int, int]
    identity: Mapping[str, Any]

    def training_batches(self, count: int) -> Iterable[Tensor]:
        """About `count` training images, augmented as in training: normalized batches (B, C, H, W) on the network's
        device. The same ones in every iteration."""
        ...

    def results(self, network: nn.Module, part: str) -> np.ndarray:
        """A network's result for each image of a part ("validation" or "test"), in the same order every time.

        Returns:
            (N,) bool, whether an image is right, where the metric is a proportion; (N,) float, an error whose mean is
            the metric; or (N, K, 2) whole numbers, the pixels in the intersection and in the union of each class, where
            it is the mean IoU.
        """
        ...

    def group_figures(self, results: np.ndarray, part: str) -> Mapping[str, float]:
        """What the metric sums up, where it is made of groups of images, such as "MAE on part_A, people".

        Args:
            results: of a network on a part, as `results` returns them.
            part: "validation" or "test".

        Returns:
            name -> value; empty where there are no groups.
        """
        ...

    def save(self, network: nn.Module, path: Path, info: Mapping[str, Any]) -> list[Path]:
        """Write a trimmed network as a file that the task's commands load.

        Args:
            network: with fewer attention calls than `self.network`, still with the modules of those.
            path: without a suffix.
            info: plain values that the file is to hold under "trim".

        Returns:
            the files written, the network first.
        """
        ...

    def finetune(self, network: nn.Module, *, epochs: int, directory: Path, resume: bool) -> nn.Module:
        """Train a trimmed network on, without the validation images; returns it in eval mode.

        Raises:
            EANError: if the task has no such training.
        """
        ...
