"""Every faster form computes what the network computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ean_core import EANError, create_model
from ean_core.attention import ATTENTIONS
from ean_core.deploy.compile import SettingUnavailable
from ean_core.deploy.modes import SETTINGS, Setting, allowed_difference, compare_settings, fast_form
from tests.helpers.tiny_networks import difference, images, trained

CUDA = torch.cuda.is_available()
FAST = ("eager", "channels_last", "folded", "bf16")
COMPILED = ("compiled", "compiled_bf16")
CUDA_ONLY = ("max_autotune", "cuda_graph", "fused", "fused_bf16")
NEAR_ON_CUDA = 1e-3
"""Each of cuDNN's algorithms adds up in another order, and it chooses one for each layout and size."""


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("setting", FAST)
def test_settings_equal_eager(setting: str, attention: str | None) -> None:
    network = trained("resnet29", attention, scheme=attention and "101 | 000 | 011").train()
    x = images(network, size=8)
    form = SETTINGS[setting].build(network, x)
    with torch.inference_mode():
        assert difference(network.eval()(x), form(x)) <= SETTINGS[setting].tolerance


def test_settings_leave_the_network_alone() -> None:
    network = create_model("resnet20", attention="se")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for setting in FAST:
        with torch.inference_mode():
            SETTINGS[setting].build(network, images(network, size=8))(images(network, size=8))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.layer2.get_submodule("0").conv2.weight.is_contiguous()


def test_settings_are_what_they_say() -> None:
    """Layout and type of the images inside, whether batch norm is there, layout of the weights."""
    network, seen = trained("resnet20"), {}
    for setting in FAST:
        network.layer2.register_forward_pre_hook(
            lambda module, inputs: seen.update(
                now=(
                    inputs[0].is_contiguous(memory_format=torch.channels_last),
                    inputs[0].dtype,
                    any(isinstance(part, nn.BatchNorm2d) for part in module.modules()),
                    module.get_submodule("0").conv2.weight.is_contiguous(memory_format=torch.channels_last),
                )
            )
        )
        with torch.inference_mode():
            SETTINGS[setting].build(network, images(network, size=8))(images(network, size=8))
        seen[setting] = seen["now"]
    assert seen["eager"] == (False, torch.float32, True, False)
    assert seen["channels_last"] == (True, torch.float32, True, True)
    assert seen["folded"] == (True, torch.float32, False, True)
    assert seen["bf16"] == (True, torch.bfloat16, False, True)


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("setting", COMPILED)
def test_compiled_equals_eager(setting: str, attention: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler is given, without the minutes that it takes to make machine code of it."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend="eager", fullgraph=True, dynamic=False))
    network = trained("resnet29", attention, scheme=attention and "110 | 000 | 011")
    x = images(network, size=8)
    form = SETTINGS[setting].build(network, x)
    with torch.inference_mode():
        assert difference(network(x), form(x)) <= SETTINGS[setting].tolerance


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="needs CUDA")
@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("setting", ["cuda_graph", "fused", "fused_bf16"])
def test_cuda_graph_equals_eager(setting: str, attention: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    network = trained("resnet29", attention).to("cuda")
    x = images(network, size=8, device="cuda")
    form = SETTINGS[setting].build(network, x)
    with torch.inference_mode():
        for factor in (1.0, -2.0):  # a second input: the graph must read what it is given
            assert difference(network(factor * x), form(factor * x)) <= max(NEAR_ON_CUDA, SETTINGS[setting].tolerance)


def test_what_float32_may_differ_by_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert allowed_difference("folded", gpu) == pytest.approx(0.1 / 8)
    assert allowed_difference("bf16", gpu) == SETTINGS["bf16"].tolerance
    assert allowed_difference("folded", cpu) == SETTINGS["folded"].tolerance
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert allowed_difference("folded", gpu) == SETTINGS["folded"].tolerance


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not CUDA, reason="needs CUDA")
@pytest.mark.parametrize("setting", ["compiled", "max_autotune"])
def test_compiled_on_cuda_equals_eager(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    network = trained("resnet20", "se").to("cuda")
    x = images(network, size=8, device="cuda")
    form = SETTINGS[setting].build(network, x)
    with torch.inference_mode():
        assert difference(network(x), form(x)) <= max(NEAR_ON_CUDA, SETTINGS[setting].tolerance)


def test_every_setting_has_its_equality_test() -> None:
    assert set(SETTINGS) == {*FAST, *COMPILED, *CUDA_ONLY}


def test_a_setting_that_cannot_run_is_skipped_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = {"Org": trained("resnet20"), "Share-full": trained("resnet20", "se")}
    x = images(networks["Org"], size=8)
    calls = []
    results, skipped = compare_settings(networks, x, ["cuda_graph", "eager"], rounds=2, after_round=calls.append)
    assert skipped == {"cuda_graph": "cuda_graph needs a CUDA device, and this runs on cpu"}
    assert list(results) == ["eager"]
    assert calls == ["eager", "eager"]
    assert results["eager"]["Share-full"].increment is not None

    def broken(*inputs):
        raise RuntimeError("no compiler\nlong story")

    monkeypatch.setattr(torch, "compile", lambda form, **options: broken)
    with pytest.raises(SettingUnavailable, match=r"does not work here \(no compiler\)$"):
        SETTINGS["compiled"].build(networks["Org"], x)


def test_a_fast_form_predicts_without_gradients_and_leaves_the_network() -> None:
    network = trained("resnet20", "se")
    x = images(network, size=8)
    form = fast_form(network, x, "folded")
    logits = form(x)
    assert not logits.requires_grad
    assert difference(network(x).detach(), logits) < 1e-4
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    network.fc.weight.data.zero_()
    assert torch.equal(form(x), logits)
    with pytest.raises(EANError, match="did you mean 'folded'"):
        fast_form(network, x, "foldet")


def test_what_a_fast_form_gives_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a CUDA graph does with its output."""
    output = torch.zeros(2, 3)
    monkeypatch.setitem(SETTINGS, "folded", Setting(lambda *_: lambda images: output.copy_(images), 0.0))
    form = fast_form(trained("resnet20"), output, "folded")
    first = form(torch.ones(2, 3))
    form(torch.zeros(2, 3))
    assert torch.equal(first, torch.ones(2, 3))


def test_unknown_setting() -> None:
    with pytest.raises(EANError, match="did you mean 'folded'"):
        compare_settings({"Org": trained("resnet20")}, torch.zeros(1, 3, 8, 8), ["foldet"], rounds=1)
