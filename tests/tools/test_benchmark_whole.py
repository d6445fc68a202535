"""Whole models, counters and segmentors, in the modes that a benchmark times."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from crowd_counting.benchmark import build_counters
from ean_core.deploy.fold import fold_batch_norm
from ean_core.deploy.modes import MODES
from ean_core.io.records import read_record
from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError
from ean_core.utils.shipped_files import SCHEMES
from segmentation.benchmark import build_segmentors
from tests.conftest import ROOT, Script

CONFIG = ROOT / "segmentation/configs/ean_se_voc_small.py"
BITS = "010100101"


def unsettle(model: nn.Module) -> None:
    """Statistics as after training: folding those of a fresh batch norm would prove nothing."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)


@pytest.fixture(scope="module", params=["counter", "segmentor"])
def models(request: pytest.FixtureRequest) -> dict[str, nn.Module]:
    """Three whole networks of a task: Org, Share-full and EAN."""
    if request.param == "counter":
        return build_counters("resnet20", ["se"], [BITS])
    return build_segmentors(CONFIG)


def test_rows(models: dict[str, nn.Module]) -> None:
    org, full, ean = models.values()
    assert next(iter(models)) == "Org"
    assert org.scheme.connections == 0
    assert full.scheme.sparsity == 0
    assert 0 < ean.scheme.connections < full.scheme.connections
    assert not any(model.training for model in models.values())


@torch.no_grad()
def test_all_forms_give_the_same(models: dict[str, nn.Module]) -> None:
    images = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    for model in models.values():
        model = copy.deepcopy(model)
        unsettle(model)
        expected = model(images)
        for name in ("eager", "channels_last", "folded"):
            outputs = MODES[name].build(model, images)(images)
            torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
        folded = fold_batch_norm(model)
        assert not any(isinstance(module, _BatchNorm) for module in folded.modules())
        assert isinstance(dict(model.named_modules())[next(folded.conv_norm_pairs())[1]], _BatchNorm)


def test_commands(in_process: Script, tmp_path: Path) -> None:
    tiny = ("--image-size", "32", "--rounds", "2", "--threads", "1", "--device", "cpu", "--modes", "eager")
    assert in_process("--counter", "--arch", "resnet20", "--attention", "se", "--scheme", BITS, *tiny) == 0
    record = read_record(tmp_path / "work_dirs/benchmark/counter_resnet20_se.json")
    assert [row["network"] for row in record["metrics"]] == ["Org", "Share-full se", "EAN se"]
    assert record["settings"]["batch_size"] == 1
    assert in_process("--config", str(CONFIG), *tiny, "--output", "out.json") == 0
    scheme = Scheme.load(SCHEMES / "ean_se_resnet20_cifar100_subset30k.json")
    assert [row["connections"] for row in read_record(tmp_path / "out.json")["metrics"]] == [0, 9, scheme.connections]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--config", str(CONFIG), "--arch", "resnet29"), "leave out --arch"),
        (("--counter", "--arch", "resnet20", "--per-block"), "--per-block measures the counter of a recipe"),
        (("--counter", "--config", str(CONFIG)), "give one of them"),
        (("--config", "nope.py"), "nope.py does not exist"),
        (("--counter", "--arch", "resnet20", "--attention", "se", "--scheme", "01"), "2 bits"),
    ],
)
def test_mistakes(
    in_process: Script,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    assert in_process(*arguments) == 2
    assert sentence in capsys.readouterr().err


def test_one_scheme_or_one_for_each() -> None:
    with pytest.raises(EANError, match="give one scheme, or one per attention .1., got 2"):
        build_counters("resnet20", ["se"], [BITS, BITS])
