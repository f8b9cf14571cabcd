"""`offrl resume`: which runs of a sweep it goes on with, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offrl.errors import UserError
from offrl.jobs import resume, train
from offrl.train.together import here
from tests.compare.fabricated import config, run

LECTURE = {
    "_target_": "offrl.compare.lecture.Lecture",
    "name": "c01_test",
    "claim": "C1",
    "title": "A",
    "equation": "",
    "caption": "seen",
    "figure": {"_target_": "offrl.compare.drawings.Bars", "series": [{"metric": "evaluation/return"}]},
    "verdict": [{"_target_": "offrl.compare.verdict.Greater", "a": "evaluation/return", "b": 0.5}],
}


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders that are trained on, instead of training."""
    folders: list[str] = []
    monkeypatch.setattr(train, "run", lambda own, folder: folders.append(folder.name))
    return folders


def sweep(root: Path, **more: Any) -> Path:
    """Two runs that finished, of 1000 steps, and one that was interrupted."""
    for seed, status in enumerate(("finished", "interrupted", "finished")):
        trainer = {"_target_": "offrl.train.replay.OnReplay", "steps": 1000}
        own = config("dqn", "cartpole", seed, trainer=trainer, hardware={"device": "cpu"}) | {"algo": None} | more
        folder = run(root / f"{seed}_seed-{seed}", own, [1.0, 2.0], status)
        facts = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(facts | {"command": ["offrl", "job=train", "experiment=x"]}))
    (root / "multirun.yaml").touch()
    return root


def go_on(runs: Path | str, total: int | None = None) -> None:
    resume.run({"runs": str(runs), "total": total, "mode": "threads", "hardware": {"device": "cpu"}}, Path())


def test_finished_runs_stay_as_they_are_unless_more_is_asked_for(
    tmp_path: Path, resumed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    go_on(sweep(tmp_path))
    assert resumed == ["1_seed-1"]
    assert "2 of 3 runs are finished" in capsys.readouterr().out
    go_on(tmp_path, total=1000)
    assert resumed == ["1_seed-1"] * 2
    go_on(tmp_path, total=1001)
    assert sorted(resumed[2:]) == ["0_seed-0", "1_seed-1", "2_seed-2"]
    assert not (tmp_path / "verdict.json").exists()


def test_measurements_are_refused(tmp_path: Path, resumed: list[str]) -> None:
    with pytest.raises(UserError, match=r"3 of 3 runs are no trainings .* are not resumed: run it again"):
        go_on(sweep(tmp_path, job="offrl.jobs.measure.run"))
    assert not resumed


def test_a_resumed_lecture_comes_to_its_conclusion(
    tmp_path: Path, resumed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    go_on(sweep(tmp_path, lecture=LECTURE))
    assert resumed == ["1_seed-1"]
    record = json.loads((tmp_path / "verdict.json").read_text())
    assert (record["holds"], record["runs"], record["command"]) == (True, 3, "offrl train experiment=x")
    assert (tmp_path / "figure.png").exists()
    assert f"page: {tmp_path / 'index.html'}" in capsys.readouterr().out


def test_a_run_that_is_alone_is_resumed_as_it_would_be_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[bool] = []
    monkeypatch.setattr(train, "run", lambda *_: alone.append(here() is None))
    go_on(sweep(tmp_path))
    assert alone == [True]


def test_runs_that_stopped_at_different_steps_are_not_one_stack(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(5)]
    for folder, step in zip(folders, (100, 200, 100, None, 100), strict=True):
        (folder / "checkpoints").mkdir(parents=True)
        if step:
            (folder / "checkpoints" / f"step-{step:012d}.pt").touch()
    assert resume._in_step([[0, 1, 2, 3], [4]], folders) == [[0, 2], [1], [3], [4]]


def test_a_run_of_several_devices_is_named(tmp_path: Path, resumed: list[str]) -> None:
    with pytest.raises(UserError, match=rf"1_seed-1: .*offrl train run={tmp_path}/1_seed-1 resume=true"):
        go_on(sweep(tmp_path, hardware={"device": "cpu", "devices": 2}))
    assert not resumed


def test_no_folder_is_no_sweep() -> None:
    with pytest.raises(UserError, match="give runs=FOLDER"):
        go_on("")
