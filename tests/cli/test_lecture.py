"""A lecture from the command line to its page, in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.test_cli import offrl


def test_lectures_are_sweeps_that_end_in_verdicts_on_one_page(tmp_path: Path) -> None:
    small = "lectures.words=['measure.episodes=[5,20]','measure.discount=0.5']"
    words = ["lectures.only=[c14_gradient_variance]", "lectures.seeds=2", small]
    done = offrl("train", "experiment=lectures/all", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "C14" in done.stdout
    (found,) = tmp_path.rglob("verdict.json")
    record = json.loads(found.read_text())
    assert (record["claim"], record["runs"], record["seeds"], record["failed"]) == ("C14", 8, 2, [])
    assert record["command"].startswith("offrl train experiment=lectures/c14_gradient_variance")
    page = (found.parents[1] / "index.html").read_text()
    assert '<section id="C14">' in page
    assert "8 runs with 2 seeds" in page
    assert {"index.html", "figure.png", "figure.svg", "equation.png"} <= {path.name for path in found.parent.iterdir()}


def test_a_dry_run_of_a_lecture_measures_and_leaves_nothing(tmp_path: Path) -> None:
    words = ["experiment=lectures/c24_deadly_triad", "algo=tabular_q", "algo.discount=1", "dry_run=true"]
    done = offrl("train", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("_target_: offrl.lectures.triad.OneState") == 3
    assert "C24" not in done.stdout
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [*tmp_path.glob("runs/lectures/c24_deadly_triad/*")]
