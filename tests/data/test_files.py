from __future__ import annotations

import gzip
import hashlib
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from offrl.build import build
from offrl.data import steps as episodes
from offrl.data.checks import check
from offrl.data.files import FileData
from offrl.data.steps import Recording
from offrl.errors import UserError
from offrl.types import Steps
from tests.data.synthetic import DISCRETE, make_steps

CONFIGS = Path(__file__).parents[2] / "configs" / "dataset"


def recipe(path: Path, **settings: Any) -> FileData:
    """What `dataset=path` builds."""
    node: dict[str, Any] = {}
    for name in ("_prepared", "file"):
        node |= yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    node.pop("defaults")
    return build(node | {"obs_keys": None, "history": 0, "path": str(path), **settings}, "dataset")


def read(path: Path, **settings: Any) -> Recording:
    return recipe(path, **settings).read()


def d4rl(steps: Steps) -> dict[str, np.ndarray]:
    return {
        "observations": steps.obs,
        "actions": steps.action,
        "rewards": steps.reward,
        "terminals": steps.terminated,
        "timeouts": steps.truncated,
        "next_observations": steps.next_obs,
        "infos/action_log_probs": steps.extra["log_prob"],
    }


def save(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **cast("dict[str, Any]", arrays))
    else:
        with h5py.File(path, "w") as file:
            for name, value in arrays.items():
                file[name] = value
    return path


