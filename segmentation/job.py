"""A segmentation run: an mmsegmentation config that is checked, trained by MMEngine, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device

from ean_core.io.records import write_record
from ean_core.networks import count_parameters
from ean_core.networks.weights_file import Weights, read_weights
from ean_core.scheme import Scheme
from ean_core.training.hooks import unwrap_model
from ean_core.training.runner import QuietRunner
from ean_core.training.step_timing import Pace, TimeSteps
from ean_core.training.work_dir import WorkDir, claim
from ean_core.utils.distributed import barrier, is_main_process, rank_and_world
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of
from ean_core.utils.progress import bar
from ean_core.utils.text import attention_label, how_many
from segmentation.backbone import EANResNet
from segmentation.config import build_datasets, build_model, check_fields, read_config
from segmentation.data.dataset_setup import incomplete
from segmentation.data.label_checks import Contents, check_disjoint, check_pairs, missing_classes, pixels_per_class
from segmentation.hooks import STATE, CountSeconds, ShowSteps, validations
from segmentation.third_party import register_all_modules
from segmentation.verdict import most_frequent_class


@dataclass(frozen=True)
class Job:
    """A checked segmentation run.

    Attributes:
        config: the runner's config, including work_dir and launcher.
        directory: output directory.
        label: name in the paper's tables: "Org", "Share-full-SE", "EAN-SE", ..
        data: contents of the lists "train" and "val".
        weights_sha256: checksum of the backbone's initial weights file; None without a file.
        parameters: number of parameters of the whole segmentor.
        resume: whether to resume from the state in the directory.
        lines: messages to print before the start.
        baseline: see `most_frequent_class`, of the validation masks.
    """

    config: Config
    directory: Path
    label: str
    data: dict[str, Contents]
    weights_sha256: str | None
    parameters: int
    resume: bool
    lines: tuple[str, ...] = field(default=())
    baseline: Mapping[str, Any] = field(default_factory=dict)

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
        dry_run: bool = False,
    ) -> Job:
        """Read a config, check its data and weights, and claim the directory.

        Args:
            path: a segmentation config.
            options: fields to replace, by dotted name.
            data_root: replaces the leading `data` of the data sets' folders.
            weights: initial weights of the backbone; replaces the config's init_cfg.
            seed: seed of weights, order and augmentation.
            amp: train with mixed precision: float16 on GPUs, bfloat16 on CPUs.
            directory: output directory; default work_dirs/NAME.
            launcher: as returned by `start_processes`.
            resume: resume the run in the directory.
            backends: names of additional visualization backends.
            dry_run: claim no directory.

        Raises:
            EANError: for anything that would make the run fail later; nothing is written then.
        """
        register_all_modules(init_default_scope=True)
        config = read_config(path, options, data_root=data_root, weights=weights, amp=amp)
        directory = Path(directory or Path("work_dirs") / Path(path).stem)
        config.work_dir, config.launcher = str(directory), launcher
        config.randomness = {**config.get("randomness", {}), "seed": seed}
        train, val = build_datasets(config)
        data = {"train": check_pairs(train), "val": check_pairs(val)}
        warnings = check_disjoint(train, val)
        for dataset, (part, contents) in zip((train, val), data.items(), strict=True):
            if message := missing_classes(dataset, contents, part={"train": "training", "val": "validation"}[part]):
                raise EANError(message)
        model = build_model(config)
        classes = len(train.metainfo["classes"])
        check_config(config, model, classes)
        weights = starting_weights(config, model.backbone)
        checksum = sha256_of(weights.source) if weights is not None and Path(weights.source).is_file() else None
        begun = [directory / STATE, directory / "result.json"]
        work_dir = WorkDir(directory, "segmentation", (None,))
        if not dry_run:
            claim(directory, run_identity(config, data, checksum), resume=resume, begun=begun, work_dir=work_dir)
        config.visualizer.pop("name", None)  # a named visualizer would be reused from this process's earlier run
        config.visualizer.vis_backends = [*config.visualizer.vis_backends, *({"type": name} for name in backends)]
        loaded = "random weights: give --weights torchvision://resnet50, or a classifier.pth, for useful accuracy"
        if weights is not None:
            loaded = str(model.backbone.load(weights)) if isinstance(model.backbone, EANResNet) else weights.source
        lines = (
            describe(config, model, data, classes=classes),
            f"backbone: {loaded}",
            *normalization_notes(config, weights),
            *filter(
                None, (incomplete(dataset, data[part].pairs) for dataset, part in ((train, "train"), (val, "val")))
            ),
            *warnings,
        )
        baseline = most_frequent_class(pixels_per_class(val, data["val"]).tolist(), val.metainfo["classes"])
        label, parameters = network_label(model.backbone), count_parameters(model)
        return cls(config, directory, label, data, checksum, parameters, resume, lines, baseline)

    @property
    def record(self) -> Path:
        """Path of the run's record."""
        return self.directory / "result.json"

    def run(self, *, on_pace: Callable[[Pace], None] | None = None) -> dict[str, Any]:
        """Train, validate the final weights, and write the record.

        Args:
            on_pace: called once when the first few steps have been timed.

        Returns:
            the record's metrics; an empty dictionary in all processes but the first.
        """
        state, clock = self.directory / STATE, CountSeconds()
        runner = QuietRunner.from_cfg(self.config)
        if self.resume:
            runner.resume_from(state)
        runner.register_hook(clock)
        with bar("training", self.config.train_cfg.max_iters, show=is_main_process()) as progress:
            runner.register_hook(ShowSteps(progress))
            if on_pace is not None:
                runner.register_hook(TimeSteps(on_pace))
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
            "most_frequent_class": dict(self.baseline),
            "parameters": self.parameters,
            "backbone_parameters": count_parameters(unwrap_model(runner.model).backbone),
            "seconds": round(clock.seconds, 1),
            "resumed": self.resume,
        }
        write_record(self.record, kind="segmentation-run", settings=self.settings(), metrics=metrics)
        return metrics

    def settings(self) -> dict[str, Any]:
        """The settings that the record stores."""
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
                part: {"images": contents.pairs, "fingerprint": contents.fingerprint, **data_source(config, part)}
                for part, contents in self.data.items()
            },
            "processes": rank_and_world()[1],
        }


