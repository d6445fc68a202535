"""The key by which a run's files are told from those of other runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ean_core.training.run_key import check_keys, key_of, run_key
from ean_core.training.work_dir import claim
from ean_core.utils.errors import EANError

RUN: dict[str, Any] = {"seed": 0, "data": {"name": "x"}, "train": {"lr": 1, "milestones": (2, 3), "val_interval": 1}}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"lr": 1.0, "milestones": [2.0, 3]}, True),
        ({"val_interval": 5}, True),
        ({"optimizer": "sgd", "deterministic": False, "ema": None}, True),  # added by a later version
        ({"optimizer": "adam"}, False),
        ({"lr": 2}, False),
        ({"milestones": (2, 4)}, False),
    ],
)
def test_equal_runs_have_equal_keys_and_others_do_not(change: dict[str, Any], same: bool) -> None:
    other = {**RUN, "train": {**RUN["train"], **change}}
    assert (run_key(other) == run_key(RUN)) == same
    assert run_key({**RUN, "data": {"name": "x", "content": "hash"}}) == run_key(RUN)
    assert run_key({**RUN, "seed": 1}) != run_key(RUN)


def test_whatever_a_damaged_file_holds_has_a_key() -> None:
    for value in (10**400, float("nan"), torch.zeros(3), b"x", {1: object}, [{"a": None}]):
        assert run_key({**RUN, "train": value}) != run_key(RUN)


def test_a_file_of_another_run_is_refused(tmp_path: Path) -> None:
    assert key_of(tmp_path) is None
    claim(tmp_path, RUN, resume=False, begun=[])
    assert key_of(tmp_path) == run_key(RUN)
    check_keys([None, run_key(RUN)], key_of(tmp_path), file=tmp_path)
    check_keys(["any"], None, file=tmp_path)
    with pytest.raises(EANError, match="x was written by a run with other settings"):
        check_keys([run_key(RUN), "0" * 12], run_key(RUN), file=Path("x"))
