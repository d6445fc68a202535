"""Build the counters that a speed benchmark compares."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from crowd_counting.model.network import Counter, CounterSpec, build_counter
from crowd_counting.model.pretrained import make_spec, read_initial_weights
from crowd_counting.recipe import Recipe
from ean_core.utils.errors import EANError


def build_counters(
    arch: str, attentions: Sequence[str], schemes: Sequence[str], *, seed: int = 0, device: str = "cpu"
) -> dict[str, Counter]:
    """Build Org, then Share-full and EAN for each attention, pruned and in eval mode.

    Args:
        arch: a name of `ean_core.networks.ARCHITECTURES`.
        attentions: names of attention modules.
        schemes: bits or scheme files over all stages; empty (no EAN), one for all attentions, or one per attention.
        seed: seed for the random weights.
        device: device of the counters.

    Raises:
        EANError: for an unknown name or a scheme of the wrong length.
    """
    if len(schemes) not in (0, 1, len(attentions)):
        raise EANError(f"give one scheme, or one per attention ({len(attentions)}), got {len(schemes)}")

    def counter(attention: str | None = None, scheme: str | None = None) -> Counter:
        torch.manual_seed(seed)
        return build_counter(arch, attention=attention, scheme=scheme).to(device)

    counters = {"Org": counter()}
    for index, attention in enumerate(attentions):
        counters[f"Share-full {attention}"] = counter(attention)
        if schemes:
            counters[f"EAN {attention}"] = counter(attention, schemes[index % len(schemes)])
    return counters


def share_full(config: str) -> tuple[Counter, CounterSpec]:
    """The network in which a recipe's schemes are searched, with random weights, and its spec.

    Raises:
        EANError: if the recipe cannot be read.
    """
    model = Recipe.read(config, {}).model
    spec = make_spec(model, read_initial_weights(model.weights, arch=model.arch)).share_full()
    return spec.build(), spec
