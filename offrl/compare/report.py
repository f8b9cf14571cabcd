"""The report of a comparison: one HTML page that needs nothing else, and its figures and tables as files."""

from __future__ import annotations

import base64
import html
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from offrl.compare import figures
from offrl.compare.comparison import Comparison
from offrl.compare.groups import differing, say
from offrl.compare.style import DPI, metric_label
from offrl.compare.summary import Bootstrap, Row, Table, group_table, pair_table, pivot_table, run_table, shown
from offrl.log.files import replacing

CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 70rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; overflow-x: auto; }
figcaption { color: #555; font-size: .92rem; position: sticky; left: 0; }
@media (max-width: 40rem) { body { margin: 1rem auto; } img.wide { max-width: none; min-width: 46rem; } }
table { border-collapse: collapse; font-size: .88rem; display: block; overflow-x: auto; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #eee; white-space: nowrap; }
th:first-child, td:first-child, .text { text-align: left; }
td.text { white-space: normal; } thead th { border-bottom: 2px solid #999; }
tr.failed td { background: #fdeee6; } code, pre { background: #f4f4f4; padding: .1rem .3rem; border-radius: 3px; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .5rem .8rem; }
ul.notes { background: #fff6dd; border-left: 4px solid #e69f00; padding: .6rem 1rem .6rem 2rem; }
.holds { border-left: 6px solid #0072b2; padding-left: .8rem; }
.open { border-left: 6px solid #e69f00; padding-left: .8rem; }
.fails { border-left: 6px solid #d55e00;
padding-left: .8rem; } nav a { margin-right: .8rem; }
"""

OWN_FILES = (
    "report.html",
    *(f"{name}*.*" for name in ("curves", "aggregates", "profile", "improvement", "scores", "pivot")),
)
CSS_DPI, WIDE = 96, 800  # pixels of a page to an inch; those from which on a picture is wide
Figures = dict[str, list[Path]]  # caption -> files, the PNG first


def write_report(
    comparison: Comparison, folder: Path, target: float | None, how: Bootstrap, command: str
) -> list[Table]:
    """Draw, tabulate and bind all of it into `folder`, on the page `report.html`; returns the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in [file for name in OWN_FILES for file in folder.glob(name)]:
        old.unlink()  # of an earlier report: it may have had figures that these runs do not allow
    tables = make_tables(comparison, target, how)
    for table in tables:
        name = "".join(c if c.isalnum() else "_" for c in table.name)
        write(folder / f"{name}.csv", table.csv())
        write(folder / f"{name}.md", table.markdown())
    page = _page(comparison, tables, draw(comparison, folder, target, how), how, command)
    write(folder / "report.html", page)
    return tables


def make_tables(comparison: Comparison, target: float | None, how: Bootstrap) -> list[Table]:
    """Groups (on all tasks together where they compare, and on each), their pivot, pairs, and runs."""
    tasks = comparison.tasks
    wholes = [tasks] if comparison.comparable and len(tasks) > 1 else []
    parts = [*wholes, *([task] for task in tasks)]
    tables = [group_table(comparison, part, target, how) for part in parts]
    if comparison.pivot:
        tables += [pivot_table(comparison, comparison.pivot, part, how) for part in parts]
    if len(comparison.labels) > 1:
        tables.append(pair_table(comparison, how))
    return [*tables, run_table(comparison)]


def draw(comparison: Comparison, folder: Path, target: float | None, how: Bootstrap) -> Figures:
    """Every figure that these runs allow."""
    percent = f"{100 * how.level:g} %"
    bands = f"bands are {percent} stratified-bootstrap intervals over runs, {how.replicates} replicates"
    drawn: Figures = {
        f"{metric_label(comparison.metric)}: interquartile mean over runs; {bands}.": figures.draw_curves(
            comparison, folder / "curves", how
        )
    }
    if comparison.comparable:
        drawn[f"Aggregates ({comparison.at} score of each run) with {percent} intervals."] = figures.draw_aggregates(
            comparison, folder / "aggregates", target, how
        )
        drawn["The share of runs whose score is above τ: a curve above another is better at every τ."] = (
            figures.draw_profile(comparison, folder / "profile", how)
        )
    pairs = figures.draw_improvement(comparison, folder / "improvement", how)
    if pairs:
        drawn[
            f"How likely a run of one group scores above one of another on the same task, with {percent} intervals."
        ] = pairs
    return drawn


def _page(comparison: Comparison, tables: Sequence[Table], drawn: Figures, how: Bootstrap, command: str) -> str:
    groups = ", ".join(comparison.keys) or "nothing: they differ in their seeds alone"
    parts = [
        f"<h1>{len(comparison.runs)} runs in {len(comparison.groups)} groups</h1>",
        f"<pre>{html.escape(command)}</pre>",
        f"<p>Groups are told apart by <b>{html.escape(groups)}</b>. The score of a run is the {comparison.at} value of "
        f"<code>{comparison.metric}</code>. Intervals are {100 * how.level:g} % percentile intervals of a bootstrap "
        "that draws runs anew within each task.</p>",
        notes_html(comparison.notes),
    ]
    parts += ["<h2>Figures</h2>", *(figure_html(files[0], caption) for caption, files in drawn.items())]
    parts += [f"<h2>{html.escape(table.title)}</h2>{table_html(table)}" for table in tables]
    parts += [f"<h2>What differs</h2>{table_html(_differences(comparison))}"]
    return page_html(f"offrl: {len(comparison.runs)} runs", "\n".join(parts))


def _differences(comparison: Comparison) -> Table:
    """Each key in which some groups differ, with its values by group."""
    rows: list[Row] = []
    for key in [
        key for key in differing(comparison.runs.only(r for r in comparison.runs if r.config)) if key != "algo"
    ]:
        row: Row = {"key": key}
        for each in comparison.groups:
            row[each.label] = " or ".join(dict.fromkeys(say(run.get(key)) for run in each.runs))
        rows.append(row)
    return Table("differences", "What differs", rows)


# ------------------------------------------------------------------------------------------------------------ HTML


def page_html(title: str, body: str) -> str:
    """A whole page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>'
        f"<body>\n{body}\n</body></html>\n"
    )


def notes_html(notes: Sequence[str]) -> str:
    """What a reader has to know before believing anything."""
    return f'<ul class="notes">{"".join(f"<li>{html.escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def figure_html(picture: Path, caption: str) -> str:
    """A PNG within the page, in its own size where there is room; a wide one is pushed aside on a narrow screen."""
    data = picture.read_bytes()
    pixels, _ = struct.unpack(">II", data[16:24])  # of the PNG's header
    width = round(pixels * CSS_DPI / DPI)
    text, kind = html.escape(caption), ' class="wide"' if width > WIDE else ""
    image = f'<img alt="{text}" width="{width}"{kind} src="data:image/png;base64,{base64.b64encode(data).decode()}">'
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def table_html(table: Table) -> str:
    """A table; runs that failed stand out."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    body = "".join(_row_html(row, table.columns) for row in table.rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row_html(row: Mapping[str, object], columns: Sequence[str]) -> str:
    cells = "".join(f"<td>{html.escape(shown(row.get(column)))}</td>" for column in columns)
    return (
        f'<tr class="failed">{cells}</tr>'
        if row.get("status") in ("failed", "diverged", "not started")
        else f"<tr>{cells}</tr>"
    )


def write(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8")
