"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Generator
from pathlib import Path

from offrl.errors import UserError

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "there is no permission to write there",
    errno.EROFS: "the file system is read-only",
}


def explain(path: Path, error: OSError) -> UserError:
    """What a person can do about a write that failed."""
    reason = REASONS.get(error.errno or 0, str(error))
    return UserError(f"cannot write {path}: {reason} (an older file of that name is untouched)")


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A path to write to instead of `path`, which it replaces when the block ends well, and only then.

    Raises `UserError` where the operating system refuses; what was at `path` before then stays.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        flush_to_disk(aside)
        aside.replace(path)
        with contextlib.suppress(OSError):  # Windows and some file systems cannot flush a folder
            flush_to_disk(path.parent)
    except OSError as error:
        raise explain(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Block until the file or folder is on the disk, so that a rename never overtakes its content."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows flushes what may be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object) -> None:
    """Write indented JSON in one piece; numbers that JSON does not know (NaN, infinity) are written as null."""
    with replacing(path) as aside:
        aside.write_text(json.dumps(_plain(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, float) and value - value != 0.0:  # NaN or infinite
        return None
    return value
