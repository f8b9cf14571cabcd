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
from offrl.data.spaces import (
    Space,
    action_spec,
    default_keys,
    flatten_obs,
    log_density_shift,
    observed_space,
    scale_action,
)
from offrl.data.steps import Recording, some_rows
from offrl.errors import UserError
from offrl.types import Steps

EXACT_IDS = 1 << 53  # float64 holds every integer below
LOG_ROUNDING = 1e-6  # by which the logarithm of a probability may come out above 0

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
    probability: str | None  # of the logged action, under whoever chose it; a density in the units of the log
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
        chained = following is None and all(len(part) == total for part in obs.values())
        obs, following = self._successors(obs, following, total, row_order, terminated | truncated)
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
            {**self._log_prob(row_order, action_space), **_left_out(obs, following, keys)},
        )
        if chained:
            steps, row_order = self._without_ends(steps, truncated), row_order[~truncated]
        columns = self.roles.told()
        for note in (f"columns {columns}", *self.notes):
            log.info("%s: %s", self.recipe.path, note)
        metadata = {
            "source": str(self.recipe.path.name),
            "columns": columns,
            "notes": self.notes,
            "inputs": self.roles.names("obs"),
        }
        fingerprint = episodes.fingerprint(steps)
        return Recording(steps, observation_space, action_space, keys, metadata, fingerprint, row_order, chained)

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
            rows = np.lexsort((times, rank))
            self._look_at_times(order[0], times[rows], rank[rows], rows)
            return rows
        if (np.diff(rank) < 0).any():
            raise UserError(
                f"rows of different episodes alternate in {self.recipe.path}: name the column that orders "
                "them, dataset.order=…"
            )
        return np.arange(total)

    def _look_at_times(self, name: str, times: NDArray[Any], rank: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """Refuse ties within an episode, and note where a counter skips; `rows` [steps] are those of the file."""
        later = np.flatnonzero(rank[1:] == rank[:-1]) + 1
        tied = later[times[later] == times[later - 1]]
        if len(tied):
            raise UserError(
                f"{len(tied):,} rows of {self.recipe.path} have the same {name} as another row of their episode "
                f"({some_rows(rows[tied])}), so nothing says which comes first: remove rows that are there twice, or "
                f"name another column, dataset.order=…, or none if the rows are in order, dataset.order={NO_COLUMN}"
            )
        if times.dtype.kind not in "iu" or not len(later):
            return
        steps = np.subtract(times[later], times[later - 1], dtype=np.int64)
        unit = np.gcd.reduce(steps)
        skipped = later[steps > unit]
        if len(skipped) and np.median(steps) <= 2 * unit:  # else it is no counter but a clock
            self.notes.append(
                f"{name} skips values within episodes before {len(skipped):,} rows ({some_rows(rows[skipped])}): are "
                "rows missing?"
            )

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
        if not names:
            return None
        ids = self.roles.complete("episode", names[0], self.roles.values(names[0]))
        if ids.dtype.kind == "f" and np.abs(ids).max(initial=0) >= EXACT_IDS:
            raise UserError(
                f"column {names[0]} of {self.recipe.path} has floating-point numbers up to {np.abs(ids).max():.17g}, "
                "which may be several ids rounded to one: store ids as text, such as 'e123', or as integers"
            )
        return ids

    def _ends(
        self, total: int, row_order: NDArray[np.int64], episode: NDArray[Any] | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        terminated, truncated = self.roles.flags("terminated", total), self.roles.flags("truncated", total)
        nothing = np.zeros(total, np.bool_)
        over = nothing.copy() if terminated is None else terminated[row_order]
        cut = nothing.copy() if truncated is None else truncated[row_order] & ~over
        if episode is not None:
            ids = episode[row_order]
            last = np.append(ids[1:] != ids[:-1], True)
            early, unmarked = (over | cut) & ~last, last & ~over & ~cut
            if early.any():
                self.notes.append(
                    f"{int(early.sum()):,} ends are flagged before the last row of their episode "
                    f"({some_rows(row_order[early])}): taken as ends of episodes of their own, but flags that slipped "
                    "by a row look like this"
                )
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
    ) -> tuple[Parts, Parts]:
        """Observation and successor of each step; without anything better, the last one of an episode is its own."""
        rows = {len(part) for part in obs.values()}
        count = int(done.sum())
        if following is not None and rows == {total}:
            for name, part in following.items():
                self.roles.expect(f"next_obs {name}".strip(), part, total)
            return _take(obs, row_order), _take(following, row_order)
        if rows == {total + count} and count:  # every episode shows its last observation too
            if (row_order[1:] < row_order[:-1]).any():
                raise UserError(
                    f"{self.recipe.path} has its steps out of order and one observation more than actions in each "
                    "episode, so nothing says which observation belongs to which step: store the steps in order"
                )
            self.notes.append(
                f"observations have one row more than actions in each of {count:,} episodes: taken as the last one"
            )
            at = np.arange(total) + np.cumsum(done) - done
            return _take(obs, at), _take(obs, at + 1)
        if rows != {total}:
            raise UserError(
                f"{self.recipe.path} contradicts itself: {sorted(rows)} rows of observations beside {total:,} actions "
                f"in {count:,} episodes; there should be as many, or one more in each episode"
            )
        ordered = _take(obs, row_order)
        nearest = np.where(done, np.arange(total), np.minimum(np.arange(total) + 1, total - 1))
        return ordered, _take(ordered, nearest)

    def _without_ends(self, steps: Steps, lost: NDArray[np.bool_]) -> Steps:
        """Leave out last steps whose successor nobody logged; the steps before them become the ends."""
        if not lost.any():
            return steps
        self.notes.append(
            f"{int(lost.sum()):,} last steps of truncated episodes are left out: their successor is not logged"
        )
        return episodes.without_ends(steps, lost)

    def _log_prob(self, row_order: NDArray[np.int64], action_space: Space) -> dict[str, NDArray[np.float32]]:
        """Of the logged actions [steps], where there is such a column; densities in the algorithms' units."""
        role = self._likelihood_role()
        if role is None:
            return {}
        name = self.roles.names(role)[0]
        value = self.roles.numbers(name)
        self.roles.expect(name, value, len(row_order))
        if role == "probability":
            right = "a probability is above 0 and at most 1 (a density: dataset.log_prob)"
            self._refuse_likelihoods(name, value, ~((value > 0) & (value <= 1)), right)
            value = np.log(value)
        elif action_spec(action_space).kind != "continuous":
            right = "the logarithm of a probability is at most 0 (a probability: dataset.probability)"
            self._refuse_likelihoods(name, value, value > LOG_ROUNDING, right)
        return {"log_prob": (value[row_order] + log_density_shift(action_space)).astype(np.float32)}

    def _likelihood_role(self) -> str | None:
        """The role that says how likely the actions were; one that the config names comes before one that is found."""
        roles = "log_prob", "probability"
        named = [role for role in roles if vars(self.recipe)[role] not in (None, NO_COLUMN)]
        if len(named) > 1:
            raise UserError("dataset.probability and dataset.log_prob say the same: name only one of them")
        return next((role for role in (*named, *roles) if self.roles.names(role)), None)

    def _refuse_likelihoods(self, name: str, value: NDArray[Any], wrong: NDArray[np.bool_], right: str) -> None:
        rows = np.flatnonzero(wrong)
        if len(rows):
            raise UserError(
                f"row {rows[0]} of {self.recipe.path}, counted from 0, has {name}={value[rows[0]]:g}: {right}; "
                f"{len(rows):,} rows are wrong"
            )


def _sortable(ids: NDArray[Any]) -> NDArray[Any]:
    """Ids that can be compared; `str` also takes bytes, which text is that is not UTF-8."""
    return np.array(list(map(str, ids))) if ids.dtype.kind == "O" else ids


def _take(parts: Parts, rows: NDArray[np.int64]) -> Parts:
    return {key: value[rows] for key, value in parts.items()}


def _whole(parts: Parts) -> NDArray[Any] | Parts:
    return parts.get("", parts)


def _left_out(obs: Parts, following: Parts, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Parts of Dict observations that the algorithms do not see, kept for writing the log elsewhere."""
    spare = [key for key in obs if key and key not in keys]
    return {f"obs/{key}": obs[key] for key in spare} | {f"next_obs/{key}": following[key] for key in spare}
