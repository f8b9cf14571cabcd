"""Blocks of environments in processes of their own, with frames in shared memory; the same calls as `Block`."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from multiprocessing.util import Finalize
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offrl.envs.block import Block, Ended, Frames
from offrl.envs.spaces import Actions
from offrl.errors import UserError
from offrl.types import ObsSpec, State

DIED = "a process with environments died; env.mode=sync shows what the environment does"
GRACE = 10.0  # seconds that a process has for closing its environments

MakeBlock = Callable[[Sequence[int]], Block]  # numbers of the environments -> a block of them


class SharedFrames:
    """Frames of N environments that several processes write and this one reads."""

    def __init__(self, spec: ObsSpec, count: int) -> None:
        self._shape, self._dtype, self._count = spec.shape, np.dtype(spec.dtype), count
        size = count * int(np.prod(spec.shape, dtype=int)) * self._dtype.itemsize
        self._obs, self._reward = RawArray("b", size), RawArray("f", count)
        self._terminated, self._truncated = RawArray("b", count), RawArray("b", count)

    def view(self, start: int, stop: int) -> Frames:
        """The rows of some of the environments."""
        part = slice(start, stop)
        return Frames(
            np.frombuffer(self._obs, self._dtype).reshape(self._count, *self._shape)[part],
            np.frombuffer(self._reward, np.float32)[part],
            np.frombuffer(self._terminated, np.bool_)[part],
            np.frombuffer(self._truncated, np.bool_)[part],
        )


class Workers:
    """N environments spread evenly over processes. `make_block` must be picklable."""

    def __init__(self, make_block: MakeBlock, spec: ObsSpec, count: int, processes: int) -> None:
        shared = SharedFrames(spec, count)
        self._frames = shared.view(0, count)
        self._parts = [(int(part[0]), int(part[-1]) + 1) for part in np.array_split(np.arange(count), processes)]
        context = _context()
        self._pipes: list[Connection] = []
        workers: list[BaseProcess] = []
        # Also as Python ends, and before it waits for these processes, which obey no signal.
        self._hang_up = Finalize(self, _hang_up, (self._pipes, workers), exitpriority=10)
        for start, stop in self._parts:
            ours, theirs = context.Pipe()
            arguments = (theirs, make_block, shared, start, stop)
            worker = context.Process(target=_serve, args=arguments, daemon=True)
            worker.start()
            workers.append(worker)
            theirs.close()
            self._pipes.append(ours)
        self._ask("ready")

    def reset(self, seed: int, frames: Frames) -> None:
        """See `Block.reset`."""
        self._ask("reset", seed)
        frames.obs[...] = self._frames.obs

    def step(self, actions: Actions, frames: Frames) -> list[Ended]:
        """See `Block.step`."""
        for pipe, (start, stop) in zip(self._pipes, self._parts, strict=True):
            _send(pipe, "step", actions[start:stop])
        ended = self._answers()
        for rows, written in zip(frames, self._frames, strict=True):
            rows[...] = written
        return [one for part in ended for one in part]

    def state(self) -> list[State]:
        """See `Block.state`."""
        return [state for part in self._ask("state") for state in part]

    def load(self, states: Sequence[State], frames: Frames) -> bool:
        """See `Block.load`."""
        for pipe, (start, stop) in zip(self._pipes, self._parts, strict=True):
            _send(pipe, "load", states[start:stop])
        exact = self._answers()
        frames.obs[...] = self._frames.obs
        return all(exact)

    def render(self) -> NDArray[np.uint8]:
        """See `Block.render`."""
        _send(self._pipes[0], "render")
        return _answer(self._pipes[0])

    def close(self) -> None:
        """End the processes."""
        self._hang_up()

    def _ask(self, command: str, argument: object = None) -> list[Any]:
        for pipe in self._pipes:
            _send(pipe, command, argument)
        return self._answers()

    def _answers(self) -> list[Any]:
        return [_answer(pipe) for pipe in self._pipes]


def _context() -> Any:
    """Processes that inherit neither threads nor locks, and on Unix start from one that has imported all this."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _send(pipe: Connection, command: str, argument: object = None) -> None:
    """Raises `RuntimeError` where the process has died."""
    try:
        pipe.send((command, argument))
    except OSError:
        raise RuntimeError(DIED) from None


def _answer(pipe: Connection) -> Any:
    """Raises what the process raised, and `RuntimeError` where it has died."""
    try:
        error, result = pipe.recv()
    except (EOFError, OSError):
        raise RuntimeError(DIED) from None
    if error is not None:
        raise error
    return result


def _hang_up(pipes: Sequence[Connection], workers: Sequence[BaseProcess]) -> None:
    """Let the processes end, and wait for it; one that does not close its environments is killed."""
    for pipe in pipes:
        pipe.close()
    for worker in workers:
        worker.join(GRACE)
        worker.kill()


def _serve(pipe: Connection, make_block: MakeBlock, shared: SharedFrames, start: int, stop: int) -> None:
    """What a process does: obey the commands that come through the pipe until it closes, however the parent ended."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a whole group may get them; the parent obeys, and saves first
        signal.signal(number, signal.SIG_IGN)
    frames = shared.view(start, stop)
    block: Block | None = None
    with suppress(EOFError, ConnectionError):  # the parent has hung up
        while True:
            command, argument = pipe.recv()
            try:
                block = block or make_block(range(start, stop))
                pipe.send((None, _obey(block, frames, command, argument)))
            except UserError as error:
                pipe.send((error, None))
            except Exception:  # whatever a user's environment raises is told to the parent, which raises it
                pipe.send((RuntimeError(f"in a process with environments:\n{traceback.format_exc()}"), None))
    if block is not None:
        block.close()


def _obey(block: Block, frames: Frames, command: str, argument: Any) -> Any:
    match command:
        case "ready":
            return None
        case "reset":
            return block.reset(argument, frames)
        case "step":
            return block.step(argument, frames)
        case "load":
            return block.load(argument, frames)
        case "state":
            return block.state()
        case "render":
            return block.render()
        case _:
            raise ValueError(f"unknown command {command!r}")
