"""Recipes and small environments that several tests use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from offrl.envs.actors import draw
from offrl.envs.make import Env
from offrl.types import Spec


def recipe(id: str, **changes: Any) -> Env:
    """The recipe of `id` with every other field as configs/env/gym.yaml has it."""
    fields: dict[str, Any] = {
        "name": id,
        "kwargs": {},
        "obs_keys": None,
        "history": 0,
        "wrappers": (),
        "max_episode_steps": None,
        "num_envs": 1,
        "mode": "sync",
        "workers": None,
        "script": None,
        "reference": None,
    }
    return Env(id=id, **{**fields, **changes})


def actions(spec: Spec, steps: int, num_envs: int, seed: int = 0) -> list[Tensor]:
    """Random actions for every step."""
    generator = torch.Generator().manual_seed(seed)
    return [draw(spec.action, num_envs, generator) for _ in range(steps)]


class Recorder(gym.Env[Any, Any]):
    """Shows whatever its spaces sample, remembers what was done to it, and never ends by itself."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation, action
        self.done: list[Any] = []
        self.seen: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.observation_space.seed(seed)
        return self._show(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action) or isinstance(action, int), action
        self.done.append(action)
        return self._show(), 0.0, False, False, {}

    def _show(self) -> Any:
        self.seen.append(self.observation_space.sample())
        return self.seen[-1]


class Clock(gym.Env[Any, Any]):
    """Shows (episode, step); ends, cuts off, or both at once, after `length` steps; succeeds at step 1."""

    def __init__(self, length: int = 3, ends: str = "truncated") -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(2)
        self.length, self.ends = length, ends
        self.episode, self.steps = -1, 0

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode += 1
        self.steps = 0
        return np.array([self.episode, 0.0]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        over = self.steps == self.length
        flags = over and self.ends in ("terminated", "both"), over and self.ends in ("truncated", "both")
        return np.array([self.episode, float(self.steps)]), 1.0, *flags, {"success": self.steps == 1}


class Forgetful(Clock):
    """Never repeats itself: what it shows does not come from its seed."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = super().step(action)
        return obs + np.random.default_rng().normal(size=2), reward, terminated, truncated, info


class Echo(gym.Env[Any, Any]):
    """Shows what was done to it; the first of two coordinates has no bounds."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,))
        high = np.array([np.inf, 2.0], np.float32)
        self.action_space = spaces.Box(-high, high)

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return action, 0.0, False, False, {}


for kind in (Recorder, Clock, Forgetful, Echo):
    gym.register(f"test/{kind.__name__}-v0", f"{__name__}:{kind.__name__}")
