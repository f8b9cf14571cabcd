"""Algorithms that end their process after the first update, and say how much processor time it took to get there.

`benchmarks/start_up.py` names them in configs of its own, which `offrl train --config-dir` finds as any user's.
"""

from __future__ import annotations

import os
import time

from benchmarks.worker import say
from offrl.algos.actor_critic.sac import SAC
from offrl.algos.weighted.iql import IQL
from offrl.types import Batch, Metrics


def end() -> None:
    """Say the seconds since this process began, and leave at once."""
    say({"cpu": time.process_time()})
    os._exit(0)


class FirstIQL(IQL):
    """IQL, once."""

    def update(self, batch: Batch) -> Metrics:
        super().update(batch)
        end()
        return {}


class FirstSAC(SAC):
    """SAC, once."""

    def update(self, batch: Batch) -> Metrics:
        super().update(batch)
        end()
        return {}
