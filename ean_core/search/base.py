"""What every search method looks like to the driver: it proposes schemes, and hears what they scored."""

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
"""What a search can answer: the highest reward seen, the most probable scheme at the end, or the highest reward among
those scored once chance is taken out (`smoothing.py`)."""

STREAMS = "of method and seed"
"""What a method's random numbers follow from, for the record of a search: once they followed from the seed alone, and a
search that began that way cannot be replayed with these."""


@dataclass(frozen=True)
class Trial:
    """One proposal and what came of it.

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

    A method must be a deterministic function of its settings, its seed and the trials it was told of: a search is
    resumed by telling a fresh method its recorded trials again.

    Its random numbers follow from its `stream` and the seed, so that two methods with one seed do not begin with the
    same schemes. Settings of one method share them: what differs between two of its variants is then the variant.

    Args:
        blocks: blocks per stage.
        seed: of everything random in the method.

    Attributes:
        answer: which of a search's answers (`ANSWERS`) it gives where the user does not say.
        stream: names its random numbers; the class's name where a subclass gives none.
    """

    answer: str = "best"
    stream: ClassVar[str] = ""

    def __init__(self, blocks: Sequence[int], *, seed: int) -> None:
        self.blocks = tuple(blocks)
        self.seed = seed
        self.rng = self.generator()

    def seed_sequence(self, *key: int) -> np.random.SeedSequence:
        """Of the method's random numbers; each key, a few whole numbers, gives others that are independent of it."""
        name = self.stream or type(self).__name__
        return np.random.SeedSequence([crc32(name.encode()), self.seed], spawn_key=key)

    def generator(self, *key: int) -> np.random.Generator:
        """NumPy's generator of `seed_sequence`."""
        return np.random.default_rng(self.seed_sequence(*key))

    def weights_generator(self) -> torch.Generator:
        """PyTorch's generator, for the weights of the method's networks."""
        return torch.Generator().manual_seed(self.library_seed())

    def library_seed(self) -> int:
        """A number below 2**32, for libraries that take no generator."""
        return int(self.seed_sequence(0).generate_state(1)[0])

    @abstractmethod
    def propose(self) -> list[Scheme]:
        """The schemes of the next step, at least one."""

    def restrict(self, limit: Limit) -> None:  # noqa: B027
        """Called once before the first step where there is a limit: for methods with fixed schemes, to leave some out.

        The proposals of all others are repaired where they are above the limit (`limited_method.py`).
        """

    def bonus(self, scheme: Scheme) -> dict[str, float]:
        """Reward terms of the method's own (EAN's curiosity), for the record; asked for before `update`."""
        del scheme
        return {}

    @abstractmethod
    def update(self, trials: Sequence[Trial]) -> None:
        """Learn from the step's trials, in the order of the proposals."""

    def probabilities(self) -> np.ndarray | None:
        """Probability of each bit being 1 (m,), for methods that have one."""
        return None

    def most_probable(self) -> Scheme | None:
        """The scheme the method would draw most probably now, for methods that have probabilities."""
        p = self.probabilities()
        return None if p is None else Scheme(tuple((p > 0.5).astype(int).tolist()), self.blocks)

    def p_hat(self, scheme: Scheme) -> np.ndarray | None:
        """Probability of each bit of a proposal to be as it is (m,), p_hat of Eq. 5; None without probabilities."""
        p, bits = self.probabilities(), np.array(scheme.bits)
        return None if p is None else bits * p + (1 - bits) * (1 - p)

    def sample(self, count: int, rng: np.random.Generator) -> list[Scheme]:
        """Schemes from the probabilities as they are now, which leaves the method as it is; none without them."""
        p = self.probabilities()
        draws = [] if p is None else (rng.random((count, len(p))) < p).astype(int).tolist()
        return [Scheme(tuple(draw), self.blocks) for draw in draws]


class LossGradient(Protocol):
    """The validation loss of a trained supernet whose connections are numbers in [0, 1], and its slope."""

    def __call__(self, a: np.ndarray, *, step: int) -> tuple[float, np.ndarray]:
        """Loss in nats per image at the connections `a` (m,), and its gradient (m,), on the images of a step.

        Must be a function of `a` and `step` alone, so that a resumed search meets the gradients it met before.
        """
        ...


class GradientMethod(SearchMethod):
    """A method that needs more than scores: whoever has the supernet sets `gradient` before the first update.

    Attributes:
        gradient: of the validation loss; None where there is no supernet.
        images: validation images that one gradient should be taken on, at most.
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
                "here (made-up rewards have no gradient): take it with tools/search.py, or take another method"
            )
        loss, gradient = self.gradient(a, step=step)
        if not np.isfinite(gradient).all():
            raise EANError(
                f"the validation loss's gradient is not finite at step {step} (loss {loss:.4g}): the supernet has "
                "diverged, train it again with a lower learning rate"
            )
        return gradient
