from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offrl.data.columns import columns
from offrl.data.replay import Replay
from offrl.data.rows import gather_each
from offrl.errors import UserError
from offrl.types import ObsSpec, Spec, Steps
from tests.data.synthetic import DISCRETE, PICTURE, SPEC, make_steps


def feed(replay: Replay, logs: list[Steps], start: int = 0, stop: int | None = None) -> None:
    """Add row t of every log, for each t, with the history windows that an environment would show."""
    history = replay.spec.obs.history
    for t in range(start, len(logs[0]) if stop is None else stop):
        rows = [[getattr(log, name)[t] for log in logs] for name in ("action", "reward", "terminated", "truncated")]
        action, reward, terminated, truncated = (torch.from_numpy(np.array(row)) for row in rows)
        obs = torch.from_numpy(np.stack([log.obs[t] for log in logs]))
        next_obs = torch.from_numpy(np.stack([log.next_obs[t] for log in logs]))
        if history:
            obs, next_obs = (x[:, None].expand(-1, history, *x.shape[1:]) for x in (obs, next_obs))
        replay.add(obs, action, reward, terminated, truncated, next_obs)


def logs_of(spec: Spec, total: int = 24) -> list[Steps]:
    return [
        make_steps([5, 7, 1, 8, 3][:None], [True, False, True, False, True], spec, seed=1),
        make_steps([3, 9, 6, 6], [False, True, True, False], spec, seed=2),
    ]


