"""What algorithms say about how likely their actions are, against how often they take them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from offrl.algos.base import Algorithm
from offrl.build import build
from offrl.errors import UserError
from offrl.nn.heads.gaussian import log_cdf
from offrl.nn.policies import GaussianMixture, Normal, SquashedNormal
from offrl.types import END, ActionSpec, ObsSpec, Spec
from tests.conftest import Compose

DISCRETE = Spec(ObsSpec((3,)), ActionSpec("discrete", (), (4,)))
CONTINUOUS = Spec(ObsSpec((3,)), ActionSpec("continuous", (2,), (), (-1.0, -1.0), (1.0, 1.0)))


def made(compose: Compose, spec: Spec, *words: str) -> Algorithm:
    torch.manual_seed(0)
    algo: Algorithm = build(compose(*words)["algo"], "algo")
    algo.build(spec)
    return algo.eval()


@pytest.mark.parametrize(
    "words",
    [
        ("algo=dqn", "algo.epsilon_end=0.2"),
        ("algo=dqn", "algo.epsilon_end=0.2", "algo.boltzmann_temperature=0.1"),
        ("algo=bc",),
        ("algo=ppo",),
    ],
    ids=" ".join,
)
def test_probabilities_are_frequencies(compose: Compose, words: tuple[str, ...]) -> None:
    algo = made(compose, DISCRETE, *words)
    obs = torch.randn(3).expand(8000, 3)
    chances = torch.stack([algo.log_prob(obs[:1], torch.tensor([k])) for k in range(4)]).exp().squeeze(1)
    assert float(chances.sum()) == pytest.approx(1.0, abs=1e-5)
    shares = torch.bincount(algo.explore(obs, END), minlength=4) / len(obs)
    torch.testing.assert_close(shares, chances, atol=0.025, rtol=0.0)


MEAN, LOG_STD = torch.tensor([[0.7], [-0.2], [7.0]]).double(), torch.tensor([[-0.5], [0.3], [0.0]]).double()
CLIPPED = {
    "normal": Normal(MEAN, LOG_STD),
    "squashed": SquashedNormal(MEAN, LOG_STD),
    "mixture": GaussianMixture(torch.zeros(1, 3), MEAN[None], LOG_STD[None]),
}


@pytest.mark.parametrize("head", CLIPPED)
def test_clipped_densities_have_mass_one(head: str) -> None:
    """Inside the bounds, by the trapezoidal rule on points that lie ever closer to them, and on the bounds."""
    choice, rows = CLIPPED[head], 1 if head == "mixture" else 3
    inside = torch.linspace(-7.254, 7.254, 20_001, dtype=torch.float64).tanh()
    density = choice.clipped_log_prob(inside[:, None, None].expand(-1, rows, 1)).exp()
    bounds = sum(choice.clipped_log_prob(torch.full((rows, 1), end).double()).exp() for end in (-1.0, 1.0))
    mass = torch.trapezoid(density, inside, dim=0)
    torch.testing.assert_close(mass + bounds, torch.ones(rows).double(), atol=1e-3, rtol=0.0)


def test_squashed_policies_that_are_certain_of_a_bound_agree_on_it() -> None:
    """In single precision tanh rounds to 1 from about 9 on: all of it counts, whichever way the mean lies beyond."""
    choice = SquashedNormal(torch.tensor([[12.0, -12.0], [20.0, -20.0]]), torch.tensor(-0.5))
    action = choice.sample()
    assert action.tolist() == [[1.0, -1.0]] * 2
    torch.testing.assert_close(choice.clipped_log_prob(action), torch.zeros(2), atol=1e-6, rtol=0.0)
    assert (choice.clipped_log_prob(-action) < -100.0).all()


@pytest.mark.parametrize("head", ["gaussian", "mixture"])
def test_nothing_is_clipped_where_there_are_no_bounds(compose: Compose, head: str) -> None:
    """Of two coordinates the first has none: its density is its own, also beyond 1."""
    half = Spec(ObsSpec((3,)), ActionSpec("continuous", (2,), (), (-math.inf, -1.0), (math.inf, 1.0)))
    algo = made(compose, half, "algo=bc", f"policy={head}")
    obs, action = torch.randn(4, 3), torch.tensor([2.5, 0.3])
    choice: Any = algo.distribution(obs)
    torch.testing.assert_close(algo.log_prob(obs, action.expand(4, 2)), choice.log_prob(action))
    bounded: Any = made(compose, CONTINUOUS, "algo=bc", f"policy={head}").distribution(obs)
    assert (bounded.clipped_log_prob(action) - choice.log_prob(action)).abs().min() > 0.1


def test_log_of_the_normal_distribution_function() -> None:
    """Value and slope, far out in both tails."""
    z = torch.linspace(-40, 40, 4001, dtype=torch.float64).requires_grad_()
    values = log_cdf(z), torch.special.log_ndtr(z)
    torch.testing.assert_close(*values, rtol=1e-9, atol=1e-12)
    slopes = [torch.autograd.grad(value.sum(), z)[0] for value in values]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


def test_no_density(compose: Compose) -> None:
    algo = made(compose, CONTINUOUS, "algo=td3")
    with pytest.raises(UserError, match="no density"):
        algo.log_prob(torch.zeros(2, 3), torch.zeros(2, 2))
