"""DARTS: Differentiable Architecture Search (https://arxiv.org/abs/1806.09055), a row of Table 4.

The connections are relaxed to a = sigmoid(alpha) in (0, 1), alpha descends the validation loss by gradient, and the
scheme is a > 0.5. Every step proposes the current scheme, so that it is scored like any other method's.

Departures from DARTS, each with its reason:
- The weights stay those of the trained supernet (DARTS trains both in turn). All methods are compared on one supernet
  whose scores are remembered; weights that move along one method's path would make these scores wrong, and the
  methods incomparable.
- The objective is the reward's (Eq. 7), not the loss alone, which knows no cost of a connection. 100 (1 - loss) is a
  lower bound of the expected accuracy in percent (log p <= p - 1) and replaces the accuracy; the reward's cost of a
  connection is added unchanged. `pressure=False` gives the loss alone.
- A larger learning rate without weight decay: alpha gets hundreds of steps here, not tens of thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ean_core.scheme import Scheme
from ean_core.search.base import GradientMethod, Trial
from ean_core.search.reward import Reward
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class DARTSSettings:
    """Hyperparameters of the gradient descent.

    Attributes:
        images: validation images per gradient, drawn anew at every step.
        learning_rate: of Adam on alpha; 3e-4 in DARTS.
        beta1: of Adam, as in DARTS.
        pressure: whether the reward's cost of connections is part of the objective.
        noise: standard deviation of alpha at the start, as in DARTS.
    """

    images: int = 256
    learning_rate: float = 5e-2
    beta1: float = 0.5
    pressure: bool = True
    noise: float = 1e-3

    def __post_init__(self) -> None:
        if self.images < 1 or self.learning_rate <= 0:
            raise EANError(
                f"images must be at least 1 and learning_rate positive, got {self.images} and {self.learning_rate}"
            )


class DARTS(GradientMethod):
    """Gradient descent on the relaxed connections.

    Args:
        blocks: blocks per stage.
        seed: of alpha at the start.
        settings: see `DARTSSettings`.
        reward: whose weights trade accuracy against connections.
    """

    stream = "darts"

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        seed: int = 0,
        settings: DARTSSettings | None = None,
        reward: Reward | None = None,
    ) -> None:
        super().__init__(blocks, seed=seed)
        self.settings = settings = settings or DARTSSettings()
        self.images = settings.images
        reward = reward or Reward()
        self.worth = 100.0 * reward.accuracy  # points of reward per nat of loss
        self.costs = connection_costs(reward, self.blocks) if settings.pressure else np.zeros(sum(blocks))
        start = settings.noise * self.rng.standard_normal(sum(blocks))
        self.alpha = torch.nn.Parameter(torch.from_numpy(start))  # (m,) float64
        self.optimizer = torch.optim.Adam([self.alpha], lr=settings.learning_rate, betas=(settings.beta1, 0.999))
        self.step = 0

    def propose(self) -> list[Scheme]:
        """The scheme nearest to the relaxed connections."""
        scheme = self.most_probable()
        assert scheme is not None
        return [scheme]

    def update(self, trials: Sequence[Trial]) -> None:
        """Take one descent step; the trials' scores are not used."""
        del trials
        self.step += 1
        a = self.probabilities()
        slope = self.worth * self.loss_gradient(a, step=self.step) + self.costs  # of -reward, by a
        self.optimizer.zero_grad()
        self.alpha.grad = torch.from_numpy(slope * a * (1 - a))
        self.optimizer.step()

    def probabilities(self) -> np.ndarray:
        """The relaxed connections a (m,), recorded in place of probabilities."""
        return self.alpha.detach().sigmoid().numpy()


def connection_costs(reward: Reward, blocks: Sequence[int]) -> np.ndarray:
    """Points of reward that each connection costs by itself, (m,), summed over all terms of the reward."""

    def value(scheme: Scheme) -> float:
        return float(sum(reward.terms(scheme, 0.0).values()))

    org = value(Scheme.all_off(blocks))
    return np.array([org - value(Scheme(tuple(row), tuple(blocks))) for row in np.eye(sum(blocks), dtype=int)])
