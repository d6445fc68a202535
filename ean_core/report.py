"""The README's tables, made from the records under results/ and the paper's published figures."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ean_core.errors import EANError
from ean_core.results import read_record

BEGIN, END = "<!-- report: begin -->", "<!-- report: end -->"
GAP = "–"

Record = dict[str, Any]


def report(directory: Path) -> str:
    """All tables as Markdown.

    Args:
        directory: holds the records and paper.json.

    Raises:
        EANError: if the directory is missing or a record cannot be read.
    """
    if not directory.is_dir():
        raise EANError(f"{directory} is not a directory: give --results the directory that holds the records")
    paper = read_paper(directory / "paper.json")
    records = {path.name: read_record(path) for path in sorted(directory.glob("*.json")) if path.name != "paper.json"}
    parts = [pipeline_table(name, one, paper) for name, one in records.items() if one["kind"] == "pipeline"]
    parts += [benchmark_table(name, one, paper) for name, one in records.items() if one["kind"] == "benchmark"]
    parts += [landscape_table(name, one) for name, one in records.items() if one["kind"] == "search-benchmark"]
    parts += [batch_norm_line(name, one) for name, one in records.items() if one["kind"] == "batch-norm"]
    return "\n\n".join(parts) if parts else f"No records in {directory.name}/ yet."


def read_paper(path: Path) -> Record:
    """The paper's figures."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise EANError(f"{path} cannot be read ({error}): take it from the repository") from None


def replace_report(path: Path, text: str) -> tuple[str, str]:
    """A file's content, and the same with `text` between its marks.

    Raises:
        EANError: if the file has no marks.
    """
    if not path.is_file():
        raise EANError(f"{path} does not exist: give a file with the lines {BEGIN} and {END}")
    old = path.read_text(encoding="utf-8")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise EANError(f"{path} has no lines {BEGIN} and {END} between which the tables could go")
    return old, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


# -- supernet, search and retraining ----------------------------------------------------------------------------------

PAPER_COLUMN = {"cifar100": "cifar100_resnet164", "imagenet": "imagenet_resnet50"}
PAPER_ARCH = {"cifar100": "ResNet-164, 50,000 training images, 164 epochs", "imagenet": "ResNet-50, 120 epochs"}


def pipeline_table(name: str, record: Record, paper: Record) -> str:
    """Test accuracy, parameters, connections and time increment of a run, beside Table 1's row of the same kind."""
    settings = record["settings"]
    recipe, data = settings["recipe"], settings["data"]["name"]
    column = PAPER_COLUMN.get(data)
    lines = [f"**{recipe['name']}** ([record](results/{name}))", ""]
    heads = ["network", "test top-1, %", "parameters", "connections", "time increment, %"]
    heads += ["paper: top-1", "paper: parameters", "paper: increment"] if column else []
    lines += table_head(heads)
    for row in record["metrics"]:
        cells = [
            row["network"],
            spread(row["top1"]),
            f"{row['parameters']:,}",
            f"{row['connections']}/{row['blocks']}",
            interval(row["time_increment"]) if row["network"] != "Org" else "0",
        ]
        if column:
            cells += paper_cells(row["network"], recipe["model"]["attention"], column, paper)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", pipeline_setup(record)])


def paper_cells(network: str, attention: str, column: str, paper: Record) -> list[str]:
    """Accuracy, parameters and increment that Table 1 gives for a network; gaps where it gives none."""
    key = {"Org": "org", "Org-full": "org_full", "Share-full": "share_full", "EAN": "ean"}.get(network, "")
    accuracy = paper["table1_accuracy_percent"][column]
    millions = paper["table1_parameters_million"][column]
    increments = paper["table1_time_increment_percent"][column]
    if key == "org":
        return [f"{accuracy['org']:.2f}", f"{millions['org']} M", "0"]
    counted = millions.get(f"{attention}_{'share_full' if key == 'ean' else key}")  # a scheme does not change the count
    return [
        number(accuracy.get(attention, {}).get(key)),
        GAP if counted is None else f"{counted} M",
        number(increments.get(attention, {}).get(key)),
    ]


def pipeline_setup(record: Record) -> str:
    """What was run, and how it differs from the paper."""
    settings = record["settings"]
    recipe, images = settings["recipe"], settings["images"]
    seeds = max(row["top1"]["n"] for row in record["metrics"])
    schemes = [f"{row['network']} {row['scheme']}" for row in record["metrics"] if row["network"].startswith("EAN")]
    ours = (
        f"Ours: {recipe['model']['arch']}, {recipe['model']['attention'].upper()}, {settings['data']['name']}, "
        f"{images['train']:,} training and {images['test']:,} test images, {recipe['train']['epochs']} epochs, "
        f"{seeds} training seed(s), mean ± standard deviation; "
        f"{'; '.join(schemes) or 'no scheme'}; time increment: batch {settings['timing']['batch_size']}, "
        f"{settings['timing']['setting']}, 95 % interval; {machine(record)}."
    )
    theirs = PAPER_ARCH.get(settings["data"]["name"])
    return ours + (f" Paper: {theirs}, V100: another set-up, so compare rows, not columns." if theirs else "")


