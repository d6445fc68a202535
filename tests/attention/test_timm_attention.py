"""timm's attention modules by name: all of them, in all modes, and what is refused."""

from __future__ import annotations

import copy
import inspect
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from zoo_table import all_names

from ean_core import EANError, Scheme, create_model
from ean_core.attention import build_attention, timm_attention
from ean_core.benchmark.timing import multiply_adds
from ean_core.deploy.fold import fold_batch_norm
from ean_core.io.records import read_record
from ean_core.networks import ARCHITECTURES
from ean_core.networks.network_file import ModelSpec, load_network, save_network
from ean_core.supernet.bn_calibration import BNCalibration, batch_norms
from ean_core.supernet.path_metric import Top1
from tests.conftest import ROOT
from tests.helpers.processes import run_warm

timm = pytest.importorskip("timm")
ALL = [timm_attention.PREFIX + kind for kind in timm_attention.NAMES]
IN_BLOCKS = ("timm:halo", "timm:bat")
WITH_BATCH_NORM = ("timm:cbam", "timm:lcbam", "timm:coord", "timm:sk", "timm:lambda", "timm:nl", "timm:bat")


def wake(module: torch.nn.Module) -> None:
    """Give what starts at zero a value, so that no layer is idle."""
    generator = torch.Generator().manual_seed(0)
    for value in [*module.parameters(), *module.buffers()]:
        if value.is_floating_point() and not value.any():
            value.data.copy_(0.1 * torch.randn(value.shape, generator=generator))


def test_every_name_of_timm_is_listed_or_refused_with_a_reason() -> None:
    source = inspect.getsource(sys.modules["timm.layers.create_attn"])
    assert set(re.findall(r"attn_type == '(\w+)'", source)) == {*timm_attention.NAMES, *timm_attention.REFUSED}


@pytest.mark.parametrize("name", ALL)
def test_shapes_gradients_and_state(name: str) -> None:
    torch.manual_seed(0)
    for channels in (16, 72):
        module = build_attention(name, channels)
        wake(module)
        sizes = [(8, 8), (16, 8)] if name in IN_BLOCKS else [(1, 1), (5, 3), (14, 14)]
        for size in sizes:
            residual = torch.randn(2, channels, *size, requires_grad=True)
            before = residual.detach().clone()
            out, state = module(residual)
            assert out.shape == residual.shape
            assert state is None
            assert torch.equal(residual.detach(), before)  # a stage may still need the residual
        out.square().sum().backward()
        for which, parameter in module.named_parameters():
            assert parameter.grad is not None, which
            assert torch.isfinite(parameter.grad).all(), which
    assert bool(batch_norms(module)) == (name in WITH_BATCH_NORM)


@pytest.fixture
def short_arch() -> Iterator[str]:
    """ResNet-20 with four blocks in place of nine, known as long as a test runs."""
    with patch.dict(ARCHITECTURES, {"short": {**ARCHITECTURES["resnet20"], "depths": (2, 1, 1)}}):
        yield "short"


@pytest.mark.parametrize("name", ALL)
def test_all_modes_prune_fold_and_come_back_from_a_file(name: str, short_arch: str, tmp_path: Path) -> None:
    scheme = Scheme.parse("10 | 0 | 1", blocks=(2, 1, 1))
    side = 32 if name in IN_BLOCKS else 12
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    for sharing in ("stage", "block"):
        spec = ModelSpec(short_arch, name, sharing, scheme.text, num_classes=4, pruned=True)
        net = create_model(short_arch, num_classes=4, attention=name, sharing=sharing)
        wake(net)
        BNCalibration(net, [{"inputs": images}], metric=Top1(torch.nn.Identity()), max_bytes=0)(net.scheme)
        net.set_scheme(scheme)
        pruned = net.prune()
        with torch.inference_mode():
            wanted = net(images)
            torch.testing.assert_close(pruned(images), wanted, rtol=0, atol=0)
            folded = fold_batch_norm(pruned)
            assert (folded(images) - wanted).abs().max() < 1e-3 * wanted.abs().max()
            assert not any(batch_norms(block) for stage in folded.stages for block in stage.blocks)
            net.set_scheme("org")
            assert (net(images) - wanted).abs().max() > 1e-6
        save_network(tmp_path / "net.pth", pruned, spec)
        again, _ = load_network(tmp_path / "net.pth")
        with torch.inference_mode():
            torch.testing.assert_close(again(images), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["timm:lambda", "timm:eca", "timm:sk"])
