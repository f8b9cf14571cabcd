"""`offrl dataset`: list, show, check and import logged data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from rich.console import Console
from rich.table import Table

from offrl.build import build, did_you_mean
from offrl.data import checks, minari, report
from offrl.data import steps as episodes
from offrl.data.recipes import Preparation, reinterpret_timeouts
from offrl.errors import UserError

# Settings that leave steps or rewards out, or change them.
UNCHANGED = {
    "max_transitions": None,
    "best_fraction": 1.0,
    "normalize_reward": "none",
    "reward_scale": 1.0,
    "reward_shift": 0.0,
}


def run(config: dict[str, Any], folder: Path) -> None:
    """Do what `action` says."""
    actions: dict[str, Callable[[Mapping[str, Any], Console], None]] = {
        "list": _list,
        "show": _show,
        "check": _check,
        "import": _import,
    }
    action = config["action"]
    if action not in actions:
        raise UserError(f"action={action}: no such action{did_you_mean(str(action), actions)}")
    actions[action](config, Console())


def _list(config: Mapping[str, Any], console: Console) -> None:
    table = Table("dataset", "episodes", "transitions", "MB", "made by")
    for name, about in minari.list_local().items():
        counts = f"{about['total_episodes']:,}", f"{about['total_steps']:,}", f"{about.get('dataset_size', 0):,.1f}"
        table.add_row(name, *counts, str(about.get("algorithm_name", "")))
    console.print(table if table.row_count else "no datasets on this machine: offrl collect records one")


def _show(config: Mapping[str, Any], console: Console) -> None:
    recording = _recipe(config).read()
    report.print_summary(console, report.summary(recording))
    report.print_histogram(console, episodes.returns(recording.steps))


def _check(config: Mapping[str, Any], console: Console) -> None:
    recipe = _recipe(config)
    recording = reinterpret_timeouts(recipe.read(), recipe.timeouts_at)
    findings = checks.check(recording, recipe.out_of_bounds)
    facts, returns = report.summary(recording), episodes.returns(recording.steps)
    report.print_summary(console, facts)
    report.print_histogram(console, returns)
    report.print_findings(console, findings)
    if config["report"] is not None:
        report.save(Path(config["report"]), facts, findings, returns)
    if bad := [finding.check for finding in findings if finding.severity == "fail"]:
        raise UserError(f"{recipe.name} would spoil training ({', '.join(bad)}): see the findings above")


def _import(config: Mapping[str, Any], console: Console) -> None:
    if config["to"] is None:
        raise UserError("to= is missing: the id of the new dataset, such as to=my/log-v0")
    recipe = _recipe(config)
    for name, unchanged in UNCHANGED.items():
        if getattr(recipe, name) != unchanged:
            raise UserError(f"dataset.{name} is not for importing, which keeps all steps as they were: train with it")
    recording = reinterpret_timeouts(recipe.read(), recipe.timeouts_at)
    checks.refuse_poison(recording, recipe.out_of_bounds)
    place = minari.write(
        config["to"],
        recording.steps,
        observation_space=recording.observation_space,
        action_space=recording.action_space,
        obs_keys=recording.obs_keys,
        algorithm="imported",
        description=config["description"] or f"imported from {recording.metadata.get('source', recipe.name)}",
        facts={
            "notes": list(recording.metadata.get("notes", ())),
            "inputs": list(recording.metadata.get("inputs", ())),
            "chained": recording.chained,
        },
        overwrite=config["overwrite"],
    )
    console.print(f"{len(recording.steps):,} transitions are now {config['to']} ({place})")


def _recipe(config: Mapping[str, Any]) -> Preparation:
    if config["dataset"] is None:
        raise UserError(
            f"offrl dataset {config['action']} needs a dataset: offrl dataset {config['action']} hopper/medium, "
            "or any Minari id, or a file"
        )
    return cast(Preparation, build(config["dataset"], "dataset"))
