"""Who acts while it is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from offrl.envs.controllers import Act, Controller
from offrl.errors import UserError
from offrl.types import ActionSpec, Policy


class Choice(NamedTuple):
    """What an actor does, and how likely that was."""

    action: Tensor  # [N, *action.shape] in the algorithms' units
    log_prob: Tensor | None  # [N], None where the actor cannot say


class Actor(Protocol):
    """Anything that acts while it is recorded."""

    def act(self, obs: Tensor) -> Choice:
        """[N, *obs.shape] -> actions."""
        ...

    def restart(self, envs: Sequence[int]) -> None:
        """New episodes begin in these environments."""
        ...


class Uniform:
    """Every action alike."""

    def __init__(self, spec: ActionSpec, generator: torch.Generator) -> None:
        self._spec, self._generator = spec, generator
        values = [2.0] * spec.size if spec.kind == "continuous" else [float(count) for count in spec.choices]
        self._log_prob = -float(np.log(values).sum())

    def act(self, obs: Tensor) -> Choice:
        """Draw from all actions."""
        return Choice(draw(self._spec, len(obs), self._generator), torch.full((len(obs),), self._log_prob))

    def restart(self, envs: Sequence[int]) -> None:
        """Nothing to forget."""


class Scripted:
    """A hand-written controller."""

    def __init__(self, controller: Act) -> None:
        self._controller = controller

    def act(self, obs: Tensor) -> Choice:
        """Ask the controller."""
        return Choice(torch.from_numpy(np.ascontiguousarray(self._controller(obs.numpy()))), None)

    def restart(self, envs: Sequence[int]) -> None:
        """Tell the controller."""
        if isinstance(self._controller, Controller):
            self._controller.restart(envs)


class Agent:
    """A trained policy; `stochastic` as it explores, else as it is judged."""

    def __init__(self, policy: Policy, stochastic: bool) -> None:
        self._policy, self._stochastic = policy, stochastic
        self._step = 0

    @torch.inference_mode()
    def act(self, obs: Tensor) -> Choice:
        """Ask the policy."""
        self._step += len(obs)
        action = self._policy.explore(obs, self._step) if self._stochastic else self._policy.act(obs)
        return Choice(action, None)

    def restart(self, envs: Sequence[int]) -> None:
        """Nothing to forget."""


class Noisy:
    """Another actor with Gaussian noise on continuous actions, or, in a share of the steps, a discrete one at random.

    Gaussian noise has the standard deviation `noise` in the algorithms' units, and what it gives is clipped to [-1, 1].
    """

    def __init__(self, actor: Actor, spec: ActionSpec, noise: float, generator: torch.Generator) -> None:
        if noise < 0.0 or (spec.kind != "continuous" and noise > 1.0):
            raise UserError(f"noise={noise}: a standard deviation (continuous actions) or a probability (discrete)")
        self._actor, self._spec, self._noise, self._generator = actor, spec, noise, generator

    def act(self, obs: Tensor) -> Choice:
        """Ask the actor, and disturb what it says."""
        action = self._actor.act(obs).action
        if self._spec.kind == "continuous":
            noise = torch.randn(action.shape, generator=self._generator)
            return Choice((action + self._noise * noise).clamp(-1.0, 1.0), None)
        strays = torch.rand(len(action), generator=self._generator) < self._noise
        other = draw(self._spec, len(action), self._generator)
        taken = torch.where(strays.reshape(-1, *(1,) * (action.ndim - 1)), other, action)
        return Choice(taken, self._log_prob(taken, action))

    def restart(self, envs: Sequence[int]) -> None:
        """Tell the actor."""
        self._actor.restart(envs)

    def _log_prob(self, taken: Tensor, greedy: Tensor) -> Tensor:
        same = (taken == greedy).reshape(len(taken), -1).all(dim=1)
        return ((1.0 - self._noise) * same + self._noise / float(np.prod(self._spec.choices))).log()


def draw(spec: ActionSpec, count: int, generator: torch.Generator) -> Tensor:
    """`count` actions, uniformly."""
    uniform = torch.rand(count, *spec.shape, generator=generator)
    if spec.kind == "continuous":
        return uniform * 2.0 - 1.0
    choices = torch.tensor(spec.choices).reshape(spec.shape)
    return (uniform * choices).long()
