"""Minari's HDF5 file: a group for each episode, in it the observations, one row longer than the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import h5py
import numpy as np
from h5py import h5d, h5s  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs
from numpy.typing import NDArray

from offrl.data import steps as episodes
from offrl.data.spaces import Observations, Space, dict_space, subspaces, unflatten_obs
from offrl.types import Steps

KNOWN_INFOS = ("log_prob", "success")  # kept of what environments and policies say beside the transition
MAIN_FILE = "main_data.hdf5"


class Episode(NamedTuple):
    """One episode as it is stored."""

    observations: Observations  # one row more than actions
    actions: NDArray[Any]
    rewards: NDArray[Any]
    terminations: NDArray[np.bool_]
    truncations: NDArray[np.bool_]
    infos: Mapping[str, NDArray[Any]]


def read_episodes(file: Path, observation_space: Space, numbers: Iterable[int]) -> Iterator[Episode]:
    """Episodes by number, read with HDF5's low-level calls.

    With many short episodes, opening arrays is the whole cost, and these calls halve it.
    """
    keys = list(subspaces(observation_space))
    with h5py.File(file, "r") as opened:
        infos = [name for name in KNOWN_INFOS if f"episode_0/infos/{name}" in opened]

        def array(path: str) -> NDArray[Any]:
            entry = h5d.open(opened.id, path.encode())
            out = np.empty(entry.shape, entry.dtype)
            entry.read(h5s.ALL, h5s.ALL, out)
            return out

        for number in numbers:
            at = f"episode_{number}"
            if keys == [""]:
                observations: Observations = array(f"{at}/observations")
            else:
                observations = {key: array(f"{at}/observations/{key}") for key in keys}
            yield Episode(
                observations,
                array(f"{at}/actions"),
                array(f"{at}/rewards"),
                array(f"{at}/terminations"),
                array(f"{at}/truncations"),
                {name: array(f"{at}/infos/{name}") for name in infos},
            )


def raw_observations(
    steps: Steps, space: Space, keys: Sequence[str]
) -> tuple[Space, tuple[Observations, Observations]]:
    """The space of what is known, and every observation and its successor in that space."""
    now = unflatten_obs(space, keys, steps.obs)
    then = unflatten_obs(space, keys, steps.next_obs)
    if not isinstance(now, Mapping) or not isinstance(then, Mapping):
        return space, (now, then)
    parts = subspaces(space)
    kept = [key for key in parts if key in now or f"obs/{key}" in steps.extra]
    pair = tuple(
        {key: steps.extra.get(f"{side}/{key}", known.get(key)) for key in kept}
        for side, known in (("obs", now), ("next_obs", then))
    )
    return dict_space({key: parts[key] for key in kept}), cast("tuple[Observations, Observations]", pair)


def write_episodes(file: Path, steps: Steps, raw: tuple[Observations, Observations], action: NDArray[Any]) -> None:
    """Write every episode of `steps`, with observations and actions in the environment's own form."""
    infos = {name: value for name, value in steps.extra.items() if "/" not in name}
    first, second = ({"": side} if not isinstance(side, Mapping) else side for side in raw)
    pairs = {key: (first[key], second[key]) for key in first}
    with h5py.File(file, "w", track_order=True) as opened:
        for number, (start, end) in enumerate(zip(episodes.starts(steps), episodes.ends(steps), strict=True)):
            part = slice(start, end + 1)
            group = opened.create_group(f"episode_{number}")
            group.attrs["id"], group.attrs["total_steps"] = number, end + 1 - start
            for key, (now, then) in pairs.items():
                data = np.concatenate([now[part], then[part.stop - 1 : part.stop]])
                group.create_dataset(f"observations/{key}".rstrip("/"), data=data)
            group.create_dataset("actions", data=action[part])
            group.create_dataset("rewards", data=steps.reward[part].astype(np.float64))
            group.create_dataset("terminations", data=steps.terminated[part])
            group.create_dataset("truncations", data=steps.truncated[part])
            for name, value in infos.items():  # their first row is what `reset` would say
                group.create_dataset(f"infos/{name}", data=np.concatenate([np.zeros_like(value[:1]), value[part]]))
