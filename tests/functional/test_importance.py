"""Weights of other policies' episodes, where they are extreme."""

from __future__ import annotations

import math

import torch

from offrl.functional.importance import capped_exp, effective_share, lifted_exp
from offrl.functional.surrogates import sampled_divergence


def test_only_the_cap_that_was_asked_for_changes_proportions() -> None:
    """e^100 beside e^90 is 1 beside e^-10, and both have a gradient."""
    log_weight = torch.tensor([[100.0], [90.0], [10.0]], requires_grad=True)
    weight = lifted_exp(log_weight, math.inf)
    torch.testing.assert_close(weight[:, 0], torch.tensor([1.0, math.exp(-10.0), 0.0]))
    (slope,) = torch.autograd.grad((weight / weight.sum())[1, 0], log_weight)
    assert (slope[:2].abs() > 1e-5).all()
    torch.testing.assert_close(lifted_exp(log_weight.detach(), 2.0), torch.ones(3, 1))


def test_the_divergence_of_one_impossible_action_is_finite() -> None:
    """Exact where it is small; far out it still pulls back, and a price of 0 makes nothing of it."""
    log_ratio = torch.tensor([-3.0, 0.0, 2.0, 19.0, 25.0, 500.0], requires_grad=True)
    divergence = sampled_divergence(log_ratio)
    exact = log_ratio.exp() - 1.0 - log_ratio
    torch.testing.assert_close(divergence[:4], exact[:4])
    assert (divergence[1:].diff() > 0.0).all()
    (slope,) = torch.autograd.grad(divergence.sum(), log_ratio)
    assert slope.isfinite().all()
    assert (slope[2:] > 0.0).all()
    (nothing,) = torch.autograd.grad((0.0 * sampled_divergence(log_ratio)).sum(), log_ratio)
    assert (nothing == 0.0).all()


def test_effective_share() -> None:
    """Equal weights use all, one that outweighs the others a single one; padding does not count."""
    assert effective_share(torch.full((4,), 3.0)).item() == 1.0
    huge = capped_exp(torch.tensor([1000.0, 0.0, 0.0, 0.0]), math.inf)
    assert effective_share(huge).item() == 0.25
    padded = torch.tensor([[1.0, 3.0], [1.0, 0.0]])
    assert math.isclose(effective_share(padded, torch.tensor(3)).item(), 25.0 / 33.0, rel_tol=1e-6)
