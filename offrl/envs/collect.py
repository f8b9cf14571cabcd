"""Recording: whoever acts, whole episodes laid end to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from offrl.envs.controllers import Act, Controller
from offrl.envs.vector import Transition, VectorEnv
from offrl.errors import UserError
from offrl.types import ActionSpec, Policy, Steps


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


class _Tape:
    """Rows of N environments in time order, in arrays that grow by doubling."""

    def __init__(self) -> None:
        self._columns: dict[str, NDArray[Any]] = {}
        self._length = 0

    def add(self, row: dict[str, Tensor]) -> None:
        if not self._columns:
            self._columns = {name: np.empty((256, *value.shape), value.numpy().dtype) for name, value in row.items()}
        for name, value in row.items():
            column = self._columns[name]
            if self._length == len(column):
                column = self._columns[name] = np.concatenate([column, np.empty_like(column)])
            column[self._length] = value.numpy()
        self._length += 1

    def lay_out(self, lengths: Sequence[int]) -> dict[str, NDArray[Any]]:
        """The first so many rows of each environment, one environment after the other."""
        columns = {name: column[: self._length] for name, column in self._columns.items()}
        return {
            name: np.concatenate([column[:length, env] for env, length in enumerate(lengths)])
            for name, column in columns.items()
        }


def rollout_steps(env: VectorEnv, actor: Actor, *, steps: int | None = None, episodes: int | None = None) -> Steps:
    """Record exactly `steps` steps, or exactly `episodes` whole episodes, from fresh episodes on.

    Each environment gives an equal share. Where `steps` stop within an episode, it is marked as truncated there. Of a
    history window the newest observation is kept. `extra` has `log_prob` where the actor knows it and `success` where
    the environment reports it: true at the last step of an episode that succeeded at any of its steps.

    Raises:
        UserError: not exactly one of `steps` and `episodes` is given, or it is not positive.
    """
    if (steps is None) == (episodes is None) or (steps or episodes or 0) < 1:
        raise UserError(f"steps={steps}, episodes={episodes}: give one of them, at least 1")
    total = steps if steps is not None else int(episodes or 0)
    quota = [total // env.num_envs + (number < total % env.num_envs) for number in range(env.num_envs)]
    lengths = [0] * env.num_envs
    tape = _Tape()
    obs = env.reset()
    actor.restart(range(env.num_envs))
    with tqdm(total=total, unit="step" if steps else "episode", disable=None) as bar:
        while any(quota):
            choice = actor.act(obs)
            transition = env.step(choice.action)
            tape.add(_row(env, obs, choice, transition))
            actor.restart([episode.env for episode in transition.finished])
            ended = {episode.env for episode in transition.finished}
            for number in [number for number, left in enumerate(quota) if left]:
                lengths[number] += 1
                done = 1 if steps is not None else int(number in ended)
                quota[number] -= done
                bar.update(done)
            obs = transition.obs
    return _steps(tape.lay_out(lengths), lengths)


def _row(env: VectorEnv, obs: Tensor, choice: Choice, transition: Transition) -> dict[str, Tensor]:
    newest = (lambda window: window[:, -1]) if env.spec.obs.history else (lambda frame: frame)
    row = {
        "obs": newest(obs),
        "action": choice.action.clamp(-1.0, 1.0) if env.spec.action.kind == "continuous" else choice.action,
        "reward": transition.reward,
        "terminated": transition.terminated,
        "truncated": transition.truncated,
        "next_obs": newest(transition.next_obs),
        "success": torch.zeros(env.num_envs, dtype=torch.int8),  # 0 not known, 1 failed, 2 succeeded
    }
    for episode in transition.finished:
        if episode.success is not None:
            row["success"][episode.env] = 1 + int(episode.success)
    if choice.log_prob is not None:
        row["log_prob"] = choice.log_prob
    return row


def _steps(columns: dict[str, NDArray[Any]], lengths: Sequence[int]) -> Steps:
    last = np.cumsum([length for length in lengths if length]) - 1  # where an environment's share stops
    columns["truncated"][last] |= ~columns["terminated"][last]
    success = columns.pop("success")
    extra = {"log_prob": columns.pop("log_prob")} if "log_prob" in columns else {}
    if success.any():
        extra["success"] = success == 2
    return Steps(**columns, extra=extra)
