"""What the hardware group asks of a training run reaches it, and is on record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces

from offrl.data import minari
from offrl.data import steps as episodes
from offrl.jobs.train import run
from offrl.train import checkpoint
from offrl.train.checkpoint import load_policy
from offrl.types import ActionSpec, ObsSpec, Spec, at_play
from tests.conftest import Compose
from tests.data.synthetic import SPEC, make_steps
from tests.train.kit import config

PENDULUM = Spec(ObsSpec((3,)), ActionSpec("continuous", (1,), low=(-2.0,), high=(2.0,)))
RUN = ("algo=sac", "env=pendulum", "trainer.steps=60", "trainer.warmup=20", "evaluation=none")


def trained(folder: Path, *overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts and final parameters of a short run."""
    torch.manual_seed(0)
    run(config(*RUN, *overrides), folder)
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return facts, torch.load(folder / "policy.pt", weights_only=True)["algo"]


def test_precision_and_compiling_reach_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """bf16 changes what is learnt a little, and nothing that is kept; a short run is not compiled."""
    facts, plain = trained(tmp_path / "float32", "hardware.compile=auto")
    assert facts["compiling"]["compiled"] is False
    assert "40 updates are fewer than hardware.compile_from" in facts["compiling"]["why"]
    assert "compile:" not in capsys.readouterr().out
    _, low = trained(tmp_path / "bf16", "hardware.precision=bf16")
    for key, value in plain.items():
        assert low[key].dtype == value.dtype
        torch.testing.assert_close(low[key], value, rtol=0.05, atol=0.02, msg=key)
    assert any(not torch.equal(low[key], value) for key, value in plain.items())


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("dataset.reward_scale=0.01",),
        ("dataset.normalize_reward=return_range", "dataset.reward_shift=-1"),
    ],
    ids=str,
)
def test_whoever_earns_what_the_best_episode_did_has_nothing_left_to_earn(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """However the data's rewards were changed: the environment's are not, and the saved policy knows the difference.
    It also knows the best episode, of which it may have seen no step.
    """
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    steps = make_steps([7, 5, 9, 6], [True, False, True, True])
    box, actions = spaces.Box(-np.inf, np.inf, SPEC.obs.shape), spaces.Box(-1, 1, SPEC.action.shape)
    minari.write("test/small-v0", steps, observation_space=box, action_space=actions)
    few = ("trainer.updates=1", "algo.batch_size=1")
    small = ("network.width=8", "network.heads=2", "network.layers=1", "algo.context_length=3", *few)
    data = ("dataset=minari", "dataset.id=test/small-v0", *words)
    run(compose("algo=decision_transformer", "logger=none", "evaluation=none", *small, *data), tmp_path / "run")
    algo: Any = load_policy(tmp_path / "run")[0]
    length = episodes.lengths(steps)
    earned = episodes.returns(steps) * algo.earned.scale.item() + length * algo.earned.shift.item()
    best, player = int(np.argmax(earned)), cast(Any, at_play(algo, 1))
    assert player.return_to_go.item() != pytest.approx(0.0, abs=0.001)
    for row in range(length[:best].sum(), length[: best + 1].sum()):
        obs, reward = torch.tensor(steps.obs[[row]]), torch.tensor(steps.reward[[row]])
        player.observe(player.act(obs), reward, torch.tensor([False]))
    assert player.return_to_go.item() == pytest.approx(0.0, abs=0.001)


def test_experience_is_learnt_from_in_the_units_of_the_data(compose: Compose, tmp_path: Path) -> None:
    """Offline to online with rewards that were scaled and shifted: those of the environment are, too."""
    steps = make_steps([40, 40], [False, False], PENDULUM)
    columns = {"observations": steps.obs, "actions": 2.0 * steps.action, "rewards": steps.reward}
    ends: dict[str, Any] = {"terminated": steps.terminated, "truncated": steps.truncated}
    np.savez(tmp_path / "log.npz", allow_pickle=False, next_obs=steps.next_obs, **columns, **ends)
    words = ("algo=td3_bc", "trainer=offline_to_online", "env=pendulum", "trainer.updates=5", "trainer.steps=30")
    data = (
        f"dataset.path={tmp_path / 'log.npz'}",
        "dataset.reward_scale=0.5",
        "dataset.reward_shift=-3",
        "dataset.action_low=-2",
        "dataset.action_high=2",
    )
    run(
        compose(
            *words, "logger=none", "evaluation=none", "dataset=file", *data, "trainer.warmup=5", "network.hidden=[8]"
        ),
        tmp_path / "run",
    )
    replay = checkpoint.load(checkpoint.numbered(tmp_path / "run" / "checkpoints")[-1])["trainer"]["replay"]
    expected = (replay["reward"].reshape(-1)[:30] * 0.5 - 3.0).reshape(-1, 1)
    assert (replay["floats"][:30] - expected).abs().amax(0).min() < 1e-5