def describe(config: Config, model: Any, data: Mapping[str, Contents], *, classes: int) -> str:
    """One line about the network, the data and the seed."""
    return (
        f"{Path(config.filename).stem}: {network_label(model.backbone)}, {count_parameters(model):,} parameters, "
        f"{data['train'].pairs:,} training and {data['val'].pairs:,} validation images, {classes} classes, "
        f"{how_many(config.train_cfg.max_iters, 'step')} of "
        f"{how_many(config.train_dataloader.batch_size * rank_and_world()[1], 'image')}, "
        f"seed {config.randomness['seed']}, on {get_device().upper()}, {how_many(rank_and_world()[1], 'process')}, "
        f"work directory {config.work_dir}"
    )


def run_identity(config: Config, data: Mapping[str, Contents], weights_sha256: str | None) -> dict[str, Any]:
    """The settings that identify a run: the config without directory and launcher, the data and the weights."""
    identity = {**config.to_dict(), "processes": rank_and_world()[1], "weights_sha256": weights_sha256}
    identity["data_fingerprints"] = {part: contents.fingerprint for part, contents in data.items()}
    return {key: value for key, value in identity.items() if key not in ("work_dir", "launcher")}


def data_source(config: Config, part: str) -> dict[str, Any]:
    """Folder, list and classes of a data set, as the config names them."""
    dataset = config[f"{part}_dataloader"].dataset
    return {"root": str(dataset.data_root), "list": dataset.ann_file, "only": dataset.get("only")}


def starting_weights(config: Config, backbone: Any) -> Weights | None:
    """Read the backbone's initial weights; None for random weights.

    All other parts load theirs through MMEngine, whose reader can execute code in a file: they are pointed to a file
    that was checked here.

    Raises:
        EANError: if weights are unavailable or damaged, or a file contains more than weights.
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
    """Yield the init_cfg of every part of a model's config that loads a file."""
    if isinstance(part, list | tuple):
        for item in part:
            yield from pretrained_parts(item)
    elif isinstance(part, Mapping):
        if part.get("type") == "Pretrained" and "checkpoint" in part:
            yield part
        for item in part.values():
            yield from pretrained_parts(item)


