"""What runs on a GPU, traced without one: tensors of two devices do not meet, and no step waits for the device.

A CUDA graph refuses both, and outside of one a wait in every step leaves the GPU without work.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from ean_core import Scheme, create_model
from ean_core.attention import ATTENTIONS
from ean_core.data import Augment
from ean_core.data.normalize import Normalize
from ean_core.deploy.kernels import reference
from ean_core.deploy.modes import MODES
from ean_core.networks import StagedNetwork
from ean_core.supernet.gates import gated_logits
from ean_core.supernet.path_metric import Top1
from ean_core.supernet.scorer import Scorer
from ean_core.training.classifier import ImageClassifier, SupernetClassifier
from ean_core.training.graphed_step import GraphedStep
from tests.helpers.fake_cuda import NoTransfers, fake_cuda
from tests.helpers.tiny_networks import SHORT, small_architectures

TRACED = [name for name in MODES if name != "max_autotune"]  # which hands the folded network to the compiler


@pytest.fixture(autouse=True)
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU that has it."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)


def short_network(attention: str | None, **options: object) -> StagedNetwork:
    """A network of five bottlenecks."""
    with small_architectures():
        return create_model("short29", attention=attention, **options)


def use_plain_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the kernels what they compute, where they write it."""
    triton_kernels = pytest.importorskip("ean_core.deploy.kernels.triton_kernels", exc_type=ImportError)

    def in_place(kernel: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda residual, *given: residual.copy_(kernel(residual, *given))

    for name in ("bias_relu", "add_relu", "scale_add_relu", "group_enhance"):
        monkeypatch.setattr(triton_kernels, name, in_place(getattr(reference, name)))
    for name in ("channel_means", "excite", "cell"):
        monkeypatch.setattr(triton_kernels, name, getattr(reference, name))


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("mode", TRACED)
def test_nothing_in_a_mode_waits(mode: str, attention: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode.startswith("fused"):
        use_plain_kernels(monkeypatch)
    for module in ("ean_core.deploy.modes", "ean_core.deploy.compile"):
        monkeypatch.setattr(f"{module}.captured", lambda network, _: network)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    # The flag and not the function, which the compiler knows by its identity from when it first looks.
    monkeypatch.setattr(torch.compiler, "_is_compiling_flag", mode.startswith("compiled"))
    with fake_cuda():
        network = short_network(attention, scheme=attention and "101 | 0 | 1").eval()
        images = torch.randn(2, 3, 16, 16)
        optimized = MODES[mode].build(network, images)
        with torch.inference_mode(), NoTransfers():
            logits = optimized(images)
        assert (logits.device.type, logits.dtype, logits.shape) == ("cuda", torch.float32, (2, 100))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize(("kind", "precision"), [(SupernetClassifier, "bfloat16"), (ImageClassifier, "float32")])
def test_nothing_in_a_training_step_waits(kind: type[ImageClassifier], attention: str, precision: str) -> None:
    """But for the backward pass, for which PyTorch wants a real device."""

    def traced(work: Callable, *, before: Callable) -> Callable:
        with NoTransfers():
            losses = work()
        return lambda: losses

    with fake_cuda(), patch.object(Tensor, "backward", lambda _: None), patch.object(Tensor, "pin_memory", lambda x: x):
        network = short_network(attention).to(memory_format=torch.channels_last)
        normalize = Normalize((0.5,) * 3, (0.25,) * 3, channels_last=True)
        model = kind(network, normalize, label_smoothing=0.1, precision=precision).train()
        model.paths = [Scheme.parse("101 | 0 | 1", blocks=SHORT)]
        images, labels = torch.zeros(4, 3, 16, 16, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
        losses = GraphedStep(model, images, labels, capture=traced)(images, labels)
        assert {loss.device.type for loss in losses.values()} == {"cuda"}


@pytest.mark.parametrize("reestimated", [False, True])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_no_batch_of_a_score_waits(attention: str, reestimated: bool) -> None:
    with fake_cuda():
        network = short_network(attention).to(memory_format=torch.channels_last)
        batch = {"inputs": torch.zeros(4, 3, 16, 16, dtype=torch.uint8), "labels": torch.zeros(4, dtype=torch.int64)}
        normalize = Normalize((0.5,) * 3, (0.25,) * 3, channels_last=True)
        training = [batch] * 2 if reestimated else None
        how = {"metric": Top1(normalize), "training": training, "dtype": torch.bfloat16, "max_bytes": 10**9}
        scorer = Scorer(network, [batch] * 2, **how)
        for bits in ("111 | 1 | 1", "111 | 0 | 1"):
            with NoTransfers():
                assert scorer._pass(Scheme.parse(bits, blocks=SHORT)).device.type == "cuda"
        with NoTransfers():
            assert gated_logits(network, torch.ones(sum(SHORT)), normalize(batch["inputs"])).device.type == "cuda"


@pytest.mark.parametrize("fill", [0, (1, 2, 3)])
def test_no_augmented_batch_waits(fill: int | tuple[int, ...]) -> None:
    augment = Augment(cutout=4, cutout_fill=fill)
    with fake_cuda():
        with torch.device("cpu"):
            params = augment.sample(4, 16, 16, torch.Generator("cpu"))
        params = params.to("cuda")
        with NoTransfers():
            assert augment.apply(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), params).device.type == "cuda"


def waits(x: Tensor) -> dict[str, Callable[[], object]]:
    """Ways to make the processor and the GPU wait for each other, or to mix their tensors."""
    return {
        "a decision": lambda: bool(x.sum() > 0),
        "a number": lambda: x.sum().item(),
        "places": lambda: x[x > 0],
        "a tensor of numbers": lambda: x + torch.tensor([1.0, 2.0]),
        "a transfer": lambda: x.cpu(),
        "another device": lambda: x + torch.ones(2, device="cpu"),
        "an index from elsewhere": lambda: x[torch.zeros(1, dtype=torch.int64, device="cpu")],
    }


@pytest.mark.parametrize("way", waits(torch.ones(2)))
def test_what_waits_is_found(way: str) -> None:
    with fake_cuda():
        x = torch.ones(2)
        with pytest.raises(Exception, match="device|_local_scalar_dense|nonzero|captures"), NoTransfers():
            waits(x)[way]()
        with NoTransfers():
            assert (x * torch.tensor(2.0, device="cpu")).device.type == "cuda"  # a number, for a kernel
