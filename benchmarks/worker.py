"""The workers' half of a timed comparison.

A worker is a process that sets itself up once and then works only while asked: it reads a number of seconds from its
standard input, works for that long, and answers with one line. Between questions it sleeps, so workers of several
libraries can take turns on a quiet machine although each pays for its set-up only once.

Standard library only: every competitor's environment imports this module.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

MARK = "@ "  # begins the lines that are meant for the parent; libraries print what they like in between


def say(message: dict[str, object]) -> None:
    """Send one line to the parent."""
    print(MARK + json.dumps(message), flush=True)


def versions(*packages: str) -> dict[str, str]:
    """The running Python and the given distributions, for the record."""
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def measure(work: Callable[[], int], seconds: float) -> dict[str, float]:
    """Call `work`, which returns how much it did, until the time is over."""
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        done += work()
    return {"done": done, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def serve(work: Callable[[], int], about: dict[str, str], warm_up: float = 1.0) -> None:
    """Warm up, introduce yourself, then measure once for every line of input."""
    measure(work, warm_up)
    say({"versions": about})
    for line in sys.stdin:
        say(dict(measure(work, float(line))))
