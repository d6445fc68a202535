"""Every mode computes what the network computes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ean_core import EANError
from ean_core.attention import ATTENTIONS
from ean_core.deploy.compile import ModeUnavailable
from ean_core.deploy.modes import MODES, Mode, allowed_difference, optimize_for_inference
from tests.helpers.tiny_networks import difference, images, trained

CUDA = torch.cuda.is_available()
FAST = ("eager", "channels_last", "folded", "bf16")
COMPILED = ("compiled", "compiled_bf16")
CUDA_ONLY = ("max_autotune", "cuda_graph", "fused", "fused_bf16")
NEAR_ON_CUDA = 1e-3
"""Each of cuDNN's algorithms adds up in another order, and it chooses one for each layout and size."""


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("mode", FAST)
def test_modes_equal_eager(mode: str, attention: str | None) -> None:
    network = trained("short29", attention, scheme=attention and "101 | 0 | 1").train()
    x = images(network, size=8)
    optimized = MODES[mode].build(network, x)
    with torch.inference_mode():
        assert difference(network.eval()(x), optimized(x)) <= MODES[mode].tolerance


def test_modes_leave_the_network_alone() -> None:
    network = trained("short20", "se").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for mode in FAST:
        with torch.inference_mode():
            MODES[mode].build(network, images(network, size=8))(images(network, size=8))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.layer2.get_submodule("0").conv2.weight.is_contiguous()


def test_modes_are_what_they_say() -> None:
    """Layout and type of the images inside, whether batch norm is there, layout of the weights."""
    network, seen = trained("short20"), {}
    for mode in FAST:
        network.layer2.get_submodule("0").register_forward_pre_hook(
            lambda module, inputs: seen.update(
                now=(
                    inputs[0].is_contiguous(memory_format=torch.channels_last),
                    inputs[0].dtype,
                    any(isinstance(part, nn.BatchNorm2d) for part in module.modules()),
                    module.conv2.weight.is_contiguous(memory_format=torch.channels_last),
                )
            )
        )
        with torch.inference_mode():
            MODES[mode].build(network, images(network, size=8))(images(network, size=8))
        seen[mode] = seen["now"]
    assert seen["eager"] == (False, torch.float32, True, False)
    assert seen["channels_last"] == (True, torch.float32, True, True)
    assert seen["folded"] == (True, torch.float32, False, True)
    assert seen["bf16"] == (True, torch.bfloat16, False, True)


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("mode", COMPILED)
def test_compiled_equals_eager(mode: str, attention: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler is given, without the minutes that it takes to make machine code of it."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend="eager", fullgraph=True, dynamic=False))
    network = trained("short29", attention, scheme=attention and "110 | 0 | 1")
    x = images(network, size=8)
    optimized = MODES[mode].build(network, x)
    with torch.inference_mode():
        assert difference(network(x), optimized(x)) <= MODES[mode].tolerance


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="needs CUDA")
@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("mode", ["cuda_graph", "fused", "fused_bf16"])
def test_cuda_graph_equals_eager(mode: str, attention: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    network = trained("short29", attention).to("cuda")
    x = images(network, size=8, device="cuda")
    optimized = MODES[mode].build(network, x)
    with torch.inference_mode():
        for factor in (1.0, -2.0):  # a second input: the graph must read what it is given
            near = max(NEAR_ON_CUDA, MODES[mode].tolerance)
            assert difference(network(factor * x), optimized(factor * x)) <= near


def test_what_float32_may_differ_by_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert allowed_difference("folded", gpu) == pytest.approx(0.1 / 8)
    assert allowed_difference("bf16", gpu) == MODES["bf16"].tolerance
    assert allowed_difference("folded", cpu) == MODES["folded"].tolerance
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert allowed_difference("folded", gpu) == MODES["folded"].tolerance


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not CUDA, reason="needs CUDA")
@pytest.mark.parametrize("mode", ["compiled", "max_autotune"])
def test_compiled_on_cuda_equals_eager(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    network = trained("short20", "se").to("cuda")
    x = images(network, size=8, device="cuda")
    optimized = MODES[mode].build(network, x)
    with torch.inference_mode():
        assert difference(network(x), optimized(x)) <= max(NEAR_ON_CUDA, MODES[mode].tolerance)


def test_every_mode_has_its_equality_test() -> None:
    assert set(MODES) == {*FAST, *COMPILED, *CUDA_ONLY}


def test_a_compiler_that_fails_is_reported_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*inputs):
        raise RuntimeError("no compiler\nlong story")

    network = trained("short20")
    monkeypatch.setattr(torch, "compile", lambda function, **options: broken)
    with pytest.raises(ModeUnavailable, match=r"does not work here \(no compiler\)$"):
        MODES["compiled"].build(network, images(network, size=8))


@pytest.mark.parametrize("mode", CUDA_ONLY)
def test_modes_of_a_gpu_say_so_elsewhere(mode: str) -> None:
    network = trained("short20")
    with pytest.raises(ModeUnavailable, match=f"^{mode} needs a CUDA device, and this runs on cpu$"):
        MODES[mode].build(network, images(network, size=8))


def test_an_optimized_network_predicts_without_gradients_and_leaves_the_network() -> None:
    network = trained("short20", "se")
    x = images(network, size=8)
    optimized = optimize_for_inference(network, x, mode="folded")
    logits = optimized(x)
    assert not logits.requires_grad
    assert difference(network(x).detach(), logits) < 1e-4
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    network.fc.weight.data.zero_()
    assert torch.equal(optimized(x), logits)
    with pytest.raises(EANError, match="did you mean 'folded'"):
        optimize_for_inference(network, x, mode="foldet")


def test_logits_are_not_overwritten_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a CUDA graph does with its output."""
    output = torch.zeros(2, 3)
    monkeypatch.setitem(MODES, "folded", Mode(lambda *_: lambda images: output.copy_(images), 0.0))
    optimized = optimize_for_inference(trained("short20"), output, mode="folded")
    first = optimized(torch.ones(2, 3))
    optimized(torch.zeros(2, 3))
    assert torch.equal(first, torch.ones(2, 3))
