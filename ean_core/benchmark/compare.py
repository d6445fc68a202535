"""The comparison behind `tools/benchmark.py`: sizes and times of Org, Org-full, Share-full and EAN."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ean_core.attention import load
from ean_core.benchmark.mode_comparison import compare_modes
from ean_core.benchmark.timing import Comparison, multiply_adds, noise_warning
from ean_core.deploy.modes import check_mode
from ean_core.io.scheme_record import read_scheme_file
from ean_core.networks import StagedNetwork, count_parameters, create_model, input_shape
from ean_core.scheme import scheme_file
from ean_core.utils.devices import choose_device
from ean_core.utils.errors import EANError, batch_of
from ean_core.utils.intervals import Interval
from ean_core.utils.progress import bar
from ean_core.utils.screen import make_table, print_table
from ean_core.utils.text import how_many, network_label

FOLDER = "work_dirs/benchmark"  # of results for which no other place is given
WHOLE_SIZE = 512
RECURRENT = ("dia",)  # shares one module by construction, so the paper has no Org-full of it

ComparisonsByMode = dict[str, dict[str, Comparison]]
"""Mode -> network -> its times."""


def check_arguments(arguments: argparse.Namespace) -> None:
    """Fill in what the scheme files say, and refuse what cannot be run, before anything is built.

    Raises:
        EANError: for arguments that do not go together, or an unknown name.
    """
    whole = arguments.counter or arguments.config is not None
    if whole and (arguments.num_classes or (arguments.counter and arguments.config)):
        raise EANError("--counter and --config time whole models: give one of them, without --num-classes")
    if arguments.counter and arguments.per_block:
        raise EANError("--per-block measures the counter of a recipe: give --config FILE without --counter and --arch")
    if arguments.config and (arguments.arch or arguments.attention or arguments.scheme):
        raise EANError("--config names backbone, attention and scheme: leave out --arch, --attention and --scheme")
    arguments.batch_size = (1 if whole else 50) if arguments.batch_size is None else arguments.batch_size
    arguments.attention = [load(name) for name in arguments.attention or []]  # what a file names is not imported
    files = [file for scheme in arguments.scheme if (file := scheme_file(scheme)) is not None]
    records = [read_scheme_file(file) for file in files]
    arguments.arch = arguments.arch or next((record["arch"] for record in records if record.get("arch")), None)
    named = [record["attention"] for record in records if record.get("attention")]
    arguments.attention = list(dict.fromkeys(arguments.attention or named or ["se"]))
    default = ["eager"] if arguments.per_block else ["eager", "folded"]
    arguments.modes = list(dict.fromkeys(arguments.modes or default))
    arguments.device = choose_device(arguments.device)
    if arguments.arch is None and arguments.config is None:
        raise EANError("no architecture: give --arch, or a --scheme file that names one")
    for mode in arguments.modes:
        check_mode(mode)
    if arguments.per_block and (arguments.scheme or len(arguments.attention) > 1 or len(arguments.modes) > 1):
        raise EANError("--per-block measures one attention in one mode and takes no --scheme: run it once for each")
    if not arguments.per_block and (arguments.attention_options or arguments.sharing != "stage"):
        raise EANError("--attention-options and --sharing go with --per-block: the comparison takes the paper's")


def benchmark_name(arguments: argparse.Namespace) -> str:
    """A file name's stem for a benchmark: the configuration's, or the architecture and the attentions."""
    stems = [Path(arguments.config).stem] if arguments.config else [arguments.arch, *arguments.attention]
    name = "_".join(["counter", *stems] if arguments.counter else stems)
    return name.replace(":", "-").replace("/", "-")


def batch_shape(arguments: argparse.Namespace, network: Any) -> tuple[int, int, int]:
    """(C, H, W) of the images: what classifiers are usually given, 512 pixels a side for whole models."""
    if arguments.counter or arguments.config:
        side = arguments.image_size or WHOLE_SIZE
        return network.network.in_channels, side, side
    return input_shape(network, size=arguments.image_size)


def build_rows(
    arch: str,
    attentions: Sequence[str],
    schemes: Sequence[str],
    *,
    num_classes: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, StagedNetwork]:
    """The networks of the table, pruned and in eval mode: Org, then Org-full, Share-full and EAN of each attention.

    Args:
        arch: a named architecture.
        attentions: names; those of `RECURRENT` have no Org-full.
        schemes: none (no EAN rows), one for all attentions, or one for each; bits or files.
        num_classes: None for the architecture's own.
        seed: of the weights.
        device: where they go.
    """
    if len(schemes) not in (0, 1, len(attentions)):
        raise EANError(
            f"--scheme takes one scheme, or one for each of the {len(attentions)} attentions, got {len(schemes)} "
            "(quote a scheme that has spaces)"
        )

    def network(**options: Any) -> StagedNetwork:
        torch.manual_seed(seed)
        return create_model(arch, num_classes=num_classes, **options).prune().eval().to(device)

    networks = {"Org": network()}
    for index, attention in enumerate(attentions):
        if attention not in RECURRENT:
            networks[f"Org-full {attention}"] = network(attention=attention, sharing="block")
        networks[f"Share-full {attention}"] = network(attention=attention)
        if schemes:
            networks[f"EAN {attention}"] = network(attention=attention, scheme=schemes[index % len(schemes)])
    return networks


def time_rows(
    networks: Mapping[str, StagedNetwork], batch: torch.Tensor, modes: Sequence[str], *, rounds: int, seed: int
) -> tuple[ComparisonsByMode, dict[str, str]]:
    """`compare_modes` under a progress bar.

    Returns:
        the results, and why each skipped mode was skipped.
    """
    with round_bars(modes, rounds) as advance, batch_of(len(batch), option="--batch-size"):
        return compare_modes(networks, batch, modes, rounds=rounds, seed=seed, after_round=advance)


@contextmanager
def round_bars(names: Sequence[str], rounds: int) -> Iterator[Callable[[str], None]]:
    """A progress bar, drawn between the rounds, while no clock runs.

    Yields:
        what moves it on by a round; takes one of the names.
    """
    with bar("rounds", len(names) * rounds, refresh=False) as progress:
        assert progress is not None
        yield lambda name: progress.update(progress.done + 1, name)


def describe_rows(
    networks: Mapping[str, StagedNetwork], results: ComparisonsByMode, shape: tuple[int, int, int]
) -> list[dict[str, Any]]:
    """What the record holds of every network: connections, sizes, and its times in every mode."""
    return [
        {
            "network": name,
            "scheme": str(network.scheme),
            "connections": network.scheme.connections,
            "blocks": len(network.scheme),
            "parameters": count_parameters(network),
            "multiply_adds": multiply_adds(network, shape),
            "timings": {mode: asdict(compared[name]) for mode, compared in results.items()},
        }
        for name, network in networks.items()
    ]


def print_tables(rows: Sequence[Mapping[str, Any]], modes: Sequence[str]) -> None:
    """Print a table per mode, since a table of all modes does not fit a terminal."""
    for mode in modes:
        heads = ["network", "connections", "parameters", "GFLOPs", "median ms", "increment % (95 %)"]
        table = make_table(f"mode: {mode}", heads)
        for row in rows:
            timing = row["timings"][mode]
            table.add_row(
                network_label(row["network"]),
                f"{row['connections']}/{row['blocks']}",
                f"{row['parameters']:,} ({row['parameters'] / 1e6:.2f} M)",
                f"{row['multiply_adds'] / 1e9:.3f}",
                f"{timing['median']['value'] * 1e3:.2f}",
                show_increment(timing["increment"]),
            )
        print_table(table)


def show_increment(increment: Mapping[str, float] | None) -> str:
    """`+23.5 (+22.1 to +24.9)`, in percent, of a record's fractions; "" for Org, which has no increment."""
    if increment is None:
        return ""
    percent = Interval(**increment).scaled(100)
    return f"{percent.value:+.1f} ({percent.low:+.1f} to {percent.high:+.1f})"


def noise_warnings(rows: Sequence[Mapping[str, Any]], modes: Sequence[str]) -> dict[str, str]:
    """For every mode whose increments are smaller than their uncertainty, what to do about it."""
    warnings = {}
    for mode in modes:
        increments = [Interval(**found) for row in rows if (found := row["timings"][mode]["increment"]) is not None]
        if (warning := noise_warning([increment.scaled(100) for increment in increments])) is not None:
            warnings[mode] = warning
    return warnings


def how_measured(settings: Mapping[str, Any]) -> str:
    """The conditions of a measurement in a line: batch, image size, device, threads and rounds."""
    return (
        f"batch of {settings['batch_size']}, {settings['image_size']}x{settings['image_size']} pixels, "
        f"{settings['device'].upper()}, {how_many(settings['threads'], 'thread')}, {settings['rounds']} rounds, "
        "networks interleaved"
    )
