"""Where the program's own files are."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def config_dir() -> Path:
    """Find the folder of configs: inside an installed package, beside the package in a checkout.

    Raises `FileNotFoundError` for a broken installation.
    """
    for candidate in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise FileNotFoundError(f"no configs beside or inside {_PACKAGE}: the installation is incomplete")


def cache_dir() -> Path:
    """The user's folder for what can be made again at any time; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "offrl"
