"""Every search method, and a reward that costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ean_core.scheme import Scheme
from ean_core.search import METHODS, GradientMethod, Reward, SearchMethod, build_method
from ean_core.search.ean import PRESETS

Case = tuple[str, dict[str, Any]]
CASES: list[Case] = [
    *((name, {}) for name in METHODS),
    *(("ean", {"preset": preset}) for preset in (*PRESETS, "natural") if preset != "paper"),
    ("ean", {"preset": "natural", "memory": 0}),
    ("enas", {"preset": "settling"}),
    ("genetic", {"objectives": "reward", "population": 4}),
    ("hsp", {"period": 3}),
    ("tail-k", {"k": 2}),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `case` runs for every method and preset."""
    if "case" in metafunc.fixturenames:
        names = ["-".join([name, *map(str, options.values())]) for name, options in CASES]
        metafunc.parametrize("case", CASES, ids=names)


class Evaluate:
    """A made-up accuracy, 60 to 80 percent, that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, schemes: Sequence[Scheme]) -> list[float]:
        self.asked += [scheme.text for scheme in schemes]
        return [60 + 20 * sum(b * ((7 * i) % 5 - 1.5) for i, b in enumerate(s.bits)) / len(s) / 3 for s in schemes]


@pytest.fixture(autouse=True)
def _gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up gradient for the methods that need one: even connections help, odd ones hurt."""

    def gradient(a: np.ndarray, *, step: int) -> tuple[float, np.ndarray]:
        slope = np.where(np.arange(len(a)) % 2 == 0, -0.1, 0.1)
        return float(1.0 + slope @ a), slope

    monkeypatch.setattr(GradientMethod, "gradient", staticmethod(gradient))


@pytest.fixture
def evaluate() -> Evaluate:
    return Evaluate()


@pytest.fixture
def new_evaluate() -> type[Evaluate]:
    return Evaluate


@pytest.fixture
def build(case: Case) -> Callable[..., SearchMethod]:
    """A fresh method of the case."""

    def make(*, seed: int = 0, blocks: Sequence[int] = (3, 3, 3)) -> SearchMethod:
        return build_method(case[0], blocks, seed=seed, reward=Reward(), options=case[1])

    return make
