"""How much time each connection costs on a device: a table with a figure per block, which predicts whole schemes.

The time of a scheme is predicted as Org's plus what each of its connections adds. The connections are weighed together,
not one at a time: a connection adds less than a percent, about as much as the clock is off, and m single differences
from one Org would add its error up m times in the full network. In the rows of a Hadamard matrix every connection is
there in one half of the networks and not in the other half, so that every measurement tells of every connection, and a
figure's variance is 4 / N of a single measurement's for N networks, instead of twice it (Hotelling, Some improvements
in weighing, 1944, https://doi.org/10.1214/aoms/1177731236). What connections do to each other (caches, clocks, launches
that overlap) is averaged; how much that leaves out shows in whole networks, measured apart, and the table carries it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import hadamard

from ean_core.benchmark.timing import Clock, compare, measure, median_interval, noise_warning
from ean_core.deploy.fold import InferenceFn
from ean_core.deploy.modes import MODES
from ean_core.io.file_format import later_version
from ean_core.io.json_file import read_json
from ean_core.io.records import cpu_name, environment
from ean_core.networks.backbone_wrapper import BackboneWrapper
from ean_core.networks.base import StagedNetwork
from ean_core.scheme import Scheme
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic
from ean_core.utils.intervals import Interval, bootstrap_each
from ean_core.utils.text import how_many

FORMAT = "ean-latency-1"
ORG = "Org"
MEASURE = "measure one with tools/benchmark.py --per-block"


@dataclass(frozen=True)
class LatencyTable:
    """What every connection adds to Org's time.

    Attributes:
        arch, attention, options, sharing: of the network; options are those given beside the paper's.
        blocks: per stage.
        batch_size, image_size: images per forward pass, and their side in pixels.
        device: its name, such as "NVIDIA H100" or the processor's model.
        setting: the mode, a key of `ean_core.deploy.modes.MODES`.
        threads: of the processor.
        rounds: measurements behind every figure.
        org: Org's seconds per forward pass, with its interval.
        increments: (m,) percent of Org's time that each connection adds, with intervals.
        model: what the network is, such as "classifier" or "counter".
        check: measured whole networks against the prediction, see `check_table`; empty if not checked.
    """

    arch: str
    attention: str
    options: Mapping[str, Any]
    sharing: str
    blocks: tuple[int, ...]
    batch_size: int
    image_size: int
    device: str
    setting: str
    threads: int
    rounds: int
    org: Interval
    increments: tuple[Interval, ...]
    model: str = "classifier"
    check: Mapping[str, Any] = field(default_factory=dict)

    @property
    def percent(self) -> tuple[float, ...]:
        """(m,) percent of Org's time per connection."""
        return tuple(increment.value for increment in self.increments)

    @property
    def bias_warning(self) -> str | None:
        """A warning where most predictions lie outside the intervals of whole networks; None for other tables.

        A limit on the increment is too strict then by as much as predictions are too high, and the other way round.
        """
        rows = self.check.get("schemes", ())
        within = sum(Interval(**row["measured"]).contains(row["predicted"]) for row in rows)
        if not rows or 2 * within >= len(rows):
            return None
        bias = float(np.mean([row["error"] for row in rows]))
        return (
            f"only {within} of {len(rows)} predictions lie in the 95 % interval of the measured whole network: they "
            f"are {abs(bias):.2f} points too {'high' if bias > 0 else 'low'} on average, and a limit (max_increment) "
            f"is that much too {'strict' if bias > 0 else 'loose'}"
        )

    @property
    def noise_warning(self) -> str | None:
        """A warning, where the increments are smaller than their uncertainty; None for a sound table."""
        return noise_warning(self.increments)

    def device_warning(self, device: str, threads: int | None) -> str | None:
        """A warning, where the table was measured on another device, or with another number of threads; else None.

        Args:
            device: the device of this run, as `device_name` gives it.
            threads: of this run's processor; None on an accelerator, where they hardly matter.
        """
        if self.device == device and threads in (None, self.threads):
            return None
        here = device if threads is None else f"{device} with {how_many(threads, 'thread')}"
        return (
            f"measured on {self.device} with {how_many(self.threads, 'thread')}, and this is {here}: "
            "the percentages hold there and may differ here"
        )

    def predicted(self, scheme: Scheme) -> float:
        """Time increment of Eq. 9 that is expected of a scheme, in percent of Org's time."""
        return float(np.dot(scheme.bits, self.percent))

    def save(self, path: str | Path) -> None:
        """Write the table as JSON, with the environment it was measured in; the file is replaced atomically."""
        write_atomic(
            path, json.dumps({"format": FORMAT, **asdict(self), "environment": environment()}, indent=2) + "\n"
        )

    @classmethod
    def load(cls, path: str | Path) -> LatencyTable:
        """Read what `save` wrote.

        Raises:
            EANError: if the file is missing, or no table.
        """
        content = read_json(path, what="latency table", advice=MEASURE)
        table = None
        if isinstance(content, dict) and content.get("format") == FORMAT:
            table = checked(cls, content, where=f"latency table {path}", advice=MEASURE)
        if table is None or len(table.increments) != sum(table.blocks):
            found = content.get("format") if isinstance(content, dict) else None
            raise later_version(path, found, FORMAT) or EANError(
                f"{path} is not a latency table (format {FORMAT!r}, an increment per block): {MEASURE}"
            )
        return table

    def require(self, path: str | Path, **wanted: Any) -> None:
        """Refuse a table that was measured for something else.

        Args:
            path: of the table, for the message.
            wanted: fields of the table and what they have to be.

        Raises:
            EANError: naming the first field that differs, with both values.
        """
        for name, value in wanted.items():
            measured = getattr(self, name)
            if json.loads(json.dumps(measured)) != json.loads(json.dumps(value)):
                raise EANError(
                    f"{path} was measured for {name.replace('_', ' ')} {measured!r}, but this run is for {value!r}: "
                    f"{MEASURE} for this network, batch and device"
                )


