"""The guard against divergence: which step it names, when it looks, and that all processes stop together."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ean_core.training.finite_guard import StopIfNotFinite, check_run
from ean_core.training.hooks import SaveState
from ean_core.training.metrics import Confusion
from ean_core.utils.errors import EANError
from tests.helpers.ranks import two_ranks


def fake_runner(directory: Path, *, step: int = 0) -> Any:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    wrapper = SimpleNamespace(get_lr=lambda: {"lr": [0.1, 3.0]})
    return SimpleNamespace(iter=step, model=model, optim_wrapper=wrapper, work_dir=str(directory), hooks=[])


def losses(value: float, **parts: float) -> dict[str, Tensor]:
    return {name: torch.tensor(number) for name, number in {"loss": value, **parts}.items()}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_step_is_named_at_once_on_a_cpu(tmp_path: Path, value: float) -> None:
    guard, runner = StopIfNotFinite(), fake_runner(tmp_path)
    guard.after_train_iter(runner, 0, outputs=losses(1.0, acc=float("nan")))  # only losses are looked at
    runner.iter = 1
    with pytest.raises(EANError, match=rf"diverged: loss is {value} at step 2, with a learning rate of 3: lower it"):
        guard.after_train_iter(runner, 1, outputs=losses(value))


def test_a_part_of_the_loss_is_named_rather_than_the_sum_and_the_state_is_pointed_to(tmp_path: Path) -> None:
    (tmp_path / "last.pth").touch()
    outputs = {"loss": torch.tensor(float("nan")), "decode.loss_ce": torch.tensor([1.0, float("nan")])}
    with pytest.raises(EANError, match=r"decode.loss_ce is nan at step 1.* is in .*last.pth$"):
        StopIfNotFinite().after_train_iter(fake_runner(tmp_path), 0, outputs=outputs)


def test_on_a_gpu_losses_wait_for_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are looked at together, and the first bad one is still named; tensors of no device stand for a GPU's."""
    guard, runner, looks = StopIfNotFinite(every=4), fake_runner(tmp_path), []
    monkeypatch.setattr(guard, "check_losses", lambda runner: looks.append(runner.iter + 1))
    for runner.iter in range(9):
        guard.after_train_iter(runner, runner.iter, outputs={"loss": torch.empty((), device="meta")})
    guard.after_train_epoch(runner)
    assert looks == [4, 8, 9]
    late = StopIfNotFinite()
    late.losses = [(step, "loss", torch.tensor(1.0 if step < 6 else float("nan"))) for step in range(1, 9)]
    with pytest.raises(EANError, match="loss is nan at step 6"):
        late.before_val_epoch(runner)


def test_weights_are_looked_at_before_they_are_saved_or_validated(tmp_path: Path) -> None:
    runner, state = fake_runner(tmp_path, step=7), tmp_path / "last.pth"
    state.write_text("whole")
    runner.hooks.append(StopIfNotFinite())
    runner.hooks[0].after_train_iter(runner, 7, outputs=losses(1.0))
    check_run(runner)
    runner.model[1].running_var[1] = float("inf")
    for check in (runner.hooks[0].before_val_epoch, runner.hooks[0].after_train, check_run):
        with pytest.raises(EANError, match="1.running_var is not finite after step 8"):
            check(runner)
    with pytest.raises(EANError, match="1.running_var is not finite"):
        SaveState(state).save(runner, by_epoch=True)
    assert state.read_text() == "whole"


def test_what_one_process_finds_stops_both(tmp_path: Path) -> None:
    work = """
import torch
from ean_core.training.finite_guard import first_message
device, rank = torch.device("cpu"), rank_and_world()[0]
print([first_message(None, device=device), first_message("bad" if rank else None, device=device)])
"""
    ranks = two_ranks(work, directories=(tmp_path, tmp_path))
    assert [rank.stdout for rank in ranks] == ["[None, 'bad']\n"] * 2, ranks[0].stderr


def test_logits_that_are_not_finite_have_no_accuracy() -> None:
    metric = Confusion(3)
    logits = torch.zeros(4, 3)
    logits[1, 2] = float("nan")
    metric.process(None, [{"logits": logits, "labels": torch.zeros(4, dtype=torch.int64)}])
    with pytest.raises(EANError, match="outputs are not finite for 1 of 4 images"):
        metric.evaluate(4)
