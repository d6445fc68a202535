"""Which images train, score schemes and test; and what the batch norms are calibrated over."""

from __future__ import annotations

import torch

from ean_core.data import OneEpoch
from ean_core.pipeline.job import Job
from tests.pipeline.conftest import MakeJob


def test_split_is_balanced_and_never_holds_test_images(job: MakeJob) -> None:
    images = job("run").task.images
    train, val = images.split()
    labels = images.data.train.labels
    assert torch.bincount(labels[val]).tolist() == [4] * 10
    assert torch.bincount(labels[train]).tolist() == [8] * 10
    assert not set(train.tolist()) & set(val.tolist())
    assert sorted([*train.tolist(), *val.tolist()]) == images.training().tolist()


def calibration(job: Job) -> OneEpoch:
    return job.task.images.calibration_loader(count=40, batch_size=20, seed=0)


def test_batch_norm_is_calibrated_over_images_as_they_were_trained_with(job: MakeJob) -> None:
    batches = calibration(job("run"))
    first, again = ([batch["inputs"] for batch in batches] for _ in range(2))
    assert [len(batch) for batch in first] == [20, 20]
    assert all(torch.equal(batch, other) for batch, other in zip(first, again, strict=True))
    plain = torch.cat(
        [batch["inputs"] for batch in calibration(job("plain", **{"data.augment": {"crop_padding": 0, "flip": False}}))]
    )
    images = job("run").task.images
    trained_on = images.data.train.images[images.split()[0]]
    assert all((trained_on == image).flatten(1).all(1).any() for image in plain)  # unchanged
    assert not torch.equal(torch.cat(first), plain)
