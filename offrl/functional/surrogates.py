"""What a policy climbs in place of its return, from actions of an older policy; row by row.

`log_ratio` is log π(a|s) − log b(a|s), π the policy that moves and b the one that acted.
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """min(ρ A, clamp(ρ, 1 − ε, 1 + ε) A) (Schulman et al. 2017, arXiv:1707.06347, eq. 7); an infinite ε is ρ A."""
    ratio = log_ratio.exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def sampled_divergence(log_ratio: Tensor) -> Tensor:
    """ρ − 1 − log ρ, of which the mean over b's actions is KL[b, π].

    Never negative, and of less variance than −log ρ (estimator k3 of J. Schulman, "Approximating KL Divergence", 2020).
    Where log ρ is above 20, ρ goes on along its tangent: one action may not make a loss infinite.
    """
    near = log_ratio.clamp(max=20.0)
    return near.exp() * (1.0 + log_ratio - near) - 1.0 - log_ratio
