"""Recipes: ids, packages, wrappers, and readable errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from offrl.build import build
from offrl.envs.make import Env
from offrl.envs.reference import ReferenceScores
from offrl.errors import UserError
from offrl.paths import config_dir
from tests.conftest import Compose
from tests.envs.kit import actions, recipe

CONFIGS = sorted(file.stem for file in (config_dir() / "env").glob("*.yaml") if file.stem not in ("gym", "atari_pong"))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_steps(compose: Compose, name: str) -> None:
    for prefix, package in (
        ("pointmaze", "gymnasium_robotics"),
        ("antmaze", "gymnasium_robotics"),
        ("minigrid", "minigrid"),
    ):
        if name.startswith(prefix):
            pytest.importorskip(package)
    env = build(compose(f"env={name}")["env"], "env")
    assert isinstance(env, Env)
    assert env.name == name
    vector = env.make(2, 0)
    assert vector.spec == env.spec()
    assert vector.reset().shape == (2, *vector.spec.obs.shape)
    step = [vector.step(action) for action in actions(vector.spec, 3, 2)][-1]
    assert step.obs.shape == step.next_obs.shape == (2, *vector.spec.obs.shape)
    assert step.reward.dtype == torch.float32
    vector.close()


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (recipe("Hoper-v5"), "Did you mean Hopper-v5"),
        (recipe("Hopper-v9"), "version"),
        (recipe("nowhere/Thing-v0"), "nowhere"),
        (recipe("no_such_module:Thing-v0"), "no_such_module"),
        (recipe("CartPole-v1", kwargs={"colour": 1}), "env.kwargs"),
        (recipe("CartPole-v1", obs_keys=("a",)), "obs_keys"),
        (recipe("CartPole-v1", wrappers=({"_target_": "gymnasium.wrappers.Nothing"},)), "gymnasium.wrappers.Nothing"),
        (recipe("CartPole-v1", wrappers=({"_target_": "gymnasium.wrappers.TimeLimit", "steps": 1},)), "TimeLimit"),
        (recipe("CartPole-v1", history=-1), "env.history=-1"),
        (recipe("CartPole-v1", workers=0), "env.workers=0"),
    ],
    ids=lambda part: part if isinstance(part, str) else part.id,
)
def test_mistakes_are_said(env: Env, words: str) -> None:
    with pytest.raises(UserError, match=words):
        env.make(1, 0)


@pytest.mark.parametrize(
    ("id", "package", "extra"),
    [
        ("ale_py:ALE/Pong-v5", "ale_py", "atari"),
        ("ALE/Pong-v5", "ale_py", "atari"),
        ("PointMaze_UMaze-v3", "gymnasium_robotics", "robotics"),
        ("MiniGrid-Empty-5x5-v0", "minigrid", "envs"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, id: str, package: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"offrl\[{extra}\]"):
        recipe(id).spec()


def test_a_users_own_module_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "my_env_of_tests.py").write_text(
        "import gymnasium as gym\n"
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "gym.register('Mine-v0', CartPoleEnv, max_episode_steps=7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    vector = recipe("my_env_of_tests:Mine-v0").make(1, 0)
    assert vector.reset().shape == (1, 4)


def test_wrappers_apply_in_order() -> None:
    limits = ({"_target_": "gymnasium.wrappers.TimeLimit", "max_episode_steps": limit} for limit in (9, 2))
    vector = recipe("test/Clock-v0", kwargs={"length": 50}, wrappers=tuple(limits)).make(1, 0)
    vector.reset()
    assert [bool(vector.step(action).truncated) for action in actions(vector.spec, 2, 1)] == [False, True]


def test_mujoco_writes_no_log_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    recipe("HalfCheetah-v5").spec()
    assert not list(tmp_path.iterdir())
    assert "settotalmass" not in "".join(capfd.readouterr())


def test_reference_scores() -> None:
    assert ReferenceScores(-20.0, 180.0, "here").normalize(80.0) == 50.0
