"""What the pipeline needs of a task. A task that implements `Task` gets the search, all its methods and limits,
comparisons, correlation studies, fronts, resuming and records with it.

The pipeline decides what is trained, where it is kept and how runs are resumed; the task builds and trains networks,
and says how good they are.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from torch import nn

from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.pipeline.recipe import Recipe
from ean_core.scheme import Scheme
from ean_core.search.base import LossGradient
from ean_core.training.step_timing import Pace
from ean_core.training.work_dir import WorkDir, claim
from ean_core.utils.errors import EANError
from ean_core.utils.text import difference_unit

SchemeScorer = Callable[[Sequence[Scheme]], Sequence[float]]
"""Schemes -> the score of each, in percent and higher for better ones. A scheme that was scored before costs nothing,
and several processes that call it together share the images and get the same numbers."""


@dataclass(frozen=True)
class Metric:
    """A figure of a trained network.

    Attributes:
        key: of the figure in records and in what `Task.evaluate` returns, such as "top1".
        name: as tables head it, such as "accuracy".
        unit: such as "%"; empty for plain numbers.
        higher_is_better: false for errors.
        proportion: whether it is the percentage of images that a network gets right, so that its standard error follows
            from the number of images alone (binomial).
        in_summary: whether the table at the end of a run has it beside the first of `Task.metrics`.
    """

    key: str
    name: str
    unit: str = ""
    higher_is_better: bool = True
    proportion: bool = False
    in_summary: bool = False

    @property
    def heading(self) -> str:
        """Name and unit, as over a table's column."""
        return f"{self.name} {self.unit}".rstrip()

    @property
    def difference_unit(self) -> str:
        """The unit of a difference of two values."""
        return difference_unit(self.unit, self.name)

    @property
    def axis(self) -> str:
        """Name and unit, as beside a picture's axis."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


def summary_metrics(metrics: Sequence[Metric]) -> list[Metric]:
    """Those of `Task.metrics` that the table at the end of a run shows."""
    return [metric for number, metric in enumerate(metrics) if number == 0 or metric.in_summary]


@dataclass(frozen=True)
class DatasetInfo:
    """What records, run identities and clocks need to know of a task's data.

    Attributes:
        name: as the recipe calls it.
        train_images: the network is retrained on.
        test_images: retrained networks are tested on.
        image_shape: (C, H, W) of an image that networks are timed on.
        fingerprint: all that decides which images these are and what is done to them: name, checksum, subset, split,
            augmentation. Plain values; two runs on the same data agree in it.
        search_only: keys of `fingerprint` that only the search depends on, such as the size of the validation part.
        note: a sentence on the data for the reader of a record; may be empty.
        timing_batch: images per forward pass in which networks are timed, at most.
    """

    name: str
    train_images: int
    test_images: int
    image_shape: tuple[int, int, int]
    fingerprint: Mapping[str, Any]
    search_only: frozenset[str] = frozenset()
    note: str = ""
    timing_batch: int = 50


@dataclass(frozen=True)
class TrainingRun:
    """One training: where it is kept, and what its result depends on.

    Attributes:
        name: of the progress bar.
        section: of the recipe that it is trained by, "supernet" or "train".
        directory: for last.pth, the state that it is resumed from, and logs.
        output: the network file to write.
        identity: all that the result depends on; goes into the network file as "recipe".
        seed: of weights, order of the images and augmentation.
        launcher: as `start_processes` returned it.
        resume: continue what the directory holds.
        backends: further MMEngine visualization backends.
        work_dir: the whole of which the directory is a part.
        on_pace: called once when the first few steps have been timed; None: they are not.
    """

    name: str
    section: str
    directory: Path
    output: Path
    identity: Mapping[str, Any]
    seed: int
    launcher: str = "none"
    resume: bool = False
    backends: tuple[str, ...] = ()
    work_dir: WorkDir | None = None
    on_pace: Callable[[Pace], None] | None = None

    @property
    def state(self) -> Path:
        """The file that the run is resumed from."""
        return self.directory / "last.pth"

    def claim(self) -> None:
        """Take the directory; to be called when everything is built and only the training itself is left, so that a
        mistaken setting claims nothing (`ean_core.pipeline.fit.fit` calls it).

        Raises:
            EANError: if the directory holds another run, or this one and it was not to be resumed.
        """
        begun = [self.state, self.output, self.directory / "result.json"]
        claim(self.directory, self.identity, resume=self.resume, begun=begun, work_dir=self.work_dir)


@dataclass(frozen=True)
class TrainedNetwork:
    """What a training from scratch gave.

    Attributes:
        metrics: test results by key, those of `Task.metrics` among them; perhaps "best_test_epoch", the first of
            `Task.metrics` in the epoch in which it was best on the test images, by which nothing may be chosen.
        parameters: of the network that was trained, without what is not connected.
        per_image: (N,) the result of each test image, in the order of the test set, by which two networks can be
            compared: bool, whether it is right, if the first of `Task.metrics` is a proportion; else float, an error
            whose mean is that metric. None where there is no such thing.
    """

    metrics: Mapping[str, Any]
    parameters: int
    per_image: np.ndarray | None = None


def require_spec(path: Path, model: Mapping[str, Any], spec: TrunkSpec, *, recipe: Recipe) -> None:
    """Refuse a network file that holds another network than the recipe's.

    Args:
        path: of the file.
        model: the file's "model".
        spec: of the network that is wanted.
        recipe: that names it.

    Raises:
        EANError: if they differ.
    """
    wanted, found = (dataclasses.asdict(one) for one in (spec, type(spec)(**model)))
    if json.loads(json.dumps(found)) != json.loads(json.dumps(wanted)):  # in files tuples are lists
        raise EANError(
            f"{path} holds a {model.get('arch')} with {model.get('attention')}, made for other data or options than "
            f"recipe {recipe.name!r} ({wanted.get('arch')} with {wanted.get('attention')}): give another --work-dir"
        )


_Task = TypeVar("_Task", bound="Task")


class Task(Protocol):
    """A task with its data read.

    Attributes:
        name: of the task, as sentences say it; a work directory belongs to one task.
        model: of its networks, as latency tables name them, such as "classifier".
        recipe: with at least the sections that `ean_core.pipeline.recipe.Recipe` describes.
        score: how schemes are judged in the search: Eq. 7's accuracy term, in percent, higher for better schemes.
        metrics: how trained networks are judged on the test images; the first one heads the tables.
        network_file: name of a trained network's file, such as "classifier.pth".
    """

    name: str
    model: str
    recipe: Recipe
    score: Metric
    metrics: tuple[Metric, ...]
    network_file: str

    def with_recipe(self: _Task, recipe: Recipe) -> _Task:
        """The same data under another recipe, whose data section is the same."""
        ...

    def describe(self) -> str:
        """The data in a few words, for the first line that a run prints."""
        ...

    def dataset(self) -> DatasetInfo:
        """What there is to know of the data."""
        ...

    def data_arguments(self) -> list[str]:
        """The flags besides --data-root that name the data in the commands that take a trained network's file, such as
        `tools/trim.py`; none where the file or its configuration names them."""
        ...

    def count_validation_images(self) -> int:
        """How many of the training images schemes are scored on.

        Raises:
            EANError: if there are too few images to split.
        """
        ...

    def blocks(self) -> tuple[int, ...]:
        """Blocks per stage of the network, those that a scheme has a bit for; of the stages that are built."""
        ...

    def spec(self, **changes: Any) -> TrunkSpec:
        """The share-full network of the recipe for this data; `changes` replace fields of it: attention,
        attention_options, sharing, scheme. A network with a scheme has no attention that the scheme does not use."""
        ...

    def build(self, spec: TrunkSpec) -> nn.Module:
        """A network with fresh weights, or with the recipe's pretrained weights where it names some.

        Returns:
            images (B, C, H, W) -> the task's output.

        Raises:
            EANError: if the pretrained weights do not fit.
        """
        ...

    def starting_weights(self) -> dict[str, str]:
        """Which weights networks start from, for a run's identity; empty from scratch."""
        ...

    def train_supernet(self, run: TrainingRun, spec: TrunkSpec) -> None:
        """Train a network on random paths (Algorithm 1, lines 1 to 5), or resume, and write `run.output`.

        The path of a step is a function of `run.seed` and the step's number (`ean_core.supernet.paths.draw_path`).

        Raises:
            EANError: as `TrainingRun.claim`, or for settings that cannot be trained with.
        """
        ...

    def load_supernet(self, path: Path) -> nn.Module:
        """A file that `train_supernet` wrote, on the device and in the memory format of scoring.

        Raises:
            EANError: if it holds another network than the recipe's.
        """
        ...

    def make_scorer(self, supernet: nn.Module) -> SchemeScorer:
        """Scores schemes on the validation images, as the recipe's search section says (batch-norm calibration,
        precision, batch size). Weights, scheme and batch norms of the supernet are as before after every call."""
        ...

    def make_gradient(self, supernet: nn.Module, *, images: int, seed: int) -> LossGradient:
        """The validation loss and its gradient by the connections, for search methods that follow it (DARTS).

        Args:
            supernet: on its device.
            images: validation images that a gradient is taken on; drawn from `seed` and the step's number.
            seed: of the draw.

        Raises:
            EANError: with the reason, if the task cannot give a gradient.
        """
        ...

    def train_network(self, run: TrainingRun, spec: TrunkSpec) -> TrainedNetwork:
        """Train one network of fixed connections from scratch, or go on with it, test it, and write `run.output` with
        its metrics."""
        ...

    def load_network(self, path: Path) -> nn.Module:
        """A file that `train_network` wrote: the network in eval mode, on the CPU, images (B, C, H, W) to output."""
        ...

    def evaluate(self, network: nn.Module, *, batch_size: int) -> Mapping[str, float]:
        """A network's metrics on all test images, by key; several processes share the images."""
        ...
