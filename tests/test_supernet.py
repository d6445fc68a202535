"""Paths, batch-norm re-estimation, and the scorer against a slow pass over every scheme."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ean_core import Scheme, create_model
from ean_core.normalise import Normalise
from ean_core.supernet import Scorer, batch_norms, draw_path, reestimate_batch_norm, sandwich_paths

BLOCKS = (3, 3, 3)


@pytest.fixture
def batches() -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "inputs": torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8),
            "labels": torch.randint(0, 4, (count,), generator=generator),
        }
        for count in (7, 7, 3)
    ]


@pytest.fixture
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    net = create_model("resnet20", attention="se", num_classes=4)
    for norm in batch_norms(net):
        norm.running_mean.normal_(0, 0.3)
    return net


normalise = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_normalise_is_its_formula() -> None:
    module = Normalise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), channels_last=True)
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    mean, std = torch.tensor((0.1, 0.2, 0.3)).view(3, 1, 1), torch.tensor((0.5, 0.6, 0.7)).view(3, 1, 1)
    torch.testing.assert_close(module(images), (images / 255 - mean) / std)
    assert module(images).is_contiguous(memory_format=torch.channels_last)
    assert not module.state_dict()  # it belongs to the data, not to the weights


def test_paths_depend_on_seed_and_step_alone() -> None:
    paths = [draw_path(BLOCKS, seed=1, step=step) for step in range(300)]
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    assert draw_path(BLOCKS, seed=1, step=7) == paths[7]
    assert paths != [draw_path(BLOCKS, seed=2, step=step) for step in range(300)]
    on = np.mean([path.bits for path in paths], axis=0)
    assert np.all(np.abs(on - 0.5) < 0.13)  # Bernoulli(0.5) for every bit: within 4.5 standard errors


def test_sandwich_has_both_ends_and_two_random_paths() -> None:
    paths = sandwich_paths(BLOCKS, seed=0, step=3)
    assert paths[:2] == [Scheme.all_on(BLOCKS), Scheme.all_off(BLOCKS)]
    assert len(paths) == 4
    assert paths == sandwich_paths(BLOCKS, seed=0, step=3)
    assert paths[2:] != sandwich_paths(BLOCKS, seed=0, step=4)[2:]


def slow_accuracy(net: torch.nn.Module, scheme: Scheme, batches: list[dict[str, Tensor]]) -> float:
    """Image by image."""
    net.set_scheme(scheme)
    net.eval()
    right = total = 0
    with torch.no_grad():
        for batch in batches:
            for image, label in zip(batch["inputs"], batch["labels"], strict=True):
                right += int(net(normalise(image[None]))[0].argmax() == label)
                total += 1
    return 100 * right / total


def test_scores_equal_a_slow_pass(net: torch.nn.Module, batches: list) -> None:
    rng = np.random.default_rng(0)
    schemes = [Scheme.random(BLOCKS, rng) for _ in range(6)]
    scores = Scorer(net, batches, normalise=normalise)(schemes)
    assert [score.accuracy for score in scores] == [slow_accuracy(net, scheme, batches) for scheme in schemes]
    assert len({score.accuracy for score in scores}) > 1


def test_scoring_leaves_the_network_as_it_was_and_remembers(net: torch.nn.Module, batches: list) -> None:
    net.set_scheme("101 010 101")
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    passes = []

    class Counted(list):
        def __iter__(self):
            passes.append(1)
            return super().__iter__()

    scorer = Scorer(net, Counted(batches), normalise=normalise, training=batches)
    one, two = Scheme.all_on(BLOCKS), Scheme.all_off(BLOCKS)
    first = scorer([one, two, one])
    assert len(passes) == 2
    assert scorer([two, one]) == [first[1], first[0]]
    assert len(passes) == 2
    assert str(net.scheme) == "101 | 010 | 101"
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(norm.momentum == 0.1 for norm in batch_norms(net))


def test_reestimated_statistics_are_the_mean_over_the_batches(net: torch.nn.Module, batches: list) -> None:
    images = [normalise(batch["inputs"]) for batch in batches[:2]]
    inputs: list[Tensor] = []
    net.bn1.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    reestimate_batch_norm(net, images)
    mean = torch.stack([one.mean(dim=(0, 2, 3)) for one in inputs]).mean(dim=0)
    var = torch.stack([one.var(dim=(0, 2, 3)) for one in inputs]).mean(dim=0)
    torch.testing.assert_close(net.bn1.running_mean, mean)
    torch.testing.assert_close(net.bn1.running_var, var)
    assert not net.training


def test_reestimation_changes_the_scores(net: torch.nn.Module, batches: list) -> None:
    schemes = [Scheme.random(BLOCKS, np.random.default_rng(seed)) for seed in range(8)]
    plain = [score.accuracy for score in Scorer(net, batches, normalise=normalise)(schemes)]
    again = [score.accuracy for score in Scorer(net, batches, normalise=normalise, training=batches)(schemes)]
    assert plain != again


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_share_the_unseen_schemes(
    net: torch.nn.Module, batches: list, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    schemes = [Scheme.random(BLOCKS, np.random.default_rng(seed)) for seed in range(5)]
    wanted = [score.accuracy for score in Scorer(net, batches, normalise=normalise)(schemes)]
    passed: list[Scheme] = []
    scorer = Scorer(net, batches, normalise=normalise)
    original = scorer._pass
    monkeypatch.setattr(scorer, "_pass", lambda scheme: passed.append(scheme) or original(scheme))

    def gather(parts: list, mine: dict) -> None:
        other = {scheme.text: original(scheme) for scheme in schemes[1 - rank :: 2]}
        parts[rank], parts[1 - rank] = mine, other

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: rank)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    assert [score.accuracy for score in scorer(schemes)] == wanted
    assert passed == schemes[rank::2]
