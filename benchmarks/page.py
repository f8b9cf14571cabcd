"""Puts the records of the last measurement into the tables of `docs/benchmarks.md`.

Each table there stands between `<!-- NAME -->` and `<!-- end -->`, where NAME is its record in `benchmarks/results`. A
table without a record stays as it is.

    python -m benchmarks.page
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks import comparison, compiled, loading, stacked, stacked_steps, stacked_updates, start_up
from benchmarks.harness import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"

Markdown = Callable[[Mapping[str, Any]], str]
TABLES: dict[str, Markdown] = {
    "updates_1_threads": lambda record: comparison.markdown(record, "updates/s"),
    "updates_2_threads": lambda record: comparison.markdown(record, "updates/s"),
    "compiled": compiled.markdown,
    "env_steps": lambda record: comparison.markdown(record, "environment steps/s"),
    "sampling": lambda record: comparison.markdown(record, "batches/s"),
    "loading": loading.markdown,
    "start_up": start_up.markdown,
    "stacked": stacked.markdown,
    "stacked_updates": stacked_updates.markdown,
    "stacked_steps": stacked_steps.markdown,
}


def about(record: Mapping[str, Any]) -> str:
    """Where and when, with the versions of all who took part."""
    machine = record["machine"]
    where = f"{machine['cores']} cores of {machine['cpu']}, load {machine['load']} at the start"
    versions: dict[str, str] = {}
    for results in record.get("rows", {}).values():
        for contender in results.values() if isinstance(results, dict) else ():
            versions |= contender["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if "operations" not in name)
    return f"{machine['measured']}, {where}" + (f"; {named}." if named else ".")


def filled(page: str, name: str, record: Mapping[str, Any]) -> str:
    """`page` with one table made anew."""
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not block.search(page):
        raise SystemExit(f"{PAGE} has no place for {name}")
    return block.sub(lambda found: f"{found[1]}{TABLES[name](record)}\n\n{about(record)}\n{found[2]}", page)


def main() -> None:
    """Rewrite the page aside and rename it."""
    page = PAGE.read_text(encoding="utf-8")
    for name in TABLES:
        record = RESULTS / f"{name}.json"
        if record.exists():
            page = filled(page, name, json.loads(record.read_text(encoding="utf-8")))
    aside = PAGE.with_suffix(".tmp")
    aside.write_text(page, encoding="utf-8")
    os.replace(aside, PAGE)


if __name__ == "__main__":
    main()
