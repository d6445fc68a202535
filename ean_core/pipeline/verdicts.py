"""The answer in words: a sentence for each comparison of trained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ean_core.pipeline.retrain import TrainedTarget
from ean_core.pipeline.summary import name_of
from ean_core.pipeline.task import Metric
from ean_core.utils.comparison_sentences import (
    ONE_SEED,
    Comparison,
    compare_errors_sentence,
    compare_images_sentence,
    compare_seeds,
    corrected_sentences,
    pairs_of,
)
from ean_core.utils.significance import paired_difference, paired_images


def comparison_sentences(trained: Sequence[TrainedTarget], names: Mapping[str, str] | None = None) -> list[str]:
    """Say of each pair of networks which one is better, that they are level, or that no difference can be shown.

    Networks with several seeds are compared seed by seed. With one seed they are compared on the test images, and a
    last sentence says what that is worth; results of versions that did not keep the images' have no sentence. The
    p-values are corrected for the number of sentences.

    Args:
        trained: networks of one task, all with the same seeds.
        names: label -> what the sentence calls the network; `name_of` for the others.
    """
    called = {entry.target.label: name_of(entry.target.label) for entry in trained} | dict(names or {})
    by_label = {entry.target.label: entry for entry in trained}
    compared = [
        compare(by_label[first], by_label[second], called[first], called[second])
        for first, second in pairs_of(list(by_label))
    ]
    said = corrected_sentences([comparison for comparison in compared if comparison])
    one_seed = any(len(entry.seeds) == 1 for entry in trained)
    return [*said, ONE_SEED] if said and one_seed else said


def compare(first: TrainedTarget, second: TrainedTarget, name: str, other: str) -> Comparison | None:
    """Compare a pair; None for one seed whose results of the images are not known."""
    metric = first.task.metrics[0]
    if len(first.seeds) == 1:
        return compare_one_seed(first.per_image[0], second.per_image[0], name, other, metric)
    values = first.results[metric.key], second.results[metric.key]
    return compare_seeds(
        name,
        other,
        *values,
        seeds=first.seeds,
        metric=f"test {metric.name}",
        unit=metric.difference_unit,
        higher_is_better=metric.higher_is_better,
    )


def compare_one_seed(
    first: np.ndarray | None, second: np.ndarray | None, name: str, other: str, metric: Metric
) -> Comparison | None:
    """Compare two networks by their results (N,) on the same images, as `TrainedNetwork.per_image` has them."""
    if first is None or second is None or first.shape != second.shape:
        return None
    if metric.proportion:
        return Comparison(paired_images(first, second), partial(compare_images_sentence, name, other))
    say = partial(
        compare_errors_sentence,
        name,
        other,
        metric=f"test {metric.name}",
        unit=metric.difference_unit,
        higher_is_better=metric.higher_is_better,
    )
    return Comparison(paired_difference(first.tolist(), second.tolist()), say)
