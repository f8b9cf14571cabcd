"""Advantages along time, against loops and by hand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from offrl.functional.returns import generalized_advantage

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Case(NamedTuple):
    reward: Floats  # [T, N]
    value: Floats
    next_value: Floats
    terminated: Bools
    truncated: Bools


def case(seed: int, steps: int = 15, envs: int = 4) -> Case:
    """Episodes that end in both ways, now and then; `next_value` of a truncated step belongs to no other row."""
    draw = np.random.default_rng(seed)
    terminated, truncated = draw.random((2, steps, envs)) < 0.15
    reward, value, next_value = draw.standard_normal((3, steps, envs))
    return Case(reward, value, next_value, terminated, truncated & ~terminated)


def ours(case: Case, discount: float, trace: float) -> Floats:
    columns = (torch.from_numpy(np.asarray(column)) for column in case)
    return generalized_advantage(*columns, discount=discount, trace=trace).numpy()


def by_recursion(case: Case, discount: float, trace: float) -> Floats:
    """A_t = delta_t + gamma lambda A_t+1, environment by environment, from the back."""
    result = np.zeros_like(case.reward)
    for n in range(case.reward.shape[1]):
        following = 0.0
        for t in reversed(range(case.reward.shape[0])):
            if case.terminated[t, n] or case.truncated[t, n]:
                following = 0.0
            future = 0.0 if case.terminated[t, n] else case.next_value[t, n]
            following = case.reward[t, n] + discount * future - case.value[t, n] + discount * trace * following
            result[t, n] = following
    return result


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("discount", "trace"), [(0.99, 0.95), (0.9, 0.0), (1.0, 1.0)])
def test_generalized_advantage_is_the_recursion(seed: int, discount: float, trace: float) -> None:
    example = case(seed)
    np.testing.assert_allclose(ours(example, discount, trace), by_recursion(example, discount, trace), rtol=1e-12)


def test_trace_zero_is_the_one_step_error() -> None:
    example = case(0)
    future = np.where(example.terminated, 0.0, example.next_value)
    np.testing.assert_allclose(ours(example, 0.9, 0.0), example.reward + 0.9 * future - example.value, rtol=1e-12)


@pytest.mark.parametrize(("terminal", "end"), [(True, 0.0), (False, 100.0)])
def test_trace_one_is_the_discounted_sum_less_the_value(terminal: bool, end: float) -> None:
    """Rewards 1, 2, 4 and a last value of 100, which counts only if the episode was cut short."""
    reward = torch.tensor([[1.0], [2.0], [4.0]])
    value = torch.tensor([[10.0], [20.0], [30.0]])
    last = torch.tensor([[False], [False], [True]])
    next_value = torch.tensor([[20.0], [30.0], [100.0]])
    cut = torch.tensor(not terminal)
    advantage = generalized_advantage(reward, value, next_value, last & ~cut, last & cut, discount=0.5, trace=1.0)
    returns = [1 + 1 + 1 + end / 8, 2 + 2 + end / 4, 4 + end / 2]
    torch.testing.assert_close(advantage + value, torch.tensor(returns)[:, None])


def test_nothing_crosses_the_end_of_an_episode() -> None:
    """What happens after an end, of either kind, does not change what is before it."""
    example = case(3)
    changed = example._replace(reward=example.reward.copy())
    end = int(np.argmax((example.terminated | example.truncated)[:, 0]))
    changed.reward[end + 1 :, 0] += 1000.0
    np.testing.assert_array_equal(ours(example, 0.99, 0.95)[: end + 1, 0], ours(changed, 0.99, 0.95)[: end + 1, 0])
