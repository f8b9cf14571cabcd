from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import h5py
import minari as farama
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from offrl.data import minari
from offrl.data import steps as episodes
from offrl.errors import UserError
from offrl.types import Steps
from tests.data.synthetic import DISCRETE, PICTURE, SPEC, make_steps

ID = "test/small-v0"
BOX = spaces.Box(-np.inf, np.inf, (3,), np.float64)
ACTION = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


def write(steps: Steps, **more: Any) -> Path:
    arguments: dict[str, Any] = {"observation_space": BOX, "action_space": ACTION, **more}
    return minari.write(ID, steps, **arguments)


def same(one: Steps, other: Steps) -> None:
    for name, value in episodes.arrays(one).items():
        np.testing.assert_allclose(episodes.arrays(other)[name], value, atol=1e-6, err_msg=name)


def main_file() -> Path:
    return minari.local_path(ID) / "data" / "main_data.hdf5"


def test_what_is_written_is_read_and_cached() -> None:
    steps = make_steps([4, 3, 1], [True, False, True])
    write(steps)
    first = minari.read(ID)
    again = minari.read(ID)
    same(steps, first.steps)
    same(steps, again.steps)
    assert first.fingerprint == again.fingerprint == episodes.fingerprint(again.steps)
    assert isinstance(again.steps.obs, np.memmap)
    assert again.spec.action.low == (-2.0, 0.0)


def test_minari_itself_loads_it() -> None:
    env = gym.make("Pendulum-v1")
    steps = make_steps([4, 3], [True, False])
    write(
        steps,
        observation_space=env.observation_space,
        action_space=spaces.Box(-2, 2, (2,)),
        env_spec=env.spec,
        algorithm="random",
        reference=(-1200.0, -150.0),
        facts={"seed": 3, "code_version": "abc"},
    )
    dataset = farama.load_dataset(ID)
    assert (dataset.total_episodes, dataset.total_steps) == (2, 7)
    assert dataset.env_spec is not None
    assert dataset.env_spec.id == "Pendulum-v1"
    episode = dataset[1]
    assert episode.observations.shape == (4, 3)
    assert episode.actions.min() >= -2
    assert episode.truncations.tolist() == [False, False, True]
    about = dataset.storage.metadata
    assert (about["seed"], about["code_version"], about["ref_max_score"]) == (3, "abc", -150.0)
    assert list(minari.list_local()) == [ID]
    np.testing.assert_allclose(farama.get_normalized_score(dataset, np.array([-150.0])), 1.0)


def test_pictures_and_discrete_actions_keep_every_bit() -> None:
    pictures = make_steps([4, 3], [True, False], PICTURE)
    write(pictures, observation_space=spaces.Box(0, 255, (1, 4, 4), np.uint8), action_space=spaces.Discrete(4))
    same(pictures, minari.read(ID).steps)
    discrete = make_steps([4, 3], [True, False], DISCRETE)
    write(discrete, action_space=spaces.Discrete(4), overwrite=True)
    same(discrete, minari.read(ID).steps)


def test_goal_observations_keep_their_parts() -> None:
    space = spaces.Dict(
        observation=spaces.Box(-9, 9, (2,)), achieved_goal=spaces.Box(-9, 9, (2,)), desired_goal=spaces.Box(-9, 9, (1,))
    )
    steps = make_steps([4, 3], [True, False])
    steps.extra |= {"obs/achieved_goal": steps.obs[:, :2], "next_obs/achieved_goal": steps.next_obs[:, :2]}
    write(steps, observation_space=space, obs_keys=("observation", "desired_goal"))
    assert set(farama.load_dataset(ID)[0].observations) == {"observation", "achieved_goal", "desired_goal"}
    same(make_steps([4, 3], [True, False]), minari.read(ID, obs_keys=("observation", "desired_goal")).steps)
    whole = minari.read(ID, obs_keys=("achieved_goal", "observation"))
    assert whole.spec.obs.shape == (4,)
    del steps.extra["obs/achieved_goal"]
    write(steps, observation_space=space, obs_keys=("observation", "desired_goal"), overwrite=True)
    assert set(farama.load_dataset(ID)[0].observations) == {"observation", "desired_goal"}


def test_a_dataset_that_minari_wrote_is_read() -> None:
    rng = np.random.default_rng(0)
    buffers = [
        cast(Any, EpisodeBuffer)(
            id=number,
            observations=rng.normal(size=(length + 1, 4)).astype(np.float32),
            actions=rng.integers(2, size=length),
            rewards=np.ones(length),
            terminations=np.arange(length) == length - 1,
            truncations=np.zeros(length, np.bool_),
            infos={"success": np.arange(length + 1) == length, "note": np.zeros(length + 1)},
        )
        for number, length in enumerate((5, 3))
    ]
    kept: dict[str, Any] = {
        "algorithm_name": "x",
        "author": "x",
        "author_email": "x",
        "code_permalink": "x",
        "description": "x",
    }
    env: dict[str, Any] = {"env": "CartPole-v1", "eval_env": "CartPole-v1"}
    dataset = farama.create_dataset_from_buffers(ID, buffers, data_format="hdf5", **env, **kept)
    recording = minari.read(ID)
    expected = np.concatenate([episode.observations[1:] for episode in dataset])
    np.testing.assert_allclose(recording.steps.next_obs, expected)
    assert recording.spec.action.choices == (2,)
    assert np.flatnonzero(recording.steps.terminated).tolist() == [4, 7]
    assert np.flatnonzero(recording.steps.extra["success"]).tolist() == [4, 7]
    assert set(recording.steps.extra) == {"success"}


