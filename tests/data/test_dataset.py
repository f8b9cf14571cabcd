from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from offrl.data import steps as episodes
from offrl.data.dataset import Dataset
from offrl.data.mixture import Mixture
from offrl.errors import UserError
from offrl.types import ObsSpec, Spec, Steps
from tests.data.synthetic import DISCRETE, PICTURE, SPEC, make_steps

shapes = st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=6)


def windows(spec: Spec, history: int) -> Spec:
    return replace(spec, obs=ObsSpec((history, *spec.obs.shape), spec.obs.dtype, history))


def tags(obs: torch.Tensor, spec: Spec) -> tuple[torch.Tensor, torch.Tensor]:
    """Episode and time that an observation was made from."""
    return (obs[..., 0, 0, 0], obs[..., 0, 0, 1]) if spec.obs.is_image else (obs[..., 0], obs[..., 1])


@given(shapes, st.integers(1, 4), st.sampled_from([0, 1, 3]), st.sampled_from([SPEC, DISCRETE, PICTURE]))
def test_a_batch_never_crosses_an_episode_boundary(
    shape: list[tuple[int, bool]], n_step: int, history: int, spec: Spec
) -> None:
    steps = make_steps([n for n, _ in shape], [end for _, end in shape], spec)
    dataset = Dataset(
        steps, windows(spec, history) if history else spec, discount=0.9, n_step=n_step, needs=("timestep",)
    )
    batch = dataset.sample(64)
    lengths = torch.tensor([n for n, _ in shape])
    ended = torch.tensor([end for _, end in shape])
    episode, time = tags(batch.obs, spec)
    following, later = tags(batch.next_obs, spec)
    if history:
        assert (episode == episode[:, -1:]).all()
        assert (following == episode).all()
        expected = torch.clamp(batch.timestep[:, None] + torch.arange(1 - history, 1), min=0)
        assert (time == expected).all()
        assert (later[:, 1:] - later[:, :-1]).clamp(0, 1).equal(later[:, 1:] - later[:, :-1])
        episode, time, following, later = episode[:, -1], time[:, -1], following[:, -1], later[:, -1]
    assert (following == episode).all()
    assert (time == batch.timestep).all()
    span = torch.minimum(torch.full_like(batch.timestep, n_step), lengths[episode.long()] - batch.timestep)
    assert (later - time == span).all()
    over = (batch.timestep + span == lengths[episode.long()]) & ended[episode.long()]
    assert torch.allclose(batch.discount, torch.where(over, 0.0, 0.9**span))


def test_columns_come_with_their_shapes_and_types() -> None:
    dataset = Dataset(
        make_steps([5, 5], [True, False], DISCRETE), DISCRETE, needs=("log_prob", "next_action", "timestep")
    )
    batch = dataset.sample(7)
    assert batch.obs.shape == batch.next_obs.shape == (7, 3)
    assert batch.action.dtype == batch.next_action.dtype == batch.timestep.dtype == torch.int64
    assert batch.reward.shape == batch.discount.shape == batch.log_prob.shape == batch.action.shape == (7,)
    assert batch.return_to_go.numel() == 0


def test_sampling_resumes_exactly() -> None:
    torch.manual_seed(1)
    dataset = Dataset(make_steps([50, 50], [True, False]), SPEC)
    for _ in range(5):
        dataset.sample(8)
    saved, generator = dataset.state(), torch.get_rng_state()
    expected = [dataset.sample(8).obs for _ in range(600)]  # beyond the block of indices drawn ahead
    fresh = Dataset(make_steps([50, 50], [True, False]), SPEC)
    torch.set_rng_state(generator)
    fresh.load(saved)
    assert all(torch.equal(fresh.sample(8).obs, obs) for obs in expected)


