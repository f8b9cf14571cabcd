"""Write docs/algorithms/figures.md: what each algorithm earns on the toy of the generic tests and on small tasks,
beside other libraries, read off `toys.json` and `learning_small.json` in `benchmarks/results` and `figures.yaml`.

python -m scripts.make_figures_page
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.harness import RESULTS
from benchmarks.tasks import TASKS
from scripts.make_zoo_table import line, names

PAGE = Path(__file__).parents[1] / "docs" / "algorithms" / "figures.md"
WORDS = yaml.safe_load(Path(__file__).with_name("figures.yaml").read_text(encoding="utf-8"))
COLUMNS = ("`algo=`", "toy", "small task", "ours", "peer", "peer's", "other runs")
SHORT = {"continuous": "c", "discrete": "d", "multi_discrete": "m"}


def middle(returns: list[float] | None) -> str:
    """The median of some seeds."""
    return "" if not returns else f"{median(returns):.0f}"


def toy(name: str, toys: dict[str, dict[str, float]]) -> str:
    """Mean reward for each kind of action."""
    if name not in toys:
        return WORDS["no_toy"][name]
    return ", ".join(f"{SHORT[kind]} {reward:.2f}" for kind, reward in toys[name].items())


def rows(name: str, toys: dict[str, dict[str, float]], learned: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each small task of the algorithm, at least one."""
    found = [task for task in learned if TASKS[task].ours[0] == f"algo={name}"]
    own = (f"`{name}`", toy(name, toys))
    other = WORDS["other"].get(name, "" if found else "none: toy and reference alone")
    if not found:
        return [(*own, "", "", "", "", other)]
    made: list[tuple[str, ...]] = []
    for i, task in enumerate(found):
        result, setting = learned[task], TASKS[task]
        where = setting.log or f"{setting.env}, {setting.steps:,} steps"
        peer = (result["against"], middle(result["peer"])) if result["peer"] else ("", "")
        made.append((*(own if i == 0 else ("", "")), where, middle(result["offrl"]), *peer, other if i == 0 else ""))
    return made


def page() -> str:
    """The whole page."""
    toys = json.loads((RESULTS / "toys.json").read_text())
    learned = json.loads((RESULTS / "learning_small.json").read_text())["tasks"]
    table = [COLUMNS, ("---",) * len(COLUMNS)]
    for name in names("algo"):
        table += rows(name, toys, learned)
    broken = [("broken on purpose", "how", "earns", "threshold"), ("---",) * 4, *map(tuple, WORDS["broken"])]
    filled = (tuple(cell or "-" for cell in row) for row in table)
    parts = (WORDS["header"], "\n".join(map(line, filled)), WORDS["between"], "\n".join(map(line, broken)))
    return "\n".join(part.rstrip() + "\n" for part in parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
