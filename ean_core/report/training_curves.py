"""The loss curves of a run folder's trainings, from the logs that MMEngine writes beside them."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from ean_core.io.json_file import parse_json
from ean_core.report.elements import Element, Picture
from ean_core.report.labels import LABELS
from ean_core.report.results import visible
from ean_core.utils.errors import EANError

Curve = dict[int, float]
"""Step -> mean loss since the last line of the log."""
PATTERNS = ("*/vis_data/scalars.json", "*/*/vis_data/scalars.json")
"""A training in the folder itself, and one in a folder of its own; between them a folder for each start."""


def loss_elements(folder: Path) -> list[Element]:
    """A picture of the losses, or nothing where no training left a log."""
    curves = read_curves(folder)
    if not curves:
        return []
    note = "The mean training loss since the log's last line, on a logarithmic axis; a line for each training."
    return [Picture("Training losses", f"training loss by step of {', '.join(curves)}", partial(draw, curves), note)]


def read_curves(folder: Path) -> dict[str, Curve]:
    """Name of each training -> its losses; a resumed training's later logs replace what it repeated."""
    curves: dict[str, Curve] = {}
    for pattern in PATTERNS:
        for path in visible(folder, pattern):
            losses = read_losses(path)
            if losses:
                directory = path.parents[2]
                name = folder.resolve().name if directory == folder else directory.name
                curves.setdefault(name, {}).update(losses)
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


def read_losses(path: Path) -> Curve:
    """The losses of one log; lines of tests, and a line that a kill cut off, have none."""
    losses: Curve = {}
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = parse_json(text, where=str(path), advice="")
            step, loss = int(line["step"]), float(line["loss"])
        except (EANError, ValueError, KeyError, TypeError, OverflowError):
            continue
        losses[step] = loss
    return losses


def network_of(name: str) -> str:
    """What a directory trained: "Share-full" for `share-full-seed1`, "EAN" for `ean-95b4f5-seed0`."""
    label = re.sub(r"-?seed\d+$", "", name)
    return LABELS.get(label) or re.sub(r"^ean-[0-9a-f]{6}$", "EAN", label) or name


def draw(curves: dict[str, Curve]) -> bytes:
    """A PNG: the supernet in a panel of its own, since its steps and its task are others."""
    import io

    from matplotlib.figure import Figure

    from ean_core.report.plots import COLORS, plain_log_axis, tidy, whole_numbers
    from ean_core.utils.drawing import render

    panels = {
        "supernet": {name: curve for name, curve in curves.items() if name == "supernet"},
        "networks": {name: curve for name, curve in curves.items() if name != "supernet"},
    }
    panels = {title: group for title, group in panels.items() if group}
    figure = Figure(figsize=(4.6 * len(panels), 3.4), dpi=150, layout="constrained")
    for axes, (title, group) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        networks = list(dict.fromkeys(map(network_of, group)))
        for name, curve in group.items():
            color = COLORS[networks.index(network_of(name)) % len(COLORS)]
            axes.plot(list(curve), list(curve.values()), color=color, linewidth=1.1, alpha=0.8, label=network_of(name))
        if all(loss > 0 for curve in group.values() for loss in curve.values()):
            plain_log_axis(axes.yaxis, axes.set_yscale)
        axes.set_title("supernet" if title == "supernet" else "networks", fontsize=10, loc="left")
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylabel("training loss", fontsize=9)
        axes.tick_params(labelsize=8)
        whole_numbers(axes.xaxis)
        tidy(axes)
        handles, labels = axes.get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        axes.legend(unique.values(), unique.keys(), frameon=False, fontsize=8)
    stream = io.BytesIO()
    render(figure, stream, format="png")
    return stream.getvalue()
