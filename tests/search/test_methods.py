"""What every method promises, and what is particular to each."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import torch

from ean_core.scheme import Scheme
from ean_core.search import METHODS, History, Reward, Trial, build_method, run_search
from ean_core.search.enas import ENAS, ENASSettings
from ean_core.search.random_search import RandomSearch
from ean_core.search.reward_landscapes import make_landscape
from ean_core.utils.errors import EANError

STEPS = 5


def proposals(method, evaluate, steps: int = STEPS) -> list[Scheme]:
    seen = []
    for _ in range(steps):
        schemes = method.propose()
        seen += schemes
        accuracies = evaluate(schemes)
        method.update([Trial(s, a, Reward().terms(s, a)) for s, a in zip(schemes, accuracies, strict=True)])
    return seen


@pytest.mark.parametrize("blocks", [(1,), (2,), (1, 2), (3, 4, 6, 3), (18, 18, 18)], ids=str)
def test_proposals_fit_the_network(case, blocks, evaluate):
    if max(case[1].get("period", 0), case[1].get("k", 0)) > sum(blocks):
        pytest.skip("this family needs more blocks")
    method = build_method(case[0], blocks, seed=0, reward=Reward(), options=case[1])
    for _ in range(4):
        schemes = method.propose()
        assert schemes
        assert all(scheme.blocks == blocks for scheme in schemes)
        method.update([Trial(s, a, Reward().terms(s, a)) for s, a in zip(schemes, evaluate(schemes), strict=True)])
    p, probable = method.probabilities(), method.most_probable()
    assert (p is None) == (probable is None)
    if p is not None:
        assert p.shape == (sum(blocks),)
        assert ((p >= 0) & (p <= 1)).all()
        assert probable.blocks == blocks


def test_the_same_seed_gives_the_same_proposals(build, evaluate):
    state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = proposals(build(seed=5), evaluate)
    torch.manual_seed(99)
    again = proposals(build(seed=5), evaluate)
    torch.random.set_rng_state(state[0])
    assert first == again
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


def test_another_seed_gives_other_proposals(case, build, evaluate):
    if case[0] in ("hsp", "head-k", "tail-k"):
        assert proposals(build(seed=1), evaluate) == proposals(build(seed=2), evaluate)
    else:
        assert proposals(build(seed=1), evaluate) != proposals(build(seed=2), evaluate)


RANDOM = ("ean", "ean:natural", "random", "genetic", "enas")


def test_methods_of_one_seed_begin_with_different_schemes():
    """Over 10 seeds no two methods share a seed's first schemes, nor the random weights of their networks."""
    settings = [(name.split(":")[0], {"preset": p} if (p := name.partition(":")[2]) else {}) for name in RANDOM]
    for seed in range(10):
        methods = [build_method(name, (18, 18, 18), seed=seed, reward=Reward(), options=o) for name, o in settings]
        first = [method.propose()[0].text for method in methods]
        assert len(set(first)) == len(RANDOM)
        assert len({method.library_seed() for method in methods}) == len(RANDOM)
        schemes = np.array([[int(bit) for bit in text] for text in first])
        same = [(a == b).mean() for a, b in itertools.combinations(schemes, 2)]
        assert max(same) < 0.85  # halves agree by chance; near-copies do not


def test_settings_of_one_method_share_their_random_numbers():
    first = [
        build_method("ean", (18, 18, 18), seed=3, reward=Reward(), options=options).propose()
        for options in ({}, {"curiosity_weight": 0.0}, {"learning_rate": 1e-3})
    ]
    assert first[0] == first[1] == first[2]


def test_an_own_method_has_random_numbers_of_its_own():
    class Mine(RandomSearch):
        stream = ""

    assert Mine((18, 18), seed=0).propose() != RandomSearch((18, 18), seed=0).propose()


