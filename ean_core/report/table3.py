"""Table 3: MAE and RMSE of crowd counting on ShanghaiTech."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ean_core.inference.count_errors import by_part
from ean_core.report import titles
from ean_core.report.elements import GAP, Element, Gap, Section, Table
from ean_core.report.formatting import counted, number, recorded_mean, seeds, sentence
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.utils.text import attention_label, how_many

KINDS = ("counting",)
PARTS = {"part_A": "SHHA", "part_B": "SHHB"}
RMSE = "RMSE (papers: MSE)"
"""The paper prints the root of the mean squared error as MSE; the paper's own column is called RMSE here too."""
CHECKPOINTS = {"best": "chosen on validation images", "final": "last epoch"}
ORDER = ("Org", "Org-full", "Share-full", "EAN")
COMMAND = "python crowd_counting/train.py --part A --attention se --weights CLASSIFIER.pth --seeds 0 1 2"


def section(results: Results) -> Section:
    """The paper's table, then a table for every set-up of ours, pictures last."""
    groups = grouped(results.of_kind(*KINDS))
    elements: list[Element] = [counting_table(group, results.paper, tuple(CHECKPOINTS)) for group in groups]
    tested = [record for record in results.of_kind(*KINDS) if not is_summary(record)]
    elements += [test_table(record) for record in tested]
    done = {group[0].settings["data"]["name"] for group in groups}
    elements += [
        Gap(f"counting on {titles.PARTS[part]}", COMMAND.replace("part A", part.replace("_", " ")))
        for part in PARTS
        if part not in done
    ]
    for record in results.of_kind(*KINDS):
        elements += pictures_of(record, "photographs with the predicted density over them, and the predicted count")
    return Section("table-3", "Table 3: crowd counting", [paper_table(results.paper), *elements])


def elements_of(results: Results, record: Record) -> list[Element]:
    """The tables and pictures of a single record."""
    if not is_summary(record):
        return [test_table(record), *pictures_of(record)]
    tables = [counting_table(group, results.paper, tuple(CHECKPOINTS)) for group in grouped([record])]
    return [*tables, *pictures_of(record)]


# -- which records stand in one table ---------------------------------------------------------------------------------


def is_summary(record: Record) -> bool:
    """Whether a record is of a training run over its seeds; others are tests of checkpoint files."""
    return "seeds" in record.settings and "always_the_mean" in record.metrics


def grouped(records: Iterable[Record]) -> list[list[Record]]:
    """Records of the same data and training, the network's attention aside, in the order of Table 3."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if is_summary(record):
            groups.setdefault(comparison_key(record.settings), []).append(record)
    return [sorted(group, key=order) for group in groups.values()]


def comparison_key(settings: Mapping[str, Any]) -> str:
    """Equal for records that may be compared: all settings but the attention, the seeds and the starting weights."""
    differing = ("attention", "attention_options", "sharing", "scheme")
    model = {key: value for key, value in settings["model"].items() if key not in differing}
    return json.dumps([settings["data"], settings["train"], model, settings["weights"] is None], sort_keys=True)


def order(record: Record) -> tuple[str, int]:
    """A sort key: by attention, then as the paper orders its networks."""
    label, attention = network_of(record.settings["model"])
    return ("" if label == "Org" else attention, ORDER.index(label))


def network_of(model: Mapping[str, Any]) -> tuple[str, str]:
    """A network's label and attention from a model's settings, such as ("EAN", "se"); ("Org", "") without attention."""
    attention, scheme = model.get("attention"), model.get("scheme")
    bits = set("".join(map(str, scheme))) & {"0", "1"} if scheme is not None else {"1"}
    if attention is None or bits == {"0"}:
        return "Org", ""
    if model.get("sharing") == "block":
        return "Org-full", attention
    return ("Share-full" if bits == {"1"} else "EAN"), attention


# -- tables -----------------------------------------------------------------------------------------------------------


def paper_table(paper: Mapping[str, Any]) -> Table:
    """The paper's Table 3, with its time increments."""
    published = paper["table3_crowd_counting_mae_rmse"]
    names = {"org_full": "Org-full", "share_full": "Share-full", "ean": "EAN"}
    rows = []
    for part in ("SHHB", "SHHA"):
        for attention, networks in published[part].items():
            for key, pair in networks.items():
                time = published["time_increment_percent"][part][attention].get(key)
                label = f"{part[-1]}, {names[key]} {attention_label(attention)}"
                rows.append([label, *map(str, pair), number(time)])
    heads = ("ShanghaiTech, network", "MAE", RMSE, "time increment, %")
    note = (
        "Root of the mean squared count error, which the paper prints as MSE. Backbones pretrained on ImageNet, V100."
    )
    return Table("The paper's figures", heads, rows, notes=(note,))


