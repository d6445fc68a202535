"""First part of the pipeline: train the share-full supernet on random paths (Algorithm 1, lines 1 to 5)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device

from classification.fit import as_model, fit
from classification.job import Job
from classification.recipe import SearchRecipe, SupernetRecipe
from ean_core.data import OneEpoch, make_loader
from ean_core.networks import StagedNetwork
from ean_core.networks.checkpoint import read_network_file
from ean_core.supernet.scorer import Scorer
from ean_core.training.classifier import PRECISIONS, SupernetClassifier
from ean_core.training.hooks import DrawPaths
from ean_core.training.loops import PathValLoop
from ean_core.training.run_lock import check_same, claim
from ean_core.training.state import save_state_as_network
from ean_core.utils.distributed import first_does
from ean_core.utils.errors import EANError


def train_supernet(job: Job) -> Path:
    """Train the supernet, or go on with it, and write supernet.pth.

    Returns:
        the file; if it is there already, nothing is done.
    """
    settings, seed = both_sections(job)[0], job.recipe.seed
    directory, final = job.directory / "supernet", job.directory / "supernet.pth"
    spec = job.spec()
    identity = {
        "part": "supernet",
        "model": dataclasses.asdict(spec),
        "data": job.data_identity(),
        "supernet": dataclasses.asdict(settings),
        "seed": seed,
        **job.starting_weights(),
    }
    if final.exists() and job.resume:
        check_supernet(final, identity)
        return final
    train, val = job.split()
    torch.manual_seed(seed)
    network = job.build(spec)
    model = as_model(SupernetClassifier, network, settings, job)
    if settings.compile:  # block by block: the paths through them change from step to step
        for stage in network.stages:
            for block in stage.blocks:
                block.compile()
    loader = job.train_loader(train, settings, seed=seed)
    validation = path_validation(job, network, val) if settings.val_interval else None
    claim(directory, identity, resume=job.resume, begun=[directory / "last.pth", final], work_dir=job.work_dir())
    fit(
        job,
        model,
        loader,
        settings,
        name="supernet",
        directory=directory,
        seed=seed,
        validation=validation,
        hooks=[DrawPaths(seed=seed, sandwich=settings.sandwich)],
        unused_parameters=True,
    )
    first_does(lambda: save_state_as_network(directory / "last.pth", final, spec, **job.info(), recipe=identity))
    return final


def check_supernet(path: Path, identity: dict[str, Any]) -> None:
    """Refuse a supernet of other data, another split, seed or recipe: it may have seen this run's validation images.

    Raises:
        EANError: naming the first setting that differs.
    """
    check_same(read_network_file(path).get("recipe", {}), identity, what=f"{path} was trained with")


def path_validation(job: Job, network: StagedNetwork, images: torch.Tensor) -> dict[str, Any]:
    """The runner's arguments for scoring a few paths during training, on these images (N,) of the training part."""
    settings, search = both_sections(job)
    return {
        "val_dataloader": job.eval_loader(job.data.train, images, batch_size=search.batch_size, shared=False),
        "val_cfg": {
            "type": PathValLoop,
            "make_scorer": lambda: make_scorer(job, network),
            "random_paths": settings.random_paths,
        },
        "val_evaluator": [],
    }


def make_scorer(job: Job, network: StagedNetwork) -> Scorer:
    """A `Scorer` over the search split's validation images, as the recipe's search section says."""
    settings, search = both_sections(job)
    return Scorer(
        network,
        job.eval_loader(job.data.train, job.split()[1], batch_size=search.batch_size, shared=True),
        normalise=job.normalise(channels_last=settings.channels_last),
        training=reestimation_batches(job) if search.bn_images else None,
        dtype=PRECISIONS[settings.precision] or torch.float32,
        compile=settings.compile,
    )


def reestimation_batches(job: Job) -> OneEpoch:
    """The first of the mixed sub-training images, augmented as in the supernet's training, the same every time.

    Without the augmentation the statistics are not those that the weights were trained with: crops of a padded image
    have black borders, which cost the paths of a ResNet-20 on CIFAR-100 two points of accuracy.
    """
    search, seed = both_sections(job)[1], job.recipe.seed
    train, _ = job.split()
    mixed = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
    return OneEpoch(
        make_loader(
            job.data.train,
            mixed[: search.bn_images],
            batch_size=search.bn_batch_size,
            train=True,
            augment=job.recipe.data.augment,
            seed=seed,
            device=get_device(),
            workers=job.recipe.data.workers,
        )
    )


def both_sections(job: Job) -> tuple[SupernetRecipe, SearchRecipe]:
    """The recipe's supernet and search sections.

    Raises:
        EANError: if one is missing.
    """
    if job.recipe.supernet is None or job.recipe.search is None:
        raise EANError(f"recipe {job.recipe.name!r} has no supernet and search sections: it is for retraining only")
    return job.recipe.supernet, job.recipe.search
