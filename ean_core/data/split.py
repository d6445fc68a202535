"""Class-balanced and stratified splits, such as the search's validation images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ean_core.utils.errors import EANError


def class_balanced(labels: Tensor, per_class: int, *, seed: int) -> Tensor:
    """Draw exactly `per_class` images of every class.

    Args:
        labels: int64 (N,).
        per_class: images to draw from each class, at least 1.
        seed: the draw depends on seed and labels only, not on global random state.

    Returns:
        int64 (classes * per_class,), sorted positions in `labels`.

    Raises:
        EANError: if a class has fewer images than `per_class`.
    """
    if per_class < 1 or seed < 0:
        raise EANError(
            f"per_class is {per_class} and seed {seed}: give at least 1 image per class, and a seed of 0 or more"
        )

    def count(label: int, images: int) -> int:
        if images < per_class:
            raise EANError(
                f"class {label} has {images} images, fewer than per_class={per_class}: lower per_class or add images"
            )
        return per_class

    return _draw(labels, count, seed=seed)


def class_share(labels: Tensor, fraction: float, *, seed: int) -> Tensor:
    """Draw the same fraction of every class, rounded, but at least one image: a stratified draw.

    Args:
        labels: int64 (N,).
        fraction: between 0 and 1.
        seed: as for `class_balanced`.

    Returns:
        int64, sorted positions in `labels`.
    """
    if not 0 < fraction < 1 or seed < 0:
        raise EANError(
            f"fraction is {fraction} and seed {seed}: give a fraction between 0 and 1, and a seed of 0 or more"
        )
    return _draw(labels, lambda label, images: max(1, round(fraction * images)), seed=seed)


def _draw(labels: Tensor, count: Callable[[int, int], int], *, seed: int) -> Tensor:
    """Draw `count(label, images)` images of every class: sorted positions in `labels`."""
    array, rng = labels.cpu().numpy(), np.random.default_rng(seed)
    chosen = []
    for label in np.unique(array):
        members = np.flatnonzero(array == label)
        chosen.append(members[rng.permutation(len(members))[: count(label, len(members))]])
    return torch.from_numpy(np.sort(np.concatenate(chosen))) if chosen else torch.empty(0, dtype=torch.int64)


def search_split(
    labels: Tensor, per_class: int = 100, *, fraction: float | None = None, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Split the training images: `per_class` of every class score the schemes, the others train the supernet.

    The default is the paper's 10,000 validation images for CIFAR-100's 100 classes.

    Args:
        labels: int64 (N,), of the training images; the search never sees test images.
        per_class: validation images of each class.
        fraction: if given, this fraction of every class instead, for classes of different sizes.
        seed: the same seed and labels give the same split.

    Returns:
        (train, val): sorted, disjoint int64 positions that together cover `labels`.

    Raises:
        EANError: if a class has too few images, or would have none left to train on.
    """
    if fraction is None:
        val, option, value = class_balanced(labels, per_class, seed=seed), "per_class", per_class
    else:
        val, option, value = class_share(labels, fraction, seed=seed), "fraction", fraction
    labels = labels.cpu()
    is_train = torch.ones(len(labels), dtype=torch.bool)
    is_train[val] = False
    train = is_train.nonzero().flatten()
    if emptied := sorted(set(labels.tolist()) - set(labels[train].tolist())):
        count = int((labels == emptied[0]).sum())
        raise EANError(
            f"class {emptied[0]} has {count} images and {option}={value} leaves none to train on: "
            f"lower {option} or add images"
        )
    return train, val
