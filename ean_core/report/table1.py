"""Table 1: accuracy, parameters and time increment of Org, Org-full, Share-full and EAN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.report.blocks import GAP, Block, Gap, Section, Table
from ean_core.report.book import Book, Entry
from ean_core.report.cells import counted, interval, number, percent, seeds, spread
from ean_core.utils.text import attention_label

KINDS = ("pipeline",)
COLUMNS = {("cifar100", "resnet164"): "cifar100_resnet164", ("imagenet", "resnet50"): "imagenet_resnet50"}
"""The paper's set-ups, by data and architecture."""
OF_DATA = {data: column for (data, _), column in COLUMNS.items()}
OF_ARCH = {arch: column for (_, arch), column in COLUMNS.items()}
SETUPS = {
    "cifar100_resnet164": "ResNet-164, 50,000 training images, 164 epochs, V100",
    "imagenet_resnet50": "ResNet-50, 1.28 million training images, 120 epochs, V100",
}
LAST_EPOCH = "Ours is the last epoch's accuracy; what such code publishes is the best test epoch's."
"""Beside every table that has both: the released code keeps the best epoch by its test accuracy, and prints that."""
EPOCHS = {"cifar100_resnet164": 164, "imagenet_resnet50": 120}
NAMES = {"cifar100": "CIFAR-100", "imagenet": "ImageNet", "digits": "scikit-learn's digits", "folder": "own images"}
KEYS = {"Org": "org", "Org-full": "org_full", "Share-full": "share_full", "EAN": "ean"}


def section(book: Book) -> Section:
    """The paper's two set-ups with what was measured of them, then every other run of the pipeline."""
    blocks: list[Block] = []
    for (data, arch), column in COLUMNS.items():
        blocks += [full_table(book, data, arch, column), *missing(book, data, arch)]
    blocks += [run_table(entry, book.paper) for entry in book.of(*KINDS)]
    return Section(
        "table-1",
        "Table 1: accuracy, parameters and time increment",
        blocks,
        "Org has no attention, Org-full a module per block, Share-full one module per stage, EAN the same module at "
        "the blocks that the search chose.",
    )


def summary(book: Book) -> list[Block]:
    """One short table of the runs on data that the paper uses too."""
    entries = [entry for entry in book.of(*KINDS) if entry.settings["data"]["name"] in OF_DATA]
    return [run_table(entry, book.paper) for entry in entries]


# -- the paper's set-ups ----------------------------------------------------------------------------------------------


def full_table(book: Book, data: str, arch: str, column: str) -> Table:
    """All rows of the paper's half of Table 1, with gaps where nothing was measured in its set-up."""
    trained, timed = in_setup(book, data, arch), times_of(book, arch)
    runs, clocks = rows_of(trained), clock_rows(timed)
    rows = []
    for network, attention in paper_rows(column, book.paper):
        run, clock = runs.get((network, attention)), clocks.get((network, attention))
        ours = [spread_or_gap(run), counted(known(run, clock, "parameters")), increment(run, clock)]
        rows.append([title(network, attention), *ours, *paper_cells(network, attention, column, book.paper)])
    notes = tuple(
        f"Ours, {what}: {entry.machine} (`{entry.title}`)."
        for what, entries in (("trained", trained), ("timed (eager)", timed))
        for entry in entries
    )
    notes += tuple(best_epochs(entry) for entry in trained if best_epochs(entry))
    return Table(
        f"{NAMES[data]}, {written(arch)}, the paper's set-up",
        ("network", "top-1, %", "parameters", "increment, %", "top-1, %", "parameters", "increment, %"),
        rows,
        groups=(("", 1), ("ours", 3), ("paper", 3)),
        notes=(f"Paper: {SETUPS[column]}.{f' {LAST_EPOCH}' if trained else ''}", *notes),
        records=tuple(entry.name for entry in (*trained, *timed)),
    )


def missing(book: Book, data: str, arch: str) -> list[Block]:
    """What of the set-up has no record."""
    found: list[Block] = []
    recipe = {"cifar100": "ean_se_r164_cifar100", "imagenet": "ean_se_r50_imagenet"}[data]
    if not in_setup(book, data, arch):
        found.append(
            Gap(
                f"accuracy on {NAMES[data]}, {written(arch)}",
                f"python tools/search.py classification/configs/{recipe}.py --resume",
            )
        )
    if not times_of(book, arch):
        scheme = {"cifar100": "paper_ean_a_se_resnet164", "imagenet": "paper_ean_se_resnet50"}[data]
        command = f"python tools/benchmark.py --arch {arch} --attention se --scheme schemes/{scheme}.json"
        found.append(Gap(f"time increment of {written(arch)}", command))
    return found


def in_setup(book: Book, data: str, arch: str) -> list[Entry]:
    """Runs of the pipeline on the paper's data, with its network and its number of epochs."""
    return [entry for entry in book.of(*KINDS) if entry.settings["data"]["name"] == data and as_paper(entry, arch)]


def as_paper(entry: Entry, arch: str) -> bool:
    """Whether a run has this network, all training images of its data, and as many epochs as the paper."""
    recipe = entry.settings["recipe"]
    whole = recipe.get("data", {}).get("train_per_class") is None
    return recipe["model"]["arch"] == arch and whole and recipe["train"]["epochs"] >= EPOCHS[OF_ARCH[arch]]


