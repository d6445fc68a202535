"""The end of a counting run in words: against the mean count, and against the runs beside it on the same data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from crowd_counting.job import Job
from ean_core.inference.count_errors import by_part
from ean_core.io.records import read_record
from ean_core.utils.checked_dataclasses import WrongValueError, convert
from ean_core.utils.comparison_sentences import (
    ONE_SEED,
    Comparison,
    compare_errors_sentence,
    compare_seeds,
    corrected_sentences,
)
from ean_core.utils.errors import EANError
from ean_core.utils.significance import paired_difference
from ean_core.utils.text import attention_label

HARMLESS = ("channels_last", "save_interval", "validate_every")
"""Fields of the training that two runs which are compared may differ in."""


def verdicts(directory: Path) -> list[str]:
    """The sentences on a finished run.

    Args:
        directory: of the run, with its summary.json; the directories beside it may hold runs to compare with.
    """
    record = read_record(directory / "summary.json")
    best, baseline = (by_part(record["metrics"][name]) for name in ("best", "always_the_mean"))
    sentences = [against_the_mean(errors, baseline[part], part=part) for part, errors in best.items()]
    compared = [
        compare_runs(directory, record, other, found, part=part)
        for other, found in runs_beside(directory, record)
        for part in best
    ]
    said = corrected_sentences([comparison for comparison in compared if comparison])
    sentences += said
    if len(record["settings"]["seeds"]) == 1 and said:
        sentences.append(ONE_SEED)
    if not said:
        sentences.append(
            f"Nothing can be said about attention yet: no other network was trained in {directory.parent}/ on the "
            "same data with the same settings."
        )
    return sentences


def against_the_mean(errors: Mapping[str, Any], mean_count: Mapping[str, Any], *, part: str = "") -> str:
    """Whether the counter is better than always giving the training images' mean count, on one of several parts."""
    mae, baseline = errors["mae"]["mean"], mean_count["mae"]
    where = f" on {part}" if part else ""
    if mae >= baseline:
        return (
            f"The counter is no better{where} than always giving the training images' mean count (MAE {mae:.1f}, and "
            f"{baseline:.1f} for the mean): train it for more epochs, or from pretrained weights."
        )
    return (
        f"The counter's error{where} is {100 * (1 - mae / baseline):.0f} % below that of always giving the training "
        f"images' mean count (MAE {mae:.1f}, and {baseline:.1f} for the mean)."
    )


def runs_beside(directory: Path, record: Mapping[str, Any]) -> list[tuple[Path, Mapping[str, Any]]]:
    """Finished runs in the same folder, of another network, on the same data and with the same training."""
    found = []
    for path in sorted(directory.absolute().parent.glob("*/summary.json")):
        if path.parent == directory.absolute():
            continue
        try:
            other = read_record(path)
            same = other["kind"] == "counting" and conditions(other) == conditions(record)
            if same and other["settings"]["model"] != record["settings"]["model"]:
                network_name(other)
                for part in by_part(record["metrics"]["best"]):
                    errors_by_seed(other, part=part)
                found.append((path.parent, other))
        except (EANError, WrongValueError, KeyError, TypeError, ValueError, AttributeError):
            continue  # another kind of run, or a damaged record: nothing to compare with
    return found


def errors_by_seed(record: Mapping[str, Any], *, part: str = "") -> dict[int, float]:
    """Seed -> MAE of its best counter on one of several parts.

    Raises:
        EANError, WrongValueError, KeyError, ValueError: if the record is damaged.
    """
    seeds = convert(record["settings"]["seeds"], list[int], "seeds")
    values = convert(by_part(record["metrics"]["best"])[part]["mae"]["values"], list[float], "mae")
    return dict(zip(seeds, values, strict=True))


def conditions(record: Mapping[str, Any]) -> str:
    """What two runs must share to be compared: the data, and the training but for what does not matter."""
    settings = record["settings"]
    train = {name: value for name, value in settings["train"].items() if name not in HARMLESS}
    data = {name: value for name, value in settings["data"].items() if name not in ("cache", "workers")}
    return json.dumps([data, train], sort_keys=True)


def compare_runs(
    directory: Path, record: Mapping[str, Any], other: Path, beside: Mapping[str, Any], *, part: str = ""
) -> Comparison | None:
    """Compare two runs, on one of several parts: by their seeds if they share several, else image by image for
    one that they share.
    """
    name, against = network_name(record), f"{network_name(beside)} in {other.name}/"
    own, others = (errors_by_seed(run, part=part) for run in (record, beside))
    shared, metric = [seed for seed in own if seed in others], f"test MAE on {part}" if part else "test MAE"
    if len(shared) > 1:
        values, reference = ([errors[seed] for seed in shared] for errors in (own, others))
        return compare_seeds(
            name, against, values, reference, seeds=shared, metric=metric, unit="people", higher_is_better=False
        )
    if not shared:
        return None
    errors = [read_errors(run / f"seed{shared[0]}" / "result.json", part=part) for run in (directory, other)]
    if errors[0] is None or errors[1] is None or len(errors[0]) != len(errors[1]):
        return None
    say = partial(compare_errors_sentence, name, against, metric=metric, unit="people")
    return Comparison(paired_difference(errors[0], errors[1]), say)


def read_errors(path: Path, *, part: str = "") -> Sequence[float] | None:
    """The absolute error on each test image of a part of a seed's best counter; None where they were not kept."""
    try:
        values = read_record(path)["metrics"]["best"]["per_image"]
        values = values[part] if part else values
        return convert(values, list[float], "per_image") or None
    except (EANError, WrongValueError, KeyError, TypeError):
        return None


def network_name(record: Mapping[str, Any]) -> str:
    """The network as the paper's tables call it: "Org", "Share-full SE", "EAN SE"."""
    model = record["settings"]["model"]
    if model["attention"] is None:
        return "Org"
    kind = "Org-full" if model["sharing"] == "block" else "Share-full" if model["scheme"] is None else "EAN"
    return f"{kind} {attention_label(model['attention'])}"


def other_network(words: Sequence[str], job: Job) -> list[str]:
    """The arguments that train the network to compare with: without attention, or with SE if this one has none.

    Args:
        words: the arguments of this run.
        job: of them.

    Returns:
        nothing where another network's run lies beside this one already.
    """
    if runs_beside(job.directory, read_record(job.directory / "summary.json")):
        return []
    kept, skip = [], False
    for word in words:
        if skip or word == "--resume":
            skip = False
        elif word in ("--attention", "--scheme", "--work-dir"):
            skip = True
        else:
            kept.append(word)
    if job.spec.attention is None:
        change, name = ["--attention", "se"], "se"
    else:
        change, name = ["--scheme", "org"], "org"
    directory = job.directory.with_name(f"{job.directory.name}-{name}")
    return [*kept, *change, "--work-dir", str(directory)]