def write_csv(path: Path, steps: Steps, header: bool = True, **more: np.ndarray) -> Path:
    """One row a step, with `episode`, `t` and `done`."""
    number = np.repeat(np.arange(len(episodes.ends(steps))), episodes.lengths(steps))
    columns = {
        "episode": number,
        "t": steps.obs[:, 1],
        "obs_0": steps.obs[:, 0],
        "obs_1": steps.obs[:, 1],
        "obs_2": steps.obs[:, 2],
    }
    columns |= {"action": steps.action, "reward": steps.reward, "done": steps.terminated.astype(int), **more}
    lines = [",".join(columns)] if header else []
    lines += [",".join(str(value) for value in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def same(one: Steps, other: Steps, *, ends: bool = True) -> None:
    for name, value in episodes.arrays(one).items():
        if ends or name not in ("terminated", "truncated"):
            np.testing.assert_allclose(episodes.arrays(other)[name], value, atol=1e-6, err_msg=name)


STEPS = make_steps([4, 3, 5], [True, False, True])
CHOICES = make_steps([4, 3, 5], [True, True, True], DISCRETE)


@pytest.mark.parametrize("name", ["log.npz", "log.hdf5"])
def test_d4rl_layout(tmp_path: Path, name: str) -> None:
    recording = read(save(tmp_path / name, d4rl(STEPS)))
    same(STEPS, recording.steps)
    assert recording.spec.action.low == (-1.0, -1.0)


def test_without_successors_the_last_step_of_a_truncated_episode_is_left_out_and_said(tmp_path: Path) -> None:
    arrays = d4rl(STEPS)
    del arrays["next_observations"]
    recording = read(save(tmp_path / "log.npz", arrays))
    assert episodes.lengths(recording.steps).tolist() == [4, 2, 5]
    assert recording.steps.truncated.tolist() == [False] * 5 + [True] + [False] * 5
    inner = ~recording.steps.terminated
    assert (recording.steps.next_obs - recording.steps.obs)[inner, 1].tolist() == [1.0] * 9
    assert "successor is not logged" in recording.metadata["notes"][0]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_with_a_mapping(tmp_path: Path, suffix: str) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, prob=np.exp(-np.abs(CHOICES.extra["log_prob"])))
    if suffix == ".parquet":
        from pyarrow import csv, parquet

        parquet.write_table(csv.read_csv(path), path := tmp_path / "log.parquet")
    recording = read(path, obs=["obs_*"], action=["action"], terminated="done", probability="prob")
    steps = recording.steps
    np.testing.assert_allclose(steps.obs, CHOICES.obs)
    np.testing.assert_array_equal(steps.action, CHOICES.action)
    np.testing.assert_allclose(steps.extra["log_prob"], -np.abs(CHOICES.extra["log_prob"]), rtol=1e-4, atol=1e-5)
    assert recording.spec.action.choices == (4,)
    assert "discrete" in " ".join(recording.metadata["notes"])
    inner = ~steps.terminated
    np.testing.assert_allclose(steps.next_obs[inner], CHOICES.next_obs[inner])


def test_parquet_lists_are_vectors(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {
        "obs": list(STEPS.obs),
        "action": list(STEPS.action),
        "reward": STEPS.reward,
        "done": STEPS.terminated,
        "timeout": STEPS.truncated,
    }
    parquet.write_table(pa.table(columns), tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet").spec.obs.shape == (3,)
    large = {**columns, "obs": pa.array(columns["obs"], pa.large_list(pa.float32()))}
    parquet.write_table(pa.table(large), tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet").spec.obs.shape == (3,)
    picture = pa.list_(pa.list_(pa.list_(pa.uint8())))
    pictures = {**columns, "obs": pa.array(np.zeros((12, 1, 32, 32), np.uint8).tolist(), picture)}
    parquet.write_table(pa.table(pictures), tmp_path / "log.parquet")
    assert read(tmp_path / "log.parquet").spec.obs.shape == (1, 32, 32)
    ragged = {**columns, "obs": [row[: 1 + i % 2] for i, row in enumerate(STEPS.obs)]}
    parquet.write_table(pa.table(ragged), tmp_path / "log.parquet")
    with pytest.raises(UserError, match=r"contradicts|differ in length"):
        read(tmp_path / "log.parquet")


def test_decimals_are_numbers(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import csv, parquet

    table = csv.read_csv(write_csv(tmp_path / "log.csv", CHOICES))
    exact = table["reward"].cast(pa.decimal128(18, 6), safe=False)
    parquet.write_table(table.set_column(table.column_names.index("reward"), "reward", exact), tmp_path / "log.parquet")
    np.testing.assert_allclose(read(tmp_path / "log.parquet").steps.reward, CHOICES.reward, atol=1e-6)


def test_rows_are_put_in_order(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    header, *rows = path.read_text().splitlines()
    shuffled = np.random.default_rng(0).permutation(len(rows))
    path.write_text("\n".join([header, *(rows[i] for i in shuffled)]))
    unknown = tmp_path / "other.csv"  # the usual names find t, but no clock
    unknown.write_text(path.read_text().replace("episode,t,", "episode,clock,"))
    with pytest.raises(UserError, match=r"alternate.*dataset\.order"):
        read(unknown)
    ordered = read(path, order="t").steps
    assert not len(episodes.discontinuities(ordered))
    assert sorted(episodes.lengths(ordered)) == [3, 4, 5]


def test_a_file_that_was_moved_is_the_same_data(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    moved = tmp_path / "moved.csv"
    moved.write_bytes(path.read_bytes())
    assert recipe(path).load().fingerprint == recipe(moved).load().fingerprint
    assert recipe(path).load().fingerprint != recipe(moved, reward_scale=2.0).load().fingerprint


def test_a_clock_orders_rows_that_no_column_tells_apart(tmp_path: Path) -> None:
    """What counts anew in each episode cannot."""
    path = write_csv(tmp_path / "log.csv", CHOICES, clock=np.arange(len(CHOICES)) * 7)
    expected = read(path, order="clock", episode="none")
    header, *rows = path.read_text().splitlines()
    shuffled = np.random.default_rng(0).permutation(len(rows))
    path.write_text("\n".join([header, *(rows[i] for i in shuffled)]))
    assert read(path, order="clock", episode="none").fingerprint == expected.fingerprint
    assert read(path, order="none", episode="none").fingerprint != expected.fingerprint
    with pytest.raises(UserError, match=r"dataset\.order=t: it has the same value .* name that, dataset\.episode"):
        read(path, order="t", episode="none")


def test_ends_without_a_flag_are_guessed_and_said(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    path.write_text(path.read_text().replace("done", "ignored"))
    ended = read(path)
    assert ended.steps.terminated.sum() == 3
    assert "3 episodes end without a flag: taken as terminated" in " ".join(ended.metadata["notes"])
    cut = read(path, unmarked_end="truncated")
    assert not cut.steps.terminated.any()
    assert len(cut.steps) == 9
    path.write_text(path.read_text().replace("episode", "nothing"))
    with pytest.raises(UserError, match=r"where episodes end.*dataset\.episode"):
        read(path)


# Traps -------------------------------------------------------------------------------------------------------------


def findings(recording: Recording, out_of_bounds: Any = "refuse") -> dict[str, str]:
    return {f.check: f"{f.severity}: {f.message}" for f in check(recording, out_of_bounds)}


def test_a_time_limit_stored_as_termination_is_suspected_and_repaired(tmp_path: Path) -> None:
    steps = make_steps([5] * 9 + [3], [True] * 10)
    path = save(tmp_path / "log.npz", d4rl(steps))
    assert "warn: 9 of 10" in findings(read(path))["time limit"]
    assert "timeouts_at=5" in findings(read(path))["time limit"]
    dataset = recipe(path, timeouts_at=5).load()
    assert dataset.steps.truncated.sum() == 9
    assert dataset.steps.terminated.sum() == 1


def test_what_a_time_limit_cut_off_needs_a_successor(tmp_path: Path) -> None:
    """Else its last step would bootstrap from the very state that it is in."""
    steps = make_steps([5] * 4 + [3], [True] * 5)
    arrays = d4rl(steps)
    del arrays["next_observations"]
    dataset = recipe(save(tmp_path / "log.npz", arrays), timeouts_at=5).load()
    assert episodes.lengths(dataset.steps).tolist() == [4] * 4 + [3]
    assert dataset.steps.truncated.sum() == 4
    assert dataset.steps.terminated.sum() == 1
    inner = ~dataset.steps.terminated
    assert (dataset.steps.next_obs[inner, 1] == dataset.steps.obs[inner, 1] + 1).all()


def test_the_same_time_twice_in_an_episode_is_refused(tmp_path: Path) -> None:
    clock = np.array([0, 1, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4])
    path = write_csv(tmp_path / "log.csv", CHOICES, clock=clock)
    with pytest.raises(UserError, match=r"1 rows .* same clock .*\(row 2, counted from 0\).*dataset\.order=none"):
        read(path, order="clock")
    assert len(read(path, order="none").steps) == 12


@pytest.mark.parametrize("unit", [1, 4])
def test_a_counter_that_skips_is_noted_with_its_rows(tmp_path: Path, unit: int) -> None:
    clock = np.array([0, 1, 3, 5, 0, 1, 2, 0, 1, 2, 3, 4]) * unit
    notes = read(write_csv(tmp_path / "log.csv", CHOICES, clock=clock), order="clock").metadata["notes"]
    assert "clock skips values within episodes before 2 rows (rows 2, 3, counted from 0)" in " ".join(notes)
    seconds = np.random.default_rng(0).integers(10, 5000, 12).cumsum()
    notes = read(write_csv(tmp_path / "log.csv", CHOICES, clock=seconds), order="clock").metadata["notes"]
    assert "skips" not in " ".join(notes)


def test_an_order_that_only_the_rows_tell_is_not_called_checked(tmp_path: Path) -> None:
    assert "not to be checked" in findings(read(write_csv(tmp_path / "log.csv", CHOICES)))["order"]
    assert "every step begins" in findings(read(save(tmp_path / "log.npz", d4rl(STEPS))))["order"]


def test_flags_that_slipped_by_a_row_are_noted(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, over=np.roll(CHOICES.terminated, -1).astype(int))
    notes = " ".join(read(path, terminated="over").metadata["notes"])
    assert "3 ends are flagged before the last row of their episode (rows 2, 5, 10, counted from 0)" in notes
    assert "flagged" not in " ".join(read(path, terminated="done").metadata["notes"])


def test_actions_outside_their_bounds_are_refused_or_clipped_with_their_share(tmp_path: Path) -> None:
    arrays = d4rl(STEPS)
    arrays["actions"] = arrays["actions"].copy()
    arrays["actions"][:3] = 1.5
    path = save(tmp_path / "log.npz", arrays)
    bounds = {"action_low": -1, "action_high": 1}
    with pytest.raises(UserError, match=r"25\.00% of the actions.*out_of_bounds=clip"):
        recipe(path, **bounds).load()
    dataset = recipe(path, **bounds, out_of_bounds="clip").load()
    assert np.abs(dataset.steps.action).max() == 1.0
    inferred = read(path)
    assert inferred.spec.action.high == (1.5, 1.5)
    assert "bounds of actions taken from the data" in inferred.metadata["notes"][0]


@pytest.mark.parametrize("name", ["log.npz", "log.hdf5"])
def test_one_more_observation_than_actions_in_each_episode(tmp_path: Path, name: str) -> None:
    arrays = d4rl(STEPS)
    del arrays["next_observations"]
    ends = episodes.ends(STEPS)
    parts = np.split(STEPS.obs, ends[:-1] + 1)
    arrays["observations"] = np.concatenate(
        [np.append(p, STEPS.next_obs[e : e + 1], axis=0) for p, e in zip(parts, ends, strict=True)]
    )
    recording = read(save(tmp_path / name, arrays))
    same(STEPS, recording.steps)
    assert "one row more than actions" in recording.metadata["notes"][0]
    backwards = {"episode": np.repeat([0, 1, 2], [4, 3, 5]), "t": -np.arange(12)}
    with pytest.raises(UserError, match="out of order and one observation more"):
        read(save(tmp_path / name, arrays | backwards), terminated="none", truncated="none")
    arrays["observations"] = arrays["observations"][:-1]
    with pytest.raises(UserError, match=r"contradicts itself: \[14\] rows.*12 actions in 3 episodes"):
        read(save(tmp_path / name, arrays))


def test_a_csv_without_a_header_is_recognised(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, header=False)
    with pytest.raises(UserError, match=r"no header.*dataset\.header"):
        read(path)
    header = ["episode", "t", "obs_0", "obs_1", "obs_2", "action", "reward", "done"]
    np.testing.assert_allclose(read(path, header=header).steps.obs, CHOICES.obs)
    path.write_text(path.read_text().replace(",", ";").replace(".", ","))
    with pytest.raises(UserError, match=r"no header.*dataset\.header"):
        read(path)
    np.testing.assert_allclose(read(path, header=header).steps.obs, CHOICES.obs)


def test_arrays_of_different_lengths_are_refused(tmp_path: Path) -> None:
    arrays = d4rl(STEPS)
    for name in ("actions", "terminals", "infos/action_log_probs"):
        with pytest.raises(UserError, match=r"contradicts itself.*11 rows"):
            read(save(tmp_path / "log.npz", arrays | {name: arrays[name][:-1]}))


def test_attributes_that_contradict_the_arrays_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "log.hdf5", d4rl(STEPS))
    with h5py.File(path, "a") as file:
        file.attrs["total_steps"] = 1000
    with pytest.raises(UserError, match=r"total_steps=1,000 but has 12"):
        read(path)


@pytest.mark.parametrize("name", ["log.npz", "log.hdf5"])
def test_goal_observations(tmp_path: Path, name: str) -> None:
    arrays = d4rl(STEPS)
    for role in ("observations", "next_observations"):
        whole = arrays.pop(role)
        arrays |= {
            f"{role}/observation": whole,
            f"{role}/achieved_goal": whole[:, :2],
            f"{role}/desired_goal": whole[:, 1:2],
        }
    path = save(tmp_path / name, arrays)
    recording = read(path)
    assert recording.spec.obs.shape == (4,)
    assert set(recording.obs_keys) == {"observation", "desired_goal"}
    assert recording.steps.extra["obs/achieved_goal"].shape == (12, 2)
    assert read(path, obs_keys=["achieved_goal"]).spec.obs.shape == (2,)


@pytest.mark.parametrize("name", ["log.npz", "log.hdf5", "log.parquet"])
def test_an_incomplete_download_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.table({"reward": np.arange(1000.0)}), path)
    else:
        save(path, d4rl(make_steps([500], [True])))
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"{name} cannot be read.*incomplete"):
        read(path)
    with pytest.raises(UserError, match=f"instead of {len(content):,}: the download is incomplete"):
        read(path, size=len(content))
    with pytest.raises(UserError, match="sha256"):
        read(path, sha256=digest)
    Path(f"{path}.sha256").write_text(f"{digest}  {name}\n")
    with pytest.raises(UserError, match="sha256"):
        read(path)


def test_an_incomplete_csv_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    path.write_text(path.read_text()[:-12])
    with pytest.raises(UserError, match=r"log\.csv cannot be read.*incomplete"):
        read(path)


def test_whole_numbers_where_floats_belong_are_said(tmp_path: Path) -> None:
    arrays = d4rl(STEPS) | {"actions": np.sign(STEPS.action).astype(np.int64)}
    recording = read(save(tmp_path / "log.npz", arrays))
    assert recording.spec.action.kind == "continuous"
    assert "were they rounded?" in recording.metadata["notes"][0]
    arrays["observations"] = (STEPS.obs * 1e8).astype(np.int64)
    notes = " ".join(read(save(tmp_path / "log.npz", arrays)).metadata["notes"])
    assert "2^24" in notes
    floats = d4rl(CHOICES) | {"actions": CHOICES.action.astype(np.float64)}
    notes = " ".join(read(save(tmp_path / "log.npz", floats)).metadata["notes"])
    assert "dataset.action_kind=discrete?" in notes
    chosen = read(save(tmp_path / "log.npz", floats), action_kind="discrete", choices=6)
    assert chosen.spec.action.choices == (6,)
    assert chosen.steps.action.dtype == np.int64


def test_holes_and_words_are_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    good = path.read_text().splitlines()
    cells = good[3].split(",")
    cells[3] = ""
    path.write_text("\n".join([*good[:3], ",".join(cells), *good[4:]]))
    with pytest.raises(UserError, match=r"NaN or infinite: obs in 1 rows \(row 2 of log\.csv, counted from 0\)"):
        recipe(path).load()
    cells[3] = "left"
    path.write_text("\n".join([*good[:3], ",".join(cells), *good[4:]]))
    with pytest.raises(UserError, match=r"column obs_1 .*is not numbers: row 2, counted from 0, has 'left'"):
        read(path)


def test_rows_are_counted_as_in_the_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", make_steps([4, 4], [False, False], DISCRETE))
    header, *rows = path.read_text().splitlines()
    rows[5] = rows[5].replace("1,1.0,1.0,1.0,101.0,", "1,1.0,1.0,nan,101.0,")
    path.write_text("\n".join([header, *rows]))
    settings = {"truncated": "done", "unmarked_end": "truncated"}  # the last step of each episode is left out
    assert "obs in 1 rows (row 5 of log.csv" in findings(read(path, **settings))["finite"]
    path.write_text("\n".join([header, *reversed(rows)]))
    assert "obs in 1 rows (row 2 of log.csv" in findings(read(path, **settings))["finite"]


def test_a_column_named_for_one_role_is_not_searched_for_another(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    cut = read(path, truncated="done").steps
    assert cut.truncated.sum() == 3
    assert not cut.terminated.any()
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]))
    ordered = read(path, obs=["obs_0", "t"]).steps  # but what is observed may order the rows as well
    assert not len(episodes.discontinuities(ordered))


def test_none_says_that_there_is_no_such_column(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    assert read(path).steps.terminated.sum() == 3
    assert not read(path, terminated="none", unmarked_end="truncated").steps.terminated.any()
    with pytest.raises(UserError, match="no column is known as reward"):
        read(path, reward="none")


@pytest.mark.parametrize("zone", ["", "+02:00"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_dates_order_rows(tmp_path: Path, suffix: str, zone: str) -> None:
    minutes = np.concatenate([np.arange(n) for n in episodes.lengths(CHOICES)])
    dates = np.array([f"2024-01-31T10:{minute:02}:00{zone}" for minute in minutes])
    path = write_csv(tmp_path / "log.csv", CHOICES, timestamp=dates)
    header, *rows = path.read_text().replace("episode,t,", "episode,clock,").splitlines()
    shuffled = np.random.default_rng(0).permutation(len(rows))
    path.write_text("\n".join([header, *(rows[i] for i in shuffled)]))
    expected = read(path, order="clock").steps
    if suffix != ".csv":
        path = _as_text(path, tmp_path / f"log{suffix}")
    same(expected, read(path).steps)
    same(expected, read(path, order="timestamp").steps)


def _as_text(table: Path, path: Path) -> Path:
    """The same in another format, with dates as text."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    dates = csv.ConvertOptions(column_types={"timestamp": pa.string()})
    columns = csv.read_csv(table, convert_options=dates)
    if path.suffix == ".parquet":
        parquet.write_table(columns, path)
        return path
    arrays = {name: columns[name].to_numpy() for name in columns.column_names}
    return save(path, {name: value.astype(str) if value.dtype == object else value for name, value in arrays.items()})


def test_what_cannot_order_rows_is_named(tmp_path: Path) -> None:
    dates = np.array([f"2024-01-31T10:{minute:02}:00" for minute in range(12)])
    dates[7] = "noon"
    path = write_csv(tmp_path / "log.csv", CHOICES, when=dates)
    with pytest.raises(
        UserError, match=r"column when .* neither numbers nor dates \(row 7, counted from 0, has 'noon'"
    ):
        read(path, order="when")
    dates[7] = ""
    path = write_csv(tmp_path / "log.csv", CHOICES, when=dates)
    with pytest.raises(UserError, match=r"1 rows .* nothing in column when, the first is row 7.*dataset\.order=none"):
        read(path, order="when")


def test_dates_with_and_without_a_zone_are_not_mixed(tmp_path: Path) -> None:
    dates = np.array([f"2024-01-31T10:{minute:02}:00+01:00" for minute in range(12)])
    dates[7] = "2024-01-31T10:07:00"
    path = write_csv(tmp_path / "log.csv", CHOICES, when=dates)
    with pytest.raises(UserError, match=r"column when .* with a time zone, as in row 0.* and without, as in row 7"):
        read(path, order="when")


def test_a_missing_choice_is_named(tmp_path: Path) -> None:
    action = CHOICES.action.astype(float)
    action[5] = np.nan
    arrays = d4rl(CHOICES) | {"actions": action}
    with pytest.raises(UserError, match="1 rows have no action, the first is row 5"):
        read(save(tmp_path / "log.npz", arrays), action_kind="discrete")


def test_more_choices_than_float32_can_tell_apart_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"100,000,004 choices.*renumber"):
        recipe(save(tmp_path / "log.npz", d4rl(CHOICES) | {"actions": CHOICES.action + 100_000_000})).load()


def test_an_order_in_large_numbers_is_not_rounded(tmp_path: Path) -> None:
    clock = (np.arange(12) + 1_704_279_780_000).astype(np.int64)
    notes = read(write_csv(tmp_path / "log.csv", CHOICES, clock=clock), order="clock").metadata["notes"]
    assert "2^24" not in " ".join(notes)


@pytest.mark.parametrize("ids", [np.array([0, 0, np.nan] * 4), np.array(["a", "a", ""] * 4)])
def test_missing_episode_ids_are_refused(tmp_path: Path, ids: np.ndarray) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, user=ids)
    with pytest.raises(UserError, match=r"4 rows .* nothing in column user, the first is row 2, counted from 0"):
        read(path, episode="user", order="t")
    from pyarrow import csv, parquet

    nulls = csv.ConvertOptions(strings_can_be_null=True)
    parquet.write_table(csv.read_csv(path, convert_options=nulls), tmp_path / "log.parquet")
    with pytest.raises(UserError, match=r"4 rows .* nothing in column user, the first is row 2"):
        read(tmp_path / "log.parquet", episode="user", order="t")


@pytest.mark.parametrize(("first", "episodes_found"), [(18446744073709550000, 3), (2**62, 3), (2**65, None)])
def test_long_ids_stay_apart(tmp_path: Path, first: int, episodes_found: int | None) -> None:
    ids = np.repeat([str(first + i) for i in range(3)], [4, 3, 5])
    path = write_csv(tmp_path / "log.csv", CHOICES, user=ids)
    if episodes_found is None:
        with pytest.raises(UserError, match=r"column user .* floating-point numbers up to .* as text"):
            read(path, episode="user", terminated="none")
    else:
        assert len(episodes.ends(read(path, episode="user", terminated="none").steps)) == episodes_found


def test_text_that_is_not_utf8_still_tells_episodes_apart(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, user=np.repeat(["Müller", "Ä", "Ö"], [4, 3, 5]))
    text = path.read_text()
    path.write_bytes(text.encode("latin-1"))
    assert episodes.lengths(read(path, episode="user", terminated="none").steps).tolist() == [4, 3, 5]
    path.write_bytes(text.replace("user", "größe").encode("latin-1"))
    with pytest.raises(UserError, match=r"names of its columns are not UTF-8"):
        read(path)
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(UserError, match=r"UTF-16.*save it as UTF-8"):
        read(path)


def test_names_of_columns_are_unique_and_only_a_star_is_special(tmp_path: Path) -> None:
    more: dict[str, Any] = {"price [EUR]": np.arange(12) / 12, "ok?": np.zeros(12)}
    path = write_csv(tmp_path / "log.csv", CHOICES, **more)
    assert read(path, obs=["price [EUR]", "ok?"]).spec.obs.shape == (2,)
    with pytest.raises(UserError, match=r"obs=ob\?_0: no such column"):
        read(path, obs="ob?_0")
    path.write_text(path.read_text().replace("obs_1", "obs_0"))
    with pytest.raises(UserError, match="has 2 columns of the name 'obs_0'"):
        read(path)


def test_what_names_were_taken_for_is_said(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, comment=np.arange(12))
    told = findings(read(path, reward="reward"))["columns"]
    assert told.startswith("ok: taken by their names: ")
    assert "action = action" in told
    assert "obs = obs_0, obs_1, obs_2" in told
    assert "reward" not in told
    assert told.endswith("not used: comment")


def test_actions_are_not_guessed_from_what_is_said_about_them(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, action_prob=np.ones(12))
    path.write_text(path.read_text().replace("action,", "action_id,"))
    with pytest.raises(UserError, match="no column is known as action"):
        read(path)
    path.write_text(path.read_text().replace("action_id,", "action_0,"))
    np.testing.assert_array_equal(read(path).steps.action, CHOICES.action)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.tsv"])
def test_separators_and_compression(tmp_path: Path, name: str, separator: str) -> None:
    content = write_csv(tmp_path / "plain.csv", CHOICES).read_text().replace(",", separator)
    if separator == ";":
        content = content.replace(".", ",")
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    recording = read(path)
    same(read(tmp_path / "plain.csv").steps, recording.steps)
    assert ("decimal comma" in " ".join(recording.metadata["notes"])) == (separator == ";")


def test_an_incomplete_compressed_file_is_named(tmp_path: Path) -> None:
    content = gzip.compress(write_csv(tmp_path / "log.csv", make_steps([500], [True], DISCRETE)).read_bytes())
    (tmp_path / "log.csv.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"cannot be read.*incomplete"):
        read(tmp_path / "log.csv.gz")


def test_files_without_rows_and_with_rows_of_other_lengths_are_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    header, *rows = path.read_text().splitlines()
    path.write_text(f"{header}\n")
    with pytest.raises(UserError, match=r"log\.csv has no rows"):
        read(path)
    path.write_text("")
    with pytest.raises(UserError, match="is empty: it has 0 bytes"):
        read(path)
    path.write_text("\n".join([header, rows[0], "1,2,3", *rows[1:]]))
    with pytest.raises(UserError, match=r"Row #3: Expected 8 columns, got 3.*counted from 1.*as many cells"):
        read(path)


def test_lists_of_other_lengths_are_refused_also_where_their_sum_would_fit(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {"obs": [[1.0], [1.0, 2.0, 3.0]], "action": [0, 1], "reward": [0.0, 1.0], "done": [0, 1]}
    parquet.write_table(pa.table(columns), tmp_path / "log.parquet")
    with pytest.raises(UserError, match="lists in column obs differ in length"):
        read(tmp_path / "log.parquet")


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES)
    with pytest.raises(UserError, match=r"dataset\.reward=gain: no such column; .*obs_0"):
        read(path, reward="gain")
    path.write_text(path.read_text().replace("reward", "gain"))
    with pytest.raises(UserError, match=r"known as reward: name it with dataset\.reward"):
        read(path)


# Files that run code ------------------------------------------------------------------------------------------------


class Mischief:
    """Leaves a mark when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    objects = np.array([Mischief(mark)], dtype=object)
    np.savez(tmp_path / "log.npz", observations=objects, rewards=np.zeros(1))
    np.save(tmp_path / "log.npy", objects, allow_pickle=True)
    (tmp_path / "log.pkl").write_bytes(pickle.dumps(Mischief(mark)))
    (tmp_path / "fake.npz").write_bytes(pickle.dumps(Mischief(mark)))
    (tmp_path / "log.yaml").write_text(f"!!python/object/apply:os.mkdir ['{mark}']")
    for name in ("log.npz", "log.npy", "log.pkl", "fake.npz", "log.yaml"):
        with pytest.raises(UserError):
            read(tmp_path / name)
        assert not mark.exists(), name
    with pytest.raises(yaml.YAMLError):
        OmegaConf.load(tmp_path / "log.yaml")
    assert not mark.exists()
    pickle.loads((tmp_path / "log.pkl").read_bytes())
    assert mark.exists(), "the trap itself works"


def test_unknown_and_missing_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "log.csv")
    (tmp_path / "log.txt").write_text("x")
    with pytest.raises(UserError, match=r"unknown kind '\.txt'"):
        read(tmp_path / "log.txt")


def test_objects_in_hdf5_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "log.hdf5", "w") as file:
        file["observations"] = ["a", "b"]
    with pytest.raises(UserError, match="objects or text"):
        read(tmp_path / "log.hdf5")


def test_a_minari_file_is_recognised(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "main_data.hdf5", "w") as file:
        file["episode_0/actions"] = np.zeros(3)
    with pytest.raises(UserError, match="by its id"):
        read(tmp_path / "main_data.hdf5")


def test_densities_are_converted_to_the_units_of_the_actions(tmp_path: Path) -> None:
    """Uniform over a box: its density in [-1, 1] x [-1, 1] is 1/4, whatever the bounds."""
    unit = np.random.default_rng(0).uniform(-1, 1, (12, 2))
    arrays = d4rl(STEPS) | {"actions": (unit + 1) * [5.0, 0.5], "probability": np.full(12, 1 / 10)}
    arrays.pop("infos/action_log_probs")
    path = save(tmp_path / "log.npz", arrays)
    bounds = {"action_low": [0.0, 0.0], "action_high": [10.0, 1.0]}
    np.testing.assert_allclose(read(path, **bounds).steps.extra["log_prob"], -np.log(4), rtol=1e-6)
    inferred = read(path)
    low, high = (np.array(side) for side in (inferred.spec.action.low, inferred.spec.action.high))
    expected = np.log(1 / 10) + np.log((high - low) / 2).sum()
    np.testing.assert_allclose(inferred.steps.extra["log_prob"], expected, rtol=1e-6)


def test_likelihoods_that_the_config_names_win(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, log_prob=np.full(12, -5.0), mu=np.full(12, 0.5))
    for name in ({"probability": "mu"}, {"probability": "mu", "log_prob": "none"}):
        np.testing.assert_allclose(read(path, **name).steps.extra["log_prob"], np.log(0.5))
    assert (read(path).steps.extra["log_prob"] == -5.0).all()
    with pytest.raises(UserError, match="name only one"):
        read(path, probability="mu", log_prob="log_prob")


def test_log_probabilities_above_0_name_their_row_in_the_file(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", CHOICES, log_prob=np.where(np.arange(12) == 3, 0.7, -0.7))
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]))
    with pytest.raises(UserError, match=r"row 8 of .*log_prob=0\.7.*at most 0"):
        read(path)


@pytest.mark.parametrize("wrong", [0.0, 1.25, np.nan])
def test_probabilities_that_are_none_name_their_row(tmp_path: Path, wrong: float) -> None:
    probability = np.full(len(CHOICES.reward), 0.5)
    probability[[3, 5]] = wrong
    path = write_csv(tmp_path / "log.csv", CHOICES, prob=probability)
    with pytest.raises(UserError, match=rf"row 3 of .*prob={wrong:g}.*2 rows"):
        read(path, obs=["obs_*"], action=["action"], terminated="done", probability="prob")
