"""Table 4 and Figures 4 and 5: the search methods side by side on one trained supernet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from ean_core.report.blocks import GAP, Block, Gap, Section, Table
from ean_core.report.book import Book, Entry
from ean_core.report.cells import interval, number, ranged, seeds, spread
from ean_core.report.labels import label_of
from ean_core.report.pictures import drawn, pictures_of
from ean_core.report.table1 import LAST_EPOCH, NAMES, OF_DATA

KINDS = ("search-comparison", "search-retrained")
COMMAND = (
    "python tools/search.py classification/configs/ean_se_r164_cifar100.py --evaluations 1000 --seeds 3 --retrain "
    "--methods ean,genetic,enas,enas:settling,darts,hsp:period=2:offset=0,hsp:period=2:offset=1,hsp:period=3:offset=0,"
    "hsp:period=3:offset=1"
)
FIGURES = {
    "comparison": (
        "draw_comparison",
        "The searches",
        "the best so far against schemes scored, mean and extremes of the seeds",
    ),
    "figure4": ("draw_distributions", "Figure 4", "validation accuracies of random schemes and of searched ones"),
    "figure5": ("draw_convergence", "Figure 5", "mean probability of the proposed scheme's bits against proposals"),
}
"""Ending of a picture's name, what draws it where there is no such file, its title, and what it shows."""


HSP_ROWS = {
    "hsp_1010": "hsp:period=2:offset=0",
    "hsp_0101": "hsp:period=2:offset=1",
    "hsp_100100": "hsp:period=3:offset=0",
    "hsp_010010": "hsp:period=3:offset=1",
}
"""The paper's four rows of HSP -> what gives them to `tools/search.py --methods`."""


def section(book: Book) -> Section:
    """The paper's tables, then the comparisons of ours."""
    found = book.blocks(KINDS, blocks_of) or [
        Gap("the search methods side by side on images, with Figures 4 and 5", COMMAND)
    ]
    return Section(
        "table-4",
        "Table 4, Figures 4 and 5: search methods",
        [paper_table(book.paper), *found],
        "The paper compares networks trained from scratch; ours compares what the searches found by the scores of one "
        "supernet at equal budgets.",
    )


def summary(book: Book) -> list[Block]:
    """What the searches found on data that the paper uses too, and how good it was when trained."""
    known = [entry for entry in book.of(*KINDS) if entry.settings["data"]["name"] in OF_DATA]
    found: list[Block] = [found_table(entry) for entry in known if entry.kind == "search-comparison"]
    return found + [retrained_table(entry, book.paper) for entry in known if entry.kind == "search-retrained"]


def blocks_of(book: Book, entry: Entry) -> list[Block]:
    """A record's tables and pictures."""
    if entry.kind == "search-retrained":
        shows = "test accuracy against time increment of the schemes found, trained from scratch"
        charts = pictures_of(entry, shows) or [drawn(entry, "draw_retrained", title="Table 4", shows=shows)]
        return [retrained_table(entry, book.paper), *charts]
    blocks: list[Block] = [found_table(entry)]
    missing = dict(FIGURES)
    if entry.metrics.get("figure4", {}).get("methods"):
        blocks.append(figure4_table(entry, book.paper))
    else:
        del missing["figure4"]
    if any(run.get("probability") for run in entry.metrics["runs"]):
        blocks.append(figure5_table(entry))
    else:
        del missing["figure5"]
    blocks += pictures_of(entry)
    named_as_the_record = ["comparison"] if any(path.stem == entry.path.stem for path in entry.pictures) else []
    for ending, (function, title, shows) in missing.items():
        if not any(path.stem.endswith(ending) for path in entry.pictures) and ending not in named_as_the_record:
            blocks.append(drawn(entry, function, title=f"{title}, {described(entry)}", shows=shows))
    return blocks


def paper_table(paper: Mapping[str, Any]) -> Table:
    """Table 4 as published."""
    rows = []
    for name, found in paper["table4_search_methods_cifar100_se_resnet164"].items():
        rows.append([label_of(HSP_ROWS.get(name, name)), number(found["accuracy"]), number(found["time_increment"])])
    note = "CIFAR-100, SE, ResNet-164, one network each, V100."
    return Table("The paper's Table 4", ("method", "test top-1, %", "time increment, %"), rows, notes=(note,))


