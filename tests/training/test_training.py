"""The MMEngine side's small parts: metric, schedule, processes."""

from __future__ import annotations

import errno
import os
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import DataLoader

from ean_core import EANError, Scheme, create_model
from ean_core.training import hooks
from ean_core.training import runner as runner_module
from ean_core.training.classifier import ImageClassifier, SupernetClassifier, autocast_for
from ean_core.training.hooks import SaveState
from ean_core.training.metrics import Confusion
from ean_core.training.runner import build_runner
from ean_core.training.settings import TrainSettings, optimizer_and_schedule
from ean_core.utils.distributed import rank_and_world, start_processes


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
    assert metric.correct.tolist() == [bool(logits.argmax() == label) for logits, label in pairs]


def test_equal_logits_count_as_argmax_has_them() -> None:
    """Half of these images have two logits at their top that bfloat16 does not tell apart."""
    metric, generator = Confusion(100), torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 100, generator=generator).bfloat16().clamp(max=2)
    labels = torch.randint(0, 100, (2000,), generator=generator)
    metric.process({}, [{"logits": logits, "labels": labels}])
    metric.evaluate(2000)
    assert torch.equal(metric.correct, logits.argmax(dim=1) == labels)


def test_few_classes_have_no_top5() -> None:
    metric = Confusion(3)
    metric.process({}, [{"logits": torch.eye(3), "labels": torch.tensor([1, 2, 0])}])
    assert metric.evaluate(3) == {"top1": 0.0, "images": 3}


def rates(settings: TrainSettings, steps: int) -> list[float]:
    """The learning rate of every step, through MMEngine's own schedulers."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS, DefaultScope

    with DefaultScope.overwrite_default_scope("mmengine"):
        wrapper, schedule = optimizer_and_schedule(settings, steps_per_epoch=steps)
        optim = build_optim_wrapper(torch.nn.Linear(2, 2), wrapper)
        built = [PARAM_SCHEDULERS.build(dict(options), default_args={"optimizer": optim}) for options in schedule]
    learning_rates = []
    for step in range(settings.epochs * steps):
        learning_rates.append(optim.param_groups[0]["lr"])
        optim.optimizer.step()
        for scheduler in built:
            if not scheduler.by_epoch or (step + 1) % steps == 0:
                scheduler.step()
    return learning_rates


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"momentum": 0.8, "nesterov": True}, {"type": "SGD", "momentum": 0.8, "nesterov": True}),
        ({"optimizer": "adam"}, {"type": "Adam"}),
        ({"optimizer": "adamw"}, {"type": "AdamW"}),
    ],
)
def test_the_optimizer_is_that_of_the_settings(options: dict, expected: dict) -> None:
    wrapper, _ = optimizer_and_schedule(TrainSettings(epochs=1, lr=0.2, weight_decay=0.5, **options), steps_per_epoch=1)
    assert wrapper == {"type": "OptimWrapper", "optimizer": {**expected, "lr": 0.2, "weight_decay": 0.5}}


def test_step_schedule_divides_at_its_milestones() -> None:
    learning_rates = rates(TrainSettings(epochs=5, lr=0.1, milestones=(2, 4)), 3)
    assert learning_rates == pytest.approx([0.1] * 6 + [0.01] * 6 + [0.001] * 3)


def test_cosine_schedule_warms_up_and_ends_near_zero() -> None:
    learning_rates = rates(TrainSettings(epochs=10, lr=0.4, schedule="cosine", warmup_epochs=1.0), 5)
    assert learning_rates[0] == pytest.approx(0.004)
    assert all(a < b for a, b in pairwise(learning_rates[:5]))
    assert max(learning_rates) == pytest.approx(0.4)
    assert all(a >= b for a, b in pairwise(learning_rates[4:]))
    assert learning_rates[-1] < 0.01


def test_precisions() -> None:
    x = torch.randn(2, 2)

    def product(precision: str) -> Tensor:
        with autocast_for("cpu", precision):
            return x @ x

    assert product("float32").dtype == torch.float32
    assert product("bfloat16").dtype == torch.bfloat16
    with pytest.raises(EANError, match="precision must be one of"):
        autocast_for("cpu", "float8")


def test_launchers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert start_processes("auto") == "none"
    assert rank_and_world() == (0, 1)
    with pytest.raises(EANError, match="launcher must be one of auto, none, pytorch, slurm, got 'mpi'"):
        start_processes("mpi")
    with pytest.raises(EANError, match="SLURM_PROCID is not set: start the command with srun"):
        start_processes("slurm")


def test_a_full_disk_leaves_the_last_state_and_no_part_of_the_next(tmp_path: Path) -> None:
    class Runner:
        hooks, model = (), torch.nn.Linear(1, 1)

        def __init__(self, *named: str) -> None:
            self.named = named

        def save_checkpoint(self, folder: str, name: str, *, by_epoch: bool) -> None:
            Path(folder, name).write_text("half")
            raise OSError(
                errno.ENOSPC, "No space left on device", *(template.format(folder, name) for template in self.named)
            )

    state = tmp_path / "last.pth"
    state.write_text("whole")
    for runner in (Runner(), Runner("{}/{}")):
        with pytest.raises(OSError, match=r"No space left on device: '.*/last.pth'"):
            SaveState(state).save(runner, by_epoch=True)
    assert list(tmp_path.iterdir()) == [state]
    assert state.read_text() == "whole"


class Model(BaseModel):
    """One weight that is the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.norm = torch.nn.Parameter(torch.ones(1)), torch.nn.BatchNorm1d(1)

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        return {"loss": self.weight + self.norm(inputs).sum()}


