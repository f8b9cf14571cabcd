"""Evaluation: how well a policy does without exploring, in environments of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from offrl.algos.base import Discounted
from offrl.algos.estimates import believed_return
from offrl.envs.make import Env
from offrl.envs.reference import ReferenceScores
from offrl.envs.vector import VectorEnv
from offrl.errors import UserError
from offrl.train.randomness import undisturbed
from offrl.types import Episode, Policy, at_play


class Result(NamedTuple):
    """What some episodes came to."""

    returns: list[float]
    lengths: list[int]
    successes: list[bool]  # empty where the environment does not say
    # Of the first episode of each environment: what the algorithm believed at its start, and what came of it.
    believed: list[float] = []  # noqa: RUF012 (never changed); empty without a critic
    discounted: list[float] = []  # noqa: RUF012

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
        if self.believed:
            row |= {"believed": float(np.mean(self.believed)), "discounted": float(np.mean(self.discounted))}
        return row


@dataclass(frozen=True)
class Evaluation:
    """When to evaluate, and on how much."""

    interval: int  # steps of training between two evaluations (what a step is, the trainer says)
    episodes: int  # 0: never
    num_envs: int  # side by side
    seed: int  # of the episodes' first states: the same ones each time, so that evaluations compare

    def __post_init__(self) -> None:
        """Raise `UserError` for numbers that make no sense."""
        for name, least in (("interval", 1), ("episodes", 0), ("num_envs", 1)):
            if getattr(self, name) < least:
                raise UserError(f"evaluation.{name}={getattr(self, name)} must be at least {least}")


class Evaluator:
    """Keeps the environments of an evaluation from one time to the next."""

    def __init__(self, env: Env, settings: Evaluation, device: torch.device) -> None:
        self.settings, self.device, self.reference = settings, device, env.reference
        self._env = env.make(min(settings.num_envs, settings.episodes), settings.seed)

    def __call__(self, policy: Policy, believer: Policy | None = None) -> Result:
        """Run the episodes; no generator of the training is disturbed. `believer`: see `evaluate`."""
        with undisturbed():
            return evaluate(policy, self._env, self.settings.episodes, self.settings.seed, self.device, believer)

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


@torch.inference_mode()
def evaluate(
    policy: Policy,
    env: VectorEnv,
    episodes: int,
    seed: int,
    device: torch.device | str,
    believer: Policy | None = None,
) -> Result:
    """`episodes` episodes under the policy at play, the same number (give or take one) in each environment.

    Taking the first episodes that end, whichever environment they are from, would favour short ones. `believer` says
    what the policy is worth before it plays, where that is not the policy itself.
    """
    obs = env.reset(seed)
    player = at_play(policy, len(obs))
    believer = believer or policy
    believed = believed_return(believer, obs.to(device)) if isinstance(believer, Discounted) else None
    first = FirstReturns(len(obs), believer.discount if isinstance(believer, Discounted) else 1.0)
    quota = [episodes // len(obs) + (index < episodes % len(obs)) for index in range(len(obs))]
    done: list[Episode] = []
    while any(quota):
        action = player.act(obs.to(device))
        step = env.step(action.cpu())
        over = step.terminated | step.truncated
        player.observe(action, step.reward.to(device), over.to(device))
        obs = step.obs
        first.add(step.reward, [episode.env for episode in step.finished])
        for episode in step.finished:
            if quota[episode.env]:
                quota[episode.env] -= 1
                done.append(episode)
    result = _result(sorted(done, key=lambda episode: episode.env))  # the order does not depend on their lengths
    return result if believed is None else result._replace(believed=believed.tolist(), discounted=first.total.tolist())


class FirstReturns:
    """The discounted return of the first episode of each of N environments."""

    def __init__(self, count: int, discount: float) -> None:
        self.total, self._weight, self._discount = torch.zeros(count), torch.ones(count), discount

    def add(self, reward: torch.Tensor, ended: Sequence[int]) -> None:
        """One step's rewards [N], and whose episode ended with it."""
        self.total += self._weight * reward
        self._weight *= self._discount
        self._weight[list(ended)] = 0.0


def _result(episodes: Sequence[Episode]) -> Result:
    successes = [episode.success for episode in episodes if episode.success is not None]
    return Result([e.total for e in episodes], [e.length for e in episodes], successes)
