"""Run folders with known results, read, grouped, compared and reported."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offrl.compare.comparison import compare
from offrl.compare.groups import differing, group
from offrl.compare.live import spark, view
from offrl.compare.runs import load_runs
from offrl.errors import UserError
from offrl.jobs.compare import run as compare_job
from tests.compare.fabricated import config, run, sweep


def job(runs: Path | str, to: Path, **more: Any) -> dict[str, Any]:
    """The config of `offrl compare`."""
    base = {
        "runs": str(runs),
        "to": str(to),
        "by": None,
        "pivot": None,
        "where": None,
        "metric": None,
        "x": "step",
        "at": "last",
    }
    rest = {"failed": "leave_out", "target": None, "level": 0.95, "replicates": 200, "watch": False, "every": 5.0}
    return base | rest | {"seed": 0} | more


def test_groups_are_found_and_named_by_what_differs(tmp_path: Path) -> None:
    root = sweep(tmp_path / "s", ["sac", "td3"], ["hopper", "walker"], 2)
    runs = load_runs(str(root))
    groups, keys = group(runs, None)
    assert (keys, [each.label for each in groups], [len(each.runs) for each in groups]) == (
        ["algo"],
        ["SAC", "TD3"],
        [4, 4],
    )
    assert set(differing(runs)) == {"algo", "algo._target_", "algo.policy_noise", "algo.temperature"}
    run(tmp_path / "s" / "99_x", config("td3", "hopper", 0, trainer={"steps": 1000, "n_step": 3}), [1.0])
    groups, keys = group(load_runs(str(root)), None)
    assert [each.label for each in groups] == ["SAC, n_step=1", "TD3, n_step=1", "TD3, n_step=3"]
    assert [each.label for each in group(load_runs(str(root)), ["env"])[0]] == ["hopper", "walker"]
    with pytest.raises(UserError, match=r"by=trainer.nstep.*did you mean 'trainer.n_step'"):
        group(runs, ["trainer.nstep"])


def test_filters_are_sql_over_config_keys(tmp_path: Path) -> None:
    runs = load_runs([str(sweep(tmp_path / "s", ["sac", "td3"], ["hopper"], 3))])
    assert len(runs.where("algo = 'TD3' and seed < 2")) == 2
    assert len(runs.where("algo.policy_noise > 0.1 or env = 'nowhere'")) == 3
    assert len(runs.where("name like 'sac%'")) == 3
    with pytest.raises(UserError, match=r"algo.policy_nose.*did you mean 'algo.policy_noise'"):
        runs.where("algo.policy_nose > 0")
    with pytest.raises(UserError, match="no condition"):
        runs.where("seed <")


def test_figures_are_those_of_an_independent_computation(tmp_path: Path) -> None:
    """Scores at the last shared step; IQM and its interval by a loop over resamples with other random numbers."""
    root, generator = tmp_path / "s", np.random.default_rng(3)
    finals = generator.normal(50, 10, 8)
    for seed, final in enumerate(finals):
        run(root / str(seed), config("sac", "hopper", seed), [0.0, float(final)])
    found = compare(load_runs(str(root)))
    np.testing.assert_allclose(np.sort(found.scores("SAC")[0]), np.sort(finals))
    compare_job(job(root, tmp_path / "out", replicates=8000), tmp_path)
    (row,) = csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines())
    drawn = [np.sort(generator.choice(finals, 8))[2:6].mean() for _ in range(8000)]
    assert float(row["IQM"]) == pytest.approx(np.sort(finals)[2:6].mean())
    expected = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose([float(row["IQM low"]), float(row["IQM high"])], expected, atol=0.6)


def test_what_is_unequal_is_said(tmp_path: Path) -> None:
    root = sweep(tmp_path / "s", ["sac", "td3"], ["hopper"], 2)
    run(root / "7_short", config("sac", "hopper", 2), [1.0, 2.0])
    run(root / "8_bad", config("td3", "hopper", 3), [9.0] * 10, status="diverged")
    (root / "9_refused").mkdir()
    found = compare(load_runs(str(root)))
    text = " ".join(found.notes)
    assert "compared up to 200" in text
    assert "TD3: no run with seed 2" in text
    assert "2 of 7 runs failed (1 diverged, 1 not started)" in text
    assert found.scores("SAC")[0].shape == (3,)
    assert found.curves["SAC", "hopper"].x.tolist() == [100.0, 200.0]
    assert sum(len(task) for task in compare(load_runs(str(root)), failed="count").scores("TD3")) == 3


def test_one_seed_proves_nothing(tmp_path: Path) -> None:
    root = sweep(tmp_path / "s", ["sac", "td3"], ["hopper"], 1)
    assert any("One seed proves nothing" in note and "SAC; TD3" in note for note in compare(load_runs(str(root))).notes)


@pytest.mark.parametrize(("seeds", "said"), [(1, None), (3, "75 %"), (7, "83 %"), (10, None)])
def test_intervals_of_few_runs_are_said_to_be_narrow(tmp_path: Path, seeds: int, said: str | None) -> None:
    notes = compare(load_runs(str(sweep(tmp_path / "s", ["sac", "td3"], ["hopper"], seeds)))).notes
    told = [note for note in notes if "too narrow" in note]
    assert len(told) == (said is not None)
    assert all(str(said) in note for note in told)


def test_returns_of_different_tasks_are_not_mixed_and_scores_are(tmp_path: Path) -> None:
    returns = compare(load_runs(str(sweep(tmp_path / "r", ["sac"], ["hopper", "walker"], 2))))
    assert not returns.comparable
    scores = sweep(tmp_path / "s", ["sac"], ["hopper", "walker"], 2, metric="evaluation/score")
    found = compare(load_runs(str(scores)))
    assert found.comparable
    assert found.together("SAC") is not None
    assert [len(task) for task in found.scores("SAC")] == [2, 2]
    compare_job(job(scores, tmp_path / "out", target=100.0), tmp_path)
    assert {"curves.png", "curves.svg", "aggregates.png", "profile.png", "scores.md"} <= names(tmp_path / "out")


def test_a_pivot_has_a_column_for_each_value(tmp_path: Path) -> None:
    scores = {("sac", 1): 10.0, ("sac", 3): 20.0, ("td3", 1): 30.0, ("td3", 10): 40.0}
    for number, ((algo, n_step), level) in enumerate(scores.items()):
        for seed in range(4):
            node = config(algo, "hopper", seed, trainer={"steps": 1000, "n_step": n_step})
            run(tmp_path / "s" / f"{number}_{seed}", node, [0.0, level + seed])
    compare_job(job(tmp_path / "s", tmp_path / "out", by="algo", pivot="trainer.n_step"), tmp_path)
    table = (tmp_path / "out" / "pivot.csv").read_text()
    rows = {row["group"]: row for row in csv.DictReader(table.splitlines())}
    assert set(rows) == {"SAC", "TD3"}
    assert [key for key in rows["SAC"] if " " not in key] == ["group", "n_step=1", "n_step=3", "n_step=10"]
    middles = {(algo.lower(), n): row[f"n_step={n}"] for algo, row in rows.items() for n in (1, 3, 10)}
    assert {key: float(cell) for key, cell in middles.items() if cell} == {k: v + 1.5 for k, v in scores.items()}
    assert (tmp_path / "out" / "report.html").read_text().count("IQM of evaluation/return by trainer.n_step") == 1


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_report_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = sweep(tmp_path / "s", ["dqn", "sac", "td3"], ["hopper"], 5)
    run(root / "99_bad", config("td3", "hopper", 5), None, status="failed")
    compare_job(job(root, tmp_path / "out"), tmp_path)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png;base64") == 4
    assert '<tr class="failed"><td>99_bad</td>' in page
    assert "P(better)" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "runs.csv").read_text().splitlines()))
    assert [row["status"] for row in rows].count("failed") == 1
    assert (tmp_path / "out" / "improvement.md").read_text().startswith("| group | against | P(better) |")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs": None}, "give runs="),
        ({"runs": "nowhere"}, "no run folder there"),
        ({"metric": "evaluation/retrun"}, "did you mean 'evaluation/return'"),
        ({"pivot": "trainer.nstep"}, "pivot=trainer.nstep.*did you mean"),
        ({"at": "middle"}, "at=middle should be last or best or mean"),
        ({"where": "seed > 5"}, "no run is left"),
        ({"level": 95}, "level=95 should be between 0 and 1"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    root = sweep(tmp_path / "s", ["sac"], ["hopper"], 1)
    with pytest.raises(UserError, match=message):
        compare_job(job(root, tmp_path / "out") | change, tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_live_view_shows_running_runs(tmp_path: Path) -> None:
    from rich.console import Console

    root = sweep(tmp_path / "s", ["sac", "td3"], ["hopper"], 1)
    run(root / "50_now", config("sac", "hopper", 7), [1.0, 2.0], status="running")
    run(root / "51_begun", config("sac", "hopper", 8), None, status="running")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(view(load_runs(str(root)), compare))
    text = console.export_text()
    assert "SAC, seed 7" in text
    assert "20%" in text
    assert "SAC, seed 8" in text
    assert spark([0.0, 1.0, 2.0]) == "▁▄█"


@pytest.mark.slow
def test_three_hundred_runs_in_a_minute(tmp_path: Path) -> None:
    root = sweep(tmp_path / "s", ["dqn", "sac", "td3"], [f"env{i}" for i in range(4)], 25, metric="evaluation/score")
    start = time.process_time()  # of this process alone: other work on the machine does not count
    compare_job(job(root, tmp_path / "out", replicates=2000), tmp_path)
    assert time.process_time() - start < 60.0
