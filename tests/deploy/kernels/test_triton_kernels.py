"""The Triton kernels against what they are to compute: on a CPU through Triton's interpreter, and on a GPU."""

from __future__ import annotations

import pytest
import torch

from tests.helpers.triton_interpreter import interpreted

pytest.importorskip("triton")


def test_kernels_equal_their_references() -> None:
    interpreted("from tests.deploy.kernels.test_triton_kernels import check_all; check_all('cpu')")


@pytest.mark.gpu
def test_kernels_equal_their_references_on_a_gpu() -> None:
    check_all("cuda")


def check_all(device: str) -> None:
    """Every kernel on maps whose sides are not powers of two, a single position, and groups of odd size."""
    from ean_core.deploy.kernels import reference, triton_kernels

    generator = torch.Generator().manual_seed(0)
    cases = [
        (batch, channels, height, width, groups, dtype)
        for batch, channels, height, width, groups in ((2, 24, 7, 5, 8), (1, 72, 1, 1, 8), (2, 64, 9, 9, 8))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    for batch, channels, height, width, groups, dtype in cases:

        def features(shape: tuple[int, ...] = (batch, channels, height, width), dtype: torch.dtype = dtype):
            tensor = torch.randn(shape, generator=generator).to(dtype).to(device)
            return tensor.contiguous(memory_format=torch.channels_last)

        residual, shortcut = features(), features()
        mask = torch.rand(batch, channels, generator=generator).to(dtype).to(device)
        weight, bias = (torch.randn(groups, generator=generator).to(device) for _ in range(2))
        before = torch.randn(channels, generator=generator).to(dtype).to(device)
        for name, arguments in (
            ("channel_means", ()),
            ("bias_relu", (before,)),
            ("add_relu", (shortcut,)),
            ("add_relu", (shortcut, before)),
            ("scale_add_relu", (mask, shortcut)),
            ("scale_add_relu", (mask, shortcut, before)),
            ("scale_add_relu", (mask[:1], shortcut)),  # of an attention that does not look at the images,
            ("scale_add_relu", (mask[:, :1], shortcut)),  # and of one that does not tell the channels apart
            ("group_enhance", (shortcut, weight, bias, 1e-5)),
            ("group_enhance", (shortcut, weight, bias, 1e-5, before)),
        ):
            wanted = getattr(reference, name)(residual, *arguments)
            got = getattr(triton_kernels, name)(residual.clone(memory_format=torch.channels_last), *arguments)
            near = 1e-4 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(got, wanted, rtol=near, atol=near, msg=lambda text, name=name: f"{name}: {text}")
        check_small(batch, channels, dtype, device, generator)
    check_refusal(residual, triton_kernels)
    check_nan(residual, triton_kernels)


def check_small(batch: int, channels: int, dtype: torch.dtype, device: str, generator: torch.Generator) -> None:
    """What is done with (B, C): SE's two layers, also of a single hidden unit, and DIA's cell."""
    from ean_core.deploy.kernels import reference, triton_kernels

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype).to(device)

    for hidden, inputs in ((1, channels), (5, channels), (5, channels // 4)):
        layers = (draw(hidden, inputs), draw(hidden), draw(channels, hidden), draw(channels))
        pooled = draw(batch, inputs).float()
        got, wanted = triton_kernels.excite(pooled, *layers), reference.excite(pooled, *layers)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert triton_kernels.excites(torch.empty(16, 256), torch.empty(256, 16))
    assert not triton_kernels.excites(torch.empty(128, 512), torch.empty(2048, 128))
    assert not triton_kernels.excites(torch.empty(16, 2048), torch.empty(512, 16))
    gates, cell, more = draw(batch, 4 * channels), draw(batch, channels), draw(batch, 4 * channels)
    near = 1e-4 if dtype == torch.float32 else 2e-2
    for given in ((gates, cell), (gates, cell, more)):
        for got, wanted in zip(triton_kernels.cell(*given), reference.cell(*given), strict=True):
            torch.testing.assert_close(got, wanted, rtol=near, atol=near)


def check_nan(features: torch.Tensor, kernels: object) -> None:
    """As PyTorch's ReLU, the kernels' keeps what is not a number."""
    features[0, 0] = float("nan")
    assert kernels.add_relu(features, torch.ones_like(features))[0, 0].isnan().all()


def check_refusal(features: torch.Tensor, kernels: object) -> None:
    """Another layout is refused, not misread."""
    from ean_core import EANError

    with pytest.raises(EANError, match="channels_last"):
        kernels.add_relu(features.contiguous(), features)


def test_gradients_are_refused_and_not_wrong() -> None:
    from ean_core import EANError
    from ean_core.deploy.kernels import triton_kernels

    x = torch.randn(2, 8, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    bias, groups = torch.zeros(8), torch.zeros(2)
    for call in (
        lambda: triton_kernels.bias_relu(x, bias),
        lambda: triton_kernels.add_relu(x, x),
        lambda: triton_kernels.scale_add_relu(x, torch.ones(2, 8), x),
        lambda: triton_kernels.channel_means(x),
        lambda: triton_kernels.group_enhance(x, x, groups, groups, 1e-5),
    ):
        with pytest.raises(EANError, match="no gradients"):
            call()


def test_the_reference_of_sge_is_the_module() -> None:
    from ean_core.attention import build_attention
    from ean_core.deploy.kernels import reference

    module = build_attention("sge", 16)
    torch.nn.init.normal_(module.weight)
    residual, shortcut = torch.randn(2, 16, 5, 3), torch.randn(2, 16, 5, 3)
    wanted = (module(residual)[0] + shortcut).relu()
    got = reference.group_enhance(residual, shortcut, module.weight, module.bias, module.eps)
    torch.testing.assert_close(got, wanted)
