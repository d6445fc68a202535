"""timm's residual networks as supernets: the same outputs with nothing connected, and all that our own can do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from classification.job import start_job
from classification.recipe import Recipe
from ean_core import EANError, Scheme, count_parameters, create_model, load_torchvision_weights
from ean_core.deploy.fold import fold_batch_norm
from ean_core.networks import input_shape, stage_strides, stages_blocks, timm_weights
from ean_core.networks.network_file import ModelSpec, load_network, save_network
from ean_core.pipeline.pipeline import run_pipeline
from ean_core.supernet.bn_calibration import batch_norms
from tests.helpers.quick_runs import quick_runs  # noqa: F401

timm = pytest.importorskip("timm")

# One of every kind: basic and bottleneck, deep stem, average pooling in the shortcut, blur, SE and ECA of its own;
# RegNet without and with SE, and with SiLU or nothing at the end of its blocks; EfficientNet-Lite with TensorFlow's
# padding, MobileNet, and MNASNet with SE of its own in some blocks.
FAMILIES = {
    "test_resnet": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet26d": (2, 2, 2, 2),
    "resnet10t": (1, 1, 1, 1),
    "resnetblur18": (2, 2, 2, 2),
    "seresnet18": (2, 2, 2, 2),
    "ecaresnet26t": (2, 2, 2, 2),
    "regnetx_002": (1, 1, 4, 7),
    "regnety_002": (1, 1, 4, 7),
    "regnetz_005": (1, 4, 9, 7),
    "tf_efficientnet_lite0": (1, 2, 2, 3, 3, 4, 1),
    "mobilenetv2_035": (1, 2, 3, 4, 3, 3, 1),
    "mnasnet_small": (1, 1, 2, 4, 3, 3, 1),
}


def randomise(network: torch.nn.Module) -> None:
    """Statistics and scales away from 0 and 1, where a mistake would not show; timm starts some scales at zero."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "weight")) and value.ndim == 1:
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        elif value.ndim == 1 and value.is_floating_point():
            value.copy_(0.1 * torch.randn(value.shape, generator=generator))


@pytest.mark.parametrize("name", FAMILIES)
def test_with_nothing_connected_it_is_timms_network(name: str) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, num_classes=5)
    randomise(theirs)
    theirs.eval()
    ours = create_model(f"timm:{name}", num_classes=5, attention="se", scheme="org").eval()
    report = load_torchvision_weights(ours, theirs.state_dict())
    assert len(report.loaded) == len(theirs.state_dict())
    assert report.unused == report.zeroed == ()
    assert ours.stages_blocks == stages_blocks(f"timm:{name}") == FAMILIES[name]
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        wanted = theirs(images)
        torch.testing.assert_close(ours(images), wanted, rtol=1e-5, atol=1e-6)
        folded = fold_batch_norm(ours)
        assert (folded(images) - wanted).abs().max() < 1e-4 * wanted.abs().max()
        assert not batch_norms(folded)
    assert count_parameters(ours.prune()) == sum(parameter.numel() for parameter in theirs.parameters())
    features = ours.forward_features(images)
    assert tuple(feature.shape[1] for feature in features) == ours.stage_channels


def test_attention_stands_where_a_slow_loop_over_timms_blocks_puts_it() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("resnet18", num_classes=3)
    randomise(theirs)
    theirs.eval()
    ours = create_model("timm:resnet18", num_classes=3, attention="dia", scheme="org").eval()
    load_torchvision_weights(ours, theirs.state_dict())
    ours.set_scheme("10 01 11 00")
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        x = theirs.maxpool(theirs.act1(theirs.bn1(theirs.conv1(images))))
        for layer, stage in zip((theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), ours.stages, strict=True):
            state = None
            for block, bit in zip(layer, stage.bits, strict=True):
                residual = block.bn2(block.conv2(block.act1(block.bn1(block.conv1(x)))))
                if bit:
                    residual, state = stage.attention(residual, state)
                x = torch.relu(residual + (x if block.downsample is None else block.downsample(x)))
        torch.testing.assert_close(ours(images), theirs.fc(x.mean((2, 3))), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["test_resnet", "regnety_002", "mobilenetv2_035"])
