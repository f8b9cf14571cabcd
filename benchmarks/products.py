"""What an update cannot go without: its matrix products, and nothing else.

One update of ours is watched, and every matrix product in it, forward and backward, is noted with shapes and strides
of its factors. Work is then to do just these, on numbers of that form. Its rate is the floor of the algorithm on this
machine: floating-point operations over the rate that the machine reaches at these shapes.

    python -m benchmarks.products --count 50000 algo=iql
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.ours import arguments, begun, composed
from benchmarks.worker import serve, versions

aten: Any = torch.ops.aten
PLAIN = (aten.mm.default, aten.mm.out, aten.bmm.default)
ADDED = (aten.addmm.default, aten.addmm.out, aten.addmm_.default, aten.baddbmm.default)  # to a first argument
FACTORS = {**dict.fromkeys(PLAIN, 0), **dict.fromkeys(ADDED, 1)}  # where they begin
EVERY = 2  # updates after which each has done all that it does (TD3 moves its actor at every second)

Form = tuple[tuple[int, ...], tuple[int, ...]]  # shape and strides of a factor


class Watch(TorchDispatchMode):
    """Notes the matrix products done within it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Form, Form]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in FACTORS:
            first, second = args[FACTORS[func] : FACTORS[func] + 2]
            self.seen.append(((tuple(first.shape), first.stride()), (tuple(second.shape), second.stride())))
        return func(*args, **(kwargs or {}))


def form(shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """Noise laid out in memory like the factor that was seen, which may be one row many times."""
    size = 1 + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    return torch.randn(size).as_strided(shape, strides)


def replay(seen: list[tuple[Form, Form]]) -> Callable[[], int]:
    """The same products, into rooms made once; a call is worth `EVERY` updates."""
    factors = [(form(*first), form(*second)) for first, second in seen]
    todo = [(a, b, torch.matmul(a, b)) for a, b in factors]

    def work() -> int:
        for a, b, out in todo:
            torch.matmul(a, b, out=out)
        return EVERY

    return work


def operations(seen: list[tuple[Form, Form]]) -> int:
    """Floating-point operations of one update: two for each multiplication and addition."""
    total = 0
    for (first, _), (second, _) in seen:
        rows = 1
        for size in first:
            rows *= size
        total += 2 * rows * second[-1]
    return total // EVERY


def main() -> None:
    """Watch, then serve."""
    args = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trainer = begun(composed([*args.overrides, "hardware.compile=false"]), args.count, args.choices, Path(folder))
        trainer.advance(EVERY)
        with Watch() as watch:
            trainer.advance(2 * EVERY)
        about = versions("torch") | {"operations an update": str(operations(watch.seen))}
        serve(replay(watch.seen), about)


if __name__ == "__main__":
    main()
