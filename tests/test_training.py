"""The MMEngine side's small parts: metric, schedule, processes."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ean_core import EANError
from ean_core.training.classifier import autocast_for
from ean_core.training.distributed import rank_and_world, start_processes
from ean_core.training.metrics import Confusion
from ean_core.training.schedule import TrainSettings, optimizer_and_schedule


def test_confusion_counts_as_a_loop_does() -> None:
    generator = torch.Generator().manual_seed(0)
    metric, pairs = Confusion(7), []
    for count in (5, 9, 3):
        logits, labels = torch.randn(count, 7, generator=generator), torch.randint(0, 7, (count,), generator=generator)
        metric.process({}, [{"logits": logits, "labels": labels}])
        pairs += list(zip(logits, labels, strict=True))
    got = metric.evaluate(17)
    matrix = torch.zeros(7, 7, dtype=torch.int64)
    top5 = 0
    for logits, label in pairs:
        matrix[label, logits.argmax()] += 1
        top5 += int((logits > logits[label]).sum() < 5)
    assert torch.equal(metric.matrix, matrix)
    assert got["top1"] == pytest.approx(100 * float(matrix.diagonal().sum()) / 17)
    assert got["top5"] == pytest.approx(100 * top5 / 17)
    assert got["images"] == 17


def test_few_classes_make_top5_certain() -> None:
    metric = Confusion(3)
    metric.process({}, [{"logits": torch.eye(3), "labels": torch.tensor([1, 2, 0])}])
    assert metric.evaluate(3) == {"top1": 0.0, "top5": 100.0, "images": 3}


def rates(settings: TrainSettings, steps: int) -> list[float]:
    """The learning rate of every step, through MMEngine's own schedulers."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

    with DefaultScope.overwrite_default_scope("mmengine"):
        wrapper, schedule = optimizer_and_schedule(settings, steps_per_epoch=steps)
        optim = build_optim_wrapper(torch.nn.Linear(2, 2), wrapper)
        built = [PARAM_SCHEDULERS.build(dict(one), default_args={"optimizer": optim}) for one in schedule]
    found = []
    for step in range(settings.epochs * steps):
        found.append(optim.param_groups[0]["lr"])
        optim.optimizer.step()
        for one in built:
            if not one.by_epoch or (step + 1) % steps == 0:
                one.step()
    return found


def test_step_schedule_divides_at_its_milestones() -> None:
    found = rates(TrainSettings(epochs=5, lr=0.1, milestones=(2, 4)), 3)
    assert found == pytest.approx([0.1] * 6 + [0.01] * 6 + [0.001] * 3)


def test_cosine_schedule_warms_up_and_ends_near_zero() -> None:
    found = rates(TrainSettings(epochs=10, lr=0.4, schedule="cosine", warmup_epochs=1.0), 5)
    assert found[0] == pytest.approx(0.004)
    assert all(a < b for a, b in pairwise(found[:5]))
    assert max(found) == pytest.approx(0.4)
    assert all(a >= b for a, b in pairwise(found[4:]))
    assert found[-1] < 0.01


def test_precisions() -> None:
    x = torch.randn(2, 2)

    def product(precision: str) -> Tensor:
        with autocast_for("cpu", precision):
            return x @ x

    assert product("float32").dtype == torch.float32
    assert product("bfloat16").dtype == torch.bfloat16
    with pytest.raises(EANError, match="precision is one of"):
        autocast_for("cpu", "float8")


def test_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert start_processes("auto") == "none"
    assert rank_and_world() == (0, 1)
    with pytest.raises(EANError, match="launcher is one of auto, none, pytorch, slurm, got 'mpi'"):
        start_processes("mpi")
    with pytest.raises(EANError, match="SLURM_PROCID is not set: start the command with srun"):
        start_processes("slurm")