def test_densities_of_others_are_in_the_units_of_their_actions() -> None:
    """Here actions lie in [-2, 2] x [0, 2]: the density of a scaled one is 2 · 1 times as large."""
    space = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 2], np.float32))
    steps = make_steps([4, 3], [True, False])
    write(steps, action_space=space)
    same(steps, minari.read(ID).steps)
    drop_noted_checksum(author=["somebody"])
    np.testing.assert_allclose(minari.read(ID).steps.extra["log_prob"], steps.extra["log_prob"] + np.log(2), rtol=1e-6)


def test_the_cache_follows_the_data(caplog: pytest.LogCaptureFixture) -> None:
    write(make_steps([4], [True], seed=1))
    minari.read(ID)
    other = make_steps([5], [True], seed=2)
    write(other, overwrite=True)
    same(other, minari.read(ID).steps)
    assert len(list((minari.local_path(ID) / "offrl-cache").iterdir())) == 1
    for file in minari.cache_folder(ID).rglob("about.json"):
        file.write_text("{")
    same(other, minari.read(ID).steps)
    assert not caplog.records


def test_an_unwritable_cache_only_costs_time(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    steps = make_steps([4], [True])
    write(steps)
    monkeypatch.setattr(minari.store, "new_array", refuse)
    with caplog.at_level(logging.WARNING):
        same(steps, minari.read(ID).steps)
    assert "read in full each time" in caplog.text


def test_a_failure_while_writing_leaves_the_old_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    old = make_steps([4], [True])
    write(old)

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(minari, "_complete_metadata", disk_full)
    with pytest.raises(UserError, match="No space left"):
        write(make_steps([9], [True]), overwrite=True)
    same(old, minari.read(ID).steps)
    assert [path.name for path in minari.local_path(ID).parent.iterdir() if path.is_dir()] == ["small-v0"]


def test_a_taken_id_a_bad_id_and_jumps_are_refused() -> None:
    steps = make_steps([4], [True])
    write(steps)
    with pytest.raises(UserError, match="exists already"):
        write(steps)
    with pytest.raises(UserError, match="version at the end"):
        minari.read("hopper/medium")
    with pytest.raises(UserError, match="row 2"):
        write(replace(steps, obs=steps.obs[[0, 1, 3, 2]]), overwrite=True)


def test_an_incomplete_file_is_named() -> None:
    write(make_steps([400], [True]))
    content = main_file().read_bytes()
    main_file().write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"main_data\.hdf5.*incomplete"):
        minari.read(ID)
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 0xFF
    main_file().write_bytes(bytes(damaged))
    with pytest.raises(UserError, match="checksum"):
        minari.read(ID)


def drop_noted_checksum(**changes: Any) -> None:
    """Make the dataset look like one that somebody else wrote, with other claims."""
    file = minari.local_path(ID) / "data" / "metadata.json"
    about = json.loads(file.read_text()) | changes
    about.pop("main_file", None)
    file.write_text(json.dumps(about))


def test_a_truncated_file_without_checksum_is_named() -> None:
    write(make_steps([400], [True]))
    drop_noted_checksum()
    content = main_file().read_bytes()
    main_file().write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"main_data\.hdf5 cannot be read"):
        minari.read(ID)


@pytest.mark.parametrize("claimed", [5, 9])
def test_metadata_that_contradict_the_arrays_are_refused(claimed: int) -> None:
    write(make_steps([4, 3], [True, True]))
    drop_noted_checksum(total_steps=claimed)
    with pytest.raises(UserError, match=f"metadata say {claimed}|than the {claimed} of its metadata"):
        minari.read(ID)


def test_arrays_that_contradict_each_other_are_refused() -> None:
    write(make_steps([4, 3], [True, True]))
    drop_noted_checksum()
    with h5py.File(main_file(), "a") as file:
        del file["episode_1/actions"]
        file["episode_1/actions"] = np.zeros((2, 2), np.float32)
    with pytest.raises(UserError, match=r"episode 1 has 3 rewards.*'actions': 2"):
        minari.read(ID)


def test_a_space_of_another_shape_is_refused() -> None:
    write(make_steps([4], [True]), action_space=spaces.Box(-1, 1, (2,)))
    wrong = json.dumps({"type": "Box", "dtype": "float32", "shape": [3], "low": [-1.0] * 3, "high": [1.0] * 3})
    drop_noted_checksum(action_space=wrong)
    with pytest.raises(UserError, match="shapes that the metadata say"):
        minari.read(ID)


def test_without_network_it_says_what_to_do_instead_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"make_datasets\.py --only hopper/medium-replay "):
        minari.read("hopper/medium-replay-v0")
    with pytest.raises(UserError, match=r"dataset\.download=true.*offrl collect"):
        minari.read("D4RL/nothing-v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    start = time.monotonic()
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE.*offrl collect.*offrl dataset import"):
        minari.read("D4RL/nothing-v2", download=True)
    assert time.monotonic() - start < 5


def test_an_unreachable_remote_is_told_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from offrl.data import network

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_HUB_OFFLINE", "MINARI_REMOTE"):
        monkeypatch.delenv(name, raising=False)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(network.socket, "create_connection", refuse)
    with pytest.raises(UserError, match="cannot be reached"):
        minari.read("D4RL/nothing-v2", download=True)


def test_spec_of_the_dataset_is_that_of_one_frame() -> None:
    write(make_steps([4], [True]))
    assert minari.read(ID).spec.obs == SPEC.obs
