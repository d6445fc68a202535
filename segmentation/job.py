"""A training run: a config of mmsegmentation, checked before anything starts, trained by MMEngine, and its record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmseg.utils import register_all_modules

from ean_core.io.records import write_record
from ean_core.networks import count_parameters
from ean_core.networks.weights_file import Weights, read_weights
from ean_core.scheme import Scheme
from ean_core.training.hooks import unwrap_model
from ean_core.training.run_lock import WorkDir, claim
from ean_core.training.runner import QuietRunner
from ean_core.utils.distributed import barrier, is_main_process, rank_and_world
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of
from ean_core.utils.progress import bar
from ean_core.utils.text import attention_label
from segmentation.backbone import EANResNet
from segmentation.config import build_model, check_fields, datasets_of, read_config
from segmentation.data.label_checks import Contents, check_disjoint, check_pairs, lacking_classes
from segmentation.hooks import STATE, CountSeconds, ShowSteps, validations


@dataclass(frozen=True)
class Job:
    """All that a run needs, checked.

    Attributes:
        config: of the runner, with work_dir and launcher.
        directory: where everything is written.
        label: "Org", "Share-full-SE", "EAN-SE", ..
        data: what the training and the validation list hold.
        weights_sha256: of the file that the backbone starts from; None without one.
        parameters: of the whole segmentor.
        resume: whether to go on from the state in the directory.
        lines: what is worth saying before the start.
    """

    config: Config
    directory: Path
    label: str
    data: dict[str, Contents]
    weights_sha256: str | None
    parameters: int
    resume: bool
    lines: tuple[str, ...] = field(default=())

    @classmethod
    def prepare(
        cls,
        path: str | Path,
        *,
        options: Mapping[str, Any] | None = None,
        data_root: str = "data",
        weights: str | None = None,
        seed: int = 0,
        amp: bool = False,
        directory: str | Path | None = None,
        launcher: str = "none",
        resume: bool = False,
        backends: Sequence[str] = (),
    ) -> Job:
        """Read a config, look at its data and its weights, and claim the directory.

        Args:
            path: a config.
            options: replace its fields, by dotted name.
            data_root: stands for the leading `data` of the data sets' folders.
            weights: what the backbone starts from; replaces the config's init_cfg.
            seed: of everything.
            amp: mixed precision: float16 on GPUs, bfloat16 on CPUs.
            directory: default work_dirs/NAME.
            launcher: as `start_processes` returned it.
            resume: go on with what is in the directory.
            backends: further visualisation backends by their registered names.

        Raises:
            EANError: for anything that would stop the run later; nothing is written then.
        """
        register_all_modules(init_default_scope=True)
        config = read_config(path, options, data_root=data_root, weights=weights, amp=amp)
        directory = Path(directory or Path("work_dirs") / Path(path).stem)
        config.work_dir, config.launcher = str(directory), launcher
        config.randomness = {**config.get("randomness", {}), "seed": seed}
        train, val = datasets_of(config)
        data = {"train": check_pairs(train), "val": check_pairs(val)}
        warnings = check_disjoint(train, val)
        for dataset, (part, contents) in zip((train, val), data.items(), strict=True):
            if said := lacking_classes(dataset, contents, part={"train": "training", "val": "validation"}[part]):
                raise EANError(said)
        model = build_model(config)
        classes = len(train.metainfo["classes"])
        check_config(config, model, classes)
        weights = starting_weights(config, model.backbone)
        checksum = sha256_of(weights.source) if weights is not None and Path(weights.source).is_file() else None
        begun = [directory / STATE, directory / "result.json"]
        work_dir = WorkDir(directory, "segmentation", (None,))
        claim(directory, identity_of(config, data, checksum), resume=resume, begun=begun, work_dir=work_dir)
        config.visualizer.pop("name", None)  # by its name it would be the one of this process's earlier run
        config.visualizer.vis_backends = [*config.visualizer.vis_backends, *({"type": name} for name in backends)]
        loaded = "random weights; --weights gives it a classifier.pth or torchvision://resnet50 to start from"
        if weights is not None:
            loaded = str(model.backbone.load(weights)) if isinstance(model.backbone, EANResNet) else weights.source
        lines = (
            describe(config, model, data, classes=classes),
            f"backbone: {loaded}",
            *normalization_note(config, weights),
            *warnings,
        )
        label, parameters = label_of(model.backbone), count_parameters(model)
        return cls(config, directory, label, data, checksum, parameters, resume, lines)

    @property
    def record(self) -> Path:
        """Where the run's record goes."""
        return self.directory / "result.json"

    def run(self) -> dict[str, Any]:
        """Train, validate the last weights, and write the record.

        Returns:
            the record's metrics; an empty dictionary in processes other than the first.
        """
        state, clock = self.directory / STATE, CountSeconds()
        runner = QuietRunner.from_cfg(self.config)
        if self.resume:
            runner.resume_from(state)
        runner.register_hook(clock)
        with bar("training", self.config.train_cfg.max_iters, show=is_main_process()) as progress:
            runner.register_hook(ShowSteps(progress))
            runner.train()
        barrier()
        if not is_main_process():
            return {}
        rows = validations(runner)
        metrics = {
            "network": self.label,
            "last": runner.val_evaluator.metrics[0].table,
            "best_of_validations": max(rows, key=lambda row: row["mIoU"]),
            "validations": rows,
            "parameters": self.parameters,
            "backbone_parameters": count_parameters(unwrap_model(runner.model).backbone),
            "seconds": round(clock.seconds, 1),
            "resumed": self.resume,
        }
        write_record(self.record, kind="segmentation-run", settings=self.settings(), metrics=metrics)
        return metrics

    def settings(self) -> dict[str, Any]:
        """What the record says of the run."""
        config = self.config
        backbone = dict(config.model.backbone)
        return {
            "config": Path(config.filename).stem,
            "title": config.get("title", Path(config.filename).stem),
            "note": config.get("note"),
            "backbone": backbone,
            "head": config.model.decode_head.type,
            "weights": (backbone.get("init_cfg") or {}).get("checkpoint"),
            "weights_sha256": self.weights_sha256,
            "seed": config.randomness["seed"],
            "iterations": config.train_cfg.max_iters,
            "batch_size": config.train_dataloader.batch_size * rank_and_world()[1],
            "optim_wrapper": dict(config.optim_wrapper),
            "crop": config.model.data_preprocessor.get("size"),
            "data": {
                part: {"images": one.pairs, "fingerprint": one.fingerprint, **where(config, part)}
                for part, one in self.data.items()
            },
            "processes": rank_and_world()[1],
        }


