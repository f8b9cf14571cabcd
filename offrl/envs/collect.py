"""Recording: whoever acts, whole episodes laid end to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from offrl.envs.actors import Actor, Choice
from offrl.envs.vector import Transition, VectorEnv
from offrl.errors import UserError
from offrl.types import Steps


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
            actor.observe(choice.action, transition.reward, transition.terminated | transition.truncated)
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
        "action": env.spec.action.executed(choice.action),
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
