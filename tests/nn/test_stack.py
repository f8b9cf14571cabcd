"""A stack of learners against each of them alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from offrl.functional import run_axis
from offrl.nn.learner import Learner
from offrl.nn.stack import Stack
from offrl.types import Loss, Metrics


class Regression(nn.Module):
    """A line that is drawn to zero."""

    def __init__(self, lr: float) -> None:
        super().__init__()
        self.scale = lr  # a setting
        self.line = Learner(nn.Linear(3, 2), lr)

    def update(self, x: Tensor) -> Metrics:
        return self.line.descend(_size, x)


def _size(network: nn.Module, x: Tensor) -> Loss:
    loss = network(x).square().mean()
    return loss, {"loss": loss}


@pytest.mark.parametrize("rates", [(1e-2, 1e-2), (1e-2, 3e-3)])
def test_runs_at_different_steps_learn_as_each_would_alone(rates: tuple[float, float]) -> None:
    """Adam corrects its moments by the step of their own run."""
    torch.manual_seed(0)
    members, x = [Regression(lr) for lr in rates], torch.randn(64, 3)
    for member, steps in zip(members, (5, 500), strict=True):
        for _ in range(steps):
            member.update(torch.randn(64, 3))
        member.line.network.weight.add_(0.5)
    alone = copy.deepcopy(members)
    stack = Stack(members, [torch.Generator() for _ in members])
    for _ in range(5):
        stack("update", torch.stack([x, x]))
        for member in alone:
            member.update(x)
    for one, other in zip(members, alone, strict=True):
        for key, value in other.state_dict().items():
            torch.testing.assert_close(one.state_dict()[key], value, msg=key)


def test_settings_that_differ_lie_where_the_parameters_do() -> None:
    stack = Stack([Regression(lr).to("meta") for lr in (0.1, 0.2)], [])
    with run_axis.entered(2):
        scale = run_axis.whole(stack.one.scale, 2)
    assert (scale.shape, scale.device.type) == ((2,), "meta")
