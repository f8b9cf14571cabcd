"""The toys have the optimum that they claim."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from offrl.envs.toys import CHOICES, Bandit, Chain, TwoState
from offrl.types import ActionKind

KINDS = get_args(ActionKind)


@pytest.mark.parametrize("kind", KINDS)
def test_bandit(kind: ActionKind) -> None:
    env = Bandit(kind, size=2)
    for seed in range(5):
        context, _ = env.reset(seed=seed)
        best: Any = context if kind == "continuous" else context.reshape(-1, CHOICES).argmax(axis=1)
        assert env.step(best)[1] == 0.0
        assert env.step(env.action_space.sample())[1] <= 0.0
        assert env.step(best)[2]


@pytest.mark.parametrize("kind", KINDS)
def test_chain(kind: ActionKind) -> None:
    env = Chain(kind, size=2, length=4)
    high = {"continuous": np.ones(2), "discrete": CHOICES - 1, "multi_discrete": np.full(2, CHOICES - 1)}[kind]
    env.reset(seed=0)
    assert [env.step(high)[1:3] for _ in range(4)] == [(0.0, False)] * 3 + [(1.0, True)]
    env.reset(seed=0)
    assert env.step(-high if kind == "continuous" else high * 0)[1:3] == (0.1, True)


def test_two_states_take_turns() -> None:
    env = TwoState(ends_after=3)
    env.reset(seed=0)
    steps = [env.step(0) for _ in range(3)]
    assert [int(step[0].argmax()) for step in steps] == [1, 0, 1]
    assert [step[2] for step in steps] == [False, False, True]
