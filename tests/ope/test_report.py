"""What a person reads of an assessment."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from offrl.ope import report
from offrl.ope.assess import Assessment, Estimate
from offrl.ope.intervals import Bounds
from offrl.ope.support import Support

NONE = Bounds(None, None, note="none: too few")
ROWS = {
    "is": Estimate(12.5, {"student": Bounds(10.25, 14.75, 0.99), "thomas": Bounds(8.0, None, None, "one-sided")}),
    "wis": Estimate(11.0, {"student": NONE, "thomas": NONE}),
    "wdr": Estimate(11.5, {"student": NONE, "thomas": Bounds(None, None, note="none: is alone")}),
    "fqe": Estimate(11.75, {"student": NONE, "thomas": NONE}, weighs=False),
    "mis": Estimate(None, note="not tabular"),
}


def found(ess: float) -> Assessment:
    support = Support(50, 400, 0, None, ess, [40.0, ess], 1, 0.2, 1.0, 0.1, [0] * 4 + [20, 30] + [0] * 4, 0.9, 0.01)
    reliability = (np.array([0.2, 0.8]), np.array([0.25, 0.75]), np.array([0.5, 0.5]))
    levels = {"student": 0.9, "thomas": 0.95}
    return Assessment(support, 9.0, 0.5, 9.0, True, 0.05, reliability, 0.125, ROWS, levels)


def printed(ess: float) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    report.show(console, "a run", found(ess), (11.9, 0.1))
    return console.export_text()


def test_support_comes_first_and_no_figure_is_lost_in_a_narrow_terminal() -> None:
    text = printed(30.0)
    order = ["what the log can support", "ESTIMATED", "12.50% of the ratios", "counts as 30", "estimator", "11.75"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    for part in ("student 90%", "10.25", "14.75", "0.99", "thomas 95%", "11.75", "9 ± 0.5", "11.9 ± 0.1"):
        assert part in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_whoever_has_no_figure_says_why_once() -> None:
    assert report.remarks(found(30.0)) == [
        "is (thomas): one-sided",
        "wis, fqe (student, thomas); wdr (student): none: too few",
        "wdr (thomas): none: is alone",
        "mis: no estimate: not tabular",
    ]


def test_figures_that_the_log_cannot_give_are_in_brackets() -> None:
    assert "(12.5)" not in printed(30.0)
    hopeless = printed(3.0)
    assert "(12.5)" in hopeless
    assert "11.75" in hopeless
    assert "(11.75)" not in hopeless
    assert "figures in brackets rest on weights" in hopeless
    assert "CANNOT ANSWER" in hopeless


@pytest.mark.parametrize("ess", [30.0, 3.0])
def test_figure(tmp_path: Path, ess: float) -> None:
    report.draw(tmp_path / "ope.png", "a run", found(ess), (11.9, 0.1))
    assert (tmp_path / "ope.png").read_bytes().startswith(b"\x89PNG")
