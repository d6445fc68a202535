"""The backbone is the project's network in mmsegmentation's clothes: same features, same weights, same switches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmseg.models.backbones import ResNet as TheirResNet
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ean_core import create_model
from ean_core.attention import ATTENTIONS
from ean_core.networks.network_file import ModelSpec, save_network
from ean_core.utils.errors import EANError
from ean_core.utils.shipped_files import SCHEMES
from segmentation.backbone import EANResNet

LAYOUTS = {
    8: {"strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)},
    16: {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2)},
    32: {"strides": (1, 2, 2, 2), "dilations": (1, 1, 1, 1)},
}
MIXED = "001010100"  # of resnet20 and resnet29: every stage has a connection


def scramble(network: nn.Module) -> None:
    """Batch norms as after training: fresh ones would hide what is mixed up."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.normal_(0.5, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)


def write_classifier(path: Path, **fields: object) -> ModelSpec:
    """A classifier.pth as tools/train_cls.py writes it."""
    spec = ModelSpec(num_classes=7, **fields)
    network = spec.build()
    scramble(network)
    save_network(path, network, spec, mean=[0.5] * 3, std=[0.2] * 3, classes=list("abcdefg"))
    return spec


@pytest.mark.parametrize(("stride", "contract"), [(8, False), (8, True), (16, True), (32, False)])
@pytest.mark.parametrize("depth", [18, 50])
def test_features_equal_those_of_mmsegmentations_own_resnet(depth, stride, contract):
    theirs = TheirResNet(depth, style="pytorch", contract_dilation=contract, **LAYOUTS[stride])
    theirs.eval()  # which does not give itself back
    scramble(theirs)
    ours = EANResNet(f"resnet{depth}_nobias", scheme="org", contract_dilation=contract, **LAYOUTS[stride]).eval()
    ours.network.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        wanted, found = theirs(images), ours(images)
    assert found[-1].shape[-2:] == (64 // stride, -(-48 // stride))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize("attention", list(ATTENTIONS))
@pytest.mark.parametrize(
    "path", [{}, {"scheme": MIXED}, {"scheme": "000111000", "pruned": True}, {"sharing": "block", "scheme": None}]
)
def test_a_classifiers_weights_arrive_unchanged(tmp_path, attention, path):
    if attention == "dia" and path.get("sharing") == "block":
        pytest.skip("an LSTM over depth has no module per block")
    spec = write_classifier(tmp_path / "classifier.pth", arch="resnet20", attention=attention, **path)
    options = {key: value for key, value in path.items() if key != "pruned"}
    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "classifier.pth")}
    backbone = EANResNet("resnet20", attention, init_cfg=init, **options)
    assert {"fc.weight", "fc.bias"} <= set(backbone.load(init["checkpoint"]).unused)
    backbone.init_weights()
    content = torch.load(tmp_path / "classifier.pth", weights_only=True)["state_dict"]
    own = backbone.network.state_dict()
    assert all(torch.equal(value, content[name]) for name, value in own.items())
    assert set(content) - set(own) <= {"fc.weight", "fc.bias"} | {name for name in content if ".attention." in name}
    classifier = spec.build().eval()
    classifier.load_state_dict(content)
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        for one, other in zip(backbone.eval()(images), classifier.forward_features(images), strict=True):
            assert torch.equal(one, other)


def test_a_plain_classifier_starts_a_backbone_with_attention(tmp_path):
    write_classifier(tmp_path / "org.pth", arch="resnet20")
    backbone = EANResNet("resnet20", "se", scheme=MIXED)
    line = str(backbone.load(str(tmp_path / "org.pth")))
    assert "left at their initial value: layer1.attention" in line


def test_options_that_only_start_weights_are_not_compared(tmp_path):
    spec = ModelSpec("resnet20", "se", num_classes=10, attention_options={"init": "conv"})
    save_network(tmp_path / "c.pth", spec.build(), spec)
    report = EANResNet("resnet20", "se").load(str(tmp_path / "c.pth"))
    assert any(".attention." in name for name in report.loaded)