@pytest.mark.parametrize("spec", [SPEC, DISCRETE, PICTURE])
@pytest.mark.parametrize("n_step", [1, 3])
def test_rows_equal_those_of_a_dataset(spec: Spec, n_step: int) -> None:
    logs = logs_of(spec)
    replay = Replay(spec, 1000, 2, discount=0.9, n_step=n_step, needs=("timestep",))
    feed(replay, logs)
    for env, log in enumerate(logs):
        made = columns(log, ("timestep",), 0.9, n_step)
        batch = replay.rows.gather(torch.arange(env, 48, 2))
        np.testing.assert_allclose(batch.reward, made.reward, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(batch.discount, made.discount, rtol=1e-6)
        np.testing.assert_array_equal(batch.obs, log.obs)
        np.testing.assert_array_equal(batch.next_obs, log.next_obs[made.last])
        np.testing.assert_allclose(batch.action, log.action)
        np.testing.assert_array_equal(batch.timestep, made.extra["timestep"])


@pytest.mark.parametrize("shared", [True, False])
def test_batches_of_several_runs_are_gathered_at_once(shared: bool) -> None:
    """Of one set of rows, and of rows of their own, as of each by itself; pictures are left to each."""
    replays = [Replay(DISCRETE, 1000, 2, discount=0.9, n_step=1, needs=("timestep",)) for _ in range(3)]
    for number, replay in enumerate(replays):
        feed(replay, logs_of(DISCRETE)[:: 1 if number else -1])
    rows = [(replays[0] if shared else replay).rows for replay in replays]
    index = [torch.tensor([number, 40, 7, 7]) for number in range(3)]
    together = gather_each(rows, index)
    assert together is not None
    for number, (one, at) in enumerate(zip(rows, index, strict=True)):
        for name, column in one.gather(at)._asdict().items():
            torch.testing.assert_close(getattr(together, name)[number] if column.numel() else column, column, msg=name)
    assert shared or not torch.equal(together.obs[0, 1], together.obs[1, 1]), "or they could be mixed up unseen"
    pictures = [Replay(PICTURE, 100, 2, discount=0.9, n_step=1, needs=()) for _ in range(2)]
    for replay in pictures:
        feed(replay, logs_of(PICTURE))
    assert gather_each([replay.rows for replay in pictures], index[:2]) is None


@pytest.mark.parametrize("n_step", [1, 3])
def test_rewards_are_learnt_from_in_the_units_of_a_dataset(n_step: int) -> None:
    """And given back as they came."""
    logs = logs_of(SPEC)
    mapped = [replace(log, reward=log.reward * 0.1 - 2.0) for log in logs]
    settings: dict[str, Any] = {"discount": 0.9, "n_step": n_step, "needs": ("return_to_go",)}
    changed, plain = Replay(SPEC, 100, 2, **settings, reward_map=(0.1, -2.0)), Replay(SPEC, 100, 2, **settings)
    feed(changed, logs)
    feed(plain, mapped)
    torch.testing.assert_close(changed.rows.floats, plain.rows.floats)
    np.testing.assert_array_equal(changed.steps().reward, np.concatenate([log.reward for log in logs]))


@pytest.mark.parametrize("n_step", [1, 3])
def test_return_to_go_is_known_once_the_episode_is_over(n_step: int) -> None:
    logs = logs_of(SPEC)
    replay = Replay(SPEC, 40, 2, discount=0.9, n_step=n_step, needs=("return_to_go",))  # the first steps are forgotten
    feed(replay, logs, stop=22)
    for env, log in enumerate(logs):
        whole = columns(log, ("return_to_go",), 0.9, n_step).extra["return_to_go"]
        last = np.flatnonzero((log.terminated | log.truncated)[:22])[-1]
        known = replay.rows.column("return_to_go").view(20, 2)[np.arange(2, 22) % 20, env].numpy()
        np.testing.assert_allclose(known[: last - 1], whole[2 : last + 1], rtol=1e-5)
        assert np.isneginf(known[last - 1 :]).all()
    replay.cut()
    assert replay.rows.column("return_to_go").isfinite().all()


@given(st.integers(5, 30), st.integers(1, 4), st.integers(0, 24))
def test_a_full_ring_forgets_the_oldest_and_stays_right(slots: int, n_step: int, history: int) -> None:
    history = min(history, 3)
    spec = replace(SPEC, obs=ObsSpec((history, 3), history=history)) if history else SPEC
    replay = Replay(spec, 2 * slots, 2, discount=0.9, n_step=n_step)
    feed(replay, logs_of(SPEC))
    batch = replay.sample(64)
    obs, next_obs = (batch.obs[:, -1], batch.next_obs[:, -1]) if history else (batch.obs, batch.next_obs)
    span = next_obs[:, 1] - obs[:, 1]
    assert (obs[:, 0] == next_obs[:, 0]).all()
    assert ((span >= 1) & (span <= n_step)).all()
    gone = batch.discount > 0
    assert torch.allclose(batch.discount[gone], 0.9 ** span[gone])
    if history:
        time = batch.obs[:, :, 1]
        steps_back = torch.arange(history - 1, -1, -1)
        assert torch.equal(time, (obs[:, 1:2] - steps_back).clamp(min=0))
        assert (batch.obs[:, :, 0] == obs[:, :1]).all()


@pytest.mark.parametrize("spec", [SPEC, PICTURE])
@pytest.mark.parametrize("capacity", [200, 20])
def test_state_resumes_exactly(spec: Spec, capacity: int) -> None:
    logs = logs_of(spec)
    through = Replay(spec, capacity, 2, discount=0.9, n_step=3)
    feed(through, logs)
    half = Replay(spec, capacity, 2, discount=0.9, n_step=3)
    feed(half, logs, stop=14)
    resumed = Replay(spec, capacity, 2, discount=0.9, n_step=3)
    resumed.load(half.state())
    feed(resumed, logs, start=14)
    torch.manual_seed(0)
    expected = through.sample(64)
    torch.manual_seed(0)
    for one, other in zip(expected, resumed.sample(64), strict=True):
        assert torch.equal(one, other)
    assert set(half.state()) == set(resumed.state())


def test_another_shape_is_refused_on_resume() -> None:
    with pytest.raises(UserError, match="resume with"):
        Replay(SPEC, 100, 2).load(Replay(SPEC, 50, 2).state())


@pytest.mark.parametrize("spec", [SPEC, DISCRETE, PICTURE])
def test_whole_episodes_come_back_as_recorded(spec: Spec) -> None:
    logs = logs_of(spec)
    replay = Replay(spec, 40, 2, discount=0.9, n_step=3)
    feed(replay, logs)
    steps = replay.steps()
    kept = [
        slice(5, 24),
        slice(12, 24),
    ]  # the ring has 20 slots: steps 4 to 23; episodes that began earlier are left out
    for name in ("obs", "action", "reward", "terminated", "truncated", "next_obs"):
        expected = np.concatenate([getattr(log, name)[part] for log, part in zip(logs, kept, strict=True)])
        np.testing.assert_allclose(getattr(steps, name), expected)


def test_a_cut_ends_the_episodes_in_progress() -> None:
    replay = Replay(SPEC, 100, 1, discount=0.9, n_step=3)
    log = make_steps([10], [True])
    feed(replay, [log], stop=4)
    replay.cut()
    feed(replay, [log], start=6)
    assert replay.rows.gather(torch.arange(4)).next_obs[:, 1].tolist() == [3, 4, 4, 4]
    assert replay.steps().truncated[3]


def test_draw_sees_what_was_added_since() -> None:
    replay = Replay(SPEC, 100, 1)
    log = make_steps([60], [True])
    for stop in (10, 50):
        feed(replay, [log], start=0 if stop == 10 else 10, stop=stop)
        drawn = replay.draw(2000).obs[:, 1]
        assert drawn.min() == 0
        assert drawn.max() == stop - 1


@pytest.mark.parametrize("history", [0, 3])
def test_draw_goes_on_in_a_ring_that_was_full(history: int) -> None:
    spec = replace(SPEC, obs=ObsSpec((history, 3), history=history)) if history else SPEC
    replay, log = Replay(spec, 20, 1), make_steps([60], [True])
    reach = max(history - 1, 0)
    feed(replay, [log], stop=10)
    for stop in range(11, 60):
        feed(replay, [log], start=stop - 1, stop=stop)
        resumed = Replay(spec, 20, 1)
        resumed.load(replay.state())
        expected = set(range(stop - 20 + reach if stop > 20 else 0, stop))
        for ring in (replay, resumed):
            drawn = ring.draw(1000).obs
            assert set((drawn[:, -1] if history else drawn)[:, 1].tolist()) == expected


def test_a_full_ring_is_saved_without_a_copy_and_a_part_of_one_alone() -> None:
    replay, log = Replay(SPEC, 20, 1), make_steps([60], [True])
    for start, stop, rows in ((0, 10, 10), (10, 30, 20)):
        feed(replay, [log], start, stop)
        floats = replay.state()["floats"]
        assert isinstance(floats, torch.Tensor)
        assert len(floats) == rows
        assert floats.untyped_storage().nbytes() == floats.nbytes
        assert (floats.data_ptr() == replay.rows.floats.data_ptr()) == (rows == 20)


def test_an_empty_or_tiny_buffer_is_said() -> None:
    with pytest.raises(UserError, match="empty"):
        Replay(SPEC, 10, 1).sample(4)
    with pytest.raises(UserError, match="too small"):
        Replay(SPEC, 3, 2)
    with pytest.raises(UserError, match="next_action"):
        Replay(SPEC, 100, 1, needs=("next_action",))
    with pytest.raises(UserError, match=r"lower trainer\.capacity"):
        Replay(SPEC, 10**15, 1)


def test_memory_is_taken_as_it_is_filled() -> None:
    """A buffer for a million pictures in a run of a few steps."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        pytest.skip("this system does not say what a process uses")
    before = int(pages.read_text().split()[1])
    replay = Replay(Spec(ObsSpec((3, 64, 64), "uint8"), SPEC.action), 100_000, 1)
    assert replay.slots == 100_000
    assert int(pages.read_text().split()[1]) - before < 100_000  # pages, of the 600,000 that it has room for