@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_scheme_prune_train_and_file(name: str, sharing: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    blocks = stages_blocks(f"timm:{name}")
    scheme = Scheme.random(blocks, np.random.default_rng(2))
    spec = ModelSpec(f"timm:{name}", "timm:eca", sharing, scheme.text, num_classes=4, pruned=True)
    net = create_model(f"timm:{name}", num_classes=4, attention="timm:eca", sharing=sharing)
    randomise(net)
    images = torch.randn(2, 3, 64, 64)
    net(images).square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters())
    net.set_scheme(scheme)
    pruned = net.eval().prune()
    save_network(tmp_path / "net.pth", pruned, spec)
    again, _ = load_network(tmp_path / "net.pth")
    with torch.inference_mode():
        wanted = net(images)
        assert torch.equal(pruned(images), wanted)
        assert torch.equal(again(images), wanted)
    assert again.scheme == scheme
    assert input_shape(again) == (3, 224, 224)


def test_a_block_without_a_shortcut_is_recalibrated_as_a_whole() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=3)
    randomise(theirs)
    theirs.eval()
    ours = create_model("timm:tf_efficientnet_lite0", num_classes=3, attention="dia", scheme="org").eval()
    load_torchvision_weights(ours, theirs.state_dict())
    ours.set_scheme("1 10 11 010 111 0111 1")
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        x = theirs.bn1(theirs.conv_stem(images))
        for layer, stage in zip(theirs.blocks, ours.stages, strict=True):
            state = None
            for index, (block, bit) in enumerate(zip(layer, stage.bits, strict=True)):
                residual = block(x) - x if index else block(x)
                if bit:
                    residual, state = stage.attention(residual, state)
                x = residual + x if index else residual
        wanted = theirs.forward_head(theirs.bn2(theirs.conv_head(x)))
        torch.testing.assert_close(ours(images), wanted, rtol=1e-4, atol=1e-5)


def test_other_channels_classes_and_no_head() -> None:
    net = create_model("timm:test_resnet", in_channels=1, num_classes=0).eval()
    assert net.fc is None
    assert net(torch.randn(2, 1, 32, 32)).shape == (2, net.stage_channels[-1])
    assert create_model("timm:test_resnet").fc.out_features == 1000


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("tf_efficientnet_lite2", (1, 3, 3, 4, 4, 5, 1)),
        ("tf_efficientnet_lite4", (1, 4, 4, 6, 6, 8, 1)),
        ("mobilenetv2_100", (1, 2, 3, 4, 3, 3, 1)),
        ("mnasnet_100", (1, 3, 3, 3, 2, 4, 1)),
        ("efficientnet_b0", (1, 2, 2, 3, 3, 4, 1)),
    ],
)
def test_mobile_trunks(name: str, blocks: tuple[int, ...]) -> None:
    """A connection a block, attention that fits their few channels, and strides that double from 2 to 32."""
    assert stages_blocks(f"timm:{name}") == blocks
    assert stage_strides(f"timm:{name}") == (2, 4, 8, 16, 16, 32, 32)


