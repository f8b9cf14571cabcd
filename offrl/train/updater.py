"""Updates in bulk, and what they report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from offrl.algos.base import Algorithm
from offrl.types import Batch, Metrics, Source, State

F = TypeVar("F", bound=Callable[..., Any])


class Meter:
    """Sums of metrics that stay on the device until somebody reads their means."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.feed: Callable[[], None] | None = None  # has what was measured elsewhere added before a reading
        self.average: Callable[[list[Tensor]], None] | None = None  # over devices that share the batches

    def add(self, sums: Metrics, counts: Mapping[str, int]) -> None:
        """Add 0-d tensors, each the sum of `counts[name]` values. One kernel for all of them on a GPU."""
        for name, value in sums.items():
            if name not in self.sums:
                self.sums[name], self.counts[name] = torch.zeros_like(value), 0
            self.counts[name] += counts[name]
        torch._foreach_add_([self.sums[name] for name in sums], list(sums.values()))  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    def read(self) -> dict[str, float]:
        """Means since the last call, and a fresh start: the one place that waits for the device."""
        if self.feed is not None:
            self.feed()
        names = [name for name, count in self.counts.items() if count]
        if not names:
            return {}
        sums = torch.stack([self.sums[name].double() for name in names])
        if self.average is not None:
            self.average([sums])
        totals = cast("list[float]", sums.tolist())
        means = {name: total / self.counts[name] for name, total in zip(names, totals, strict=True)}
        self.sums, self.counts = {}, {}
        return means

    def state(self) -> State:
        """The sums so far."""
        if self.feed is not None:
            self.feed()
        return {"sums": dict(self.sums), "counts": dict(self.counts)}

    def load(self, state: State, device: torch.device) -> None:
        """Go on from `state`."""
        sums = cast("dict[str, Tensor]", state["sums"])
        self.sums = {name: value.to(device) for name, value in sums.items()}
        self.counts = dict(cast("dict[str, int]", state["counts"]))


def as_one_graph(function: F, *, on_gpu: bool = False, backend: str = "inductor") -> F:
    """`function`, compiled. On a CPU it draws the random numbers that it would draw otherwise."""
    # Or each value of a phase (REDQ has 20) would be a graph of its own.
    torch._dynamo.config.allow_unspec_int_on_nn_module = True  # pyright: ignore[reportPrivateUsage]
    options: dict[str, Any] = {"guard_filter_fn": _guarded}
    if backend == "inductor":
        options["triton.cudagraphs" if on_gpu else "fallback_random"] = True
    return cast(F, torch.compile(function, fullgraph=True, backend=backend, options=options))


def _guarded(guards: Sequence[Any]) -> list[bool]:
    """Which of the conditions of a graph are looked at again before each call: not that functions, classes and modules
    of Python, and what torch itself is made of, are still what they were, nor that networks still have no hooks. Three
    quarters of the eight hundred conditions of an update are of that kind, and cost small networks a tenth of it.
    """
    fixed = ("BUILTIN_MATCH", "CLASS_MATCH", "CLOSURE_MATCH", "MODULE_MATCH", "DUPLICATE_INPUT")
    hooks = ("EMPTY_NN_MODULE_HOOKS_DICT", "NOT_PRESENT_IN_GENERIC_DICT")
    within = ("__import__('torch')", "dict(type(")

    def is_idle(guard: Any) -> bool:
        kind, name = guard.guard_type, guard.name
        return (guard.is_global and kind in fixed) or kind in hooks or name.startswith(within)

    return [not is_idle(guard) for guard in guards]


class Updater:
    """Has an algorithm learn from batches, and keeps what it reports in a meter.

    With `compile` an update is one graph. On a GPU, where each operation would wait for its own launch, and wherever
    `updates_per_call` is more than 1, the graph also holds the sampling before each of so many updates, and is captured
    as a CUDA graph. On a CPU that saves nothing (docs/benchmarks.md): a compiled run there draws the batches and the
    random numbers of one that is not compiled, and equals it but for rounding.
    """

    def __init__(self, algo: Algorithm, meter: Meter, compile: bool, updates_per_call: int) -> None:
        self.algo, self.meter = algo, meter
        on_gpu = any(parameter.is_cuda for parameter in algo.parameters())
        self.per_call = updates_per_call if compile and (on_gpu or updates_per_call > 1) else 0
        self._bulk, self._update = self._updates, algo.update
        if compile:
            self._bulk, self._update = (
                as_one_graph(self._bulk, on_gpu=on_gpu),
                as_one_graph(self._update, on_gpu=on_gpu),
            )

    def run(self, source: Source, count: int) -> None:
        """`count` updates on batches from `source`; those beyond a multiple of `per_call` one by one."""
        calls, rest = divmod(count, self.per_call) if self.per_call else (0, count)
        for _ in range(calls):
            self.meter.add(*self._bulk(source.draw, self.per_call))
        for _ in range(rest):
            self.learn(source.sample(self.algo.batch_size))

    def learn(self, batch: Batch) -> None:
        """One update on this batch."""
        metrics = self._update(batch)
        self.meter.add(metrics, dict.fromkeys(metrics, 1))

    def _updates(self, draw: Callable[[int], Batch], count: int) -> tuple[Metrics, dict[str, int]]:
        """`count` updates as one piece of tensor code."""
        sums: Metrics = {}
        counts: dict[str, int] = {}
        for _ in range(count):
            for name, value in self.algo.update(draw(self.algo.batch_size)).items():
                sums[name] = sums[name] + value if name in sums else value
                counts[name] = counts.get(name, 0) + 1
        return sums, counts
