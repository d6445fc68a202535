"""One rule for all randomness here: a generator is made from the numbers that name what it decides."""

from __future__ import annotations

import numpy as np
import torch


def generator_for(*numbers: int) -> torch.Generator:
    """A CPU generator that depends on `numbers` (non-negative integers) and on nothing else.

    The numbers are mixed by NumPy's `SeedSequence`, so that (seed 0, epoch 1) and (seed 1, epoch 0) have nothing in
    common; their count goes in first, since to `SeedSequence` trailing zeros are nothing. Global random states are
    neither read nor written: a resumed run meets the draws it would have met.
    """
    low, high = (int(word) for word in np.random.SeedSequence((len(numbers), *numbers)).generate_state(2, np.uint32))
    return torch.Generator().manual_seed(low | (high >> 1) << 32)  # 63 bits: manual_seed takes a signed number
