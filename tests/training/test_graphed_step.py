"""The captured training step against the ordinary one: the same losses, gradients, weights and statistics."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from ean_core import Scheme, create_model
from ean_core.data.normalize import Normalize
from ean_core.supernet.paths import draw_path
from ean_core.training.classifier import ImageClassifier, SupernetClassifier
from ean_core.training.graphed_step import GraphedStep
from ean_core.utils.cuda_graph import CaptureFailed
from tests.helpers.tiny_networks import SHORT, small_architectures

PATHS = ["101 1 0", "000 1 1", "000 0 0", "111 1 1"]


def model_of(attention: str, kind: type[ImageClassifier] = SupernetClassifier, **options: object) -> ImageClassifier:
    torch.manual_seed(0)
    with small_architectures():
        network = create_model("short20", attention=attention, num_classes=4, **options)
    return kind(network, Normalize((0.5,) * 3, (0.25,) * 3)).train()


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randint(0, 256, (6, 3, 8, 8), generator=generator, dtype=torch.uint8),
            torch.randint(0, 4, (6,), generator=generator),
        )
        for _ in PATHS
    ]


def imitated(model: ImageClassifier):
    """In place of a graph: the work is done twice, and again whenever asked for; gradients stay where they are."""

    def capture(work, *, before):
        for _ in range(2):
            before()
            assert not any(loss.requires_grad for loss in work().values())  # nothing of the step is kept
        places = [(parameter, parameter.grad) for parameter in model.parameters()]

        def again():
            before()
            losses = work()
            for parameter, place in places:
                if place is not None:  # of a stage that a final network does not connect
                    place.copy_(parameter.grad)
            return losses

        return again

    return capture


def trained(model: ImageClassifier, *, graph: bool, device: str = "cpu") -> tuple[list[float], ImageClassifier]:
    """Losses of a few steps on paths that change, and the model after them."""
    model = copy.deepcopy(model).to(device)
    data = [(images.to(device), labels.to(device)) for images, labels in batches()]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    model.paths = [Scheme.parse(PATHS[0], blocks=SHORT)]
    how = {} if device == "cuda" else {"capture": imitated(model)}
    step = GraphedStep(model, *data[0], **how) if graph else None
    losses = []
    for path, (images, labels) in zip(PATHS, data, strict=True):
        model.paths = [Scheme.parse(path, blocks=SHORT)]
        result = step(images, labels) if step else model(images, labels, mode="loss")
        if step is None:
            result["loss"].backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(result["loss"].item())
    return losses, model


def check_same(model: ImageClassifier, *, device: str = "cpu", near: float = 0.0) -> None:
    wanted, one = trained(model, graph=False, device=device)
    captured, other = trained(model, graph=True, device=device)
    assert captured == pytest.approx(wanted, rel=max(near, 1e-6))
    state = other.state_dict()
    for name, value in one.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=max(near, 1e-5), atol=max(near, 1e-6), msg=name)


@pytest.mark.parametrize("sharing", ["stage", "block"])
@pytest.mark.parametrize("attention", ["se", "sge", "dia"])
def test_one_graph_trains_every_path(attention: str, sharing: str) -> None:
    check_same(model_of(attention, sharing=sharing))


def test_a_final_network_keeps_its_scheme() -> None:
    model = model_of("se", ImageClassifier, scheme="010 0 1")
    check_same(model)
    assert str(model.network.scheme) == "010 | 0 | 1"


@pytest.mark.gpu
@pytest.mark.parametrize("attention", ["se", "sge", "dia"])
def test_a_cuda_graph_trains_every_path(attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    check_same(model_of(attention), device="cuda", near=1e-3)


def test_without_a_gpu_the_step_is_the_ordinary_one() -> None:
    model = model_of("se")
    model.cuda_graph = True
    model.paths = [draw_path(SHORT, seed=0, step=0)]
    images, labels = batches()[0]
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    assert set(model.train_step({"inputs": images, "labels": labels}, wrapper)) == {"loss", "top1"}
    assert model.graphed is None


def test_without_a_capture_training_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The same step as ever, one sentence, and no second try."""
    tried = []

    def failing(work, *, before):
        tried.append(work())
        raise CaptureFailed("the CUDA graph cannot be captured (no)")

    monkeypatch.setattr(GraphedStep.__init__, "__kwdefaults__", {"capture": failing})
    monkeypatch.setattr(Tensor, "is_cuda", True)
    plain, other = model_of("se"), model_of("se")
    other.cuda_graph = True
    for model in (plain, other):
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
        for step, (images, labels) in enumerate(batches()):
            model.paths = [draw_path(SHORT, seed=0, step=step)]
            model.train_step({"inputs": images, "labels": labels}, wrapper)
    warning = "warning: the CUDA graph cannot be captured (no); training continues without it"
    assert capsys.readouterr().out.splitlines() == [warning]
    assert len(tried) == 1
    for (name, wanted), got in zip(plain.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(got, wanted), name


def test_attention_with_a_batch_norm_is_not_captured() -> None:
    """The graph runs the attention of every block, connected or not."""
    model, (images, labels) = model_of("se"), batches()[0]
    model.network.layer2.attention.norm = torch.nn.BatchNorm1d(4)
    with pytest.raises(CaptureFailed, match="update the attention's batch norms at unconnected blocks"):
        GraphedStep(model, images, labels, capture=imitated(model))


def test_sandwich_and_graph_are_refused_together() -> None:
    from classification.recipe import SupernetRecipe
    from ean_core import EANError

    with pytest.raises(EANError, match=r"supernet\.sandwich .* supernet\.cuda_graph"):
        SupernetRecipe(epochs=1, sandwich=True, cuda_graph=True)
