"""Generators seeded by what they are used for, such as (seed, epoch, image)."""

from __future__ import annotations

import numpy as np
import torch


def generator_for(*numbers: int) -> torch.Generator:
    """A CPU generator that depends on `numbers` (non-negative integers) and on nothing else.

    The numbers are mixed by NumPy's `SeedSequence`, so that (seed 0, epoch 1) and (seed 1, epoch 0) are unrelated.
    Their count comes first, since `SeedSequence` ignores trailing zeros. Global random state is neither read nor
    written, so a resumed run draws the same numbers.
    """
    low, high = (int(word) for word in np.random.SeedSequence((len(numbers), *numbers)).generate_state(2, np.uint32))
    return torch.Generator().manual_seed(low | (high >> 1) << 32)  # 63 bits: manual_seed takes a signed number
