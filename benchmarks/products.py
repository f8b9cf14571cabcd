"""What an update cannot go without: its matrix products, and nothing else.

One update of ours is watched, and every matrix product in it, forward and backward, is noted with shapes, strides and
places in memory of its factors and its result. Work is then to do just these, on numbers laid out alike: what two
products shared, and a caching allocator uses again, is found in the processor's caches here too. Its rate is the floor
of the algorithm with this matrix library: floating-point operations over the rate that it reaches at these shapes.

    python -m benchmarks.products --count 50000 algo=iql
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

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


class Place(NamedTuple):
    """Where a factor or a result lies: a part of a piece of memory, which is known by its address."""

    memory: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, x: Tensor) -> Place:
        """Of this tensor, now."""
        return cls(x.untyped_storage().data_ptr(), int(x.storage_offset()), tuple(x.shape), x.stride())

    @property
    def end(self) -> int:
        """Numbers from the beginning of the memory to the last one here."""
        return self.offset + 1 + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))


class Product(NamedTuple):
    """Two factors and what comes of them."""

    first: Place
    second: Place
    result: Place


class Watch(TorchDispatchMode):
    """Notes the matrix products done within it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in FACTORS:
            first, second = args[FACTORS[func] : FACTORS[func] + 2]
            self.seen.append(Product(Place.of(first), Place.of(second), Place.of(result)))
        return result


def replay(seen: list[Product]) -> Callable[[], int]:
    """The same products on noise; a call is worth `EVERY` updates."""
    ends: dict[int, int] = {}
    for place in chain.from_iterable(seen):
        ends[place.memory] = max(place.end, ends.get(place.memory, 0))
    memory = {address: torch.randn(end) for address, end in ends.items()}

    def tensor(place: Place) -> Tensor:
        return memory[place.memory].as_strided(place.shape, place.strides, place.offset)

    todo = [tuple(map(tensor, product)) for product in seen]

    def work() -> int:
        for first, second, result in todo:
            torch.matmul(first, second, out=result)
        return EVERY

    return work


def operations(seen: list[Product]) -> int:
    """Floating-point operations of one update: two for each multiplication and addition."""
    total = 0
    for product in seen:
        total += 2 * math.prod(product.first.shape) * product.second.shape[-1]
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
