"""Which runs are the same, as a directory's claim sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ean_core.training.run_lock import check_same, claim, first_difference
from ean_core.utils.errors import EANError

OLD = {"seed": 0, "train": {"lr": 0.1, "epochs": 3}}


@pytest.mark.parametrize("off", [None, False, 0, "", [], {}])
def test_a_setting_added_since_and_off_is_no_difference(off: object) -> None:
    assert first_difference(OLD, {**OLD, "train": {**OLD["train"], "deterministic": off}}) is None


def test_a_setting_added_since_agrees_with_what_was_always_done() -> None:
    assert first_difference(OLD, {**OLD, "train": {**OLD["train"], "optimizer": "sgd"}}) is None
    adam = {**OLD, "train": {**OLD["train"], "optimizer": "adam"}}
    assert first_difference(OLD, adam) == ("train.optimizer", None, "adam")
    assert first_difference(adam, {**OLD, "train": {**OLD["train"], "optimizer": "sgd"}}) == (
        "train.optimizer",
        "adam",
        "sgd",
    )


def test_differences_are_named() -> None:
    assert first_difference(OLD, {**OLD, "train": {**OLD["train"], "deterministic": True}}) == (
        "train.deterministic",
        None,
        True,
    )
    assert first_difference(OLD, {**OLD, "seed": 1}) == ("seed", 0, 1)
    with pytest.raises(EANError, match=r"made with train\.lr = 0\.1, and this run has 0\.2"):
        check_same(OLD, {**OLD, "train": {"lr": 0.2, "epochs": 3}}, what="made with")


def test_what_changes_no_result_may_differ() -> None:
    old = {"search": {"steps": 10, "bn_images": 0}}
    assert first_difference(old, {"search": {"steps": 99, "bn_images": 0}}) is None
    assert first_difference(old, {"search": {"steps": 10, "bn_images": 50}}) == ("search.bn_images", 0, 50)


def test_a_claim_without_work_is_replaced_and_one_with_work_is_not(tmp_path: Path) -> None:
    work = tmp_path / "last.pth"
    claim(tmp_path, {"seed": 0}, resume=False, begun=[work])
    claim(tmp_path, {"seed": 1}, resume=False, begun=[work])  # nothing was done yet
    work.touch()
    with pytest.raises(EANError, match="--resume"):
        claim(tmp_path, {"seed": 1}, resume=False, begun=[work])
    with pytest.raises(EANError, match="seed = 1, and this run has 2"):
        claim(tmp_path, {"seed": 2}, resume=True, begun=[work])
    claim(tmp_path, {"seed": 1}, resume=True, begun=[work])
