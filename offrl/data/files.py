"""Logs in files of other programs, with a mapping of their columns, as `Steps`."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from offrl.data import steps as episodes
from offrl.data.formats import read_columns, verify
from offrl.data.recipes import Preparation
from offrl.data.spaces import Space, default_keys, flatten_obs, scale_action
from offrl.data.steps import Recording
from offrl.errors import UserError
from offrl.types import Steps

Columns = Mapping[str, NDArray[Any]]
Parts = dict[str, NDArray[Any]]  # of a Dict observation by key; a plain one is its own part, of key ""

# What a column may be called where the config names none, the likeliest first; * stands for anything.
USUAL = {
    "obs": (
        "observations",
        "observations/*",
        "obs",
        "obs_*",
        "observation_*",
        "observation",
        "state_*",
        "states",
        "s_*",
    ),
    "next_obs": (
        "next_observations",
        "next_observations/*",
        "next_obs",
        "next_obs_*",
        "next_observation_*",
        "next_state_*",
    ),
    "action": ("actions", "action", "action_*", "act_*", "a_*"),
    "reward": ("rewards", "reward", "r"),
    "terminated": ("terminals", "terminations", "terminated", "terminal", "dones", "done"),
    "truncated": ("timeouts", "truncations", "truncated", "timeout"),
    "episode": ("episode", "episode_id", "trajectory", "trajectory_id", "session", "session_id"),
    "order": ("step", "timestep", "t", "time", "timestamp"),
    "log_prob": ("infos/action_log_probs", "log_prob", "log_probs", "logprob"),
    "probability": ("probability", "propensity", "behavior_probability"),
}
EXACT = 1 << 24  # float32 holds every integer below

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FileData(Preparation):
    """A CSV, Parquet, NPZ or D4RL-style HDF5 file. Names of columns may hold `*`; null tries the usual names."""

    path: Path
    size: int | None  # bytes that it should have
    sha256: str | None  # checksum that it should have
    header: tuple[str, ...] | None  # names of the columns of a CSV file without a header
    obs: tuple[str, ...] | None
    next_obs: tuple[str, ...] | None
    action: tuple[str, ...] | None
    reward: str | None
    terminated: str | None
    truncated: str | None
    episode: str | None  # what is equal within an episode
    order: str | None  # what grows within an episode
    probability: str | None  # of the logged action, under whoever chose it
    log_prob: str | None  # its logarithm
    unmarked_end: Literal["terminated", "truncated"]  # what the end of an episode is without a flag
    action_kind: Literal["infer", "continuous", "discrete", "multi_discrete"]
    choices: int | None  # of each discrete action; null: the largest in the data, plus 1
    action_low: float | tuple[float, ...] | None  # bounds; null: ±1 if the data keep within, else the data's own
    action_high: float | tuple[float, ...] | None

    @property
    def name(self) -> str:
        return self.path.stem

    def cache(self) -> Path | None:
        return self.path.parent / ".offrl-cache"

    def read(self) -> Recording:
        """The file as a recording; what had to be guessed or repaired is in its metadata, as `notes`."""
        if self.path.is_file():
            verify(self.path, self.size, self.sha256)
        return _Reading(self, read_columns(self.path, self.header)).recording()


class _Reading:
    """The columns of one file on their way to `Steps`."""

    def __init__(self, recipe: FileData, columns: Columns) -> None:
        self.recipe = recipe
        self.columns = columns
        self.notes: list[str] = []

    def recording(self) -> Recording:
        reward = self._numbers(self._one("reward")).astype(np.float32)
        action = self._join("action")
        if action is None:
            raise self._none_found("action")
        total = self._same_length(reward, action)
        row_order = self._row_order(total)
        terminated, truncated = self._ends(total, row_order)
        obs = self._observations("obs")
        if obs is None:
            raise self._none_found("obs")
        following = self._observations("next_obs")
        obs, following, known = self._successors(obs, following, total, row_order, terminated | truncated)
        action_space = self._action_space(action)
        observation_space = _observation_space(obs)
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
        steps = self._drop(steps, terminated | known)
        for note in self.notes:
            log.info("%s: %s", self.recipe.path, note)
        metadata = {"source": str(self.recipe.path.name), "notes": self.notes}
        return Recording(steps, observation_space, action_space, keys, metadata, episodes.fingerprint(steps))

    # Columns by role ------------------------------------------------------------------------------------------------

    def _names(self, role: str) -> list[str]:
        """Columns of a role: those that the config asks for, or the first usual name that there is."""
        wanted: str | Sequence[str] | None = getattr(self.recipe, role)
        if wanted is not None:
            patterns = [wanted] if isinstance(wanted, str) else list(wanted)
            found = [self._matching(pattern) for pattern in patterns]
            for pattern, names in zip(patterns, found, strict=True):
                if not names:
                    raise UserError(f"dataset.{role}={pattern}: no such column; {self._all()}")
            return [name for names in found for name in names]
        return next((names for pattern in USUAL[role] if (names := self._matching(pattern))), [])

    def _matching(self, pattern: str) -> list[str]:
        names = [name for name in self.columns if fnmatch.fnmatchcase(name, pattern)]
        return sorted(names, key=_natural) if "*" in pattern else names

    def _all(self) -> str:
        return f"the columns of {self.recipe.path} are {', '.join(self.columns)}"

    def _none_found(self, role: str) -> UserError:
        return UserError(f"no column is known as {role}: name it with dataset.{role}=…; {self._all()}")

    def _one(self, role: str) -> str:
        names = self._names(role)
        if len(names) != 1:
            raise self._none_found(role)
        return names[0]

    def _numbers(self, name: str) -> NDArray[Any]:
        values = self.columns[name]
        if values.dtype.kind not in "biuf":
            raise UserError(f"column {name} of {self.recipe.path} is not numbers (it begins with {values.ravel()[:1]})")
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.dtype.kind in "iu" and values.size and int(np.abs(values).max()) >= EXACT:
            self.notes.append(f"{name} has whole numbers above 2^24, which float32 rounds")
        return values

    def _flags(self, role: str, total: int) -> NDArray[np.bool_] | None:
        names = self._names(role)
        if not names:
            return None
        values = self._numbers(names[0])
        self._expect(names[0], values, total)
        if not np.isin(values, (0, 1)).all():
            raise UserError(f"column {names[0]} of {self.recipe.path} should be true or false (0 or 1) only")
        return values.astype(np.bool_)

    def _join(self, role: str) -> NDArray[Any] | None:
        """The columns of a role as one array, side by side where they are several."""
        names = self._names(role)
        values = [self._numbers(name) for name in names]
        if not values:
            return None
        return values[0] if len(values) == 1 else np.stack(values, axis=1)

    def _observations(self, role: str) -> Parts | None:
        names = self._names(role)
        if names and all("/" in name for name in names):
            return {name.rpartition("/")[2]: _as_floats(self._numbers(name)) for name in names}
        joined = self._join(role)
        return None if joined is None else {"": _as_floats(joined if joined.ndim > 1 else joined[:, None])}

    # Rows -----------------------------------------------------------------------------------------------------------

    def _same_length(self, reward: NDArray[Any], action: NDArray[Any]) -> int:
        if reward.ndim != 1:
            raise UserError(
                f"rewards of {self.recipe.path} have shape {list(reward.shape)}: lay the episodes "
                "end to end, one reward a row"
            )
        self._expect("action", action, len(reward))
        if len(reward) == 0:
            raise UserError(f"{self.recipe.path} has no rows")
        return len(reward)

    def _expect(self, name: str, values: NDArray[Any], total: int) -> None:
        if len(values) != total:
            raise UserError(f"{self.recipe.path} contradicts itself: {name} has {len(values):,} rows, reward {total:,}")

    def _row_order(self, total: int) -> NDArray[np.int64]:
        """Rows in the order of episodes and time."""
        episode, order = self._names("episode"), self._names("order")
        if not episode:
            return np.arange(total)
        ids = np.unique(_sortable(self.columns[episode[0]]), return_inverse=True)[1]
        self._expect(episode[0], ids, total)
        first = np.zeros(ids.max(initial=0) + 1, np.int64)
        first[ids[::-1]] = np.arange(total)[::-1]
        rank = first[ids]  # episodes stay in the order in which they first occur
        if order:
            return np.lexsort((self._numbers(order[0]), rank))
        if (np.diff(rank) < 0).any():
            raise UserError(
                f"rows of different episodes alternate in {self.recipe.path}: name the column that orders "
                "them, dataset.order=…"
            )
        return np.arange(total)

    def _ends(self, total: int, row_order: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        terminated, truncated = self._flags("terminated", total), self._flags("truncated", total)
        nothing = np.zeros(total, np.bool_)
        over = nothing.copy() if terminated is None else terminated[row_order]
        cut = nothing.copy() if truncated is None else truncated[row_order] & ~over
        if episode := self._names("episode"):
            ids = self.columns[episode[0]][row_order]
            unmarked = np.append(ids[1:] != ids[:-1], True) & ~over & ~cut
            guess = self.recipe.unmarked_end if terminated is None else "truncated"
            (over if guess == "terminated" else cut)[unmarked] = True
            if unmarked.any():
                self.notes.append(f"{int(unmarked.sum()):,} episodes end without a flag: taken as {guess}")
        elif terminated is None and truncated is None:
            raise UserError(
                f"nothing in {self.recipe.path} says where episodes end: name a column with dataset.episode=…, "
                f"dataset.terminated=… or dataset.truncated=…; {self._all()}"
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
                self._expect(f"next_obs {name}".strip(), part, total)
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

    # Spaces ---------------------------------------------------------------------------------------------------------

    def _action_space(self, action: NDArray[Any]) -> Space:
        kind = self.recipe.action_kind
        if kind == "infer":
            kind = self._infer_kind(action)
        match kind:
            case "discrete":
                return spaces.Discrete(self._choices(action))
            case "multi_discrete":
                wide = action.reshape(len(action), -1)
                return spaces.MultiDiscrete([self._choices(wide[:, i]) for i in range(wide.shape[1])])
            case "continuous":
                return self._box(action.reshape(len(action), -1))

    def _infer_kind(self, action: NDArray[Any]) -> Literal["continuous", "discrete"]:
        whole = action.dtype.kind in "biu"
        single = action.ndim == 1
        if whole and single and action.min() >= 0:
            self.notes.append(
                "actions are whole numbers in one column: taken as discrete (else dataset.action_kind=continuous)"
            )
            return "discrete"
        if whole:
            self.notes.append(
                "actions are whole numbers where continuous ones are expected: were they rounded? "
                "(or dataset.action_kind=multi_discrete)"
            )
        elif single and np.array_equal(action, np.round(action)):
            self.notes.append("actions are continuous, but all of them whole: dataset.action_kind=discrete?")
        return "continuous"

    def _choices(self, action: NDArray[Any]) -> int:
        if not np.array_equal(action, np.round(action)) or action.min() < 0:
            raise UserError(
                f"discrete actions in {self.recipe.path} must be 0, 1, 2 …; they are {action.min()} … {action.max()}"
            )
        return self.recipe.choices or int(action.max()) + 1

    def _box(self, action: NDArray[Any]) -> spaces.Box:
        size = action.shape[1]
        low, high = action.min(axis=0), action.max(axis=0)
        within = bool((low >= -1).all() and (high <= 1).all())
        given = self.recipe.action_low, self.recipe.action_high
        if given == (None, None) and not within:
            self.notes.append(
                f"bounds of actions taken from the data, {low} … {high}: or give dataset.action_low, action_high"
            )
        bounds = [
            np.broadcast_to(np.asarray((found if not within else unit) if chosen is None else chosen, np.float32), size)
            for chosen, found, unit in zip(given, (low, high), (-1.0, 1.0), strict=True)
        ]
        return spaces.Box(bounds[0].copy(), bounds[1].copy(), dtype=np.float32)

    def _log_prob(self, row_order: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        if names := self._names("log_prob"):
            value = self._numbers(names[0])
        elif names := self._names("probability"):
            probability = self._numbers(names[0])
            if not ((probability > 0) & (probability <= 1)).all():
                raise UserError(
                    f"column {names[0]} of {self.recipe.path} should be probabilities in (0, 1] of what was done"
                )
            value = np.log(probability)
        else:
            return {}
        self._expect(names[0], value, len(row_order))
        return {"log_prob": value[row_order].astype(np.float32)}


def _sortable(ids: NDArray[Any]) -> NDArray[Any]:
    return ids.astype(str) if ids.dtype.kind == "O" else ids


def _natural(name: str) -> tuple[str, int]:
    """obs_10 comes after obs_9."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)


def _as_floats(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.dtype == np.uint8 and values.ndim > 2 else values.astype(np.float32, copy=False)


def _take(parts: Parts, rows: NDArray[np.int64]) -> Parts:
    return {key: value[rows] for key, value in parts.items()}


def _whole(parts: Parts) -> NDArray[Any] | Parts:
    return parts.get("", parts)


def _left_out(obs: Parts, following: Parts, keys: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Parts of Dict observations that the algorithms do not see, kept for writing the log elsewhere."""
    spare = [key for key in obs if key and key not in keys]
    return {f"obs/{key}": obs[key] for key in spare} | {f"next_obs/{key}": following[key] for key in spare}


def _observation_space(parts: Parts) -> Space:
    boxes: dict[str, Space] = {
        key: spaces.Box(0, 255, value.shape[1:], np.uint8)
        if value.dtype == np.uint8
        else spaces.Box(-np.inf, np.inf, value.shape[1:], np.float32)
        for key, value in parts.items()
    }
    return boxes[""] if "" in boxes else spaces.Dict(boxes)
