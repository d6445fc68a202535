"""A classification recipe whose whole pipeline runs in seconds."""

from __future__ import annotations

from pathlib import Path

import torch

from classification.job import start_job
from classification.recipe import Recipe
from ean_core.pipeline.job import Job

TINY = """
model = dict(arch="resnet20", attention="se")
data = dict(name="digits", train_per_class=12, val_per_class=4, augment=dict(crop_padding=1, flip=False))
supernet = dict(epochs=3, batch_size=20, lr=0.05, val_interval=2)
search = dict(steps=8, options=dict(schemes_per_step=2, replay_from=3))
train = dict(epochs=3, batch_size=24, lr=0.05, schedule="cosine")
retrain = ["org", "ean"]
"""


def start_tiny(directory: Path, **overrides: object) -> Job:
    """The tiny recipe, or one with other values by dotted names, in a directory that tests share."""
    (directory / "tiny.py").write_text(TINY)
    recipe = Recipe.from_file(directory / "tiny.py", overrides)
    return start_job(recipe, data_root=directory, directory=directory / "run")


def ean_directory(directory: Path) -> Path:
    """Where the network of the scheme that a run found is."""
    (only,) = directory.glob("ean-*-seed0")
    return only


def check_same_weights(one: Path, other: Path, *names: str) -> None:
    """Files of these names in two directories hold the same weights, bit for bit."""
    for name in names:
        first, second = (torch.load(folder / name, weights_only=True)["state_dict"] for folder in (one, other))
        assert all(torch.equal(value, second[key]) for key, value in first.items()), name
