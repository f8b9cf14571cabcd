"""Which columns of a file play which role."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from offrl.data.formats import is_number
from offrl.errors import UserError

Columns: TypeAlias = Mapping[str, NDArray[Any]]
Parts: TypeAlias = dict[str, NDArray[Any]]  # of a Dict observation by key; a plain one is its own part, of key ""

# What a column may be called where the config names none, the likeliest first; * stands for anything, but for actions
# for numbers only: columns such as action_id and action_prob are no vector.
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
LISTED = 6  # columns that a message names before it abbreviates
EXACT = 1 << 24  # float32 holds every integer below
NO_COLUMN = "none"  # how the config says that nothing plays a role


class Roles:
    """The columns of one file by role.

    Args:
        chosen: names of columns for roles, where the config gives any; they may hold `*`. `none` instead of a name
            says that there is no such column.
        notes: what had to be guessed goes here.
    """

    def __init__(
        self, path: Path, columns: Columns, chosen: Mapping[str, str | Sequence[str] | None], notes: list[str]
    ) -> None:
        self.path = path
        self.columns = columns
        self.chosen = chosen
        self.notes = notes
        self.guessed: dict[str, list[str]] = {}  # columns by role, of roles that were asked for

    def told(self) -> str:
        """Which columns were taken for which role by their names alone, and which play none."""
        guessed = [f"{role} = {_brief(names)}" for role, names in self.guessed.items() if names]
        played = {name for names in self.guessed.values() for name in names}.union(*map(self._named, USUAL))
        unused = [name for name in self.columns if name not in played]
        taken = f"taken by their names: {'; '.join(guessed)}" if guessed else "taken as the config names them"
        return f"{taken}; not used: {_brief(unused)}" if unused else taken

    def _named(self, role: str) -> set[str]:
        """Columns that the config names for a role."""
        return {name for pattern in self._patterns(role) for name in self._matching(pattern)}

    def expect(self, name: str, values: NDArray[Any], total: int) -> None:
        """Raise `UserError` unless there are `total` rows."""
        if len(values) != total:
            raise UserError(f"{self.path} contradicts itself: {name} has {len(values):,} rows, reward {total:,}")

    def names(self, role: str) -> list[str]:
        """Columns of a role: those that the config asks for, or the first usual name that is free."""
        if self.chosen[role] is None:
            taken, star = self._taken(role), r"\d+" if role == "action" else ".*"
            free = ([name for name in self._matching(pattern, star) if name not in taken] for pattern in USUAL[role])
            self.guessed[role] = next((names for names in free if names), [])
            return self.guessed[role]
        found = {pattern: self._matching(pattern) for pattern in self._patterns(role)}
        for pattern, names in found.items():
            if not names:
                raise UserError(f"dataset.{role}={pattern}: no such column; {self.all()}")
        return [name for names in found.values() for name in names]

    def _patterns(self, role: str) -> list[str]:
        wanted = self.chosen[role]
        if wanted is None or wanted == NO_COLUMN:
            return []
        return [wanted] if isinstance(wanted, str) else list(wanted)

    def _taken(self, role: str) -> set[str]:
        """Columns that the config names for other roles; time may well be observed, and order the rows too."""
        others = USUAL.keys() - {role} - ({"obs"} if role == "order" else set())
        return set[str]().union(*map(self._named, others))

    def _matching(self, pattern: str, star: str = ".*") -> list[str]:
        """The column of this name, or those that a pattern describes, in which `*` alone is special."""
        if pattern in self.columns or "*" not in pattern:
            return [pattern] if pattern in self.columns else []
        described = re.compile(star.join(map(re.escape, pattern.split("*"))), re.DOTALL)
        return sorted(filter(described.fullmatch, self.columns), key=_natural)

    def all(self) -> str:
        """All columns, for messages."""
        return f"the columns of {self.path} are {', '.join(self.columns)}"

    def none_found(self, role: str) -> UserError:
        """What to say where a role that must be played is not."""
        return UserError(f"no column is known as {role}: name it with dataset.{role}=…; {self.all()}")

    def one(self, role: str) -> str:
        """The only column of a role."""
        names = self.names(role)
        if len(names) != 1:
            raise self.none_found(role)
        return names[0]

    def values(self, name: str) -> NDArray[Any]:
        """A column as it is; one of a single number in each row without its second axis."""
        values = self.columns[name]
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values

    def complete(self, role: str, name: str, values: NDArray[Any]) -> NDArray[Any]:
        """The same values of a column; raise `UserError` if some are missing."""
        empty = np.flatnonzero(_missing(values))
        if len(empty):
            raise UserError(
                f"{len(empty):,} rows of {self.path} have nothing in column {name}, the first is row {empty[0]}, "
                f"counted from 0: fill or remove them, or name another column, dataset.{role}=…, or none, "
                f"dataset.{role}={NO_COLUMN}"
            )
        return values

    def times(self, name: str) -> NDArray[Any]:
        """A column that tells early from late: numbers, dates, or text that says dates as ISO 8601 does."""
        values = _as_dates(self.values(name))
        if values.dtype.kind not in "biufmM":
            self._refuse_mixed_zones(name)
            wrong = self._first_wrong(name, _is_date)
            raise UserError(
                f"column {name} of {self.path} is neither numbers nor dates ({wrong}), so it cannot order the rows: "
                f"name another column, dataset.order=…, or none, dataset.order={NO_COLUMN}"
            )
        return self.complete("order", name, values)

    def _first_wrong(self, name: str, right: Callable[[Any], bool]) -> str:
        """What spoils a column: the first value that is not `right`, or else that is missing, or else of all."""
        values = self.columns[name]
        flat = values.ravel()
        if len(flat) == 0:
            return "it is empty"
        worst = int(np.argmax([0 if right(value) else 1 if _is_missing(value) else 2 for value in flat]))
        return f"row {worst // (flat.size // len(values))}, counted from 0, has {str(flat[worst])!r}"

    def _refuse_mixed_zones(self, name: str) -> None:
        values = self.columns[name].ravel()
        if not all(map(_is_date, values)):
            return
        zoned = np.array([datetime.fromisoformat(str(value)).tzinfo is not None for value in values])
        if zoned.any() and not zoned.all():
            raise UserError(
                f"column {name} of {self.path} mixes dates with a time zone, as in row {zoned.argmax()}, counted from "
                f"0, and without, as in row {zoned.argmin()}: give all of them a zone, or none"
            )

    def numbers(self, name: str) -> NDArray[Any]:
        """A column, which must be numbers."""
        values = self.values(name)
        if values.dtype.kind not in "biuf":
            raise UserError(f"column {name} of {self.path} is not numbers: {self._first_wrong(name, is_number)}")
        if values.dtype.kind in "iu" and values.size and int(np.abs(values).max()) >= EXACT:
            self.notes.append(f"{name} has whole numbers above 2^24, which float32 rounds")
        return values

    def flags(self, role: str, total: int) -> NDArray[np.bool_] | None:
        """A column of true and false; None where there is none."""
        names = self.names(role)
        if not names:
            return None
        values = self.numbers(names[0])
        self.expect(names[0], values, total)
        if not np.isin(values, (0, 1)).all():
            raise UserError(f"column {names[0]} of {self.path} should be true or false (0 or 1) only")
        return values.astype(np.bool_)

    def join(self, role: str) -> NDArray[Any] | None:
        """The columns of a role as one array, side by side where they are several."""
        names = self.names(role)
        values = [self.numbers(name) for name in names]
        if not values:
            return None
        return values[0] if len(values) == 1 else np.stack(values, axis=1)

    def observations(self, role: str) -> Parts | None:
        """Vectors or pictures, by key where they are in a group of their own; None where there are none."""
        names = self.names(role)
        if names and all("/" in name for name in names):
            return {name.rpartition("/")[2]: _as_floats(self.numbers(name)) for name in names}
        joined = self.join(role)
        return None if joined is None else {"": _as_floats(joined if joined.ndim > 1 else joined[:, None])}


def _brief(names: Sequence[str]) -> str:
    if len(names) <= LISTED:
        return ", ".join(names)
    return f"{', '.join(names[:2])} … {names[-1]} ({len(names):,})"


def _is_date(value: Any) -> bool:
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def _is_missing(value: Any) -> bool:
    return value in (None, "") or (isinstance(value, float) and math.isnan(value))


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where [rows] there is nothing: no number, no date, no text."""
    if values.dtype.kind in "fmM":
        return np.isnan(values)
    if values.dtype.kind in "biu":
        return np.zeros(len(values), np.bool_)
    return np.array([_is_missing(value) for value in values], np.bool_)


def _as_dates(values: NDArray[Any]) -> NDArray[Any]:
    """Text that says dates, with or without a time zone, as dates; anything else as it is."""
    import pyarrow as pa

    if values.dtype.kind not in "OU":
        return values
    for zone in (None, "UTC"):
        with suppress(pa.ArrowException):  # the other zone, or no dates at all
            return pa.array(values).cast(pa.timestamp("ns", zone)).to_numpy(zero_copy_only=False)
    return values


def _natural(name: str) -> tuple[str, int]:
    """obs_10 comes after obs_9."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)


def _as_floats(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.dtype == np.uint8 and values.ndim > 2 else values.astype(np.float32, copy=False)
