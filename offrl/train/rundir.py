"""The run folder: what every other job takes."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from offrl.errors import UserError
from offrl.log.files import explain, replacing, write_json

Status = Literal["running", "finished", "diverged", "interrupted", "failed"]
PACKAGES = ("offrl", "torch", "gymnasium", "mujoco", "minari", "numpy")


class RunDir:
    """The files of one run.

    config.yaml       resolved
    run.json          versions, git revision, data fingerprint, hardware, seed, times, status, results
    metrics.parquet   a row for each time that something was logged
    checkpoints/      step-*.pt to go on from, best.pt (policy of the best evaluation), diverged.pt (for the autopsy)
    policy.pt         the final policy
    plots/, evaluation/
    """

    def __init__(self, root: Path | str, *, writes: bool = True) -> None:
        """`writes`: False for who may read it, but leaves its writing to another process."""
        self.root, self.writes = Path(root), writes
        self.facts: dict[str, Any] = {}

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.parquet"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def policy(self) -> Path:
        return self.root / "policy.pt"

    @property
    def plots(self) -> Path:
        return self.root / "plots"

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the folder. Raises `UserError` if it cannot be written or a run lives there already."""
        if (self.root / "run.json").exists():
            raise UserError(
                f"run={self.root}: a run lives there already; resume=true goes on with it, another folder starts anew"
            )
        if not self.writes:
            return
        try:
            for folder in (self.root, self.checkpoints, self.plots, self.root / "evaluation"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain(Path(error.filename or self.root), error) from error
        self.write_config(config)

    def open(self) -> dict[str, Any]:
        """Take up an existing run; returns its config. Raises `UserError` if there is none."""
        config = read_config(self.root)
        self.facts = read_facts(self.root)
        return config

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Keep other processes of this machine out of the folder, as long as this one lives, where its file system has
        locks. Raises `UserError` where another one is in it.
        """
        if os.name == "nt" or not self.writes:
            yield
            return
        import fcntl

        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # there are no locks here
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise UserError(f"run={self.root}: another process trains there: stop it, or wait for it") from None
            yield
        finally:
            os.close(descriptor)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.yaml."""
        if not self.writes:
            return
        with replacing(self.root / "config.yaml") as aside:
            aside.write_text(yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True), encoding="utf-8")

    def note(self, **facts: object) -> None:
        """Add to run.json."""
        self.facts.update(facts)
        if self.writes:
            write_json(self.root / "run.json", self.facts)


def read_config(root: Path | str) -> dict[str, Any]:
    """The resolved config of a run folder. Raises `UserError` if it is none."""
    path = Path(root) / "config.yaml"
    if not path.exists() or not (Path(root) / "run.json").exists():
        raise UserError(f"run={root}: that is no run folder (config.yaml and run.json are missing)")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_facts(root: Path | str) -> dict[str, Any]:
    """run.json of a run folder; empty where there is none."""
    path = Path(root) / "run.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def now() -> str:
    """The time, in UTC and ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def surroundings(device: torch.device) -> dict[str, object]:
    """What a result may depend on beside its config: versions, revision, hardware."""
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "git": _git(),
        "hardware": {
            "device": str(device),
            "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "platform": platform.platform(),
        },
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, object] | None:
    """Revision of the checkout that this code runs from, and whether it was changed; None outside of one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # an installed copy may lie inside somebody else's repository
        return None
    try:
        revision = _run_git(root, "rev-parse", "HEAD")
        return {"revision": revision, "dirty": bool(_run_git(root, "status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _run_git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
