"""The update of a stack as one compiled graph.

Torch's compiler does not follow a run axis that stays (`offrl/functional/run_axis.py`). But what an update of a stack
does, down to the last gradient and to Adam, is a list of plain operations on plain tensors, which `make_fx` writes down
while it happens; that list compiles. Parameters, moments and counters are in it as the tensors that they are; the
batch and the random numbers, drawn outside from the stream of each run, are its inputs.

What an algorithm keeps outside of tensors (a phase, see `Stack.beside`) is constant in a graph: each value has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from offrl.functional import noise
from offrl.nn.stack import Stack
from offrl.types import Batch, Metrics


@dataclass(frozen=True)
class _Graph:
    compute: Callable[..., tuple[Tensor, ...]]  # of a batch and of random numbers
    draws: list[Callable[[], Tensor]]  # which make them, [runs, …] each
    names: list[str]  # of the metrics that it returns
    beside: list[object]  # what the algorithm keeps outside of tensors, afterwards


class CompiledUpdate:
    """`stack("update", batch)`, compiled: the same numbers but for rounding.

    Every update goes through a graph: tracing works on the stack's own state, which is put back, so that a run that was
    stopped goes on exactly as one that was not.
    """

    def __init__(self, stack: Stack, backend: str = "inductor") -> None:
        self.stack, self.backend = stack, backend
        self._graphs: dict[tuple[object, ...], _Graph] = {}

    def __call__(self, batch: Batch) -> Metrics:
        """Learn from one batch of each run, [runs, B, …]; metrics [runs]."""
        key = repr(self.stack.beside()), *(column.shape for column in batch)
        if key not in self._graphs:
            self._graphs[key] = self._traced(batch)
        graph = self._graphs[key]
        values = graph.compute(*batch, *(draw() for draw in graph.draws))
        self.stack.set_beside(graph.beside)
        return dict(zip(graph.names, values, strict=True))

    def _traced(self, batch: Batch) -> _Graph:
        from torch.fx.experimental.proxy_tensor import make_fx  # imports a compiler

        draws: list[Callable[[], Tensor]] = []
        with self.stack.untouched(), noise.noted(draws):
            names = list(self.stack("update", batch))

        def update(*inputs: Tensor) -> tuple[Tensor, ...]:
            with noise.given(inputs[len(batch) :]):
                return tuple(cast(Metrics, self.stack("update", Batch(*inputs[: len(batch)]))).values())

        with self.stack.untouched():
            trace = make_fx(update, tracing_mode="real", _allow_non_fake_inputs=True)
            graph = trace(*batch, *(draw() for draw in draws))
            beside = self.stack.beside()
        options: dict[str, Any] | None = {"triton.cudagraphs": True} if batch.reward.is_cuda else None
        compiled = torch.compile(graph, fullgraph=True, backend=self.backend, options=options)
        return _Graph(cast(Any, compiled), draws, names, beside)
