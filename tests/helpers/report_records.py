"""Made-up records of every kind that the report shows, written as the commands write them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from ean_core.benchmark.latency_table import LatencyTable
from ean_core.io.records import write_record
from ean_core.pipeline.pareto_front import write_front
from ean_core.utils.intervals import Interval
from ean_core.utils.shipped_files import SCHEMES
from tests.conftest import ROOT


def new_directory(path: Path) -> Path:
    """A directory for records."""
    path.mkdir(parents=True)
    return path


def spread(*values: float) -> dict[str, Any]:
    """As `ean_core.io.records.spread`, with a deviation that is easy to find."""
    return {
        "n": len(values),
        "mean": sum(values) / len(values),
        "std": 0.5 if len(values) > 1 else None,
        "values": values,
    }


def picture(path: Path, *, size: tuple[int, int] = (30, 20)) -> Path:
    """Write a small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "teal").save(path)
    return path


def pipeline(
    path: Path,
    *,
    data: str = "cifar100",
    arch: str = "resnet29",
    name: str = "tiny",
    per_class: Any = 200,
    epochs: int = 3,
    attention: str = "se",
    seeds: int = 2,
) -> Path:
    """Three networks; EAN was not timed."""

    def row(network: str, top1: dict[str, Any], increment: float | None) -> dict:
        time = None if increment is None else {"value": increment, "low": increment - 1, "high": increment + 1}
        return {
            **{"network": network, "scheme": "010 | 100 | 101", "connections": 4, "blocks": 9, "parameters": 1234567},
            **{"top1": top1, "top5": top1, "time_increment": time},
        }

    recipe = {
        **{"name": name, "model": {"arch": arch, "attention": attention}, "train": {"epochs": epochs}, "seeds": [0, 1]},
        "data": {"train_per_class": per_class},
    }
    return write_record(
        path,
        kind="pipeline",
        settings={
            "recipe": recipe,
            "data": {"name": data},
            "images": {"train": 20000, "test": 10000},
            "timing": {"batch_size": 50, "rounds": 30, "setting": "eager float32"},
        },
        metrics=[
            row("Org", spread(*(40, 41)[:seeds]), 0),
            row("Share-full", spread(*(42.25, 43.25)[:seeds]), 30),
            row("EAN", spread(44), None),
        ],
    )


def times(path: Path, *, arch: str = "resnet164", scheme: str = "010 | 100 | 101") -> Path:
    """Two networks in two settings."""

    def row(network: str, increment: float | None) -> dict:
        interval = None if increment is None else {"value": increment, "low": increment - 0.1, "high": increment + 0.1}
        return {
            **{"network": network, "scheme": scheme, "connections": 27, "blocks": 54, "parameters": 1738512},
            "multiply_adds": 248e6,
            "timings": {"eager": {"increment": interval}, "folded": {"increment": interval}},
        }

    settings = {"arch": arch, "batch_size": 50, "image_size": 32, "rounds": 20, "threads": 1}
    return write_record(path, kind="benchmark", settings=settings, metrics=[row("Org", None), row("EAN se", 0.25)])


def counting(
    path: Path, *, attention: str | None, scheme: str | None = None, epochs: int = 40, mae: float = 100.0
) -> Path:
    """A network's runs with two seeds on part A."""
    errors = {"mae": spread(mae, mae + 2), "rmse": spread(150.0, 152.0), "nae": spread(0.25, 0.25)}
    return write_record(
        path,
        kind="counting",
        settings={
            "part": "counter",
            "model": {"arch": "resnet29", "attention": attention, "sharing": "stage", "scheme": scheme, "stride": 8},
            "weights": "abc",
            "data": {
                "name": "part_A",
                "images": {"train": 270, "val": 30, "test": 182},
                "crop": 256,
                "fingerprint": "f",
            },
            "train": {"epochs": epochs, "batch_size": 8, "loss": "mse", "batch_norm": "train"},
            "seeds": [0, 1],
        },
        metrics={"best": errors, "final": errors, "always_the_mean": {"mae": 271.5}, "parameters": 342305},
        data_note="",
    )


def segmentation(path: Path, *, images: int = 443) -> Path:
    """Org and EAN-SE, pretrained, with two classes; VOC's own validation list has 1,449 images."""

    def row(network: str, miou: float) -> dict:
        return {
            **{"network": network, "pretrained": True, "seeds": [0, 1], "parameters": 400000, "images": images},
            **{"mIoU": spread(miou, miou + 1), "mAcc": spread(60.0, 61.0), "aAcc": spread(90.0, 91.0)},
            "classes": [{"class": "person", "IoU": spread(55.5, 55.5)}, {"class": "cat", "IoU": None}],
        }

    return write_record(
        path,
        kind="segmentation",
        settings={
            **{"title": "VOC person subset", "head": "FCNHead", "iterations": 2000, "batch_size": 8, "note": "small"},
            **{"arch": "resnet29", "data": {"train": {"images": 442}, "val": {"images": images}}},
        },
        metrics=[row("Org", 40.0), row("EAN-SE", 42.0)],
    )


