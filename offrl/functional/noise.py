"""The one place where algorithms, policy heads and samplers draw random numbers.

A run draws from its stream: torch's own generator, which the run's seed governs and its checkpoints keep, or, where
several runs share a process, a generator of its own (`use`). Where they compute as one (`offrl.functional.run_axis`)
each draws what it would have drawn alone.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from offrl.functional import run_axis


class _Streams(threading.local):
    """Of the calling thread."""

    own: torch.Generator | None = None  # None: torch's
    stacked: Sequence[torch.Generator] = ()  # of the runs that compute as one at the moment
    noted: list[Callable[[], Tensor]] | None = None  # how each of their draws is made, where somebody asked
    given: Iterator[Tensor] | None = None  # what they get instead of drawing


_streams = _Streams()  # like torch's own generator it belongs to the process, not to an object


def normal(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Standard normal numbers of `shape`, of the type (where floating) and on the device of `like`."""
    return _drawn(torch.randn, shape, _floating(like), like.device)


def uniform(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Numbers of `shape` uniform in [0, 1), of the type (where floating) and on the device of `like`."""
    return _drawn(torch.rand, shape, _floating(like), like.device)


def exponential(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Numbers of `shape` from the exponential distribution of mean 1, of the type (where floating) and on the device
    of `like`."""
    return _drawn(_exponential, shape, _floating(like), like.device)


def gumbel_argmax(log_probs: Tensor) -> Tensor:
    """[…, K] logarithms of (unnormalised) probabilities -> […] indices drawn from them: the Gumbel-max trick, with no
    host round trip."""
    return (log_probs - exponential(tuple(log_probs.shape), log_probs).log()).argmax(-1)


def integers(high: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """int64 of `shape` uniform in [0, high), on the device of `like`."""

    def draw(shape: tuple[int, ...], **how: object) -> Tensor:
        return torch.randint(high, shape, **how)  # pyright: ignore[reportArgumentType, reportCallIssue]

    return _drawn(draw, shape, torch.int64, like.device)


def permutation(count: int, like: Tensor) -> Tensor:
    """int64 [count]: 0 … count − 1 in random order, on the device of `like`."""

    def draw(shape: tuple[int, ...], **how: object) -> Tensor:
        return torch.randperm(shape[0], **how)  # pyright: ignore[reportArgumentType, reportCallIssue]

    return _drawn(draw, (count,), torch.int64, like.device)


def use(stream: torch.Generator | None) -> None:
    """Draw from `stream` in this thread from now on; None: from torch's own generator."""
    _streams.own = stream


@contextlib.contextmanager
def stacked(streams: Sequence[torch.Generator]) -> Generator[None]:
    """Draw for all runs at once within the block, each from its stream; inside `run_axis.entered`."""
    _streams.stacked = streams
    try:
        yield
    finally:
        _streams.stacked = ()


@contextlib.contextmanager
def noted(draws: list[Callable[[], Tensor]]) -> Generator[None]:
    """Within the block add to `draws`, for each draw of stacked runs, what makes it once more: [runs, …]."""
    _streams.noted = draws
    try:
        yield
    finally:
        _streams.noted = None


@contextlib.contextmanager
def given(values: Sequence[Tensor]) -> Generator[None]:
    """Within the block stacked runs get these [runs, …], in this order, instead of drawing."""
    _streams.given = iter(values)
    try:
        yield
    finally:
        _streams.given = None


def get_state() -> Tensor:
    """Where the CPU's stream of this thread is."""
    return torch.get_rng_state() if _streams.own is None else _streams.own.get_state()


def set_state(state: Tensor) -> None:
    """Put it there."""
    if _streams.own is None:
        torch.set_rng_state(state)
    else:
        _streams.own.set_state(state)


def _drawn(draw: Callable[..., Tensor], shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if torch.compiler.is_compiling():
        return draw(shape, dtype=dtype, device=device)
    if not _streams.stacked:
        own = _streams.own if device.type == "cpu" else None  # a GPU has one generator, which its runs share
        return draw(shape, dtype=dtype, device=device, generator=own)
    if _streams.given is not None:
        return run_axis.per_run(next(_streams.given))
    make = partial(_for_all, draw, shape, dtype, device, _streams.stacked)
    if _streams.noted is not None:
        _streams.noted.append(make)
    with run_axis.suspended():
        values = make()
    return run_axis.per_run(values)


def _for_all(
    draw: Callable[..., Tensor],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    streams: Sequence[torch.Generator],
) -> Tensor:
    """[runs, *shape]: of each run what it would have drawn alone."""
    if device.type == "cpu":
        return torch.stack([draw(shape, dtype=dtype, device=device, generator=own) for own in streams])
    return draw((len(streams), *shape), dtype=dtype, device=device)


def _exponential(
    shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=device).exponential_(generator=generator)


def _floating(like: Tensor) -> torch.dtype:
    """Pictures and indices say the device alone."""
    return like.dtype if like.is_floating_point() else torch.get_default_dtype()
