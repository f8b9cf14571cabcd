"""From an exception to one message that a person can act on."""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from offrl.build import did_you_mean
from offrl.errors import UserError
from offrl.paths import config_dir

_MACHINE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),  # a file where a folder should be
)

_SAME = {"steps": "updates", "updates": "steps"}  # how long a run is, to those who think of another trainer


class Reported(Exception):
    """A failure of a job whose message has been printed already."""


def expected(error: BaseException) -> bool:
    """Whether the message alone says what to do, so that a traceback would only hide it."""
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return True
    return isinstance(error, UserError | HydraException | OmegaConfBaseException)


def explain(error: BaseException) -> str:
    """What went wrong, with the nearest right spelling where a name is wrong."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_such_option(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override} is not understood: {error.message.splitlines()[0]}"
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(cause, OmegaConfBaseException):
        return _bad_key(cause)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, HydraException):
        return str(error)
    return f"{type(error).__name__}: {error}"


def save_traceback(error: BaseException, log: Path) -> str:
    """Append the full traceback to `log`, and say where it is."""
    text = "".join(traceback.format_exception(error))
    try:
        with log.open("a") as file:
            file.write(text)
    except OSError:
        return text
    return f"this is a fault in offrl or in a module of yours; full traceback in {log} (or repeat with --debug)"


def _no_such_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    folder = config_dir() / group
    below = [str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("[!_]*.yaml")]
    options = sorted({*(error.options or ()), *below})
    if not options:
        return str(error)
    if group in ("hydra/launcher", "hydra/sweeper"):
        return f"{group}={option} is not installed: it may belong to pip install 'offrl[sweep]'"
    near = did_you_mean(option, options)
    full = f" (all: {', '.join(options)})" if near.endswith("?") else ""
    return f"{group}={option}: there is no such option{near}{full}"


def _bad_key(error: OmegaConfBaseException) -> str:
    parent, key = error.parent_node, str(error.key)
    first = str(error.msg or error).splitlines()[0]
    missing = first.partition("Missing mandatory value: ")[2]
    if missing:
        return f"{missing} is missing: give it as {missing}=VALUE"
    if isinstance(parent, DictConfig) and "not in" in first:
        known = [str(name) for name in parent if name != "hydra"]
        full = error.full_key or key
        if full.rpartition(".")[0].endswith("kwargs"):  # what an environment takes, its config need not know
            return f"{full} is no key of the config yet: +{full}=VALUE adds it"
        if _SAME.get(key) in known:
            return f"{full} is no key of the config: did you mean {_SAME[key]!r}?"
        elsewhere = full.partition(".")[2]  # algo.network is ${network}, and only the latter can be changed
        hint = did_you_mean(key, known) or (f": did you mean {elsewhere!r}?" if "." in elsewhere else "")
        return f"{full} is no key of the config{hint}"
    return f"{error.full_key}: {first}" if error.full_key else first
