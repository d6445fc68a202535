"""--log of the commands that train."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "config", ["segmentation/configs/ean_se_demo.py", "classification/configs/quickstart_digits.py"]
)
def test_an_unknown_log_is_refused_before_anything_starts(config: str, refused: Callable[..., str]) -> None:
    assert "did you mean 'wandb'" in refused("train", ROOT / config, "--log", "wanb")