def found_table(entry: Entry) -> Table:
    """The best and the most probable scheme of each method at the end of its budget, over the seeds."""
    known, methods = entry.settings["exhaustive"], entry.metrics["methods"]
    answers = {"best": "best seen", "most_probable": "most probable"}
    if any(row.get("smoothed") for row in methods):  # records have it since it is an answer of the preset natural
        answers["smoothed"] = "smoothed best"
    word = "regret" if known else "reward"
    rows = []
    for row in methods:
        found = [row.get(answer) for answer in answers]
        cells = [
            label_of(row["method"]),
            str(row["n"]),
            *(GAP if one is None else with_interval(one[word]) for one in found),
        ]
        best = row.get("best") or {}
        cells += [spread(best.get("validation_accuracy")), spread(best.get("connections"), 1)]
        rows.append([*cells, number(min(row["spent"], entry.settings["budget"]["evaluations"]), 0)])
    heads = (
        *("method", "seeds", *(f"{word} of the {name}" for name in answers.values())),
        *("accuracy of the best, %", "its connections", "budget used"),
    )
    return Table(f"Searches on {described(entry)}", heads, rows, notes=setup(entry), records=(entry.name,))


def retrained_table(entry: Entry, paper: Mapping[str, Any]) -> Table:
    """The schemes that the methods found, trained from scratch, beside the paper's Table 4."""
    settings, rows_of_paper = entry.settings, paper["table4_search_methods_cifar100_se_resnet164"]
    published = {HSP_ROWS.get(name, name): found for name, found in rows_of_paper.items()}
    compared, rows = of_the_paper(entry), []
    for row in entry.metrics:
        theirs = [published[name] for name in row["methods"] if name in published]
        rows.append(
            [
                ", ".join(map(label_of, row["methods"])),
                spread(row["top1"]),
                "0" if row["methods"] == ["org"] else interval(row["time_increment"]),
                f"{row['connections']}/{row['blocks']}",
                f"`{row['scheme']}`",
                *(both(one[key] for one in theirs) for key in ("accuracy", "time_increment") if compared),
            ]
        )
    recipe, images, n = settings["recipe"], settings["images"], max(row["top1"]["n"] for row in entry.metrics)
    note = (
        f"Ours: {described(entry)}, {images['train']:,} training and {images['test']:,} test images, "
        f"{recipe['train']['epochs']} epochs, {seeds(n)}; time: batch "
        f"{settings['timing']['batch_size']}, {settings['timing']['setting']}, 95 % interval; {entry.machine}. "
        f"{f'Paper: ResNet-164, another set-up, so compare rows, not columns. {LAST_EPOCH}' if compared else ''}"
    )
    theirs_heads = ("top-1, %", "increment, %") if compared else ()
    return Table(
        f"Table 4: schemes found, trained from scratch, {described(entry)}",
        ("found by", "test top-1, %", "time increment, %", "connections", "scheme", *theirs_heads),
        rows,
        (("", 5), ("paper", 2)) if compared else (),
        (note.strip(),),
        (entry.name,),
        left=(4,),
    )


def of_the_paper(entry: Entry) -> bool:
    """Whether a record is of CIFAR-100, the only data whose search methods the paper compares."""
    return entry.settings["data"]["name"] == "cifar100"


def with_interval(one: Mapping[str, Any]) -> str:
    """A mean with its interval."""
    return ranged(one["mean"], one["low"], one["high"])


def described(entry: Entry) -> str:
    """`CIFAR-100, resnet29`."""
    data = entry.settings["data"]["name"]
    return f"{NAMES.get(data, data)}, {entry.settings['recipe']['model']['arch']}"


