"""All lectures, one sweep after the other (or several at a time), and one page of them in lecture order."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from offrl.compare.lecture import PAGE, RECORD, ladder, read_record, say
from offrl.compare.report import write
from offrl.errors import UserError
from offrl.paths import config_dir

GROUP = "lectures"


def run(config: dict[str, Any], folder: Path) -> None:
    """Run each lecture in a process of its own, then bind the page into `folder`."""
    if config["dry_run"]:
        raise UserError("dry_run=true tries one lecture: give experiment=lectures/NAME")
    settings = config["lectures"]
    names = chosen(settings["only"])
    if settings["processes"] < 1:
        raise UserError(f"lectures.processes={settings['processes']}: at least one is needed")
    words = [str(word) for word in settings["words"]] + _seeds(settings["seeds"])
    waiting, running, lost = list(names), dict[str, subprocess.Popen[str]](), list[str]()
    while waiting or running:
        while waiting and len(running) < settings["processes"]:
            name = waiting.pop(0)
            running[name] = _start(name, folder, words)
        for name, process in list(running.items()):
            if process.poll() is not None:
                del running[name]
                _report(name, folder, lost)
        time.sleep(0.2)
    there = [folder / name for name in names if name not in lost]
    write(folder / PAGE, ladder(there, lost))
    print(f"page: {folder / PAGE}")
    if lost:
        raise UserError(
            f"{len(lost)} lectures came to no conclusion: {', '.join(lost)}; see FOLDER/NAME.log in {folder}"
        )


def chosen(only: list[str] | None) -> list[str]:
    """The experiments of the ladder, in order. Raises `UserError` for a name that is none of them."""
    every = sorted(path.stem for path in (config_dir() / "experiment" / GROUP).glob("c*.yaml"))
    if unknown := set(only or ()) - set(every):
        raise UserError(f"lectures.only: no lecture {', '.join(sorted(unknown))} (there are {', '.join(every)})")
    return [name for name in every if not only or name in only]


def _seeds(count: int | None) -> list[str]:
    """The sweep over so many seeds. Raises `UserError` for one: no rule could say anything."""
    if count is not None and count < 2:
        raise UserError(f"lectures.seeds={count}: an interval needs at least two")
    return [] if count is None else [f"seed=range({count})"]


def _start(name: str, folder: Path, words: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "offrl", "train", f"experiment={GROUP}/{name}", f"hydra.sweep.dir={folder / name}"]
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen([*command, *words], stdout=log, stderr=subprocess.STDOUT, text=True)


def _report(name: str, folder: Path, lost: list[str]) -> None:
    if (folder / name / RECORD).exists():
        print(say(read_record(folder / name)), flush=True)
    else:
        lost.append(name)
        print(f"{name}: no conclusion; see {folder / f'{name}.log'}", file=sys.stderr, flush=True)
