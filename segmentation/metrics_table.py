"""Print the metrics of a segmentor as a table."""

from __future__ import annotations

from typing import Any

from ean_core.utils.screen import make_table, print_table


def print_metrics(metrics: dict[str, Any], *, title: str) -> None:
    """Print IoU and accuracy per class, and their means, in percent."""
    table = make_table(title, ["class", "IoU %", "accuracy %"])
    for row in metrics["classes"]:
        table.add_row(row["class"], number(row["IoU"]), number(row["Acc"]))
    table.add_section()
    table.add_row("mean", number(metrics["mIoU"]), number(metrics["mAcc"]))
    table.add_row("all pixels", "", number(metrics["aAcc"]))
    print_table(table)


def number(value: float | None) -> str:
    """Format with two decimals; a dash for a class without pixels."""
    return "–" if value is None else f"{value:.2f}"
