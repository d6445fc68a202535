"""Segmentor files of a search: supernet.pth and segmentor.pth, weights with what is needed to rebuild the network."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm

from ean_core.io.network_meta import building, load_strictly, read_spec
from ean_core.io.pth_file import write_pth
from ean_core.io.safe_load import load_tensors
from ean_core.networks.network_file import check_finite
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.training.state import read_state
from ean_core.utils.errors import EANError
from segmentation import FORMAT
from segmentation.config import build_model


@dataclass(frozen=True)
class SegmentorSpec(TrunkSpec):
    """The backbone of a config's segmentor; all else is in the config."""

    def config(self, config: Config) -> Config:
        """A copy of a config with this backbone."""
        changed = copy.deepcopy(config)
        changed.model.backbone.update(self.trunk_arguments())
        return changed

    def build(self, config: Config) -> Any:
        """The config's segmentor with this backbone and random weights."""
        changed = self.config(config)
        changed.model.backbone.init_cfg = None
        return build_model(changed)


def save_segmentor(path: Path, config: Config, spec: SegmentorSpec, state: Path, **info: Any) -> None:
    """Write a segmentor file of a training's state, atomically.

    Args:
        path: the .pth file to write.
        config: of the segmentor.
        spec: of its backbone.
        state: last.pth of the training.
        info: further plain values.

    Raises:
        EANError: if a weight is not finite; an existing file is kept.
    """
    segmentor, content = spec.build(config), read_state(state)
    segmentor.load_state_dict(content["state_dict"])
    check_finite(segmentor, path)
    weights = segmentor.state_dict()  # modified in place, since it carries the scheme
    for name, value in weights.items():
        weights[name] = value.detach().cpu().contiguous()
    meta = {"dataset_meta": content["meta"].get("dataset_meta")}
    write_pth(path, {"format": FORMAT, "model": dataclasses.asdict(spec), "state_dict": weights, "meta": meta, **info})


def load_segmentor_file(path: Path, config: Config) -> tuple[Any, dict[str, Any]]:
    """Build the segmentor of a file, in eval mode and without synchronized batch norm.

    Args:
        path: of the file.
        config: whose segmentor it is but for the backbone's connections.

    Returns:
        the segmentor, and the file's other content.

    Raises:
        EANError: if the file is missing, damaged or of another kind, or does not fit the config.
    """
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise EANError(f"{path} is not a segmentor's file: give a supernet.pth or segmentor.pth of tools/search.py")
    spec = read_spec(SegmentorSpec, path, content)
    with building(path):
        segmentor = spec.build(config)
    weights = content.pop("state_dict")
    what, advice = f"the config {config.filename}", "give the config that it was trained with"
    load_strictly(segmentor, weights, path=path, what=what, advice=advice)
    return revert_sync_batchnorm(segmentor).eval(), content
