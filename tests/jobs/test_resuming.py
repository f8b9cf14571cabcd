"""What a run that is taken up again is called, and what a refusal leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from offrl.errors import UserError
from offrl.jobs.train import run
from offrl.log.logger import Label
from tests.train.kit import config

RUN = ("algo=sac", "env=pendulum", "trainer.warmup=20", "evaluation=none")


@dataclass
class Recorder:
    """A logger that remembers what each run was called."""

    labels: ClassVar[list[Label]] = []
    id: ClassVar[str | None] = "abc"

    def open(self, folder: Path, config: Mapping[str, object], label: Label) -> Recorder:
        del folder, config
        self.labels.append(label)
        return self

    def log(self, row: Mapping[str, float]) -> None:
        del row

    def close(self, summary: Mapping[str, object], failed: bool) -> None:
        del summary, failed


@pytest.fixture(autouse=True)
def forgotten() -> None:
    Recorder.labels.clear()


def node(*overrides: str, resume: bool = False) -> dict[str, Any]:
    made = config(*RUN, *overrides)
    return made | {"logger": {"_target_": "tests.jobs.test_resuming.Recorder"}, "resume": resume}


def test_a_run_stays_in_the_sweep_that_began_it(tmp_path: Path) -> None:
    folder = tmp_path / "2026-01-01" / "3_algo.lr-0.1_seed-2"
    run(node("trainer.steps=40"), folder)
    facts = json.loads((folder / "run.json").read_text())
    assert Recorder.labels[0].tags == ()
    (folder / "run.json").write_text(json.dumps(facts | {"sweep": "2026-01-01"}))
    run(node("trainer.steps=60", resume=True) | {"logger": {"_target_": "offrl.log.logger.NoLogger"}}, folder)
    run(node("trainer.steps=80", resume=True), folder)
    again = Recorder.labels[1]
    assert (again.group, again.tags, again.id) == ("2026-01-01 algo.lr-0.1", ("2026-01-01",), "abc")


def test_a_failure_before_the_training_is_noted(tmp_path: Path) -> None:
    """As where W&B cannot be reached; and where a resume is refused, nothing is."""
    broken = {"logger": {"_target_": "tests.jobs.test_resuming.Recorder", "colour": "red"}}
    with pytest.raises(UserError, match="colour"):
        run(node("trainer.steps=40") | broken, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "run.json").read_text())["status"] == "failed"
    run(node("trainer.steps=40"), tmp_path / "old")
    before = (tmp_path / "old" / "run.json").read_bytes()
    with pytest.raises(UserError, match="colour"):
        run(node("trainer.steps=60", resume=True) | broken, tmp_path / "old")
    assert (tmp_path / "old" / "run.json").read_bytes() == before


def test_a_refused_resume_is_not_logged(tmp_path: Path) -> None:
    run(node("trainer.steps=40"), tmp_path)
    with pytest.raises(UserError, match=r"algo\.lr was"):
        run(node("trainer.steps=60", "algo.lr=0.5", resume=True), tmp_path)
    assert len(Recorder.labels) == 1
