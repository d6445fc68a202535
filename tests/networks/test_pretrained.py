"""Public weights: the same outputs as torchvision's networks, and attention left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from ean_core import EANError, create_model, load_torchvision_weights


def public(name: str) -> torch.nn.Module:
    """A torchvision network with lively batch norm statistics, as a trained one has."""
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(weights=None).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return net


@pytest.mark.parametrize("suffix", ["_nobias", ""])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_all_bits_off_gives_torchvisions_outputs(name: str, suffix: str) -> None:
    theirs, ours = public(name), create_model(name + suffix, attention="sge", scheme="org").eval()
    report = load_torchvision_weights(ours, theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)
    assert not report.unused
    assert all(".attention." in name for name in report.missing)
    assert bool(report.zeroed) == (suffix == "")


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"])
def test_every_depth_has_torchvisions_tensors(name: str) -> None:
    with torch.device("meta"):
        theirs, ours = getattr(torchvision.models, name)(), create_model(f"{name}_nobias")
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {ours.own_name(key): shape for key, shape in shapes.items()} == {
        key: value.shape for key, value in ours.state_dict().items()
    }


def test_attention_and_another_head_are_left_and_named() -> None:
    torch.manual_seed(1)
    ours = create_model("resnet18", attention="se", num_classes=10)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    report = load_torchvision_weights(ours, public("resnet18").state_dict())
    after = ours.state_dict()
    for name in report.missing:
        if name.endswith("excite.weight"):  # the masks start the same for all images, see neutral_start.py
            assert not after[name].any()
        else:
            assert torch.equal(before[name], after[name]), name
    assert "fc.weight" in report.missing
    assert report.unused == ("fc.weight", "fc.bias")
    assert "layer1.attention" in str(report)
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])


def test_old_conv_biases_are_zeroed() -> None:
    ours = create_model("resnet18")
    torch.nn.init.ones_(ours.conv1.bias)
    load_torchvision_weights(ours, public("resnet18").state_dict())
    assert float(ours.conv1.bias.detach().abs().max()) == 0


def test_weights_of_another_network_change_nothing() -> None:
    ours = create_model("resnet34")
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(EANError, match="of another network: .* the first is layer1"):
        load_torchvision_weights(ours, public("resnet18").state_dict())
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())


def test_names_of_a_data_parallel_run_are_understood() -> None:
    ours, theirs = create_model("resnet18_nobias"), public("resnet18")
    load_torchvision_weights(ours, {f"module.{name}": value for name, value in theirs.state_dict().items()})
    assert torch.equal(ours.conv1.weight, theirs.conv1.weight)


def test_weights_come_from_a_file_that_cannot_run_code(tmp_path: Path) -> None:
    theirs, ours = public("resnet18"), create_model("resnet18_nobias")
    for content in (theirs.state_dict(), {"state_dict": theirs.state_dict()}):
        torch.save(content, tmp_path / "w.pth")
        report = load_torchvision_weights(ours, tmp_path / "w.pth")
        assert not report.missing
        assert torch.equal(ours.fc.weight, theirs.fc.weight)
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(EANError, match="holds no weights"):
        load_torchvision_weights(ours, tmp_path / "w.pth")
    with pytest.raises(EANError, match="does not exist"):
        load_torchvision_weights(ours, tmp_path / "none.pth")
