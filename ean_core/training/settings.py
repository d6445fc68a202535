"""Training settings: epochs, optimizer and learning-rate schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ean_core.training.classifier import PRECISIONS
from ean_core.utils.errors import EANError

SCHEDULES = ("step", "cosine")
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
"""Names in recipes, and those of `torch.optim`."""

RANGES = {
    "epochs": (1, 1_000_000),
    "batch_size": (1, 1_000_000),
    "save_interval": (1, 1_000_000),
    "val_interval": (0, 1_000_000),
    "lr": (1e-12, 1000),
    "gamma": (0, 1),
    "warmup_epochs": (0, 1_000_000),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 10),
    "label_smoothing": (0, 0.99),
    "ema": (0, 0.999999),
}
"""Least and largest values with which a training can give anything."""


MAX_FACTOR = 1000


@dataclass(frozen=True)
class TrainSettings:
    """Training settings of a network; the defaults are the paper's for CIFAR, except `epochs`, which recipes set.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step over all processes.
        lr: initial learning rate.
        optimizer: "sgd", "adam" or "adamw".
        schedule: "step": divided by 1 / gamma at every milestone; "cosine": to zero along a half cosine.
        milestones: epochs, for "step".
        gamma: factor at each milestone, for "step".
        warmup_epochs: epochs of linear warm-up from a hundredth of `lr`; may be fractional.
        momentum: of SGD; Adam and AdamW keep PyTorch's betas.
        nesterov: whether SGD's momentum is Nesterov's.
        weight_decay: on all parameters, as in the paper.
        label_smoothing: of the cross-entropy.
        ema: decay of an exponential moving average of the weights, which is then validated and saved.
        precision: "float32" or "bfloat16" (autocast).
        channels_last: memory format of weights and images; None: the device's default
            (`ean_core.training.device_defaults`).
        compile: torch.compile; a supernet is compiled block by block, since its path changes every step.
        cuda_graph: run forward and backward passes as one CUDA graph, for deep, thin networks on a single GPU; ignored
            without a GPU or with several processes. None: for small images on a GPU.
        val_interval: epochs between validations during training, which select nothing; 0: none.
        save_interval: epochs between two saves of the state.
        keep_last: also train on an epoch's last, smaller batch, as the authors' code does; with `cuda_graph` that step
            runs outside the graph, and `compile` recompiles for it.
        deterministic: use deterministic kernels only, for bitwise equal results on a GPU too; slower.
        lr_factors: parts of parameters' names -> factor of their learning rate.
        section: name of the recipe's section in error messages.
    """

    section: ClassVar[str] = "train"
    epochs: int
    batch_size: int = 128
    lr: float = 0.1
    optimizer: str = "sgd"
    schedule: str = "step"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    ema: float | None = None
    precision: str = "float32"
    channels_last: bool | None = None
    compile: bool = False
    cuda_graph: bool | None = None
    val_interval: int = 0
    save_interval: int = 1
    keep_last: bool = False
    deterministic: bool = False
    lr_factors: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise EANError(f"{self.section}.{name} must be at least {low:g} and at most {high:g}, got {value}")
        if self.optimizer not in OPTIMIZERS:
            raise EANError(f"{self.section}.optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if any(not 0 <= factor <= MAX_FACTOR for factor in self.lr_factors.values()):
            raise EANError(f"{self.section}.lr_factors must be from 0 to {MAX_FACTOR}, got {dict(self.lr_factors)}")
        last, ascending = RANGES["epochs"][1], sorted(set(self.milestones))
        if list(self.milestones) != ascending or any(not 1 <= epoch <= last for epoch in ascending):
            raise EANError(
                f"{self.section}.milestones must be epochs from 1 in ascending order, got {list(self.milestones)}"
            )
        if self.nesterov and self.optimizer != "sgd":
            raise EANError(f"{self.section}.nesterov needs optimizer 'sgd', not {self.optimizer!r}: change one of them")
        if self.schedule not in SCHEDULES:
            raise EANError(f"{self.section}.schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.schedule == "cosine" and self.milestones:
            raise EANError(f"{self.section}.milestones need schedule 'step', not 'cosine': change one of them")
        if self.warmup_epochs >= self.epochs:
            raise EANError(
                f"{self.section}.warmup_epochs must be fewer than the {self.epochs} epochs, got {self.warmup_epochs}"
            )
        if self.precision not in PRECISIONS:
            raise EANError(f"{self.section}.precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")


def optimizer_and_schedule(
    settings: TrainSettings, *, steps_per_epoch: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """MMEngine's configurations of the optimizer wrapper and of the learning-rate schedulers.

    Args:
        settings: see `TrainSettings`.
        steps_per_epoch: steps of one epoch; warm-up and cosine are updated every step.
    """
    optimizer = {"type": OPTIMIZERS[settings.optimizer], "lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        optimizer |= {"momentum": settings.momentum, "nesterov": settings.nesterov}
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    total = settings.epochs * steps_per_epoch
    schedule: list[dict[str, Any]] = []
    if warmup:
        schedule.append({"type": "LinearLR", "start_factor": 0.01, "by_epoch": False, "begin": 0, "end": warmup})
    if settings.schedule == "step":
        schedule.append(
            {"type": "MultiStepLR", "milestones": list(settings.milestones), "gamma": settings.gamma, "by_epoch": True}
        )
    else:
        length = max(1, total - warmup)
        schedule.append(
            {
                "type": "CosineAnnealingLR",
                "T_max": length,
                "eta_min": 0.0,
                "by_epoch": False,
                "begin": warmup,
                "end": total,
            }
        )
    wrapper: dict[str, Any] = {"type": "OptimWrapper", "optimizer": optimizer}
    if settings.lr_factors:
        keys = {name: {"lr_mult": factor} for name, factor in settings.lr_factors.items()}
        wrapper["paramwise_cfg"] = {"custom_keys": keys}
    return wrapper, schedule