def test_determinism_ends_with_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed after it in the same process is timed as in another one. The log file is closed."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    for deterministic in (False, True):
        settings = TrainSettings(epochs=1, deterministic=deterministic)
        loader = DataLoader([{"inputs": torch.zeros(1)}] * 2, batch_size=2)
        runner = build_runner(Model(), loader, settings, work_dir=tmp_path, seed=0)
        # cuBLAS must be told before it starts
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if deterministic else None)
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        runner.train()
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark
        assert not torch.backends.cudnn.deterministic
    assert not any(
        str(tmp_path) in os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")
    )


def test_processes_average_the_buffers_of_the_moving_average_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reduced: list[Tensor] = []
    monkeypatch.setattr(hooks, "all_reduce_params", lambda buffers, op: reduced.extend(buffers))
    monkeypatch.setattr(runner_module, "rank_and_world", lambda: (0, 2))
    loader = DataLoader([{"inputs": torch.randn(1)} for _ in range(4)], batch_size=2)
    runner = build_runner(Model(), loader, TrainSettings(epochs=1, ema=0.5), work_dir=tmp_path, seed=0)
    runner.train()
    (averaged,) = (hook.ema_model for hook in runner.hooks if hasattr(hook, "ema_model"))
    for norm in (runner.model.norm, averaged.module.norm):
        assert any(norm.running_mean is buffer for buffer in reduced)


@pytest.mark.parametrize("steps", [3, 9])
def test_the_engine_looks_at_the_loss_only_when_a_line_is_due(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look waits for the device; and what the log then says is the mean over the steps."""
    from mmengine.hooks import Hook

    from ean_core.training import step_log

    class Counting(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.calls = torch.nn.Parameter(torch.zeros(1)), 0

        def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
            self.calls += 1
            return {"loss": self.weight.sum() * 0 + self.calls}

    class Looked(Hook):
        priority = "VERY_LOW"

        def __init__(self) -> None:
            self.count, self.said = 0, {}

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            if "train/loss" in runner.message_hub.log_scalars:
                self.said[batch_idx] = runner.message_hub.get_scalar("train/loss").current()

    monkeypatch.setattr(step_log, "LOG_EVERY", 4)
    looked, real = Looked(), Tensor.item

    def item(self: Tensor) -> float:
        looked.count += 1
        return real(self)

    monkeypatch.setattr(Tensor, "item", item)
    loader = [{"inputs": torch.zeros(1)} for _ in range(steps)]
    settings = TrainSettings(epochs=1, batch_size=1, lr=1e-12)
    build_runner(Counting(), DataLoader(loader), settings, work_dir=tmp_path, seed=0, hooks=[looked]).train()
    due = [*range(3, steps, 4), *([] if steps % 4 == 0 else [steps - 1])]
    assert looked.count <= 1 + 2 * len(due)  # the data loader draws its seed, too
    means = {last: sum(range(first + 2, last + 2)) / (last - first) for first, last in pairwise([-1, *due])}
    assert {last: looked.said[last] for last in due} == means


def test_a_saved_average_weighs_old_and_new_as_its_decay_says(tmp_path: Path) -> None:
    """Beginning with the first step's weights, as MMEngine does."""

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
            return {"loss": -self.weight.sum()}  # a step of 1 upwards

    settings = TrainSettings(epochs=3, batch_size=1, lr=1.0, momentum=0.0, weight_decay=0.0, ema=0.75)
    loader = DataLoader([{"inputs": torch.zeros(1)}])
    build_runner(Model(), loader, settings, work_dir=tmp_path, seed=0).train()
    state = torch.load(tmp_path / "last.pth", weights_only=True)
    averaged = 0.75 * (0.75 * 1 + 0.25 * 2) + 0.25 * 3
    assert state["state_dict"]["weight"].item() == pytest.approx(averaged)
    assert state["ema_state_dict"]["module.weight"].item() == 3


def test_the_state_is_saved_as_often_as_asked_and_after_the_last_epoch() -> None:
    saved: list[int] = []
    hook = SaveState(Path("last.pth"), interval=3)
    hook.save = lambda runner, *, by_epoch: saved.append(runner.epoch + 1)
    for epoch in range(7):
        hook.after_train_epoch(SimpleNamespace(epoch=epoch, max_epochs=7))
    assert saved == [3, 6, 7]


def test_the_loss_is_the_smoothed_cross_entropy_and_a_supernets_the_mean_over_its_paths() -> None:
    torch.manual_seed(0)
    network = create_model("resnet20", attention="se", num_classes=5)
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 4, 2, 2])
    smoothed = 0.8 * torch.eye(5)[labels] + 0.2 / 5

    def loss(scheme: Scheme) -> Tensor:
        network.set_scheme(scheme)
        return -(smoothed * network(images).log_softmax(dim=1)).sum(dim=1).mean()

    paths = [Scheme.parse(bits, blocks=(3, 3, 3)) for bits in ("111000111", "000000000", "010101010")]
    wanted = [loss(path) for path in paths]
    one = ImageClassifier(network, torch.nn.Identity(), label_smoothing=0.2)
    torch.testing.assert_close(one.losses(images, labels)["loss"], wanted[-1])
    supernet = SupernetClassifier(network, torch.nn.Identity(), label_smoothing=0.2)
    supernet.paths = paths
    torch.testing.assert_close(supernet.losses(images, labels)["loss"], torch.stack(wanted).mean())
