"""Kullback–Leibler divergences between policies, row by row."""

from __future__ import annotations

import torch
from torch import Tensor


def categorical_kl(old_log_probs: Tensor, log_probs: Tensor) -> Tensor:
    """KL(old ‖ new) in nats, [...], of distributions given by log-probabilities [..., K]."""
    return (old_log_probs.exp() * (old_log_probs - log_probs)).sum(-1)


def decoupled_gaussian_kl(
    old_mean: Tensor, old_log_std: Tensor, mean: Tensor, log_std: Tensor
) -> tuple[Tensor, Tensor]:
    """KL(old ‖ new) in nats of independent Gaussians [..., A], in two parts [...], sums over A: the mean moved alone,
    under the old spread, and the spread moved alone (Abdolmaleki et al. 2018b, arXiv:1812.02256, section 4.2.1).
    """
    by_mean = 0.5 * ((mean - old_mean) * (-old_log_std).exp()).square()
    ratio = torch.broadcast_to(old_log_std - log_std, mean.shape)  # log (old spread / new spread)
    by_std = 0.5 * ((2.0 * ratio).exp() - 1.0) - ratio
    return by_mean.sum(-1), by_std.sum(-1)
