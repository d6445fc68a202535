"""What a comparison shows: a table on the screen and its pictures, made from the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from ean_core.io.scheme_record import read_scheme_file
from ean_core.pipeline.task import Metric
from ean_core.report.labels import label_of
from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError
from ean_core.utils.screen import make_table, print_table, say
from ean_core.utils.significance import SIGNIFICANCE, compare_samples, holm
from ean_core.utils.text import how_many

Record = Mapping[str, Any]

POINTS = {"best of all schemes": "highest", "no block connected": "all_off", "every block connected": "all_on"}
"""What the lines below the table are called -> the record's key."""
SAME_IMAGES = (
    "Rewards are of the validation images that chose the schemes, and the highest of more scores is higher by luck "
    "alone: whether the schemes are better, only training them shows (--retrain)."
)
UNCALIBRATED = (
    "The last two are scored with the batch-norm statistics of an average path, which suit them badly: "
    "--cfg-options search.bn_images=1000 calibrates batch norm for every scheme."
)


def draw_all(record: Record, directory: Path, *, published: Mapping[str, Scheme]) -> list[Path]:
    """comparison.png, figure4.png, figure5.png and schemes.png; a picture that has nothing to show is left out.

    Args:
        record: of kind "search-comparison".
        directory: where they go.
        published: further schemes, drawn below those that were found.
    """
    from ean_core.report import plots_search  # matplotlib takes a second to import

    def draw_schemes(path: Path, record: Record) -> Path:
        title = f"Schemes found on {record['settings']['recipe']['name']} (as Table 2)"
        answers = {label_of(name): scheme for name, scheme in answer_schemes(record).items()}
        return plots_search.draw_schemes(path, {**answers, **published}, title=title)

    drawn = []
    for name, draw in (
        ("comparison.png", plots_search.draw_comparison),
        ("figure4.png", plots_search.draw_distributions),
        ("figure5.png", plots_search.draw_convergence),
        ("schemes.png", draw_schemes),
    ):
        try:
            drawn.append(draw(directory / name, record))
        except EANError:
            (directory / name).unlink(missing_ok=True)  # a picture of an earlier run would contradict the record
    return drawn


def answer_schemes(record: Record) -> dict[str, Scheme]:
    """Each method's answer, the best one over its seeds."""
    blocks = record["settings"]["blocks"]
    return {label: Scheme.parse(best["bits"], blocks=blocks) for label, best in best_answers(record).items()}


def best_answers(record: Record) -> dict[str, Record]:
    """Each method's answer with reward, validation accuracy and connections: of those of its seeds the one with the
    highest reward, smoothed if the method smooths; among equals the one with fewer connections."""

    def height(answer: Record) -> tuple[float, int]:
        return answer.get("smoothed_reward", answer["reward"]), -answer["connections"]

    return {
        label: max((returned(run) for run in record["metrics"]["runs"] if run["method"] == label), key=height)
        for label in record["settings"]["methods"]
    }


def returned(run: Record) -> Record:
    """The answer that the method of a search returns by default."""
    return run[run.get("returned", "best")]  # older records hold no other answer


def published_schemes(directory: Path, **origin: str | None) -> dict[str, Scheme]:
    """The scheme files of a directory by name, those of this `arch`, `attention` and `data` where they are given."""
    schemes = {}
    for path in sorted(directory.glob("*.json")):
        content = read_scheme_file(path)
        if all(content.get(key) == value for key, value in origin.items()):
            schemes[path.stem] = Scheme.load(path)
    return schemes


def print_comparison(record: Record, *, score: Metric) -> None:
    """Print a row per method: means over the seeds, and 95 % intervals of the means.

    Args:
        record: of kind "search-comparison".
        score: what schemes were scored by.
    """
    print_table(comparison_table(record, score))
    metrics = record["metrics"]
    for name, key in POINTS.items():
        if (point := metrics.get(key)) is not None:
            value = f"{score.name} {point['validation_accuracy']:.2f} {score.unit}"
            say(f"{name}: reward {point['reward']:.2f}, {value}, {point['bits']}")
    if not record["settings"]["recipe"]["search"]["bn_images"]:
        say(UNCALIBRATED)
    for label, drawn in metrics["figure4"].get("methods", {}).items():
        say(f"schemes drawn by {label} at its end, against random ones: {describe_tests(drawn)}")
    say(*method_sentences(metrics["runs"]))


