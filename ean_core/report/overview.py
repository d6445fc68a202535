"""The README's one table: Org, Share-full and EAN beside the paper, task by task, with the command behind each row.

It takes three networks and one figure of each task; the tables of the other modules have all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ean_core.inference.count_errors import by_part
from ean_core.report import table1, table3, table5, titles
from ean_core.report.elements import GAP, Element, Numbered, Section, Table, Text
from ean_core.report.formatting import counted, mean, percent, recorded_mean
from ean_core.report.results import Record, Results
from ean_core.report.typed_rows import RunSettings, timed_rows, trained_rows
from ean_core.utils.text import attention_label, how_many

NETWORKS = ("Org", "Share-full", "EAN")
ATTENTION = "se"
"""The attention that is shown where a record has several."""
NOTE = (
    "Ours: mean ± standard deviation over seeds; time increments with their 95 % interval. The paper's times: batch 50 "
    "on a V100. What each row is, and the command that makes it:"
)
IMAGENET = "imagenet"
COUNTER_RECIPES = {
    "resnet29": "crowd_counting/configs/shanghaitech_a_r29.py",
    "timm:tf_efficientnet_lite0": "crowd_counting/configs/shanghaitech_a_lite0.py",
}


@dataclass(frozen=True)
class Figures:
    """A row of the table.

    Attributes:
        title: what is measured, with the unit and an arrow to the better side.
        ours, paper: a cell for each of `NETWORKS`, `GAP` where there is none.
    """

    title: str
    ours: Sequence[str]
    paper: Sequence[str]


@dataclass(frozen=True)
class Measurement:
    """Rows that one command makes.

    Attributes:
        rows: that belong to it.
        setup: what was run, a sentence without its end.
        command: what makes the rows.
        records: file names.
    """

    rows: tuple[Figures, ...]
    setup: str
    command: str
    records: tuple[str, ...]


def section(results: Results) -> Section:
    """The table and its commands."""
    return Section("overview", "At a glance: Org, Share-full and EAN, task by task", summary(results))


def summary(results: Results) -> list[Element]:
    """The table, and what was run for each of its numbers; nothing without records."""
    found = [*classification(results), *times(results), *counting(results), *segmentation(results)]
    if not found:
        return []
    rows = [[f"{n}. {row.title}", *row.ours, *row.paper] for n, each in enumerate(found, 1) for row in each.rows]
    texts = tuple(Text(f"{each.setup}: `{each.command}`", records=each.records) for each in found)
    groups = (("", 1), ("ours", 3), ("paper", 3))
    return [Table("", ("what", *NETWORKS, *NETWORKS), rows, groups, notes=(NOTE,)), Numbered(texts)]


def classification(results: Results) -> Iterator[Measurement]:
    """Of each data set of the paper the run with the most training images, then with the most epochs."""
    for data, column in table1.OF_DATA.items():
        records = [record for record in results.of_kind(*table1.KINDS) if record.settings["data"]["name"] == data]
        if not records:
            continue
        record = max(records, key=lambda each: (RunSettings.of(each).train, RunSettings.of(each).epochs))
        run, rows = RunSettings.of(record), {row.network: row for row in trained_rows(record)}
        n = max(row.top1.n or 1 for row in rows.values())
        same = table1.is_papers_setup(record, column.rpartition("_")[2])
        figures = Figures(
            f"{titles.DATA[data]}, test top-1, % ↑",
            [mean(rows[name].top1) if name in rows else GAP for name in NETWORKS],
            [table1.paper_cells(name, run.attention, column, results.paper)[0] for name in NETWORKS],
        )
        setup = (
            f"{titles.arch_title(run.arch)} with {attention_label(run.attention)}, {run.train:,} training images, "
            f"{how_many(run.epochs, 'epoch')}, {how_many(n, 'seed')}"
            f"{'' if same else f' (paper: {table1.SETUPS[column]})'}"
        )
        command = f"python tools/search.py classification/configs/{run.name}.py"
        yield Measurement((figures,), setup, command, (record.name,))


def times(results: Results) -> Iterator[Measurement]:
    """Parameters and time increment of the paper's two networks."""
    for arch, column in table1.OF_ARCH.items():
        for record in table1.times_of(results, arch):
            settings, rows = record.settings, {row.network: row for row in timed_rows(record)}
            timed = [rows.get(name) for name in ("Org", *(f"{name} {ATTENTION}" for name in NETWORKS[1:]))]
            paper = [table1.paper_cells(name, ATTENTION, column, results.paper) for name in NETWORKS]
            title = titles.arch_title(arch)
            sizes = Figures(
                f"{title}, parameters",
                [counted(row.parameters) if row else GAP for row in timed],
                [cells[1] for cells in paper],
            )
            increments = Figures(
                f"{title}, time increment, % ↓",
                [percent(row.timings["eager"].increment) if row and "eager" in row.timings else GAP for row in timed],
                [cells[2] for cells in paper],
            )
            setup = (
                f"{attention_label(ATTENTION)}, the paper's scheme, batch {settings['batch_size']}, "
                f"{how_many(settings['threads'], 'thread')}, {record.machine.split(',')[0].replace('(R)', '')}"
            )
            yield Measurement((sizes, increments), setup, benchmark_command(settings), (record.name,))


