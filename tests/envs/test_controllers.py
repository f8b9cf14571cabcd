"""The hand-written controllers do what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from offrl.build import build
from offrl.data.steps import returns
from offrl.envs.actors import Noisy, Scripted
from offrl.envs.collect import rollout_steps
from offrl.envs.controllers import load_controller
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.types import Steps
from tests.conftest import Compose
from tests.envs.kit import recipe


def play(env: Env, episodes: int, script: str | None = None, noise: float = 0.0) -> Steps:
    num_envs = min(4, episodes)
    vector = env.make(num_envs, 0)
    controller = load_controller(script or str(env.script), env, num_envs, np.random.default_rng(0))
    actor = Noisy(Scripted(controller), vector.spec.action, noise, torch.Generator().manual_seed(0))
    return rollout_steps(vector, actor, episodes=episodes)


@pytest.mark.parametrize(
    ("name", "least"),
    [("cartpole", 499.0), ("pendulum", -250.0), ("mountain_car", -130.0), ("mountain_car_continuous", 88.0)],
)
def test_classic_control_is_solved(compose: Compose, name: str, least: float) -> None:
    assert returns(play(build(compose(f"env={name}")["env"]), 8)).mean() >= least


def test_the_solver_reaches_the_goal_of_every_maze(compose: Compose) -> None:
    pytest.importorskip("gymnasium_robotics")
    for size in ("umaze", "medium", "large"):
        env = build(compose(f"env=pointmaze_{size}")["env"])
        steps = play(env, 1, "offrl.envs.mazes:Solver")
        assert steps.extra["success"].sum() == 1


def test_the_solver_sees_moving_goals() -> None:
    pytest.importorskip("gymnasium_robotics")
    env = recipe("PointMaze_UMaze-v3", obs_keys=("observation", "desired_goal"), kwargs={"continuing_task": False})
    steps = play(env, 8, "offrl.envs.mazes:Solver")
    assert steps.terminated.sum() == 8


def test_the_wanderer_is_everywhere(compose: Compose) -> None:
    pytest.importorskip("gymnasium_robotics")
    steps = play(build(compose("env=pointmaze_umaze")["env"]), 8, noise=0.3)
    cells = {tuple(cell) for cell in np.round(steps.obs[:, :2]).astype(int)}
    assert len(cells) == 7  # all free cells of the U
    assert steps.extra["success"].mean() < 0.5


@pytest.mark.parametrize(
    ("path", "words"),
    [("nowhere:f", "nowhere"), ("offrl.envs.controllers:f", "no such"), ("offrl.types:ABSENT", "function")],
)
def test_paths_that_lead_nowhere(path: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        load_controller(path, recipe("CartPole-v1"), 1, np.random.default_rng(0))


def test_mazes_only() -> None:
    with pytest.raises(UserError, match="mazes"):
        load_controller("offrl.envs.mazes:Wanderer", recipe("CartPole-v1"), 1, np.random.default_rng(0))


def act(obs: Any) -> Any:
    return np.zeros(len(obs), np.int64)


def test_any_function_will_do() -> None:
    assert load_controller(f"{__name__}:act", recipe("CartPole-v1"), 1, np.random.default_rng(0)) is act
