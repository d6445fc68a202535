"""Segment images with a trained segmentor, and write a mask and a picture for each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.structures import PixelData

from ean_core.data.read_image import ImageSource, Picture, name_of, open_picture
from ean_core.inference.images import result_name, write_image
from ean_core.io.made_from import Inputs, check_outputs, digest_of, digest_of_files, note_outputs
from ean_core.io.network_meta import read_spec
from ean_core.io.safe_load import load_tensors
from ean_core.io.safetensors_file import SUFFIX
from ean_core.networks.base import SchemeWarning
from ean_core.training.state import read_state
from ean_core.utils.checked_dataclasses import Range, checked
from ean_core.utils.devices import choose_device
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.shipped_files import model_path
from segmentation import FORMAT, SEGMENTOR_FILES
from segmentation.config import build_model, read_config
from segmentation.data.masks import save_mask
from segmentation.data.transforms import as_bgr
from segmentation.data.voc import CLASSES, PALETTE
from segmentation.pictures import LONGEST, draw_sample
from segmentation.recipe import OF_A_NETWORK
from segmentation.segmentor_file import SegmentorSpec
from segmentation.third_party import register_all_modules

ENDINGS = (".png", "_mask.png")  # of the picture and of the mask
MAX_SCORES = 1 << 29  # float32 scores, one per class and pixel: 2 GiB
MAX_UNRESIZED = 1 << 23  # pixels of the largest image that is not resized, which bounds the features

Level = Annotated[int, Range(0, 255)]


class Segmentor:
    """A trained segmentor with its config's test pipeline.

    Args:
        config: a segmentation config or its path.
        checkpoint: last.pth of a run with this config, or the .safetensors exported from it.
        device: cpu, cuda, ..; None for a GPU if there is one.

    Raises:
        EANError: if a file cannot be read, they do not belong together, or the device is unavailable.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path, *, device: str | None = None) -> None:
        register_all_modules(init_default_scope=True)
        self.config = config if isinstance(config, Config) else read_config(config)
        self.model, self.meta = load_segmentor(self.config, checkpoint)
        self.model.to(choose_device(device))
        steps = [step for step in self.config.test_dataloader.dataset.pipeline if step["type"] != "LoadAnnotations"]
        self.pipeline = Compose(steps)
        resized = any(step["type"] == "Resize" for step in steps)
        self.max_pixels = MAX_SCORES // len(self.meta["classes"]) if resized else MAX_UNRESIZED

    def __call__(self, source: ImageSource | Picture) -> Any:
        """Segment a picture; return mmsegmentation's data sample, with labels (1, H, W) in `pred_sem_seg`.

        A picture of more than `max_pixels` is reduced for the network, and its labels are enlarged again.

        Raises:
            EANError: if the picture cannot be read, or the test pipeline cannot process it.
        """
        picture = source if isinstance(source, Picture) else open_picture(source)
        width, height = picture.size
        shown = picture.reduced(self.longest(width, height))
        name = name_of(source) if not isinstance(source, Picture) else "picture"
        try:
            packed = self.pipeline({"img_path": name, "img": as_bgr(np.asarray(shown))})
        except (cv2.error, AssertionError, ValueError) as error:
            raise EANError(
                f"the image {name} of {width}x{height} pixels cannot be processed by the config's test_pipeline "
                f"({first_line(error)}): crop it, or change the pipeline"
            ) from None
        with torch.no_grad():
            batch = {"inputs": [packed["inputs"]], "data_samples": [packed["data_samples"]]}
            sample = self.model.test_step(batch)[0]
        if shown.size != picture.size:
            labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.uint8)
            enlarged = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST)
            sample.pred_sem_seg = PixelData(data=torch.from_numpy(enlarged)[None])
        return sample

    def longest(self, width: int, height: int) -> int:
        """Length of the longer side, in pixels, at which there are at most `max_pixels`."""
        scale = min(1.0, math.sqrt(self.max_pixels / (width * height)))
        return max(1, int(max(width, height) * scale))


def load_segmentor(config: Config, checkpoint: str | Path) -> tuple[Any, dict[str, Any]]:
    """Build a config's segmentor with a run's weights, in eval mode; also return its classes and colors.

    Args:
        config: of the segmentor. A search trains several networks by one config, and their files say which connections
            each has: these replace those of the backbone here.
        checkpoint: see `read_weights`.

    Raises:
        EANError: if the file is not a segmentor's, or belongs to another config.
    """
    content = read_weights(Path(checkpoint))
    config.model.backbone.init_cfg = None  # the weights are in the checkpoint
    if content.get("format") == FORMAT:
        config.model.backbone.update(connections_of(Path(checkpoint), content))
    model = build_model(config)
    weights = content["state_dict"]
    if content.get("format") == FORMAT:  # exported without the auxiliary head, which only training needs
        weights = {**{name: value for name, value in model.state_dict().items() if "auxiliary_head" in name}, **weights}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SchemeWarning)
            model.load_state_dict(weights)
    except SchemeWarning as difference:
        raise EANError(
            f"{checkpoint} does not fit the config: {str(difference).partition(':')[0]}; give the config that it was "
            "trained with, and its --cfg-options"
        ) from None
    except RuntimeError as error:
        reason = first_line(RuntimeError("\n".join(str(error).splitlines()[1:]).strip()))
        raise EANError(
            f"{checkpoint} does not fit the config ({reason}): give the config that it was trained with, and its "
            "--cfg-options"
        ) from None
    return model.eval(), dataset_meta(checkpoint, content, classes=model.decode_head.num_classes)


