"""A segmentation run: an mmsegmentation config that is checked, trained by MMEngine, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device

from ean_core.io.records import write_record
from ean_core.networks import count_parameters
from ean_core.scheme import Scheme
from ean_core.training.hooks import unwrap_model
from ean_core.training.step_timing import Pace, TimeSteps
from ean_core.training.work_dir import WorkDir, claim
from ean_core.utils.distributed import is_main_process, rank_and_world
from ean_core.utils.files import sha256_of
from ean_core.utils.text import attention_label, how_many
from segmentation.config import build_datasets, build_model, read_config
from segmentation.config_checks import check_config
from segmentation.data.dataset_setup import incomplete
from segmentation.data.label_checks import Contents, check_parts, pixels_per_class
from segmentation.fit import fit, log_to, place
from segmentation.hooks import STATE, CountSeconds, validations
from segmentation.recipe import SECTIONS
from segmentation.starting_weights import load_backbone, normalize_as, starting_weights
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
        place(config, Path(directory or Path("work_dirs") / Path(path).stem), seed=seed, launcher=launcher)
        return cls._of(config, resume=resume, backends=backends, dry_run=dry_run)

    @classmethod
    def _of(cls, config: Config, *, resume: bool, backends: Sequence[str], dry_run: bool) -> Job:
        """The job of a config that says where the run is kept: its data and weights checked, its directory claimed."""
        directory = Path(config.work_dir)
        datasets, model = build_datasets(config), build_model(config)
        data, warnings = check_parts(dict(zip(("train", "val"), datasets, strict=True)))
        check_config(config, model, len(datasets[0].metainfo["classes"]))
        weights = starting_weights(config, model.backbone)
        notes = normalize_as(config, weights)
        checksum = sha256_of(weights.source) if weights is not None and Path(weights.source).is_file() else None
        if not dry_run:
            claim_directory(directory, run_identity(config, data, checksum), resume=resume)
        log_to(config, backends)
        loaded = load_backbone(model.backbone, weights)
        partial = [incomplete(dataset, found.pairs) for dataset, found in zip(datasets, data.values(), strict=True)]
        lines = (describe(config, model, data), f"backbone: {loaded}", *notes, *filter(None, partial), *warnings)
        label, parameters = network_label(model.backbone), count_parameters(model)
        baseline = validation_baseline(datasets[1], data["val"])
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
        clock = CountSeconds()
        timing = [] if on_pace is None else [TimeSteps(on_pace)]
        runner = fit(self.config, name="training", resume=self.resume, hooks=[clock, *timing])
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
                part: {"images": contents.pairs, "fingerprint": contents.fingerprint, "content": contents.content}
                | data_source(config, part)
                for part, contents in self.data.items()
            },
            "processes": rank_and_world()[1],
        }


def describe(config: Config, model: Any, data: Mapping[str, Contents]) -> str:
    """One line about the network, the data and the seed."""
    return (
        f"{Path(config.filename).stem}: {network_label(model.backbone)}, {count_parameters(model):,} parameters, "
        f"{data['train'].pairs:,} training and {data['val'].pairs:,} validation images, "
        f"{model.decode_head.num_classes} classes, {how_many(config.train_cfg.max_iters, 'step')} of "
        f"{how_many(config.train_dataloader.batch_size * rank_and_world()[1], 'image')}, "
        f"seed {config.randomness['seed']}, on {get_device().upper()}, {how_many(rank_and_world()[1], 'process')}, "
        f"work directory {config.work_dir}"
    )


def validation_baseline(dataset: Any, contents: Contents) -> dict[str, Any]:
    """See `most_frequent_class`, of the validation masks."""
    return most_frequent_class(pixels_per_class(dataset, contents).tolist(), dataset.metainfo["classes"])


def claim_directory(directory: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
    """Claim the directory of one training; see `claim`."""
    begun = [directory / STATE, directory / "result.json"]
    claim(directory, identity, resume=resume, begun=begun, work_dir=WorkDir(directory, "segmentation", (None,)))


def run_identity(config: Config, data: Mapping[str, Contents], weights_sha256: str | None) -> dict[str, Any]:
    """The settings that identify a run: the config without directory and launcher, the data and the weights."""
    identity = {**config.to_dict(), "processes": rank_and_world()[1], "weights_sha256": weights_sha256}
    identity["data_fingerprints"] = {part: contents.fingerprint for part, contents in data.items()}
    identity["content"] = {part: contents.content for part, contents in data.items()}
    return {key: value for key, value in identity.items() if key not in ("work_dir", "launcher", *SECTIONS)}


def data_source(config: Config, part: str) -> dict[str, Any]:
    """Folder, list (or, of data in folders, the part) and classes of a data set, as the config names them."""
    dataset = config[f"{part}_dataloader"].dataset
    images = dataset.get("ann_file") or dataset.get("part")
    return {"root": str(dataset.data_root), "list": images, "only": dataset.get("only")}


def network_label(backbone: Any) -> str:
    """The backbone's name in the paper's tables, such as "EAN-SE"."""
    if getattr(backbone, "attention", None) is None:
        return "Org"
    network, name = backbone.network, attention_label(backbone.attention)
    if network.sharing == "block":
        return f"Org-full-{name}"
    full = network.scheme == Scheme.all_on(network.stages_blocks)
    return f"{'Share-full' if full else 'EAN'}-{name}"
