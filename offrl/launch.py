"""The command line: `offrl JOB [key=value ...]`.

Turns its words into Hydra's, lets Hydra compose the config and run the job, and turns every failure into one message.
Nothing is imported before it is needed: `offrl --help` knows neither Hydra nor torch.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from offrl import __version__
from offrl.cli.usage import COMPLETION, HELP, JOBS
from offrl.errors import UserError
from offrl.paths import config_dir

_FULL = "HYDRA_FULL_ERROR"


def main() -> None:
    """Entry point of the `offrl` command.

    Ends the process with 0, 1 (failed), 2 (bad flags), 130 (Ctrl-C), 143 (SIGTERM) or 141 (nobody reads its output).
    """
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
    elif words[0] == "--version":
        print(f"offrl {__version__}")
    elif words[0] == "completion":
        print(COMPLETION, end="")
    else:
        sys.exit(_guarded(words[0], words[1:]))


def _guarded(job: str, words: list[str]) -> int:
    """Compose and run; the exit code."""
    from offrl.cli.messages import Reported, expected, explain
    from offrl.cli.task import DEBUG

    debug = "--debug" in words or os.environ.get(_FULL) == "1"
    os.environ[_FULL] = "1"  # Hydra then raises what it would otherwise print in its own way
    os.environ[DEBUG] = "1" if debug else "0"
    try:
        _run(job, [word for word in words if word != "--debug"])
    except KeyboardInterrupt:
        print("offrl: interrupted", file=sys.stderr)
        return 130
    except Reported:
        return 1
    except Exception as error:
        if debug or not expected(error):
            raise
        print(f"offrl: error: {explain(error)}", file=sys.stderr)
        return 1
    return 0


def _run(job: str, words: list[str]) -> None:
    """Hand over to Hydra, which reads `sys.argv`."""
    import hydra

    from offrl.cli import overrides
    from offrl.cli.task import task

    own = [folder.resolve() for folder in overrides.config_dirs(words)]
    for folder in (*own, *(folder.parent for folder in own), Path.cwd()):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # last, so that a module of the user never hides an installed one
    folders = [config_dir(), *own]
    _check_job(job, folders)
    run = overrides.at_home(overrides.values(words).get("run", "null"))
    words = overrides.with_seeds(overrides.positional(job, words))
    if any(re.match(r"(--cfg|-c)(=|$)", word) for word in words):
        words = overrides.first_run(words)  # Hydra prints one config, or runs many
    words = overrides.expand(words, folders)
    name = "config"
    if run != "null":
        overrides.from_run(run, job, words, folders)
        name = overrides.SAVED
    elif {"-m", "--multirun"} & set(words) and overrides.from_sweep(words, folders):
        name = overrides.SWEPT
    if any(word.endswith("=vectorized") or word.startswith("experiment=") for word in words):  # which may choose it
        _register_launcher()
    keys = [f"job={job}", *filter(overrides.is_override, words), *overrides.folders_for(words)]
    sys.argv = ["offrl", *keys, *(word for word in words if not overrides.is_override(word))]
    hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(task)()


def _register_launcher() -> None:
    """Make the vectorised launcher known to Hydra, which looks for launchers in its own plugin package alone."""
    from hydra.core.plugins import Plugins

    from offrl.cli.vectorized import VectorizedLauncher

    Plugins.instance().class_name_to_class["hydra_plugins.offrl.VectorizedLauncher"] = VectorizedLauncher


def _check_job(job: str, folders: list[Path]) -> None:
    from offrl.build import did_you_mean

    if not any((folder / "job" / f"{job}.yaml").is_file() for folder in folders):
        raise UserError(f"there is no job {job!r}{did_you_mean(job, JOBS)} (jobs: {', '.join(JOBS)}; see offrl --help)")
