"""Minari datasets, read and written in bulk."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import minari
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from minari.dataset.minari_dataset import DATASET_ID_RE, parse_dataset_id
from minari.dataset.minari_storage import MinariStorage
from minari.namespace import create_namespace, list_local_namespaces
from minari.storage.datasets_root_dir import get_dataset_path
from numpy.typing import NDArray

from offrl.data import steps as episodes
from offrl.data import store
from offrl.data.minari_file import KNOWN_INFOS, MAIN_FILE, Episode, raw_observations, read_episodes, write_episodes
from offrl.data.spaces import (
    Observations,
    Space,
    default_keys,
    flatten_obs,
    log_density_shift,
    obs_spec,
    scale_action,
    subspaces,
    unscale_action,
)
from offrl.data.steps import Recording
from offrl.errors import UserError
from offrl.paths import config_dir
from offrl.types import Steps

AUTHOR = ["offrl"]  # how a dataset says that it was written here

log = logging.getLogger(__name__)


def local_path(dataset_id: str) -> Path:
    """Folder of a dataset, whether it exists or not (`MINARI_DATASETS_PATH` says where they all are)."""
    match = DATASET_ID_RE.fullmatch(dataset_id)
    if match is None or match.group("version") is None:
        raise UserError(f"dataset id {dataset_id!r}: Minari ids look like hopper/medium-v0, with a version at the end")
    return Path(get_dataset_path(dataset_id))


def list_local() -> dict[str, dict[str, Any]]:
    """Metadata of every dataset on this machine, by id."""
    return cast("dict[str, dict[str, Any]]", minari.list_local_datasets())


def read(dataset_id: str, *, download: bool = False, obs_keys: Sequence[str] = ()) -> Recording:
    """All steps of a dataset, memory-mapped from a cache beside it that the first reading makes.

    Args:
        download: fetch it where it is not on this machine.
        obs_keys: parts of Dict observations, in order; none means `spaces.default_keys`.

    Raises:
        UserError: if it is not here, cannot be fetched, is damaged, or contradicts its own metadata.
    """
    folder = local_path(dataset_id)
    if not (folder / "data").is_dir():
        _fetch(dataset_id, folder, download)
    dataset = _open(dataset_id, folder)
    keys = tuple(obs_keys) or default_keys(dataset.observation_space)
    obs_spec(dataset.observation_space, keys)  # refuses what has no flat form, before anything is read
    metadata = _metadata(folder)
    cache = cache_folder(dataset_id)
    units = () if _own(metadata) else ("log_prob scaled",)  # part of the name: caches of older versions have it not
    place = cache / f"steps-{store.content_key([], *keys, *units)}"
    found = store.open_steps(place)
    if found is None:
        _verify(folder, metadata)
        found = _build(dataset, keys, metadata, place)
    spaces_ = dataset.observation_space, dataset.action_space
    chained = bool(metadata.get("chained"))
    return Recording(found[0], *spaces_, keys, metadata, found[1]["fingerprint"], chained=chained)


def cache_folder(dataset_id: str) -> Path:
    """Folder for what is derived from a dataset as it is now; it goes when the dataset changes or is deleted."""
    folder = local_path(dataset_id)
    files = [file for file in (folder / "data").rglob("*") if file.is_file()]
    return folder / "offrl-cache" / store.content_key(files)


def write(
    dataset_id: str,
    steps: Steps,
    *,
    observation_space: Space,
    action_space: Space,
    obs_keys: Sequence[str] = (),
    env_spec: EnvSpec | None = None,
    algorithm: str = "",
    description: str = "",
    reference: tuple[float, float] | None = None,
    facts: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `steps` as a Minari dataset, whole or not at all, and return its folder.

    Observations and actions go back to the environment's own form; `log_prob` stays that of actions in [-1, 1].
    Parts of a Dict that `obs_keys` leaves out are kept if `steps.extra` has them, as `obs/<key>` and
    `next_obs/<key>`; else the dataset's observation space goes without them.

    Args:
        observation_space, action_space: the environment's; `obs_keys` as when the steps were recorded.
        reference: returns of a random and an expert policy.
        facts: more metadata that JSON can hold (seed, code version, recipe).
        overwrite: replace a dataset of that id.

    Raises:
        UserError: for a bad or taken id, steps that do not follow each other within an episode, or an
            unwritable disk.
    """
    folder = local_path(dataset_id)
    if folder.exists() and not overwrite:
        raise UserError(f"dataset {dataset_id} exists already: choose another id, or overwrite=true")
    if len(broken := episodes.discontinuities(steps)):
        raise UserError(f"{len(broken)} steps do not begin where the one before ended (first: row {broken[0]})")
    space, raw = raw_observations(steps, observation_space, obs_keys)
    try:
        with store.aside(folder) as fresh:
            fresh.mkdir()
            MinariStorage.new(fresh / "data", space, action_space, env_spec, "hdf5", jpeg_encoding=False)
            write_episodes(fresh / "data" / MAIN_FILE, steps, raw, unscale_action(action_space, steps.action))
            about = {
                "dataset_id": dataset_id,
                "algorithm_name": algorithm,
                "description": description,
                **(facts or {}),
            }
            _complete_metadata(fresh / "data", steps, about, reference)
        _register_namespace(dataset_id)
    except OSError as error:
        raise UserError(f"dataset {dataset_id} cannot be written to {folder}: {error}") from error
    return folder