def setup(entry: Entry) -> tuple[str, ...]:
    """Budget, references and machine."""
    settings, metrics = entry.settings, entry.metrics
    references = (
        f"reward of no attention {metrics['all_off']['reward']:.2f}, everywhere {metrics['all_on']['reward']:.2f}"
    )
    if settings["exhaustive"]:
        top = metrics["highest"]
        references += f", best of all {metrics['schemes']} schemes {top['reward']:.2f} (`{top['bits']}`)"
    budget = settings["budget"]
    measure = "Regret: points of reward below the best of all schemes. " if settings["exhaustive"] else ""
    return (
        f"{measure}Mean and 95 % bootstrap interval over {settings['seeds']} search seeds on one supernet; mean ± "
        f"standard deviation of the best scheme's accuracy on {settings['validation_images']:,} validation images; at "
        f"most {budget['evaluations']} schemes scored and {budget['proposals']} proposed; {references}. "
        f"{entry.machine}.",
    )


def both(values: Iterable[float]) -> str:
    """A figure for each of the methods that found the same scheme, or a gap."""
    return " / ".join(map(number, values)) or GAP


def figure4_table(entry: Entry, paper: Mapping[str, Any]) -> Table:
    """Accuracies of random schemes and of schemes drawn from each method's last probabilities, with tests."""
    found = entry.metrics["figure4"]
    random = found["random"]
    rows = [["random", str(random["n"]), str(random["different"]), spread(random), GAP, GAP, GAP]]
    for label, one in found["methods"].items():
        tests = one["against_random"]
        figures = [number(tests["difference"]), chance(tests["welch_p"]), chance(tests["mann_whitney_p"])]
        rows.append([label_of(label), str(one["n"]), str(one["different"]), spread(one), *figures])
    theirs = ""
    if of_the_paper(entry):
        theirs = "Paper: accuracy from scratch, CIFAR-100, ResNet-164; its t-test is of an unnamed kind. "
        rows += figure4_of_the_paper(paper["figure4_scheme_distribution"])
    heads = ("schemes", "n", "different", "accuracy, %", "minus random", "Welch's t, p", "Mann-Whitney, p")
    note = (
        "Ours: validation accuracy on the supernet, mean ± standard deviation; schemes of one search depend on each "
        f"other, so the p-values are of these searches alone. {theirs}{entry.machine}."
    )
    return Table(
        f"Figure 4: searched against random schemes, {described(entry)}", heads, rows, (), (note,), (entry.name,)
    )


def figure4_of_the_paper(published: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the paper's random schemes and of EAN's."""
    random, ean = published["random"], published["ean"]
    tests = [number(ean["mean"] - random["mean"]), chance(published["t_test_p"]), GAP]
    return [
        ["paper: random", str(random["n"]), GAP, spread(random), GAP, GAP, GAP],
        ["paper: EAN", str(ean["n"]), GAP, spread(ean), *tests],
    ]


def chance(p: float | None) -> str:
    """A p-value in short."""
    return GAP if p is None else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def figure5_table(entry: Entry) -> Table:
    """The mean probability of the drawn scheme along the search, over the seeds."""
    runs = [run for run in entry.metrics["runs"] if run.get("probability")]
    longest = min(run["probability"]["proposals"][-1] for run in runs)  # that all have reached
    marks = sorted({max(1, round(longest * share)) for share in (0.05, 0.1, 0.25, 0.5, 1)})
    rows = []
    for label in dict.fromkeys(run["method"] for run in runs):
        mine = [run["probability"] for run in runs if run["method"] == label]
        rows.append([label_of(label), *(number(reached(mine, mark)) for mark in marks)])
    note = (
        f"Mean over {entry.settings['seeds']} seeds of the mean probability of the drawn scheme's bits: 0.5 is "
        f"undecided, 1 is a single scheme. {entry.machine}."
    )
    heads = ("method", *(f"after {mark} proposals" for mark in marks))
    return Table(f"Figure 5: how soon a search settles, {described(entry)}", heads, rows, (), (note,), (entry.name,))


def reached(curves: list[Mapping[str, list[float]]], proposals: int) -> float | None:
    """Mean of the curves at a number of proposals; None where a search was shorter."""
    values = []
    for curve in curves:
        place = next((n for n, end in enumerate(curve["proposals"]) if end >= proposals), None)
        if place is None:
            return None
        values.append(curve["p_mean"][place])
    return fmean(values)
