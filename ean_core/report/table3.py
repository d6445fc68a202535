"""Table 3: crowd counting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ean_core.report.blocks import GAP, Block, Gap, Section, Table
from ean_core.report.book import Book, Entry
from ean_core.report.cells import counted, number, seeds, sentence, spread
from ean_core.report.pictures import pictures_of
from ean_core.utils.text import attention_label

KINDS = ("counting",)
PARTS = {"part_A": "SHHA", "part_B": "SHHB"}
NAMES = {"part_A": "ShanghaiTech A", "part_B": "ShanghaiTech B"}
RMSE = "RMSE (papers: MSE)"
"""The paper prints the root of the mean squared error as MSE; the paper's own column is called RMSE here too."""
CHECKPOINTS = {"best": "chosen on validation images", "final": "last epoch"}
ORDER = ("Org", "Org-full", "Share-full", "EAN")
COMMAND = "python crowd_counting/train.py --part A --attention se --weights CLASSIFIER.pth --seeds 0 1 2"


def section(book: Book) -> Section:
    """The paper's table, then a table for every set-up of ours, pictures last."""
    groups = grouped(book.of(*KINDS))
    blocks: list[Block] = [counting_table(group, book.paper, tuple(CHECKPOINTS)) for group in groups]
    tested = [entry for entry in book.of(*KINDS) if not summarised(entry)]
    blocks += [test_table(entry) for entry in tested]
    done = {group[0].settings["data"]["name"] for group in groups}
    blocks += [
        Gap(f"counting on {NAMES[part]}", COMMAND.replace("part A", part.replace("_", " ")))
        for part in PARTS
        if part not in done
    ]
    for entry in book.of(*KINDS):
        blocks += pictures_of(entry, "photographs with the predicted density over them, and the predicted count")
    return Section("table-3", "Table 3: crowd counting", [paper_table(book.paper), *blocks])


def summary(book: Book) -> list[Block]:
    """The tables with the checkpoint that validation chose."""
    return [counting_table(group, book.paper, ("best",)) for group in grouped(book.of(*KINDS))]


def blocks_of(book: Book, entry: Entry) -> list[Block]:
    """A record on its own."""
    if not summarised(entry):
        return [test_table(entry), *pictures_of(entry)]
    tables = [counting_table(group, book.paper, tuple(CHECKPOINTS)) for group in grouped([entry])]
    return [*tables, *pictures_of(entry)]


# -- which records stand in one table ---------------------------------------------------------------------------------


def summarised(entry: Entry) -> bool:
    """Whether a record is of a training run over its seeds; others are tests of checkpoint files."""
    return "seeds" in entry.settings and "always_the_mean" in entry.metrics


