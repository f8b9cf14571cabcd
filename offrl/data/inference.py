"""The spaces of a log that names none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from offrl.data.spaces import Space, box_space, choice_space
from offrl.errors import UserError

ActionSetting = Literal["infer", "continuous", "discrete", "multi_discrete"]
Bound = float | tuple[float, ...] | None


@dataclass(frozen=True)
class ActionGuess:
    """What is known of the actions; the rest is inferred from them, and noted."""

    kind: ActionSetting
    choices: int | None
    low: Bound
    high: Bound
    notes: list[str]

    def space(self, action: NDArray[Any]) -> Space:
        """The space of `action` [steps, ...]."""
        kind = self._infer_kind(action) if self.kind == "infer" else self.kind
        match kind:
            case "discrete":
                return choice_space([self._choices(action)], single=True)
            case "multi_discrete":
                wide = action.reshape(len(action), -1)
                return choice_space([self._choices(wide[:, i]) for i in range(wide.shape[1])], single=False)
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
        missing = np.flatnonzero(np.isnan(action))
        if len(missing):
            raise UserError(f"{len(missing):,} rows have no action, the first is row {missing[0]}, counted from 0")
        if not np.array_equal(action, np.round(action)) or action.min() < 0:
            raise UserError(f"discrete actions must be 0, 1, 2 …; they are {action.min()} … {action.max()}")
        return self.choices or int(action.max()) + 1

    def _box(self, action: NDArray[Any]) -> Space:
        size = action.shape[1]
        fine = action[np.isfinite(action).all(axis=1)].astype(np.float64)  # the others are for the checks to find
        low, high = fine.min(axis=0, initial=np.inf), fine.max(axis=0, initial=-np.inf)
        within = bool((low >= -1).all() and (high <= 1).all())
        given = self.low, self.high
        for name, bound in (("low", self.low), ("high", self.high)):
            if isinstance(bound, tuple) and len(bound) != size:
                raise UserError(
                    f"actions of the log are {size} numbers, and {len(bound)} bounds are known (dataset.action_{name}, "
                    "or those of the policy that is judged): there should be one for each"
                )
        if given == (None, None) and not within:
            self.notes.append(
                f"bounds of actions taken from the data, {low} … {high}: or give dataset.action_low, action_high"
            )
        bounds = [
            np.broadcast_to(np.asarray((found if not within else unit) if chosen is None else chosen, np.float32), size)
            for chosen, found, unit in zip(given, (low, high), (-1.0, 1.0), strict=True)
        ]
        return box_space(bounds[0], bounds[1])