@pytest.mark.parametrize("spec", [SPEC, PICTURE, windows(PICTURE, 2)])
@pytest.mark.parametrize("n_step", [1, 3])
def test_a_memory_mapped_dataset_holds_the_same_rows(tmp_path: Path, spec: Spec, n_step: int) -> None:
    frame = replace(spec, obs=ObsSpec(spec.obs.shape[1:], spec.obs.dtype)) if spec.obs.history else spec
    steps = make_steps([6, 4], [True, False], frame)
    here = Dataset(steps, spec, discount=0.9, n_step=n_step)
    there = Dataset(steps, spec, discount=0.9, n_step=n_step, memory="mmap", cache=tmp_path)
    index = torch.arange(10)
    for one, other in zip(here.rows.gather(index), there.rows.gather(index), strict=True):
        assert torch.equal(one, other)
    again = Dataset(steps, spec, discount=0.9, n_step=n_step, memory="mmap", cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1, "the file is made once"
    assert again.sample(4).obs.shape[0] == 4


def test_draw_keeps_rows_together() -> None:
    dataset = Dataset(make_steps([6, 4], [True, False]), SPEC)
    batch = dataset.draw(32)
    assert batch.obs.shape == (32, 3)
    assert (batch.next_obs[:, 1] - batch.obs[:, 1] == 1).all()


def test_a_file_is_read_ahead_in_the_same_order(tmp_path: Path) -> None:
    """Reading ahead changes neither which rows come nor what a resumed run draws."""
    steps = make_steps([50, 40], [True, False])
    here, there = Dataset(steps, SPEC), Dataset(steps, SPEC, memory="mmap", cache=tmp_path)
    for dataset in (here, there):
        torch.manual_seed(0)
        dataset.sample(8)
    state = there.state()
    expected = [here.sample(8) for _ in range(5)]
    for one in expected:
        assert torch.equal(one.obs[:, 1].sort().values, there.sample(8).obs[:, 1].sort().values)
    there.load(state)
    assert torch.equal(there.sample(8).obs[:, 1].sort().values, expected[0].obs[:, 1].sort().values)


def test_a_hundred_gigabytes_train_in_bounded_memory(tmp_path: Path) -> None:
    """Pictures in sparse files of 100 GB, which take no room on the disk; what is resident grows by what is read."""
    rows, frame = 1_772_000, (4, 84, 84)
    files: list[NDArray[np.uint8]] = [
        np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", np.uint8, (rows, *frame))
        for name in ("obs", "next_obs")
    ]
    assert sum(file.nbytes for file in files) >= 100e9
    ends = np.arange(rows) % 1000 == 999
    zeros = np.zeros(rows, np.float32)
    steps = Steps(files[0], np.zeros(rows, np.int64), zeros, ends, np.zeros(rows, np.bool_), files[1])
    spec = Spec(ObsSpec(frame, "uint8"), DISCRETE.action)
    before = resident()
    dataset = Dataset(steps, spec, memory="mmap", cache=tmp_path / "cache", fingerprint="sparse")
    for _ in range(10):
        assert dataset.sample(8).obs.shape == (8, *frame)
    assert resident() - before < 5e8


def resident() -> float:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_statistics_are_those_of_the_data() -> None:
    steps = make_steps([6, 4], [True, False])
    mean, std = Dataset(steps, SPEC).obs_statistics()
    np.testing.assert_allclose(mean, steps.obs.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, steps.obs.std(0) + 1e-3, rtol=1e-6)
    wide, _ = Dataset(steps, windows(SPEC, 4)).obs_statistics()
    assert wide.shape == (4, 3)


def test_an_empty_dataset_is_refused() -> None:
    steps = make_steps([3], [True])
    with pytest.raises(UserError, match="no transitions"):
        Dataset(episodes.from_arrays({name: value[:0] for name, value in episodes.arrays(steps).items()}), SPEC)


def test_episodes_can_be_selected_and_joined() -> None:
    steps = make_steps([3, 2, 4], [True, False, True])
    picked = episodes.select(steps, np.array([True, False, True]))
    assert episodes.lengths(picked).tolist() == [3, 4]
    steps.terminated[-1] = False
    joined = episodes.concatenate([steps, picked])
    assert episodes.lengths(joined).tolist() == [3, 2, 4, 3, 4]
    assert joined.truncated[8], "a recording that stops within an episode does not run on into the next"


def test_fingerprints_tell_data_apart() -> None:
    steps = make_steps([3, 2], [True, True])
    assert episodes.fingerprint(steps) == episodes.fingerprint(make_steps([3, 2], [True, True]))
    changed = replace(steps, reward=steps.reward + 1)
    assert episodes.fingerprint(steps) != episodes.fingerprint(changed)


def test_a_mixture_keeps_its_shares() -> None:
    one, other = (Dataset(make_steps([9], [True], seed=seed), SPEC) for seed in (0, 1))
    mixture = Mixture([one, other], [0.5, 0.5])
    assert mixture.shares(7) in ([4, 3], [3, 4])
    assert mixture.sample(7).obs.shape == (7, 3)
    assert Mixture([one, other], [1, 3]).shares(256) == [64, 192]
    with pytest.raises(UserError, match="ratios"):
        Mixture([one], [0.5, 0.5])


def test_a_copy_of_a_mixture_leaves_its_sources_where_they_are() -> None:
    data = Dataset(make_steps([9], [True]), SPEC)
    mixture = Mixture([data], [1.0])
    copy.copy(mixture).sample(7)
    assert data._cursor == 0


def test_data_handled_in_chunks_come_out_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = make_steps([6, 4, 3], [True, False, True])
    broken = replace(steps, obs=steps.obs[[0, 1, 2, 4, 3, *range(5, 13)]])
    whole = Dataset(steps, SPEC, discount=0.9, n_step=2)
    expected = episodes.fingerprint(steps), episodes.discontinuities(broken).tolist(), episodes.moments(steps.obs)
    monkeypatch.setattr(episodes, "CHUNK", 25)  # two rows of observations
    assert [part.stop - part.start for part in episodes.chunks(steps.obs)] == [2, 2, 2, 2, 2, 2, 1]
    assert episodes.fingerprint(steps) == expected[0]
    assert episodes.discontinuities(broken).tolist() == expected[1] == [3, 4]
    np.testing.assert_allclose(episodes.moments(steps.obs), expected[2])
    chunked = Dataset(steps, SPEC, discount=0.9, n_step=2, memory="mmap", cache=tmp_path)
    assert torch.equal(whole.rows.floats, chunked.rows.floats)
