"""Table 4 and Figures 4 and 5: the search methods side by side on one trained supernet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from ean_core.report.elements import GAP, Element, Gap, Section, Table
from ean_core.report.figure4_tests import against_random
from ean_core.report.formatting import mean, number, recorded_interval, recorded_mean, seeds, sentence
from ean_core.report.labels import label_of
from ean_core.report.pictures import drawn, pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.table1 import LAST_EPOCH, run_increment_cell
from ean_core.report.titles import DATA, arch_title
from ean_core.report.typed_rows import RunSettings, trained_rows, unlike_trainings
from ean_core.report.verdicts import verdicts
from ean_core.utils.intervals import student_interval
from ean_core.utils.text import how_many

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


def section(results: Results) -> Section:
    """The paper's tables, then the comparisons of ours."""
    comparisons = results.elements(KINDS, elements_of) or [
        Gap("the search methods side by side on images, with Figures 4 and 5", COMMAND)
    ]
    if results.of_kind("search-comparison") and not results.of_kind("search-retrained"):
        comparisons.append(Gap("Table 4's accuracies: the schemes found, trained from scratch", COMMAND))
    return Section(
        "table-4",
        "Table 4, Figures 4 and 5: search methods",
        [paper_table(results.paper), *comparisons],
        "The paper compares networks trained from scratch; ours compares what the searches found by the scores of one "
        "supernet at equal budgets.",
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """The tables and pictures of a comparison, or of schemes that were trained again."""
    if record.kind == "search-retrained":
        shows = "test accuracy against time increment of the schemes found, trained from scratch"
        charts = pictures_of(record, shows) or [drawn(record, "draw_retrained", title="Table 4", shows=shows)]
        return [retrained_table(record, results.paper), *charts]
    elements: list[Element] = [comparison_table(record)]
    missing = dict(FIGURES)
    if record.metrics.get("figure4", {}).get("methods"):
        elements.append(figure4_table(record, results.paper))
    else:
        del missing["figure4"]
    if any(run.get("probability") for run in record.metrics["runs"]):
        elements.append(figure5_table(record))
    else:
        del missing["figure5"]
    elements += pictures_of(record)
    named_as_the_record = ["comparison"] if any(path.stem == record.path.stem for path in record.pictures) else []
    for ending, (function, title, shows) in missing.items():
        if not any(path.stem.endswith(ending) for path in record.pictures) and ending not in named_as_the_record:
            elements.append(drawn(record, function, title=f"{title}, {setup_title(record)}", shows=shows))
    return elements


def paper_table(paper: Mapping[str, Any]) -> Table:
    """The paper's Table 4: what each method found, trained from scratch."""
    rows = []
    for name, figures in paper["table4_search_methods_cifar100_se_resnet164"].items():
        method = label_of(HSP_ROWS.get(name, name))
        rows.append([method, number(figures["accuracy"]), number(figures["time_increment"])])
    note = "CIFAR-100, SE, ResNet-164, one network each, V100."
    return Table("The paper's Table 4", ("method", "test top-1, %", "time increment, %"), rows, notes=(note,))


def comparison_table(record: Record) -> Table:
    """The best and the most probable scheme of each method at the end of its budget, over the seeds."""
    has_regret, methods = record.settings["exhaustive"], record.metrics["methods"]
    answers = {"best": "best seen", "most_probable": "most probable"}
    if any(row.get("smoothed") for row in methods):  # records have it since it is an answer of the preset natural
        answers["smoothed"] = "smoothed best"
    measure, lowest = ("regret", 0.0) if has_regret else ("reward", -math.inf)
    rows = []
    for row in methods:
        cells = [
            label_of(row["method"]),
            str(row["n"]),
            *(mean_interval(row[answer][measure], lowest=lowest) if row.get(answer) else GAP for answer in answers),
        ]
        best = row.get("best") or {}
        cells += [recorded_mean(best.get("validation_accuracy")), recorded_mean(best.get("connections"), 1)]
        rows.append([*cells, number(min(row["spent"], record.settings["budget"]["evaluations"]), 0)])
    heads = (
        *("method", "seeds", *(f"{measure} of the {name}" for name in answers.values())),
        *("accuracy of the best, %", "its connections", "budget used"),
    )
    return Table(f"Searches on {setup_title(record)}", heads, rows, notes=setup_notes(record), records=(record.name,))


def retrained_table(record: Record, paper: Mapping[str, Any]) -> Table:
    """The schemes that the methods found, trained from scratch, beside the paper's Table 4."""
    settings, paper_rows = record.settings, paper["table4_search_methods_cifar100_se_resnet164"]
    published = {HSP_ROWS.get(name, name): figures for name, figures in paper_rows.items()}
    compared, rows = of_the_paper(record), []
    networks = trained_rows(record)
    for row in networks:
        paper_values = [published[name] for name in row.methods if name in published]
        rows.append(
            [
                ", ".join(map(label_of, row.methods)),
                mean(row.top1),
                run_increment_cell(row),
                f"{row.connections}/{row.blocks}",
                f"`{row.scheme}`",
                *(
                    numbers_or_gap(figures[key] for figures in paper_values)
                    for key in ("accuracy", "time_increment")
                    if compared
                ),
            ]
        )
    run, n = RunSettings.of(record), max(row.top1.n or 1 for row in networks)
    searched = settings.get("search_seeds")  # older records lack it
    searches = "search seeds" if searched is None else how_many(searched, "search seed")
    note = (
        f"The scheme of a method is that of the best of its {searches} by validation reward. "
        f"Ours: {setup_title(record)}, {run.train:,} training and {run.test:,} test images, "
        f"{how_many(run.epochs, 'epoch')}, {seeds(n)}; time: batch "
        f"{settings['timing']['batch_size']}, {settings['timing']['setting']}, 95 % interval; {record.machine}. "
        f"{f'Paper: ResNet-164, another set-up, so compare rows, not columns. {LAST_EPOCH}' if compared else ''}"
    )
    theirs_heads = ("top-1, %", "increment, %") if compared else ()
    return Table(
        f"Table 4: schemes found, trained from scratch, {setup_title(record)}",
        ("found by", "test top-1, %", "time increment, %", "connections", "scheme", *theirs_heads),
        rows,
        (("", 5), ("paper", 2)) if compared else (),
        (
            note.strip(),
            *filter(None, [unlike_trainings(record)]),
            *map(sentence, verdicts(record)),
        ),
        (record.name,),
        left=(4,),
    )


def of_the_paper(record: Record) -> bool:
    """Whether a record is of CIFAR-100, the only data whose search methods the paper compares."""
    return record.settings["data"]["name"] == "cifar100"


def mean_interval(recorded: Mapping[str, Any], *, lowest: float) -> str:
    """A record's mean over the seeds with Student's interval; older records hold that of a bootstrap, too narrow."""
    found = student_interval(recorded["mean"], recorded["std"], recorded["n"], lowest=lowest)
    return recorded_interval(found.to_record(), 2)


def setup_title(record: Record) -> str:
    """The data and the network of a record, as "CIFAR-100, ResNet-29"."""
    data = record.settings["data"]["name"]
    return f"{DATA.get(data, data)}, {arch_title(record.settings['recipe']['model']['arch'])}"


def setup_notes(record: Record) -> tuple[str, ...]:
    """The note of a table: budget, reference schemes and machine."""
    settings, metrics = record.settings, record.metrics
    references = (
        f"reward of no attention {metrics['all_off']['reward']:.2f}, everywhere {metrics['all_on']['reward']:.2f}"
    )
    if settings["exhaustive"]:
        top = metrics["highest"]
        references += f", best of all {metrics['schemes']} schemes {top['reward']:.2f} (`{top['bits']}`)"
    budget = settings["budget"]
    measure = "Regret: points of reward below the best of all schemes. " if settings["exhaustive"] else ""
    return (
        f"{measure}Mean and Student's 95 % interval over {settings['seeds']} search seeds on one supernet; mean ± "
        f"standard deviation of the best scheme's accuracy on {settings['validation_images']:,} validation images; at "
        f"most {budget['evaluations']} schemes scored and {budget['proposals']} proposed; {references}. "
        f"{record.machine}.",
    )


def numbers_or_gap(values: Iterable[float]) -> str:
    """A figure for each of the methods that found the same scheme, or a gap."""
    return " / ".join(map(number, values)) or GAP


def figure4_table(record: Record, paper: Mapping[str, Any]) -> Table:
    """Accuracies of random schemes and of schemes drawn from each method's last probabilities, with tests."""
    figure4 = record.metrics["figure4"]
    random = figure4["random"]
    rows = [["random", str(random["n"]), str(random["different"]), recorded_mean(random), GAP, GAP]]
    for label, sample in figure4["methods"].items():
        tests = against_random(record.content, label)
        figures = [number(tests["difference"]), p_value(tests["welch_p"])]
        rows.append([label_of(label), str(sample["n"]), str(sample["different"]), recorded_mean(sample), *figures])
    paper_values = ""
    if of_the_paper(record):
        paper_values = "Paper: accuracy from scratch, CIFAR-100, ResNet-164; its t-test is of an unnamed kind. "
        rows += figure4_of_the_paper(paper["figure4_scheme_distribution"])
    heads = ("schemes", "n", "different", "accuracy, %", "minus random", "Welch's t, p")
    note = (
        "Ours: accuracy on the supernet, mean ± standard deviation, on the validation images that the searches chose "
        f"by, which favors their schemes; the schemes of one search depend on each other, so the test's units are the "
        f"{how_many(record.settings['seeds'], 'search seed')}. {paper_values}{record.machine}."
    )
    return Table(
        f"Figure 4: searched against random schemes, {setup_title(record)}", heads, rows, (), (note,), (record.name,)
    )


def figure4_of_the_paper(published: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the paper's random schemes and of EAN's."""
    random, ean = published["random"], published["ean"]
    tests = [number(ean["mean"] - random["mean"]), p_value(published["t_test_p"])]
    return [
        ["paper: random", str(random["n"]), GAP, recorded_mean(random), GAP, GAP],
        ["paper: EAN", str(ean["n"]), GAP, recorded_mean(ean), *tests],
    ]


def p_value(p: float | None) -> str:
    """A p-value as 0.020, or as 4e-07 where it is small; a gap for None."""
    return GAP if p is None else f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def figure5_table(record: Record) -> Table:
    """The mean probability of the drawn scheme along the search, over the seeds."""
    runs = [run for run in record.metrics["runs"] if run.get("probability")]
    longest = min(run["probability"]["proposals"][-1] for run in runs)  # that all have reached
    marks = sorted({max(1, round(longest * share)) for share in (0.05, 0.1, 0.25, 0.5, 1)})
    rows = []
    for label in dict.fromkeys(run["method"] for run in runs):
        curves_of_method = [run["probability"] for run in runs if run["method"] == label]
        rows.append([label_of(label), *(number(reached(curves_of_method, mark)) for mark in marks)])
    note = (
        f"Mean over {record.settings['seeds']} seeds of the mean probability of the drawn scheme's bits: 0.5 is "
        f"undecided, 1 is a single scheme. {record.machine}."
    )
    heads = ("method", *(f"after {mark} proposals" for mark in marks))
    return Table(
        f"Figure 5: how soon a search settles, {setup_title(record)}", heads, rows, (), (note,), (record.name,)
    )


def reached(curves: list[Mapping[str, list[float]]], proposals: int) -> float | None:
    """Mean of the curves at a number of proposals; None where a search was shorter."""
    values = []
    for curve in curves:
        window = next((n for n, end in enumerate(curve["proposals"]) if end >= proposals), None)
        if window is None:
            return None
        values.append(curve["p_mean"][window])
    return fmean(values)
