"""Time networks with and without attention: parameters, FLOPs, and the inference time increment of Eq. 9.

Efficient Attention Network (https://arxiv.org/abs/2011.14058): the columns of its Table 1 that need no training.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch comes in after the arguments are read, so that --help answers at once
    import torch

    from ean_core.networks import ResNet
    from ean_core.timing import Comparison

RECURRENT = ("dia",)  # shares one module by construction, so the paper has no Org-full of it

HELP = """\
example:
  python tools/benchmark.py --arch resnet50 --attention se --scheme 0100010110011001
  python tools/benchmark.py --arch resnet164 --attention se sge dia --scheme work_dirs/search/scheme.json
  python tools/benchmark.py --arch resnet20 --batch-size 2 --rounds 5      (seconds on a laptop)

Compares Org (no attention), Org-full (a module per block), Share-full (one per stage) and, with --scheme, EAN."""
NOTES = """\
settings, each compared with an Org in the same setting, and skipped with a sentence where the device cannot run it:
  eager          the network as it was trained: float32, contiguous
  channels_last  the layout that convolution kernels work in
  folded         channels_last, batch norm folded into the convolutions
  bf16           folded, in bfloat16
  compiled       folded, through torch.compile (about a minute per network)
  max_autotune   compiled, with kernels tuned on the device and CUDA graphs (CUDA; minutes per network)
  cuda_graph     folded, captured in a CUDA graph (CUDA)

