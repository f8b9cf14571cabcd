"""Recording: what comes out is what happened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from offrl.data.steps import discontinuities, lengths, returns
from offrl.envs.actors import Agent, Choice, Noisy, Scripted, Uniform
from offrl.envs.collect import rollout_steps
from offrl.errors import UserError
from offrl.types import END, ActionSpec
from tests.envs.kit import actions, recipe

CONTINUOUS = ActionSpec("continuous", (2,), low=(-1.0, -1.0), high=(1.0, 1.0))
DISCRETE = ActionSpec("discrete", (), choices=(4,))
MULTI = ActionSpec("multi_discrete", (2,), choices=(3, 5))


class Plan:
    """Does what it was told to, and remembers which episodes were said to begin."""

    def __init__(self, plan: list[Tensor]) -> None:
        self.plan, self.begun, self.fixed = iter(plan), list[list[int]](), True

    def act(self, obs: Tensor) -> Choice:
        return Choice(next(self.plan), None)

    def log_prob(self, obs: Tensor, action: Tensor) -> None:
        """It cannot say."""

    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """It needs to know of nothing."""

    def restart(self, envs: Sequence[int]) -> None:
        self.begun.append(list(envs))


@pytest.mark.parametrize("history", [0, 3])
def test_steps_are_those_of_the_environment(history: int) -> None:
    env = recipe("CartPole-v1", history=history)
    plan = actions(env.spec(), 60, 2)
    steps = rollout_steps(env.make(2, 7), Plan(plan), steps=120)
    vector = recipe("CartPole-v1").make(2, 7)
    obs, rows = vector.reset(), []
    for action in plan:
        step = vector.step(action)
        rows.append((obs, action, step.reward, step.terminated, step.next_obs))
        obs = step.obs
    for column, values in zip(
        ("obs", "action", "reward", "terminated", "next_obs"), zip(*rows, strict=True), strict=True
    ):
        expected = torch.stack(values).transpose(0, 1).flatten(0, 1)
        np.testing.assert_array_equal(getattr(steps, column), expected, err_msg=column)


def test_a_recording_that_stops_within_an_episode_is_cut_off_there() -> None:
    plan = actions(recipe("test/Clock-v0").spec(), 5, 2)
    steps = rollout_steps(recipe("test/Clock-v0").make(2, 0), Plan(plan), steps=9)
    assert len(steps) == 9
    assert lengths(steps).tolist() == [3, 2, 3, 1]
    assert np.flatnonzero(steps.truncated).tolist() == [2, 4, 7, 8]
    assert len(discontinuities(steps)) == 0


def test_whole_episodes_only() -> None:
    env = recipe("CartPole-v1")
    steps = rollout_steps(env.make(3, 0), Uniform(env.spec().action, torch.Generator()), episodes=7)
    assert len(returns(steps)) == 7
    assert (steps.terminated | steps.truncated).sum() == 7
    assert len(discontinuities(steps)) == 0


def test_success_and_restarts() -> None:
    plan = Plan(actions(recipe("test/Clock-v0").spec(), 6, 2))
    steps = rollout_steps(recipe("test/Clock-v0").make(2, 0), plan, episodes=4)
    assert steps.extra["success"].tolist() == [False, False, True] * 4
    assert plan.begun == [[0, 1], [], [], [0, 1], [], [], [0, 1]]


@pytest.mark.parametrize(("steps", "episodes"), [(None, None), (1, 1), (0, None), (None, 0)])
def test_one_of_steps_and_episodes(steps: int | None, episodes: int | None) -> None:
    with pytest.raises(UserError, match="episodes"):
        rollout_steps(recipe("test/Clock-v0").make(1, 0), Plan([]), steps=steps, episodes=episodes)


@pytest.mark.parametrize(("spec", "log_prob"), [(CONTINUOUS, -np.log(4)), (DISCRETE, -np.log(4)), (MULTI, -np.log(15))])
def test_uniform_actions_and_their_probability(spec: ActionSpec, log_prob: float) -> None:
    choice = Uniform(spec, torch.Generator().manual_seed(0)).act(torch.zeros(2000, 1))
    assert choice.action.shape == (2000, *spec.shape)
    assert choice.log_prob is not None
    np.testing.assert_allclose(choice.log_prob, log_prob, rtol=1e-6)
    for column, count in zip(choice.action.reshape(2000, -1).T, spec.choices, strict=False):
        share = torch.bincount(column, minlength=count) / 2000
        np.testing.assert_allclose(share, 1 / count, atol=5 * np.sqrt(0.25 / 2000))
    if spec.kind == "continuous":
        assert abs(float(choice.action.mean())) < 0.05
        assert float(choice.action.abs().max()) <= 1.0


def test_noise_on_discrete_actions_and_its_probability() -> None:
    greedy = Scripted(lambda obs: np.full(len(obs), 2))
    choice = Noisy(greedy, DISCRETE, 0.4, torch.Generator().manual_seed(0)).act(torch.zeros(5000, 1))
    same = choice.action == 2
    assert abs(float(same.float().mean()) - 0.7) < 0.04
    assert choice.log_prob is not None
    np.testing.assert_allclose(choice.log_prob.exp(), torch.where(same, 0.7, 0.1), rtol=1e-5)


def test_noise_on_random_actions_and_its_probability() -> None:
    actor = Noisy(Agent(Counter(), stochastic=True), DISCRETE, 0.4, torch.Generator().manual_seed(0))
    choice = actor.act(torch.zeros(50, 1))
    assert choice.log_prob is not None
    np.testing.assert_allclose(choice.log_prob.exp(), 0.6 * (-choice.action.float()).exp() + 0.1, rtol=1e-5)


def test_noise_on_continuous_actions_stays_in_bounds() -> None:
    still = Scripted(lambda obs: np.zeros((len(obs), 2), np.float32))
    action = Noisy(still, CONTINUOUS, 0.5, torch.Generator().manual_seed(0)).act(torch.zeros(4000, 1)).action
    assert float(action.abs().max()) == 1.0
    assert abs(float(action.std()) - 0.46) < 0.03  # clipped at two standard deviations


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_where_bounds_are_infinite_the_record_says_what_was_done(noise: float) -> None:
    """A coordinate without bounds is passed on as it is; of the others what lies beyond them is clipped."""
    vector = recipe("test/Echo-v0").make(1, 0)
    far = Scripted(lambda obs: np.full((len(obs), 2), 2.5, np.float32))
    actor = Noisy(far, vector.spec.action, noise, torch.Generator().manual_seed(0)) if noise else far
    steps = rollout_steps(vector, actor, steps=3)
    np.testing.assert_allclose(steps.action * [1.0, 2.0], steps.next_obs, rtol=1e-6)
    assert (steps.action[:, 0] > 2.0).all()
    assert (steps.action[:, 1] == 1.0).all()
    if noise:
        density = np.exp(-0.5 * ((steps.action[:, 0] - 2.5) / noise) ** 2) / (noise * np.sqrt(2 * np.pi))
        np.testing.assert_allclose(np.exp(steps.extra["log_prob"]), density, rtol=1e-4)  # the other is certain


@pytest.mark.parametrize(("spec", "noise"), [(CONTINUOUS, -0.1), (DISCRETE, 1.5)])
def test_noise_that_is_refused(spec: ActionSpec, noise: float) -> None:
    with pytest.raises(UserError, match="noise="):
        Noisy(Plan([]), spec, noise, torch.Generator())


class Counter:
    """A policy that tells its ways of acting apart."""

    def act(self, obs: Tensor) -> Tensor:
        return torch.zeros(len(obs))

    def explore(self, obs: Tensor, step: int) -> Tensor:
        return torch.full((len(obs),), step)

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        return -action.float()


def test_agents_act_as_they_are_judged_or_as_they_explore() -> None:
    obs = torch.zeros(3, 1)
    assert Agent(Counter(), stochastic=False).act(obs).action.tolist() == [0, 0, 0]
    exploring = Agent(Counter(), stochastic=True)
    choice = exploring.act(obs)
    assert choice.action.tolist() == [END] * 3
    assert choice.log_prob is not None