def test_other_connections_than_the_classifiers_are_said(tmp_path):
    write_classifier(tmp_path / "c.pth", arch="resnet20", attention="se", scheme=MIXED, pruned=True)
    backbone = EANResNet("resnet20", "se", scheme="100100100")
    line = str(backbone.load(str(tmp_path / "c.pth")))
    assert "it was trained with the connections 001 | 010 | 100, but the network has 100 | 100 | 100" in line
    for arguments in ({"scheme": MIXED}, {"scheme": MIXED, "out_indices": (1,)}):
        assert not EANResNet("resnet20", "se", **arguments).load(str(tmp_path / "c.pth")).notes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("resnet29", "se"), "holds a resnet20, but the new network is a resnet29"),
        (("resnet20", "sge"), "use the attention of the file"),
    ],
)
def test_weights_of_another_network_are_refused_and_change_nothing(tmp_path, arguments, says):
    write_classifier(tmp_path / "c.pth", arch="resnet20", attention="se")
    backbone = EANResNet(*arguments)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(EANError, match=says):
        backbone.load(str(tmp_path / "c.pth"))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_torchvisions_weights_fit_and_stages_that_are_not_built_are_left_out(tmp_path):
    from torchvision.models import resnet18

    theirs = resnet18(num_classes=5).eval()
    scramble(theirs)
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    backbone = EANResNet("resnet18", "se", scheme="org", out_indices=(1, 2)).eval()
    line = str(backbone.load(str(tmp_path / "resnet18.pth")))
    assert "convolution biases set to zero" in line
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        x = theirs.layer1(theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images)))))
        wanted = theirs.layer3(theirs.layer2(x))
        torch.testing.assert_close(backbone(images)[-1], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("content", [{"a": 1}, {"format": "ean-counter-1"}, {"state_dict": {"conv1.weight": 3}}])
def test_files_that_hold_no_network_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(EANError, match="weights of a network|which network its weights belong to"):
        EANResNet("resnet20", None).load(str(tmp_path / "x.pth"))


@pytest.mark.parametrize("file", sorted(SCHEMES.glob("*.json")), ids=lambda file: file.stem)
def test_every_scheme_of_the_repository_is_a_preset(file):
    import json

    record = json.loads(file.read_text())
    with torch.device("meta"):
        backbone = EANResNet(record["arch"], record["attention"], scheme=file.stem)
    assert "".join(record["stages"]) == backbone.network.scheme.text


def test_presets():
    counts = {}
    for scheme in ("org", "share-full", "org-full"):
        backbone = EANResNet("resnet20", "se", scheme=scheme)
        counts[scheme] = sum(value.numel() for value in backbone.parameters())
        wanted = create_model(
            "resnet20",
            num_classes=0,
            attention=None if scheme == "org" else "se",
            sharing="block" if scheme == "org-full" else "stage",
        )
        assert counts[scheme] == sum(value.numel() for value in wanted.parameters())
    assert counts["org"] < counts["share-full"] < counts["org-full"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"out_indices": (0, 3)}, "resnet20 has stages 0 to 2"),
        ({"strides": (1, 2, 2, 1)}, "3 stages, got 4 strides"),
        ({"scheme": "0101"}, "4 bits"),
        ({"pool": 0}, "pool must be"),
        ({"frozen_stages": 4}, "frozen_stages"),
        ({"norm_cfg": {"type": "GN"}}, "unknown norm_cfg type 'GN'"),
        ({"norm_cfg": {"type": "BN", "momentum": 0.1}}, "got also momentum"),
        ({"attention": "sse"}, "unknown attention 'sse'.*'se'"),
    ],
)
def test_what_cannot_be_built_gets_a_sentence(options, says):
    with pytest.raises(EANError, match=says):
        EANResNet("resnet20", **options)


def test_pool_is_an_average_before_the_network():
    torch.manual_seed(0)
    backbone = EANResNet("resnet20", "se", pool=2).eval()
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        wanted = backbone.network.forward_features(F.avg_pool2d(images, 2))
        assert torch.equal(backbone(images)[-1], wanted[-1])


