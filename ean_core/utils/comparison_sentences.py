"""What a reader may conclude from a comparison of two networks, in a sentence that begins with the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ean_core.utils.significance import (
    MARGIN,
    MOST_SEEDS,
    SIGNIFICANCE,
    PairedDifference,
    PairedImages,
    correct_for_comparisons,
    holm,
    paired_difference,
    seeds_needed,
    std_interval,
)
from ean_core.utils.text import how_many

ONE_SEED = (
    "With one seed each, this compares these networks and not their schemes: train each with several seeds to compare "
    "schemes."
)


MARGIN_SHARE = 0.01
"""Values that are not percentages are level within this share of the second network's."""
NOT_SEARCHED = ("org", "org-full", "share-full")


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Which networks are compared: every other one with Org, and the searched ones with Share-full too.

    Args:
        names: of the networks, or their labels. Without Org the first of them takes its place.
    """
    if not names:
        return []
    by_label = {name.lower(): name for name in names}
    reference = by_label.get("org", names[0])
    others = [name for name in names if name != reference]
    searched = [name for name in others if name.lower() not in NOT_SEARCHED]
    pairs = [(name, reference) for name in searched]
    if "share-full" in by_label and by_label["share-full"] != reference:
        pairs += [(name, by_label["share-full"]) for name in searched]
    return pairs + [(name, reference) for name in others if name not in searched]


@dataclass(frozen=True)
class Comparison:
    """A comparison whose p-value is still to be corrected for those beside it.

    Attributes:
        found: over seeds or over images.
        say: turns it into its sentence.
        scale: what a difference over seeds is measured in, such as the margin; None for a comparison over images.
    """

    found: PairedDifference | PairedImages
    say: Callable[[Any], str]
    scale: float | None = None


def corrected_sentences(comparisons: Sequence[Comparison]) -> list[str]:
    """The sentences of a table's comparisons, with p-values corrected for their number.

    Those over seeds are corrected together (`correct_for_comparisons`), and those over images (Holm).
    """
    found = [comparison.found for comparison in comparisons]
    over_seeds = [index for index, comparison in enumerate(comparisons) if comparison.scale is not None]
    scales = [comparisons[index].scale or 1.0 for index in over_seeds]
    for index, one in zip(over_seeds, correct_for_comparisons([found[i] for i in over_seeds], scales), strict=True):
        found[index] = one
    over_images = [i for i in range(len(found)) if i not in over_seeds and found[i].p_value is not None]
    for index, p_value in zip(over_images, holm([found[i].p_value or 0.0 for i in over_images]), strict=True):
        found[index] = replace(found[index], p_value=p_value, comparisons=len(over_images))
    return [comparison.say(one) for comparison, one in zip(comparisons, found, strict=True)]


def compare_seeds(
    first: str,
    second: str,
    values: Sequence[float],
    reference: Sequence[float],
    *,
    seeds: Sequence[int],
    metric: str,
    unit: str,
    higher_is_better: bool = True,
) -> Comparison:
    """Compare two networks by their results with several seeds.

    Args:
        first, second: names of the networks.
        values, reference: their results, a value for each of the seeds.
        seeds: at least two.
        metric, unit: of the values; "points" for percentages.
        higher_is_better: False for errors.
    """
    margin = MARGIN if unit == "points" else float(f"{MARGIN_SHARE * np.mean(reference):.1g}")
    say = partial(
        compare_seeds_sentence,
        first,
        second,
        metric=metric,
        unit=unit,
        margin=margin,
        higher_is_better=higher_is_better,
    )
    return Comparison(paired_difference(values, reference, seeds=seeds), say, scale=margin)


def compare_seeds_sentence(
    first: str,
    second: str,
    difference: PairedDifference,
    *,
    metric: str = "test accuracy",
    unit: str = "points",
    margin: float = MARGIN,
    higher_is_better: bool = True,
) -> str:
    """Compare networks trained with several seeds.

    Args:
        first, second: names of the networks.
        difference: first minus second, with at least two pairs.
        metric, unit: of the values.
        margin: differences within it are called level.
        higher_is_better: False for errors.
    """
    assert difference.low is not None
    assert difference.high is not None
    assert difference.std is not None
    assert difference.p_value is not None
    figures = (
        f"{difference.mean:+.2f} {unit} of {metric} (95 % interval {difference.low:.2f} to {difference.high:.2f}, "
        f"{difference.pairs} seeds, {p_value_text(difference)})"
    )
    verdict = difference.verdict(margin=margin, higher_is_better=higher_is_better)
    if verdict == "level":
        return f"{first} and {second} are level within {margin:g} {unit}: {figures}."
    if verdict != "unknown":
        return f"{first} is {verdict} than {second}: {figures}."
    shown = f"No difference between {first} and {second} can be shown with {difference.pairs} seeds: {figures}"
    if not difference.std:
        return f"{shown}; all seeds have the same difference, so that nothing is known about its spread."
    needed = seeds_needed_text(difference, difference.std, margin)
    return f"{shown}; {needed} would show a difference of {margin:g} {unit}."


def p_value_text(found: PairedDifference | PairedImages) -> str:
    """`p = 0.25`, with the number of comparisons that it is corrected for."""
    corrected = f" corrected for {found.comparisons} comparisons" if found.comparisons > 1 else ""
    return f"p = {found.p_value:.2g}{corrected}"


def seeds_needed_text(difference: PairedDifference, std: float, margin: float) -> str:
    """`about 60 seeds (95 %: 18 to 1,000 or more)`; few pairs say little about the standard deviation."""

    def number(std: float) -> str:
        needed = seeds_needed(std, difference=margin, comparisons=difference.comparisons)
        return f"{needed:,}" if needed < MOST_SEEDS else f"{needed:,} or more"

    low, high = (number(end) for end in std_interval(std, difference.pairs))
    about = number(std) if number(std).endswith("more") else f"about {number(std)}"
    return f"{about} seeds" + ("" if low == high else f" (95 %: {low} to {high})")


def compare_images_sentence(first: str, second: str, images: PairedImages) -> str:
    """Compare two networks by which of the same test images they classify correctly."""
    low, high = images.interval
    right = [images.both + only for only in (images.only_first, images.only_second)]
    return (
        f"{verdict_on_images(first, second, images.p_value, first_is_better=images.mean > 0)}: {right[0]:,} and "
        f"{right[1]:,} of {images.images:,} test images right, {images.mean:+.2f} points (95 % interval {low:.2f} to "
        f"{high:.2f}, {p_value_text(images)})."
    )


def compare_errors_sentence(
    first: str,
    second: str,
    difference: PairedDifference,
    *,
    metric: str,
    unit: str,
    images: str = "test image",
    higher_is_better: bool = False,
) -> str:
    """Compare two networks by a number for each of the same images.

    Args:
        first, second: names of the networks.
        difference: of the numbers, image by image.
        metric, unit: of the numbers' means.
        images: what one of the images is called.
        higher_is_better: False for errors.
    """
    better = (difference.mean > 0) == higher_is_better
    figures = f"{difference.mean:+.2f} {unit} of {metric} on {how_many(difference.pairs, images)}"
    if difference.low is not None:
        figures += f" (95 % interval {difference.low:.2f} to {difference.high:.2f}, {p_value_text(difference)})"
    return f"{verdict_on_images(first, second, difference.p_value, first_is_better=better)}: {figures}."


def verdict_on_images(first: str, second: str, p_value: float | None, *, first_is_better: bool) -> str:
    """The beginning of a sentence on two networks and the same images."""
    if p_value is None or p_value > SIGNIFICANCE:
        return f"No difference between {first} and {second} can be shown"
    better, worse = (first, second) if first_is_better else (second, first)
    return f"{better} is better than {worse} on images like these"