def connections_of(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a backbone that a segmentor file of a search or an export decides: its attention and scheme.

    Raises:
        EANError: if the file does not say them, or they are damaged.
    """
    model = content.get("model")
    names = {field.name for field in fields(SegmentorSpec)}
    known = {name: value for name, value in model.items() if name in names} if isinstance(model, Mapping) else model
    arguments = read_spec(SegmentorSpec, path, {**content, "model": known}).trunk_arguments()
    return {name: arguments[name] for name in OF_A_NETWORK}


@dataclass(frozen=True)
class DatasetMeta:
    """Names and colors of the classes, as stored in a segmentor's file."""

    classes: tuple[str, ...]
    palette: tuple[tuple[Level, Level, Level], ...]


def dataset_meta(path: str | Path, content: dict[str, Any], *, classes: int) -> dict[str, Any]:
    """Read the names and colors of the classes; VOC's if the file has none.

    Raises:
        EANError: if they are damaged, or their number differs from the segmentor's classes.
    """
    meta = content.get("meta")
    saved = meta.get("dataset_meta") if isinstance(meta, dict) else None
    if not saved:
        names = CLASSES if classes == len(CLASSES) else tuple(f"class {number}" for number in range(classes))
        return {"classes": names, "palette": [PALETTE[number % len(PALETTE)] for number in range(classes)]}
    advice = "move it away and make it again"
    parsed = checked(DatasetMeta, saved, where=f"{path}: dataset_meta", advice=advice)
    if not len(parsed.classes) == len(parsed.palette) == classes:
        raise EANError(
            f"{path} names {len(parsed.classes)} classes with {len(parsed.palette)} colors, but its segmentor has "
            f"{classes}: {advice}"
        )
    return {**saved, "classes": parsed.classes, "palette": [list(color) for color in parsed.palette]}


def read_weights(path: Path) -> dict[str, Any]:
    """Read a run's training state, the .safetensors that tools/export.py made of it, or a segmentor.pth of a search.

    Raises:
        EANError: if it is neither.
    """
    path = model_path(path)
    if path.suffix != SUFFIX and path.name not in SEGMENTOR_FILES:
        return read_state(path)
    content = load_tensors(path)
    if content.get("format") != FORMAT:
        raise EANError(f"{path} is a file of format {content.get('format')!r}, not a segmentor's: give a last.pth")
    return content


def how_tested(config: Config) -> list[Any]:
    """What a config says of how images are fed to the network."""
    return [config.test_dataloader.dataset.pipeline, config.model.get("test_cfg")]


def outputs_of(files: Sequence[Path], segmentor: Segmentor, checkpoint: str | Path) -> dict[str, Inputs]:
    """The names of the files that segmenting writes, and what each depends on, for `claim_outputs`."""
    fixed = {
        "checkpoint": digest_of_files([model_path(checkpoint)]),
        "the config's test settings": digest_of(how_tested(segmentor.config)),
    }
    outputs: dict[str, Inputs] = {}
    for file in files:
        inputs = {**fixed, "image": digest_of_files([file])}
        outputs |= {result_name(file.stem, ending): inputs for ending in ENDINGS}
    return outputs


def predict(
    segmentor: Segmentor, files: Sequence[Path], out: Path, *, outputs: Mapping[str, Inputs] | None = None
) -> Iterator[tuple[Path, dict[str, float] | EANError]]:
    """Write NAME_mask.png (labels with the palette, as VOC's masks) and NAME.png (side by side) for every image.

    Args:
        segmentor: the network.
        files: the images.
        out: folder of the results.
        outputs: what they depend on, see `outputs_of`; None: whatever is in the folder may be replaced.

    Yields:
        the file, and the share of its pixels per class, for classes that were found, the largest first; for one that
        cannot be decoded the error, which does not stop the others.

    Raises:
        EANError: if two images would be written to one name, an image or another result would be written over, or none
            can be decoded.
    """
    names = [file.stem for file in files]
    for name in names:
        if names.count(name) > 1:
            raise EANError(f"two of the images are called {name}: predict them into folders of their own")
    written = {(out / result_name(name, ending)).resolve() for name in names for ending in ENDINGS}
    for file in files:
        if file.resolve() in written:
            raise EANError(f"a result would be written over the image {file}: give another --out-dir")
    check_outputs(out, outputs or {})
    errors, noted = [], outputs is None
    for file in files:
        try:
            picture = open_picture(file)
            sample = segmentor(picture)
        except EANError as error:
            errors.append(error)
            if len(errors) == len(files):
                raise errors[0] from None
            yield file, error
            continue
        if not noted:
            note_outputs(out, outputs or {})
            noted = True
        labels = sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.uint8)
        save_mask(out / result_name(file.stem, "_mask.png"), labels, segmentor.meta["palette"])
        small = np.asarray(picture.reduced(LONGEST))
        write_image(out / result_name(file.stem, ".png"), draw_sample(small, sample, segmentor.meta))
        yield file, class_shares(labels, segmentor.meta["classes"])


def class_shares(labels: np.ndarray, classes: Sequence[str]) -> dict[str, float]:
    """The share of the pixels of each class that labels (H, W) hold, the largest first."""
    shares = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
    return {classes[index]: float(shares[index]) for index in np.argsort(-shares) if shares[index] > 0}
