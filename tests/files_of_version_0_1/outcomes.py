"""What is compared of a run: read with the standard library, torch and `ean_core.load`, which every version has."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ean_core


def image() -> np.ndarray:
    """uint8 (8, 8): a fixed one, of the digits' size."""
    return (np.arange(64) * 37 % 256).astype(np.uint8).reshape(8, 8)


def probabilities(path: Path) -> list[float]:
    """Of the ten classes, for the fixed image, in the classes' order."""
    guesses = ean_core.load(path, device="cpu").predict(image(), topk=10)
    return [guess.probability for guess in sorted(guesses, key=lambda guess: guess.index)]


def read_json(path: Path) -> dict[str, Any]:
    """A file's content."""
    return json.loads(path.read_text(encoding="utf-8"))


def search_outcome(directory: Path) -> dict[str, Any]:
    """Every proposal of a search with its score, and the scheme that was found."""
    lines = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
    scheme = read_json(directory / "scheme.json")
    return {
        "history": [[line["step"], line["bits"], line["accuracy"], line["reward"]] for line in lines],
        "scheme": {
            name: scheme[name] for name in ("stages", "arch", "attention", "method", "proposals", "evaluations")
        },
        "rewards": {name: scheme[name]["reward"] for name in ("best", "most_probable", "smoothed")},
    }


def classification_outcome(directory: Path) -> dict[str, Any]:
    """A search's outcome, test accuracies, and what each network makes of the fixed image."""
    networks = {path.parent.name: path for path in sorted(directory.glob("*-seed0/classifier.pth"))}
    rows = read_json(directory / "summary.json")["metrics"]
    return {
        **search_outcome(directory),
        "supernet": probabilities(directory / "supernet.pth"),
        "networks": {name: probabilities(path) for name, path in networks.items()},
        "top1": {name: read_json(path.with_name("result.json"))["metrics"]["top1"] for name, path in networks.items()},
        "table": {row["network"]: [row["scheme"], row["parameters"], row["top1"]["mean"]] for row in rows},
    }


def counting_outcome(directory: Path) -> dict[str, Any]:
    """Errors on validation and test images, by checkpoint."""
    metrics = read_json(directory / "seed0/result.json")["metrics"]
    return {name: metrics[name] for name in ("best", "final")}


def counts(table: Path) -> dict[str, float]:
    """Image -> heads, of a table that crowd_counting/test.py wrote."""
    with table.open(newline="") as file:
        return {row["image"]: float(row["estimated"]) for row in csv.DictReader(file)}


def segmentation_outcome(directory: Path) -> dict[str, Any]:
    """The validations' figures, and the sums of the last weights, tensor by tensor."""
    metrics = read_json(directory / "result.json")["metrics"]
    rows = [[row["iteration"], row["mIoU"], row["aAcc"]] for row in metrics["validations"]]
    return {"validations": rows, "parameters": metrics["parameters"], "weights": sums(directory / "last.pth")}


def sums(state: Path) -> dict[str, float]:
    """Of every tensor's magnitudes in a run's state."""
    weights = torch.load(state, map_location="cpu", weights_only=False)["state_dict"]
    return {name: float(value.double().abs().sum()) for name, value in weights.items()}
