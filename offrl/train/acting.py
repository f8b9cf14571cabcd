"""Acting in environments for the sake of experience."""

from __future__ import annotations

import sys
from typing import cast

import numpy as np
import torch
from torch import Tensor

from offrl.envs.vector import Transition, VectorEnv
from offrl.functional import noise
from offrl.types import Episode, Policy, Spec, State


class Actor:
    """Steps N environments with an exploring policy, and reports the episodes that it finished."""

    def __init__(self, env: VectorEnv, policy: Policy, device: torch.device, seed: int) -> None:
        self.env, self.policy, self.device = env, policy, device
        self.obs = env.reset(seed)
        self.finished: list[Episode] = []

    def step(self, step: int, random: bool = False, counted: Tensor | None = None) -> tuple[Tensor, Tensor, Transition]:
        """One step of every environment: what was seen and done (on the device where not random), what came of it.

        Episodes are reported that end where `counted` [N] is true; None: everywhere.
        """
        obs = self.obs
        if random:
            action = random_action(self.env.spec, len(obs))
        else:
            with torch.inference_mode():
                action = self.policy.explore(obs.to(self.device), step)
        transition = self.env.step(action)
        self.obs = transition.obs
        self.finished += [e for e in transition.finished if counted is None or counted[e.env]]
        return obs, action, transition

    def restart(self, seed: int) -> None:
        """Begin a new episode in every environment."""
        self.obs = self.env.reset(seed)

    def read(self) -> dict[str, float]:
        """Mean return, length and success of the episodes that ended since the last call."""
        episodes, self.finished = self.finished, []
        if not episodes:
            return {}
        row = {
            "train/return": float(np.mean([e.total for e in episodes])),
            "train/length": float(np.mean([e.length for e in episodes])),
        }
        successes = [e.success for e in episodes if e.success is not None]
        return row | ({"train/success": float(np.mean(successes))} if successes else {})

    def state(self) -> State:
        """Where the environments are, and what is not reported yet."""
        return {"env": self.env.state(), "finished": [list(episode) for episode in self.finished]}

    def load(self, state: State) -> bool:
        """Go on from `state`; False, and a word to the user, where an environment cannot be brought back exactly."""
        exact = self.env.load(cast(State, state["env"]))
        if not exact:
            print(
                "resume: this environment cannot be brought back to where it was (its simulator does not repeat "
                "itself); new episodes begin, so the run goes on, but not bit for bit",
                file=sys.stderr,
            )
        self.obs = self.env.obs
        self.finished = [Episode(*episode) for episode in cast("list[list[object]]", state["finished"])]  # pyright: ignore[reportArgumentType]
        return exact


def random_action(spec: Spec, num_envs: int) -> Tensor:
    """Uniform actions [N, *action.shape] in the algorithms' units."""
    action, like = spec.action, torch.empty(0)
    if action.kind == "continuous":
        return noise.uniform((num_envs, *action.shape), like) * 2.0 - 1.0
    columns = [noise.integers(choices, (num_envs,), like) for choices in action.choices]
    return columns[0] if action.kind == "discrete" else torch.stack(columns, dim=1)