def test_an_unknown_option_is_named(case):
    with pytest.raises(EANError, match="schemes_pre_step") as error:
        build_method(case[0], (3, 3), seed=0, reward=Reward(), options={**case[1], "schemes_pre_step": 3})
    known = str(error.value).split("choose one of ")[1].split("; did you")[0].split(", ")
    assert known
    assert "seed" not in known


def test_unknown_names_are_refused():
    with pytest.raises(EANError, match="did you mean 'genetic'"):
        build_method("genetics", (3, 3), seed=0, reward=Reward())
    for name, preset, nearest in (("ean", "naturel", "natural"), ("enas", "setling", "settling")):
        with pytest.raises(EANError, match=nearest):
            build_method(name, (3, 3), seed=0, reward=Reward(), options={"preset": preset})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hsp", {"offset": 1}),
        ("hsp", {"period": 2, "offset": 2}),
        ("hsp", {"period": 10}),
        ("head-k", {"k": 10}),
        ("tail-k", {"k": -1}),
        ("genetic", {"objectives": "time"}),
        ("genetic", {"population": 1}),
        ("enas", {"schemes_per_step": 0}),
        ("enas", {"hidden": 0}),
        ("random", {"schemes_per_step": 0}),
        ("ean", {"preset": "natural", "memory": 0, "schemes_per_step": 1}),
        ("ean", {"preset": "natural", "step_size": 0.0}),
        ("ean", {"preset": "natural", "redraws": -1}),
    ],
    ids=str,
)
def test_impossible_options_are_refused(name, options):
    with pytest.raises(EANError):
        build_method(name, (3, 3, 3), seed=0, reward=Reward(), options=options)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("enas", {"hidden": "wide"}, "hidden must be a whole number, got 'wide'"),
        ("head-k", {"k": 1.5}, r"k must be a whole number or None, got 1.5"),
        ("random", {"schemes_per_step": True}, "schemes_per_step must be a whole number, got True"),
        ("darts", {"pressure": "no"}, "pressure must be true or false, got 'no'"),
        ("ean", {"curiosity_weight": "much"}, "curiosity_weight must be a finite number, got 'much'"),
    ],
    ids=str,
)
def test_options_of_another_kind_are_refused(name, options, said):
    with pytest.raises(EANError, match=f"options of search method '{name}': {said}"):
        build_method(name, (3, 3, 3), seed=0, reward=Reward(), options=options)


def texts(name: str, m: int, **options) -> set[str]:
    return {scheme.text for scheme in build_method(name, (m,), seed=0, reward=Reward(), options=options).propose()}


def test_the_families_are_complete():
    assert texts("head-k", 3) == {"100", "110", "111"}
    assert texts("tail-k", 3) == {"001", "011", "111"}
    assert texts("tail-k", 3, k=0) == {"000"}
    assert texts("hsp", 6, period=2) == {"101010", "010101"}
    assert texts("hsp", 6, period=3, offset=1) == {"010010"}
    assert len(texts("hsp", 54)) == 2 + 3 + 4 + 5 + 6
    assert texts("hsp", 1) == {"1"}


@pytest.mark.parametrize("name", ["hsp", "head-k", "tail-k"])
def test_a_family_costs_one_pass_and_its_best_is_the_answer(name, evaluate):
    method = build_method(name, (3, 3, 3), seed=0, reward=Reward())
    family = method.propose()
    result = run_search(method, evaluate, steps=5, reward=Reward(), history=History(None))
    assert result.evaluations == len(family)
    assert result.proposals == len(family) + 4
    assert method.propose() == [result.best.scheme]


def test_without_pymoo_the_genetic_search_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "pymoo"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pymoo", None)
    with pytest.raises(EANError, match="search"):
        build_method("genetic", (3, 3), seed=0, reward=Reward())


def test_the_genetic_search_never_ends(evaluate):
    method = build_method("genetic", (2, 2), seed=0, reward=Reward(), options={"population": 3})
    assert {scheme.text for scheme in proposals(method, evaluate, 60)} == {f"{n:04b}" for n in range(16)}


