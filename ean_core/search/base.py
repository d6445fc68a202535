"""The interface of search methods: a method proposes schemes and is updated with their scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol
from zlib import crc32

import numpy as np
import torch

from ean_core.scheme import Scheme
from ean_core.search.latency_limit import Limit
from ean_core.utils.errors import EANError

ANSWERS = ("best", "most_probable", "smoothed")
"""The schemes a search can return: the one with the highest reward seen, the most probable one at the end, or the best
one after smoothing out evaluation noise (`smoothing.py`)."""

STREAMS = "of method and seed"
"""What a method's random numbers are derived from, for the record of a search. Earlier versions derived them from the
seed alone; a search that began that way cannot be replayed with these."""


@dataclass(frozen=True)
class Trial:
    """A proposed scheme and its score.

    Attributes:
        scheme: the proposal.
        accuracy: validation accuracy in percent.
        terms: the weighted terms of the reward; their sum is `reward`.
        increment: predicted percent of Org's time that it adds; None without a latency table.
    """

    scheme: Scheme
    accuracy: float
    terms: Mapping[str, float]
    increment: float | None = None

    @property
    def reward(self) -> float:
        """Sum of the terms that rank schemes; a method's own bonus is not in it."""
        return float(sum(self.terms.values()))


class SearchMethod(ABC):
    """Base of the methods.

    A method must be a deterministic function of its settings, its seed and the trials it was updated with: a search is
    resumed by updating a fresh method with the recorded trials.

    Random numbers are derived from the method's `stream` and the seed, so that two methods with the same seed do not
    start with the same schemes. Variants of one method share a stream, so that only their settings differ.

    Args:
        blocks: blocks per stage.
        seed: of everything random in the method.

    Attributes:
        answer: which of `ANSWERS` the search returns unless the user chooses one.
        stream: name of its stream of random numbers; by default the class's name.
    """

    answer: str = "best"
    stream: ClassVar[str] = ""

    def __init__(self, blocks: Sequence[int], *, seed: int) -> None:
        self.blocks = tuple(blocks)
        self.seed = seed
        self.rng = self.generator()

    def seed_sequence(self, *key: int) -> np.random.SeedSequence:
        """The seed of the method's random numbers; every `key` of integers gives an independent stream."""
        name = self.stream or type(self).__name__
        return np.random.SeedSequence([crc32(name.encode()), self.seed], spawn_key=key)

    def generator(self, *key: int) -> np.random.Generator:
        """A NumPy generator seeded with `seed_sequence(*key)`."""
        return np.random.default_rng(self.seed_sequence(*key))

    def weights_generator(self) -> torch.Generator:
        """A PyTorch generator for the initial weights of the method's networks."""
        return torch.Generator().manual_seed(self.library_seed())

    def library_seed(self) -> int:
        """A seed below 2**32, for libraries that take no generator."""
        return int(self.seed_sequence(0).generate_state(1)[0])

    @abstractmethod
    def propose(self) -> list[Scheme]:
        """The schemes of the next step, at least one."""

    def restrict(self, limit: Limit) -> None:  # noqa: B027
        """Called once before the first step of a search with a latency limit; methods with fixed schemes drop some.

        The proposals of all other methods are repaired where they exceed the limit (`latency_limited_method.py`).
        """

    def bonus(self, scheme: Scheme) -> dict[str, float]:
        """The method's own reward terms (EAN's curiosity), for the record; called before `update`."""
        del scheme
        return {}

    @abstractmethod
    def update(self, trials: Sequence[Trial]) -> None:
        """Learn from the step's trials, in the order of the proposals."""

    def probabilities(self) -> np.ndarray | None:
        """Probability of each bit being 1 (m,); None for methods without probabilities."""
        return None

    def most_probable(self) -> Scheme | None:
        """The currently most probable scheme; None for methods without probabilities."""
        p = self.probabilities()
        return None if p is None else Scheme(tuple((p > 0.5).astype(int).tolist()), self.blocks)

    def p_hat(self, scheme: Scheme) -> np.ndarray | None:
        """p_hat of Eq. 5: the probability of each bit's value in the scheme (m,); None without probabilities."""
        p, bits = self.probabilities(), np.array(scheme.bits)
        return None if p is None else bits * p + (1 - bits) * (1 - p)

    def sample(self, count: int, rng: np.random.Generator) -> list[Scheme]:
        """Draw schemes from the current probabilities without changing the method; empty without probabilities."""
        p = self.probabilities()
        rows = [] if p is None else (rng.random((count, len(p))) < p).astype(int).tolist()
        return [Scheme(tuple(row), self.blocks) for row in rows]


class LossGradient(Protocol):
    """The validation loss of a trained supernet with relaxed connections in [0, 1], and its gradient."""

    def __call__(self, a: np.ndarray, *, step: int) -> tuple[float, np.ndarray]:
        """Loss in nats per image at the connections `a` (m,), and its gradient (m,), on the images of a step.

        Must depend on `a` and `step` alone, so that a resumed search gets the same gradients again.
        """
        ...


class GradientMethod(SearchMethod):
    """A method that needs the supernet's gradient: the caller sets `gradient` before the first update.

    Attributes:
        gradient: of the validation loss; None where there is no supernet.
        images: maximum number of validation images per gradient.
    """

    gradient: LossGradient | None = None
    images: int

    def loss_gradient(self, a: np.ndarray, *, step: int) -> np.ndarray:
        """The gradient (m,) at `a` (m,).

        Raises:
            EANError: without a supernet, or if the gradient is not finite.
        """
        if self.gradient is None:
            raise EANError(
                f"{type(self).__name__} follows the gradient of a supernet's validation loss, and there is no supernet "
                "here (synthetic rewards have no gradient): run it with tools/search.py, or choose another method"
            )
        loss, gradient = self.gradient(a, step=step)
        if not np.isfinite(gradient).all():
            raise EANError(
                f"the validation loss's gradient is not finite at step {step} (loss {loss:.4g}): the supernet has "
                "diverged; train it again with a lower learning rate"
            )
        return gradient
