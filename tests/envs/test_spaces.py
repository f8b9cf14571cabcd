"""Every kind of observation and action, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from offrl.envs.block import Block
from offrl.envs.spaces import action_codec, obs_codec
from offrl.envs.vector import VectorEnv
from offrl.errors import UserError
from tests.envs.kit import Recorder, actions, recipe

DISCRETE = spaces.Discrete(2)
GOAL = spaces.Dict(
    observation=spaces.Box(-1, 1, (3,), np.float64),
    desired_goal=spaces.Box(-1, 1, (2,), np.float64),
    achieved_goal=spaces.Box(-1, 1, (2,), np.float64),
)


def inner(vector: VectorEnv) -> Recorder:
    simulator = vector._simulator  # pyright: ignore[reportPrivateUsage]
    assert isinstance(simulator, Block)
    env = simulator._seats[0].env.unwrapped  # pyright: ignore[reportPrivateUsage]
    assert isinstance(env, Recorder)
    return env


def recorder(observation: spaces.Space[Any], action: spaces.Space[Any], **changes: Any) -> VectorEnv:
    env = recipe("test/Recorder-v0", kwargs={"observation": observation, "action": action}, **changes)
    return env.make(1, 0)


@pytest.mark.parametrize(
    ("space", "shape", "dtype"),
    [
        (spaces.Box(-1, 1, (3,), np.float64), (3,), torch.float32),
        (spaces.Box(-1, 1, (2, 3), np.float32), (6,), torch.float32),
        (spaces.Box(0, 9, (4,), np.int64), (4,), torch.float32),
        (spaces.Discrete(5, start=2), (5,), torch.float32),
        (spaces.MultiDiscrete([2, 3]), (5,), torch.float32),
        (spaces.MultiBinary(4), (4,), torch.float32),
        (spaces.Box(0, 255, (48, 40, 3), np.uint8), (3, 48, 40), torch.uint8),
        (spaces.Box(0, 255, (4, 84, 84), np.uint8), (4, 84, 84), torch.uint8),
        (spaces.Box(0, 255, (84, 84), np.uint8), (1, 84, 84), torch.uint8),
        (GOAL, (5,), torch.float32),
    ],
)
@pytest.mark.parametrize("history", [0, 2])
def test_observations(space: spaces.Space[Any], shape: tuple[int, ...], dtype: torch.dtype, history: int) -> None:
    vector = recorder(space, DISCRETE, history=history)
    obs = vector.reset()
    shape = (2, *shape) if history else shape
    assert obs.shape == (1, *shape)
    assert obs.dtype == dtype
    assert vector.spec.obs.shape == shape
    assert vector.step(torch.tensor([1])).next_obs.shape == (1, *shape)


def test_a_picture_keeps_its_pixels() -> None:
    vector = recorder(spaces.Box(0, 255, (48, 40, 3), np.uint8), DISCRETE)
    obs = vector.reset()
    np.testing.assert_array_equal(obs[0, 1], inner(vector).seen[0][:, :, 1])


def test_keys_choose_and_order_the_parts_of_a_dict() -> None:
    vector = recorder(GOAL, DISCRETE, obs_keys=("desired_goal", "observation"))
    seen = vector.reset()[0]
    raw = inner(vector).seen[0]
    np.testing.assert_allclose(seen, np.concatenate([raw["desired_goal"], raw["observation"]]), rtol=1e-6)


def test_discrete_observations_are_one_hot() -> None:
    vector = recorder(spaces.Discrete(5, start=2), DISCRETE)
    assert vector.reset()[0].argmax() == inner(vector).seen[0] - 2


@pytest.mark.parametrize(
    ("space", "keys", "words"),
    [
        (spaces.Text(5), None, "Text"),
        (spaces.Tuple([DISCRETE, DISCRETE]), None, "Tuple"),
        (GOAL, ("observatoin",), "observatoin"),
        (spaces.Box(-1, 1, (3,)), ("observation",), "obs_keys"),
        (spaces.Dict(a=DISCRETE, b=spaces.Box(0, 255, (48, 48, 3), np.uint8)), None, "obs_keys"),
    ],
)
def test_observations_that_are_refused(space: spaces.Space[Any], keys: tuple[str, ...] | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        obs_codec(space, keys)


@pytest.mark.parametrize(
    ("space", "kind", "given", "done"),
    [
        (spaces.Box(-1, 1, (2,)), "continuous", [[-2.0, 0.5]], [-1.0, 0.5]),
        (
            spaces.Box(np.array([0, -4], np.float32), np.array([10, 4], np.float32)),
            "continuous",
            [[-3.0, 0.5]],
            [0.0, 2.0],
        ),
        (spaces.Box(-2, 2, (1, 2), np.float64), "continuous", [[1.5, 0.0]], [[2.0, 0.0]]),
        (spaces.Box(-np.inf, np.inf, (2,)), "continuous", [[-7.0, 3.0]], [-7.0, 3.0]),
        (spaces.Discrete(3), "discrete", [2], 2),
        (spaces.Discrete(3, start=5), "discrete", [2], 7),
        (spaces.MultiDiscrete([2, 3]), "multi_discrete", [[1, 2]], [1, 2]),
        (spaces.MultiDiscrete([2, 3], start=[1, 1]), "multi_discrete", [[1, 2]], [2, 3]),
        (spaces.MultiDiscrete(np.array([[2, 3]])), "multi_discrete", [[1, 2]], [[1, 2]]),
        (spaces.MultiBinary(3), "multi_discrete", [[1, 0, 1]], [1, 0, 1]),
    ],
)
def test_actions(space: spaces.Space[Any], kind: str, given: list[Any], done: Any) -> None:
    vector = recorder(spaces.Box(-1, 1, (1,)), space)
    assert vector.spec.action.kind == kind
    vector.reset()
    vector.step(torch.tensor(given))
    np.testing.assert_array_equal(inner(vector).done[0], done)
    for action in actions(vector.spec, 20, 1):
        vector.step(action)
        assert space.contains(inner(vector).done[-1])


@given(
    low=st.floats(-1e3, 1e3, width=32),
    width=st.floats(2**-6, 1e3, width=32),
    action=st.floats(-2.0, 2.0, width=32),
)
def test_scaled_actions_never_leave_the_bounds(low: float, width: float, action: float) -> None:
    space = spaces.Box(np.array([low], np.float32), np.array([low + width], np.float32))
    (scaled,) = action_codec(space).decode(np.array([[action]], np.float32))
    assert space.contains(scaled)
    for end, bound in ((-1.0, space.low), (1.0, space.high)):
        np.testing.assert_allclose(
            action_codec(space).decode(np.array([[end]], np.float32))[0], bound, rtol=1e-5, atol=1e-3
        )


@pytest.mark.parametrize("space", [spaces.Tuple([DISCRETE]), spaces.Dict(a=DISCRETE), spaces.Text(3)])
def test_actions_that_are_refused(space: spaces.Space[Any]) -> None:
    with pytest.raises(UserError, match="action space"):
        action_codec(space)
