"""DARTS: the relaxed supernet, its gradient, and the descent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from ean_core import create_model
from ean_core.networks import ResNet
from ean_core.scheme import Scheme
from ean_core.search import GradientMethod, History, Reward, build_method, run_search
from ean_core.search.darts import DARTS, DARTSSettings, connection_costs
from ean_core.search.reward_landscapes import make_landscape, measure_regret
from ean_core.supernet.gates import gated_logits
from ean_core.supernet.path_metric import Top1
from ean_core.supernet.relaxed import ValidationGradient
from ean_core.utils.errors import EANError

BLOCKS = (3, 3, 3)


def network_of(attention: str, *, seed: int = 0, sharing: str = "stage") -> ResNet:
    """A supernet whose attention does something, and whose batch norms have seen images."""
    torch.manual_seed(seed)
    network = create_model("resnet20", num_classes=5, attention=attention, sharing=sharing)
    for stage in network.stages:
        for parameter in stage.attention.parameters():
            nn.init.normal_(parameter, std=0.7)
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(16, 3, 12, 12))
    return network.eval()


@pytest.mark.parametrize("attention", ["se", "sge", "dia"])
def test_the_gradient_is_the_slope_of_the_loss(attention: str) -> None:
    network = network_of(attention).double()
    batches = [{"inputs": torch.randn(n, 3, 12, 12).double(), "labels": torch.randint(5, (n,))} for n in (3, 5)]

    def loss_at(a: np.ndarray) -> float:
        with torch.no_grad():
            logits = [gated_logits(network, torch.tensor(a), batch["inputs"]) for batch in batches]
        pairs = zip(logits, batches, strict=True)
        return float(sum(nn.functional.cross_entropy(one, b["labels"], reduction="sum") for one, b in pairs)) / 8

    a = np.random.default_rng(0).random(9)
    loss, slope = ValidationGradient(network, lambda step: batches, metric=Top1(lambda images: images))(a, step=1)
    assert loss == pytest.approx(loss_at(a), rel=1e-5)
    for index in range(9):
        shift = 1e-7 * np.eye(9)[index]  # a larger one would cross kinks of the ReLU
        measured = (loss_at(a + shift) - loss_at(a - shift)) / 2e-7
        assert slope[index] == pytest.approx(measured, rel=1e-4, abs=1e-6)
    assert (slope != 0).all()


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_the_gradient_leaves_the_network_as_it_was(batch_statistics: bool) -> None:
    network = network_of("se")
    network.train()
    network.set_scheme("010101010")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = {"inputs": torch.randn(4, 3, 12, 12), "labels": torch.randint(5, (4,))}
    gradient = ValidationGradient(
        network, lambda step: [batch], metric=Top1(lambda images: images), batch_statistics=batch_statistics
    )
    first, again = (gradient(np.full(9, 0.5), step=1) for _ in range(2))
    assert (first[1] == again[1]).all()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    assert network.scheme.text == "010101010"
    assert all(parameter.grad is None for parameter in network.parameters())


def test_an_error_leaves_the_network_as_it_was() -> None:
    network = network_of("se").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def damaged(step: int):
        yield {"inputs": torch.randn(4, 3, 12, 12), "labels": torch.randint(5, (4,))}
        raise EANError("the second batch cannot be decoded")

    gradient = ValidationGradient(network, damaged, metric=Top1(lambda images: images))
    with pytest.raises(EANError, match="second batch"):
        gradient(np.full(9, 0.5), step=1)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_it_finds_the_scheme_that_made_the_labels() -> None:
    """The labels are drawn from what one scheme's path says, so that this path has the lowest expected loss."""
    network, planted = network_of("se", seed=3), Scheme.parse("010 | 110 | 001", blocks=BLOCKS)
    network.set_scheme(planted)
    with torch.no_grad():
        images = torch.randn(128, 3, 8, 8)
        network.fc.weight.mul_(30)  # clear answers, and of all classes
        network.fc.bias -= network(images).mean(dim=0)
        labels = network(images).softmax(dim=1).multinomial(1)[:, 0]
    method = DARTS(BLOCKS, seed=9, settings=DARTSSettings(pressure=False, learning_rate=0.2))
    method.gradient = ValidationGradient(
        network, lambda step: [{"inputs": images, "labels": labels}], metric=Top1(lambda one: one)
    )
    history = History(None)
    result = run_search(method, lambda s: [70.0] * len(s), steps=8, reward=Reward(), history=history)
    assert result.most_probable.scheme == planted
    start = history.lines[0].bits
    assert sum(one != other for one, other in zip(start, planted.text, strict=True)) >= 6


def test_the_pressure_is_the_rewards_price_of_a_connection() -> None:
    assert connection_costs(Reward(sparsity=2.0), BLOCKS) == pytest.approx(np.full(9, 2 / 9))
    # 100 (1 - loss) falls by 0.3 points per connection in the first three, and gains 0.1 or 0.5 in the others
    slope = np.array([0.003] * 3 + [-0.001] * 3 + [-0.005] * 3)
    schemes = {}
    for pressure in (True, False):
        method = build_method("darts", BLOCKS, seed=0, reward=Reward(sparsity=2.0), options={"pressure": pressure})
        method.gradient = lambda a, *, step: (1.0, slope)
        run_search(method, lambda s: [70.0] * len(s), steps=10, reward=Reward(), history=History(None))
        schemes[pressure] = str(method.most_probable())
    assert schemes == {True: "000 | 000 | 111", False: "000 | 111 | 111"}  # 2/9 a connection is more than 0.1


def test_a_resumed_search_takes_the_same_way(tmp_path) -> None:
    def search(steps: int, *, resume: bool) -> list[str]:
        method = DARTS(BLOCKS, seed=1)
        method.gradient = lambda a, *, step: (0.0, np.sin(step + np.arange(9)) + a - 0.5)
        history = History.open(tmp_path / "history.jsonl", resume=resume)
        run_search(method, lambda s: [70.0] * len(s), steps=steps, reward=Reward(), history=history)
        return [line.bits for line in history.lines]

    search(7, resume=False)
    resumed = search(20, resume=True)
    (tmp_path / "history.jsonl").unlink()
    assert resumed == search(20, resume=False)
    assert len(set(resumed)) > 2


def test_without_a_supernet_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GradientMethod, "gradient", None)
    landscape = make_landscape("additive", BLOCKS, seed=0)
    with pytest.raises(EANError, match="no supernet here"):
        measure_regret(
            lambda: build_method("darts", BLOCKS, seed=0, reward=Reward()), landscape, Reward(), checkpoints=[5]
        )
    method = DARTS(BLOCKS)
    method.gradient = lambda a, *, step: (float("nan"), np.full(9, np.nan))
    with pytest.raises(EANError, match="not finite"):
        method.update([])


def test_impossible_settings_are_refused() -> None:
    for options in ({"images": 0}, {"learning_rate": 0.0}):
        with pytest.raises(EANError):
            build_method("darts", BLOCKS, seed=0, reward=Reward(), options=options)