def _fetch(dataset_id: str, folder: Path, download: bool) -> None:
    instead = (
        f"record one (offrl collect env=… to={dataset_id}), import a file (offrl dataset import FILE to={dataset_id}), "
        "or see what is here (offrl dataset list)"
    )
    if not download and (standard := _standard(dataset_id)):
        raise UserError(
            f"dataset {dataset_id} is not on this machine ({folder}): it is one of the standard sets, which "
            f"python scripts/make_datasets.py --only {standard} records, in the repository (docs/datasets.md)"
        )
    if not download:
        raise UserError(
            f"dataset {dataset_id} is not on this machine ({folder}): fetch it with dataset.download=true, {instead}"
        )
    from offrl.data.network import why_unreachable

    if reason := why_unreachable():
        raise UserError(f"dataset {dataset_id} cannot be downloaded: {reason}; {instead}")
    try:
        minari.load_dataset(dataset_id, download=True)
    except Exception as error:  # whatever the transport of the day raises
        raise UserError(
            f"dataset {dataset_id} cannot be downloaded: {type(error).__name__}: {error}; {instead}"
        ) from error


def _standard(dataset_id: str) -> str | None:
    """The name of its config, where it has one; all of those are at version 0."""
    name = dataset_id.removesuffix("-v0")
    return name if (config_dir() / "dataset" / f"{name}.yaml").is_file() else None


def _open(dataset_id: str, folder: Path) -> minari.MinariDataset:
    try:
        return minari.MinariDataset(folder / "data")
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise UserError(
            f"dataset {dataset_id} cannot be opened: {error}; if a download was interrupted, "
            f"delete {folder} and repeat it"
        ) from error


def _metadata(folder: Path) -> dict[str, Any]:
    return MinariStorage.read_raw_metadata(folder / "data")


def _own(metadata: Mapping[str, Any]) -> bool:
    """Whether `write` wrote it: then `log_prob` is of actions in [-1, 1], else in the units of the actions there."""
    return metadata.get("author") == AUTHOR


