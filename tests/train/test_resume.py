"""N steps are N/2 steps, a resume, and N/2 steps: bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from offrl.build import locate
from offrl.errors import UserError
from offrl.log.metrics import read_metrics
from offrl.train import checkpoint
from offrl.train.loop import RunContext, Trainer
from tests.train.kit import RUNS, config, run, same

TIMED = ("seconds", "rate/updates_per_second", "rate/env_steps_per_second")


class Stop(Exception):
    """A process that dies."""


def stop_at(monkeypatch: pytest.MonkeyPatch, trainer: type[Trainer], step: int) -> None:
    """Let the trainer die once it is beyond `step`, as by SIGKILL: nothing more is saved."""
    advance = trainer.advance

    def dying(self: Trainer, until: int) -> None:
        if self.step >= step:
            raise Stop
        advance(self, until)

    monkeypatch.setattr(trainer, "advance", dying)


def metrics(context: RunContext) -> dict[str, Any]:
    return {key: value for key, value in read_metrics(context.folder.root).items() if key not in TIMED}


@pytest.mark.parametrize("name", RUNS)
def test_resumed_run_equals_uninterrupted_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node, dies = config(*RUNS[name]), {"offline": 70, "solve": 7, "plan": 7}.get(name, 130)
    whole = run(tmp_path / "whole", node)
    with monkeypatch.context() as patch:
        stop_at(patch, cast("type[Trainer]", locate(node["trainer"])), dies)
        with pytest.raises(Stop):
            run(tmp_path / "half", node)
    torch.rand(7)  # whatever else the process draws must not matter
    resumed = run(tmp_path / "half", node, resume=True)
    assert same(whole.algo.state_dict(), resumed.algo.state_dict())
    assert whole.progress.last == resumed.progress.last
    assert whole.progress.best == resumed.progress.best
    expected, got = metrics(whole), metrics(resumed)
    assert expected.keys() == got.keys()
    for key in expected:
        np.testing.assert_array_equal(expected[key], got[key], err_msg=key)
    assert json.loads((tmp_path / "half" / "run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("name", RUNS)
def test_evaluating_changes_nothing(name: str, tmp_path: Path) -> None:
    often = run(tmp_path / "often", config(*RUNS[name], "evaluation.interval=20"))
    never = run(tmp_path / "never", config(*RUNS[name], "evaluation=none"))
    assert same(often.algo.state_dict(), never.algo.state_dict())


def test_larger_total_goes_on(tmp_path: Path) -> None:
    run(tmp_path / "a", config(*RUNS["offline"], "trainer.updates=60"))
    longer = run(tmp_path / "a", config(*RUNS["offline"]), resume=True)
    whole = run(tmp_path / "b", config(*RUNS["offline"]))
    assert same(longer.algo.state_dict(), whole.algo.state_dict())


def test_a_total_that_was_reached_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rollout may end beyond its total, which is then no mistake; fewer steps than were done are one."""
    node = config(*RUNS["whole episodes"])
    first = run(tmp_path, node)
    total = node["trainer"]["steps"]
    steps = json.loads((tmp_path / "run.json").read_text())["step"]
    assert steps > total
    again = run(tmp_path, node, resume=True)
    assert f"nothing is left to do of trainer.steps={total}" in capsys.readouterr().out
    assert same(first.algo.state_dict(), again.algo.state_dict())
    fewer = config(*RUNS["whole episodes"], f"trainer.steps={total // 2}")
    with pytest.raises(UserError, match=f"has done {steps} steps already, so trainer.steps={total // 2} is too few"):
        run(tmp_path, fewer, resume=True)


@pytest.mark.parametrize(
    ("change", "said"), [("algo.lr=1e-5", "algo.lr"), ("seed=4", "seed"), ("trainer.n_step=1", "n_step")]
)
def test_changes_that_matter_are_refused(change: str, said: str, tmp_path: Path) -> None:
    run(tmp_path, config(*RUNS["offline"], "trainer.updates=60"))
    before = [(tmp_path / name).read_bytes() for name in ("config.yaml", "run.json", "policy.pt")]
    with pytest.raises(UserError, match=said):
        run(tmp_path, config(*RUNS["offline"], change), resume=True)
    assert before == [(tmp_path / name).read_bytes() for name in ("config.yaml", "run.json", "policy.pt")]


def test_other_data_are_refused(tmp_path: Path) -> None:
    first = run(tmp_path, config(*RUNS["offline"], "trainer.updates=60"))
    assert first.dataset is not None
    steps = first.dataset.steps
    steps.reward[5] += 1.0
    with pytest.raises(UserError, match="other data"):
        run(tmp_path, config(*RUNS["offline"]), resume=True, steps=steps)


def test_other_code_is_refused(tmp_path: Path) -> None:
    context = run(tmp_path, config(*RUNS["offline"], "trainer.updates=60"))
    path = checkpoint.numbered(context.folder.checkpoints)[-1]
    state = checkpoint.load(path)
    state["algo"].pop(next(iter(state["algo"])))
    checkpoint.save(path, state)
    with pytest.raises(UserError, match="does not fit TD3BC"):
        run(tmp_path, config(*RUNS["offline"]), resume=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_save_and_end_cleanly(number: int, code: int, tmp_path: Path) -> None:
    process, folder = start(tmp_path)
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "resume=true" in output
    assert "Traceback" not in errors
    facts = json.loads((folder / "run.json").read_text())
    assert facts["status"] == "interrupted"
    assert checkpoint.load(checkpoint.numbered(folder / "checkpoints")[-1])["step"] == facts["step"]


def test_killed_process_resumes_to_the_same_parameters(tmp_path: Path) -> None:
    process, folder = start(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    done = subprocess.run(
        [sys.executable, "-m", "offrl", "train", f"run={folder}", "resume=true", "trainer.steps=1200"],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = subprocess.run(command(tmp_path / "whole", 1200), cwd=tmp_path, env=environment(), check=False)
    assert whole.returncode == 0
    states = [checkpoint.load(place / "policy.pt")["algo"] for place in (folder, tmp_path / "whole")]
    assert same(*states)


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}


def command(folder: Path, steps: int) -> list[str]:
    return [sys.executable, "-m", "offrl", "train", "algo=dqn", "env=cartpole", "logger=none", f"trainer.steps={steps}",
            "trainer.warmup=100", "trainer.checkpoint_interval=200", "network.hidden=[16]", "evaluation=none",
            "hardware.compile=false",  # auto compiles the run of ten million steps and not the whole one beside it
            f"hydra.run.dir={folder}"]  # fmt: skip


def start(tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A training in a process of its own, some checkpoints after its start."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(folder, 10_000_000), cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    for _ in range(1200):
        if len(checkpoint.numbered(folder / "checkpoints")) >= 2:
            return process, folder
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    raise AssertionError("no checkpoint in two minutes")
