from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from offrl.build import build
from offrl.data import minari, report
from offrl.data import steps as episodes
from offrl.errors import UserError
from offrl.jobs import dataset as job
from tests.data.synthetic import DISCRETE, make_steps
from tests.data.test_files import CHOICES, STEPS, d4rl, recipe, save, write_csv
from tests.data.test_recipes import PLAIN


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


def run(action: str, dataset: dict[str, Any] | None = None, **more: Any) -> None:
    keys = {"report": None, "to": None, "description": None, "overwrite": False}
    job.run({**keys, "action": action, "dataset": dataset, **more}, Path())


def node(path: Path, **settings: Any) -> dict[str, Any]:
    made = recipe(path, **settings)
    return {"_target_": "offrl.data.files.FileData", **vars(made), "path": str(path)}


def test_a_log_becomes_a_dataset_that_lists_shows_and_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("list")
    assert "no datasets" in capsys.readouterr().out
    path = write_csv(tmp_path / "log.csv", CHOICES)
    run("import", node(path, probability=None), to="my/log-v0")
    run("list")
    assert "my/log-v0" in capsys.readouterr().out
    stored = PLAIN | {"id": "my/log-v0"}
    run("show", stored)
    assert "imported from log.csv" in capsys.readouterr().out
    direct, again = recipe(path).read(), minari.read("my/log-v0")
    np.testing.assert_allclose(direct.steps.obs, again.steps.obs)
    assert direct.spec == again.spec
    with pytest.raises(UserError, match="exists already"):
        run("import", node(path), to="my/log-v0")


def test_a_dataset_remembers_that_its_log_had_no_successors(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", make_steps([4, 4], [True, True], DISCRETE))
    run("import", node(path), to="my/log-v0")
    stored = build(PLAIN | {"id": "my/log-v0", "timeouts_at": 4}, "dataset").load()
    assert episodes.lengths(stored.steps).tolist() == [3, 3]


def test_check_and_import_take_time_limits_as_training_does(tmp_path: Path) -> None:
    path = save(tmp_path / "log.npz", d4rl(make_steps([5] * 9, [True] * 9)))
    run("check", node(path, timeouts_at=5), report=str(tmp_path / "report"))
    found = json.loads((tmp_path / "report" / "check.json").read_text())
    assert (found["terminated"], found["truncated"]) == (0, 9)
    assert not any("a time limit stored" in one["message"] for one in found["findings"])
    run("import", node(path, timeouts_at=5), to="my/log-v0")
    assert minari.read("my/log-v0").steps.truncated.sum() == 9
    with pytest.raises(UserError, match=r"dataset\.max_transitions is not for importing"):
        run("import", node(path, max_transitions=10), to="my/other-v0")


def test_returns_that_differ_in_their_last_bits_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tight = np.array([1.0, np.nextafter(1.0, 2.0)])
    report.print_histogram(Console(), tight)
    assert "█ 2" in capsys.readouterr().out
    report.save(tmp_path / "tight", {}, [], tight)


def test_check_reports_and_fails_on_poison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = save(tmp_path / "good.npz", d4rl(STEPS))
    run("check", node(good), report=str(tmp_path / "report"))
    found = json.loads((tmp_path / "report" / "check.json").read_text())
    assert (found["transitions"], found["terminated"], found["truncated"]) == (12, 2, 1)
    assert {one["severity"] for one in found["findings"]} == {"ok"}
    assert (tmp_path / "report" / "returns.png").read_bytes().startswith(b"\x89PNG")
    bad = make_steps([4], [True])
    bad.reward[1] = np.nan
    capsys.readouterr()
    with pytest.raises(UserError, match=r"would spoil training \(finite\)"):
        run("check", node(save(tmp_path / "bad.npz", d4rl(bad))))
    assert "row 1" in capsys.readouterr().out


def test_actions_are_reported_in_the_units_of_the_log(tmp_path: Path) -> None:
    arrays = d4rl(STEPS)
    arrays["actions"] = arrays["actions"] * np.array([10.0, 3.0], np.float32)
    bounds = {"action_low": [-20.0, -20.0], "action_high": [20.0, 2.0], "out_of_bounds": "clip"}
    run("check", node(save(tmp_path / "log.npz", arrays), **bounds), report=str(tmp_path / "report"))
    columns = json.loads((tmp_path / "report" / "check.json").read_text())["columns"]
    for i, name in enumerate(("action[0]", "action[1]")):
        logged = arrays["actions"][:, i]
        assert columns[name]["min"] == pytest.approx(logged.min(), rel=1e-5)
        assert columns[name]["max"] == pytest.approx(logged.max(), rel=1e-5), "also outside of the bounds"


def test_what_is_missing_is_said() -> None:
    with pytest.raises(UserError, match="did you mean 'check'"):
        run("chek")
    with pytest.raises(UserError, match="needs a dataset"):
        run("show")
    with pytest.raises(UserError, match="to= is missing"):
        run("import")
