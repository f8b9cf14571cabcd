"""The nouns that every room of the house shares. Letters in shape comments:

B batch, E members of an ensemble, T time steps, N environments side by side, H history window,
A action dimensions, K choices of one discrete action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ActionKind = Literal["continuous", "discrete", "multi_discrete"]
# Where an algorithm may learn from: random batches of a log or of a replay buffer, fresh rollouts, whole passes over a
# log, a known MDP, or an expert that can be asked.
Experience = Literal["dataset", "replay", "rollout", "passes", "model", "expert"]

Metrics = dict[str, Tensor]  # name "part/quantity" -> 0-d tensor, on the device, detached
Loss = tuple[Tensor, Metrics]  # (the scalar to descend, what to report)

Network = Callable[..., Any]  # a network, or a stand-in for it while its gradient is taken

END = 1 << 40  # as a step: every schedule has come to its end

ABSENT = torch.empty(0)  # a column that nobody asked for: loud when used in arithmetic with a batch


class Batch(NamedTuple):
    """Transitions; no row crosses an episode boundary.

    `action` is in [-1, 1] where continuous (float32 [B, A]), an index where discrete (int64 [B]) and indices
    where multi-discrete (int64 [B, A]). `discount` is gamma^n, and 0 where the episode *terminated*, never
    where it was merely truncated; `reward` is the n-step sum that belongs to it and `next_obs` the
    observation n steps on.

    For an algorithm with a `context` of K steps a row is a window: every column has a further axis, [B, K, ...],
    for the K steps of one episode that end at the row drawn, oldest first. Where the episode is younger than K
    steps, its first step stands in for the missing ones, and `mask` is false there.
    """

    obs: Tensor  # [B, *obs.shape]
    action: Tensor
    reward: Tensor  # [B] float32
    discount: Tensor  # [B] float32
    next_obs: Tensor  # [B, *obs.shape]
    next_action: Tensor = ABSENT  # the logged action at next_obs (undefined, zero, where discount is 0)
    return_to_go: Tensor = ABSENT  # [B] discounted, within the episode
    timestep: Tensor = ABSENT  # [B] int64, from 0 in each episode
    log_prob: Tensor = ABSENT  # [B] log b(a|s) of whoever acted
    advantage: Tensor = ABSENT  # [B]
    value: Tensor = ABSENT  # [B] V(s) when the action was taken
    value_target: Tensor = ABSENT  # [B] what V(s) should regress on
    weight: Tensor = ABSENT  # [B] how often a row counts, where not once
    mask: Tensor = ABSENT  # [B, K] bool, with windows only: which of its K steps are there


class Rollout(NamedTuple):
    """T steps of N environments under one policy, in time order."""

    obs: Tensor  # [T, N, *obs.shape]
    action: Tensor  # [T, N, ...] as drawn: not clipped to the bounds
    reward: Tensor  # [T, N]
    terminated: Tensor  # [T, N] bool
    truncated: Tensor  # [T, N] bool
    next_obs: Tensor  # [T, N, *obs.shape] the true successor, also at the end of an episode


@dataclass(frozen=True)
class ObsSpec:
    """One observation as the networks see it: a flat float32 vector, a uint8 image [channels, height, width],
    or, with `history` > 0, a window [history, *rest] of either, oldest first."""

    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"] = "float32"
    history: int = 0  # rows of the leading window axis; 0 means that there is no such axis

    @property
    def is_image(self) -> bool:
        """Whether one frame is a picture rather than a vector."""
        return len(self.shape) - (self.history > 0) == 3


@dataclass(frozen=True)
class ActionSpec:
    """Actions. Algorithms see continuous actions in [-1, 1]; `low` and `high` are the environment's own
    bounds."""

    kind: ActionKind
    shape: tuple[int, ...]  # (A,) continuous and multi-discrete, () discrete
    choices: tuple[int, ...] = ()  # choices of each discrete action: (K,) discrete, (K_1 … K_A) multi-discrete
    low: tuple[float, ...] = ()  # [A] continuous only
    high: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """Numbers in one action."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def limit(self) -> Tensor:
        """[A] float32: how far continuous actions reach. 1; infinity where a bound is missing, so that nothing is
        scaled or clipped."""
        bounds = zip(self.low, self.high, strict=True)
        return torch.tensor([1.0 if isfinite(high - low) else inf for low, high in bounds], dtype=torch.float32)

    def executed(self, action: Tensor) -> Tensor:
        """What an environment makes of actions [..., *shape]: continuous ones are clipped to `limit`."""
        if self.kind != "continuous":
            return action
        limit = self.limit.to(action.device)
        return action.clamp(-limit, limit)


@dataclass(frozen=True)
class Spec:
    """What a policy sees and may do."""

    obs: ObsSpec
    action: ActionSpec


@dataclass
class Steps:
    """Whole episodes laid end to end: the one form in which logged or recorded data travels.

    Arrays share their first axis (steps). An episode ends where `terminated | truncated`, and at the last
    row. `action` is already in the algorithms' units (see `Batch`).
    """

    obs: NDArray[np.float32] | NDArray[np.uint8]
    action: NDArray[np.float32] | NDArray[np.int64]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    next_obs: NDArray[np.float32] | NDArray[np.uint8]
    # Further columns of one number a step, for example log_prob, success.
    extra: dict[str, NDArray[Any]] = field(default_factory=lambda: {})

    def __len__(self) -> int:
        return len(self.reward)


class Episode(NamedTuple):
    """One finished episode."""

    env: int  # which environment of the vector
    total: float  # undiscounted return, in the environment's own reward
    length: int  # environment steps
    success: bool | None  # None where the environment does not say


class Source(Protocol):
    """Anything that hands out batches: a dataset, a replay buffer, a mixture of both."""

    def sample(self, batch_size: int) -> Batch:
        """Rows drawn uniformly with replacement, on the training device."""
        ...

    def draw(self, batch_size: int) -> Batch:
        """The same by tensor code alone, so that it can be part of a compiled graph."""
        ...

    def __len__(self) -> int: ...


class Policy(Protocol):
    """Anything that acts, in the algorithms' action units."""

    def act(self, obs: Tensor) -> Tensor:
        """[N, *obs.shape] -> the action to judge it by: no exploration noise."""
        ...

    def explore(self, obs: Tensor, step: int) -> Tensor:
        """[N, *obs.shape] -> the action to learn by; `step` counts environment steps so far (for
        schedules)."""
        ...


class Player(Protocol):
    """A policy at play in N environments side by side, with what it remembers of the episode in each."""

    def act(self, obs: Tensor) -> Tensor:
        """[N, *obs.shape] -> actions."""
        ...

    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """What was done [N, ...], what it earned [N], and where [N] a new episode begins."""
        ...


@dataclass
class Reactive:
    """At play with a policy that needs no memory."""

    policy: Policy
    stochastic: bool  # as it explores when its schedules have ended, else as it is judged

    def act(self, obs: Tensor) -> Tensor:
        """Ask the policy."""
        return self.policy.explore(obs, END) if self.stochastic else self.policy.act(obs)

    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """Nothing to remember."""


def at_play(policy: Policy, envs: int, *, stochastic: bool = False) -> Player:
    """The policy in so many environments; one with a memory has a method `player(envs, stochastic)`."""
    return cast(Any, policy).player(envs, stochastic) if remembers(policy) else Reactive(policy, stochastic)


def remembers(policy: Policy) -> bool:
    """Whether what it does depends on more than the observation."""
    return hasattr(policy, "player")


State = Mapping[str, object]  # tensors, numbers, strings, lists and dicts of them: loads with `weights_only=True`
