"""Logs in files of other programs, with a mapping of their columns, as `Steps`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from offrl.data import steps as episodes
from offrl.data.formats import read_columns, verify
from offrl.data.inference import ActionGuess, ActionSetting
from offrl.data.recipes import Preparation
from offrl.data.roles import NO_COLUMN, Columns, Parts, Roles
from offrl.data.spaces import default_keys, flatten_obs, observed_space, scale_action
from offrl.data.steps import Recording
from offrl.errors import UserError
from offrl.types import Steps

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FileData(Preparation):
    """A CSV, Parquet, NPZ or D4RL-style HDF5 file.

    Names of columns may hold `*`. Null tries the usual names, but for columns that are named for another role; `none`
    says that there is no such column.
    """

    path: Path
    size: int | None  # bytes that it should have
    sha256: str | None  # checksum that it should have
    header: tuple[str, ...] | None  # names of the columns of a CSV file without a header
    obs: str | tuple[str, ...] | None
    next_obs: str | tuple[str, ...] | None
    action: str | tuple[str, ...] | None
    reward: str | None
    terminated: str | None
    truncated: str | None
    episode: str | None  # what is equal within an episode
    order: str | None  # what grows within an episode: numbers or dates
    probability: str | None  # of the logged action, under whoever chose it
    log_prob: str | None  # its logarithm
    unmarked_end: Literal["terminated", "truncated"]  # what the end of an episode is without a flag
    action_kind: ActionSetting
    choices: int | None  # of each discrete action; null: the largest in the data, plus 1
    action_low: float | tuple[float, ...] | None  # bounds; null: ±1 if the data keep within, else the data's own
    action_high: float | tuple[float, ...] | None

    @property
    def name(self) -> str:
        return self.path.stem

    def cache(self) -> Path | None:
        return self.path.parent / ".offrl-cache"

    def elsewhere(self) -> Self:
        return replace(super().elsewhere(), path=Path())

    def read(self) -> Recording:
        """The file as a recording; what had to be guessed or repaired is in its metadata, as `notes`."""
        if self.path.is_file():
            verify(self.path, self.size, self.sha256)
        notes: list[str] = []
        return _Reading(self, read_columns(self.path, self.header, notes), notes).recording()


class _Reading:
    """The columns of one file on their way to `Steps`."""

    def __init__(self, recipe: FileData, columns: Columns, notes: list[str]) -> None:
        self.recipe = recipe
        self.notes = notes
        self.roles = Roles(recipe.path, columns, vars(recipe), self.notes)

    def recording(self) -> Recording:
        reward = self._reward()
        action = self.roles.join("action")
        if action is None:
            raise self.roles.none_found("action")
        total = self._same_length(reward, action)
        episode = self._episode()
        row_order = self._row_order(total, episode)
        terminated, truncated = self._ends(total, row_order, episode)
        obs = self.roles.observations("obs")
        if obs is None:
            raise self.roles.none_found("obs")
        following = self.roles.observations("next_obs")
        obs, following, known = self._successors(obs, following, total, row_order, terminated | truncated)
        known_bounds = self.recipe.action_low, self.recipe.action_high
        guess = ActionGuess(self.recipe.action_kind, self.recipe.choices, *known_bounds, self.notes)
        action_space = guess.space(action)
        observation_space = observed_space(obs)
        keys = tuple(self.recipe.obs_keys or default_keys(observation_space))
        steps = Steps(
            flatten_obs(observation_space, keys, _whole(obs)),
            scale_action(action_space, action[row_order]),
            reward[row_order],
            terminated,
            truncated,
            flatten_obs(observation_space, keys, _whole(following)),
            {**self._log_prob(row_order), **_left_out(obs, following, keys)},
        )
        kept = terminated | known
        steps = self._drop(steps, kept)
        for note in self.notes:
            log.info("%s: %s", self.recipe.path, note)
        metadata = {"source": str(self.recipe.path.name), "notes": self.notes, "inputs": self.roles.names("obs")}
        fingerprint = episodes.fingerprint(steps)
        return Recording(steps, observation_space, action_space, keys, metadata, fingerprint, row_order[kept])

    def _reward(self) -> NDArray[np.float32]:
        name = self.roles.one("reward")
        if len(self.roles.columns[name]) == 0:
            raise UserError(f"{self.recipe.path} has no rows")
        return self.roles.numbers(name).astype(np.float32)

    def _same_length(self, reward: NDArray[Any], action: NDArray[Any]) -> int:
        if reward.ndim != 1:
            raise UserError(
                f"rewards of {self.recipe.path} have shape {list(reward.shape)}: lay the episodes "
                "end to end, one reward a row"
            )
        self.roles.expect("action", action, len(reward))
        return len(reward)

    def _row_order(self, total: int, episode: NDArray[Any] | None) -> NDArray[np.int64]:
        """Rows in the order of episodes and time."""
        if episode is None:
            return self._in_time(total)
        order = self.roles.names("order")
        ids = np.unique(_sortable(episode), return_inverse=True)[1]
        self.roles.expect("episode", ids, total)
        first = np.zeros(ids.max(initial=0) + 1, np.int64)
        first[ids[::-1]] = np.arange(total)[::-1]
        rank = first[ids]  # episodes stay in the order in which they first occur
        if order:
            times = self.roles.times(order[0])
            self.roles.expect(order[0], times, total)
            return np.lexsort((times, rank))
        if (np.diff(rank) < 0).any():
            raise UserError(
                f"rows of different episodes alternate in {self.recipe.path}: name the column that orders "
                "them, dataset.order=…"
            )
        return np.arange(total)

    def _in_time(self, total: int) -> NDArray[np.int64]:
        """Rows in the order that is asked for, where nothing tells episodes apart: as they are, if none is."""
        name = self.recipe.order
        if name in (None, NO_COLUMN):
            return np.arange(total)
        times = self.roles.times(self.roles.one("order"))
        self.roles.expect(name, times, total)
        if len(np.unique(times)) < total:
            raise UserError(
                f"dataset.order={name}: it has the same value in several rows of {self.recipe.path}, and no column "
                "tells episodes apart: name that, dataset.episode=…"
            )
        return np.argsort(times)

    def _episode(self) -> NDArray[Any] | None:
        """What is equal within an episode, in every row; None where there is no such column."""
        names = self.roles.names("episode")
        return self.roles.complete("episode", names[0], self.roles.values(names[0])) if names else None

    def _ends(
        self, total: int, row_order: NDArray[np.int64], episode: NDArray[Any] | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        terminated, truncated = self.roles.flags("terminated", total), self.roles.flags("truncated", total)
        nothing = np.zeros(total, np.bool_)
        over = nothing.copy() if terminated is None else terminated[row_order]
        cut = nothing.copy() if truncated is None else truncated[row_order] & ~over
        if episode is not None:
            ids = episode[row_order]
            unmarked = np.append(ids[1:] != ids[:-1], True) & ~over & ~cut
            guess = self.recipe.unmarked_end if terminated is None else "truncated"
            (over if guess == "terminated" else cut)[unmarked] = True
            if unmarked.any():
                self.notes.append(f"{int(unmarked.sum()):,} episodes end without a flag: taken as {guess}")
        elif terminated is None and truncated is None:
            raise UserError(
                f"nothing in {self.recipe.path} says where episodes end: name a column with dataset.episode=…, "
                f"dataset.terminated=… or dataset.truncated=…; {self.roles.all()}"
            )
        cut[-1:] |= ~over[-1:]
        return over, cut

    def _successors(
        self,
        obs: Parts,
        following: Parts | None,
        total: int,
        row_order: NDArray[np.int64],
        done: NDArray[np.bool_],
    ) -> tuple[Parts, Parts, NDArray[np.bool_]]:
        """Observation and successor of each step, and which successors are known."""
        rows = {len(part) for part in obs.values()}
        count = int(done.sum())
        if following is not None and rows == {total}:
            for name, part in following.items():
                self.roles.expect(f"next_obs {name}".strip(), part, total)
            return _take(obs, row_order), _take(following, row_order), np.ones(total, np.bool_)
        if rows == {total + count} and count:  # every episode shows its last observation too
            self.notes.append(
                f"observations have one row more than actions in each of {count:,} episodes: taken as the last one"
            )
            at = np.arange(total) + np.cumsum(done) - done
            return _take(obs, at), _take(obs, at + 1), np.ones(total, np.bool_)
        if rows != {total}:
            raise UserError(
                f"{self.recipe.path} contradicts itself: {sorted(rows)} rows of observations beside {total:,} actions "
                f"in {count:,} episodes; there should be as many, or one more in each episode"
            )
        ordered = _take(obs, row_order)
        nearest = np.where(done, np.arange(total), np.minimum(np.arange(total) + 1, total - 1))
        return ordered, _take(ordered, nearest), ~done

    def _drop(self, steps: Steps, kept: NDArray[np.bool_]) -> Steps:
        """Leave out last steps whose successor nobody logged; the steps before them become the ends."""
        if kept.all():
            return steps
        self.notes.append(
            f"{int((~kept).sum()):,} last steps of truncated episodes are left out: their successor is not logged"
        )
        truncated = np.array(steps.truncated)
        lost = np.flatnonzero(~kept)
        before = lost[lost > 0] - 1
        done = steps.terminated | steps.truncated
        truncated[before[~done[before]]] = True
        named = episodes.arrays(steps) | {"truncated": truncated}
        return episodes.from_arrays({name: value[kept] for name, value in named.items()})

    def _log_prob(self, row_order: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        if names := self.roles.names("log_prob"):
            value = self.roles.numbers(names[0])
        elif names := self.roles.names("probability"):
            probability = self.roles.numbers(names[0])
            wrong = np.flatnonzero(~((probability > 0) & (probability <= 1)))
            if len(wrong):
                raise UserError(
                    f"row {wrong[0]} of {self.recipe.path}, counted from 0, has {names[0]}={probability[wrong[0]]:g}: "
                    f"the probability of what was done is above 0 and at most 1 (a density: dataset.log_prob); "
                    f"{len(wrong):,} rows are not"
                )
            value = np.log(probability)
        else:
            return {}
        self.roles.expect(names[0], value, len(row_order))
        return {"log_prob": value[row_order].astype(np.float32)}


def _sortable(ids: NDArray[Any]) -> NDArray[Any]:
    return ids.astype(str) if ids.dtype.kind == "O" else ids


def _take(parts: Parts, rows: NDArray[np.int64]) -> Parts:
    return {key: value[rows] for key, value in parts.items()}


def _whole(parts: Parts) -> NDArray[Any] | Parts:
    return parts.get("", parts)


def _left_out(obs: Parts, following: Parts, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Parts of Dict observations that the algorithms do not see, kept for writing the log elsewhere."""
    spare = [key for key in obs if key and key not in keys]
    return {f"obs/{key}": obs[key] for key in spare} | {f"next_obs/{key}": following[key] for key in spare}