def searches(path: Path) -> Path:
    """Two methods on landscapes of 9 blocks."""
    rows = [
        {"method": "natural", "landscape": "additive", "bits": 9, "best": [[9, 9, 9], [0.5, 0.25, 0.75]]},
        {"method": "natural", "landscape": "noise", "bits": 9, "best": [[1, 0, 2]], "most_probable": [[0.125, 0, 1]]},
    ]  # fmt: skip
    rows[0]["mean_evaluations"], rows[1]["mean_evaluations"] = 40.0, 80.0
    methods = {"natural": {"method": "ean", "options": {"preset": "natural"}}}
    settings = {"sizes": {"9": {"evaluations": 100}}, "seeds": 20, "methods": methods}
    return write_record(path, kind="search-benchmark", settings=settings, metrics=rows)


def comparison(path: Path, *, smoothed: bool = False) -> Path:
    """Two methods on one supernet, all schemes scored; older records have no smoothed answer."""

    def interval(mean: float) -> dict:
        return {"n": 3, "mean": mean, "std": 0.1, "low": mean - 0.1, "high": mean + 0.1}

    def row(method: str, regret: float) -> dict:
        names = {"reward": 36.0, "validation_accuracy": 35.0, "connections": 3.0, "regret": regret}
        best = {name: interval(value) for name, value in names.items()}
        return {
            "method": method,
            "n": 3,
            "best": best,
            **({"smoothed": {"regret": interval(regret + 1)}} if smoothed else {}),
            "evaluations": 40.0,
            "spent": 40.0,
            "proposals": 60,
            "seconds": 1,
        }

    tests = {
        "difference": 0.81,
        "wins": 0.9,
        "welch_t": 4.0,
        "welch_p": 4e-7,
        "mann_whitney_u": 1,
        "mann_whitney_p": 0.02,
    }
    drawn = {"n": 30, "different": 28, "mean": 30.0, "std": 1.0, "accuracy": [30.0] * 30}
    scored = {"bits": "010 | 100 | 101", "reward": 36.5, "validation_accuracy": 35.0, "connections": 4}
    probability = {"proposals": [10, 20], "p_mean": [0.5, 0.75]}
    curve = {"evaluations": [1, 40], "reward": [30.0, 36.25], "accuracy": [30.0, 35.0]}
    runs = [
        {"method": "ean", "seed": 0, "curve": curve, "probability": probability},
        {"method": "random", "seed": 0, "curve": curve, "probability": None},
    ]
    return write_record(
        path,
        kind="search-comparison",
        settings={
            "recipe": {"model": {"arch": "resnet20"}, "name": "tiny"},
            "data": {"name": "cifar100"},
            "methods": {"ean": {}, "random": {}},
            **{"validation_images": 400, "seeds": 3, "exhaustive": True},
            "budget": {"evaluations": 40, "proposals": 60, "samples": 30},
        },
        metrics={
            **{"all_off": scored, "all_on": scored, "highest": scored, "schemes": 512, "runs": runs},
            "figure4": {"random": drawn, "methods": {"ean": {**drawn, "against_random": tests}}},
            "methods": [row("ean", 0.25), row("random", 0.5)],
        },
    )


def correlation(path: Path) -> Path:
    """A study of 12 schemes, 10 of them trained."""
    intervals = {name: {"value": 0.5, "low": -0.25, "high": 0.75} for name in ("pearson", "spearman", "kendall")}
    return write_record(
        path,
        kind="correlation",
        settings={
            "recipe": {"name": "study", "model": {"arch": "resnet20", "attention": "se"}, "train": {"epochs": 9}},
            "data": {"name": "cifar100"},
            "images": {"train": 20000, "validation": 5000, "test": 10000, "reestimation": 2000},
            "seeds": [0],
        },
        metrics={
            **{"schemes": [{}] * 12, "trained": 10, "difference": intervals},
            "correlations": {"running": intervals, "re-estimated": intervals, "connections": intervals},
            "spread": {
                "trained": {"mean": 40, "deviation": 0.7, "range": 2, "standard_error": 0.5, "seed_deviation": 0.6}
            },
            "ceiling": {"value": 0.625, "low": 0.5, "high": 0.75},
        },
    )


def batch_norm(path: Path) -> Path:
    """A record of four schemes' scores with three kinds of batch norm statistics."""
    return write_record(
        path,
        kind="batch-norm",
        settings={"recipe": {"name": "tiny"}, "validation_images": 5000},
        metrics={"accuracy": {"running": [16.0, 23.0, 30.0, 34.0], "re-estimated": [32.0] * 4}, "standard_error": 0.66},
    )