def test_channels_last_and_copies(name: str) -> None:
    torch.manual_seed(0)
    net = create_model("resnet20", attention=name, scheme="100 100 100").eval()
    images = torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        wanted = net(images)
        last = copy.deepcopy(net).to(memory_format=torch.channels_last)
        difference = last(images.to(memory_format=torch.channels_last)) - wanted
        assert difference.abs().max() < 1e-4 * wanted.abs().max()


def test_eca_is_its_formula() -> None:
    module = build_attention("timm:eca", 6)
    residual = torch.randn(2, 6, 4, 5)
    weight = module.module.conv.weight.detach().flatten()
    pooled = torch.nn.functional.pad(residual.mean((2, 3)), (1, 1))
    mask = torch.stack([pooled[:, i : i + 3] @ weight for i in range(6)], dim=1).sigmoid()
    torch.testing.assert_close(module(residual)[0].detach(), residual * mask[:, :, None, None])


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("timm:bottleneck", {}, "cannot be used: it has a weight for every position .*feat_size"),
        ("timm:ecaa", {}, "unknown attention 'timm:ecaa'.*did you mean 'timm:eca'"),
        ("eca", {}, "did you mean 'timm:eca'"),
        ("timm:eca", {"kernel": 5}, "did you mean 'kernel_size'"),
        ("timm:sk", {"stride": 2}, "unknown option of attention 'timm:sk' 'stride'"),
        ("se", {"reduction": 0}, "'se' cannot be built for 32 channels with {'reduction': 0}"),
        ("sge", {"groups": "many"}, "'sge' cannot be built for 32 channels with {'groups': 'many'}"),
        ("timm:ge", {"use_mlp": True}, "'timm:ge' cannot be built for 32 channels with {'use_mlp': True}"),
    ],
)
def test_what_cannot_be_had_says_why(name: str, options: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        build_attention(name, 32, options=options)


def test_options_reach_timm_and_depend_on_the_kind_of_network() -> None:
    assert build_attention("timm:se", 32, options={"rd_ratio": 0.5}).module.fc1.out_channels == 16
    assert build_attention("timm:halo", 32, family="imagenet").multiple_of == 7
    assert build_attention("timm:bat", 32, options={"block_size": 4}).multiple_of == 4
    with pytest.raises(EANError, match="blocks of 8x8 positions and a stage of this network has 12x12"):
        create_model("resnet20", attention="timm:halo").eval()(torch.randn(1, 3, 24, 24))
    with pytest.raises(EANError, match="gives recalibrated features and no mask"):
        build_attention("timm:se", 32).mask(torch.randn(1, 32, 4, 4), None)


def test_timm_is_imported_only_when_it_is_asked_for() -> None:
    code = (
        "import sys; import ean_core; ean_core.create_model('resnet20', attention='se'); print('timm' in sys.modules)"
    )
    assert run_warm("-c", code).stdout.strip() == "False"


def test_the_table_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = "benchmarks/attention_zoo.py"
    arguments = (
        "--arch resnet20 --rounds 2 --batch-size 1 --image-size 16 --modes eager folded --threads 1 --device cpu "
        "--output out.json --attention se timm:eca timm:nl timm:halo timm:bottleneck"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *arguments.split()])
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", torch.backends.cudnn.benchmark)  # the script sets it
    runpy.run_path(str(ROOT / script), run_name="__main__")
    printed = capsys.readouterr().out
    record = read_record(tmp_path / "out.json")
    assert record["kind"] == "attention-zoo"
    rows = {row["attention"]: row for row in record["metrics"]}
    assert list(rows) == ["Org", "se", "timm:eca", "timm:nl"]
    assert rows["timm:eca"]["added_parameters"] == 9  # three kernels of three
    net = create_model("resnet20", attention="se")
    assert rows["se"]["multiply_adds"] == multiply_adds(net, (3, 16, 16))
    assert [row["connections"] for row in rows.values()] == [0, 9, 9, 9]
    for name, row in rows.items():
        for timing in row["timings"].values():
            assert (timing["increment"] is None) == (name == "Org")
    assert record["settings"]["timm"] == timm.__version__
    assert "blocks of 8x8" in record["settings"]["skipped"]["timm:halo"]
    assert "without timm:bottleneck" in printed
    assert "\x1b" not in printed


def test_the_table_takes_ours_and_timms() -> None:
    assert all_names() == ["se", "sge", "dia", *ALL]