def describe(config: Config, model: Any, data: Mapping[str, Contents], *, classes: int) -> str:
    """A line that says what is about to be trained."""
    return (
        f"{Path(config.filename).stem}: {label_of(model.backbone)}, {count_parameters(model):,} parameters, "
        f"{data['train'].pairs:,} training and {data['val'].pairs:,} validation images, {classes} classes, "
        f"seed {config.randomness['seed']}"
    )


def identity_of(config: Config, data: Mapping[str, Contents], weights_sha256: str | None) -> dict[str, Any]:
    """What makes a run this one: the config but for where and how it is started, the data and the weights."""
    identity = {**config.to_dict(), "processes": rank_and_world()[1], "weights_sha256": weights_sha256}
    identity["data_fingerprints"] = {part: one.fingerprint for part, one in data.items()}
    return {key: value for key, value in identity.items() if key not in ("work_dir", "launcher")}


def where(config: Config, part: str) -> dict[str, Any]:
    """The data set's folder and list, as the config names them."""
    dataset = config[f"{part}_dataloader"].dataset
    return {"root": str(dataset.data_root), "list": dataset.ann_file, "only": dataset.get("only")}


def starting_weights(config: Config, backbone: Any) -> Weights | None:
    """The weights that the backbone starts from, read; None for random ones.

    All other parts get theirs from MMEngine, whose reader would run what an unknown file asks for: they are given the
    path of a file that was read here.

    Raises:
        EANError: if weights cannot be had, are damaged, or hold more than weights.
    """
    weights = None
    for init in pretrained_parts(config.model):
        read = read_weights(init["checkpoint"], arch=getattr(backbone, "arch", None))
        of_backbone = init is config.model.backbone.get("init_cfg")
        weights = read if of_backbone else weights
        if not (of_backbone and isinstance(backbone, EANResNet)):
            init["checkpoint"] = str(read.path)
    if config.get("load_from"):
        config.load_from = str(read_weights(config.load_from).path)
    return weights


def pretrained_parts(part: Any) -> Iterator[Any]:
    """The init_cfg of every part of a model's config that asks for a file."""
    if isinstance(part, list | tuple):
        for one in part:
            yield from pretrained_parts(one)
    elif isinstance(part, Mapping):
        if part.get("type") == "Pretrained" and "checkpoint" in part:
            yield part
        for one in part.values():
            yield from pretrained_parts(one)


def normalization_note(config: Config, weights: Weights | None) -> list[str]:
    """A line for weights whose images were normalized in another way than the config's; none if they agree."""
    theirs = None if weights is None else weights.normalization
    notes = []
    for name, values in zip(("mean", "std"), theirs or (), strict=False):
        scaled, ours = [255 * value for value in values], list(config.model.data_preprocessor.get(name) or ())
        if any(abs(one - other) > 1 for one, other in zip(scaled, ours, strict=False)):
            shown = ", ".join(f"{value:.1f}" for value in scaled)
            notes.append(
                f"note: the classifier was trained on images with {name} [{shown}], and the config says {ours}: set "
                f"model.data_preprocessor.{name} to it"
            )
    return notes


