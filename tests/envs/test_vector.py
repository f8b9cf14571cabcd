"""Autoreset, time limits, history, exact state."""

from __future__ import annotations

import io
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from offrl.envs.make import Env
from offrl.envs.spaces import obs_codec
from offrl.errors import UserError
from tests.envs.kit import actions, recipe

GRID = {"layout": ["####", "#SG#", "#.P#", "####"], "slip": 0.3}
REPLAYABLE = [
    recipe("CartPole-v1"),
    recipe("Pendulum-v1", history=3),
    recipe("LunarLander-v3"),
    recipe("Hopper-v5"),
    recipe("offrl.envs.gridworld:offrl/GridWorld-v0", kwargs=GRID),
    recipe("offrl.envs.toys:offrl/Bandit-v0", kwargs={"actions": "multi_discrete", "size": 2}),
    recipe("PointMaze_UMaze-v3", max_episode_steps=15),
    recipe("MiniGrid-Empty-5x5-v0", max_episode_steps=15, wrappers=({"_target_": "minigrid.wrappers.ImgObsWrapper"},)),
    recipe("CartPole-v1", mode="async", workers=2),
]


def need(env: Env) -> Env:
    for prefix, package in (("PointMaze", "gymnasium_robotics"), ("MiniGrid", "minigrid")):
        if env.id.startswith(prefix):
            pytest.importorskip(package)
    return env


def test_final_observations_are_those_of_a_hand_stepped_environment() -> None:
    """`next_obs` of an episode's last step is its true end, `obs` the beginning of the next, and no step is lost."""
    vector = recipe("CartPole-v1").make(1, seed=5)
    obs = vector.reset()
    by_hand, seeds = gym.make("CartPole-v1"), np.random.default_rng([5, 0])
    expected, _ = by_hand.reset(seed=int(seeds.integers(2**31)))
    ended = 0
    for action in actions(vector.spec, 100, 1):
        np.testing.assert_array_equal(obs[0], expected)
        step = vector.step(action)
        expected, reward, terminated, truncated, _ = by_hand.step(int(action))
        np.testing.assert_array_equal(step.next_obs[0], expected)
        assert (float(step.reward), bool(step.terminated), bool(step.truncated)) == (reward, terminated, truncated)
        if terminated or truncated:
            expected, _ = by_hand.reset(seed=int(seeds.integers(2**31)))
            ended += 1
        obs = step.obs
    assert ended > 2


@pytest.mark.parametrize(
    ("ends", "flags"), [("terminated", (True, False)), ("truncated", (False, True)), ("both", (True, False))]
)
def test_termination_wins_over_truncation(ends: str, flags: tuple[bool, bool]) -> None:
    vector = recipe("test/Clock-v0", kwargs={"ends": ends}).make(2, 0)
    vector.reset()
    steps = [vector.step(action) for action in actions(vector.spec, 3, 2)]
    assert [bool(step.terminated[0] | step.truncated[0]) for step in steps] == [False, False, True]
    assert (bool(steps[2].terminated[1]), bool(steps[2].truncated[1])) == flags


def test_no_transition_crosses_an_episode_boundary() -> None:
    vector = recipe("test/Clock-v0").make(3, 0)
    obs = vector.reset()
    for action in actions(vector.spec, 20, 3):
        step = vector.step(action)
        assert torch.equal(step.next_obs[:, 0], obs[:, 0])  # the same episode
        assert torch.equal(step.next_obs[:, 1], obs[:, 1] + 1)  # one step on
        obs = step.obs


def test_time_limit_of_the_recipe_truncates() -> None:
    vector = recipe("test/Clock-v0", kwargs={"length": 100}, max_episode_steps=2).make(1, 0)
    vector.reset()
    second = [vector.step(action) for action in actions(vector.spec, 2, 1)][1]
    assert bool(second.truncated)
    assert not bool(second.terminated)


def test_finished_episodes_are_reported() -> None:
    vector = recipe("test/Clock-v0").make(2, 0)
    vector.reset()
    finished = [episode for action in actions(vector.spec, 7, 2) for episode in vector.step(action).finished]
    assert [tuple(episode) for episode in finished] == [(0, 3.0, 3, True), (1, 3.0, 3, True)] * 2


def test_success_is_none_where_nobody_says() -> None:
    vector = recipe("CartPole-v1", max_episode_steps=2).make(1, 0)
    vector.reset()
    (episode,) = [one for action in actions(vector.spec, 2, 1) for one in vector.step(action).finished]
    assert episode.success is None


def test_history_repeats_the_first_frame_and_ends_with_the_true_one() -> None:
    vector = recipe("test/Clock-v0", history=3).make(1, 0)
    assert vector.spec.obs.shape == (3, 2)
    assert vector.spec.obs.history == 3
    windows = [vector.reset()[0, :, 1].tolist()]
    ends: list[list[float]] = []
    for action in actions(vector.spec, 4, 1):
        step = vector.step(action)
        windows.append(step.obs[0, :, 1].tolist())
        ends.append(step.next_obs[0, :, 1].tolist())
    assert windows == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 0, 0], [0, 0, 1]]
    assert ends == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 1]]


