"""Table 1: accuracy, parameters and time increment of Org, Org-full, Share-full and EAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.report.elements import GAP, Element, Gap, Section, Table
from ean_core.report.formatting import counted, interval, mean, number, percent, seeds, sentence
from ean_core.report.results import Record, Results
from ean_core.report.titles import DATA, arch_title, record_title
from ean_core.report.typed_rows import RunSettings, TimedRow, TrainedRow, timed_rows, trained_rows, unlike_trainings
from ean_core.report.verdicts import verdicts
from ean_core.utils.text import attention_label, how_many

KINDS = ("pipeline",)
COLUMNS = {("cifar100", "resnet164"): "cifar100_resnet164", ("imagenet", "resnet50"): "imagenet_resnet50"}
"""(data, architecture) of the paper's set-ups -> their key in paper.json."""
OF_DATA = {data: column for (data, _), column in COLUMNS.items()}
OF_ARCH = {arch: column for (_, arch), column in COLUMNS.items()}
SETUPS = {
    "cifar100_resnet164": "ResNet-164, 50,000 training images, 164 epochs, V100",
    "imagenet_resnet50": "ResNet-50, 1.28 million training images, 120 epochs, V100",
}
LAST_EPOCH = "Ours is the last epoch's accuracy; what such code publishes is the best test epoch's."
"""Beside every table that has both: the released code keeps the best epoch by its test accuracy, and prints that."""
EPOCHS = {"cifar100_resnet164": 164, "imagenet_resnet50": 120}
KEYS = {"Org": "org", "Org-full": "org_full", "Share-full": "share_full", "EAN": "ean"}

Network = tuple[str, str]
"""A label and an attention: ("EAN", "se"); ("Org", "")."""


def section(results: Results) -> Section:
    """The paper's two set-ups with what was measured of them, then every other run of the pipeline."""
    elements: list[Element] = []
    for (data, arch), column in COLUMNS.items():
        elements += [full_table(results, data, arch, column), *gaps(results, data, arch)]
    elements += [run_table(record, results.paper) for record in results.of_kind(*KINDS)]
    return Section(
        "table-1",
        "Table 1: accuracy, parameters and time increment",
        elements,
        "Org has no attention, Org-full a module per block, Share-full one module per stage, EAN the same module at "
        "the blocks that the search chose.",
    )


# -- the paper's set-ups ----------------------------------------------------------------------------------------------


def full_table(results: Results, data: str, arch: str, column: str) -> Table:
    """All rows of the paper's half of Table 1, with gaps where nothing was measured in its set-up."""
    trained, timed = runs_in_setup(results, data, arch), times_of(results, arch)
    trained_by_network, timed_by_network = rows_by_network(trained), timings_by_network(timed)
    rows = []
    for network in paper_networks(column, results.paper):
        run, times = trained_by_network.get(network), timed_by_network.get(network)
        parameters = next((row.parameters for row in (run, times) if row is not None), None)
        ours = [mean(run.top1) if run else GAP, counted(parameters), increment_cell(run, times)]
        rows.append([network_title(*network), *ours, *paper_cells(*network, column, results.paper)])
    notes = tuple(
        f"Ours, {what}: {record.machine} (`{record.title}`)."
        for what, records in (("trained", trained), ("timed (eager)", timed))
        for record in records
    )
    notes += tuple(filter(None, map(best_epochs, trained)))
    return Table(
        f"{DATA[data]}, {arch_title(arch)}, the paper's set-up",
        ("network", "top-1, %", "parameters", "increment, %", "top-1, %", "parameters", "increment, %"),
        rows,
        groups=(("", 1), ("ours", 3), ("paper", 3)),
        notes=(f"Paper: {SETUPS[column]}.{f' {LAST_EPOCH}' if trained else ''}", *notes),
        records=tuple(record.name for record in (*trained, *timed)),
    )


def gaps(results: Results, data: str, arch: str) -> list[Element]:
    """What has no record in one of the paper's set-ups."""
    elements: list[Element] = []
    recipe = {"cifar100": "ean_se_r164_cifar100", "imagenet": "ean_se_r50_imagenet"}[data]
    if not runs_in_setup(results, data, arch):
        command = f"python tools/search.py classification/configs/{recipe}.py --resume"
        elements.append(Gap(f"accuracy on {DATA[data]}, {arch_title(arch)}", command))
    if not times_of(results, arch):
        scheme = {"cifar100": "paper_ean_a_se_resnet164", "imagenet": "paper_ean_se_resnet50"}[data]
        command = f"python tools/benchmark.py --arch {arch} --attention se --scheme {scheme}"
        elements.append(Gap(f"time increment of {arch_title(arch)}", command))
    return elements


def runs_in_setup(results: Results, data: str, arch: str) -> list[Record]:
    """Runs of the pipeline on the paper's data, with its network and its number of epochs."""
    records = [record for record in results.of_kind(*KINDS) if record.settings["data"]["name"] == data]
    return [record for record in records if is_papers_setup(record, arch)]


def is_papers_setup(record: Record, arch: str) -> bool:
    """Whether a run has this network, all training images of its data, and at least the paper's number of epochs."""
    run = RunSettings.of(record)
    return run.arch == arch and run.all_images and run.epochs >= EPOCHS[OF_ARCH[arch]]


def times_of(results: Results, arch: str) -> list[Record]:
    """The record of this network's times, in a list; of several the one on a GPU, then the one with most networks."""
    records = [record for record in results.of_kind("benchmark") if record.settings.get("arch") == arch]
    records = [record for record in records if not record.settings.get("counter")]  # a part of a larger network there
    records.sort(key=lambda record: (record.content["environment"]["device_type"] == "cuda", len(record.metrics)))
    return records[-1:]


