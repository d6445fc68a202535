"""Paths, BN calibration, and the scorer against a slow pass over every scheme."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ean_core import Scheme, create_model
from ean_core.data.normalize import Normalize
from ean_core.supernet.bn_calibration import BNCalibration, batch_norms
from ean_core.supernet.path_metric import Top1
from ean_core.supernet.paths import draw_path, sandwich_paths
from ean_core.supernet.prefix_cache import CachedBatches, PrefixCache
from ean_core.supernet.scorer import Scorer
from ean_core.utils.errors import EANError
from tests.helpers.processes import environment, warm_python

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


normalize = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


def test_normalize_is_its_formula() -> None:
    module = Normalize((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), channels_last=True)
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
    """Accuracy in percent, computed image by image."""
    net.set_scheme(scheme)
    net.eval()
    right = total = 0
    with torch.no_grad():
        for batch in batches:
            for image, label in zip(batch["inputs"], batch["labels"], strict=True):
                right += int(net(normalize(image[None]))[0].argmax() == label)
                total += 1
    return 100 * right / total


def test_scores_equal_a_slow_pass(net: torch.nn.Module, batches: list) -> None:
    rng = np.random.default_rng(0)
    schemes = [Scheme.random(BLOCKS, rng) for _ in range(6)]
    scores = Scorer(net, batches, metric=Top1(normalize))(schemes)
    assert [score.value for score in scores] == [slow_accuracy(net, scheme, batches) for scheme in schemes]
    assert len({score.value for score in scores}) > 1


def test_scoring_leaves_the_network_as_it_was_and_remembers(
    net: torch.nn.Module, batches: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.set_scheme("101 010 101")
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    passes = []
    scorer = Scorer(net, batches, metric=Top1(normalize), training=batches)
    original = scorer._pass
    monkeypatch.setattr(scorer, "_pass", lambda scheme: passes.append(scheme) or original(scheme))
    one, two = Scheme.all_on(BLOCKS), Scheme.all_off(BLOCKS)
    first = scorer([one, two, one])
    assert len(passes) == 2
    assert scorer([two, one]) == [first[1], first[0]]
    assert len(passes) == 2
    assert str(net.scheme) == "101 | 010 | 101"
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(norm.momentum == 0.1 for norm in batch_norms(net))


def test_a_call_waits_for_the_device_once(net: torch.nn.Module, batches: list, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    for name in ("tolist", "item", "cpu", "__bool__", "__int__", "__float__"):
        original = getattr(Tensor, name)
        monkeypatch.setattr(Tensor, name, lambda one, name=name, do=original: waits.append(name) or do(one))
    schemes = [Scheme.random(BLOCKS, np.random.default_rng(seed)) for seed in range(4)]
    scores = Scorer(net, batches, metric=Top1(normalize))(schemes)
    assert waits == ["tolist"]
    assert len({score.seconds for score in scores}) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_supernet_is_not_scored(net: torch.nn.Module, batches: list, value: float) -> None:
    """Logits of NaN have a largest one too, and so an accuracy."""
    with torch.no_grad():
        net.layer2.blocks[0].conv1.weight[0, 0, 0, 0] = value
    scorer = Scorer(net, batches, metric=Top1(normalize))
    with pytest.raises(EANError, match=r"outputs on path \d+ are not finite for \d+ of \d+ images: .* again with"):
        scorer([Scheme.all_off(BLOCKS)])
    assert not scorer.memory


def test_reestimated_statistics_are_the_mean_over_the_batches(net: torch.nn.Module, batches: list) -> None:
    inputs: list[Tensor] = []
    net.bn1.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    BNCalibration(net, batches[:2], metric=Top1(normalize), max_bytes=0)(net.scheme)
    mean = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in inputs]).mean(dim=0)
    var = torch.stack([batch.var(dim=(0, 2, 3)) for batch in inputs]).mean(dim=0)
    torch.testing.assert_close(net.bn1.running_mean, mean)
    torch.testing.assert_close(net.bn1.running_var, var)
    assert not net.training


def test_reestimation_changes_the_scores(net: torch.nn.Module, batches: list) -> None:
    schemes = [Scheme.random(BLOCKS, np.random.default_rng(seed)) for seed in range(8)]
    plain = [score.value for score in Scorer(net, batches, metric=Top1(normalize))(schemes)]
    again = [score.value for score in Scorer(net, batches, metric=Top1(normalize), training=batches)(schemes)]
    assert plain != again


@pytest.mark.parametrize("attention", ["se", "dia", "timm:cbam"])  # the last one has a batch norm of its own
def test_reestimated_scores_equal_a_slow_pass_and_share_first_stages(attention: str, batches: list) -> None:
    torch.manual_seed(0)
    net = create_model("resnet20", attention=attention, num_classes=4)
    texts = ("101011100", "101011111", "101000001", "001011100")
    schemes = [Scheme.parse(text, blocks=BLOCKS) for text in texts]

    def slowly(scheme: Scheme) -> float:
        again = copy.deepcopy(net)
        again.set_scheme(scheme)
        for norm in batch_norms(again):
            norm.reset_running_stats()
            norm.momentum = None
        again.train()
        with torch.no_grad():
            for batch in batches[:2]:
                again(normalize(batch["inputs"]))
        return slow_accuracy(again, scheme, batches)

    wanted = [slowly(scheme) for scheme in schemes]
    assert len(set(wanted)) > 1
    run: list[int] = []
    for number, stage in enumerate(net.stages):
        stage.register_forward_pre_hook(lambda one, _, number=number: run.append(number) if one.training else None)
    scorer = Scorer(net, batches, metric=Top1(normalize), training=batches[:2], max_bytes=1 << 30)
    assert [score.value for score in scorer(schemes)] == wanted
    # In the order of the bits: all stages of 001.., of 101000.., two of 101011100, the last one of 101011111.
    assert run == [number for stages in ((0, 1, 2), (0, 1, 2), (1, 2), (2,)) for _ in range(2) for number in stages]
    assert set(scorer.calibrate_bn.statistics) == set(scorer.calibrate_bn.features.cached)
    whole = scorer.calibrate_bn.features.nbytes
    for max_bytes in (0, whole, 3 * whole, 8 * whole):  # whatever is cached or evicted
        few = Scorer(net, batches, metric=Top1(normalize), training=batches[:2], max_bytes=max_bytes)
        assert [score.value for score in few(schemes[::-1])] == wanted[::-1]
        assert few.calibrate_bn.features.nbytes + few.features.nbytes <= max_bytes


@pytest.mark.parametrize("attention", ["se", "sge", "dia"])
def test_features_of_common_first_stages_are_used_again(
    attention: str, batches: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = create_model("resnet20", attention=attention, num_classes=4)
    schemes = [
        Scheme.parse(text, blocks=BLOCKS) for text in ("101011100", "101011111", "101000001", "101011100", "001011100")
    ]
    scorer = Scorer(net, batches, metric=Top1(normalize), max_bytes=1 << 30)
    run: list[int] = []
    folded = scorer._fold()
    for number, stage in enumerate(folded.stages):
        stage.register_forward_hook(lambda *_, number=number: run.append(number))
    scores = [score.value for score in scorer(schemes)]
    # In the order of the bits: all stages of 001.., of 101000.., two of 101011.., one of 101011111.
    each = [(0, 1, 2), (0, 1, 2), (1, 2), (2,)]
    assert run == [number for stages in each for _ in batches for number in stages]
    assert scores == [slow_accuracy(net, scheme, batches) for scheme in schemes]
    whole = scorer.features.nbytes
    assert whole > 0
    small = Scorer(net, batches, metric=Top1(normalize), max_bytes=whole // 2)
    assert [score.value for score in small(schemes)] == scores
    assert small.features.nbytes <= whole // 2
    for max_bytes in (whole, whole + scorer.validation.nbytes):  # the images have their part of it
        full = Scorer(net, batches, metric=Top1(normalize), max_bytes=max_bytes)
        assert [score.value for score in full(schemes)] == scores
        assert full.features.nbytes + full.validation.nbytes <= max_bytes
    none = Scorer(net, batches, metric=Top1(normalize), max_bytes=0)
    assert [score.value for score in none(schemes)] == scores
    assert none.features.nbytes == 0
    assert none.validation.cached is None


def test_the_least_recently_used_prefix_is_evicted_first() -> None:
    cache = PrefixCache(100)
    features = [torch.zeros(10)]  # 40 bytes
    for bits in ("10", "01"):
        assert cache.reserve(40)
        cache.cached[(tuple(map(int, bits)),)] = features
    assert cache.longest(((1, 0), (1, 1))) == ((1, 0),)
    assert cache.longest(((0, 0), (1, 1))) == ()
    assert cache.longest(((0, 1),)) == ()  # the last stage's own output is not a prefix
    assert cache.reserve(40)
    assert list(cache.cached) == [((1, 0),)]
    assert not cache.reserve(101)
    assert not cache.reserve(61, reserved_bytes=40)
    assert list(cache.cached) == [((1, 0),)]


def test_batches_that_fit_are_read_once(batches: list) -> None:
    reads = []

    class Counted(list):
        def __iter__(self):
            reads.append(1)
            return super().__iter__()

    nbytes = sum(value.nbytes for batch in batches for value in batch.values())
    for max_bytes, expected in ((nbytes, 1), (nbytes - 1, 3)):
        reads.clear()
        cached = CachedBatches(Counted(batches), max_bytes)
        for _ in range(3):
            assert [batch["labels"].tolist() for batch in cached] == [batch["labels"].tolist() for batch in batches]
        assert cached.nbytes == (nbytes if expected == 1 else 0)
        assert len(reads) == expected
    stopped = CachedBatches(Counted(batches), nbytes)
    next(iter(stopped))  # an abandoned iteration caches nothing
    assert stopped.cached is None


def test_scoring_in_bfloat16_and_compiled(net: torch.nn.Module, batches: list, monkeypatch: pytest.MonkeyPatch) -> None:
    real, functions, graphs = torch.compile, [], []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def compiling(function, *, dynamic):
        functions.append(function)
        return real(function, backend=backend)

    monkeypatch.setattr(torch, "compile", compiling)
    schemes = [Scheme.random(BLOCKS, np.random.default_rng(seed)) for seed in range(6)]
    plain = [score.value for score in Scorer(net, batches, metric=Top1(normalize))(schemes)]
    scorer = Scorer(net, batches, metric=Top1(normalize), compile=True, max_bytes=0)
    assert [score.value for score in scorer(schemes)] == plain
    assert len(functions) == 6  # of three stages, connected and not
    assert 0 < len(graphs) <= 5 * 2 * 2  # stages' first blocks and others, connected or not, two sizes of batches
    low = Scorer(net, batches, metric=Top1(normalize), dtype=torch.bfloat16)
    near = [score.value for score in low(schemes)]
    assert all(parameter.dtype == torch.bfloat16 for parameter in low._fold().parameters())
    assert np.abs(np.array(near) - plain).max() <= 100 * 2 / 17  # of 17 images


def test_processes_share_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two real processes find what one finds, with the running statistics and with re-estimated ones."""
    script = tmp_path / "score.py"
    script.write_text(SHARED)
    running = [
        subprocess.Popen(
            [warm_python(), str(script), str(rank), str(tmp_path / "rendezvous")],
            env=environment(CUDA_VISIBLE_DEVICES=""),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    space: dict = {"__name__": "one process"}
    exec(SHARED, space)
    for process in running:
        out = process.communicate(timeout=200)[0]
        assert out.strip().splitlines()[-1] == str(space["accuracies"](0, 1))


SHARED = """
import sys
import torch
import torch.distributed as dist
from ean_core import Scheme, create_model
from ean_core.data.normalize import Normalize
from ean_core.supernet.path_metric import Top1
from ean_core.supernet.scorer import Scorer


def accuracies(rank, world):
    torch.manual_seed(0)
    net = create_model("resnet20", attention="se", num_classes=4)
    images = torch.randint(0, 256, (31, 3, 8, 8), dtype=torch.uint8)
    labels = torch.randint(0, 4, (31,))
    mine = [{"inputs": images[rank::world], "labels": labels[rank::world]}]
    schemes = [Scheme.parse(bits, blocks=(3, 3, 3)) for bits in ("0" * 9, "1" * 9, "010110011")]
    normalize = Normalize((0.5,) * 3, (0.25,) * 3)
    return [
        [score.value for score in Scorer(net, mine, metric=Top1(normalize), training=training)(schemes)]
        for training in (None, [{"inputs": part} for part in images.split(7)])
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    rank = int(sys.argv[1])
    dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
    print(accuracies(rank, 2))
"""
