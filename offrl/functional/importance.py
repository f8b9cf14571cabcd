"""What happened under one policy, weighted as if another had acted; E episodes of T steps, [E, T], padded at the end.

`log_ratio` is log π(a|s) − log b(a|s), π the policy asked about and b the one that acted; 0 in padding.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Weighting = Literal["trajectory", "per_decision", "step"]


def log_weights(log_ratio: Tensor, weighting: Weighting) -> Tensor:
    """[E, T] logarithm of what each step's outcome is weighted by.

    `trajectory`: the product over the whole episode. `per_decision`: the product up to the step, all that its reward
    depends on (Precup, Sutton & Singh 2000). `step`: the step's own ratio, which leaves the distribution of states as
    it is in the data.
    """
    if weighting == "step":
        return log_ratio
    until = log_ratio.cumsum(-1)
    return until if weighting == "per_decision" else until[:, -1:].expand_as(until)


def capped_exp(log_weight: Tensor, largest: float) -> Tensor:
    """exp, at most `largest`, without overflow on the way."""
    return log_weight.clamp(max=min(math.log(largest), 80.0)).exp()


def lifted_exp(log_weight: Tensor, largest: float) -> Tensor:
    """[E, T] -> what is in proportion to the capped weights of each step, the greatest 1: not all zero however long the
    episodes are."""
    capped = log_weight.clamp(max=math.log(largest))
    return (capped - capped.amax(0)).exp()


def first_steps_first(mask: Tensor) -> Tensor:
    """[E, T] index that brings the steps that `mask` says are there to the front of each row, in their order."""
    steps = mask.shape[-1]
    missing = (mask.cumsum(-1) == 0).sum(-1, keepdim=True)
    return (torch.arange(steps, device=mask.device) + missing) % steps


def effective_share(weight: Tensor, count: Tensor | None = None) -> Tensor:
    """(Σw)² / (n Σw²): the share of the sample that an average so weighted really uses (Kong 1992).

    Of weights of any shape; `count` says how many they are, where some are but padding, 0.
    """
    weight = weight / weight.amax().clamp(min=1e-30)  # or squares overflow
    n = weight.numel() if count is None else count
    return weight.sum().square() / (n * weight.square().sum()).clamp(min=1e-30)
