"""What is wrong, or looks wrong, with logged data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from offrl.data import steps as episodes
from offrl.data.steps import Recording, some_rows
from offrl.errors import UserError
from offrl.types import ActionSpec, Spec, Steps

Severity = Literal["ok", "warn", "fail"]
OutOfBounds = Literal["clip", "refuse"]

TOLERANCE = 1e-4  # in units of [-1, 1]: rounding, not an action out of bounds
SHOWN = 5  # constant columns that a message names
FEW_EPISODES = 3  # too few to call equal lengths suspicious


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    severity: Severity
    check: str
    message: str


def refuse_poison(recording: Recording, out_of_bounds: OutOfBounds) -> None:
    """Raise `UserError` for data that no algorithm can learn from; fast enough for every start of a training."""
    for finding in vital(recording, out_of_bounds):
        if finding.severity == "fail":
            raise UserError(f"these data would spoil training: {finding.message} (offrl dataset check tells more)")


def check(recording: Recording, out_of_bounds: OutOfBounds) -> list[Finding]:
    """Every check: what reading had to guess, then the vital ones, without which the others make no sense."""
    columns = recording.metadata.get("columns")
    found = [] if columns is None else [Finding("ok", "columns", columns)]
    found += [Finding("warn", "guessed", note) for note in recording.metadata.get("notes", ())]
    found += vital(recording, out_of_bounds)
    if any(finding.severity == "fail" and finding.check == "shapes" for finding in found):
        return found
    more: list[Callable[[Steps], Finding]] = [
        _time_limit,
        _marked_ends,
        _constant,
        _rewards,
        _duplicates,
    ]
    return [*found, _order(recording), *(one(recording.steps) for one in more)]


def vital(recording: Recording, out_of_bounds: OutOfBounds) -> Iterator[Finding]:
    """Shapes, finite numbers, actions within their space."""
    shapes = _shapes(recording.steps, recording.spec)
    yield shapes
    if shapes.severity != "fail":
        yield _finite(recording)
        yield _actions(recording, out_of_bounds)


def check_matches(
    data: Spec,
    env: Spec,
    data_name: str = "the dataset",
    env_name: str = "the environment",
    remedy: str = "choose the env=… that made it",
) -> None:
    """Raise `UserError`, which ends with the `remedy`, unless a policy trained on `data` can act in `env`."""
    differences: list[str] = []
    if (data.obs.shape, data.obs.dtype) != (env.obs.shape, env.obs.dtype):
        differences.append(
            f"observations are {data.obs.dtype} {list(data.obs.shape)} in {data_name} and {env.obs.dtype} "
            f"{list(env.obs.shape)} in {env_name} (obs_keys and history must be the same in both)"
        )
    one, other = data.action, env.action
    if (one.kind, one.shape, one.choices) != (other.kind, other.shape, other.choices):
        differences.append(f"actions are {_describe(one)} in {data_name} and {_describe(other)} in {env_name}")
    elif not (np.allclose(one.low, other.low) and np.allclose(one.high, other.high)):
        differences.append(
            f"actions lie in {list(one.low)} … {list(one.high)} in {data_name} and in {list(other.low)} … "
            f"{list(other.high)} in {env_name}"
        )
    if differences:
        raise UserError(f"{data_name} does not fit {env_name}: {'; '.join(differences)}: {remedy}")


def _describe(action: ActionSpec) -> str:
    choices = f" with {'·'.join(map(str, action.choices))} choices" if action.choices else f" [{action.size}]"
    return action.kind.replace("_", "-") + choices


def _shapes(steps: Steps, spec: Spec) -> Finding:
    named = episodes.arrays(steps)
    wrong = [f"{name} has {len(value)} rows" for name, value in named.items() if len(value) != len(steps)]
    expected = {"obs": spec.obs.shape, "next_obs": spec.obs.shape, "action": spec.action.shape}
    wrong += [
        f"{name} has shape {list(named[name].shape[1:])}, not {list(shape)}"
        for name, shape in expected.items()
        if named[name].shape[1:] != shape
    ]
    if len(steps) == 0:
        wrong.append("there are no transitions")
    if wrong:
        return Finding("fail", "shapes", f"{'; '.join(wrong)} (reward has {len(steps)})")
    return Finding("ok", "shapes", f"{len(steps):,} transitions in {len(episodes.ends(steps)):,} episodes")


def _finite(recording: Recording) -> Finding:
    wrong: list[str] = []
    for name, value in episodes.arrays(recording.steps).items():
        if value.dtype.kind == "f" and len(rows := _rows_not_finite(value)):
            wrong.append(f"{name} in {len(rows):,} rows ({_some(rows, recording)})")
    if wrong:
        return Finding("fail", "finite", f"NaN or infinite: {'; '.join(wrong)}")
    return Finding("ok", "finite", "no NaN, no infinity")


def _rows_not_finite(values: NDArray[Any]) -> NDArray[np.int64]:
    found = [np.empty(0, np.int64)]
    for part in episodes.chunks(values):
        # Sums tell at a glance: only a chunk with something in it is looked at row by row.
        with np.errstate(invalid="ignore"):
            total = values[part].sum(dtype=np.float64)
        if not np.isfinite(total):
            fine = np.isfinite(values[part]).reshape(part.stop - part.start, -1).all(axis=1)
            found.append(np.flatnonzero(~fine) + part.start)
    return np.concatenate(found)


def _actions(recording: Recording, out_of_bounds: OutOfBounds) -> Finding:
    if recording.spec.action.kind == "continuous":
        return _continuous_actions(recording, out_of_bounds)
    return _discrete_actions(recording)


def _discrete_actions(recording: Recording) -> Finding:
    steps, spec = recording.steps, recording.spec.action
    outside = (steps.action < 0) | (steps.action >= np.asarray(spec.choices if spec.shape else spec.choices[0]))
    if len(rows := _rows_with(outside)):
        values = f"{steps.action.min()} … {steps.action.max()}"
        return Finding(
            "fail",
            "actions",
            f"{len(rows):,} actions ({values}) are none of the {spec.choices} choices ({_some(rows, recording)})",
        )
    columns = steps.action.reshape(len(steps), -1).T
    unused = sum(spec.choices) - sum(len(np.unique(column)) for column in columns)
    if unused:
        return Finding(
            "warn",
            "actions",
            f"{_describe(spec)}, {unused:,} of {sum(spec.choices):,} choices never occur: if there are no such "
            "actions, renumber those that there are from 0 on, without gaps",
        )
    return Finding("ok", "actions", f"{_describe(spec)}, all in range")


def _continuous_actions(recording: Recording, out_of_bounds: OutOfBounds) -> Finding:
    steps, spec = recording.steps, recording.spec.action
    bounded = np.isfinite(spec.low) & np.isfinite(spec.high)
    outside = (np.abs(steps.action) > 1.0 + TOLERANCE) & bounded
    if not outside.any():
        return Finding("ok", "actions", f"{_describe(spec)}, within their bounds")
    rows = _rows_with(outside)
    message = (
        f"{len(rows) / len(steps):.2%} of the actions lie outside their bounds {list(spec.low)} … {list(spec.high)} "
        f"({_some(rows, recording)})"
    )
    if out_of_bounds == "clip":
        return Finding("warn", "actions", f"{message}; they are clipped")
    return Finding("fail", "actions", f"{message}: clip them with dataset.out_of_bounds=clip, or correct the bounds")


def _order(recording: Recording) -> Finding:
    broken = episodes.discontinuities(recording.steps)
    if len(broken):
        share = len(broken) / len(recording.steps)
        return Finding(
            "fail",
            "order",
            f"{len(broken):,} steps ({share:.2%}) do not begin where the one before ended "
            f"({_some(broken, recording)}): rows out of order, missing, or of different episodes without an end "
            "between them",
        )
    if recording.chained:
        return Finding("ok", "order", "not to be checked: the log has no successors, so the following rows are taken")
    return Finding("ok", "order", "every step begins where the one before it ended")


def _time_limit(steps: Steps) -> Finding:
    terminated = np.asarray(steps.terminated)[episodes.ends(steps)]
    lengths = episodes.lengths(steps)
    longest = int(lengths.max())
    at_limit = int((terminated & (lengths == longest)).sum())
    counts = f"{int(terminated.sum()):,} episodes terminated, {int((~terminated).sum()):,} were truncated"
    if longest > 1 and at_limit > FEW_EPISODES and at_limit > 0.5 * len(lengths):
        return Finding(
            "warn",
            "time limit",
            f"{at_limit:,} of {len(lengths):,} episodes terminate after exactly {longest} steps: a time limit stored "
            f"as termination? Then say dataset.timeouts_at={longest}; as it is, no value is learned beyond it",
        )
    return Finding("ok", "time limit", counts)


def _marked_ends(steps: Steps) -> Finding:
    lengths = episodes.lengths(steps)
    if len(lengths) == 1 and len(steps) > 1000:
        return Finding(
            "warn",
            "episodes",
            f"all {len(steps):,} steps are one episode: are ends of episodes marked at all?",
        )
    if (lengths == 1).mean() > 0.5:
        return Finding("warn", "episodes", f"{(lengths == 1).mean():.0%} of the episodes have one step only")
    return Finding("ok", "episodes", f"{lengths.min()} to {lengths.max()} steps, median {np.median(lengths):.0f}")


def _constant(steps: Steps) -> Finding:
    if steps.obs.dtype == np.uint8:
        return Finding("ok", "constant", "not looked for in pictures")
    constant: list[str] = []
    for name in ("obs", "action"):
        columns = getattr(steps, name).reshape(len(steps), -1)
        still = np.flatnonzero(columns.min(axis=0) == columns.max(axis=0))
        constant += [f"{name}[{i}]" for i in still[:SHOWN]] + (["…"] if len(still) > SHOWN else [])
    if constant:
        return Finding("warn", "constant", f"{', '.join(constant)} never change")
    return Finding("ok", "constant", "every column changes")


def _rewards(steps: Steps) -> Finding:
    low, high = float(steps.reward.min()), float(steps.reward.max())
    if low == high:
        return Finding("warn", "reward", f"every reward is {low:g}: nothing to tell good from bad")
    if max(abs(low), abs(high)) > 1e3:
        return Finding("warn", "reward", f"rewards from {low:g} to {high:g}: consider dataset.reward_scale")
    return Finding("ok", "reward", f"from {low:g} to {high:g}")


def _duplicates(steps: Steps) -> Finding:
    count = len(steps) - len(np.unique(_hashes(steps)))
    share = count / len(steps)
    if share > 0.01:
        return Finding(
            "warn",
            "duplicates",
            f"{count:,} transitions ({share:.1%}) occur more than once: normal for few states only",
        )
    return Finding("ok", "duplicates", f"{count:,} transitions occur more than once")


def _hashes(steps: Steps) -> NDArray[np.uint64]:
    """A 64-bit number for each transition, equal for equal transitions."""
    rng = np.random.default_rng(0)
    total = np.zeros(len(steps), np.uint64)
    for value in (steps.obs, steps.action, steps.reward, steps.next_obs):
        flat = value.reshape(len(value), -1)
        factors = rng.integers(1, 1 << 63, flat.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        for part in episodes.chunks(flat):
            exact = np.ascontiguousarray(flat[part], np.float64).view(np.uint64)
            mixed = (exact ^ (exact >> np.uint64(29))) * factors
            total[part] += (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64)
    return total


def _rows_with(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.flatnonzero(flags.reshape(len(flags), -1).any(axis=1))


def _some(rows: NDArray[np.int64], recording: Recording) -> str:
    """The first of these rows by their numbers in the log, where the first step is row 0."""
    if recording.rows is None:
        return some_rows(rows)
    return some_rows(recording.rows[rows], f" of {recording.metadata.get('source', 'the file')}")
