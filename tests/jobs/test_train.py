"""What the hardware group asks of a training run reaches it, and is on record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from offrl.jobs.train import run
from tests.train.kit import config

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
