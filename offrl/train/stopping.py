"""Being asked to stop, by SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

ONE_REQUEST = 1.0  # seconds within which several signals are one request


@contextlib.contextmanager
def asked_to_stop(note: Callable[[int], None]) -> Generator[None]:
    """Within the block, SIGTERM and Ctrl-C call `note` with their number instead of ending the process. To be used in
    the main thread alone.

    A further one does what it did before the block, at once, unless it comes with the first: schedulers signal every
    process of a job, and a parent passes on to its own what it gets.
    """
    first: list[float] = []

    def hear(number: int, frame: FrameType | None) -> None:
        del frame
        first.append(time.monotonic())
        if first[-1] - first[0] <= ONE_REQUEST:
            note(number)
        else:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        restore()
