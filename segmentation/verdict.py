"""The end of a segmentation run in words: what it learned, and how it compares with the runs beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ean_core.utils.comparison_sentences import (
    ONE_SEED,
    Comparison,
    compare_errors_sentence,
    compare_seeds,
    corrected_sentences,
)
from ean_core.utils.errors import EANError
from ean_core.utils.significance import paired_difference
from segmentation.run_records import common_settings, read_run

Record = Mapping[str, Any]


def verdicts(directory: Path) -> list[str]:
    """The sentences on a finished run.

    Args:
        directory: of the run, with its result.json; the directories beside it may hold runs to compare with, and runs
            of the same network with other seeds.
    """
    own, groups = read_run(directory), networks_beside(directory)
    sentences = list(on_classes(own))
    compared = corrected_sentences([found for others in groups[1:] if (found := compare_networks(groups[0], others))])
    if not compared:
        sentences.append(
            f"Nothing can be said about attention yet: no other network was trained in {directory.parent}/ on the same "
            "data with the same settings."
        )
    elif len(groups[0]) == 1:
        compared.append(ONE_SEED)
    return [*sentences, *compared]


def networks_beside(directory: Path) -> list[list[Record]]:
    """The networks to compare: the runs of a run's own network, which comes first, and of those beside it."""
    own = read_run(directory)
    return networks_of([own, *runs_beside(directory, own)])


def on_classes(run: Record) -> list[str]:
    """Whether the segmentor is better than one that gives every pixel the most frequent class, and what it misses."""
    last, baseline = run["metrics"]["last"], run["metrics"].get("most_frequent_class")
    sentences = []
    if baseline is not None:
        better = round(last["mIoU"], 2) > round(baseline["mIoU"], 2)  # as they are shown
        verdict = "better than" if better else "no better than"
        advice = "" if better else ": train it for more steps, or from pretrained weights"
        sentences.append(
            f"The segmentor is {verdict} calling every pixel {baseline['class']} (mIoU {last['mIoU']:.2f} %, and "
            f"{baseline['mIoU']:.2f} % for that){advice}."
        )
    if missed := [row["class"] for row in last["classes"] if row["IoU"] is not None and row["IoU"] < 1]:
        sentences.append(f"It hardly finds {', '.join(missed)} (IoU below 1 %).")
    return sentences


def runs_beside(directory: Path, own: Record) -> list[Record]:
    """Finished runs in the same folder on the same data with the same training; other seeds and networks."""
    found = []
    for path in sorted(directory.absolute().parent.glob("*/result.json")):
        if path.parent == directory.absolute():
            continue
        try:
            run = read_run(path.parent)
            common_settings([dict(own), dict(run)])
        except (EANError, KeyError, TypeError):
            continue  # of another kind or recipe: nothing to compare with
        found.append(run)
    return found


def networks_of(runs: Sequence[Record]) -> list[list[Record]]:
    """The runs grouped by their networks, which have the same backbone and start from the same weights."""
    groups: dict[str, list[Record]] = {}
    for run in runs:
        settings = run["settings"]
        backbone = {name: value for name, value in settings["backbone"].items() if name != "init_cfg"}
        key = [run["metrics"]["network"], backbone, settings["weights_sha256"] or settings["weights"]]
        groups.setdefault(json.dumps(key, sort_keys=True), []).append(run)
    return list(groups.values())


def compare_all(runs: Sequence[Record]) -> list[str]:
    """The sentences on all other networks against Org, or against the first one where there is no Org."""
    groups = networks_of(runs)
    reference = next((group for group in groups if group[0]["metrics"]["network"] == "Org"), groups[0])
    others = [group for group in groups if group is not reference]
    compared = corrected_sentences([found for group in others if (found := compare_networks(group, reference))])
    one_seed = any(len(group) == 1 for group in groups)
    return [*compared, ONE_SEED] if compared and one_seed else compared


def compare_networks(runs: Sequence[Record], others: Sequence[Record]) -> Comparison | None:
    """Compare two networks: by the seeds that both were trained with, or image by image for a single one."""
    name, other = runs[0]["metrics"]["network"], f"{others[0]['metrics']['network']} in {others[0]['directory']}/"
    by_seed = [{run["settings"]["seed"]: run["metrics"]["last"] for run in group} for group in (runs, others)]
    shared = [seed for seed in by_seed[0] if seed in by_seed[1]]
    if len(shared) > 1:
        values = ([scores[seed]["mIoU"] for seed in shared] for scores in by_seed)
        return compare_seeds(name, other, *values, seeds=shared, metric="mIoU", unit="points")
    if not shared:
        return None
    first, second = (scores[shared[0]].get("per_image") for scores in by_seed)
    if not first or not second or len(first) != len(second):
        return None
    pairs = [pair for pair in zip(first, second, strict=True) if None not in pair]
    if not pairs:
        return None
    difference = paired_difference(*([pair[side] for pair in pairs] for side in (0, 1)))
    say = partial(
        compare_errors_sentence,
        name,
        other,
        metric="pixel accuracy",
        unit="points",
        images="validation image",
        higher_is_better=True,
    )
    return Comparison(difference, say)


def most_frequent_class(pixels: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    """The scores of calling every pixel the most frequent class.

    Args:
        pixels: of each class in the validation masks.
        classes: their names.

    Returns:
        "class", and "mIoU" in percent over the classes that occur.
    """
    total, present = sum(pixels), sum(count > 0 for count in pixels)
    label = max(range(len(classes)), key=lambda index: pixels[index])
    share = pixels[label] / total if total else math.nan
    return {"class": classes[label], "mIoU": float(100 * share / max(1, present))}
