"""The two policy-gradient objectives of Efficient Attention Network (https://arxiv.org/abs/2011.14058).

Both are written so that their gradient in the controller's parameters is the paper's update direction, averaged over
the schemes of a step. The policy draws each bit on its own, so that log p_hat_i is a Bernoulli's `log_prob`; made of
logits, it stays finite where rounding takes a probability to 0 or 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Bernoulli


def policy_objective(policy: Bernoulli, bits: Tensor, gains: Tensor) -> Tensor:
    """R = G(a) * sum_i log p_hat_i (Eq. 5), the mean over N schemes, a scalar.

    Args:
        policy: of m bits, with gradient.
        bits: (N, m) the drawn schemes.
        gains: (N,) G(a), or G(a) minus a baseline.
    """
    return (gains * policy.log_prob(bits).sum(dim=1)).mean()


def replay_objective(
    policy: Bernoulli, log_p_old: Tensor, bits: Tensor, gains: Tensor, *, clip: float | None = None
) -> Tensor:
    """G(a) * sum_i (p_hat_i / p_hat_i_old) * log p_hat_i with the ratio held constant (Eq. 8), as above.

    Args:
        policy: of m bits as it is now, with gradient.
        log_p_old: (N, m) log p_hat_i when the schemes were drawn.
        bits: (N, m) the schemes, of one past step.
        gains: (N,) G(a), or G(a) minus a baseline.
        clip: None for the paper's form. With 0.1 the objective is the lower of two, with the ratio as it is and with
            the ratio kept within 1 +- 0.1: the released code's form, after PPO (https://arxiv.org/abs/1707.06347).
    """
    log_p = policy.log_prob(bits)  # (N, m)
    ratio = (log_p.detach() - log_p_old).exp()

    def weighted(ratio: Tensor) -> Tensor:
        return (gains * (ratio * log_p).sum(dim=1)).mean()

    if clip is None:
        return weighted(ratio)
    return torch.minimum(weighted(ratio), weighted(ratio.clamp(1 - clip, 1 + clip)))
