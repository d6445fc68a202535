"""Records of the scripts in benchmarks/ that compare speeds: ours against what a user would run instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ean_core.report import fallback_table
from ean_core.report.elements import GAP, Element, Gap, Section, Table
from ean_core.report.formatting import percent, ranged
from ean_core.report.pictures import pictures_of
from ean_core.report.results import Record, Results
from ean_core.report.titles import arch_title, record_title
from ean_core.report.typed_rows import read_metrics
from ean_core.utils.intervals import FEWEST_ROUNDS, Interval
from ean_core.utils.text import how_many, network_label

KINDS = ("speed",)
COMMAND = "python benchmarks/scoring.py"


@dataclass(frozen=True)
class NetworkSpeed:
    """A network in one mode, both figures as fractions.

    Attributes:
        increment: Eq. 9 over Org in the same mode; None for Org.
        time_over_plain_org: by how much its time exceeds that of the authors' Org.
    """

    increment: Interval | None
    time_over_plain_org: Interval


def section(results: Results) -> Section:
    """All figures of every comparison with another way of doing the same."""
    return Section(
        "speed",
        "Speed: ours against plain PyTorch",
        results.elements(KINDS, elements_of) or [Gap("speed against plain PyTorch", COMMAND)],
        "Both sides take turns in one run. In float32 they give the same results within rounding; in bfloat16 results "
        "differ, those of scores by up to the points that a table gives as the largest difference. A speed-up over "
        f"fewer than {FEWEST_ROUNDS} rounds has no interval.",
        folded=True,
    )


def elements_of(results: Results, record: Record) -> list[Element]:
    """The tables of a record, by what it compares, and its pictures."""
    if is_of_networks(record):
        return [*network_tables(record), *pictures_of(record)]
    images = images_table(record)
    return [images, *pictures_of(record)] if images else fallback_table.elements_of(results, record)


def is_of_networks(record: Record) -> bool:
    """Whether it is of benchmarks/network.py: mode -> network -> times, with the authors' way ("plain") among them."""
    plain = record.metrics.get("plain") if isinstance(record.metrics, Mapping) else None
    return isinstance(plain, Mapping) and all(isinstance(row, Mapping) and "increment" in row for row in plain.values())


def network_tables(record: Record) -> list[Element]:
    """Increments over Org in the same mode, and the speed of every mode against the authors' Org."""
    settings = record.settings
    modes = read_metrics(Mapping[str, Mapping[str, NetworkSpeed]], record)
    subject = f"{arch_title(settings['arch'])}, batch {settings['batch_size']}"
    note = (
        f"{settings['rounds']} rounds interleaved, median and 95 % bootstrap interval; plain: the authors' "
        f"modules, eager float32, in eval mode without autograd (theirs: training mode with it); "
        f"{how_many(settings['threads'], 'thread')}, {record.machine}."
    )

    def increments(network: str) -> list[str]:
        return [percent(speeds[network].increment) if network in speeds else GAP for speeds in modes.values()]

    def ratios(network: str) -> list[str]:
        return [
            speed_up(speeds[network].time_over_plain_org) if network in speeds else GAP for speeds in modes.values()
        ]

    def table(title: str, rows: list[list[str]]) -> Table:
        return Table(title, ("network", *modes), rows, notes=(note,), records=(record.name,))

    with_attention = [network for network in modes["plain"] if network != "Org"]
    increment_rows = [[network_label(network), *increments(network)] for network in with_attention]
    return [
        table(
            f"Time increment over Org in the same mode, %, {subject}",
            [*increment_rows, ["Org: speed-up over plain", *ratios("Org")]],
        ),
        table(
            f"Speed-up over plain Org, {subject}",
            [[network_label(network), *ratios(network)] for network in modes["plain"]],
        ),
    ]


def images_table(record: Record) -> Table | None:
    """Throughput and memory on large images, of benchmarks/counting.py or segmentors.py; None for other records."""
    sizes = record.metrics.get("prediction", record.metrics) if isinstance(record.metrics, Mapping) else {}
    rows = [
        [
            f"{size}, {side}",
            f"{row['megapixels_per_second']:.3g}",
            fallback_table.text_of(fallback_table.without_few_rounds(row)["times_as_fast"]),
            f"{row['peak_mib']:,.0f}",
        ]
        for size, sides in sizes.items()
        if isinstance(sides, Mapping)
        for side, row in sides.items()
        if isinstance(row, Mapping) and "megapixels_per_second" in row
    ]
    if not rows:
        return None
    settings = record.settings
    subject = settings.get("config") or f"counter over {settings.get('arch')}"
    note = f"{subject}; speed-up over the first of its size; {settings['rounds']} rounds interleaved; {record.machine}."
    heads = ("image", "megapixels/s", "speed-up", "peak memory, MiB")
    return Table(record_title(record), heads, rows, notes=(note,), records=(record.name,))


def speed_up(increment: Interval) -> str:
    """How many times as fast a network is whose time is an increment, as a fraction, over another's."""
    return ranged(*(1 / (1 + fraction) for fraction in (increment.value, increment.high, increment.low)))
