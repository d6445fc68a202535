"""The two policy-gradient objectives of Efficient Attention Network (https://arxiv.org/abs/2011.14058).

The gradient of both in the controller's parameters is the paper's update direction, averaged over the schemes of a
step. The bits are independent, so log p_hat_i is a Bernoulli's `log_prob`; parameterized by logits, it stays finite
where a probability rounds to 0 or 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli


def policy_objective(policy: Bernoulli, bits: Tensor, gains: Tensor) -> Tensor:
    """Mean over N schemes of R = G(a) * sum_i log p_hat_i (Eq. 5), a scalar.

    Args:
        policy: of m bits, with gradient.
        bits: (N, m) the sampled schemes.
        gains: (N,) G(a), or G(a) minus a baseline.
    """
    return (gains * policy.log_prob(bits).sum(dim=1)).mean()


def replay_objective(
    policy: Bernoulli, log_p_old: Tensor, bits: Tensor, gains: Tensor, *, clip: float | None = None
) -> Tensor:
    """Mean over N schemes of G(a) * sum_i (p_hat_i / p_hat_i_old) * log p_hat_i, the ratio held constant (Eq. 8).

    Args:
        policy: of m bits as it is now, with gradient.
        log_p_old: (N, m) log p_hat_i when the schemes were sampled.
        bits: (N, m) the schemes, of one past step.
        gains: (N,) G(a), or G(a) minus a baseline.
        clip: None for the paper's form. With 0.1, the objective is the minimum of the forms with the unclipped ratio
            and the ratio clipped to 1 +- 0.1, as in the released code, after PPO (https://arxiv.org/abs/1707.06347).
    """
    log_p = policy.log_prob(bits)  # (N, m)
    ratio = (log_p.detach() - log_p_old).exp()

    def weighted(ratio: Tensor) -> Tensor:
        return (gains * (ratio * log_p).sum(dim=1)).mean()

    if clip is None:
        return weighted(ratio)
    return torch.minimum(weighted(ratio), weighted(ratio.clamp(1 - clip, 1 + clip)))
