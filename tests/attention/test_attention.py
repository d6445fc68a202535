"""Attention modules against their formulas, written out slowly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ean_core import EANError, create_model
from ean_core.attention import ATTENTIONS, Attention, build_attention, register
from ean_core.attention.base import channel_means


def residual(batch: int = 2, channels: int = 64, height: int = 5, width: int = 3) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(0))


def test_se_is_its_formula() -> None:
    module, x = build_attention("se", 64), residual()
    out, state = module(x)
    for b in range(2):
        pooled = torch.stack([x[b, c].sum() / 15 for c in range(64)])
        hidden = (module.squeeze.weight @ pooled + module.squeeze.bias).clamp(min=0)
        mask = 1 / (1 + torch.exp(-(module.excite.weight @ hidden + module.excite.bias)))
        for c in range(64):
            torch.testing.assert_close(out[b, c], x[b, c] * mask[c])
    assert module.squeeze.out_features == 4  # reduction 16
    assert state is None


def test_se_can_begin_as_in_the_released_imagenet_code() -> None:
    """Its layers are 1x1 convolutions there: N(0, sqrt(2 / out)). A Linear's own rule is ten times narrower."""
    torch.manual_seed(0)
    conv, linear = (build_attention("se", 256, options={"init": init}) for init in ("conv", "linear"))
    assert float(conv.squeeze.weight.detach().std()) == pytest.approx(math.sqrt(2 / 16), rel=0.05)
    assert float(conv.excite.weight.detach().std()) == pytest.approx(math.sqrt(2 / 256), rel=0.05)
    assert float(linear.squeeze.weight.detach().std()) == pytest.approx(1 / math.sqrt(3 * 256), rel=0.05)
    assert float(build_attention("se", 256).squeeze.weight.detach().abs().max()) <= 1 / 16  # the default
    with pytest.raises(EANError, match="init is 'linear' or 'conv', got 'normal'"):
        build_attention("se", 64, options={"init": "normal"})


@pytest.mark.parametrize("size", [(5, 3), (1, 1)])
def test_sge_is_its_formula(size: tuple[int, int]) -> None:
    module, x = build_attention("sge", 64), residual(height=size[0], width=size[1])
    nn.init.normal_(module.weight)  # zero at the start, which would hide the normalization
    nn.init.normal_(module.bias)
    out, _ = module(x)
    out = out.detach()
    module.requires_grad_(False)
    count = size[0] * size[1]
    for b in range(2):
        for g in range(8):
            group = x[b, 8 * g : 8 * g + 8].reshape(8, count)
            mean = group.sum(dim=1) / count
            agreement = [float((mean * group[:, i]).sum()) for i in range(count)]
            middle = sum(agreement) / count
            spread = math.sqrt(sum((a - middle) ** 2 for a in agreement) / (count - 1)) if count > 1 else 0.0
            for i in range(count):
                score = (agreement[i] - middle) / (spread + 1e-5) * float(module.weight[g]) + float(module.bias[g])
                wanted = group[:, i] / (1 + math.exp(-score))
                torch.testing.assert_close(
                    out[b, 8 * g : 8 * g + 8].reshape(8, count)[:, i], wanted, atol=1e-4, rtol=1e-3
                )


def test_sge_starts_as_sigmoid_of_one_everywhere() -> None:
    out, _ = build_attention("sge", 64)(residual())
    torch.testing.assert_close(out, residual() * torch.sigmoid(torch.tensor(1.0)))


def test_sge_refuses_groups_that_do_not_divide() -> None:
    with pytest.raises(EANError, match="60 channels cannot be divided into 8 groups"):
        build_attention("sge", 60)