def test_the_pareto_front_survives(evaluate):
    method = build_method("genetic", (3, 3, 3), seed=0, reward=Reward())
    proposals(method, evaluate, 10)
    front = {(round(-a, 6), round(-s, 6)) for a, s in method.algorithm.opt.get("F")}
    assert len(front) > 3
    assert not any(a >= b and s >= t and (a, s) != (b, t) for a, s in front for b, t in front)


def test_enas_writes_each_bit_knowing_the_earlier_ones():
    method = ENAS((3, 3), seed=0, settings=ENASSettings(hidden=8))
    with torch.no_grad():
        for weight in method.controller.parameters():
            weight.mul_(20)
        before = torch.tensor([[2, 0, 0, 0, 0, 0], [2, 1, 0, 0, 0, 0], [2, 0, 0, 1, 0, 0]])
        log_p, _ = method.controller(before)
    assert torch.allclose(log_p.exp().sum(dim=2), torch.ones(3, 6))
    assert torch.equal(log_p[0, 0], log_p[1, 0])
    assert not torch.allclose(log_p[0, 1], log_p[1, 1])
    assert torch.allclose(log_p[0, :3], log_p[2, :3])
    assert not torch.allclose(log_p[0, 3], log_p[2, 3])
    # all probabilities of a bit given its past make a distribution over schemes
    bits, p = method._generate(np.random.default_rng(0).random((5, 6)))
    with torch.no_grad():
        start = torch.full((5, 1), 2)
        forced, _ = method.controller(torch.cat([start, torch.from_numpy(bits[:, :-1]).long()], dim=1))
    assert np.allclose(p, forced[:, :, 1].exp().numpy(), atol=1e-6)


def test_enas_learns_a_scheme_that_pays(evaluate):
    method = ENAS((3, 3), seed=0, settings=ENASSettings(schemes_per_step=8, learning_rate=0.02))
    for _ in range(120):
        schemes = method.propose()
        accuracies = [float(sum(scheme.bits[:3]) - sum(scheme.bits[3:])) for scheme in schemes]
        method.update([Trial(s, a, {"accuracy": a}) for s, a in zip(schemes, accuracies, strict=True)])
    bits = method.most_probable().bits
    assert sum(bits[:3]) - sum(bits[3:]) >= 2


def test_enas_settles_on_all_or_nothing_at_the_learning_rate_of_ean():
    """Section 6.2 of the paper: within 100 steps, mostly on 11..1 or 00..0. At ENAS's own learning rate it does not."""
    landscape = make_landscape("noise", (3, 3, 3), seed=0)

    def after_100_steps(seed: int, **options) -> tuple[float, str]:
        method = build_method("enas", landscape.blocks, seed=seed, reward=Reward(), options=options)
        for _ in range(100):
            (scheme,) = method.propose()
            (accuracy,) = landscape.evaluate([scheme])
            method.update([Trial(scheme, accuracy, Reward().terms(scheme, accuracy))])
        return float(method.p_hat(method.most_probable()).mean()), method.most_probable().text

    settled = [after_100_steps(seed, preset="settling") for seed in range(6)]
    assert sum(p > 0.95 for p, _ in settled) >= 5
    assert sum(text in ("0" * 9, "1" * 9) for _, text in settled) >= 4
    assert max(after_100_steps(seed)[0] for seed in range(2)) < 0.9


def test_random_search_tries_everything_once(evaluate):
    method = build_method("random", (2, 2), seed=0, reward=Reward())
    assert len({scheme.text for scheme in proposals(method, evaluate, 16)}) == 16
    assert len(proposals(method, evaluate, 3)) == 3


def test_every_method_is_in_the_registry_under_its_own_name():
    assert set(METHODS) >= {"ean", "random", "hsp", "head-k", "tail-k", "genetic", "enas"}