def method_sentences(runs: Sequence[Record]) -> list[str]:
    """For every method, whether the schemes that its searches return have a higher reward than those of random search.

    Without random search, the first method takes its place. Searches with the same seed share no random numbers, so
    that they are not pairs: this is Welch's test, with Holm's correction for the number of methods. A method that
    scores more schemes finds a higher one of scores that are noise alone, so that a last sentence says what a
    difference is worth.
    """
    rewards: dict[str, list[float]] = {}
    for run in runs:
        rewards.setdefault(run["method"], []).append(returned(run)["reward"])
    reference = "random" if "random" in rewards else next(iter(rewards))
    tests = {
        label: compare_samples(values, rewards[reference]) for label, values in rewards.items() if label != reference
    }
    welch = {label: test["welch_p"] for label, test in tests.items() if test["welch_p"] is not None}
    adjusted = dict(zip(welch, holm(list(welch.values())), strict=True))
    corrected = f" after Holm's correction for {len(welch)} comparisons" if len(welch) > 1 else ""
    sentences, differing = [], False
    for label, test in tests.items():
        p, seeds = adjusted.get(label), how_many(len(rewards[label]), "seed")
        figures = f"{test['difference']:+.2f} on average over {seeds}"
        figures += "" if p is None else f", Welch's p = {p:.2g}{corrected}"
        if p is None or p > SIGNIFICANCE:
            sentences.append(f"No difference between the rewards of {label} and {reference} can be shown: {figures}.")
        else:
            higher, lower = (label, reference) if test["difference"] > 0 else (reference, label)
            sentences.append(f"{higher} returns schemes of a higher reward than {lower}: {figures}.")
            differing = True
    return [*sentences, SAME_IMAGES] if differing else sentences


def comparison_table(record: Record, score: Metric) -> Table:
    """The table that `print_comparison` prints first."""
    settings, metrics, answers = record["settings"], record["metrics"], best_answers(record)
    title = (
        f"{settings['recipe']['name']}: {settings['budget']['evaluations']} evaluations, "
        f"{how_many(settings['seeds'], 'search seed')}, {settings['validation_images']:,} validation images"
    )
    exhaustive = settings["exhaustive"]
    heads = ["method", "best reward", *(["regret (95 %)"] if exhaustive else []), score.heading, "connections"]
    measure, answer = "regret" if exhaustive else "reward", "best scheme over the seeds"
    heads += [f"most probable: {measure}", f"smoothed: {measure}", "schemes scored", answer]
    table = make_table(title, heads, left=[answer])
    for row in metrics["methods"]:
        best = row["best"]
        cells = [f"{best['reward']['mean']:.2f}" if exhaustive else show_mean(best["reward"])]
        cells += [show_mean(best["regret"])] if exhaustive else []
        cells += [f"{best['validation_accuracy']['mean']:.2f}", f"{best['connections']['mean']:.1f}"]
        others = [row.get(answer) for answer in ("most_probable", "smoothed")]
        cells += ["-" if other is None else show_mean(other[measure]) for other in others]
        table.add_row(row["method"], *cells, f"{row['evaluations']:.0f}", answers[row["method"]]["bits"])
    return table


def show_mean(value: Record) -> str:
    """`33.10 (32.80 to 33.40)`, or the number alone where its spread is not known."""
    if value["low"] is None or value["low"] == value["high"]:
        return f"{value['mean']:.2f}"
    return f"{value['mean']:.2f} ({value['low']:.2f} to {value['high']:.2f})"


def describe_tests(drawn: Record) -> str:
    """Fig. 4's figures of a method in a sentence."""
    tests = drawn["against_random"]

    def p(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.2g}"

    return (
        f"mean {drawn['mean']:.2f} % ({tests['difference']:+.2f} points) on the images that chose them, higher in "
        f"{100 * tests['wins']:.0f} % of the pairs, Welch p {p(tests['welch_p'])} over "
        f"{how_many(tests['groups'], 'seed')}; {drawn['different']} different schemes of {drawn['n']} drawn"
    )
