"""ENAS's controller: Efficient Neural Architecture Search via Parameter Sharing (https://arxiv.org/abs/1802.03268).

An LSTM generates the bits one by one, each conditioned on the earlier ones, and is trained by REINFORCE with a
moving-average baseline. The bits are the only choices; there are no operations or skip connections to sample.

Departures: the baseline starts at the first reward instead of zero; rewards are in points, so the entropy weight is a
hundred times that for accuracies in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class ENASSettings:
    """Hyperparameters of the controller and its training.

    Attributes:
        schemes_per_step: schemes drawn and scored per step.
        hidden: width of the LSTM and of its inputs; 64 for images in the paper's code.
        learning_rate: of Adam. The paper uses 3.5e-4; its scripts use 1e-3 (macro space, language model) and 3.5e-3
            (micro space).
        temperature: the logits are divided by it.
        tanh_constant: c in c tanh(z) of the logits z, which keeps probabilities away from 0 and 1.
        entropy_weight: points of reward per nat of a scheme's entropy; 0.01 is the 1e-4 of the paper's scripts.
        baseline_decay: of the moving average of the reward.
    """

    schemes_per_step: int = 1
    hidden: int = 64
    learning_rate: float = 1e-3
    temperature: float = 5.0
    tanh_constant: float = 2.5
    entropy_weight: float = 0.01
    baseline_decay: float = 0.99

    def __post_init__(self) -> None:
        if self.schemes_per_step < 1 or self.hidden < 1:
            raise EANError(
                f"schemes_per_step and hidden must be at least 1, got {self.schemes_per_step} and {self.hidden}"
            )


PRESETS: dict[str, ENASSettings] = {
    "published": ENASSettings(),
    "settling": ENASSettings(learning_rate=5e-2),
}
"""ENAS's published settings, and the same with EAN's learning rate, with which it collapses to 11..1 or 00..0 within 20
to 100 steps, as the EAN paper reports (section 6.2); with its published learning rate it does not."""


class Controller(nn.Module):
    """The LSTM: previous bits in, logits of the next bit out; weights start uniform in [-0.1, 0.1], as in the paper.

    Args:
        settings: sizes, and how the logits are squashed.
        generator: draws the weights.
    """

    START = 2
    """Index of the start token's embedding."""

    def __init__(self, settings: ENASSettings, *, generator: torch.Generator) -> None:
        super().__init__()
        self.temperature, self.tanh_constant = settings.temperature, settings.tanh_constant
        self.embedding = nn.Embedding(3, settings.hidden)
        self.lstm = nn.LSTM(settings.hidden, settings.hidden, batch_first=True)
        self.head = nn.Linear(settings.hidden, 2, bias=False)
        with torch.no_grad():
            for weight in self.parameters():
                weight.uniform_(-0.1, 0.1, generator=generator)

    def forward(
        self, previous: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """log P(off, on) of each bit (N, T, 2), given the bit before it (N, T) and the LSTM's state."""
        hidden, state = self.lstm(self.embedding(previous), state)  # (N, T, hidden)
        logits = self.tanh_constant * torch.tanh(self.head(hidden) / self.temperature)
        return logits.log_softmax(dim=2), state


class ENAS(SearchMethod):
    """ENAS's search: REINFORCE on the LSTM controller.

    Args:
        blocks: blocks per stage.
        seed: of the weights and the draws.
        settings: see `ENASSettings`.
    """

    stream = "enas"

    def __init__(self, blocks: Sequence[int], *, seed: int = 0, settings: ENASSettings | None = None) -> None:
        super().__init__(blocks, seed=seed)
        self.settings = settings = settings or ENASSettings()
        self.bits = sum(blocks)
        self.controller = Controller(settings, generator=self.weights_generator())
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=settings.learning_rate)
        self.baseline: float | None = None

    def propose(self) -> list[Scheme]:
        """Schemes sampled bit by bit from the controller."""
        return self.sample(self.settings.schemes_per_step, self.rng)

    def update(self, trials: Sequence[Trial]) -> None:
        """One step of policy gradient: mean over the schemes of (reward - baseline) * sum_l log P(a_l | a_<l)."""
        bits = torch.tensor([trial.scheme.bits for trial in trials])  # (N, m)
        log_p = self._log_p(bits)  # (N, m, 2)
        entropy = -(log_p.exp() * log_p).sum(dim=(1, 2)).detach()  # (N,), part of the reward as in the paper
        rewards = torch.tensor([trial.reward for trial in trials]) + self.settings.entropy_weight * entropy
        average, decay = float(rewards.mean()), self.settings.baseline_decay
        before_step = average if self.baseline is None else self.baseline
        self.baseline = decay * before_step + (1 - decay) * average
        log_likelihood = log_p.gather(2, bits[:, :, None]).sum(dim=(1, 2))  # (N,)
        self.optimizer.zero_grad()
        (-((rewards - before_step) * log_likelihood).mean()).backward()
        self.optimizer.step()

    def probabilities(self) -> np.ndarray:
        """P(a_l = 1 | greedy bits before it), (m,), as an autoregressive policy has no single vector of probabilities.

        Thresholding at 0.5 gives the greedy scheme, which `most_probable` therefore returns.
        """
        _, p = self._generate(np.full((1, self.bits), 0.5))
        return p[0]

    @torch.no_grad()
    def p_hat(self, scheme: Scheme) -> np.ndarray:
        """P(a_l | a_<l) of the scheme's own bits, (m,)."""
        bits = torch.tensor([scheme.bits])
        return self._log_p(bits).gather(2, bits[:, :, None])[0, :, 0].exp().numpy()

    def sample(self, count: int, rng: np.random.Generator) -> list[Scheme]:
        """Schemes sampled bit by bit from the current controller, which is not changed."""
        bits, _ = self._generate(rng.random((count, self.bits)))
        return [Scheme(tuple(row.astype(int).tolist()), self.blocks) for row in bits]

    def _log_p(self, bits: Tensor) -> Tensor:
        """log P(off, on) of each bit (N, m, 2) of schemes (N, m), given the bits before it."""
        before = torch.cat([torch.full((len(bits), 1), Controller.START), bits[:, :-1]], dim=1)
        return self.controller(before)[0]

    @torch.no_grad()
    def _generate(self, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bits, 1 where the uniform draw is below P(1), and these probabilities, both (N, m)."""
        bits, p, state = np.zeros_like(uniform), np.zeros_like(uniform), None
        previous = torch.full((len(uniform), 1), Controller.START)
        for index in range(self.bits):
            log_p, state = self.controller(previous, state)
            p[:, index] = log_p[:, 0, 1].exp().numpy()
            bits[:, index] = uniform[:, index] < p[:, index]
            previous = torch.from_numpy(bits[:, index : index + 1]).long()
        return bits, p
