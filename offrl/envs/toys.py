"""The smallest problems with a known answer, each with continuous, discrete or multi-discrete actions.

Import this module, or use ids such as `offrl.envs.toys:offrl/Bandit-v0`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from offrl.errors import UserError
from offrl.types import ActionKind

Obs = NDArray[np.float32]
CHOICES = 3  # of each discrete action
BOUND = 2.0  # of each continuous action, so that a forgotten scaling shows


def action_space(kind: ActionKind, size: int) -> spaces.Space[Any]:
    """A space of `size` numbers of this kind (of one number where discrete)."""
    match kind:
        case "continuous":
            return spaces.Box(-BOUND, BOUND, (size,), np.float32)
        case "discrete":
            return spaces.Discrete(CHOICES)
        case "multi_discrete":
            return spaces.MultiDiscrete([CHOICES] * size)
        case _:
            raise UserError(f"env.kwargs.actions={kind!r}: use continuous, discrete or multi_discrete")


class Bandit(gym.Env[Obs, Any]):
    """One step: see a context, act, be rewarded. The best return is 0, in every context.

    Continuous: −mean (a − s)², with a context s in [-1, 1]^size. Discrete: minus the share of numbers that are not the
    index of the largest of their three context values.
    """

    def __init__(self, actions: ActionKind = "continuous", size: int = 1) -> None:
        self.action_space = action_space(actions, size)
        self._continuous = actions == "continuous"
        width = size if self._continuous else CHOICES * (1 if actions == "discrete" else size)
        self.observation_space = spaces.Box(-1.0, 1.0, (width,), np.float32)
        self._context: Obs = np.zeros(width, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Draw a context."""
        super().reset(seed=seed, options=options)
        self._context = self.np_random.uniform(-1.0, 1.0, self._context.shape).astype(np.float32)
        return self._context, {}

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Be rewarded, and end."""
        if self._continuous:
            reward = -float(np.mean((action - self._context) ** 2))
        else:
            reward = -float(np.mean(action != self._context.reshape(-1, CHOICES).argmax(axis=1)))
        return self._context, reward, True, False, {}


class Chain(gym.Env[Obs, Any]):
    """Walk `length` states, one-hot, from the first; 1 for leaving at the far end, 0.1 for leaving at the near one.

    The best return is 1, after `length` steps. Forward is a positive mean of continuous actions, or the last choice of
    every discrete one; everything else is backward.
    """

    def __init__(self, actions: ActionKind = "discrete", size: int = 1, length: int = 4) -> None:
        self.action_space = action_space(actions, size)
        self._continuous = actions == "continuous"
        self.observation_space = spaces.Box(0.0, 1.0, (length,), np.float32)
        self._eye = np.eye(length, dtype=np.float32)
        self._place = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Go to the first state."""
        super().reset(seed=seed, options=options)
        self._place = 0
        return self._eye[0], {}

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Go forward or backward."""
        forward = np.mean(action) > 0 if self._continuous else np.all(np.equal(action, CHOICES - 1))
        place, last = self._place + (1 if forward else -1), len(self._eye) - 1
        self._place = min(max(place, 0), last)
        reward = 1.0 if place > last else 0.1 if place < 0 else 0.0
        return self._eye[self._place], reward, place != self._place, False, {"success": place > last}


class TwoState(gym.Env[Obs, Any]):
    """Two states, one-hot, that take turns; every step earns 1 whatever is done.

    Registered with a time limit of 5, so that values tell how it is treated: a truncated episode is worth
    1 / (1 − gamma), one that terminates (`ends_after` steps) only the rest of its rewards.
    """

    def __init__(self, actions: ActionKind = "discrete", size: int = 1, ends_after: int | None = None) -> None:
        self.action_space = action_space(actions, size)
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        self._eye = np.eye(2, dtype=np.float32)
        self._ends_after = ends_after
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Obs, dict[str, Any]]:
        """Go to the first state."""
        super().reset(seed=seed, options=options)
        self._steps = 0
        return self._eye[0], {}

    def step(self, action: Any) -> tuple[Obs, float, bool, bool, dict[str, Any]]:
        """Go to the other state."""
        self._steps += 1
        return self._eye[self._steps % 2], 1.0, self._steps == self._ends_after, False, {}


gym.register("offrl/Bandit-v0", f"{__name__}:Bandit")
gym.register("offrl/Chain-v0", f"{__name__}:Chain", max_episode_steps=50)
gym.register("offrl/TwoState-v0", f"{__name__}:TwoState", max_episode_steps=5)
