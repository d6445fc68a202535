"""Finding numbers that are not finite."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ean_core.utils.find_nonfinite import first_not_finite, first_not_finite_in


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_first_is_named(value: float, dtype: torch.dtype) -> None:
    good, bad = torch.ones(3, dtype=dtype), torch.tensor([1.0, value], dtype=dtype)
    assert first_not_finite([("count", torch.tensor(3)), ("good", good)]) is None
    assert first_not_finite([("good", good), ("bad", bad), ("worse", bad)]) == "bad"
    assert first_not_finite([]) is None


def test_parameters_and_buffers() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert first_not_finite_in(module) is None
    module[1].running_mean[0] = float("nan")
    assert first_not_finite_in(module) == "1.running_mean"
    module[0].bias.data[0] = float("inf")
    assert first_not_finite_in(module) == "0.bias"