def rows_by_network(records: list[Record]) -> dict[Network, TrainedRow]:
    """The trained networks of several records; of two of a kind the later record's."""
    rows = {}
    for record in records:
        attention = RunSettings.of(record).attention
        for row in trained_rows(record):
            rows[row.network, "" if row.is_org else attention] = row
    return rows


def timings_by_network(records: list[Record]) -> dict[Network, TimedRow]:
    """The timed networks of several records; of two of a kind the later record's."""
    rows = {}
    for record in records:
        for row in timed_rows(record):
            label, _, attention = row.network.partition(" ")
            rows[label, attention] = row
    return rows


def paper_networks(column: str, paper: Mapping[str, Any]) -> list[Network]:
    """The rows of the paper's table: ("Org", ""), ("Org-full", "se"), .. ("EAN", "dia")."""
    accuracy = paper["table1_accuracy_percent"][column]
    rows = [("Org", "")]
    for attention, networks in accuracy.items():
        if attention != "org":
            rows += [(network, attention) for network, key in KEYS.items() if key in networks]
    return rows


def network_title(network: str, attention: str) -> str:
    """A network as tables name it: "EAN SE"."""
    return f"{network} {attention_label(attention)}".strip()


def increment_cell(run: TrainedRow | None, times: TimedRow | None) -> str:
    """The increment that the benchmark measured eagerly, if it was of the run's scheme, else the run's own."""
    if times is not None and "eager" in times.timings and (run is None or times.scheme in (None, run.scheme)):
        return percent(times.timings["eager"].increment)
    return GAP if run is None else run_increment_cell(run)


def run_increment_cell(row: TrainedRow) -> str:
    """The increment that a run measured at its end, in percent."""
    return "0" if row.is_org else interval(row.time_increment)


# -- a run ------------------------------------------------------------------------------------------------------------


def run_table(record: Record, paper: Mapping[str, Any]) -> Table:
    """Test accuracy, parameters, connections and time increment of a run, beside Table 1's row of the same kind."""
    run = RunSettings.of(record)
    column = OF_DATA.get(run.data)
    rows = []
    for row in trained_rows(record):
        connections = f"{row.connections}/{row.blocks}"
        cells = [row.network, mean(row.top1), counted(row.parameters), connections, run_increment_cell(row)]
        rows.append(cells + (paper_cells(row.network, run.attention, column, paper) if column else []))
    heads = ("network", "test top-1, %", "parameters", "connections", "time increment, %")
    theirs = ("top-1", "parameters", "increment") if column else ()
    return Table(
        record_title(record),
        heads + theirs,
        rows,
        groups=(("", 5), ("paper", 3)) if column else (),
        notes=(*run_notes(record), *filter(None, [unlike_trainings(record)])),
        records=(record.name,),
    )


def paper_cells(network: str, attention: str, column: str, paper: Mapping[str, Any]) -> list[str]:
    """Accuracy, parameters and increment that Table 1 gives for a network; gaps where it gives none."""
    key = KEYS.get(network, "")
    accuracy = paper["table1_accuracy_percent"][column]
    millions = paper_millions(network, attention, column, paper)
    increments = paper["table1_time_increment_percent"][column]
    if key == "org":
        return [f"{accuracy['org']:.2f}", f"{millions} M", "0"]
    return [
        number(accuracy.get(attention, {}).get(key)),
        GAP if millions is None else f"{millions} M",
        number(increments.get(attention, {}).get(key)),
    ]


def paper_millions(network: str, attention: str, column: str, paper: Mapping[str, Any]) -> float | None:
    """Millions of parameters that Table 1 gives for a network, if it does; a scheme does not change Share-full's."""
    key = KEYS.get(network, "")
    name = key if key == "org" else f"{attention}_{'share_full' if key == 'ean' else key}"
    return paper["table1_parameters_million"][column].get(name)


def best_epochs(record: Record) -> str:
    """A sentence with the best test epochs' accuracies, where a run has them; "" where it has none."""
    rows = [row for row in trained_rows(record) if row.best_epoch_top1 is not None]
    accuracies = "; ".join(f"{row.network} {mean(row.best_epoch_top1)}" for row in rows)
    return f"Best test epoch, for comparison with published figures only: {accuracies} %." if accuracies else ""


def run_notes(record: Record) -> tuple[str, ...]:
    """What was run, and how it differs from the paper's set-up."""
    run, timing = RunSettings.of(record), record.settings["timing"]
    rows = trained_rows(record)
    schemes = [f"{row.network} `{row.scheme}`" for row in rows if row.network.startswith("EAN")]
    ours = (
        f"Ours, recipe `{run.name}`: {run.arch}, {attention_label(run.attention)}, {DATA.get(run.data, run.data)}, "
        f"{run.train:,} training and {run.test:,} test images, {how_many(run.epochs, 'epoch')}, "
        f"{seeds(max(row.top1.n or 1 for row in rows))}; {'; '.join(schemes) or 'no scheme'}; "
        f"time increment: batch {timing['batch_size']}, {timing['setting']}, 95 % interval; {record.machine}."
    )
    column, best = OF_DATA.get(run.data), best_epochs(record)
    notes = [ours, best] if best else [ours]
    if column is not None:
        same = is_papers_setup(record, column.split("_")[1])
        caution = "" if same else ": another set-up, so compare rows, not columns"
        notes.append(f"Paper: {SETUPS[column]}{caution}. {LAST_EPOCH}")
    return (*notes, *map(sentence, verdicts(record)))