def check_config(config: Config, model: Any, classes: int) -> None:
    """Make sure that a config, with its model and its data's number of classes, can be trained, resumed and recorded.

    Raises:
        EANError: if not.
    """
    check_parts(config)
    check_numbers(config)
    check_batch(config)
    check_classes(model, classes)
    check_losses(config, model, classes)
    check_fields(config, model)


def check_parts(config: Config) -> None:
    """Make sure that the config has what resuming and the record depend on.

    Raises:
        EANError: if not.
    """
    there = {config.get("val_evaluator", {}).get("type"), *(hook["type"] for hook in config.get("custom_hooks", ()))}
    missing = [name for name in ("ClassIoU", "SaveIterations", "KeepValidations", "SeedSteps") if name not in there]
    if missing:
        raise EANError(
            f"{config.filename} has no {missing[0]}: base it on segmentation/configs/_base_/voc.py, or train it with "
            "mmsegmentation's own tools/train.py, which any config with an EANResNet works with"
        )


def check_numbers(config: Config) -> None:
    """Make sure that lengths are numbers of which a training can be made.

    Raises:
        EANError: if not.
    """
    for name, least in (("train_cfg.max_iters", 1), ("train_cfg.val_interval", 1), ("train_dataloader.batch_size", 1)):
        part, key = name.split(".")
        if not isinstance(value := config[part].get(key, least), int) or value < least:
            raise EANError(f"{name} must be a whole number of at least {least}, got {value!r}")


def check_batch(config: Config) -> None:
    """Make sure that batch norm has something to average over, also after the pooling of a whole image to one value.

    Raises:
        EANError: if not.
    """
    synchronised = torch.cuda.is_available() and rank_and_world()[1] > 1
    if config.train_dataloader.batch_size < 2 and not synchronised:
        raise EANError(
            f"train_dataloader.batch_size is {config.train_dataloader.batch_size}: batch norm after global pooling "
            "needs at least 2 images per process"
        )


def check_classes(model: Any, classes: int) -> None:
    """Make sure that the heads have an output for every class.

    Raises:
        EANError: if not.
    """
    auxiliary = getattr(model, "auxiliary_head", None)
    for head in (model.decode_head, auxiliary):
        if head is not None and head.num_classes != classes:
            raise EANError(
                f"{type(head).__name__} has num_classes={head.num_classes} and the data set {classes} classes: set "
                "num_classes of decode_head and auxiliary_head to it"
            )


def check_losses(config: Config, model: Any, classes: int) -> None:
    """Make sure that losses weigh as many classes as there are, and that what is not counted is none of them.

    Raises:
        EANError: if not.
    """
    heads = [one for one in (model.decode_head, getattr(model, "auxiliary_head", None)) if one is not None]
    ignored = [(f"{type(head).__name__}'s ignore_index", getattr(head, "ignore_index", None)) for head in heads]
    for part in ("val_evaluator", "test_evaluator"):
        if isinstance(evaluator := config.get(part), Mapping):
            ignored.append((f"{part}.ignore_index", evaluator.get("ignore_index")))
    ignored.append(
        ("model.data_preprocessor.seg_pad_val", config.model.get("data_preprocessor", {}).get("seg_pad_val"))
    )
    for head in heads:
        losses = head.loss_decode
        for loss in losses if isinstance(losses, Iterable) else [losses]:
            weights = getattr(loss, "class_weight", None)
            if weights is not None and len(weights) != classes:
                raise EANError(
                    f"the loss of {type(head).__name__} has a class_weight of {len(weights)} numbers and the data set "
                    f"{classes} classes: give one for each"
                )
            ignored.append((f"the ignore_index of {type(head).__name__}'s loss", getattr(loss, "ignore_index", None)))
    for what, label in ignored:
        if isinstance(label, int) and 0 <= label < classes:
            raise EANError(
                f"{what} is {label}, which is a class of the data set ({classes} classes, 0 to {classes - 1}): "
                "give 255, or another number that is none"
            )


def label_of(backbone: Any) -> str:
    """The name of the paper's tables for a backbone."""
    if getattr(backbone, "attention", None) is None:
        return "Org"
    network, name = backbone.network, attention_label(backbone.attention)
    if network.sharing == "block":
        return f"Org-full-{name}"
    full = network.scheme == Scheme.all_on(network.stages_blocks)
    return f"{'Share-full' if full else 'EAN'}-{name}"
