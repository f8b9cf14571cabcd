"""Who acts while it is recorded."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from offrl.envs.controllers import Act, Controller
from offrl.errors import UserError
from offrl.nn.heads.gaussian import clipped
from offrl.types import ActionSpec, Player, Policy, at_play, remembers


class Choice(NamedTuple):
    """What an actor does, and how likely that was."""

    action: Tensor  # [N, *action.shape] in the algorithms' units
    log_prob: Tensor | None  # [N], None where the actor cannot say


class Actor(Protocol):
    """Anything that acts while it is recorded."""

    def act(self, obs: Tensor) -> Choice:
        """[N, *obs.shape] -> actions."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether it always does the same in the same place."""
        ...

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor | None:
        """[N] how likely any action is; None where the actor cannot say."""
        ...

    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """What was done [N, ...], what it earned [N], and where [N] an episode ended."""
        ...

    def restart(self, envs: Sequence[int]) -> None:
        """New episodes begin in these environments."""
        ...


class Uniform:
    """Every action alike."""

    def __init__(self, spec: ActionSpec, generator: torch.Generator) -> None:
        self._spec, self._generator, self.fixed = spec, generator, False
        values = [2.0] * spec.size if spec.kind == "continuous" else [float(count) for count in spec.choices]
        self._log_prob = -float(np.log(values).sum())

    def act(self, obs: Tensor) -> Choice:
        """Draw from all actions."""
        action = draw(self._spec, len(obs), self._generator)
        return Choice(action, self.log_prob(obs, action))

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """The same for all actions."""
        return torch.full((len(obs),), self._log_prob)

    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """Nothing to remember."""

    def restart(self, envs: Sequence[int]) -> None:
        """Nothing to forget."""


class Scripted:
    """A hand-written controller."""

    def __init__(self, controller: Act) -> None:
        self._controller, self.fixed = controller, True

    def act(self, obs: Tensor) -> Choice:
        """Ask the controller."""
        return Choice(torch.from_numpy(np.ascontiguousarray(self._controller(obs.numpy()))), None)

    def log_prob(self, obs: Tensor, action: Tensor) -> None:
        """It cannot say."""

    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """Nothing to remember."""

    def restart(self, envs: Sequence[int]) -> None:
        """Tell the controller."""
        if isinstance(self._controller, Controller):
            self._controller.restart(envs)


class Learned(Policy, Protocol):
    """A trained policy that may know how likely its explorations are."""

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """[N]; raises `UserError` where there is no density."""
        ...


class Agent:
    """A trained policy; `stochastic` as it explores when its schedules have ended, else as it is judged."""

    def __init__(self, policy: Learned, stochastic: bool) -> None:
        self._policy, self._stochastic, self.fixed = policy, stochastic, not (stochastic or remembers(policy))
        self._player: Player | None = None

    @torch.inference_mode()
    def act(self, obs: Tensor) -> Choice:
        """Ask the policy."""
        if self._player is None:
            self._player = at_play(self._policy, len(obs), stochastic=self._stochastic)
        action = self._player.act(obs)
        if not self._stochastic:
            return Choice(action, None)
        return Choice(action, self.log_prob(obs, action))

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor | None:
        """None where there is no density."""
        with contextlib.suppress(UserError):
            return self._policy.log_prob(obs, action) if self._stochastic else None
        return None

    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """Let the policy remember."""
        if self._player is not None:
            self._player.observe(action, reward, over)

    def restart(self, envs: Sequence[int]) -> None:
        """Nothing to forget."""


class Noisy:
    """Another actor with Gaussian noise on continuous actions, or, in a share of the steps, a discrete one at random.

    Gaussian noise has the standard deviation `noise` in the algorithms' units, and what it gives is clipped as
    environments clip it.
    """

    def __init__(self, actor: Actor, spec: ActionSpec, noise: float, generator: torch.Generator) -> None:
        if noise < 0.0 or (spec.kind != "continuous" and noise > 1.0):
            raise UserError(f"noise={noise}: a standard deviation (continuous actions) or a probability (discrete)")
        self._actor, self._spec, self._noise, self._generator = actor, spec, noise, generator
        self.fixed = actor.fixed and noise == 0.0

    def act(self, obs: Tensor) -> Choice:
        """Ask the actor, and disturb what it says."""
        meant = self._actor.act(obs)
        if self._spec.kind == "continuous":
            noise = torch.randn(meant.action.shape, generator=self._generator)
            action = self._spec.executed(meant.action + self._noise * noise)
            # Around one action the noise has a density; around a random one it is an integral that nobody knows.
            if not self._actor.fixed or self._noise == 0.0:
                return Choice(action, meant.log_prob if self._noise == 0.0 else None)
            spread = torch.full_like(meant.action, math.log(self._noise))
            return Choice(action, clipped(action, meant.action, spread, self._spec.limit).sum(-1))
        strays = torch.rand(len(meant.action), generator=self._generator) < self._noise
        other = draw(self._spec, len(meant.action), self._generator)
        taken = torch.where(strays.reshape(-1, *(1,) * (meant.action.ndim - 1)), other, meant.action)
        same = (taken == meant.action).reshape(len(taken), -1).all(dim=1).float().log()
        likely = same if self._actor.fixed else self._actor.log_prob(obs, taken)
        if likely is None:
            return Choice(taken, None)
        return Choice(taken, ((1.0 - self._noise) * likely.exp() + self._noise / math.prod(self._spec.choices)).log())

    def log_prob(self, obs: Tensor, action: Tensor) -> None:
        """Not without disturbing the actor."""

    def observe(self, action: Tensor, reward: Tensor, over: Tensor) -> None:
        """Tell the actor what was really done."""
        self._actor.observe(action, reward, over)

    def restart(self, envs: Sequence[int]) -> None:
        """Tell the actor."""
        self._actor.restart(envs)


def draw(spec: ActionSpec, count: int, generator: torch.Generator) -> Tensor:
    """`count` actions, uniformly."""
    uniform = torch.rand(count, *spec.shape, generator=generator)
    if spec.kind == "continuous":
        return uniform * 2.0 - 1.0
    choices = torch.tensor(spec.choices).reshape(spec.shape)
    return (uniform * choices).long()
