"""Sampling and updates as one graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from offrl.log.metrics import read_metrics
from offrl.train.run import train
from tests.train.kit import RUNS, begin, config


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["offline", "discrete", "offline_to_online", "rollout"])
def test_a_compiled_run_trains(name: str, tmp_path: Path) -> None:
    torch.compiler.reset()
    trainer, context = begin(tmp_path, config(*RUNS[name], "evaluation=none"))
    context.compile, context.updates_per_call = True, 2
    train(trainer, context, resume=False)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    losses = {key: value for key, value in read_metrics(tmp_path).items() if key.endswith("/loss")}
    assert losses
    assert all(np.isfinite(value[-1]) for value in losses.values())
