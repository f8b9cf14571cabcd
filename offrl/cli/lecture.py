"""The end of a lecture's sweep: its figure and its verdict."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, cast

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from offrl.cli.messages import expected, explain, save_traceback
from offrl.cli.task import DEBUG


class Conclude(Callback):
    """What `hydra.callbacks` of `experiment=lectures/...` name."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Judge the sweep's runs, print the verdict and where the page is; a dry run has none to judge.

        Raises `SystemExit` where that is impossible: Hydra would only warn of any other error.
        """
        from offrl.compare.lecture import report

        folder = Path(cast(str, config.hydra.sweep.dir))
        if config.dry_run:
            _discard(folder)
            return
        node = cast("dict[str, Any]", OmegaConf.to_container(config.lecture, resolve=True))
        try:
            report(node, folder, sys.argv[1:])
        except Exception as error:
            if os.environ.get(DEBUG) == "1":
                raise SystemExit(explain(error)) from error
            message = (
                explain(error) if expected(error) else f"{explain(error)}\n{save_traceback(error, folder / 'log')}"
            )
            print(f"offrl: error: {message}", file=sys.stderr)
            raise SystemExit(1) from None


def _discard(sweep: Path) -> None:
    """Remove the folder that Hydra makes also for a sweep whose runs write nothing."""
    if all(path.name == "multirun.yaml" or (path.is_dir() and not any(path.iterdir())) for path in sweep.iterdir()):
        shutil.rmtree(sweep)
