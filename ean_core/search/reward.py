"""The reward of a scheme, Eq. 7 of Efficient Attention Network (https://arxiv.org/abs/2011.14058)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class Reward:
    """G(a) = sparsity * g_spa + accuracy * g_val + curiosity * g_rnd.

    The defaults are those of the released ImageNet code; that CIFAR-100 used the same is an assumption. The code's
    constant -54 is omitted, since the moving baseline absorbs any constant.

    Attributes:
        sparsity: lambda_1, points of reward of a scheme without connections over a full one (Eq. 6).
        accuracy: lambda_2, points of reward per percentage point of validation accuracy.
        curiosity: lambda_3, weight of the random-network-distillation bonus; only EAN's controller sees this term.
        latency: points of reward per percent of time increment; needs a latency table (`TimedReward`).
    """

    sparsity: float = 2.0
    accuracy: float = 1.0
    curiosity: float = 1.0
    latency: float = 0.0

    def terms(self, scheme: Scheme, accuracy: float) -> dict[str, float]:
        """The weighted terms that do not depend on the state of the search; their sum ranks the schemes.

        Args:
            scheme: the scored scheme.
            accuracy: its validation accuracy in percent.

        Raises:
            EANError: if time is part of the reward and there is no latency table.
        """
        if self.latency:
            raise EANError(
                f"reward.latency is {self.latency:g}, but the search has no latency table: give search.latency=FILE"
            )
        return self.untimed_terms(scheme, accuracy)

    def increment(self, scheme: Scheme) -> float | None:
        """Predicted percent of Org's time that the scheme adds; None without a latency table."""
        del scheme
        return None

    def untimed_terms(self, scheme: Scheme, accuracy: float) -> dict[str, float]:
        """The sparsity and accuracy terms of the paper."""
        return {"sparsity": self.sparsity * scheme.sparsity, "accuracy": self.accuracy * accuracy}


@dataclass(frozen=True)
class TimedReward(Reward):
    """Eq. 7 with a term for the predicted time increment.

    Attributes:
        increments: (m,) percent of Org's time that each connection adds.
    """

    increments: tuple[float, ...] = ()

    @classmethod
    def of(cls, reward: Reward, increments: Sequence[float]) -> TimedReward:
        """A reward with the same weights and the increments of a latency table."""
        weights = {field.name: getattr(reward, field.name) for field in fields(Reward)}
        return cls(**weights, increments=tuple(increments))

    def increment(self, scheme: Scheme) -> float:
        """Predicted percent of Org's time that the scheme adds."""
        return float(np.dot(scheme.bits, self.increments))

    def terms(self, scheme: Scheme, accuracy: float) -> dict[str, float]:
        """The paper's terms and, if time counts, the latency term."""
        terms = self.untimed_terms(scheme, accuracy)
        return {**terms, "latency": -self.latency * self.increment(scheme)} if self.latency else terms