def grouped(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Records of the same data and training, the network's attention aside, in the order of Table 3."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if summarised(entry):
            groups.setdefault(setup_key(entry.settings), []).append(entry)
    return [sorted(group, key=order) for group in groups.values()]


def setup_key(settings: Mapping[str, Any]) -> str:
    """Equal for records that may be compared: all settings but the attention, the seeds and the starting weights."""
    differing = ("attention", "attention_options", "sharing", "scheme")
    model = {key: value for key, value in settings["model"].items() if key not in differing}
    return json.dumps([settings["data"], settings["train"], model, settings["weights"] is None], sort_keys=True)


def order(entry: Entry) -> tuple[str, int]:
    """By attention, then as the paper orders its networks."""
    label, attention = network_of(entry.settings["model"])
    return ("" if label == "Org" else attention, ORDER.index(label))


def network_of(model: Mapping[str, Any]) -> tuple[str, str]:
    """`("EAN", "se")` of a model's settings."""
    attention, scheme = model.get("attention"), model.get("scheme")
    bits = set("".join(str(one) for one in scheme)) & {"0", "1"} if scheme is not None else {"1"}
    if attention is None or bits == {"0"}:
        return "Org", ""
    if model.get("sharing") == "block":
        return "Org-full", attention
    return ("Share-full" if bits == {"1"} else "EAN"), attention


# -- tables -----------------------------------------------------------------------------------------------------------


def paper_table(paper: Mapping[str, Any]) -> Table:
    """Table 3 as published."""
    published = paper["table3_crowd_counting_mae_rmse"]
    names = {"org_full": "Org-full", "share_full": "Share-full", "ean": "EAN"}
    rows = []
    for part in ("SHHB", "SHHA"):
        for attention, networks in published[part].items():
            for key, pair in networks.items():
                time = published["time_increment_percent"][part][attention].get(key)
                label = f"{part[-1]}, {names[key]} {attention_label(attention)}"
                rows.append([label, *(str(one) for one in pair), number(time)])
    heads = ("ShanghaiTech, network", "MAE", RMSE, "time increment, %")
    note = (
        "Root of the mean squared count error, which the paper prints as MSE. Backbones pretrained on ImageNet, V100."
    )
    return Table("The paper's figures", heads, rows, notes=(note,))


def counting_table(group: Sequence[Entry], paper: Mapping[str, Any], checkpoints: Sequence[str]) -> Table:
    """Errors of the networks of one set-up, with the guess that they must beat and the paper's row."""
    rows, first = [], group[0]
    part = PARTS.get(first.settings["data"]["name"])
    for entry in group:
        label, attention = network_of(entry.settings["model"])
        for checkpoint in checkpoints:
            metrics = entry.metrics[checkpoint]
            name = f"{label} {attention_label(attention)}".strip()
            rows.append(
                [
                    name if checkpoint == checkpoints[0] else f"{name}, {CHECKPOINTS[checkpoint]}",
                    str(metrics["mae"]["n"]),
                    spread(metrics["mae"], 1),
                    spread(metrics["rmse"], 1),
                    spread(metrics.get("nae"), 3),
                    counted(entry.metrics.get("parameters")),
                    *(paper_cells(paper, part, label, attention, shown=checkpoint == checkpoints[0]) if part else ()),
                ]
            )
    guess = [number(first.metrics["always_the_mean"].get(key), digits) for key, digits in GUESSED]
    rows.append(["always the mean count", GAP, *guess, GAP, *((GAP, GAP) if part else ())])
    heads = ("network", "seeds", "MAE", RMSE, "NAE", "parameters", *(("MAE", "RMSE") if part else ()))
    name = NAMES.get(first.settings["data"]["name"], first.settings["data"]["name"])
    return Table(
        f"Crowd counting, {name}",
        heads,
        rows,
        groups=(("", 6), ("paper", 2)) if part else (),
        notes=setup(group),
        records=tuple(entry.name for entry in group),
    )


GUESSED = (("mae", 1), ("rmse", 1), ("nae", 3))


def paper_cells(
    paper: Mapping[str, Any], part: str, label: str, attention: str, *, shown: bool = True
) -> tuple[str, str]:
    """MAE and RMSE that Table 3 gives for a network; not shown twice where it has several rows."""
    if not shown:
        return ("", "")
    key = {"Org-full": "org_full", "Share-full": "share_full", "EAN": "ean"}.get(label, "")
    found = paper["table3_crowd_counting_mae_rmse"][part].get(attention, {}).get(key)
    return (GAP, GAP) if found is None else (str(found[0]), str(found[1]))


def setup(group: Sequence[Entry]) -> tuple[str, ...]:
    """Data, training, schemes and machine of a table."""
    settings = group[0].settings
    images, train, model = settings["data"]["images"], settings["train"], settings["model"]
    schemes = dict.fromkeys(
        f"EAN `{entry.settings['model']['scheme']}`"
        for entry in group
        if network_of(entry.settings["model"])[0] == "EAN"
    )
    crop, n = settings["data"].get("crop"), max(len(entry.settings["seeds"]) for entry in group)
    lines = [
        f"Ours: {model['arch']}, {images['train']} training, {images['val']} validation and {images['test']} test "
        f"images, {f'crops of {crop} pixels' if crop else 'whole images'}, {train['epochs']} epochs of batches of "
        f"{train['batch_size']}, loss {train['loss']}, batch norm {train['batch_norm']}, "
        f"{'from weights of a classifier' if settings['weights'] else 'from random weights'}; "
        f"{seeds(n)}; checkpoint chosen on the validation images; "
        f"{'; '.join([*schemes, *dict.fromkeys(entry.machine for entry in group)])}."
    ]
    if note := group[0].content.get("data_note"):
        lines.append(sentence(note))
    if settings["data"]["name"] in PARTS:
        lines.append("Paper: backbones pretrained on ImageNet: another set-up, so compare rows, not columns.")
    return tuple(lines)


def test_table(entry: Entry) -> Table:
    """A test of checkpoint files, or one seed's result."""
    rows = []
    for name, metrics in entry.metrics.items():
        found = metrics.get("test", metrics) if isinstance(metrics, Mapping) else {}
        if "mae" in found:
            rows.append([name.replace("_", " "), *(number(found.get(key), digits) for key, digits in GUESSED)])
    data = entry.settings["data"]
    data = data["name"] if isinstance(data, Mapping) else data
    heads = ("checkpoint", "MAE", RMSE, "NAE")
    note = f"{NAMES.get(data, data)}; {entry.machine}."
    return Table(f"Crowd counting, {entry.title}", heads, rows, notes=(note,), records=(entry.name,))
