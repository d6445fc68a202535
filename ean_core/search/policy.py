"""The two policy-gradient objectives of Efficient Attention Network (https://arxiv.org/abs/2011.14058).

Both are written so that their gradient in the controller's parameters is the paper's update direction.
"""

from __future__ import annotations

from torch import Tensor

IMPOSSIBLE = 1e-6
"""A bit less probable than this teaches nothing: once rounding makes p exactly 0 or 1, replaying a bit drawn earlier
would otherwise ask for the logarithm of 0, and fill the controller with NaN."""


def probability_of(p: Tensor, bits: Tensor) -> Tensor:
    """p_hat_i = a_i p_i + (1 - a_i)(1 - p_i), the probability of each drawn bit; all of shape (..., m)."""
    return (bits * p + (1 - bits) * (1 - p)).clamp(min=IMPOSSIBLE)


def entropy(p: Tensor) -> Tensor:
    """Entropy of a scheme drawn from p (m,), in nats, a scalar."""
    p = p.clamp(IMPOSSIBLE, 1 - IMPOSSIBLE)
    return -(p * p.log() + (1 - p) * (1 - p).log()).sum()


def policy_objective(p: Tensor, bits: Tensor, gain: float) -> Tensor:
    """R = G(a) * sum_i log p_hat_i (Eq. 5), a scalar.

    Args:
        p: (m,) probabilities from the controller, with gradient.
        bits: (m,) the drawn scheme.
        gain: G(a), or G(a) minus a baseline.
    """
    return gain * probability_of(p, bits).log().sum()


def replay_objective(p: Tensor, p_old: Tensor, bits: Tensor, gain: float, *, clip: float | None = None) -> Tensor:
    """G(a) * sum_i (p_hat_i / p_hat_i_old) * log p_hat_i with the ratio held constant (Eq. 8), a scalar.

    Args:
        p: (m,) probabilities from the controller now, with gradient.
        p_old: (m,) probabilities when the scheme was drawn.
        bits: (m,) the scheme.
        gain: G(a), or G(a) minus a baseline.
        clip: None for the paper's form; 0.1 keeps the ratio within 1 +- 0.1, as the released code does.
    """
    p_hat = probability_of(p, bits)
    ratio = (p_hat / probability_of(p_old, bits)).detach()
    if clip is not None:
        ratio = ratio.clamp(1 - clip, 1 + clip)
    return gain * (ratio * p_hat.log()).sum()
