"""What can be asked of `Steps`: where episodes begin and end, their returns, parts of them, their fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offrl.data.spaces import Space, action_spec, obs_spec
from offrl.types import Spec, Steps

CHUNK = 1 << 24  # bytes handled at a time, so that sets larger than memory pass through
SHOWN = 5  # row numbers that a message gives
FIELDS = ("obs", "action", "reward", "terminated", "truncated", "next_obs")


@dataclass(frozen=True)
class Recording:
    """Logged steps with what is known about them."""

    steps: Steps
    observation_space: Space  # as the environment shows it
    action_space: Space
    obs_keys: tuple[str, ...] = ()  # parts of a Dict that `steps.obs` is made of, in order
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fingerprint: str = ""  # sha256 of the steps
    rows: NDArray[np.int64] | None = None  # of each step in its file [steps], from 0; none: they are those of `steps`
    chained: bool = False  # successors are the following rows: where a step terminates, `next_obs` just repeats `obs`

    @property
    def spec(self) -> Spec:
        """Shapes and types of one frame and one action."""
        return Spec(obs_spec(self.observation_space, self.obs_keys), action_spec(self.action_space))


def ends(steps: Steps) -> NDArray[np.int64]:
    """Last row of each episode [episodes]."""
    done = np.asarray(steps.terminated) | np.asarray(steps.truncated)
    done[-1:] = True
    return np.flatnonzero(done)


def starts(steps: Steps) -> NDArray[np.int64]:
    """First row of each episode [episodes]."""
    return np.concatenate([[0], ends(steps)[:-1] + 1])


def lengths(steps: Steps) -> NDArray[np.int64]:
    """Steps in each episode [episodes]."""
    return ends(steps) - starts(steps) + 1


def returns(steps: Steps) -> NDArray[np.float64]:
    """Undiscounted return of each episode [episodes]."""
    return np.add.reduceat(np.asarray(steps.reward, np.float64), starts(steps))


def discontinuities(steps: Steps) -> NDArray[np.int64]:
    """Rows that do not begin with the observation at which the row before them, of the same episode, ended."""
    inner = np.ones(len(steps), np.bool_)
    inner[starts(steps)] = False
    wrong: list[NDArray[np.int64]] = []
    for part in chunks(steps.obs[:-1]):
        later = slice(part.start + 1, part.stop + 1)
        same = steps.obs[later] == steps.next_obs[part]
        jumps = ~same.reshape(len(same), -1).all(axis=1) & inner[later]
        wrong.append(np.flatnonzero(jumps) + later.start)
    return np.concatenate(wrong) if wrong else np.empty(0, np.int64)


def arrays(steps: Steps) -> dict[str, NDArray[Any]]:
    """Every array by name; those of `extra` are called `extra.<name>`."""
    return {name: getattr(steps, name) for name in FIELDS} | {
        f"extra.{name}": value for name, value in steps.extra.items()
    }


def from_arrays(named: Mapping[str, NDArray[Any]]) -> Steps:
    """The inverse of `arrays`."""
    extra = {name.removeprefix("extra."): value for name, value in named.items() if name.startswith("extra.")}
    return Steps(**{name: named[name] for name in FIELDS}, extra=extra)


def concatenate(parts: Sequence[Steps]) -> Steps:
    """Lay whole recordings end to end; extras that some part lacks are left out.

    The last row of each part becomes the end of an episode, so that nothing runs on into the next part.
    """
    common = [name for name in arrays(parts[0]) if all(name in arrays(part) for part in parts)]
    closed = [close(part) for part in parts]
    return from_arrays({name: np.concatenate([arrays(part)[name] for part in closed]) for name in common})


def close(steps: Steps) -> Steps:
    """Mark the last row as truncated if the recording stops within an episode."""
    if len(steps) == 0 or steps.terminated[-1] or steps.truncated[-1]:
        return steps
    truncated = np.array(steps.truncated)
    truncated[-1] = True
    return replace(steps, truncated=truncated)


def select(steps: Steps, episodes: NDArray[np.bool_]) -> Steps:
    """Keep the episodes whose entry in `episodes` [episodes] is true, in order."""
    if episodes.all():
        return steps
    rows = np.repeat(episodes, lengths(steps))
    return from_arrays({name: value[rows] for name, value in arrays(steps).items()})


def without_ends(steps: Steps, lost: NDArray[np.bool_]) -> Steps:
    """Leave out last steps of episodes, those marked in `lost` [steps]; the ones before them become truncated ends."""
    truncated, done = np.array(steps.truncated), steps.terminated | steps.truncated
    rows = np.flatnonzero(lost)
    before = rows[rows > 0] - 1
    truncated[before[~done[before]]] = True
    named = arrays(steps) | {"truncated": truncated}
    return from_arrays({name: value[~lost] for name, value in named.items()})


def some_rows(rows: NDArray[np.int64], place: str = "") -> str:
    """The first of these row numbers, for messages; `place` says of what."""
    shown = ", ".join(map(str, np.sort(rows)[:SHOWN])) + (" …" if len(rows) > SHOWN else "")
    return f"row{'s' if len(rows) > 1 else ''} {shown}{place}, counted from 0"


def chunks(values: NDArray[Any]) -> Iterator[slice]:
    """Consecutive slices that cover all rows of `values`, about `CHUNK` bytes of it each."""
    total, size = len(values), max(1, CHUNK // max(1, values[:1].nbytes))
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


def fingerprint(steps: Steps) -> str:
    """sha256 over names, types, shapes and bytes: equal data, equal fingerprint, whatever file it came from."""
    digest = hashlib.sha256()
    for name, value in sorted(arrays(steps).items()):
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        for part in chunks(value):
            digest.update(np.ascontiguousarray(value[part]).data)
    return digest.hexdigest()


def moments(values: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and (population) standard deviation over the first axis, in float64, a chunk at a time."""
    total = len(values)
    mean = np.zeros(values.shape[1:])
    for part in chunks(values):
        mean += values[part].sum(axis=0, dtype=np.float64) / total
    variance = np.zeros(values.shape[1:])
    for part in chunks(values):
        variance += np.square(values[part] - mean).sum(axis=0) / total
    return mean, np.sqrt(variance)
