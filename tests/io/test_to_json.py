"""JSON without NaN and infinity."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ean_core.io.records import write_record
from ean_core.io.to_json import to_json
from ean_core.utils.errors import EANError


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan")])
def test_the_number_is_named_and_nothing_is_written(tmp_path: Path, value: float) -> None:
    path = tmp_path / "result.json"
    path.write_text("whole")
    metrics = {"top1": 90.0, "rows": [{"mIoU": 1.0}, {"mIoU": value}]}
    with pytest.raises(EANError, match=r"was not written, because metrics.rows.1.mIoU is not a finite number"):
        write_record(path, kind="train", settings={}, metrics=metrics)
    assert path.read_text() == "whole"


def test_finite_values_are_as_the_standard_module_writes_them() -> None:
    value = {"a": [1, 2.5, None], "b": {"c": "text"}}
    assert json.loads(to_json(value, what="x", indent=1)) == value