def dia_step(module: nn.Module, pooled: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the DIA cell, gate by gate."""
    c = pooled.shape[1]

    def branch(layers: nn.Sequential, value: Tensor) -> Tensor:
        first = (value @ layers[0].weight.T + layers[0].bias).clamp(min=0)
        return first @ layers[2].weight.T + layers[2].bias

    gates = branch(module.from_input, pooled) + branch(module.from_hidden, hidden)
    i, f, g, o = gates[:, :c], gates[:, c : 2 * c], gates[:, 2 * c : 3 * c], gates[:, 3 * c :]
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.sigmoid(cell), cell


def test_dia_state_moves_only_at_connected_blocks() -> None:
    """A stage against a plain loop over its blocks, state kept by hand."""
    torch.manual_seed(0)
    net = create_model("resnet29", attention="dia", scheme="101 011 110").eval()
    x = torch.randn(2, 3, 16, 16)
    value = torch.relu(net.bn1(net.conv1(x)))
    for stage, bits in zip(net.stages, ((1, 0, 1), (0, 1, 1), (1, 1, 0)), strict=True):
        hidden = cell = torch.zeros(2, net.stage_channels[net.stages.index(stage)])
        for block, bit in zip(stage.blocks, bits, strict=True):
            branch, shortcut = block(value)
            if bit:
                hidden, cell = dia_step(stage.attention, branch.mean(dim=(2, 3)), hidden, cell)
                branch = branch * hidden[:, :, None, None]
            value = torch.relu(branch + shortcut)
    torch.testing.assert_close(net(x), net.fc(value.mean(dim=(2, 3))))


def test_dia_of_one_block_each_starts_every_cell_at_zero() -> None:
    torch.manual_seed(0)
    net = create_model("resnet20", attention="dia", sharing="block").eval()
    x = torch.randn(2, 16, 8, 8)
    value = x
    for index, block in enumerate(net.layer1.blocks):
        branch, shortcut = block(value)
        pooled = branch.mean(dim=(2, 3))
        hidden, _ = dia_step(net.layer1.attention[index], pooled, torch.zeros_like(pooled), torch.zeros_like(pooled))
        value = torch.relu(branch * hidden[:, :, None, None] + shortcut)
    torch.testing.assert_close(net.layer1(x), value)


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_every_attention_keeps_shape_and_gives_gradients(name: str) -> None:
    module, x = build_attention(name, 64), residual().requires_grad_()
    first, state = module(x)
    second, _ = module(x, state)
    assert first.shape == second.shape == x.shape
    (first.sum() + second.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in [x, *module.parameters()])


def test_unknown_names_give_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(EANError, match="choose one of se, sge, dia.*did you mean 'sge'"):
        build_attention("sgee", 64)
    with pytest.raises(EANError, match="unknown option of attention 'se' 'reducton'.*did you mean 'reduction'"):
        build_attention("se", 64, options={"reducton": 4})
    assert build_attention("se", 64, options={"reduction": 4}).squeeze.out_features == 16


def test_an_own_attention_is_registered_with_a_decorator() -> None:
    @register("half")
    class Half(Attention):
        def __init__(self, channels: int) -> None:
            super().__init__()

        def mask(self, residual: Tensor, state: object) -> tuple[Tensor, object]:
            return residual.new_full((1, 1, 1, 1), 0.5), state

    try:
        net = create_model("resnet20", attention="half").eval()
        assert isinstance(net.layer1.attention, Half)
        with pytest.raises(EANError, match="'half' is registered already, for Half"):
            register("half")(ATTENTIONS["se"])
    finally:
        del ATTENTIONS["half"]


@pytest.mark.parametrize("size", [(5, 3), (1, 1)])
@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_gradients_are_those_of_float64(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    module = build_attention(name, 16, options={"groups": 4} if name == "sge" else {}).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    x = residual(channels=16, height=size[0], width=size[1]).double().requires_grad_()

    def twice(x: Tensor, *parameters: Tensor) -> Tensor:
        named = dict(zip(dict(module.named_parameters()), parameters, strict=True))
        first, state = torch.func.functional_call(module, named, (x,))
        return first + torch.func.functional_call(module, named, (x, state))[0]

    assert torch.autograd.gradcheck(twice, (x, *module.parameters()))


def test_sge_is_at_least_float32_inside() -> None:
    """Its normalization amplifies small differences, which bfloat16 would lose."""
    torch.manual_seed(0)
    module, x = build_attention("sge", 64), residual()
    nn.init.normal_(module.weight)
    exact = module.double()(x.double())[0]
    assert exact.dtype == torch.float64
    low = x.bfloat16()
    out = module.float()(low)[0]
    assert out.dtype == torch.bfloat16
    wanted = low * module.group_mask(low.float()).bfloat16().expand(-1, -1, 8, -1, -1).flatten(1, 2)
    assert torch.equal(out, wanted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(module(x)[0], exact.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", list(ATTENTIONS))
def test_the_output_is_the_product_with_the_mask(name: str) -> None:
    module, x = build_attention(name, 64), residual()
    for layout in (torch.contiguous_format, torch.channels_last):
        x = x.contiguous(memory_format=layout)
        mask, _ = module.mask(x, None)
        torch.testing.assert_close(module(x)[0], x * mask)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_channel_means_and_their_gradients_are_those_of_the_mean(
    layout: torch.memory_format, dtype: torch.dtype
) -> None:
    x = (100 + 30 * residual(channels=16, height=32, width=32)).to(dtype).contiguous(memory_format=layout)
    x.requires_grad_()  # in float16 the sum of a channel, about 100,000, is infinite
    means = channel_means(x)
    assert means.dtype == dtype
    assert torch.equal(channel_means(x.detach()), x.detach().mean(dim=(2, 3)))
    exact = x.detach().double().mean(dim=(2, 3))
    torch.testing.assert_close(means.detach().double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=0)
    (gradient,) = torch.autograd.grad(means.double().square().sum(), x)
    wanted = (2 * exact / 1024)[:, :, None, None].expand_as(x).to(dtype)
    torch.testing.assert_close(gradient, wanted, rtol=8 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["se", "dia"])
def test_training_in_channels_last_makes_no_tensor_in_another_order(name: str, precision: torch.dtype) -> None:
    """The mean's own gradient would be one: it made a training step of a ResNet-29 with SE a fifth longer."""

    class Reordered(TorchDispatchMode):
        found: list[str] = []  # noqa: RUF012

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.shape == x.shape and out.is_contiguous():
                self.found.append(str(func))
            return out

    module = build_attention(name, 64)
    x = residual(height=6, width=4).to(precision).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        out = module(x)[0]
    with Reordered() as mode:
        out.backward(torch.ones_like(out))
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=torch.channels_last)
    assert mode.found == []
