"""Efficient Attention Network: Accelerate Attention by Searching Where to Plug (https://arxiv.org/abs/2011.14058).

Algorithm 1, lines 7 to 21, readable top to bottom in `EAN.propose` and `EAN.update`. Lines 11 and 12, the reward, are
the driver's (`driver.py`, `reward.py`).

Departures from the paper, each with its reason:
- A moving average of the reward is subtracted from G in Eq. 5 and 8 (as the released code does in Eq. 5): it leaves
  the expected gradient as it is and lowers its variance. `baseline_decay=None` gives the bare equations. Eq. 8 has an
  average of its own, without the curiosity that its G lacks: one that held the bonus would make every past scheme
  look bad, and teach the controller to avoid all it has seen.
- The curiosity bonus is given per scheme, as the paper says; the released code sums it over a step's schemes.
- Adam instead of plain ascent, as in the released code.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.curiosity import Curiosity, perceptron
from ean_core.search.policy import entropy, policy_objective, replay_objective
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class EANSettings:
    """The controller and its training; the defaults follow the paper, and the released code where it is silent.

    Attributes:
        schemes_per_step: schemes drawn and scored per step; Algorithm 1 draws one, the released code three.
        learning_rate: eta of Eq. 5 and 8, of Adam on the controller.
        temperature: the controller's logits are divided by it.
        hidden: width of the controller's hidden layer.
        inputs: length of the constant zero vector x_0 that the controller is given.
        entropy_weight: points of reward per nat of the policy's entropy, added to Eq. 5; 0, as in the paper.
        baseline_decay: of the exponential moving average of the reward; None for no baseline.
        replay: "paper" (Eq. 8), "clipped" (the released code's form) or "off".
        replay_from: h of Algorithm 1, the first step at which a past scheme is used once more.
        replay_size: past steps that the buffer holds.
        replay_clip: how far the clipped form lets the ratio go from 1.
        replay_scale: what the clipped form's objective is multiplied by.
        curiosity_weight: lambda_3 of Eq. 7; 0 switches the bonus off.
        curiosity_learning_rate: of Adam on the predictor sigma_2.
    """

    schemes_per_step: int = 1
    learning_rate: float = 5e-2
    temperature: float = 5.0
    hidden: int = 50
    inputs: int = 20
    entropy_weight: float = 0.0
    baseline_decay: float | None = 0.95
    replay: str = "paper"
    replay_from: int = 10
    replay_size: int = 30
    replay_clip: float = 0.1
    replay_scale: float = 0.1
    curiosity_weight: float = 1.0
    curiosity_learning_rate: float = 5e-2

    def __post_init__(self) -> None:
        if self.replay not in ("paper", "clipped", "off"):
            raise EANError(f"replay is 'paper' (Eq. 8), 'clipped' (the released code) or 'off', got {self.replay!r}")
        if self.schemes_per_step < 1:
            raise EANError(f"schemes_per_step must be at least 1, got {self.schemes_per_step}")


PRESETS: dict[str, EANSettings] = {
    "paper": EANSettings(),
    "released": EANSettings(schemes_per_step=3, replay="clipped"),
}


@dataclass(frozen=True)
class Past:
    """An entry of the replay buffer: (p, a, G) with the curiosity term left out of G."""

    p: torch.Tensor
    bits: torch.Tensor
    reward: float


class EAN(SearchMethod):
    """The controller, its curiosity and its replay buffer.

    Args:
        blocks: blocks per stage.
        seed: of the controller's weights, the draws, the curiosity networks and the replay.
        settings: see `EANSettings`.
    """

    def __init__(self, blocks: Sequence[int], *, seed: int = 0, settings: EANSettings | None = None) -> None:
        super().__init__(blocks, seed=seed)
        self.settings = settings = settings or EANSettings()
        bits = sum(blocks)
        generator = torch.Generator().manual_seed(seed)
        self.x0 = torch.zeros(settings.inputs)
        self.controller = perceptron([settings.inputs, settings.hidden, 2 * bits], generator=generator)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=settings.learning_rate)
        self.curiosity = Curiosity(bits, learning_rate=settings.curiosity_learning_rate, generator=generator)
        self.buffer: deque[list[Past]] = deque(maxlen=settings.replay_size)
        start = 0.0 if settings.baseline_decay is None else None
        self.baseline: float | None = start  # of G with the curiosity term, for Eq. 5
        self.replay_baseline: float | None = start  # of G without it, for Eq. 8
        self.step = 0

    def policy(self) -> torch.Tensor:
        """p = chi_theta(x_0): a softmax over (off, on) for every bit; the probabilities of on, (m,), with gradient."""
        logits = self.controller(self.x0).view(-1, 2) / self.settings.temperature
        return logits.softmax(dim=1)[:, 1]

    def propose(self) -> list[Scheme]:
        """Algorithm 1, lines 8 and 9."""
        return self.sample(self.settings.schemes_per_step, self.rng)

    def bonus(self, scheme: Scheme) -> dict[str, float]:
        """lambda_3 * g_rnd of Eq. 7."""
        return {"curiosity": self.settings.curiosity_weight * self.curiosity.bonus(scheme)}

    def update(self, trials: Sequence[Trial]) -> None:
        """Algorithm 1, lines 12 to 20."""
        self.step += 1
        p_old = self.policy().detach()
        past = [Past(p_old, torch.tensor(trial.scheme.bits, dtype=torch.float32), trial.reward) for trial in trials]
        gains = [trial.reward + self.bonus(trial.scheme)["curiosity"] for trial in trials]  # Eq. 7
        baseline = self.baseline if self.baseline is not None else float(np.mean(gains))  # the first is its own
        self.baseline = self._average(self.baseline, gains)
        self.replay_baseline = self._average(self.replay_baseline, [one.reward for one in past])
        p = self.policy()
        objectives = [policy_objective(p, one.bits, gain - baseline) for one, gain in zip(past, gains, strict=True)]
        objective = torch.stack(objectives).mean()  # Eq. 5
        if self.settings.entropy_weight:
            objective = objective + self.settings.entropy_weight * entropy(p)
        self._ascend(objective)
        self.curiosity.update([trial.scheme for trial in trials])
        self.buffer.append(past)
        if self.settings.replay != "off" and self.step >= self.settings.replay_from:
            self._replay()

    def _replay(self) -> None:
        """Eq. 8 on one step drawn from the buffer."""
        past = self.buffer[int(self.rng.integers(len(self.buffer)))]
        clipped = self.settings.replay == "clipped"
        clip, scale = (self.settings.replay_clip, self.settings.replay_scale) if clipped else (None, 1.0)
        baseline, p = self.replay_baseline or 0.0, self.policy()
        objectives = [replay_objective(p, one.p, one.bits, one.reward - baseline, clip=clip) for one in past]
        self._ascend(scale * torch.stack(objectives).mean())

    def _average(self, average: float | None, gains: Sequence[float]) -> float:
        """The moving average after a step's gains; always 0 where no baseline is wanted."""
        decay = self.settings.baseline_decay
        if decay is None:
            return 0.0
        gain = float(np.mean(gains))
        return gain if average is None else decay * average + (1 - decay) * gain

    def _ascend(self, objective: torch.Tensor) -> None:
        """One step of gradient ascent on the controller."""
        self.optimizer.zero_grad()
        (-objective).backward()
        self.optimizer.step()

    @torch.no_grad()
    def probabilities(self) -> np.ndarray:
        """p of every block, (m,)."""
        return self.policy().numpy().astype(np.float64)
