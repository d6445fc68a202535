"""The answer in words: a sentence for each comparison of trained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ean_core.pipeline.retrain import TrainedTarget
from ean_core.pipeline.summary import name_of
from ean_core.pipeline.task import Metric
from ean_core.utils.comparison_sentences import (
    ONE_SEED,
    compare_errors_sentence,
    compare_images_sentence,
    compare_seeds_sentence,
)
from ean_core.utils.significance import MARGIN, paired_difference, paired_images

MARGIN_SHARE = 0.01
"""Values that are not percentages are level within this share of the second network's."""


def comparison_sentences(trained: Sequence[TrainedTarget], names: Mapping[str, str] | None = None) -> list[str]:
    """Say of each pair of networks which one is better, that they are level, or that no difference can be shown.

    Networks with several seeds are compared seed by seed. With one seed they are compared on the test images, and a
    last sentence says what that is worth; results of versions that did not keep the images' have no sentence.

    Args:
        trained: networks of one task, all with the same seeds.
        names: label -> what the sentence calls the network; `name_of` for the others.
    """
    called = {entry.target.label: name_of(entry.target.label) for entry in trained} | dict(names or {})
    by_label = {entry.target.label: entry for entry in trained}
    sentences = [
        compare(by_label[first], by_label[second], called[first], called[second])
        for first, second in pairs_of(list(by_label))
    ]
    said = [sentence for sentence in sentences if sentence]
    one_seed = any(len(entry.seeds) == 1 for entry in trained)
    return [*said, ONE_SEED] if said and one_seed else said


def pairs_of(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Which networks are compared: every other one with Org, and the searched ones with Share-full too.

    Without Org the first of `labels` takes its place.
    """
    if not labels:
        return []
    reference = "org" if "org" in labels else labels[0]
    others = [label for label in labels if label != reference]
    searched = [label for label in others if name_of(label).startswith("EAN")]
    pairs = [(label, reference) for label in searched]
    if "share-full" in others:
        pairs += [(label, "share-full") for label in searched]
    return pairs + [(label, reference) for label in others if label not in searched]


def compare(first: TrainedTarget, second: TrainedTarget, name: str, other: str) -> str | None:
    """The sentence on a pair; None for one seed whose results of the images are not known."""
    metric = first.task.metrics[0]
    if len(first.seeds) == 1:
        return compare_one_seed(first.per_image[0], second.per_image[0], name, other, metric)
    values = first.results[metric.key], second.results[metric.key]
    return compare_seeds_sentence(
        name,
        other,
        paired_difference(*values),
        metric=f"test {metric.name}",
        unit=metric.difference_unit,
        margin=MARGIN if metric.unit == "%" else float(f"{MARGIN_SHARE * np.mean(values[1]):.1g}"),
        higher_is_better=metric.higher_is_better,
    )


def compare_one_seed(
    first: np.ndarray | None, second: np.ndarray | None, name: str, other: str, metric: Metric
) -> str | None:
    """The sentence on two networks by their results (N,) on the same images, as `TrainedNetwork.per_image` has them."""
    if first is None or second is None or first.shape != second.shape:
        return None
    if metric.proportion:
        return compare_images_sentence(name, other, paired_images(first, second))
    return compare_errors_sentence(
        name,
        other,
        paired_difference(first.tolist(), second.tolist()),
        metric=f"test {metric.name}",
        unit=metric.difference_unit,
        higher_is_better=metric.higher_is_better,
    )
