"""Evaluations are fair, repeat themselves, and disturb nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from offrl.build import build
from offrl.envs.reference import ReferenceScores
from offrl.errors import UserError
from offrl.train.evaluator import Evaluation, Evaluator, Result, evaluate
from offrl.train.randomness import random_state, set_random_state, undisturbed
from offrl.train.statistics import RewardScaler, RunningMoments
from tests.train.kit import RUNS, config


class Lopsided:
    """CartPole: falls over at once in environment 0, balances in the others."""

    def act(self, obs: Tensor) -> Tensor:
        torch.rand(1)
        np.random.rand()  # noqa: NPY002
        action = (obs[:, 2] + 0.5 * obs[:, 3] > 0).long()
        action[0] = 0
        return action

    def explore(self, obs: Tensor, step: int) -> Tensor:
        return self.act(obs)


@pytest.fixture
def cartpole() -> Any:
    return build(config(*RUNS["discrete"])["env"])


def test_short_episodes_get_no_more_than_their_share(cartpole: Any) -> None:
    result = evaluate(Lopsided(), cartpole.make(3, 0), 7, 5, "cpu")
    assert len(result.returns) == 7
    assert [length < 20 for length in result.lengths] == [True] * 3 + [False] * 4


def test_the_same_each_time_and_undisturbing(cartpole: Any) -> None:
    evaluator = Evaluator(cartpole, Evaluation(interval=1, episodes=4, num_envs=2, seed=3), torch.device("cpu"))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, second = evaluator(Lopsided()), evaluator(Lopsided())
    assert first == second
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("knob", ["interval=0", "interval=-1", "episodes=-1", "num_envs=0"])
def test_numbers_without_sense_are_refused(knob: str) -> None:
    with pytest.raises(UserError, match=f"evaluation.{knob} must be at least"):
        build(config(*RUNS["discrete"], f"evaluation.{knob}")["evaluation"])


def test_summary() -> None:
    summary = Result([1.0, 3.0], [10, 20], [True, False]).summary(ReferenceScores(0.0, 4.0, "test"))
    assert summary == {
        "return": 2.0, "return_std": 1.0, "return_min": 1.0, "return_max": 3.0,
        "length": 15.0, "success": 0.5, "score": 50.0,
    }  # fmt: skip


def test_generators_go_on_where_they_were() -> None:
    state = random_state()
    expected = (torch.rand(2), np.random.rand(2))  # noqa: NPY002
    set_random_state(state)
    with undisturbed():
        torch.rand(9)
        np.random.rand(9)  # noqa: NPY002
    assert torch.equal(torch.rand(2), expected[0])
    np.testing.assert_array_equal(np.random.rand(2), expected[1])  # noqa: NPY002


def test_running_moments_equal_those_of_all_rows() -> None:
    rows, moments = 5.0 + 3.0 * torch.randn(1000, 2), RunningMoments((2,))
    for part in rows.split([1, 9, 490, 500]):
        moments.add(part)
    mean, std = moments.statistics()
    torch.testing.assert_close(mean, rows.mean(0), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(std, rows.std(0, correction=0), rtol=1e-5, atol=1e-5)


def test_rewards_are_scaled_by_the_spread_of_discounted_returns() -> None:
    """Of all returns so far, whatever the lengths of the rollouts."""
    scaler, returns, seen, expected = RewardScaler(2, 0.9), np.zeros(2), [], []
    steps = np.arange(200)
    rewards, dones = np.stack((1e3 + steps % 3, steps % 5), 1), np.stack((steps % 7 == 6, steps % 4 == 3), 1)
    for reward, done in zip(rewards, dones, strict=True):
        seen.append(returns := 0.9 * returns + reward)
        returns = returns * ~done
        expected.append(np.clip(reward / (np.std(seen) + 1e-4), -10.0, 10.0))
    lengths = (1, 4, 100, 95)
    parts = zip(torch.from_numpy(rewards).float().split(lengths), torch.from_numpy(dones).split(lengths), strict=True)
    scaled = torch.cat([scaler(*part) for part in parts])
    np.testing.assert_allclose(scaled, expected, rtol=1e-4)
