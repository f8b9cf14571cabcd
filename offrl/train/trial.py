"""Whether runs are faster as one or side by side: a short measurement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch

from offrl.algos.base import Algorithm
from offrl.nn.stack import Stack, joined
from offrl.types import Batch

SECONDS = 0.3  # of each side


def stacking_pays(algos: Sequence[Algorithm], batches: Sequence[Batch], cores: int) -> bool:
    """Whether all runs as one make more updates a second than `cores` of them at a time, each in a thread.

    The algorithms, one a batch, are used up: they learn, and become members of a stack.
    """
    apart = _rate([partial(algo.update, batch) for algo, batch in zip(algos[:cores], batches, strict=False)])
    stack, together = Stack(algos, [torch.Generator() for _ in algos]), joined(batches)
    return _rate([lambda: stack("update", together)]) * len(algos) > apart


def _rate(works: Sequence[Callable[[], object]]) -> float:
    """Calls a second, of all together, each made again and again in a thread of its own."""
    counts = [0] * len(works)

    def repeat(number: int, work: Callable[[], object]) -> None:
        work()
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            work()
            counts[number] += 1

    threads = [threading.Thread(target=repeat, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS
