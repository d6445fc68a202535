"""The random paths on which a supernet is trained, and its weights without the last one.

Efficient Attention Network, section 4.2 and Algorithm 1 (https://arxiv.org/abs/2011.14058).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from ean_core.scheme import Scheme


def draw_path(blocks: Sequence[int], *, seed: int, step: int) -> Scheme:
    """a ~ Bernoulli(0.5)^m (Algorithm 1, line 3), a pure function of seed and step.

    So all processes, and resumed runs, draw the same path without sharing state.
    """
    return Scheme.random(blocks, np.random.default_rng([seed, step]))


def sandwich_paths(blocks: Sequence[int], *, seed: int, step: int, random_paths: int = 2) -> list[Scheme]:
    """The sandwich rule (https://arxiv.org/abs/1903.05134): largest, smallest and random paths in one step."""
    rng = np.random.default_rng([seed, step])
    drawn = [Scheme.random(blocks, rng) for _ in range(random_paths)]
    return [Scheme.all_on(blocks), Scheme.all_off(blocks), *drawn]


def forget_path_in_state(model: nn.Module) -> None:
    """Leave the current path out of a supernet's state dicts, since its weights belong to all paths."""
    model._register_state_dict_hook(_forget_path)


def _forget_path(model: nn.Module, state: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    del model, local_metadata
    for name, entry in getattr(state, "_metadata", {}).items():
        if name.startswith(prefix):
            entry.pop("scheme", None)
