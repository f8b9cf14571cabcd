"""A claim of a lecture, shown on runs: one figure, a verdict, and a page that says how to see it oneself."""

from __future__ import annotations

import html
import json
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from offrl.build import build
from offrl.compare import style
from offrl.compare.drawings import Drawing, draw_or_say
from offrl.compare.report import figure_html, page_html, write
from offrl.compare.runs import Runs, load_runs
from offrl.compare.verdict import Rule, judge, together
from offrl.errors import UserError
from offrl.functional.comparison import COVERED
from offrl.log.files import write_json

RECORD, FIGURE, EQUATION, PAGE = "verdict.json", "figure", "equation", "index.html"


@dataclass(frozen=True, kw_only=True)
class Lecture:
    """What a lecture says, and how runs are to be read for it. The sweep that makes the runs stands beside it."""

    name: str  # of the experiment
    claim: str  # C1 … C28
    title: str  # the claim in one sentence; also the figure's
    equation: str  # TeX between dollars, as matplotlib's mathtext knows it; empty for none
    caption: str  # what was measured, and how
    figure: Drawing
    verdict: tuple[Rule, ...]  # all have to hold

    @property
    def number(self) -> int:
        """The place in the order of the lectures."""
        return int("".join(c for c in self.claim if c.isdigit()) or 0)


def report(node: Mapping[str, Any], folder: Path, words: Sequence[str]) -> None:
    """Conclude the lecture that `node` describes, and print its verdict and where its page is.

    `words` are those after `offrl` on the command line that made the runs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        print(say(conclude(cast(Lecture, build(node, "lecture")), folder, _command(words))))
    print(f"page: {folder / PAGE}")


def _command(words: Sequence[str]) -> str:
    """What a person types to see this."""
    return shlex.join(["offrl", "train", *(word for word in words if not word.startswith(("job=", "hydra.")))])


def conclude(lecture: Lecture, folder: Path, command: str) -> dict[str, Any]:
    """Draw the figure of the sweep in `folder`, judge the claim, write both and a page; returns the record."""
    runs = load_runs([str(folder)])
    draw(lecture, runs, folder / FIGURE)
    findings = [judge(rule, runs) for rule in lecture.verdict]
    record: dict[str, Any] = {
        "name": lecture.name,
        "claim": lecture.claim,
        "number": lecture.number,
        "title": lecture.title,
        "caption": lecture.caption,
        "command": command,
        "holds": together(findings),
        "findings": [{"holds": finding.holds, "text": finding.text} for finding in findings],
        "runs": len(runs),
        "seeds": len({run.seed for run in runs}),
        "failed": [f"{run.folder.name}: {run.status}" for run in runs if run.failed],
        "seconds": wall_time(runs),
    }
    if lecture.equation:
        draw_equation(lecture.equation, folder / EQUATION)
    write_json(folder / RECORD, record)
    write(folder / PAGE, page_html(f"{lecture.claim}: {lecture.title}", section(folder)))
    return record


def wall_time(runs: Runs) -> float:
    """Seconds from the start of the first run to the end of the last, however many of them went on at once."""
    marks = [
        datetime.fromisoformat(run.facts[mark]) for run in runs for mark in ("start", "end") if run.facts.get(mark)
    ]
    return (max(marks) - min(marks)).total_seconds() if marks else 0.0


def draw(lecture: Lecture, runs: Runs, path: Path) -> None:
    """The one figure; its title is the claim."""
    count = lecture.figure.panels
    width = style.across(min(count, 3))
    down = -(-count // 3)
    with style.drawing(width, style.HEIGHT * down + 0.5, f"{lecture.claim}: {lecture.title}") as figure:
        axes = [figure.add_subplot(down, min(count, 3), index + 1) for index in range(count)]
        draw_or_say(lecture.figure, runs, axes)
        style.save(figure, path)


def draw_equation(text: str, path: Path) -> None:
    """Mathematics as a picture. Raises `UserError` where it is no mathtext."""
    with style.drawing(0.1, 0.1) as figure:
        figure.set_layout_engine("none")
        figure.text(0.0, 0.0, text, fontsize=15)
        try:
            style.save(figure, path, ("png",))
        except ValueError as error:
            raise UserError(f"lecture.equation={text}: {str(error).splitlines()[-1]}") from error


def verdict_words(record: dict[str, Any]) -> str:
    """`holds`, `does not hold` or `cannot be judged`."""
    return {True: "holds", False: "does not hold", None: "cannot be judged"}[record["holds"]]


def section(folder: Path) -> str:
    """The claim's part of a page, from what `conclude` left in its folder."""
    record = read_record(folder)
    findings = cast("list[dict[str, Any]]", record["findings"])
    points = "".join(f"<li>{html.escape(f['text'])}</li>" for f in findings)
    equation = folder / f"{EQUATION}.png"
    picture = figure_html(equation, "") if equation.exists() else ""
    failed = cast("list[str]", record["failed"])
    ended = f"; {len(failed)} of them ended badly ({html.escape(', '.join(failed))})" if failed else ""
    kind = {True: "holds", False: "fails", None: "open"}[record["holds"]]
    cost = f"{record['runs']} runs with {record['seeds']} seeds, {record['seconds']:.0f} s{ended}."
    return (
        f'<section id="{record["claim"]}"><h2>{record["claim"]}: {html.escape(record["title"])}</h2>{picture}'
        f"<pre>{html.escape(record['command'])}</pre>{figure_html(folder / f'{FIGURE}.png', record['caption'])}"
        f'<div class="{kind}"><b>Verdict: {verdict_words(record)}.</b>'
        f"<ul>{points}</ul>{cost}</div></section>"
    )


