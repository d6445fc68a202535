"""Networks in several modes, each against the reference in the same mode."""

from __future__ import annotations

import pytest
import torch

from ean_core import EANError
from ean_core.benchmark.mode_comparison import compare_modes
from tests.helpers.tiny_networks import images, trained


def test_a_mode_that_cannot_run_is_skipped_with_a_sentence() -> None:
    networks = {"Org": trained("resnet20"), "Share-full": trained("resnet20", "se")}
    x = images(networks["Org"], size=8)
    calls = []
    results, skipped = compare_modes(networks, x, ["cuda_graph", "eager"], rounds=2, after_round=calls.append)
    assert skipped == {"cuda_graph": "cuda_graph needs a CUDA device, and this runs on cpu"}
    assert list(results) == ["eager"]
    assert calls == ["eager", "eager"]
    assert results["eager"]["Share-full"].increment is not None


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(EANError, match="did you mean 'folded'"):
        compare_modes({"Org": trained("resnet20")}, torch.zeros(1, 3, 8, 8), ["foldet"], rounds=1)
