"""tools/export.py as a user calls it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, Script
from tests.helpers.tiny_files import tiny_arch, tiny_classifier

__all__ = ["tiny_arch"]


@pytest.fixture(autouse=True)
def packages() -> None:
    """What the extra "export" installs."""
    for name in ("onnxruntime", "onnxscript", "safetensors"):
        pytest.importorskip(name)


def test_all_forms_beside_the_checkpoint(
    tiny_arch: str, tmp_path: Path, tool: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_classifier(tmp_path / "run" / "ean.pth")
    assert tool("export", "run/ean.pth", "--to", "safetensors", "onnx", "torch") == 0
    out = capsys.readouterr().out
    assert "run/ean.pth: classifier, tiny, se 3/4" in out
    assert out.count("largest difference from the network") == 3
    assert sorted(path.suffix for path in (tmp_path / "run").glob("[!.]*")) == [".onnx", ".pt2", ".pth", ".safetensors"]


def test_a_segmentor_needs_its_config(
    tmp_path: Path, tool: Script, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    from mmseg.registry import MODELS
    from mmseg.utils import register_all_modules

    from segmentation.config import read_config

    register_all_modules(init_default_scope=True)
    config = ROOT / "segmentation/configs/ean_se_demo.py"
    model = MODELS.build(read_config(config).model)
    torch.save({"state_dict": model.state_dict(), "optimizer": {}, "meta": {}}, tmp_path / "last.pth")
    assert "for a segmentor also its --config, if the command takes one" in refused("export", "last.pth")
    assert tool("export", "last.pth", "--config", config, "--to", "safetensors") == 0
    assert "last.pth: segmentor, resnet20, se 3/9" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.pth"], "none.pth does not exist"),
        (["ean.pth", "--to", "onnx", "tensorrt"], "unknown format 'tensorrt': choose one of onnx, torch, safetensors"),
        (["ean.pth", "--to", "torch", "--tolerance", "1e-30"], "above the tolerance of 1e-30: no file was written"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_mistakes_get_a_sentence_and_leave_no_file(
    tiny_arch: str, tmp_path: Path, refused: Callable[..., str], arguments: list, sentence: str
) -> None:
    tiny_classifier(tmp_path / "ean.pth")
    assert sentence in refused("export", *arguments, "--output-dir", "out")
    assert not list(tmp_path.glob("out/*"))