def device_name(device: str | torch.device) -> str:
    """The accelerator's or the processor's model."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def measure_table(
    network: StagedNetwork | BackboneWrapper,
    batch: torch.Tensor,
    *,
    mode: str,
    rounds: int,
    seed: int = 0,
    clock: Clock | None = None,
    after_round: Callable[[], None] | None = None,
    **names: Any,
) -> LatencyTable:
    """Time Org and the networks of a weighing design in turns, and solve for what each connection adds.

    Args:
        network: with attention, on the batch's device; it keeps its scheme.
        batch: images (B, C, H, W).
        mode: a key of `MODES`.
        rounds, seed, clock, after_round: as for `ean_core.benchmark.timing.compare`.
        names: arch, attention, options, sharing and model, for the table.

    Raises:
        EANError: if this machine cannot run the mode.
    """
    blocks = network.stages_blocks
    design = weighing_design(sum(blocks))
    network_names = [ORG, *(f"network {number}" for number in range(1, len(design)))]
    schemes = {name: Scheme(tuple(row), blocks) for name, row in zip(network_names, design.tolist(), strict=True)}
    networks = build_networks(network, schemes, batch, mode)
    timings = measure(networks, batch, rounds=rounds, clock=clock, after_round=after_round)
    seconds = np.array([timings[name].seconds for name in network_names])  # (N, rounds)
    return LatencyTable(
        **names,
        blocks=blocks,
        batch_size=batch.shape[0],
        image_size=batch.shape[-1],
        device=device_name(batch.device),
        setting=mode,
        threads=torch.get_num_threads(),
        rounds=rounds,
        org=median_interval(timings[ORG], seed=seed),
        increments=tuple(weigh(seconds, design, seed=seed)),
    )


def weighing_design(blocks: int) -> np.ndarray:
    """Bits (N, m) of the networks to measure, the first without connections; N is the power of 2 above m.

    Columns of Sylvester's Hadamard matrix but its first, 1 for -1: any two of them are there together, alone and not at
    all in a quarter of the networks each.
    """
    size = 1 << blocks.bit_length()
    return (hadamard(size)[:, 1 : blocks + 1] < 0).astype(int)


def weigh(seconds: np.ndarray, design: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> list[Interval]:
    """What each connection adds, in percent of Org's time, by least squares, with 95 % intervals over the rounds.

    A round's times are first divided by their median, which takes out a load that comes and goes, and the median of
    a network over the rounds then leaves out the turns that something else disturbed.

    Args:
        seconds: (N, rounds).
        design: bits (N, m).
        resamples, seed: of the bootstrap, which draws rounds.
    """
    org_and_connections = np.hstack([np.ones((len(design), 1)), design])  # (N, 1 + m)
    least_squares = np.linalg.pinv(org_and_connections)  # (1 + m, N)

    def percent(relative: np.ndarray, axis: int) -> np.ndarray:
        """(N, ..., rounds) to (m, ...)."""
        fitted = np.tensordot(least_squares, np.median(relative, axis=axis), axes=1)  # (1 + m, ...)
        return 100 * fitted[1:] / fitted[0]

    return bootstrap_each(percent, seconds / np.median(seconds, axis=0), resamples=resamples, seed=seed)


def check_table(
    table: LatencyTable,
    network: StagedNetwork | BackboneWrapper,
    batch: torch.Tensor,
    *,
    count: int = 6,
    seed: int = 0,
    clock: Clock | None = None,
    after_round: Callable[[], None] | None = None,
) -> LatencyTable:
    """Compare what a table predicts with measured whole networks.

    Args:
        table: of this network and batch.
        network, batch, clock, after_round: as for `measure_table`.
        count: schemes: the full one, and random ones with evenly spread numbers of connections.
        seed: of the schemes and the bootstrap.

    Returns:
        a copy whose `check` holds "schemes" (bits, connections, predicted, measured, error) and the errors' mean
        ("bias"), "mean_absolute" and "max", all in percentage points of the increment, and how many predictions lie
        "within" the interval of their measurement.
    """
    schemes = {scheme.text: scheme for scheme in check_schemes(table.blocks, count, seed=seed)}
    networks = build_networks(network, {ORG: Scheme.all_off(table.blocks), **schemes}, batch, table.setting)
    how = {"rounds": table.rounds, "seed": seed, "clock": clock, "after_round": after_round}
    compared = compare(networks, batch, reference=ORG, **how)
    rows = []
    for text, scheme in schemes.items():
        increment = compared[text].increment
        assert increment is not None  # only the reference has none
        measured, predicted = increment.scaled(100), table.predicted(scheme)
        rows.append(
            {
                "bits": text,
                "connections": scheme.connections,
                "predicted": predicted,
                "measured": asdict(measured),
                "error": predicted - measured.value,
            }
        )
    errors = np.array([row["error"] for row in rows])
    within = sum(Interval(**row["measured"]).contains(row["predicted"]) for row in rows)
    absolute = np.abs(errors)
    means = {"bias": float(errors.mean()), "mean_absolute": float(absolute.mean()), "max": float(absolute.max())}
    check = {"schemes": rows, **means, "within": within}
    return dataclasses.replace(table, check=check)


def check_schemes(blocks: Sequence[int], count: int, *, seed: int) -> list[Scheme]:
    """The full scheme and random ones from few to many connections; fewer if there are no more different ones."""
    m, rng = sum(blocks), np.random.default_rng(seed)
    schemes = {"1" * m: Scheme.all_on(blocks)}
    for connections in np.linspace(1, m, count + 1)[1:-1].round().astype(int):
        scheme = Scheme.random_of_size(blocks, int(connections), rng)
        schemes.setdefault(scheme.text, scheme)
    return list(schemes.values())[:count]


def build_networks(
    network: StagedNetwork | BackboneWrapper, schemes: Mapping[str, Scheme], batch: torch.Tensor, mode: str
) -> dict[str, InferenceFn]:
    """The network with each of the schemes, made ready for inference in a mode."""
    before, networks = network.scheme, {}
    try:
        for name, scheme in schemes.items():
            network.set_scheme(scheme)
            networks[name] = MODES[mode].build(network, batch)
    finally:
        network.set_scheme(before)
    return networks
