"""Networks timed in several inference modes, each against the reference in the same mode (Eq. 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor

from ean_core.benchmark.timing import Comparison, compare
from ean_core.deploy.compile import ModeUnavailable
from ean_core.deploy.modes import MODES, check_mode
from ean_core.networks import StagedNetwork


def compare_modes(
    networks: Mapping[str, StagedNetwork],
    batch: Tensor,
    modes: Sequence[str],
    *,
    reference: str = "Org",
    rounds: int = 50,
    seed: int = 0,
    after_round: Callable[[str], None] | None = None,
) -> tuple[dict[str, dict[str, Comparison]], dict[str, str]]:
    """Time networks in several modes, each against the reference in the same mode.

    Args:
        networks: name -> network, on the batch's device.
        batch: images (B, C, H, W).
        modes: keys of `MODES`.
        reference: the name among the networks whose times are t_without in Eq. 9.
        rounds: as for `ean_core.benchmark.timing.measure`.
        seed: of the bootstrap.
        after_round: called with the mode's name between rounds.

    Returns:
        mode -> network -> times and increment; and, for what this machine cannot run, mode -> why.

    Raises:
        EANError: for an unknown mode, before anything is timed.
    """
    for mode in modes:
        check_mode(mode)
    results, skipped = {}, {}
    for mode in modes:
        try:
            optimized = {name: MODES[mode].build(network, batch) for name, network in networks.items()}
        except ModeUnavailable as reason:
            skipped[mode] = str(reason)
            continue
        report = after_round and partial(after_round, mode)
        results[mode] = compare(optimized, batch, reference=reference, rounds=rounds, seed=seed, after_round=report)
    return results, skipped