def test_the_strides_of_our_own_stages() -> None:
    for arch in ("resnet20", "resnet18"):
        net, images = create_model(arch, num_classes=0), torch.randn(2, 3, 32, 32)
        assert stage_strides(arch) == tuple(32 // one.shape[-1] for one in net.forward_features(images))


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("vit_tiny_patch16_224", "it is a VisionTransformer"),
        ("convnext_atto", "scales its residuals"),
        ("nf_resnet26", "scaled sums of residuals in place of normalization"),
        ("resnetv2_18", "pre-activation"),
        ("skresnet18", "its blocks are SelectiveKernelBasic"),
        ("res2net50d", "its blocks are Bottle2neck"),
        ("mobilenetv1_100", "some of its blocks activate before the addition"),
        ("mobilenetv3_small_050", "its head pools before its last convolution"),
        ("efficientnet_cc_b0_4e", "its blocks are CondConvResidual"),
        ("test_efficientnet", "its blocks are ConvBnAct"),
        ("regnetv_040", "PreBottleneck"),
        ("legacy_seresnet18", "timm's older copy of seresnet"),
    ],
)
def test_what_cannot_be_adapted_says_why(arch: str, why: str) -> None:
    with pytest.raises(EANError, match=f"'timm:{arch}' cannot be adapted: .*{why}"):
        stages_blocks(f"timm:{arch}")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"arch": "timm:resnet55"}, "unknown architecture 'timm:resnet55': did you mean 'timm:resnet50'"),
        ({"arch": "timm:hf-hub:somebody/net"}, "unknown architecture"),
        ({"arch": "timm:test_resnet", "conv_bias": True}, "has no options .'conv_bias'. for timm:test_resnet"),
        ({"arch": "timm:test_resnet", "attention": "se", "scheme": "01"}, "has 2 bits but the network needs 4"),
        ({"arch": "timm:test_resnet", "attention": "se", "sharing": "blocks"}, "sharing must be one of"),
        ({"arch": "timm:regnetx_002", "attention": "sge"}, "24 channels cannot be divided into 64 groups"),
    ],
)
def test_mistakes(arguments: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        create_model(**arguments)


def test_public_weights_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    theirs = timm.create_model("regnetx_002")
    randomise(theirs)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    for file in ("model.safetensors", "model.pth"):
        net = create_model("timm:regnetx_002", num_classes=7, attention="se")
        report = load_torchvision_weights(net, tmp_path / file)
        assert torch.equal(net.layer3.blocks[1].conv2.conv.weight, theirs.s3.b2.conv2.conv.weight)
        assert "fc.weight" in report.missing
        assert "layer4.attention" in str(report)
    with pytest.raises(EANError, match="holds the weights of another network"):
        load_torchvision_weights(create_model("timm:regnety_002"), tmp_path / "model.pth")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(EANError, match="damaged or truncated"):
        load_torchvision_weights(net, tmp_path / "cut.safetensors")
    with pytest.raises(EANError, match="needs a timm: architecture"):
        load_torchvision_weights(create_model("resnet20"), "download")

    def no_network(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(timm_weights, "make_timm", no_network)
    monkeypatch.setattr(timm_weights, "reach_hub", no_network)
    with pytest.raises(EANError, match="cannot be downloaded .*Name or service not known.*give that file"):
        load_torchvision_weights(net, "download")


def test_the_pipeline_on_timms_network_with_its_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = timm.create_model("test_resnet", in_chans=1)
    torch.save(theirs.state_dict(), tmp_path / "public.pth")
    (tmp_path / "tiny.py").write_text(
        f'model = dict(arch="timm:test_resnet", attention="timm:eca", pretrained="{tmp_path}/public.pth")\n'
        'data = dict(name="digits", train_per_class=6, val_per_class=2)\n'
        "supernet = dict(epochs=1, batch_size=20, lr=0.01)\n"
        "search = dict(steps=3)\n"
        "train = dict(epochs=1, batch_size=20, lr=0.01)\n"
        'retrain = ["ean"]\n'
    )
    recipe = Recipe.from_file(tmp_path / "tiny.py")
    run_pipeline(start_job(recipe, data_root=tmp_path, directory=tmp_path / "w"))
    assert "public.pth: 90 tensors loaded; 6 left at their initial value: layer1.attention" in capsys.readouterr().out
    assert json.loads((tmp_path / "w/scheme.json").read_text())["arch"] == "timm:test_resnet"
    network, content = load_network(tmp_path / "w/supernet.pth")
    assert network.stages_blocks == (1, 1, 1, 1)
    assert len(content["recipe"]["pretrained"]) == 64


@pytest.mark.parametrize(
    ("name", "stride", "strides", "dilations"),
    [
        ("resnet26d", 8, (1, 2, 1, 1), (1, 1, 2, 4)),
        ("regnetx_002", 8, (1, 2, 1, 1), (1, 1, 2, 4)),
        ("regnetx_002", 16, (1, 2, 2, 1), (1, 1, 1, 2)),
        ("tf_efficientnet_lite0", 8, (1, 2, 2, 1, 1, 1, 1), (1, 1, 1, 2, 2, 4, 4)),
        ("tf_efficientnet_lite0", 16, (1, 2, 2, 2, 1, 1, 1), (1, 1, 1, 1, 1, 2, 2)),
    ],
)
def test_dilated_stages_are_timms(name: str, stride: int, strides: tuple[int, ...], dilations: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    theirs = timm.create_model(name, output_stride=stride, features_only=True).eval()
    layout = {"strides": strides, "dilations": dilations, "contract_dilation": True}
    ours = create_model(f"timm:{name}", num_classes=0, attention="se", scheme="org", **layout).eval()
    load_torchvision_weights(ours, theirs.state_dict())
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        wanted, found = theirs(images)[-1], ours.forward_features(images)[-1]
    assert found.shape[-2:] == (64 // stride, 96 // stride)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layout",
    [
        {"dilations": (1, 1, 1, 4)},
        {"strides": (1, 1, 2, 2)},
        {"dilations": (1, 1, 2, 4), "strides": (1, 2, 2, 1)},
        {"dilations": (1, 1, 2, 4), "contract_dilation": False},
    ],
)
def test_a_layout_that_timm_does_not_build_gets_a_sentence(layout: dict) -> None:
    with pytest.raises(EANError, match=r"'timm:resnet18' has no layout of .*: give dilations \(1, 1, 2, 4\)"):
        create_model("timm:resnet18", **layout)