def read_record(folder: Path) -> dict[str, Any]:
    """What `conclude` found."""
    return json.loads((folder / RECORD).read_text(encoding="utf-8"))


def _line(record: dict[str, Any]) -> str:
    """One row of the ladder's table; a claim that does not hold stands out."""
    kind = ' class="failed"' if record["holds"] is False else ""
    return (
        f'<tr{kind}><td><a href="#{record["claim"]}">{record["claim"]}</a></td>'
        f'<td class="text">{verdict_words(record)}</td><td class="text">{html.escape(record["title"])}</td>'
        f"<td>{record['runs']}</td><td>{record['seconds']:.0f}</td></tr>"
    )


def ladder(folders: Sequence[Path], missing: Sequence[str]) -> str:
    """All claims on one page, in lecture order; `missing` are experiments that came to no conclusion."""
    order = sorted(folders, key=lambda folder: (read_record(folder)["number"], folder.name))
    records = [read_record(folder) for folder in order]
    holding, unjudged = (sum(record["holds"] is verdict for record in records) for verdict in (True, None))
    beside = f", {unjudged} cannot be judged" if unjudged else ""
    rows = "".join(map(_line, records))
    lost = f'<ul class="notes"><li>No conclusion: {html.escape(", ".join(missing))}.</li></ul>' if missing else ""
    table = (
        '<table><thead><tr><th>claim</th><th class="text">verdict</th><th class="text">what the lecture says</th>'
        "<th>runs</th><th>seconds</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )
    few = f"it holds the truth in about {COVERED[3]} to {COVERED[5]} % of cases: small gaps need more seeds"
    head = (
        f"<h1>The lectures, shown</h1><p>{holding} of {len(records)} claims hold on these runs{beside}. Rules ask for "
        f"the whole of a 95 % bootstrap interval over runs; of three to five runs, as most lectures have, {few}.</p>"
    )
    return page_html("offrl: the lectures, shown", head + lost + table + "\n".join(section(f) for f in order))


def say(record: dict[str, Any]) -> str:
    """The verdict for a terminal."""
    marks = {True: "+", False: "-", None: "?"}
    lines = [f"{record['claim']} {verdict_words(record)}: {record['title']}"]
    lines += [f"  {marks[finding['holds']]} {finding['text']}" for finding in record["findings"]]
    return "\n".join(lines)
