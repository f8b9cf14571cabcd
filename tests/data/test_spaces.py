from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offrl.data.spaces import (
    action_spec,
    default_keys,
    flatten_obs,
    obs_spec,
    scale_action,
    unflatten_obs,
    unscale_action,
)
from offrl.errors import UserError

GOAL = spaces.Dict(
    observation=spaces.Box(-1, 1, (4,)), achieved_goal=spaces.Box(-1, 1, (2,)), desired_goal=spaces.Box(-1, 1, (2,))
)


def stacked(space: spaces.Space[Any], count: int = 6) -> Any:
    space.seed(0)
    samples = [space.sample() for _ in range(count)]
    if isinstance(space, spaces.Dict):
        return {key: np.stack([sample[key] for sample in samples]) for key in space.spaces}
    return np.stack(samples)


@pytest.mark.parametrize(
    ("space", "shape", "dtype"),
    [
        (spaces.Box(-1, 1, (3,)), (3,), "float32"),
        (spaces.Box(-1, 1, (2, 3)), (6,), "float32"),
        (GOAL, (6,), "float32"),
        (spaces.Discrete(5, start=2), (5,), "float32"),
        (spaces.MultiDiscrete([2, 3]), (5,), "float32"),
        (spaces.MultiBinary(4), (4,), "float32"),
        (spaces.Box(0, 255, (84, 80, 3), np.uint8), (3, 84, 80), "uint8"),
        (spaces.Box(0, 255, (4, 84, 80), np.uint8), (4, 84, 80), "uint8"),
        (spaces.Box(0, 255, (64, 48), np.uint8), (1, 64, 48), "uint8"),
        (spaces.Box(0, 255, (128,), np.uint8), (128,), "float32"),
    ],
    ids=str,
)
def test_observations_go_flat_and_come_back(space: spaces.Space[Any], shape: tuple[int, ...], dtype: str) -> None:
    spec = obs_spec(space)
    assert (spec.shape, spec.dtype) == (shape, dtype)
    obs = stacked(space)
    flat = flatten_obs(space, (), obs)
    assert flat.shape == (6, *shape)
    assert flat.dtype == dtype
    back = unflatten_obs(space, (), flat)
    if isinstance(back, dict):
        for key, value in back.items():
            np.testing.assert_array_equal(value, obs[key])
    else:
        np.testing.assert_array_equal(back, obs)


def test_keys_choose_parts_in_order() -> None:
    obs = stacked(GOAL)
    assert default_keys(GOAL) == ("desired_goal", "observation") or default_keys(GOAL) == (
        "observation",
        "desired_goal",
    )
    flat = flatten_obs(GOAL, ("desired_goal", "achieved_goal"), obs)
    np.testing.assert_array_equal(flat, np.concatenate([obs["desired_goal"], obs["achieved_goal"]], axis=1))
    with pytest.raises(UserError, match="nothing"):
        obs_spec(GOAL, ("nothing",))
    with pytest.raises(UserError, match="obs_keys empty"):
        obs_spec(spaces.Box(-1, 1, (3,)), ("observation",))


def test_history_is_a_leading_axis() -> None:
    spec = obs_spec(spaces.Box(0, 255, (84, 84, 3), np.uint8), history=4)
    assert spec.shape == (4, 3, 84, 84)
    assert spec.is_image


def test_what_has_no_flat_form_is_said() -> None:
    with pytest.raises(UserError, match="text"):
        obs_spec(spaces.Dict(text=spaces.Text(5), place=spaces.Box(-1, 1, (2,))), ("text",))
    with pytest.raises(UserError, match="picture"):
        obs_spec(spaces.Dict(eye=spaces.Box(0, 255, (64, 64, 3), np.uint8), place=spaces.Box(-1, 1, (2,))))
    with pytest.raises(UserError, match="not supported"):
        action_spec(spaces.Text(5))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32)),
        spaces.Box(-np.inf, np.inf, (2,)),
        spaces.Box(-1, 1, (2, 2), np.float64),
        spaces.Discrete(4, start=-1),
        spaces.MultiDiscrete([3, 2]),
        spaces.MultiBinary(3),
    ],
    ids=str,
)
def test_actions_go_to_the_algorithms_units_and_back(space: spaces.Space[Any]) -> None:
    raw = stacked(space)
    action = scale_action(space, raw)
    spec = action_spec(space)
    assert action.shape == (6, *spec.shape)
    assert action.dtype == (np.float32 if spec.kind == "continuous" else np.int64)
    np.testing.assert_allclose(unscale_action(space, action), raw, atol=1e-6)
    if spec.kind == "continuous" and np.isfinite(spec.low).all():
        assert np.abs(action).max() <= 1 + 1e-6
    if spec.kind == "discrete":
        assert action.min() >= 0
