"""Steps and packed rows on disk: plain .npy files, memory-mapped when read, never half-written."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from offrl.data.steps import from_arrays
from offrl.types import Steps

Stored: TypeAlias = tuple[Steps, dict[str, Any]]  # steps and what was noted about them
NewArray: TypeAlias = Callable[[str, tuple[int, ...], np.dtype[Any]], NDArray[Any]]

FORMAT = 1  # part of every cache's name: a change of layout never meets an old file


@contextmanager
def aside(path: Path) -> Generator[Path]:
    """A temporary name beside `path` to build a file or folder at; it takes the place of `path` on success only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        fresh = scratch / "new"
        yield fresh
        if path.is_dir():  # a folder cannot be replaced in one step: move the old one out of the way first
            path.rename(scratch / "old")
        fresh.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def new_array(folder: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A memory-mapped array in `<name>.npy`, to be filled."""
    return np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, shape)


def save_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Say what is in a folder of arrays; only with this they count as whole."""
    (folder / "about.json").write_text(json.dumps(facts))


def open_steps(folder: Path) -> Stored | None:
    """Memory-map the steps in `folder`; None where there is nothing, or nothing whole."""
    try:
        facts = json.loads((folder / "about.json").read_text())
        named = {file.stem: open_array(file) for file in folder.glob("*.npy")}
        return from_arrays(named), facts
    except (OSError, ValueError, KeyError):
        return None  # an unreadable cache is rebuilt


def open_array(file: Path) -> NDArray[Any]:
    """Memory-map one .npy file, copy-on-write: changes stay in memory. Object arrays are refused."""
    return np.load(file, mmap_mode="c", allow_pickle=False)


def content_key(files: list[Path], *more: object) -> str:
    """A short name for these files as they are now (names, sizes, modification times) and whatever else matters."""
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    return hashlib.sha256(repr((FORMAT, facts, more)).encode()).hexdigest()[:16]