def test_every_parameter_gets_a_gradient_from_the_last_feature():
    backbone = EANResNet("resnet20", "se", scheme="001000000", out_indices=(1,))
    backbone(torch.randn(2, 3, 16, 16))[0].square().mean().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("frozen", [-1, 0, 2])
def test_frozen_stages_neither_learn_nor_change_their_statistics(frozen):
    backbone = EANResNet("resnet20", "se", frozen_stages=frozen).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 16, 16))[-1].square().mean().backward()
    names = {"conv1", "bn1", "layer1", "layer2"} if frozen == 2 else {"conv1", "bn1"} if frozen == 0 else set()
    for name, parameter in backbone.network.named_parameters():
        assert (parameter.grad is None) == (name.split(".")[0] in names), name
    for name, value in backbone.state_dict().items():
        if name.endswith("running_mean"):
            assert torch.equal(value, before[name]) == (name.split(".")[1] in names), name


def test_norm_eval_and_frozen_norms():
    backbone = EANResNet("resnet20", "se", norm_eval=True, norm_cfg={"type": "BN", "requires_grad": False}).train()
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    assert norms
    assert not any(module.training or module.weight.requires_grad for module in norms)
    assert backbone.network.conv1.weight.requires_grad


def test_synchronized_batch_norm_and_back():
    from mmengine.model import revert_sync_batchnorm

    backbone = EANResNet("resnet20", "se", norm_cfg={"type": "SyncBN", "requires_grad": True})
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    assert all(isinstance(module, nn.SyncBatchNorm) for module in norms)
    plain = EANResNet("resnet20", "se").eval()
    plain.load_state_dict(backbone.state_dict())
    images = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(revert_sync_batchnorm(backbone).eval()(images)[-1], plain(images)[-1])


def test_the_five_lines_of_the_docstring_build_with_mmsegmentation():
    lines = (Path(__file__).parents[2] / "segmentation" / "backbone.py").read_text().split('"""')[1]
    scope: dict = {}
    exec("\n".join(line[4:] for line in lines.splitlines() if line.startswith("    ")), scope)
    config = dict(scope["model"]["backbone"])
    config.pop("_delete_")
    with torch.device("meta"):
        backbone = MODELS.build(config)
    assert backbone.channels == (256, 512, 1024, 2048)
    assert scope["custom_imports"]["imports"] == ["segmentation.backbone"]


def test_timms_network_with_its_public_weights_and_attention(tmp_path):
    timm, safetensors = pytest.importorskip("timm"), pytest.importorskip("safetensors.torch")
    theirs = timm.create_model("resnet18")
    scramble(theirs)
    safetensors.save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    backbone = EANResNet(
        "timm:resnet18", "timm:eca", scheme="10 00 11 01", contract_dilation=True, **LAYOUTS[8], out_indices=(2, 3)
    ).eval()
    message = str(backbone.load(str(tmp_path / "model.safetensors")))
    assert "left at their initial value: layer1.attention, layer3.attention, layer4.attention" in message
    assert torch.equal(backbone.network.get_submodule("layer4.1.conv2").weight, theirs.layer4[1].conv2.weight)
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 64, 48))
    assert [tuple(feature.shape[1:]) for feature in features] == [(256, 8, 6), (512, 8, 6)]


def test_norms_that_activate_are_not_synchronized():
    pytest.importorskip("timm")
    with pytest.raises(EANError, match="include the activation, which SyncBN would lose: give the backbone norm_cfg"):
        EANResNet("timm:regnetx_002", "se", norm_cfg={"type": "SyncBN"})
    EANResNet("timm:regnetx_002", "se", norm_cfg={"type": "BN"})


def test_a_scheme_of_another_attention_is_refused():
    EANResNet("resnet50", "se", scheme="paper_ean_se_resnet50", out_indices=(0,))
    with pytest.raises(EANError, match="was found for attention 'se', but the network has 'dia'"):
        EANResNet("resnet50", "dia", scheme="paper_ean_se_resnet50", out_indices=(0,))
