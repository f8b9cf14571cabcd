"""What a person reads: tables and a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from offrl.log.files import replacing
from offrl.ope.assess import Assessment, Estimate
from offrl.ope.intervals import Bounds
from offrl.ope.support import lines

FEW = 60  # steps that are drawn as points
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#999999")  # of Okabe and Ito, for all eyes


def show(console: Console, name: str, found: Assessment, truth: tuple[float, float] | None) -> None:
    """Print support first, then the estimates, then why some are missing and what others assume."""
    console.rule(name)
    table = Table(title="what the log can support", show_header=False)
    for label, figure in lines(found.support):
        table.add_row(label, figure)
    if found.estimated:
        table.add_row(
            "behaviour",
            f"ESTIMATED by a model (calibration error {found.calibration:.3f}): every weighted figure rests on it",
        )
    if found.clipped is not None:
        table.add_row("clipped", f"{found.clipped:.2%} of the ratios, so weighted figures are biased")
    console.print(table)
    console.print(found.support.verdict(), style="bold red" if found.support.hopeless else "bold", highlight=False)
    console.print(_estimates(found))
    for remark in remarks(found):
        console.print(f"- {remark}", highlight=False)
    console.print(
        f"behaviour policy: {found.logged:.4g} ± {found.logged_error:.2g} (mean discounted return of the log)"
    )
    if truth is not None:
        console.print(f"true value: {truth[0]:.4g} ± {truth[1]:.2g} (rolled out)")


def _estimates(found: Assessment) -> Table:
    """A row for each estimate and interval that there is."""
    table = Table("estimator", "J", "interval", "from", "to", f"P(J > {found.baseline:.4g})")
    for name, row in found.estimates.items():
        if row.value is None:
            continue
        value = f"({row.value:.4g})" if found.doubtful(row) else f"{row.value:.4g}"
        known = {kind: bounds for kind, bounds in row.intervals.items() if bounds.low is not None}
        for index, (kind, bounds) in enumerate(known.items() or [("none", Bounds(None, None))]):
            ends = ("-" if end is None else f"{end:.4g}" for end in (bounds.low, bounds.high))
            chance = "-" if bounds.above is None else f"{bounds.above:.2f}"
            level = f" {found.levels[kind]:.0%}" if known else ""
            table.add_row(*((name, value) if index == 0 else ("", "")), f"{kind}{level}", *ends, chance)
        table.add_section()
    return table


def remarks(found: Assessment) -> list[str]:
    """Why figures are missing, and what those that are there assume; each reason once."""
    reasons: dict[str, dict[str, list[str]]] = {}  # reason -> estimator -> kinds of interval
    for name, row in found.estimates.items():
        if row.value is None:
            reasons.setdefault(f"no estimate: {row.note}", {})[name] = []
        for kind, bounds in row.intervals.items():
            if bounds.note:
                reasons.setdefault(bounds.note, {}).setdefault(name, []).append(kind)
    out = [f"{_places(where)}: {reason}" for reason, where in reasons.items()]
    if any(found.doubtful(row) for row in found.estimates.values() if row.value is not None):
        out.insert(0, "figures in brackets rest on weights, which this log cannot give")
    return out


def _places(where: Mapping[str, list[str]]) -> str:
    """Names of estimators, those with the same intervals together: `wis, wdr (bca, student); is (thomas)`."""
    alike: dict[str, list[str]] = {}
    for name, kinds in where.items():
        alike.setdefault(", ".join(kinds), []).append(name)
    return "; ".join(", ".join(names) + (f" ({kinds})" if kinds else "") for kinds, names in alike.items())


def ranking(rows: Sequence[Mapping[str, float | str | None]]) -> Table:
    """Policies from best to worst."""
    table = Table("rank", *rows[0], title="policies by estimate")
    for place, row in enumerate(rows):
        cells = ("none" if x is None else x if isinstance(x, str) else f"{x:.4g}" for x in row.values())
        table.add_row(str(place + 1), *cells)
    return table


def draw(path: Path, name: str, found: Assessment, truth: tuple[float, float] | None) -> None:
    """A PNG: the estimates with their intervals; how many episodes still count at each step; the behaviour model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = {label: row for label, row in found.estimates.items() if row.value is not None}
    kinds = [kind for kind in found.levels if any(_known(row, kind) for row in rows.values())]
    figure = Figure(figsize=(13, max(4.4, 1.6 + len(rows) * (0.25 + 0.07 * len(kinds)))), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(name, fontsize=12)
    left, middle, right = figure.subplots(1, 3, width_ratios=[2.2, 1, 1])
    _draw_estimates(left, rows, kinds, found, truth)
    figure.legend(loc="outside lower left", ncols=5, fontsize=8, frameon=False)
    if found.support.ess_by_step:
        count = np.maximum(found.support.ess_by_step, 0.5)
        middle.plot(np.arange(1, len(count) + 1), count, marker="o" if len(count) <= FEW else None)
        middle.xaxis.set_major_locator(MaxNLocator(integer=True))
        if count.max() > 10.0 * count.min():
            middle.set_yscale("log")
        else:
            middle.set_ylim(0.0, 1.05 * count.max())
    middle.set(xlabel="step", ylabel="effective episodes", title="support")
    foretold, true, weight = found.reliability
    kept = weight > 0.0
    right.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    right.plot(foretold[kept], true[kept], "o-", color="#D55E00")
    use = "weights rest on it" if found.estimated else "for support only"
    right.set(xlabel="foretold", ylabel=f"came true (error {found.calibration:.3f})", title=f"behaviour model\n({use})")
    with replacing(path) as aside:
        figure.savefig(aside, format="png")


def _draw_estimates(
    axes: Any, rows: Mapping[str, Estimate], kinds: list[str], found: Assessment, truth: tuple[float, float] | None
) -> None:
    """One line each, the intervals one below the other; hollow where the log cannot give the weights."""
    for place, row in enumerate(rows.values()):
        fill = "white" if found.doubtful(row) else "black"
        axes.plot(row.value, place, "o", color="black", markerfacecolor=fill, zorder=3)
        for index, kind in enumerate(kinds):
            if bounds := _known(row, kind):
                height = place + 0.2 + 0.6 * index / len(kinds)
                color = COLORS[index % len(COLORS)]
                axes.plot([bounds.low], [height], "|" if bounds.high is not None else ">", color=color, markersize=5)
                if bounds.high is not None:
                    axes.plot([bounds.low, bounds.high], [height] * 2, "|-", color=color, linewidth=1.6, markersize=5)
    for index, kind in enumerate(kinds):
        axes.plot([], [], "-", color=COLORS[index % len(COLORS)], label=f"{kind} {found.levels[kind]:.0%}")
    if any(found.doubtful(row) for row in rows.values()):
        axes.plot([], [], "o", color="black", markerfacecolor="white", label="needs weights that the log cannot give")
    axes.set_yticks(range(len(rows)), [*rows])
    axes.set_ylim(len(rows) - 0.2, -0.5)
    axes.axvline(found.logged, color="#E69F00", linestyle="--", label="behaviour policy")
    if truth is not None:
        axes.axvline(truth[0], color="black", linewidth=1.0, label="true value ± 2 standard errors")
        axes.axvspan(truth[0] - 2.0 * truth[1], truth[0] + 2.0 * truth[1], color="black", alpha=0.08, linewidth=0.0)
    axes.set_xlim(*_limits([found.logged, *([truth[0]] if truth else [])], rows.values(), kinds))
    axes.set_xlabel("expected return (intervals that reach an edge go beyond it)")


def _limits(marks: list[float], rows: Iterable[Estimate], kinds: list[str]) -> tuple[float, float]:
    """A range in which most estimates and intervals are seen; what is far off would flatten the others."""
    rows = list(rows)
    known = [bounds for row in rows for kind in kinds if (bounds := _known(row, kind))]
    ends = np.array([(bounds.low, bounds.high) for bounds in known if bounds.high is not None], float).reshape(-1, 2)
    widths = ends[:, 1] - ends[:, 0]
    usual = ends[widths <= 3.0 * np.median(widths)] if len(ends) else ends
    reach = [*marks, *(float(row.value or 0.0) for row in rows), *usual.ravel().tolist()]
    middle, spread = float(np.median(reach)), max(3.0 * float(np.subtract(*np.percentile(reach, [90, 10]))), 1e-6)
    low, high = max(min(reach), middle - spread), min(max(reach), middle + spread)
    margin = 0.05 * (high - low) + 1e-6
    return low - margin, high + margin


def _known(row: Estimate, kind: str) -> Bounds | None:
    bounds = row.intervals.get(kind)
    return None if bounds is None or bounds.low is None else bounds