GFLOPs are 1e9 multiply-adds of convolutions and matrix products for one image; element-wise work is not counted.
The increment is the median over the rounds of (t_with - t_without) / t_without, with a 95 % bootstrap interval."""


def parse_arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, epilog=NOTES, formatter_class=raw, usage="%(prog)s [options]")
    add = parser.add_argument
    add("--arch", help="resnet164, resnet50, .. (default: the one that --scheme's file names)")
    add("--attention", nargs="+", metavar="NAME", help="se, sge, dia, .. (default: the scheme file's, or se)")
    add("--scheme", nargs="+", default=[], metavar="BITS|FILE", help="for EAN: one for all attentions, or one for each")
    add("--batch-size", type=int, default=50, metavar="N", help="images per forward (default 50, as in the paper)")
    add("--image-size", type=int, metavar="N", help="side in pixels (default 32 for CIFAR's networks, else 224)")
    add("--num-classes", type=int, metavar="N", help="default 100 for CIFAR's networks, else 1000")
    add("--rounds", type=int, default=50, metavar="N", help="times per network, of 20 ms or more each (default 50)")
    add("--settings", nargs="+", default=["eager", "folded"], metavar="NAME", help="see below (default eager folded)")
    add("--device", help="cpu, cuda, cuda:1 (default cuda where there is one)")
    add("--threads", type=int, metavar="N", help="processor threads (default: torch's choice)")
    add("--seed", type=int, default=0, metavar="N", help="of the weights, the images and the bootstrap (default 0)")
    add("--output", type=Path, metavar="JSON", help="record; a chart goes beside it (default work_dirs/benchmark/)")
    return parser.parse_args()


def check(arguments: argparse.Namespace) -> None:
    """Fill in what the scheme files know, and refuse what cannot be run before anything is built."""
    import torch

    from ean_core.errors import EANError, unknown_name
    from ean_core.fold import SETTINGS
    from ean_core.scheme import read_scheme_file

    records = [read_scheme_file(scheme) for scheme in arguments.scheme if scheme.endswith(".json")]
    arguments.arch = arguments.arch or next((record["arch"] for record in records if record.get("arch")), None)
    named = [record["attention"] for record in records if record.get("attention")]
    arguments.attention = list(dict.fromkeys(arguments.attention or named or ["se"]))
    arguments.settings = list(dict.fromkeys(arguments.settings))
    arguments.device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.arch is None:
        raise EANError("no architecture: give --arch, or a --scheme file that names one")
    for setting in set(arguments.settings) - set(SETTINGS):
        raise unknown_name("setting", setting, list(SETTINGS))
    for name in ("batch_size", "image_size", "num_classes", "rounds", "threads"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise EANError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if len(arguments.scheme) not in (0, 1, len(arguments.attention)):
        raise EANError(
            f"--scheme takes one scheme, or one for each of the {len(arguments.attention)} attentions, got "
            f"{len(arguments.scheme)} (quote a scheme that has spaces)"
        )
    if arguments.output is not None and arguments.output.suffix != ".json":
        raise EANError(f"--output is the record and ends with .json, got {str(arguments.output)!r}")
    try:
        torch.empty(0, device=arguments.device)
    except (RuntimeError, AssertionError) as error:
        raise EANError(f"--device {arguments.device} cannot be used: {str(error).splitlines()[0]}") from None


def build(arguments: argparse.Namespace) -> dict[str, ResNet]:
    """The rows of the table: Org, then Org-full, Share-full and EAN of each attention."""
    import torch

    from ean_core.networks import create_model

    def network(**options: Any) -> ResNet:
        torch.manual_seed(arguments.seed)
        model = create_model(arguments.arch, num_classes=arguments.num_classes, **options)
        return model.prune().eval().to(arguments.device)

    networks = {"Org": network()}
    for index, attention in enumerate(arguments.attention):
        if attention not in RECURRENT:
            networks[f"Org-full {attention}"] = network(attention=attention, sharing="block")
        networks[f"Share-full {attention}"] = network(attention=attention)
        if arguments.scheme:
            scheme = arguments.scheme[index % len(arguments.scheme)]
            networks[f"EAN {attention}"] = network(attention=attention, scheme=scheme)
    return networks


def time_all(
    networks: dict[str, ResNet], batch: torch.Tensor, arguments: argparse.Namespace
) -> tuple[dict[str, dict[str, Comparison]], dict[str, str]]:
    """`compare_settings` under a progress bar that is drawn between the rounds, while no clock runs."""
    from rich.progress import Progress

    from ean_core.fold import compare_settings
    from ean_core.progress import console

    screen = console()
    with Progress(console=screen, auto_refresh=False, transient=True, disable=not screen.is_terminal) as bar:
        tasks = {setting: bar.add_task(setting, total=arguments.rounds) for setting in arguments.settings}
        return compare_settings(
            networks,
            batch,
            arguments.settings,
            rounds=arguments.rounds,
            seed=arguments.seed,
            after_round=lambda setting: bar.update(tasks[setting], advance=1, refresh=True),
        )


def print_tables(rows: list[dict[str, Any]], settings: Iterable[str]) -> None:
    """One table per setting."""
    from rich.table import Table

    from ean_core.progress import console

    for setting in settings:
        table = Table(title=f"setting: {setting}", title_justify="left")
        table.add_column("network", no_wrap=True)
        for head in ("connections", "parameters", "GFLOPs", "median ms", "increment % (95 %)"):
            table.add_column(head, justify="right")
        for row in rows:
            timing, extra = row["timings"][setting], row["timings"][setting]["increment"]
            table.add_row(
                row["network"],
                f"{row['connections']}/{row['blocks']}",
                f"{row['parameters']:,} ({row['parameters'] / 1e6:.2f} M)",
                f"{row['multiply_adds'] / 1e9:.3f}",
                f"{timing['median']['value'] * 1e3:.2f}",
                "{value:+.1f} ({low:+.1f} to {high:+.1f})".format(**percent(extra)) if extra else "",
            )
        console().print(table)


def percent(interval: dict[str, float]) -> dict[str, float]:
    return {key: 100 * value for key, value in interval.items()}


def run(arguments: argparse.Namespace) -> None:
    import torch

    from ean_core.networks import count_parameters, input_shape
    from ean_core.plots import bar_chart
    from ean_core.results import write_record
    from ean_core.timing import Interval, multiply_adds

    check(arguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True  # one input shape: let cuDNN try its kernels and keep the fastest
    networks = build(arguments)
    shape = input_shape(networks["Org"], size=arguments.image_size)
    batch = torch.randn(arguments.batch_size, *shape).to(arguments.device)
    results, skipped = time_all(networks, batch, arguments)
    rows = [
        {
            "network": name,
            "scheme": str(network.scheme),
            "connections": network.scheme.connections,
            "blocks": len(network.scheme),
            "parameters": count_parameters(network),
            "multiply_adds": multiply_adds(network, shape),
            "timings": {setting: asdict(compared[name]) for setting, compared in results.items()},
        }
        for name, network in networks.items()
    ]
    how = (
        f"batch of {arguments.batch_size}, {shape[1]}x{shape[2]} pixels, {arguments.device}, "
        f"{torch.get_num_threads()} threads, {arguments.rounds} rounds, networks interleaved"
    )
    settings = {**vars(arguments), "image_size": shape[1], "threads": torch.get_num_threads(), "skipped": skipped}
    output = arguments.output or default_output(arguments)
    write_record(output, kind="benchmark", settings=settings, metrics=rows)
    print_tables(rows, results)
    for setting, reason in skipped.items():
        print(f"skipped {setting}: {reason}")
    print(f"Medians and their 95 % bootstrap intervals; {how}.")
    print(f"record: {output}")
    series = {
        setting: {n: Interval(**percent(asdict(c.increment))) for n, c in compared.items() if c.increment}
        for setting, compared in results.items()
    }
    if series:
        title = f"{arguments.arch}: inference time over Org's in the same setting"
        chart = bar_chart(output.with_suffix(".png"), series, axis="increment, %", title=title, note=how)
        print(f"chart:  {chart}")


def default_output(arguments: argparse.Namespace) -> Path:
    name = "_".join([arguments.arch, *arguments.attention]).replace(":", "-").replace("/", "-")
    return Path("work_dirs/benchmark") / f"{name}.json"


if __name__ == "__main__":
    parsed = parse_arguments()  # first, for --help's sake
    from ean_core.errors import command

    command(partial(run, parsed))()
