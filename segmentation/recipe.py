"""The recipe of a search over segmentors: what the pipeline needs to know of an mmsegmentation config.

Beside mmsegmentation's own fields such a config has

    data = dict(val_share=0.2, split_seed=0)        where its validation images are its test images
    supernet = dict(train_cfg=dict(max_iters=300))  fields of the config that training on random paths replaces
    search = dict(method="ean", steps=40)           `ean_core.pipeline.recipe.SearchRecipe`
    retrain = ["org", "ean"]
    seeds = [0, 1, 2]
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from mmengine.config import Config

from ean_core.pipeline import recipe
from ean_core.pipeline.recipe import ModelRecipe
from ean_core.utils.checked_dataclasses import Range
from ean_core.utils.errors import EANError

SECTIONS = ("data", "supernet", "search", "retrain", "seed", "seeds")
"""Fields of a config that only a search reads."""

OF_A_PLACE = ("custom_imports", "work_dir", "launcher", "randomness", "title", "note", *SECTIONS)
"""Fields of a config that a training does not depend on, or that its identity holds elsewhere."""

OF_A_NETWORK = ("attention", "sharing", "scheme", "attention_options", "unconnected")
"""Fields of the backbone that a network's spec decides."""


@dataclass(frozen=True)
class DataRecipe:
    """Which images score schemes.

    Attributes:
        val_share: share of the training list that is held out to score schemes, as is needed where the config's
            validation images are its test images; None: schemes are scored on the validation images.
        split_seed: of the draw, the same for all seeds of a run.
    """

    val_share: float | None = None
    split_seed: Annotated[int, Range(0, 2**63 - 1)] = 0

    def __post_init__(self) -> None:
        if self.val_share is not None and not 0 < self.val_share < 1:
            raise EANError(f"data.val_share must lie between 0 and 1, got {self.val_share}")


@dataclass(frozen=True)
class TrainRecipe:
    """How segmentors are trained.

    Attributes:
        iterations: steps of a training.
        config: the config without what the network's spec and the place of a run decide, as plain values.
    """

    iterations: Annotated[int, Range(1, 10**8)]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class SupernetRecipe(TrainRecipe):
    """How the supernet is trained: see `TrainRecipe`, with the fields of the config's `supernet` replaced."""


@dataclass(frozen=True)
class Recipe(recipe.Recipe):
    """All of a run; see `ean_core.pipeline.recipe.Recipe` for the fields that all tasks share."""

    data: DataRecipe
    train: TrainRecipe
    supernet: SupernetRecipe | None = None

    configs: ClassVar[str] = "segmentation/configs"

    @classmethod
    def of(cls, config: Config, flags: Mapping[str, Any]) -> Recipe:
        """The recipe in a config.

        Args:
            config: as `segmentation.config.read_config` returns it; its backbone is an EANResNet.
            flags: fields that the command's flags replace, such as "seed".

        Raises:
            EANError: if a field is unknown or of the wrong kind.
        """
        content = config.to_dict()
        values: dict[str, Any] = {
            "name": Path(config.filename).stem,
            "model": backbone_recipe(config),
            "data": content.get("data", {}),
            "train": training(config),
            "note": content.get("note") or "",
            **{name: content[name] for name in ("search", "retrain", "seed", "seeds") if name in content},
            **flags,
        }
        if "supernet" in content:
            values["supernet"] = {**training(supernet_config(config))}
        return cls.from_values(values, where=str(config.filename))


def backbone_recipe(config: Config) -> ModelRecipe:
    """The backbone in which a config's schemes are searched.

    Raises:
        EANError: for another backbone than an EANResNet.
    """
    backbone = config.model.backbone
    if backbone.get("type") != "EANResNet":
        raise EANError(
            f"{config.filename} has the backbone {backbone.get('type')!r}, which has no connections to search: give it "
            "an EANResNet, as segmentation/backbone.py describes"
        )
    return ModelRecipe(
        arch=backbone.get("arch", "resnet50"),
        attention=backbone.get("attention", "se") or "se",
        attention_options=dict(backbone.get("attention_options") or {}),
        pretrained=(backbone.get("init_cfg") or {}).get("checkpoint"),
    )


def training(config: Config) -> dict[str, Any]:
    """The values of a `TrainRecipe`."""
    content = {name: value for name, value in config.to_dict().items() if name not in OF_A_PLACE}
    model = content["model"]
    backbone = {name: value for name, value in model["backbone"].items() if name not in OF_A_NETWORK}
    return {
        "iterations": config.train_cfg.max_iters,
        "config": {**content, "model": {**model, "backbone": backbone}},
    }


def supernet_config(config: Config) -> Config:
    """The config of the training on random paths, which validates nothing.

    Raises:
        EANError: if `supernet` is not a dictionary of the config's fields.
    """
    changed, fields = copy.deepcopy(config), config.get("supernet")
    if not isinstance(fields, Mapping) or any(name not in config or name in SECTIONS for name in fields):
        raise EANError(
            f"supernet of {config.filename} must be a dictionary of the config's fields that its training replaces, "
            f"such as dict(train_cfg=dict(max_iters=1000)), got {fields!r}"
        )
    changed.merge_from_dict(dict(fields))
    for part in ("val", "test"):
        for name in ("dataloader", "cfg", "evaluator"):
            changed[f"{part}_{name}"] = None
    unneeded = ("KeepValidations", "SidePictures")
    changed.custom_hooks = [hook for hook in changed.get("custom_hooks", ()) if hook["type"] not in unneeded]
    changed.find_unused_parameters = True  # those of blocks that a path does not connect
    if "model_wrapper_cfg" in changed:
        changed.model_wrapper_cfg.find_unused_parameters = True
    return changed
