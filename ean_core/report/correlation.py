"""Section 4.3: does a scheme's score on the supernet say how good it is when trained from scratch?"""

from __future__ import annotations

from collections.abc import Mapping

from ean_core.report.elements import GAP, Element, Gap, Section, Table
from ean_core.report.formatting import interval, sentence
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.table1 import NAMES
from ean_core.utils.text import attention_label, how_many

KINDS = ("correlation",)
COMMAND = "python tools/correlation.py CONFIG --schemes 12"
COEFFICIENTS = {"pearson": "Pearson's r", "spearman": "Spearman's rho", "kendall": "Kendall's tau"}


def section(results: Results) -> Section:
    """A table and a scatter plot for every study."""
    paper = results.paper["supernet_correlation"]
    return Section(
        "correlation",
        "Section 4.3: is the supernet's score any good?",
        results.elements(KINDS, elements_of)
        or [Gap("correlation of scores on the supernet with accuracies from scratch", COMMAND)],
        f"The paper gives a Pearson's r of {paper['pearson']} over {paper['samples']} schemes ({paper['setting']}), "
        "without an interval.",
    )


def summary(results: Results) -> list[Element]:
    """The tables."""
    return [table(record, results) for record in results.of_kind(*KINDS)]


def elements_of(results: Results, record: Record) -> list[Element]:
    """A study's table and plot."""
    return [table(record, results), *pictures_of(record, "accuracy from scratch against the score, a dot per scheme")]


def table(record: Record, results: Results) -> Table:
    """The coefficients with their intervals, a row for each way of scoring."""
    settings, metrics = record.settings, record.metrics
    found = metrics.get("correlations", {})
    rows = [[label(way), *(interval(values.get(key), 2) for key in COEFFICIENTS)] for way, values in found.items()]
    if metrics.get("difference"):
        difference = [interval(metrics["difference"].get(key), 2) for key in COEFFICIENTS]
        rows.append(["re-estimated minus running", *difference])
    if metrics.get("ceiling"):
        rows.append(["a score without error, at most", interval(metrics["ceiling"], 2), GAP, GAP])
    jackknifed = (metrics.get("ceiling") or {}).get("interval") == "jackknife"  # older records: a bootstrap there too
    jackknife = ", of a score without error by a jackknife" if jackknifed else ""
    recipe, images, data = settings["recipe"], settings["images"], settings["data"]["name"]
    if data == "cifar100":  # the paper's
        paper = results.paper["supernet_correlation"]
        rows.append([f"paper ({paper['samples']} schemes)", f"{paper['pearson']:.2f}", GAP, GAP])
    note = (
        f"Ours: {metrics['trained']} of {len(metrics['schemes'])} schemes trained from scratch, "
        f"{recipe['model']['arch']}, {attention_label(recipe['model']['attention'])}, {NAMES.get(data, data)}, "
        f"{images['train']:,} training, {images['validation']:,} validation and {images['test']:,} test images, "
        f"{recipe['train']['epochs']} epochs, {how_many(len(settings['seeds']), 'seed')} each; 95 % bootstrap "
        f"intervals over schemes{jackknife}; {record.machine}. {spreads(metrics.get('spread', {}))}"
    )
    return Table(
        f"Correlation of the score with the accuracy from scratch, {recipe['name']}",
        ("score", *COEFFICIENTS.values()),
        rows,
        notes=(note.strip(),),
        records=(record.name,),
    )


def label(way: str) -> str:
    """A row's name."""
    return "number of connections" if way == "connections" else f"supernet, batch norm {way}"


def spreads(found: Mapping[str, Mapping[str, float]]) -> str:
    """How far the scores lie apart, and the error of one."""
    names = {"trained": "accuracies from scratch"}
    parts = [
        f"{names.get(way, f'scores with {way} statistics')} deviate by {one['deviation']:.2f} points "
        f"(standard error of one {one['standard_error']:.2f})"
        for way, one in found.items()
    ]
    deviation = found.get("trained", {}).get("seed_deviation")
    if deviation is not None:
        parts.append(f"accuracies of one scheme deviate by {deviation:.2f} points between seeds")
    return sentence("; ".join(parts))