def test_sync_and_async_give_the_same_steps() -> None:
    plain = recipe("CartPole-v1")
    vectors = [plain.make(3, 1), recipe("CartPole-v1", mode="async", workers=2).make(3, 1)]
    assert torch.equal(*[vector.reset() for vector in vectors])
    for action in actions(vectors[0].spec, 60, 3):
        one, other = (vector.step(action) for vector in vectors)
        assert all(torch.equal(a, b) for a, b in zip(one[:5], other[:5], strict=True))
        assert one.finished == other.finished
    for vector in vectors:
        vector.close()


@pytest.mark.parametrize("env", REPLAYABLE, ids=lambda env: f"{env.name}-{env.mode}")
def test_state_brings_everything_back(env: Env) -> None:
    """Saved with torch, loaded without unpickling code into fresh environments, the steps that follow are the same."""
    vector = need(env).make(2, 3)
    vector.reset()
    plan = actions(vector.spec, 70, 2)
    for action in plan[:40]:
        vector.step(action)
    buffer = io.BytesIO()
    torch.save(vector.state(), buffer)
    buffer.seek(0)
    before = vector.obs
    expected = [vector.step(action) for action in plan[40:]]
    other = env.make(2, 99)
    assert other.load(torch.load(buffer, weights_only=True))
    assert torch.equal(other.obs, before)
    for action, wanted in zip(plan[40:], expected, strict=True):
        got = other.step(action)
        assert all(torch.equal(a, b) for a, b in zip(got[:5], wanted[:5], strict=True))
        assert got.finished == wanted.finished
    vector.close()
    other.close()


def test_what_does_not_repeat_itself_begins_a_new_episode() -> None:
    env = recipe("test/Forgetful-v0", kwargs={"length": 10})
    vector = env.make(1, 0)
    vector.reset()
    for action in actions(vector.spec, 4, 1):
        vector.step(action)
    assert not vector.load(vector.state())
    assert vector.obs[0, 1] == 0.0
    assert len([one for action in actions(vector.spec, 10, 1) for one in vector.step(action).finished]) == 1


def test_state_of_another_number_of_environments_is_refused() -> None:
    env = recipe("CartPole-v1")
    vector = env.make(2, 0)
    vector.reset()
    with pytest.raises(UserError, match="num_envs=3"):
        env.make(3, 0).load(vector.state())


def test_a_failure_in_a_worker_says_what_happened() -> None:
    vector = recipe("test_workers_need_an_importable_module:X-v0", mode="async")
    with pytest.raises(UserError, match="test_workers_need_an_importable_module"):
        vector.make(1, 0)


def test_a_worker_that_died_is_named_whatever_was_going_on() -> None:
    """Also where it died unasked: nothing is left then that could be taken for a reader of stdout who has gone."""
    vector = recipe("CartPole-v1", mode="async", workers=2).make(2, 0)
    vector.reset()
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join()
    with pytest.raises(RuntimeError, match="a process with environments died"):
        vector.step(torch.zeros(2, dtype=torch.int64))
    vector.close()


ASYNC = """
import multiprocessing, os, signal, sys, torch
from tests.envs.kit import recipe

if __name__ == "__main__":
    vector = recipe("CartPole-v1", mode="async", workers=2).make(2, 0)
    vector.reset()
    workers = [worker.pid for worker in multiprocessing.active_children()]
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
    vector.step(torch.zeros(2, dtype=torch.int64))
    print(*workers, flush=True)
    {end}
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks Linux who is alive")
@pytest.mark.parametrize("end", ["", "raise SystemExit(143)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_workers_obey_no_signal_and_end_with_their_parent(end: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ASYNC.format(end=end))
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    workers = [int(number) for number in done.stdout.split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(map(alive, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def alive(process: int) -> bool:
    """Whether it runs; a dead one that nobody has asked after does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_seeds_decide_everything() -> None:
    env = recipe("CartPole-v1")
    first, again, other = (env.make(2, seed).reset() for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    vector = env.make(2, 0)
    vector.reset()
    vector.step(torch.tensor([0, 1]))
    assert torch.equal(vector.reset(1), other)


def test_nothing_global_is_drawn() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 # pyright: ignore
    vector = recipe("Pendulum-v1").make(2, 0)
    vector.reset()
    vector.step(torch.zeros(2, 1))
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002 # pyright: ignore


def test_tensors_may_be_kept() -> None:
    vector = recipe("test/Clock-v0").make(1, 0)
    kept: list[Any] = [vector.reset()]
    kept += [vector.step(action).obs for action in actions(vector.spec, 2, 1)]
    assert [float(obs[0, 1]) for obs in kept] == [0.0, 1.0, 2.0]


def test_codec_agrees_with_the_spec() -> None:
    env = recipe("Pendulum-v1")
    codec = obs_codec(env.make_one().observation_space, None)
    assert codec.spec == env.spec().obs
