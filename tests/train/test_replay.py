"""What online experience is stored as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from offrl.data.replay import Replay
from offrl.envs.vector import Transition, VectorEnv
from tests.train import kit


@pytest.mark.parametrize("words", [("algo=mpo",), ("algo=iql", "trainer=replay")], ids=" ".join)
def test_a_replay_buffer_holds_the_actions_that_were_executed(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of a Gaussian go beyond [-1, 1], where the environment clips them."""
    drawn, stored = list[Tensor](), list[Tensor]()
    step, add = VectorEnv.step, Replay.add

    def drew(env: VectorEnv, action: Tensor) -> Transition:
        drawn.append(action)
        return step(env, action)

    def held(replay: Replay, obs: Tensor, action: Tensor, *outcome: Any) -> None:
        stored.append(action)
        add(replay, obs, action, *outcome)

    monkeypatch.setattr(VectorEnv, "step", drew)
    monkeypatch.setattr(Replay, "add", held)
    run = ("env=pendulum", "trainer.steps=60", "trainer.warmup=20", "evaluation.episodes=0")
    kit.run(tmp_path, kit.config(*words, *run))
    assert torch.cat(drawn).abs().max() > 1.0
    torch.testing.assert_close(torch.cat(stored), torch.cat(drawn).clamp(-1.0, 1.0), rtol=0, atol=0)
