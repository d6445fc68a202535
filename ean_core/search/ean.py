"""Efficient Attention Network: Accelerate Attention by Searching Where to Plug (https://arxiv.org/abs/2011.14058).

`EAN.propose` and `EAN.update` are Algorithm 1, lines 7 to 21. Lines 11 and 12, the reward, are computed by the driver
(`driver.py`). The equations are in files of their own, and this one puts them together:

    Eq. 5  the policy gradient of a step's schemes     `policy_objective` in policy_objectives.py
    Eq. 6  the sparsity reward                         reward.py
    Eq. 7  the gain: sparsity, accuracy, curiosity     reward.py, and `Curiosity` in curiosity.py
    Eq. 8  the replay of a past step                   `replay_objective` in policy_objectives.py

Departures of the preset `paper` from the paper, each with its reason:
- A moving average of the reward is subtracted from G in Eq. 5 and 8, as in the released code: this keeps the expected
  gradient and lowers its variance. `baseline_decay=None` gives the bare equations. Eq. 8 has its own average, without
  curiosity, like its G: an average that includes the bonus would make every past scheme look bad, and teach the
  controller to avoid all schemes that it has seen.
- Adam instead of plain ascent, as in the released code.

The preset `released` is the update of the authors' released code, which departs from the paper further: three schemes
a step, each of which gets the curiosity bonus of all three; the baseline is updated before it is subtracted, and Eq. 8
subtracts the same one, curiosity included; Eq. 8 takes the minimum of its clipped and unclipped forms, times 0.1, from
the 11th step on. One bug is not copied: for curiosity and replay, two of a step's three schemes are stored with their
bits in another order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.curiosity import Curiosity, perceptron
from ean_core.search.policy_objectives import policy_objective, replay_objective
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class EANSettings:
    """Hyperparameters of the controller; the defaults follow the paper, and the released code where the paper is
    silent.

    The released code is for ImageNet. That CIFAR-100 used the same settings is an assumption.

    Attributes:
        schemes_per_step: schemes sampled and scored per step; one in Algorithm 1, three in the released code.
        learning_rate: eta of Eq. 5 and 8, of Adam on the controller.
        temperature: the controller's logits are divided by it.
        hidden: width of the controller's hidden layer.
        inputs: length of the controller's input x_0, a constant zero vector.
        entropy_weight: points of reward per nat of the policy's entropy, added to Eq. 5; 0, as in the paper.
        baseline_decay: of the exponential moving average of the reward; None for no baseline.
        baseline_first: whether a step's rewards update the baseline before it is subtracted from them.
        baseline_shared: whether Eq. 8 subtracts Eq. 5's baseline, which includes curiosity, instead of its own.
        replay: "paper" (Eq. 8), "clipped" (the minimum of that and its form with a clipped ratio) or "off".
        replay_from: h of Algorithm 1, the first step that replays a past one.
        replay_size: capacity of the replay buffer, in steps.
        replay_clip: largest deviation of the clipped ratio from 1.
        replay_scale: factor on the objective of Eq. 8.
        curiosity_weight: lambda_3 of Eq. 7; 0 switches the bonus off.
        curiosity_summed: whether each scheme gets the summed bonus of all the step's schemes instead of its own.
        curiosity_learning_rate: of Adam on the predictor sigma_2.
    """

    schemes_per_step: int = 1
    learning_rate: float = 5e-2
    temperature: float = 5.0
    hidden: int = 50
    inputs: int = 20
    entropy_weight: float = 0.0
    baseline_decay: float | None = 0.95
    baseline_first: bool = False
    baseline_shared: bool = False
    replay: str = "paper"
    replay_from: int = 10
    replay_size: int = 30
    replay_clip: float = 0.1
    replay_scale: float = 1.0
    curiosity_weight: float = 1.0
    curiosity_summed: bool = False
    curiosity_learning_rate: float = 5e-2

    def __post_init__(self) -> None:
        if self.replay not in ("paper", "clipped", "off"):
            raise EANError(f"replay must be 'paper' (Eq. 8), 'clipped' (as in PPO) or 'off', got {self.replay!r}")
        if self.schemes_per_step < 1:
            raise EANError(f"schemes_per_step must be at least 1, got {self.schemes_per_step}")


PRESETS: dict[str, EANSettings] = {
    "paper": EANSettings(),
    "released": EANSettings(
        schemes_per_step=3,
        curiosity_summed=True,
        baseline_first=True,
        baseline_shared=True,
        replay="clipped",
        replay_scale=0.1,
        replay_from=11,
    ),
}


@dataclass(frozen=True)
class PastStep:
    """An entry of the replay buffer: (p, a, G) of a step's N schemes, G without the curiosity term.

    Attributes:
        bits: (N, m).
        log_p: (N, m), log p_hat of the bits when they were sampled.
        rewards: (N,).
    """

    bits: Tensor
    log_p: Tensor
    rewards: Tensor


class EAN(SearchMethod):
    """EAN's search: a controller trained by policy gradient, with curiosity and a replay buffer.

    Args:
        blocks: blocks per stage.
        seed: of the controller's weights, the samples, the curiosity networks and the replay.
        settings: see `EANSettings`.
    """

    stream = "ean"

    def __init__(self, blocks: Sequence[int], *, seed: int = 0, settings: EANSettings | None = None) -> None:
        super().__init__(blocks, seed=seed)
        self.settings = settings = settings or EANSettings()
        bits, generator = sum(blocks), self.weights_generator()
        self.x0 = torch.zeros(settings.inputs)
        self.controller = perceptron([settings.inputs, settings.hidden, 2 * bits], generator=generator)
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=settings.learning_rate)
        self.curiosity = Curiosity(bits, learning_rate=settings.curiosity_learning_rate, generator=generator)
        self.buffer: deque[PastStep] = deque(maxlen=settings.replay_size)
        start = 0.0 if settings.baseline_decay is None else None
        self.baseline: float | None = start  # of G with the curiosity term, for Eq. 5
        self.replay_baseline: float | None = start  # of G without it, for Eq. 8
        self.step = 0

    def policy(self) -> Bernoulli:
        """chi_theta(x_0): m independent bits, with gradient.

        The controller has two outputs per bit, off and on; their softmax is the sigmoid of their difference.
        """
        off, on = self.controller(self.x0).view(-1, 2).unbind(dim=1)  # (m,) each
        return Bernoulli(logits=(on - off) / self.settings.temperature)

    def propose(self) -> list[Scheme]:
        """Sample schemes from the policy (Algorithm 1, lines 8 and 9)."""
        return self.sample(self.settings.schemes_per_step, self.rng)

    def bonus(self, scheme: Scheme) -> dict[str, float]:
        """The curiosity term lambda_3 * g_rnd of Eq. 7."""
        return {"curiosity": self.settings.curiosity_weight * self.curiosity.bonus(scheme)}

    def update(self, trials: Sequence[Trial]) -> None:
        """Train the controller and the curiosity predictor (Algorithm 1, lines 12 to 20)."""
        self.step += 1
        policy, schemes = self.policy(), [trial.scheme for trial in trials]
        bits = policy.logits.new_tensor([scheme.bits for scheme in schemes])  # (N, m)
        rewards = bits.new_tensor([trial.reward for trial in trials])  # (N,)
        gains = rewards + self._bonuses(schemes)  # Eq. 7
        self.buffer.append(PastStep(bits, policy.log_prob(bits).detach(), rewards))

        objective = policy_objective(policy, bits, gains - self._update_baselines(gains, rewards))  # Eq. 5
        if self.settings.entropy_weight:
            objective = objective + self.settings.entropy_weight * policy.entropy().sum()
        self._ascend(objective)
        self.curiosity.update(schemes)
        if self.settings.replay != "off" and self.step >= self.settings.replay_from:
            self._replay()

    @torch.no_grad()
    def _bonuses(self, schemes: Sequence[Scheme]) -> Tensor:
        """The curiosity term of each scheme's gain, (N,)."""
        errors = self.settings.curiosity_weight * self.curiosity.errors(schemes)
        return errors.sum().expand(len(errors)) if self.settings.curiosity_summed else errors

    def _update_baselines(self, gains: Tensor, rewards: Tensor) -> float:
        """Update both averages with a step's gains and rewards (N,); returns the baseline of these gains."""
        before = float(gains.mean()) if self.baseline is None else self.baseline  # the first step's is its own mean
        self.baseline = self._average(self.baseline, gains)
        self.replay_baseline = self._average(self.replay_baseline, rewards)
        return self.baseline if self.settings.baseline_first else before

    def _replay(self) -> None:
        """Take an Eq. 8 step on a past step drawn from the buffer."""
        past = self.buffer[int(self.rng.integers(len(self.buffer)))]
        baseline = self.baseline if self.settings.baseline_shared else self.replay_baseline
        clip = self.settings.replay_clip if self.settings.replay == "clipped" else None
        objective = replay_objective(self.policy(), past.log_p, past.bits, past.rewards - baseline, clip=clip)
        self._ascend(self.settings.replay_scale * objective)

    def _average(self, average: float | None, gains: Tensor) -> float:
        """The moving average after a step's gains; always 0 without a baseline."""
        decay = self.settings.baseline_decay
        if decay is None:
            return 0.0
        gain = float(gains.mean())
        return gain if average is None else decay * average + (1 - decay) * gain

    def _ascend(self, objective: torch.Tensor) -> None:
        """One step of gradient ascent on the controller."""
        self.optimizer.zero_grad()
        (-objective).backward()
        self.optimizer.step()

    @torch.no_grad()
    def probabilities(self) -> np.ndarray:
        """The policy's probability of connecting each block, (m,)."""
        return self.policy().probs.numpy().astype(np.float64)
