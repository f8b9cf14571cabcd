"""Evaluation: how well a policy does without exploring, in environments of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from offrl.envs.make import Env
from offrl.envs.reference import ReferenceScores
from offrl.envs.vector import VectorEnv
from offrl.train.randomness import undisturbed
from offrl.types import Episode, Policy


class Result(NamedTuple):
    """What some episodes came to."""

    returns: list[float]
    lengths: list[int]
    successes: list[bool]  # empty where the environment does not say

    def summary(self, reference: ReferenceScores | None) -> dict[str, float]:
        """Means, spread and, with reference scores, the D4RL-style score (0: random, 100: expert)."""
        returns = np.array(self.returns)
        row = {
            "return": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "return_max": float(returns.max()),
            "length": float(np.mean(self.lengths)),
        }
        if self.successes:
            row["success"] = float(np.mean(self.successes))
        if reference is not None:
            row["score"] = float(reference.normalize(row["return"]))
        return row


@dataclass(frozen=True)
class Evaluation:
    """When to evaluate, and on how much."""

    interval: int  # steps of training between two evaluations (what a step is, the trainer says)
    episodes: int  # 0: never
    num_envs: int  # side by side
    seed: int  # of the episodes' first states: the same ones each time, so that evaluations compare


class Evaluator:
    """Keeps the environments of an evaluation from one time to the next."""

    def __init__(self, env: Env, settings: Evaluation, device: torch.device) -> None:
        self.settings, self.device, self.reference = settings, device, env.reference
        self._env = env.make(min(settings.num_envs, settings.episodes), settings.seed)

    def __call__(self, policy: Policy) -> Result:
        """Run the episodes; no generator of the training is disturbed."""
        with undisturbed():
            return evaluate(policy, self._env, self.settings.episodes, self.settings.seed, self.device)

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


@torch.inference_mode()
def evaluate(policy: Policy, env: VectorEnv, episodes: int, seed: int, device: torch.device | str) -> Result:
    """`episodes` episodes under `policy.act`, the same number (give or take one) in each environment.

    Taking the first episodes that end, whichever environment they are from, would favour short ones.
    """
    obs = env.reset(seed)
    quota = [episodes // len(obs) + (index < episodes % len(obs)) for index in range(len(obs))]
    done: list[Episode] = []
    while any(quota):
        step = env.step(policy.act(obs.to(device)).cpu())
        obs = step.obs
        for episode in step.finished:
            if quota[episode.env]:
                quota[episode.env] -= 1
                done.append(episode)
    return _result(sorted(done, key=lambda episode: episode.env))  # the order does not depend on their lengths


def _result(episodes: Sequence[Episode]) -> Result:
    successes = [episode.success for episode in episodes if episode.success is not None]
    return Result([e.total for e in episodes], [e.length for e in episodes], successes)
