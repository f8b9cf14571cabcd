"""From whole episodes to columns of a `Batch`, all rows at once.

Every window stops at the end of its episode. `discount` is 0 where the episode terminated within the window;
a truncated episode bootstraps from its true last observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from offrl.data.steps import ends, starts
from offrl.errors import UserError
from offrl.types import Steps

OPTIONAL = ("next_action", "return_to_go", "timestep", "log_prob")  # columns that an algorithm may ask for


class Columns(NamedTuple):
    """Per-step columns [steps]; the observation n steps on is `next_obs` at row `last`."""

    reward: NDArray[np.float32]  # sum of discounted rewards within the window
    discount: NDArray[np.float32]  # gamma^(steps in the window), 0 where terminated
    last: NDArray[np.int64]  # last row of the window
    extra: dict[str, NDArray[Any]]  # the optional columns asked for
    usable: NDArray[np.bool_] | None  # rows that may be sampled; None: all


def columns(steps: Steps, needs: Sequence[str], discount: float, n_step: int) -> Columns:
    """Columns for `needs`, windows of `n_step` steps.

    Where `next_action` is needed, windows stop one step before a truncated end, where no next action was
    logged, and the last step of a truncated episode is not usable.

    Raises:
        UserError: for a column that is unknown or that these data do not have.
    """
    begin, stop = _bounds(steps)
    window_stop, usable = stop, None
    if "next_action" in needs:
        cut_short = ~steps.terminated[stop - 1]
        window_stop = stop - cut_short
        usable = np.arange(len(steps)) < window_stop
    reward, gamma, last = n_step_columns(steps.reward, steps.terminated, window_stop, discount, n_step)
    extra: dict[str, NDArray[Any]] = {}
    for name in needs:
        extra[name] = _optional(name, steps, begin, stop, last, discount)
    return Columns(reward, gamma, last, extra, None if usable is None or usable.all() else usable)


def n_step_columns(
    reward: NDArray[Any], terminated: NDArray[np.bool_], stop: NDArray[np.int64], discount: float, n_step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """n-step reward, its discount, and the last row of the window, for windows that end before row `stop` [steps]."""
    rows = np.arange(len(reward))
    last = np.minimum(rows + n_step, np.maximum(stop, rows + 1)) - 1
    total = np.array(reward, np.float64)
    for k in range(1, n_step):
        inside = np.flatnonzero(rows + k <= last)
        total[inside] += discount**k * reward[inside + k]
    factor = np.where(terminated[last], 0.0, np.power(discount, last - rows + 1))
    return total.astype(np.float32), factor.astype(np.float32), last


def return_to_go(reward: NDArray[Any], stop: NDArray[np.int64], discount: float) -> NDArray[np.float32]:
    """Discounted sum of rewards from each row to the end of its episode.

    Windows double: a sum over 2m steps is the sum over m steps plus gamma^m times the sum m steps on. So the
        passes over the data number the logarithm of the longest episode.
    """
    total = np.array(reward, np.float64)
    rows = np.arange(len(total))
    longest = int((stop - rows).max(initial=0))
    span = 1
    while span < longest:
        inside = np.flatnonzero(rows + span < stop)
        total[inside] += discount**span * total[inside + span]
        span *= 2
    return total.astype(np.float32)


def history_index(timestep: NDArray[np.int64], rows: NDArray[np.int64], history: int) -> NDArray[np.int64]:
    """Rows [len(rows), history] of the most recent observations, oldest first; the first one repeats at the start."""
    back = np.arange(history - 1, -1, -1)
    return rows[:, None] - np.minimum(back, timestep[rows, None])


def _bounds(steps: Steps) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First row, and row after the last, of the episode of each step [steps]."""
    first, final = starts(steps), ends(steps)
    size = final - first + 1
    return np.repeat(first, size), np.repeat(final + 1, size)


def _optional(
    name: str,
    steps: Steps,
    begin: NDArray[np.int64],
    stop: NDArray[np.int64],
    last: NDArray[np.int64],
    discount: float,
) -> NDArray[Any]:
    match name:
        case "next_action":
            following = np.minimum(last + 1, stop - 1)
            known = (last + 1 < stop).reshape(-1, *[1] * (steps.action.ndim - 1))
            return np.where(known, steps.action[following], 0).astype(steps.action.dtype)
        case "return_to_go":
            return return_to_go(steps.reward, stop, discount)
        case "timestep":
            return np.arange(len(steps)) - begin
        case "log_prob":
            if "log_prob" not in steps.extra:
                raise UserError(
                    "this algorithm needs log-probabilities of the logged actions, which the dataset does not have: "
                    "record it with offrl collect, or name their column (dataset.log_prob=… or dataset.probability=…)"
                )
            return np.asarray(steps.extra["log_prob"], np.float32)
        case _:
            raise UserError(f"column {name!r} cannot be made from logged data; it can make {', '.join(OPTIONAL)}")
