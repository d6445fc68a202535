"""The counters whose times a benchmark compares."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from crowd_counting.model.network import Counter, build_counter
from ean_core.utils.errors import EANError


def build_counters(
    arch: str, attentions: Sequence[str], schemes: Sequence[str], *, seed: int = 0, device: str = "cpu"
) -> dict[str, Counter]:
    """Org, then Share-full and EAN of each attention, pruned and in eval mode.

    Args:
        arch: a named architecture.
        attentions: names.
        schemes: none (no EAN), one for all attentions, or one for each, over all the network's stages; bits or files.
        seed: of the weights.
        device: where they go.

    Raises:
        EANError: for an unknown name, or a scheme of another length.
    """
    if len(schemes) not in (0, 1, len(attentions)):
        raise EANError(f"give one scheme, or one for each of the {len(attentions)} attentions, got {len(schemes)}")

    def counter(attention: str | None = None, scheme: str | None = None) -> Counter:
        torch.manual_seed(seed)
        return build_counter(arch, attention=attention, scheme=scheme).to(device)

    counters = {"Org": counter()}
    for index, attention in enumerate(attentions):
        counters[f"Share-full {attention}"] = counter(attention)
        if schemes:
            counters[f"EAN {attention}"] = counter(attention, schemes[index % len(schemes)])
    return counters
