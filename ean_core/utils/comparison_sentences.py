"""What a reader may conclude from a comparison of two networks, in a sentence that begins with the verdict."""

from __future__ import annotations

from ean_core.utils.significance import MARGIN, MOST_SEEDS, SIGNIFICANCE, PairedDifference, PairedImages, seeds_needed
from ean_core.utils.text import how_many

ONE_SEED = (
    "With one seed each, this compares these networks and not their schemes: train each with several seeds to compare "
    "schemes."
)


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
        f"{difference.pairs} seeds, p = {difference.p_value:.2g})"
    )
    verdict = difference.verdict(margin=margin, higher_is_better=higher_is_better)
    if verdict == "level":
        return f"{first} and {second} are level within {margin:g} {unit}: {figures}."
    if verdict != "unknown":
        return f"{first} is {verdict} than {second}: {figures}."
    shown = f"No difference between {first} and {second} can be shown with {difference.pairs} seeds: {figures}"
    if not difference.std:
        return f"{shown}; all seeds have the same difference, so that nothing is known about its spread."
    needed = seeds_needed(difference.std, difference=margin)
    number = f"about {needed}" if needed < MOST_SEEDS else f"{needed:,} or more"
    return f"{shown}; {number} seeds would show a difference of {margin:g} {unit}."


def compare_images_sentence(first: str, second: str, images: PairedImages) -> str:
    """Compare two networks by which of the same test images they classify correctly."""
    low, high = images.interval
    right = [images.both + only for only in (images.only_first, images.only_second)]
    return (
        f"{verdict_on_images(first, second, images.p_value, first_is_better=images.mean > 0)}: {right[0]:,} and "
        f"{right[1]:,} of {images.images:,} test images right, {images.mean:+.2f} points (95 % interval {low:.2f} to "
        f"{high:.2f}, p = {images.p_value:.2g})."
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
        figures += f" (95 % interval {difference.low:.2f} to {difference.high:.2f}, p = {difference.p_value:.2g})"
    return f"{verdict_on_images(first, second, difference.p_value, first_is_better=better)}: {figures}."


def verdict_on_images(first: str, second: str, p_value: float | None, *, first_is_better: bool) -> str:
    """The beginning of a sentence on two networks and the same images."""
    if p_value is None or p_value > SIGNIFICANCE:
        return f"No difference between {first} and {second} can be shown"
    better, worse = (first, second) if first_is_better else (second, first)
    return f"{better} is better than {worse} on images like these"