def counting_table(group: Sequence[Record], paper: Mapping[str, Any], checkpoints: Sequence[str]) -> Table:
    """Errors of the networks of one set-up, with the guess that they must beat and the paper's row."""
    rows, first = [], group[0]
    part = PARTS.get(first.settings["data"]["name"])
    for record in group:
        label, attention = network_of(record.settings["model"])
        for checkpoint in checkpoints:
            name = f"{label} {attention_label(attention)}".strip()
            name = name if checkpoint == checkpoints[0] else f"{name}, {CHECKPOINTS[checkpoint]}"
            beside = paper_cells(paper, part, label, attention, shown=checkpoint == checkpoints[0]) if part else ()
            for tested_on, metrics in by_part(record.metrics[checkpoint]).items():
                rows.append(
                    [
                        on_part(name, tested_on),
                        str(metrics["mae"]["n"]),
                        recorded_mean(metrics["mae"], 1),
                        recorded_mean(metrics["rmse"], 1),
                        recorded_mean(metrics.get("nae"), 3),
                        counted(record.metrics.get("parameters")),
                        *beside,
                    ]
                )
    for tested_on, errors in by_part(first.metrics["always_the_mean"]).items():
        guess = [number(errors.get(key), digits) for key, digits in ERRORS]
        rows.append([on_part("always the mean count", tested_on), GAP, *guess, GAP, *((GAP, GAP) if part else ())])
    heads = ("network", "seeds", "MAE", RMSE, "NAE", "parameters", *(("MAE", "RMSE") if part else ()))
    return Table(
        f"Crowd counting, {titles.crowd_title(first.settings['data']['name'])}",
        heads,
        rows,
        groups=(("", 6), ("paper", 2)) if part else (),
        notes=setup_notes(group),
        records=tuple(record.name for record in group),
    )


def on_part(name: str, part: str) -> str:
    """A row's name with the part that its errors are of, where a counter was tested on several."""
    return f"{name}, on {titles.crowd_title(part)}" if part else name


ERRORS = (("mae", 1), ("rmse", 1), ("nae", 3))
"""Metrics of a record, and the decimals that are shown."""


def paper_cells(
    paper: Mapping[str, Any], part: str, label: str, attention: str, *, shown: bool = True
) -> tuple[str, str]:
    """MAE and RMSE that Table 3 gives for a network; not shown twice where it has several rows."""
    if not shown:
        return ("", "")
    key = {"Org-full": "org_full", "Share-full": "share_full", "EAN": "ean"}.get(label, "")
    pair = paper["table3_crowd_counting_mae_rmse"][part].get(attention, {}).get(key)
    return (GAP, GAP) if pair is None else (str(pair[0]), str(pair[1]))


def setup_notes(group: Sequence[Record]) -> tuple[str, ...]:
    """Data, training, schemes and machine of a table."""
    settings = group[0].settings
    images, train, model = settings["data"]["images"], settings["train"], settings["model"]
    schemes = dict.fromkeys(
        f"EAN `{record.settings['model']['scheme']}`"
        for record in group
        if network_of(record.settings["model"])[0] == "EAN"
    )
    crop, n = settings["data"].get("crop"), max(len(record.settings["seeds"]) for record in group)
    lines = [
        f"Ours: {model['arch']}, {images['train']} training, {images['val']} validation and {images['test']} test "
        f"images, {f'crops of {crop} pixels' if crop else 'whole images'}, {how_many(train['epochs'], 'epoch')} of "
        f"batches of {train['batch_size']}, loss {train['loss']}, batch norm {train['batch_norm']}, "
        f"{'from weights of a classifier' if settings['weights'] else 'from random weights'}; "
        f"{seeds(n)}; checkpoint chosen on the validation images; "
        f"{'; '.join([*schemes, *dict.fromkeys(record.machine for record in group)])}."
    ]
    if note := group[0].content.get("data_note"):
        lines.append(sentence(note))
    if settings["data"]["name"] in PARTS:
        lines.append("Paper: backbones pretrained on ImageNet: another set-up, so compare rows, not columns.")
    return tuple(lines)


def test_table(record: Record) -> Table:
    """A test of checkpoint files, or one seed's result."""
    rows = []
    for name, metrics in record.metrics.items():
        figures = metrics.get("test", metrics) if isinstance(metrics, Mapping) else {}
        for part, errors in by_part(figures).items():
            if "mae" in errors:
                cells = [number(errors.get(key), digits) for key, digits in ERRORS]
                rows.append([on_part(name.replace("_", " "), part), *cells])
    data = record.settings["data"]
    data = data["name"] if isinstance(data, Mapping) else data
    heads = ("checkpoint", "MAE", RMSE, "NAE")
    note = f"{titles.crowd_title(data)}; {record.machine}."
    title = f"Counters on the test images of {titles.counting_title(record)}"
    return Table(title, heads, rows, notes=(note,), records=(record.name,))
