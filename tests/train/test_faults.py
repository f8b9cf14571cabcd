"""Runs that end otherwise than hoped leave a readable folder and a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from offrl.errors import UserError
from offrl.log.files import write_json
from offrl.log.metrics import read_metrics
from offrl.train.callbacks import Diverged
from offrl.train.checkpoint import load, numbered, save_numbered
from offrl.train.rundir import RunDir
from tests.train.kit import RUNS, config, run


def facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def test_losses_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    node = config(*RUNS["offline"], "algo.lr=1e30")
    with pytest.raises(Diverged, match=r"diverged by step 20.*not finite"):
        run(tmp_path, node)
    assert facts(tmp_path)["status"] == "diverged"
    assert load(tmp_path / "checkpoints" / "diverged.pt")["step"] == 20
    assert read_metrics(tmp_path)["step"].tolist() == [20]
    assert not (tmp_path / "policy.pt").exists()


def test_absurd_values_stop_the_run(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="max_q"):
        run(tmp_path, config(*RUNS["offline"], "trainer.max_q=1e-6"))


def test_a_run_that_diverged_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    """A checkpoint may be due before the losses are looked at again, and would take the place of the good one."""
    run(tmp_path, config(*RUNS["offline"], "trainer.updates=50", "trainer.keep_checkpoints=1"))
    state = load(numbered(tmp_path / "checkpoints")[-1])
    state["algo"] = {name: value * 1e30 if "lr" in name else value for name, value in state["algo"].items()}
    save_numbered(tmp_path / "checkpoints", 50, state, keep=1)
    more = ("trainer.updates=80", "trainer.log_interval=1000", "trainer.checkpoint_interval=20")
    with pytest.raises(Diverged, match=r"diverged by step 60: actor.* is not finite"):
        run(tmp_path, config(*RUNS["offline"], "trainer.keep_checkpoints=1", *more), resume=True)
    assert facts(tmp_path)["status"] == "diverged"
    assert [load(path)["step"] for path in numbered(tmp_path / "checkpoints")] == [50]
    assert load(tmp_path / "checkpoints" / "diverged.pt")["step"] == 60
    steps = read_metrics(tmp_path)["step"].tolist()
    assert steps == sorted(set(steps))


def test_an_error_in_the_training_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("offrl.train.offline.Offline.advance", broken)
    with pytest.raises(RuntimeError, match="broken"):
        run(tmp_path, config(*RUNS["offline"]))
    assert facts(tmp_path)["status"] == "failed"


def test_a_folder_holds_one_run(tmp_path: Path) -> None:
    home = RunDir(tmp_path)
    home.create({"a": 1})
    home.note(status="running")
    with pytest.raises(UserError, match="resume=true"):
        RunDir(tmp_path).create({"a": 1})
    assert RunDir(tmp_path).open() == {"a": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_a_user_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="no permission"):
        RunDir(tmp_path / "run").create({})
    tmp_path.chmod(0o700)


def test_a_file_in_the_way_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        RunDir(tmp_path / "run").create({})


def test_nothing_to_resume_is_a_user_error(tmp_path: Path) -> None:
    home = RunDir(tmp_path)
    home.create({})
    home.note(status="failed")
    with pytest.raises(UserError, match="no checkpoint"):
        run(tmp_path, config(*RUNS["offline"]), resume=True)


def test_knobs_without_sense_are_refused() -> None:
    knobs = ("updates=0", "log_interval=0", "keep_checkpoints=0", "n_step=0")
    for knob in knobs:
        with pytest.raises(UserError, match=f"trainer.{knob}"):
            run(Path("unused"), config(*RUNS["offline"], f"trainer.{knob}"))
    for knob in ("horizon=0", "epochs=0"):
        with pytest.raises(UserError, match=f"algo.{knob}"):
            run(Path("unused"), config(*RUNS["rollout"], f"algo.{knob}"))
    for knob in ("n_step=0", "warmup=-1", "capacity=0"):
        with pytest.raises(UserError, match=f"trainer.{knob}"):
            run(Path("unused"), config(*RUNS["replay"], f"trainer.{knob}"))


def test_one_process_trains_in_a_folder(tmp_path: Path) -> None:
    """A second one is refused while the first is at it, and no longer."""
    with RunDir(tmp_path).alone():
        with pytest.raises(UserError, match="another process trains there"), RunDir(tmp_path).alone():
            pass
        with RunDir(tmp_path, writes=False).alone():  # of the devices that share a run, one writes
            pass
    with RunDir(tmp_path).alone():
        pass


def test_a_refusal_to_resume_lets_go_of_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr("offrl.train.replay.OnReplay.close", lambda self: closed.append("trainer"))
    monkeypatch.setattr("offrl.train.evaluator.Evaluator.close", lambda self: closed.append("evaluator"))
    home = RunDir(tmp_path)
    home.create({})
    home.note(status="failed")
    with pytest.raises(UserError, match="no checkpoint"):
        run(tmp_path, config(*RUNS["replay"]), resume=True)
    assert closed == ["trainer", "evaluator"]


def test_a_folder_that_cannot_be_flushed_is_none_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows opens no folder."""
    open_file = os.open

    def windows(path: Any, *flags: int, **more: Any) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return open_file(path, *flags, **more)

    monkeypatch.setattr("offrl.log.files.os.open", windows)
    write_json(tmp_path / "facts.json", {"a": 1})
    assert (tmp_path / "facts.json").exists()