def retrained(path: Path) -> Path:
    """Org and one scheme that two methods found."""

    def row(methods: list[str], top1: dict[str, Any], increment: float | None) -> dict:
        time = None if increment is None else {"value": increment, "low": increment - 1, "high": increment + 1}
        return {
            **{"methods": methods, "scheme": "010 | 100 | 101", "connections": 4, "blocks": 9, "parameters": 5},
            **{"top1": top1, "time_increment": time},
        }

    return write_record(
        path,
        kind="search-retrained",
        settings={
            "recipe": {"name": "tiny", "model": {"arch": "resnet20", "attention": "se"}, "train": {"epochs": 3}},
            "data": {"name": "cifar100"},
            "images": {"train": 20000, "test": 10000},
            "timing": {"batch_size": 50, "rounds": 30, "setting": "eager float32"},
        },
        metrics=[row(["org"], spread(40, 41), None), row(["random", "genetic"], spread(42, 43), 7.0)],
    )


def latency(path: Path) -> Path:
    """A table of times of a network with blocks in stages of 1 and 2, checked on one scheme."""
    row = {"bits": "101", "connections": 2, "predicted": 3.0, "error": -0.5}
    row["measured"] = asdict(Interval(3.5, 3.25, 3.75))
    table = LatencyTable(
        **{"arch": "resnet20", "attention": "se", "options": {}, "sharing": "stage", "blocks": (1, 2)},
        **{"batch_size": 50, "image_size": 32, "device": "a CPU", "setting": "eager", "threads": 1, "rounds": 20},
        org=Interval(0.25, 0.25, 0.25),
        increments=tuple(Interval(value, value, value) for value in (1.0, 2.0, 4.0)),
        check={"schemes": [row], "bias": -0.5, "mean_absolute": 0.5, "max": 0.5, "within": 0},
    )
    table.save(path)
    return path


def pareto(path: Path) -> Path:
    """The front of the committed search."""
    folder = path.parent / "pareto_source"
    folder.mkdir()
    shutil.copy(ROOT / "results" / "ean_se_r29_cifar100_subset20k_10ep.history.jsonl", folder / "history.jsonl")
    shutil.copy(SCHEMES / "ean_se_resnet29_cifar100_subset20k.json", folder / "scheme.json")
    write_front(folder)
    shutil.move(folder / "pareto.json", path)
    shutil.move(folder / "pareto.png", path.with_suffix(".png"))
    shutil.rmtree(folder)
    return path


def zoo(path: Path) -> Path:
    """Org and two attentions, the dearer one first."""

    def row(name: str, increment: float | None, added: int) -> dict:
        interval = None if increment is None else {"value": increment, "low": increment - 0.1, "high": increment + 0.1}
        return {
            **{"attention": name, "connections": 9, "blocks": 9, "parameters": 1000 + added, "added_parameters": added},
            **{"multiply_adds": 2e9, "timings": {"eager": {"increment": interval}}},
        }

    settings = {"arch": "resnet20", "batch_size": 50, "image_size": 32, "rounds": 10, "threads": 1, "timm": "1.0"}
    rows = [row("Org", None, 0), row("se", 0.75, 90), row("timm:eca", 0.25, 3)]
    return write_record(path, kind="attention-zoo", settings={**settings, "skipped": {"timm:x": "no"}}, metrics=rows)


def speed(path: Path) -> Path:
    """One way against the plain one."""
    ratio = {"value": 2.5, "low": 2.25, "high": 2.75}
    rows = {"plain": {"schemes_per_second": 1.0}, "ours": {"schemes_per_second": 2.5, "times_as_fast": ratio}}
    return write_record(path, kind="speed", settings={}, metrics=rows)


def every_kind(directory: Path) -> Path:
    """A directory with a record of every kind, one of an unknown kind, and pictures."""
    new_directory(directory)
    pipeline(directory / "run.json")
    times(directory / "times.json")
    counting(directory / "counting_org.json", attention=None)
    counting(directory / "counting_ean.json", attention="se", scheme="010100101", mae=90.0)
    segmentation(directory / "voc.json")
    searches(directory / "land.json")
    comparison(directory / "compared.json")
    correlation(directory / "study.json")
    batch_norm(directory / "norm.json")
    retrained(directory / "again.json")
    latency(directory / "latency.json")
    pareto(directory / "pareto.json")
    zoo(directory / "zoo.json")
    speed(directory / "scoring.json")
    write_record(directory / "strange.json", kind="tea-leaves <b>", settings={"<i>": "&"}, metrics={})
    picture(directory / "run.search.png", size=(1200, 700))
    picture(directory / "counting_ean" / "IMG_4.png")
    picture(directory / "gradcam_org_ean.png")
    picture(directory / "lonely.png")
    return directory


def use_own_images(path: Path) -> None:
    """Make a record one of a user's own images."""
    record = json.loads(path.read_text())
    record["settings"]["data"]["name"] = "folder"
    path.write_text(json.dumps(record))