def times_of(book: Book, arch: str) -> list[Entry]:
    """The record of this network's times, in a list; of several the one on a GPU, then the one with most networks."""
    found = [entry for entry in book.of("benchmark") if entry.settings.get("arch") == arch]
    found = [entry for entry in found if not entry.settings.get("counter")]  # the same network inside a larger one
    found.sort(key=lambda entry: (entry.content["environment"]["device_type"] == "cuda", len(entry.metrics)))
    return found[-1:]


def rows_of(entries: list[Entry]) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of runs by network and attention."""
    found = {}
    for entry in entries:
        attention = entry.settings["recipe"]["model"]["attention"]
        for row in entry.metrics:
            found[row["network"], "" if row["network"] == "Org" else attention] = row
    return found


def clock_rows(entries: list[Entry]) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of benchmarks by network and attention."""
    found = {}
    for entry in entries:
        for row in entry.metrics:
            network, _, attention = row["network"].partition(" ")
            found[network, attention] = row
    return found


def paper_rows(column: str, paper: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Networks of the paper's table: ("Org", ""), ("Org-full", "se"), .. ("EAN", "dia")."""
    accuracy = paper["table1_accuracy_percent"][column]
    rows = [("Org", "")]
    for attention, networks in accuracy.items():
        if attention != "org":
            rows += [(network, attention) for network, key in KEYS.items() if key in networks]
    return rows


def written(arch: str) -> str:
    """`ResNet-164` of `resnet164`."""
    return arch.replace("resnet", "ResNet-")


def title(network: str, attention: str) -> str:
    """`EAN SE`."""
    return f"{network} {attention_label(attention)}".strip()


def known(run: Mapping[str, Any] | None, clock: Mapping[str, Any] | None, field: str) -> Any:
    """A field of either row."""
    return next((row[field] for row in (run, clock) if row is not None), None)


def spread_or_gap(row: Mapping[str, Any] | None) -> str:
    """A row's accuracy."""
    return GAP if row is None else spread(row["top1"])


def increment(run: Mapping[str, Any] | None, clock: Mapping[str, Any] | None) -> str:
    """The increment that the benchmark measured eagerly, if of the run's scheme, else the run's own."""
    eager = (clock or {}).get("timings", {}).get("eager")
    if eager is not None and (run is None or clock.get("scheme", run["scheme"]) == run["scheme"]):
        return percent(eager["increment"])
    return GAP if run is None else "0" if run["network"] == "Org" else interval(run["time_increment"])


# -- a run ------------------------------------------------------------------------------------------------------------


def run_table(entry: Entry, paper: Mapping[str, Any]) -> Table:
    """Test accuracy, parameters, connections and time increment of a run, beside Table 1's row of the same kind."""
    settings = entry.settings
    recipe, column = settings["recipe"], OF_DATA.get(settings["data"]["name"])
    rows = []
    for row in entry.metrics:
        cells = [
            row["network"],
            spread(row["top1"]),
            counted(row["parameters"]),
            f"{row['connections']}/{row['blocks']}",
            "0" if row["network"] == "Org" else interval(row["time_increment"]),
        ]
        rows.append(
            cells + (paper_cells(row["network"], recipe["model"]["attention"], column, paper) if column else [])
        )
    heads = ("network", "test top-1, %", "parameters", "connections", "time increment, %")
    theirs = ("top-1", "parameters", "increment") if column else ()
    return Table(
        recipe["name"],
        heads + theirs,
        rows,
        groups=(("", 5), ("paper", 3)) if column else (),
        notes=run_setup(entry),
        records=(entry.name,),
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


def best_epochs(entry: Entry) -> str:
    """A sentence with the best test epochs' accuracies, where a run has them; empty where it has none."""
    found = [f"{row['network']} {spread(row['best_epoch_top1'])}" for row in entry.metrics if "best_epoch_top1" in row]
    return f"Best test epoch, for comparison with published figures only: {'; '.join(found)} %." if found else ""


def run_setup(entry: Entry) -> tuple[str, ...]:
    """What was run, and how it differs from the paper."""
    settings = entry.settings
    recipe, images, data = settings["recipe"], settings["images"], settings["data"]["name"]
    n = max(row["top1"]["n"] for row in entry.metrics)
    schemes = [f"{row['network']} `{row['scheme']}`" for row in entry.metrics if row["network"].startswith("EAN")]
    ours = (
        f"Ours: {recipe['model']['arch']}, {attention_label(recipe['model']['attention'])}, {NAMES.get(data, data)}, "
        f"{images['train']:,} training and {images['test']:,} test images, {recipe['train']['epochs']} epochs, "
        f"{seeds(n)}; {'; '.join(schemes) or 'no scheme'}; "
        f"time increment: batch {settings['timing']['batch_size']}, {settings['timing']['setting']}, "
        f"95 % interval; {entry.machine}."
    )
    column, best = OF_DATA.get(data), best_epochs(entry)
    lines = [ours, best] if best else [ours]
    if column is not None:
        other = "" if as_paper(entry, column.split("_")[1]) else ": another set-up, so compare rows, not columns"
        lines.append(f"Paper: {SETUPS[column]}{other}. {LAST_EPOCH}")
    return tuple(lines)
