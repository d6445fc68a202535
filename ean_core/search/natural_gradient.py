"""The preset "natural" of the EAN search: one logit per block, moved along the natural gradient of the reward.

The policy (independent bits), the reward (Eq. 7) and the idea are those of Algorithm 1 of Efficient Attention Network
(https://arxiv.org/abs/2011.14058); the parameterization and the update differ:

- theta are the m logits themselves. A controller with a constant input only changes the step size.
- The natural gradient instead of the plain one. For independent bits the Fisher information of theta_i is
  p_i (1 - p_i), so that the natural gradient of E[G] is dE[G]/dp_i = E[G | a_i = 1] - E[G | a_i = 0], the main effect
  of block i. Its sampled form is mean_k A_k (a_ki - p_i) / (p_i (1 - p_i)), A the standardized reward.
- The main effects are fitted to the rewards by least squares instead, all blocks at once ("compatible function
  approximation": Kakade, A Natural Policy Gradient, 2001; Peters and Schaal, Natural Actor-Critic, 2008). The fit
  controls for the other blocks, and it can use earlier schemes without importance ratios, which is this preset's
  replay. Every scheme counts once, however often it was sampled: a lucky validation score counts only once.
- It returns the scheme that is best after smoothing out evaluation noise (`smoothing.py`). Once the probabilities have
  converged, many neighbors of the best scheme are scored, and the luckiest of them has the highest reward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.curiosity import Curiosity
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class NaturalSettings:
    """Hyperparameters; the defaults were chosen on landscapes of 9, 16 and 54 blocks (`reward_landscapes.py`).

    Those landscapes have seeds below 1000. Comparisons on later seeds are on landscapes that chose nothing.

    Attributes:
        schemes_per_step: schemes sampled and scored per step.
        step_size: eta, the change of a logit per standard deviation of the reward that its bit's effect amounts to.
        memory: the fit uses the latest `memory * m` distinct schemes; 0 uses the sampled form, on this step's schemes.
        ridge: weight of the penalty on squared effects, needed while there are fewer schemes than blocks.
        redraws: how often to resample a scheme that was scored before, since scoring it again would be uninformative.
        curiosity_weight: lambda_3 of Eq. 7; 0 switches the bonus off. It matters little on the landscapes.
        curiosity_learning_rate: of Adam on the predictor sigma_2.
    """

    schemes_per_step: int = 5
    step_size: float = 0.5
    memory: int = 4
    ridge: float = 1.0
    redraws: int = 5
    curiosity_weight: float = 1.0
    curiosity_learning_rate: float = 5e-2

    def __post_init__(self) -> None:
        if self.schemes_per_step < 1 or self.memory < 0 or self.redraws < 0:
            raise EANError(
                f"schemes_per_step must be at least 1, memory and redraws at least 0, got {self.schemes_per_step}, "
                f"{self.memory} and {self.redraws}"
            )
        if self.step_size <= 0 or self.ridge <= 0:
            raise EANError(f"step_size and ridge must be positive, got {self.step_size} and {self.ridge}")
        if self.memory == 0 and self.schemes_per_step < 2:
            raise EANError("memory=0 compares the schemes of one step: set schemes_per_step to at least 2")


class NaturalEAN(SearchMethod):
    """EAN's search over logits by the natural gradient.

    Args:
        blocks: blocks per stage.
        seed: of the samples and the curiosity networks.
        settings: see `NaturalSettings`.
    """

    answer = "smoothed"
    stream = "natural"

    def __init__(self, blocks: Sequence[int], *, seed: int = 0, settings: NaturalSettings | None = None) -> None:
        super().__init__(blocks, seed=seed)
        self.settings = settings = settings or NaturalSettings()
        self.bits = sum(blocks)
        self.logits = np.zeros(self.bits)  # theta
        # p stays in [1/m, 1 - 1/m], so that a sample differs from the most probable scheme in at least about one bit.
        self.limit = float(np.log(max(self.bits - 1, 2)))
        self.scored: dict[str, Trial] = {}  # distinct schemes, the latest proposed last
        self.curiosity: Curiosity | None = None
        if settings.curiosity_weight:
            self.curiosity = Curiosity(
                self.bits, learning_rate=settings.curiosity_learning_rate, generator=self.weights_generator()
            )

    def propose(self) -> list[Scheme]:
        """Sample schemes (Algorithm 1, lines 8 and 9); schemes scored before are resampled a few times."""
        schemes: dict[str, Scheme] = {}
        for _ in range(self.settings.schemes_per_step):
            (scheme,) = self.sample(1, self.rng)
            for _ in range(self.settings.redraws):
                if scheme.text not in self.scored and scheme.text not in schemes:
                    break
                (scheme,) = self.sample(1, self.rng)
            schemes.setdefault(scheme.text, scheme)
        return list(schemes.values())

    def bonus(self, scheme: Scheme) -> dict[str, float]:
        """The curiosity term lambda_3 * g_rnd of Eq. 7; empty where curiosity is off."""
        if self.curiosity is None:
            return {}
        return {"curiosity": self.settings.curiosity_weight * self.curiosity.bonus(scheme)}

    def update(self, trials: Sequence[Trial]) -> None:
        """Take one natural-gradient step, in place of Algorithm 1, lines 12 to 20."""
        for trial in trials:
            self.scored.pop(trial.scheme.text, None)
            self.scored[trial.scheme.text] = trial
        used = list(self.scored.values())[-self.settings.memory * self.bits :] if self.settings.memory else list(trials)
        bits = np.array([trial.scheme.bits for trial in used], dtype=float)  # (N, m)
        gains = standardize(self._gains(used))  # (N,)
        p = self.probabilities()
        direction = (
            fitted_effects(bits, gains, self.settings.ridge)
            if self.settings.memory
            else sampled_effects(bits, gains, p)
        )
        self.logits = np.clip(self.logits + self.settings.step_size * direction, -self.limit, self.limit)
        if self.curiosity is not None:
            self.curiosity.update([trial.scheme for trial in trials])

    def probabilities(self) -> np.ndarray:
        """The policy's probability of connecting each block, (m,)."""
        return 1.0 / (1.0 + np.exp(-self.logits))

    def _gains(self, trials: Sequence[Trial]) -> np.ndarray:
        """G of Eq. 7, (N,), with the current curiosity bonus, also for schemes scored long ago."""
        rewards = np.array([trial.reward for trial in trials])
        if self.curiosity is None:
            return rewards
        with torch.no_grad():
            novelty = self.curiosity.errors([trial.scheme for trial in trials]).numpy()
        return rewards + self.settings.curiosity_weight * novelty


def standardize(gains: np.ndarray) -> np.ndarray:
    """Scale to mean 0 and standard deviation 1, (N,): the step then ignores the reward's unit and offset."""
    spread = float(gains.std())
    return (gains - gains.mean()) / spread if spread > 1e-9 else np.zeros_like(gains)


def fitted_effects(bits: np.ndarray, gains: np.ndarray, ridge: float) -> np.ndarray:
    """The main effects w (m,) that minimize |gains - constant - bits w|^2 + ridge |w|^2, bits (N, m), gains (N,)."""
    centered = bits - bits.mean(axis=0)
    return np.linalg.solve(centered.T @ centered + ridge * np.eye(bits.shape[1]), centered.T @ gains)


def sampled_effects(bits: np.ndarray, gains: np.ndarray, p: np.ndarray) -> np.ndarray:
    """mean_k A_k (a_k - p) / (p (1 - p)): the main effects (m,) estimated from samples of p, without a fit."""
    return (gains[:, None] * (bits - p)).mean(axis=0) / (p * (1 - p))
