"""The rows that several tables read: networks that were trained, and networks that were timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ean_core.io.records import processes_note
from ean_core.report.results import Record
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.intervals import Interval


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, as `ean_core.io.records.spread` writes it.

    Attributes:
        mean: in the unit of the values.
        std: their sample standard deviation; None for a single value.
        n: how many values.
    """

    mean: float
    std: float | None = None
    n: int | None = None


@dataclass(frozen=True)
class TrainedRow:
    """A network of a pipeline's or a comparison's record, trained from scratch.

    Attributes:
        top1: test accuracy in percent, over the seeds.
        parameters: their number.
        connections, blocks: how many of the blocks have attention.
        scheme: bits with bars between the stages.
        time_increment: Eq. 9 in percent, None where it was not measured; 0 for Org.
        network: "Org", "Org-full", "Share-full" or "EAN"; "" in a comparison.
        methods: the search methods that found its scheme; () in a pipeline.
        best_epoch_top1: test accuracy of the best test epoch, over the seeds; None where it was not logged.
        processes: that each training had; () where it was not recorded.
    """

    top1: Mean
    parameters: int
    connections: int
    blocks: int
    scheme: str
    time_increment: Interval | None
    network: str = ""
    methods: tuple[str, ...] = ()
    best_epoch_top1: Mean | None = None
    processes: tuple[int, ...] = ()

    @property
    def is_org(self) -> bool:
        """Whether it is the network without attention, which the time increments are over."""
        return self.network == "Org" or self.methods == ("org",)


@dataclass(frozen=True)
class TimedMode:
    """A network's times in one mode.

    Attributes:
        increment: Eq. 9 over Org in the same mode, as a fraction; None for Org.
    """

    increment: Interval | None


@dataclass(frozen=True)
class TimedRow:
    """A network of a benchmark's record.

    Attributes:
        network: a label and an attention, such as "EAN se".
        timings: mode -> times.
        connections, blocks: how many of the blocks have attention; no blocks in older records of whole models.
        parameters, multiply_adds: of the network, for one image; None where they were not counted.
        scheme: bits with bars between the stages; None in older records.
    """

    network: str
    timings: Mapping[str, TimedMode]
    connections: int
    blocks: int | None = None
    parameters: int | None = None
    multiply_adds: float | None = None
    scheme: str | None = None


@dataclass(frozen=True)
class RunSettings:
    """Which network was trained, on which images, and for how long.

    Attributes:
        name: of the recipe.
        arch, attention: as the recipe has them.
        data: a name of `ean_core.data.DATASETS`.
        all_images: whether none of the training images were left out.
        train, test: numbers of images.
        epochs: of the training from scratch.
    """

    name: str
    arch: str
    attention: str
    data: str
    all_images: bool
    train: int
    test: int
    epochs: int

    @classmethod
    def of(cls, record: Record) -> RunSettings:
        """Those of a record of the pipeline, of a correlation study, or of schemes that were trained again.

        Raises:
            KeyError: for a missing setting.
        """
        recipe, images = record.settings["recipe"], record.settings["images"]
        return cls(
            name=recipe["name"],
            arch=recipe["model"]["arch"],
            attention=recipe["model"]["attention"],
            data=record.settings["data"]["name"],
            all_images=recipe.get("data", {}).get("train_per_class") is None,
            train=images["train"],
            test=images["test"],
            epochs=recipe["train"]["epochs"],
        )


def trained_rows(record: Record) -> list[TrainedRow]:
    """The networks of a record of kind "pipeline" or "search-retrained"."""
    return read_metrics(list[TrainedRow], record)


def unlike_trainings(record: Record) -> str | None:
    """Whether the networks of a run were trained by different numbers of processes, as a sentence."""
    return processes_note({row.network or ", ".join(row.methods): row.processes for row in trained_rows(record)})


def timed_rows(record: Record) -> list[TimedRow]:
    """The networks of a record of kind "benchmark"."""
    return read_metrics(list[TimedRow], record)


def read_metrics(kind: Any, record: Record) -> Any:
    """A record's metrics as `checked` converts them, such as `list[TrainedRow]`; unknown fields are passed over.

    Raises:
        EANError: for a field that is missing or of another type.
    """
    advice = "write it again with the command that made it"
    return checked(kind, record.metrics, where=f"record {record.path}: metrics", advice=advice)
