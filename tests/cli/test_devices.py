"""`hardware.devices=2`: one run, two processes, one run folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from offrl.build import build
from offrl.cli import devices
from offrl.errors import UserError
from tests.cli.test_vectorized import pendulum_log
from tests.conftest import Compose

SMALL = [
    *("algo=iql", "env=pendulum", "network.hidden=[32]", "algo.batch_size=64", "trainer.log_interval=50"),
    *("trainer.checkpoint_interval=50", "evaluation.interval=50", "evaluation.episodes=1", "logger=none"),
    *("hardware.device=cpu", "hardware.devices=2"),
]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "offrl", "train", *words]


def offrl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True, check=False, timeout=600)


def policy(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "policy.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_shared_run_resumes_exactly(tmp_path: Path) -> None:
    """One folder, whose run, stopped half-way and resumed, ends as the one that was not."""
    data = f"dataset={pendulum_log(tmp_path / 'log.npz')}"
    whole, half = tmp_path / "whole", tmp_path / "half"
    for folder, updates in ((whole, 100), (half, 50)):
        done = offrl(*SMALL, data, f"trainer.updates={updates}", f"hydra.run.dir={folder}")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("run folder") == 1
    alone = offrl(f"run={half}", "resume=true", "trainer.updates=100", "hardware.devices=1")
    assert "hardware.devices=2" in alone.stderr
    done = offrl(f"run={half}", "resume=true", "trainer.updates=100")
    assert done.returncode == 0, done.stderr
    first, second = policy(whole), policy(half)
    assert first["step"] == second["step"] == 100
    for key, value in first["algo"].items():
        assert torch.equal(value, second["algo"][key]), key
    assert {p.name for p in whole.rglob("*")} == {p.name for p in half.rglob("*")}


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_shared_run_stops_when_asked(tmp_path: Path) -> None:
    """All processes take the same last step, and the checkpoint is written once."""
    data, folder = f"dataset={pendulum_log(tmp_path / 'log.npz')}", tmp_path / "run"
    words = [*SMALL, data, "trainer.updates=10000000", "trainer.pulse=10", f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not list(folder.glob("checkpoints/step-*.pt")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 143, err
    assert "interrupted by SIGTERM" in out


@pytest.mark.slow
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_what_ends_a_shared_run_is_said_once(tmp_path: Path) -> None:
    data = f"dataset={pendulum_log(tmp_path / 'log.npz')}"
    done = offrl(*SMALL, data, "trainer.updates=100", "algo.batch_size=63", f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert done.stderr.count("algo.batch_size=63 cannot be shared equally among hardware.devices=2") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("algo=sac", "env=pendulum"), "trainer=offline"),
        (("algo=iql", "env=pendulum", "hardware.compile=true"), "hardware.compile=false"),
        (("job=evaluate",), "only offrl train"),
    ],
)
def test_what_devices_cannot_share(words: tuple[str, ...], message: str, compose: Compose) -> None:
    with pytest.raises(UserError, match=message):
        devices.check(compose("job=train", "hardware.devices=2", *words))


def test_more_devices_than_there_are(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"hardware\.devices=999, but this machine has"):
        build(compose("hardware.devices=999")["hardware"], "hardware").apply()


def test_not_in_company() -> None:
    done = offrl("algo=iql", "dataset=any.npz", "hardware.devices=2", "seeds=2")
    assert done.returncode == 1
    assert "hydra/launcher=basic" in done.stderr