def _verify(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Compare the main file with the size and checksum that were noted when it was written, where they were."""
    file = folder / "data" / MAIN_FILE
    noted = metadata.get("main_file")
    if noted is None or not file.exists():
        return
    size = file.stat().st_size
    if size != noted["size"]:
        raise UserError(
            f"{file} has {size:,} bytes instead of {noted['size']:,}: the download or copy is incomplete; repeat it"
        )
    if _sha256(file) != noted["sha256"]:
        raise UserError(f"{file} has another checksum than its metadata say: it is damaged; fetch or record it again")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _build(
    dataset: minari.MinariDataset, obs_keys: Sequence[str], about: Mapping[str, Any], place: Path
) -> store.Stored:
    """Read the whole dataset into files at `place`: it need not fit into memory, unless they cannot be written."""
    try:
        with store.aside(place) as fresh:
            fresh.mkdir()
            steps = _assemble(dataset, obs_keys, about, functools.partial(store.new_array, fresh))
            facts = {"fingerprint": episodes.fingerprint(steps)}
            store.save_facts(fresh, facts)
    except OSError as error:
        log.warning("the cache %s cannot be written (%s): the dataset will be read in full each time", place, error)
        steps = _assemble(dataset, obs_keys, about, lambda _, shape, dtype: np.empty(shape, dtype))
        return steps, {"fingerprint": episodes.fingerprint(steps)}
    for old in place.parent.parent.iterdir():  # made from the dataset as it was before
        if old != place.parent:
            shutil.rmtree(old, ignore_errors=True)
    return store.open_steps(place) or (steps, facts)


def _assemble(
    dataset: minari.MinariDataset, obs_keys: Sequence[str], metadata: Mapping[str, Any], new: store.NewArray
) -> Steps:
    """Read every episode into arrays that `new` makes, once."""
    total, place = int(metadata["total_steps"]), dataset.spec.data_path
    shift = 0.0 if _own(metadata) else log_density_shift(dataset.action_space)
    arrays: dict[str, NDArray[Any]] = {}
    at = 0
    for number, episode in enumerate(_episodes(dataset)):
        rows = _rows(episode, dataset, obs_keys, f"{place}: episode {number}")
        if "extra.log_prob" in rows:
            rows["extra.log_prob"] = rows["extra.log_prob"] + shift
        if not arrays:
            arrays = {name: new(name, (total, *value.shape[1:]), value.dtype) for name, value in rows.items()}
        length = len(rows["reward"])
        if at + length > total:
            raise UserError(
                f"{place} has more steps than the {total:,} of its metadata: the two are not of one dataset"
            )
        for name, array in arrays.items():
            if name not in rows:
                raise UserError(
                    f"{place}: episode {number} has no {name.removeprefix('extra.')}, which earlier ones have"
                )
            array[at : at + length] = rows[name]
        at += length
    if at != total or total == 0:
        raise UserError(f"{place} has {at:,} steps, but its metadata say {total:,}: the download or copy is incomplete")
    return episodes.from_arrays(arrays)


def _rows(
    episode: Episode, dataset: minari.MinariDataset, obs_keys: Sequence[str], where: str
) -> dict[str, NDArray[Any]]:
    length = len(episode.rewards)
    try:
        obs = flatten_obs(dataset.observation_space, obs_keys, episode.observations)
        action = scale_action(dataset.action_space, episode.actions)
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(f"{where} does not have the shapes that the metadata say: {error}") from error
    sizes = {"observations": len(obs) - 1, "actions": len(action), "terminations": len(episode.terminations)}
    if wrong := {name: size for name, size in sizes.items() if size != length}:
        raise UserError(f"{where} has {length} rewards, but {wrong} (observations counted without the last one)")
    truncated = np.array(episode.truncations, np.bool_)
    truncated[-1:] |= ~episode.terminations[-1:]  # an episode ends with its last row, whatever ended it
    rows = {
        "obs": obs[:-1],
        "action": action,
        "reward": episode.rewards.astype(np.float32),
        "terminated": episode.terminations.astype(np.bool_),
        "truncated": truncated,
        "next_obs": obs[1:],
    }
    for name, value in episode.infos.items():
        if len(value) in (length, length + 1):  # what `reset` said comes first
            rows[f"extra.{name}"] = value[-length:]
    return rows


def _episodes(dataset: minari.MinariDataset) -> Iterator[Episode]:
    """Episodes as Minari gives them, and faster where its file can be read as it is."""
    file = Path(dataset.spec.data_path) / MAIN_FILE
    plain = all(
        isinstance(part, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)
        for space in (dataset.observation_space, dataset.action_space)
        for part in subspaces(space).values()
    )
    try:
        if file.exists() and plain and not dataset.storage.jpeg_encoding:
            yield from read_episodes(file, dataset.observation_space, dataset.episode_indices.tolist())
        else:
            yield from map(_episode, dataset.iterate_episodes())
    except (OSError, KeyError) as error:
        raise UserError(
            f"{file} cannot be read: {error}; it is incomplete or damaged: fetch or record it again"
        ) from error


def _episode(episode: minari.EpisodeData) -> Episode:
    infos = {name: np.asarray(episode.infos[name]) for name in KNOWN_INFOS if name in (episode.infos or {})}
    observations = cast("Observations", episode.observations)
    ends = episode.terminations, episode.truncations
    return Episode(observations, np.asarray(episode.actions), episode.rewards, *ends, infos)


def _complete_metadata(
    data: Path, steps: Steps, about: Mapping[str, Any], reference: tuple[float, float] | None
) -> None:
    file = data / "metadata.json"
    main = data / MAIN_FILE
    scores = {} if reference is None else {"ref_min_score": reference[0], "ref_max_score": reference[1]}
    metadata = json.loads(file.read_text()) | {
        "total_episodes": len(episodes.ends(steps)),
        "total_steps": len(steps),
        "dataset_size": round(main.stat().st_size / 1e6, 1),
        "author": AUTHOR,
        "author_email": [],
        "minari_version": importlib.metadata.version("minari"),
        "main_file": {"size": main.stat().st_size, "sha256": _sha256(main)},
        **scores,
        **about,
    }
    file.write_text(json.dumps(metadata))


def _register_namespace(dataset_id: str) -> None:
    namespace = parse_dataset_id(dataset_id)[0]
    if namespace is not None and namespace not in list_local_namespaces():
        create_namespace(namespace)