# -- Eq. 9 ------------------------------------------------------------------------------------------------------------


def benchmark_table(name: str, record: Record, paper: Record) -> str:
    """Time increments in every setting that was measured, beside Table 1's."""
    settings, rows = record["settings"], record["metrics"]
    column = {"resnet164": "cifar100_resnet164", "resnet50": "imagenet_resnet50"}.get(settings["arch"])
    measured = list(rows[0]["timings"])
    lines = [f"**Time increment (Eq. 9), {settings['arch']}** ([record](results/{name}))", ""]
    heads = ["network", "connections", "parameters", "GFLOPs"]
    lines += table_head([*heads, *(f"{one}, %" for one in measured), *(["paper (V100), %"] if column else [])])
    for row in rows:
        label, _, attention = row["network"].partition(" ")
        cells = [
            row["network"],
            f"{row['connections']}/{row['blocks']}",
            f"{row['parameters']:,}",
            f"{row['multiply_adds'] / 1e9:.3f}",
            *(percent(row["timings"].get(one, {}).get("increment")) for one in measured),
        ]
        if column:
            cells.append("0" if label == "Org" else paper_cells(label, attention, column, paper)[2])
        lines.append("| " + " | ".join(cells) + " |")
    setup = (
        f"Batch {settings['batch_size']}, {settings['rounds']} rounds interleaved, median and 95 % bootstrap interval, "
        f"each column against Org in the same setting; {settings['threads']} thread(s), {machine(record)}."
    )
    return "\n".join([*lines, "", setup])


# -- searches on made-up rewards --------------------------------------------------------------------------------------


def landscape_table(name: str, record: Record) -> str:
    """Regret at the end of the budget, a row per method and answer, a column per landscape and size."""
    cells: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for row in record["metrics"]:
        column = f"{row['landscape']}, {row['bits']} blocks"
        columns[column] = None
        for answer in ("best", "most_probable"):
            if row.get(answer):
                mean, low, high = row[answer][-1]
                label = f"{row['method']}, {answer.replace('_', ' ')}"
                cells.setdefault(label, {})[column] = f"{mean:.2f} ({low:.2f} to {high:.2f})"
    lines = [f"**Searches on made-up rewards with a known best scheme** ([record](results/{name}))", ""]
    lines += table_head(["method, its answer", *columns])
    lines += [f"| {label} | " + " | ".join(row.get(one, GAP) for one in columns) + " |" for label, row in cells.items()]
    budgets = ", ".join(
        f"{size['evaluations']} for {bits} blocks" for bits, size in record["settings"]["sizes"].items()
    )
    setup = (
        f"Regret in points of reward (0 is the best scheme), mean and 95 % interval over {record['settings']['seeds']} "
        f"landscapes; different schemes scored: {budgets}. The answer is the scheme with the highest reward seen, or "
        f"the method's most probable one. {machine(record)}."
    )
    return "\n".join([*lines, "", setup])


# -- batch norm -------------------------------------------------------------------------------------------------------


def batch_norm_line(name: str, record: Record) -> str:
    """How the scores of paths spread with and without re-estimated statistics."""
    settings, metrics = record["settings"], record["metrics"]
    parts = []
    for way, accuracy in metrics["accuracy"].items():
        drawn = accuracy[2:]
        parts.append(
            f"{way} statistics: full {accuracy[0]:.2f} %, empty {accuracy[1]:.2f} %, {len(drawn)} random schemes "
            f"{min(drawn):.2f} to {max(drawn):.2f} % (mean {fmean(drawn):.2f}, deviation {stdev(drawn):.2f})"
        )
    return (
        f"**What a path's score is made of** ([record](results/{name})), supernet of {settings['recipe']['name']}, "
        f"{settings['validation_images']:,} validation images, standard error of one score "
        f"{metrics['standard_error']:.2f}: with {'; with '.join(parts)}. {machine(record)}."
    )


def machine(record: Record) -> str:
    """Device, version and commit of a record."""
    environment = record["environment"]
    return f"{environment['device']}, torch {environment['versions']['torch']}, commit {str(environment['commit'])[:8]}"


# -- cells ------------------------------------------------------------------------------------------------------------


def table_head(heads: list[str]) -> list[str]:
    """A Markdown table's first two lines: the first column to the left, the others to the right."""
    return ["| " + " | ".join(heads) + " |", "|:--|" + "--:|" * (len(heads) - 1)]


def number(value: float | None) -> str:
    """Two decimals, or a gap."""
    return GAP if value is None else f"{value:.2f}"


def spread(value: Record) -> str:
    """Mean, and the standard deviation where there are several values."""
    return f"{value['mean']:.2f}" + ("" if value["std"] is None else f" ± {value['std']:.2f}")


def interval(value: Record | None) -> str:
    """A percentage with its interval, or a gap."""
    return GAP if value is None else f"{value['value']:.1f} ({value['low']:.1f} to {value['high']:.1f})"


def percent(value: Record | None) -> str:
    """A fraction with its interval, in percent; 0 for the reference itself."""
    return "0" if value is None else interval({key: 100 * value[key] for key in ("value", "low", "high")})
