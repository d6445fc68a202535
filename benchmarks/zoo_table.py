"""The table of `benchmarks/attention_zoo.py`: one Share-full network per attention, beside Org."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from ean_core.attention import ATTENTIONS, timm_attention
from ean_core.benchmark.compare import ComparisonsByMode, show_increment, time_rows
from ean_core.benchmark.timing import measure as timed
from ean_core.benchmark.timing import multiply_adds
from ean_core.networks import StagedNetwork, count_parameters, create_model, input_shape
from ean_core.supernet.bn_calibration import batch_norms
from ean_core.utils.errors import EANError
from ean_core.utils.progress import console

ORG = "Org"
DEAR, FAR_TOO_DEAR = 4, 30  # times Org's seconds


def all_names() -> list[str]:
    """Ours, and timm's that can be used."""
    return [*ATTENTIONS, *(timm_attention.PREFIX + kind for kind in timm_attention.NAMES)]


def build(
    arch: str, names: Sequence[str], *, batch_size: int, image_size: int | None, device: str
) -> tuple[Tensor, dict[str, StagedNetwork], dict[str, str]]:
    """The images (B, C, H, W); Org and the networks that take them, in eval mode; and why others do not.

    Raises:
        EANError: for an unknown architecture or attention, or if none of the attentions can be used.
    """

    def network(attention: str | None) -> StagedNetwork:
        torch.manual_seed(0)
        return create_model(arch, attention=attention).eval().to(device)

    networks, skipped = {ORG: network(None)}, {}
    shape = input_shape(networks[ORG], size=image_size)
    batch = torch.randn(batch_size, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    for name in dict.fromkeys(names):
        try:
            built = network(name)
            with torch.inference_mode():
                built(batch[:1])
        except EANError as reason:
            if not (name.startswith(timm_attention.PREFIX) or name in ATTENTIONS):  # the name is unknown
                raise
            skipped[name] = str(reason)
        else:
            networks[name] = built
    if len(networks) == 1:
        raise EANError(f"none of the attentions can be used in {arch}: {'; '.join(skipped.values())}")
    return batch, networks, skipped


def measure(
    networks: Mapping[str, StagedNetwork],
    batch: Tensor,
    modes: Sequence[str],
    *,
    rounds: int,
    limit: float | None = None,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A row per network: sizes, and its times in every mode; and why a mode or a network was skipped.

    A network that takes more than `limit` times as long as Org in one forward is left out.
    All take turns with Org. Those that take more than `DEAR` times as long do so in a group of their own and for a
    third of the rounds: attention over positions is up to a hundred times slower, and would take nearly all the time.
    """
    probe = {name: one.median for name, one in timed(networks, batch, rounds=1, warmup=1, inner=1).items()}
    factor = {name: seconds / probe[ORG] for name, seconds in probe.items()}
    skipped = {
        name: f"one forward took {factor[name]:.0f} times Org's: name it with --attention to have it timed"
        for name in networks
        if limit is not None and factor[name] > limit
    }
    networks = {name: network for name, network in networks.items() if name not in skipped}
    dear = {name for name in networks if factor[name] > DEAR}
    results: ComparisonsByMode = {}
    for members, count in ((set(networks) - dear, rounds), (dear, max(2, rounds // 3))):
        group = {name: network for name, network in networks.items() if name in members | {ORG}}
        if len(group) > 1:
            compared_by_mode, unavailable = time_rows(group, batch, modes, rounds=count, seed=0)
            skipped |= unavailable
            for mode, compared in compared_by_mode.items():
                results[mode] = {**compared, **results.get(mode, {})}  # of two Orgs, the first group's
    shape = tuple(batch.shape[1:])
    rows = [
        {
            "attention": name,
            "connections": network.scheme.connections,
            "blocks": len(network.scheme),
            "parameters": count_parameters(network),
            "added_parameters": count_parameters(network) - count_parameters(networks[ORG]),
            "multiply_adds": multiply_adds(network, shape),
            "batch_norms": sum(len(batch_norms(stage.attention)) for stage in network.stages if stage.attention),
            "timings": {mode: asdict(compared[name]) for mode, compared in results.items()},
        }
        for name, network in networks.items()
    ]
    return rows, skipped


def show(rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """The table, Org first, then by the first mode's increment."""
    table = Table(title=title, title_justify="left")
    modes = list(rows[0]["timings"])
    table.add_column("attention", no_wrap=True)
    for head in ("connections", "parameters", "added", "GFLOPs", *(f"{mode} %" for mode in modes)):
        table.add_column(head, justify="right", no_wrap=True)

    def cost(row: Mapping[str, Any]) -> float:
        increment = row["timings"][modes[0]]["increment"] if modes else None
        return increment["value"] if increment else -1.0

    for row in sorted(rows, key=cost):
        table.add_row(
            row["attention"],
            f"{row['connections']}/{row['blocks']}",
            f"{row['parameters']:,}",
            f"{row['added_parameters']:,}",
            f"{row['multiply_adds'] / 1e9:.3f}",
            *(show_increment(row["timings"][mode]["increment"]) for mode in modes),
        )
    console().print(table)
    print("time increment over Org in the same mode, median and 95 % bootstrap interval; GFLOPs are 1e9 multiply-adds")


def versions() -> dict[str, str]:
    """timm's version, which the record's environment does not list."""
    try:
        return {"timm": metadata.version("timm")}
    except metadata.PackageNotFoundError:
        return {"timm": "not installed"}