def normalization_notes(config: Config, weights: Weights | None) -> list[str]:
    """Notes for weights that were trained with a normalization other than the config's; empty if they agree."""
    theirs = None if weights is None else weights.normalization
    notes = []
    for name, values in zip(("mean", "std"), theirs or (), strict=False):
        scaled, ours = [255 * value for value in values], list(config.model.data_preprocessor.get(name) or ())
        if any(abs(expected - configured) > 1 for expected, configured in zip(scaled, ours, strict=False)):
            shown = ", ".join(f"{value:.1f}" for value in scaled)
            notes.append(
                f"note: the classifier was trained on images with {name} [{shown}], but the config has {ours}: set "
                f"model.data_preprocessor.{name} accordingly"
            )
    return notes


def check_config(config: Config, model: Any, classes: int) -> None:
    """Check that a config can be trained, resumed and recorded with this model and number of classes.

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
    """Check that the config has the metric and hooks that resuming and recording need.

    Raises:
        EANError: if not.
    """
    present = {config.get("val_evaluator", {}).get("type"), *(hook["type"] for hook in config.get("custom_hooks", ()))}
    missing = [name for name in ("ClassIoU", "SaveIterations", "KeepValidations", "SeedSteps") if name not in present]
    if missing:
        raise EANError(
            f"{config.filename} has no {missing[0]}: base it on segmentation/configs/_base_/voc.py, or train it with "
            "mmsegmentation's own tools/train.py, which any config with an EANResNet works with"
        )


def check_numbers(config: Config) -> None:
    """Check that the numbers of steps and images are positive integers.

    Raises:
        EANError: if not.
    """
    for name, least in (("train_cfg.max_iters", 1), ("train_cfg.val_interval", 1), ("train_dataloader.batch_size", 1)):
        part, key = name.split(".")
        if not isinstance(value := config[part].get(key, least), int) or value < least:
            raise EANError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_batch(config: Config) -> None:
    """Check that batch norm sees several values, also after global pooling.

    Raises:
        EANError: if not.
    """
    synchronized = torch.cuda.is_available() and rank_and_world()[1] > 1
    if config.train_dataloader.batch_size < 2 and not synchronized:
        raise EANError(
            f"train_dataloader.batch_size is {config.train_dataloader.batch_size}: batch norm after global pooling "
            "needs at least 2 images per process"
        )


def check_classes(model: Any, classes: int) -> None:
    """Check that the heads have one output per class.

    Raises:
        EANError: if not.
    """
    auxiliary = getattr(model, "auxiliary_head", None)
    for head in (model.decode_head, auxiliary):
        if head is not None and head.num_classes != classes:
            raise EANError(
                f"{type(head).__name__} has num_classes={head.num_classes} but the data set has {classes} classes: set "
                "num_classes of decode_head and auxiliary_head to that"
            )


def check_losses(config: Config, model: Any, classes: int) -> None:
    """Check that the losses' class weights match the classes, and that no class is ignored.

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
                    f"the loss of {type(head).__name__} has {len(weights)} class weights but the data set has "
                    f"{classes} classes: give one per class"
                )
            ignored.append((f"the ignore_index of {type(head).__name__}'s loss", getattr(loss, "ignore_index", None)))
    for what, label in ignored:
        if isinstance(label, int) and 0 <= label < classes:
            raise EANError(
                f"{what} is {label}, which is a class of the data set ({classes} classes, 0 to {classes - 1}): "
                "use 255 or another number that is not a class"
            )


def network_label(backbone: Any) -> str:
    """The backbone's name in the paper's tables, such as "EAN-SE"."""
    if getattr(backbone, "attention", None) is None:
        return "Org"
    network, name = backbone.network, attention_label(backbone.attention)
    if network.sharing == "block":
        return f"Org-full-{name}"
    full = network.scheme == Scheme.all_on(network.stages_blocks)
    return f"{'Share-full' if full else 'EAN'}-{name}"