def benchmark_command(settings: Mapping[str, Any]) -> str:
    """What wrote a record of classifiers' times."""
    schemes = [PurePath(scheme).stem for scheme in settings.get("scheme") or ()]  # files have names of their own
    options = [f"--arch {settings['arch']}"]
    for key in ("attention", "scheme", "batch_size", "rounds", "threads"):
        if value := schemes if key == "scheme" else settings.get(key):
            options.append(f"--{key.replace('_', '-')} {' '.join(value) if isinstance(value, list) else value}")
    return f"python tools/benchmark.py {' '.join(options)}"


def counting(results: Results) -> Iterator[Measurement]:
    """The error of each set-up on ShanghaiTech, by the checkpoint that validation chose."""
    for group in table3.grouped(results.of_kind(*table3.KINDS)):
        by_network = {table3.network_of(record.settings["model"]): record for record in group}
        chosen = [by_network.get((name, "" if name == "Org" else ATTENTION)) for name in NETWORKS]
        shown, settings = [record for record in chosen if record], group[0].settings
        parts, images = settings["data"]["name"].split("+"), settings["data"]["images"]
        if not set(parts) <= set(table3.PARTS) or not shown:
            continue
        figures = tuple(counting_errors(chosen, part, results.paper) for part in parts)
        setup = (
            f"{titles.arch_title(settings['model']['arch'])} "
            f"{start_of(settings)}, {images['train']} training and {images['test']} test images, "
            f"{how_many(len(settings['seeds']), 'seed')}"
            f"{'; Org without `--attention` and `--scheme`, Share-full without `--scheme`' if len(shown) > 1 else ''}"
        )
        yield Measurement(figures, setup, counting_command(shown[-1]), tuple(record.name for record in shown))


def counting_errors(chosen: Sequence[Record | None], part: str, paper: Mapping[str, Any]) -> Figures:
    """The errors of `NETWORKS` on a part; the paper trains on one part at a time."""
    errors = [by_part(record.metrics["best"]) if record else {} for record in chosen]
    alone = any("" in found for found in errors)
    note = str(next(record for record in chosen if record).content.get("data_note", "")).lower()
    partial = ("partial" if alone else f"{part.lower()}: partial") in note
    published = [table3.paper_cells(paper, table3.PARTS[part], name, ATTENTION)[0] for name in NETWORKS]
    return Figures(
        f"{titles.PARTS[part]}{', partial copy' if partial else ''}, MAE ↓",
        [recorded_mean(found["" if alone else part]["mae"], 1) if found else GAP for found in errors],
        published if alone and not partial else [GAP for _ in NETWORKS],
    )


def counting_command(record: Record) -> str:
    """The command that trained a counter."""
    settings, model = record.settings, record.settings["model"]
    parts = settings["data"]["name"].replace("part_", "").split("+")
    options = [COUNTER_RECIPES.get(model["arch"], ""), f"--part {' '.join(parts)}"]
    options += [f"--attention {model['attention']}"] if model.get("attention") else []
    options += [f"--scheme {model['scheme']}"] if model.get("scheme") else []
    options += ["--weights CLASSIFIER.pth"] if settings["weights"] != IMAGENET else []
    options += ["--empty FOLDER"] if settings["data"].get("empty") else []
    options += [f"--epochs {settings['train']['epochs']}", "--seeds", *map(str, settings["seeds"])]
    return " ".join(["python crowd_counting/train.py", *filter(None, options)])


def start_of(settings: Mapping[str, Any]) -> str:
    """The weights that a counter started from."""
    if settings["weights"] == IMAGENET:
        return "from ImageNet weights"
    return "from a classifier of ours" if settings["weights"] else "from random weights"


def segmentation(results: Results) -> Iterator[Measurement]:
    """The mean IoU with pretrained backbones, beside the paper's only where the images are its own."""
    labels = ["Org", *(f"{name}-{attention_label(ATTENTION)}" for name in NETWORKS[1:])]
    for record in results.of_kind("segmentation"):
        rows = {row["network"]: row for row in record.metrics if row["pretrained"]}
        if len(rows) < 2:  # a single network compares nothing
            continue
        settings, of_voc = record.settings, table5.of_voc(record)
        figures = Figures(
            f"{settings['title']}, mIoU, % ↑",
            [recorded_mean(rows[label]["mIoU"]) if label in rows else GAP for label in labels],
            [table5.paper_cells(label, results.paper)[0] if of_voc else GAP for label in labels],
        )
        data, n = settings["data"], max(len(row["seeds"]) for row in rows.values())
        setup = (
            f"{settings['head']} over {titles.arch_title(settings['arch'])} from a classifier of ours, "
            f"{data['train']['images']:,} training and {data['val']['images']:,} validation images, "
            f"{how_many(n, 'seed')}; Org: `org_voc_small.py`, Share-full: `share_full_se_voc_small.py`"
        )
        command = "python tools/train.py segmentation/configs/ean_se_voc_small.py --amp --weights CLASSIFIER.pth"
        yield Measurement((figures,), setup, command, (record.name,))
