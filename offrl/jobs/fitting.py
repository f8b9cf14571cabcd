"""Whether a trained policy can act in an environment."""

from __future__ import annotations

from pathlib import Path

from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.types import Spec


def check_fits(run: Path, trained: Spec, env: Env) -> None:
    """Raise `UserError` unless the policy of `run` sees what `env` shows and does what it takes."""
    here = env.spec()
    if here != trained:
        raise UserError(
            f"the policy of {run} takes {_say(trained)}, but env={env.name} has {_say(here)}: leave env out to use the "
            "one that it was trained in"
        )


def _say(spec: Spec) -> str:
    action = spec.action
    detail = (
        f"in {list(action.low)} to {list(action.high)}" if action.kind == "continuous" else f"of {list(action.choices)}"
    )
    kind = action.kind.replace("_", "-")
    return f"{spec.obs.dtype} observations {list(spec.obs.shape)} and {kind} actions {list(action.shape)} {detail}"
