"""Test a trained segmentor: on whole images, in sliding windows, or with test-time augmentation."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmseg.registry import METRICS, MODELS

from ean_core.io.made_from import claim_outputs, digest_of, digest_of_files
from ean_core.io.records import write_record
from ean_core.training.runner import QuietRunner
from ean_core.utils.devices import choose_device
from ean_core.utils.distributed import is_main_process
from ean_core.utils.errors import EANError, one_line
from ean_core.utils.files import sha256_of, writable
from ean_core.utils.progress import bar
from ean_core.utils.shipped_files import model_path, results_folder
from ean_core.utils.wrapping import print_wrapped
from segmentation.config import build_dataset, read_config
from segmentation.data.label_checks import Contents, check_parts
from segmentation.inference import how_tested, load_segmentor
from segmentation.metrics_table import print_metrics
from segmentation.third_party import register_all_modules


@dataclass(frozen=True)
class TestSettings:
    """How images are fed to the network.

    Attributes:
        slide: side in pixels of sliding windows, which overlap by a third; None for the whole image.
        tta: average over flips and the scales of the config's tta_pipeline.
        device: None for a GPU if there is one.
    """

    __test__ = False  # keeps pytest from collecting it

    slide: int | None = None
    tta: bool = False
    device: str | None = None


def run_test(
    path: str | Path,
    checkpoint: str | Path,
    settings: TestSettings,
    *,
    options: Mapping[str, Any] | None = None,
    data_root: str = "data",
    out: Path | None = None,
) -> dict[str, Any]:
    """Score a checkpoint on its config's test list, print the figures, and write test.json.

    Args:
        path: the config.
        checkpoint: last.pth of a run with this config.
        settings: see `TestSettings`.
        options, data_root: as for training.
        out: directory of test.json; None for the checkpoint's.

    Returns:
        the metrics, see `ClassIoU.table`.

    Raises:
        EANError: for any fault in config, data or checkpoint.
    """
    register_all_modules(init_default_scope=True)
    config = read_config(path, options, data_root=data_root)
    check_test_parts(config)
    contents = check_test_images(config)
    if settings.slide is not None:
        config.model.test_cfg = sliding_windows(settings.slide)
    model, _ = load_segmentor(config, checkpoint)
    out = writable(out or results_folder(checkpoint))
    if settings.tta:
        model = wrap_tta(config, model)
    file = model_path(checkpoint)
    claim_outputs(out, {"test.json": inputs_of_test(config, file, contents, settings)})
    table = score(config, model.to(choose_device(settings.device)))
    test_settings = {
        "slide": settings.slide,
        "tta": settings.tta,
        "config": Path(path).stem,
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256_of(file),
        "data": {"images": contents.pairs, "of": contents.fingerprint, "content": contents.content},
    }
    print_metrics(table, title=f"{checkpoint}: {table['images']} images")
    write_record(out / "test.json", kind="segmentation-test", settings=test_settings, metrics=table)
    return table


def inputs_of_test(config: Config, checkpoint: Path, contents: Contents, settings: TestSettings) -> dict[str, Any]:
    """What test.json is made from, see `claim_outputs`."""
    return {
        "checkpoint": digest_of_files([checkpoint]),
        "images": contents.content,
        "sliding windows": settings.slide,
        "test-time augmentation": settings.tta,
        "the config's test settings": digest_of(how_tested(config)),
    }


def check_test_images(config: Config) -> Contents:
    """Check the test images, and that none is trained on where the training images are there; print warnings.

    Raises:
        EANError: see `check_parts`.
    """
    parts = {"test": build_dataset(config.test_dataloader.dataset)}
    with suppress(EANError):  # the training images may be elsewhere
        parts = {"train": build_dataset(config.train_dataloader.dataset), **parts}
    checked, warnings = check_parts(parts, trains=False)
    for warning in warnings:
        print_wrapped(one_line(warning), file=sys.stderr)
    return checked["test"]


def sliding_windows(side: int) -> dict[str, Any]:
    """mmsegmentation's test_cfg of square windows of this side in pixels, which overlap by a third."""
    step = max(1, side * 2 // 3)
    return {"mode": "slide", "crop_size": (side, side), "stride": (step, step)}


def check_test_parts(config: Config) -> None:
    """Check that the config has a test loader and this project's metric, before testing starts.

    Raises:
        EANError: if not.
    """
    evaluator = config.get("test_evaluator", {})
    if "test_dataloader" not in config or not isinstance(evaluator, Mapping) or evaluator.get("type") != "ClassIoU":
        raise EANError(
            f"{config.filename} needs a test_dataloader and the test_evaluator ClassIoU: base it on "
            "segmentation/configs/_base_/voc.py, or test it with mmsegmentation's own tools/test.py"
        )


def wrap_tta(config: Config, model: Any) -> Any:
    """Wrap the model to average over augmented images, and set the config's pipeline that makes them."""
    if "tta_pipeline" not in config:
        raise EANError("this config has no tta_pipeline: add one like that in segmentation/configs/_base_/voc.py")
    config.test_dataloader.dataset.pipeline = config.tta_pipeline
    return MODELS.build({**config.get("tta_model", {"type": "SegTTAModel"}), "module": model}).eval()


def score(config: Config, model: Any) -> dict[str, Any]:
    """Score a model on the test images, which several processes share; the first one has the table."""
    init_default_scope("mmseg")
    MMLogger.get_instance("segmentation-test", log_level="ERROR")  # else MMEngine prints the table too, in its form
    loader = QuietRunner.build_dataloader(config.test_dataloader, seed=0)
    metric = METRICS.build(config.test_evaluator)
    metric.dataset_meta = loader.dataset.metainfo
    with torch.no_grad(), bar("testing", len(loader), show=is_main_process()) as progress:
        for number, batch in enumerate(loader, start=1):
            samples = model.test_step(batch)
            metric.process(batch, [sample.to_dict() for sample in samples])
            if progress is not None:
                progress.update(number)
    metric.evaluate(len(loader.dataset))
    return metric.table
