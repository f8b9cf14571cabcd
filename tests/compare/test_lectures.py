"""Verdicts and figures on runs with known results, and every lecture's YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from offrl.build import build
from offrl.compare.drawings import Bars, Curves, Levels, Panels, Scatter
from offrl.compare.lecture import Lecture, conclude, draw_equation, ladder, say, wall_time
from offrl.compare.quantities import contrast, quantity
from offrl.compare.runs import Run, Runs, load_runs
from offrl.compare.verdict import Finding, Greater, Middle, Near, Rule, Trend, judge, together
from offrl.errors import UserError
from offrl.jobs.lectures import chosen
from tests.compare.fabricated import config, run
from tests.conftest import Compose

LECTURES = chosen(None)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """n_step 1, 3, 5 with three seeds each, whose returns end near 10, 30, 20; belief is 2 above; 5 diverges."""
    for n, level in ((1, 10.0), (3, 30.0), (5, 20.0)):
        for seed in range(3):
            node = config("dqn", "hopper", seed, trainer={"steps": 1000, "n_step": n})
            values = [0.0, 5.0, level + seed]
            status = "diverged" if n == 5 else "finished"
            run(tmp_path / f"{n}_{seed}", node, values, status, believed=[value + 2.0 for value in values])
    return load_runs(str(tmp_path))


RETURN = "evaluation/return"
ONE, THREE = ({"metric": RETURN, "where": f"trainer.n_step = {n}"} for n in (1, 3))
ALONE = {"metric": RETURN, "where": "trainer.n_step = 3 and seed = 0"}
NOBODY = {"metric": RETURN, "where": "trainer.n_step = 7", "label": "nobody"}


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (Greater(a=THREE, b=ONE), True),
        (Greater(a=ONE, b=THREE), False),
        (Greater(a=RETURN, b=5.0), True),
        (Greater(a=RETURN, b=20.0), False),
        (Greater(a="believed", b=RETURN), True),
        (Greater(a="believed", b=RETURN, margin=2.5), False),
        (Greater(a=THREE, b=ONE, factor=2.0), True),
        (Greater(a=THREE, b=ONE, factor=3.5), False),
        (Greater(a={"metric": "diverged", "where": "trainer.n_step = 5"}, b=0.5), True),
        (Greater(a={"metric": "diverged", "where": "trainer.n_step < 5"}, b=0.5), False),
        (Greater(a=ALONE, b=1.0), None),
        (Greater(a=ALONE, b=99.0), None),
        (Greater(a=ALONE, b=1.0, exact=True), True),
        (Greater(a=ALONE, b=99.0, exact=True), False),
        (Greater(a=THREE, b=ALONE), None),
        (Near(a=ALONE, b=30.0, tolerance=1.0), None),
        (Near(a=THREE, b=ALONE, tolerance=9.0), None),
        (Trend(a={"metric": RETURN, "where": "seed = 0"}, over="trainer.n_step", direction="rises"), None),
        (Middle(a={"metric": RETURN, "where": "seed = 0"}, over="trainer.n_step"), None),
        (Near(a={"metric": "believed", "minus": RETURN}, b=2.0, tolerance=0.01), True),
        (Near(a="believed", b=RETURN, tolerance=1.0), False),
        (Trend(a={"metric": RETURN, "where": "trainer.n_step < 5"}, over="trainer.n_step", direction="rises"), True),
        (Trend(a={"metric": RETURN, "where": "trainer.n_step < 5"}, over="trainer.n_step", direction="falls"), False),
        (Middle(a=RETURN, over="trainer.n_step"), True),
        (Middle(a="diverged", over="trainer.n_step"), False),
    ],
)  # fmt: skip
def test_rules(runs: Runs, rule: Rule, holds: bool | None) -> None:
    finding = rule(runs)
    assert finding.holds is holds, finding.text
    assert ("cannot be judged: one run gives no interval" in finding.text) is (holds is None)
    assert ("surely" in finding.text) or holds is None or isinstance(rule, Trend | Middle)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (Greater(a=NOBODY, b=1.0), "nobody: cannot be judged: no run with trainer.n_step = 7."),
        (Greater(a=RETURN, b=NOBODY), "nobody: cannot be judged: no run with trainer.n_step = 7."),
        (Near(a={"metric": "nothing", "where": "seed = 0"}, b=1.0, tolerance=1.0), "no run with seed = 0 has nothing."),
        (Near(a={"metric": RETURN, "where": "algo.depth = 7"}, b=1.0, tolerance=1.0), "no run has that config key"),
        (Near(a={"metric": RETURN, "at": 300}, b=21.0, tolerance=99.0), None),
        (Near(a={"metric": RETURN, "at": 301}, b=21.0, tolerance=99.0), "the runs end at 300, before 301."),
        (Near(a={"metric": RETURN, "minus": "believed", "at": 400}, b=-2.0, tolerance=1.0), "the runs end at 300"),
        (Trend(a=ONE, over="trainer.n_step", direction="falls"), "one value of trainer.n_step alone."),
        (Trend(a=RETURN, over="algo.depth", direction="falls"), "these runs have no such number in their config."),
        (Middle(a={"metric": RETURN, "where": "trainer.n_step < 5"}, over="trainer.n_step"), "between the smallest"),
    ],
)  # fmt: skip
def test_what_runs_lack_cannot_be_judged(runs: Runs, rule: Rule, text: str | None) -> None:
    finding = judge(rule, runs)
    assert (finding.holds is None) is (text is not None)
    assert (text or "surely") in finding.text


def test_what_does_not_hold_outweighs_what_cannot_be_judged() -> None:
    holds, fails, unjudged = (Finding(each, "") for each in (True, False, None))
    assert together([holds, unjudged, fails]) is False
    assert together([holds, unjudged]) is None
    assert together([holds]) is True


def test_quantities_read_a_run_where_they_are_told(runs: Runs) -> None:
    def of(**fields: Any) -> float:
        return float(quantity({"metric": RETURN, "where": "trainer.n_step = 3 and seed = 1"} | fields).values(runs)[0])

    assert [of(at=at) for at in ("last", "best", "worst", "first", "mean", 250.0)] == [31.0, 31.0, 0.0, 0.0, 12.0, 5.0]
    assert of(metric="believed", minus=RETURN) == 2.0
    assert of(metric="believed", over=RETURN) == pytest.approx(33.0 / 31.0)
    with pytest.raises(UserError, match="no run"):
        of(metric="nothing")
    with pytest.raises(UserError, match=r"lecture quantity\.att"):
        of(att="last")


def test_pairs_by_seed_leave_no_scatter_that_both_share(runs: Runs) -> None:
    pair = [quantity({"metric": RETURN, "where": f"trainer.n_step = {n}"}) for n in (3, 1)]
    assert tuple(contrast(runs, *pair, ratio=False)) == (20.0, 20.0, 20.0)


def test_a_lecture_ends_in_a_figure_a_verdict_and_a_page(runs: Runs, tmp_path: Path) -> None:
    series = ({"metric": RETURN, "label": "return, n = {value}"},)
    pair = ({"metric": RETURN}, {"metric": "believed"})
    figure = Panels(
        (
            Curves(series=series, by="trainer.n_step", xlabel="step"),
            Levels(series=pair, over="trainer.n_step", logy=True),
            Bars(series=series, by="trainer.n_step", lines={"zero": 0.0}),
            Scatter(x={"metric": RETURN}, y={"metric": "believed"}, by="trainer.n_step", diagonal=True),
        )
    )
    rules = (Greater(a="believed", b=RETURN), Greater(a=RETURN, b="believed"))
    lecture = Lecture(
        name="c01_test",
        claim="C1",
        title="A < B & C",
        equation=r"$\hat Q > Q$",
        caption="seen",
        figure=figure,
        verdict=rules,
    )
    record = conclude(lecture, tmp_path, "offrl train experiment=lectures/c1_test")
    assert json.loads((tmp_path / "verdict.json").read_text()) == record
    assert not record["holds"]
    assert [finding["holds"] for finding in record["findings"]] == [True, False]
    assert len(record["failed"]) == 3
    page = ladder([tmp_path], ["c2_lost"])
    assert "A &lt; B &amp; C" in page
    assert "does not hold" in page
    assert '<tr class="failed"><td><a href="#C1">' in page
    assert "No conclusion: c2_lost" in page
    assert page.count("data:image/png;base64") == 2
    for name in ("figure.png", "figure.svg", "equation.png"):
        assert (tmp_path / name).stat().st_size > 1000


def test_a_changed_sweep_keeps_what_it_shows(runs: Runs, tmp_path: Path) -> None:
    """A rule and a series whose runs are not there cost neither the figure nor the other rules."""
    lecture = Lecture(
        name="c01_test",
        claim="C1",
        title="A",
        equation="",
        caption="seen",
        figure=Panels((Curves(series=(ONE, NOBODY)), Bars(series=(NOBODY,)))),
        verdict=(Greater(a="believed", b=RETURN), Greater(a=NOBODY, b=1.0)),
    )
    record = conclude(lecture, tmp_path, "offrl")
    assert record["holds"] is None
    assert say(record).splitlines() == [
        "C1 cannot be judged: A",
        f"  + {record['findings'][0]['text']}",
        "  ? nobody: cannot be judged: no run with trainer.n_step = 7.",
    ]
    page = ladder([tmp_path], [])
    assert "0 of 1 claims hold on these runs, 1 cannot be judged" in page
    assert '<div class="open"><b>Verdict: cannot be judged.' in page
    assert page.count("data:image/png;base64") == 1


def test_what_cannot_be_drawn_is_said_in_its_place(runs: Runs) -> None:
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)
    Panels((Curves(series=(ONE, NOBODY)), Bars(series=(NOBODY,)))).draw(runs, [left, right])
    assert len(left.lines) == 1
    (said,) = right.texts
    assert " ".join(said.get_text().split()) == "nothing to draw: nobody: no run with trainer.n_step = 7"


def test_runs_at_the_same_time_are_not_counted_twice() -> None:
    marks = [("10:00:00", "10:01:00"), ("10:00:30", "10:01:30"), ("10:01:00", None)]
    day = "2026-01-01T{}+00:00"
    facts = [{"start": day.format(a), "end": b and day.format(b), "seconds": 60.0} for a, b in marks]
    runs = Runs(tuple(Run(Path(str(i)), "finished", {}, each) for i, each in enumerate(facts)), {})
    assert wall_time(runs) == 90.0


@pytest.mark.parametrize("name", LECTURES)
def test_lectures_build_and_their_equations_can_be_drawn(compose: Compose, tmp_path: Path, name: str) -> None:
    node = compose(f"experiment=lectures/{name}")["lecture"]
    lecture = build(node, "lecture")
    assert isinstance(lecture, Lecture)
    assert name == lecture.name
    assert name.startswith(f"c{lecture.number:02d}_")
    if lecture.equation:
        draw_equation(lecture.equation, tmp_path / "equation")


def test_no_claim_is_told_twice_and_unknown_ones_are_refused() -> None:
    claims = [name.partition("_")[0] for name in LECTURES]
    assert len(set(claims)) == len(claims)
    with pytest.raises(UserError, match="no lecture c99"):
        chosen(["c99"])
