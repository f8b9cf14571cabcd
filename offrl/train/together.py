"""Runs that train as one: each in a thread of its own, all meeting where they compute.

A run in company is an ordinary run. Its job, trainer, callbacks, files and evaluation are those of a run alone; only
when it asks its algorithm for updates or actions does it wait for the others, and the stack (`offrl/nn/stack.py`)
answers all at once. So whatever a trainer does, it can do in company, each run leaves the folder that it would have
left alone, and one that fails leaves the others undisturbed.

Where stacking does not pay (a processor is busy enough with one large network), the runs train side by side instead, in
the same threads and on the same copy of the data.
"""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import threading
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor

from offrl.algos.base import Algorithm
from offrl.data.dataset import Dataset
from offrl.functional import noise
from offrl.nn.stack import Stack, joined
from offrl.nn.stack_graph import CompiledUpdate
from offrl.train.trial import stacking_pays
from offrl.train.updater import Meter, Updater
from offrl.types import Batch, Metrics, Source

T = TypeVar("T")
Mode = Literal["auto", "stack", "threads"]


@dataclass
class _Request:
    """What a waiting run asks for: `kind` is join, updates or learn, or the name of a method that acts."""

    kind: str
    arguments: tuple[Any, ...]
    answer: Any = None
    error: BaseException | None = None
    done: bool = True  # once it has been looked at: False, if more is to be done before it is answered


class Member:
    """One run in company: what its trainer, evaluator and updater talk to instead of the algorithm."""

    def __init__(self, company: Company, number: int, seed: int) -> None:
        self.company, self.number = company, number
        self.stream = torch.Generator().manual_seed(seed)
        self.algo: Algorithm | None = None
        self.meter: Meter | None = None
        self.request: _Request | None = None
        self.wake = _closed()

    def join(self, algo: Algorithm) -> None:
        """Train in company from here on. What was drawn from torch's own generator until now goes on in a stream."""
        self.algo = algo
        self.stream.set_state(torch.get_rng_state())
        noise.use(self.stream)
        self.ask("join", algo)

    def act(self, obs: Tensor) -> Tensor:
        """As the algorithm's."""
        return self.ask("act", obs)

    def explore(self, obs: Tensor, step: int) -> Tensor:
        """As the algorithm's."""
        return self.ask("explore", obs, step)

    def ask(self, kind: str, *arguments: Any) -> Any:
        """Wait for the others, and for the answer. Raises what went wrong there."""
        if self.company.side_by_side:
            return self.company.alone(self, kind, arguments)
        request = self.request = _Request(kind, arguments)
        self.company.arrived()
        self.wake.acquire()
        if request.error is not None:
            raise request.error
        return request.answer

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes, made once for all runs that give the same key: each gets a shallow copy."""
        shelf = self.company.shelf
        if key not in shelf:
            shelf[key] = make()
        return copy.copy(cast(T, shelf[key]))


class CompanyUpdater(Updater):
    """Has the runs learn together."""

    def __init__(self, member: Member, meter: Meter) -> None:
        self.member, self.meter, self.per_call = member, meter, 0
        member.meter = meter
        meter.feed = member.company.hand_out

    def run(self, source: Source, count: int) -> None:
        if count:
            self.member.ask("updates", source, count)

    def learn(self, batch: Batch) -> None:
        self.member.ask("learn", batch)


@dataclass(eq=False)
class Company:
    """The runs, and who answers them."""

    mode: Mode = "auto"
    caught: int = 0  # the signal that asks all of them to stop
    side_by_side: bool = False
    compile: bool = False  # the update of the stack
    shelf: dict[Hashable, Any] = field(default_factory=dict[Hashable, Any])
    members: list[Member] = field(default_factory=list[Member])
    said: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._ready = _closed()
        self._running = 0  # members that neither wait nor have ended
        self._stack: Stack | None = None
        self._update: Callable[[Batch], Metrics] | None = None  # of the stack, on batches that were drawn
        self._sums: Metrics = {}  # [runs]
        self._counts: dict[str, int] = {}
        self._count = max(1, (os.cpu_count() or 1) // torch.get_num_threads())  # that compute at a time, side by side
        self._cores = threading.Semaphore(self._count)

    def run(self, jobs: Sequence[Callable[[], T]], seeds: Sequence[int]) -> list[T | BaseException]:
        """Do every job in a thread of its own, in which `here()` is its member; what each returned or raised."""
        results: list[Any] = [None] * len(jobs)

        def work(member: Member, job: Callable[[], T]) -> None:
            _here.member = member
            try:
                results[member.number] = job()
            except BaseException as error:
                results[member.number] = error
            finally:
                self._leave(member)

        for number, (job, seed) in enumerate(zip(jobs, seeds, strict=True)):
            member = Member(self, number, seed)
            self.members.append(member)
            self._running += 1
            threading.Thread(target=work, args=(member, job), name=f"run-{number}").start()
            self._await()  # one after the other, until each asks for something: what they share is made once
        while self.members:
            if not self._serve():
                self._await()
        return results

    @contextlib.contextmanager
    def signals(self) -> Generator[None]:
        """SIGTERM and Ctrl-C ask every run for a checkpoint and a clean end; a second one ends the process at once."""

        def note(number: int, frame: object) -> None:
            del frame
            self.caught = number
            restore()

        def restore() -> None:
            for number, handler in previous.items():
                signal.signal(number, handler)

        previous: dict[int, Any] = {n: signal.signal(n, note) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            restore()

    def arrived(self) -> None:
        """Said by a member that waits from here on."""
        with self._lock:
            self._running -= 1
            if not self._running:
                self._ready.release()

    def hand_out(self) -> None:
        """Give each run its share of the metrics."""
        with self._lock:
            sums, counts, self._sums, self._counts = self._sums, self._counts, {}, {}
            if not sums or self._stack is None:
                return
            shares = {name: value.unbind(0) for name, value in sums.items()}
            for run, member in enumerate(self._stacked):
                if member.meter is not None:
                    member.meter.add({name: share[run] for name, share in shares.items()}, counts)

    def alone(self, member: Member, kind: str, arguments: tuple[Any, ...]) -> Any:
        """Side by side: a run computes for itself, at most one a core."""
        algo, meter = cast(Algorithm, member.algo), member.meter
        match kind:
            case "join":
                return None
            case "updates":
                source, count = arguments
                with self._cores:
                    for _ in range(count):
                        metrics = algo.update(source.sample(algo.batch_size))
                        cast(Meter, meter).add(metrics, dict.fromkeys(metrics, 1))
                return None
            case "learn":
                with self._cores:
                    metrics = algo.update(arguments[0])
                    cast(Meter, meter).add(metrics, dict.fromkeys(metrics, 1))
                return None
            case _:
                return getattr(algo, kind)(*arguments)

    def _await(self) -> None:
        """Wait until every member waits or has ended. In slices, so that signals are seen."""
        while not self._ready.acquire(timeout=0.2):
            pass

    def _leave(self, member: Member) -> None:
        self.hand_out()
        with self._lock:
            self.members = [other for other in self.members if other is not member]
            self._running -= 1
            if not self._running:
                self._ready.release()

    def _serve(self) -> bool:
        """Answer what can be answered now; whether anybody was."""
        waiting = [member for member in self.members if member.request is not None]
        if not waiting:
            return False
        acting = [m for m in waiting if _request(m).kind not in ("join", "updates", "learn")]
        if acting:
            first = _signature(_request(acting[0]))
            self._answer([m for m in acting if _signature(_request(m)) == first], self._act)
        else:
            kind = _request(waiting[0]).kind
            alike = [m for m in waiting if _request(m).kind == kind]
            self._answer(alike, {"join": self._join, "updates": self._updates, "learn": self._learn}[kind])
        return True

    def _answer(self, asking: list[Member], answer: Callable[[list[Member]], None]) -> None:
        try:
            answer(asking)
        except BaseException as error:
            for member in asking:
                _request(member).error, _request(member).done = error, True
        with self._lock:
            done = [member for member in asking if _request(member).done]
            self._running += len(done)
            for member in done:
                member.request = None
        for member in done:
            member.wake.release()
        self._await()

    def _join(self, asking: list[Member]) -> None:
        self._stacked: list[Member] = list(asking)
        if self.mode == "threads" or len(asking) == 1:
            self.side_by_side = True

    def _ensure_stack(self) -> Stack:
        """The stack of those who are left."""
        if self._stack is None or self._stacked != self.members:
            self.hand_out()
            self._stacked = list(self.members)
            algos = [cast(Algorithm, member.algo) for member in self._stacked]
            self._stack = Stack(algos, [member.stream for member in self._stacked])
            self._update = CompiledUpdate(self._stack) if self.compile else partial(self._stack, "update")
        return self._stack

    def _act(self, asking: list[Member]) -> None:
        requests = [_request(member) for member in asking]
        kind, (_, *rest) = requests[0].kind, requests[0].arguments
        stack = None if self._stack is None or len(asking) < len(self.members) else self._ensure_stack()
        with torch.inference_mode():
            if stack is None:
                for member, request in zip(asking, requests, strict=True):
                    noise.use(member.stream)
                    request.answer = getattr(member.algo, kind)(*request.arguments)
                noise.use(None)
                return
            together = torch.stack([request.arguments[0] for request in requests])
            for request, answer in zip(requests, stack(kind, together, *rest), strict=True):
                request.answer = answer

    def _updates(self, asking: list[Member]) -> None:
        sources = [cast(Source, _request(member).arguments[0]) for member in asking]
        batch_size = cast(Algorithm, asking[0].algo).batch_size
        if self._stack is None and self.mode == "auto" and not self._pays(sources, batch_size):
            self._part(asking)
            return
        count = min(_request(member).arguments[1] for member in asking)
        stack, update = self._ensure_stack(), cast("Callable[[Batch], Metrics]", self._update)
        for _ in range(count):
            self._add(update(self._batch(sources, batch_size)))
        stack.settle()
        for member in asking:
            request = _request(member)
            left = request.arguments[1] - count  # what it wants beyond the others
            request.done, request.arguments = not left, (request.arguments[0], left)

    def _learn(self, asking: list[Member]) -> None:
        batches = [cast(Batch, _request(member).arguments[0]) for member in asking]
        if self._stack is None and self.mode == "auto" and not self._pays(batches, 0):
            self._part(asking)
            return
        stack = self._ensure_stack()
        self._add(stack("update", joined(batches)))
        stack.settle()

    def _part(self, asking: list[Member]) -> None:
        """From now on side by side; what was asked for is done by each for itself."""
        self.side_by_side = True
        self.said(
            f"these networks keep a core busy: the {len(asking)} runs train side by side in threads, on one copy of "
            "the data, instead of as one"
        )
        for member in asking:
            request = _request(member)
            noise.use(member.stream)
            self.alone(member, request.kind, request.arguments)
        noise.use(None)

    def _pays(self, feed: Sequence[Source] | Sequence[Batch], batch_size: int) -> bool:
        """Measure, on copies."""
        algos = [cast(Algorithm, copy.deepcopy(member.algo)) for member in self.members]
        if batch_size:
            batches = [copy.copy(cast(Source, source)).sample(batch_size) for source in feed]
        else:
            batches = cast("list[Batch]", list(feed))
        return stacking_pays(algos, batches, self._count)

    def _batch(self, sources: Sequence[Source], batch_size: int) -> Batch:
        """A batch of each source [runs, B, …], with one gather where all draw from the same rows."""
        streams = [member.stream for member in self._stacked]
        datasets = [source for source in sources if type(source) is Dataset]
        try:
            if len(datasets) == len(sources) and all(source.rows is datasets[0].rows for source in datasets):
                index: list[Tensor] = []
                for source, stream in zip(datasets, streams, strict=True):
                    noise.use(stream)
                    index.append(source.next_index(batch_size))
                columns: list[Tensor] = list(datasets[0].rows.gather(torch.cat(index)))
                return Batch(*(x.unflatten(0, (len(sources), -1)) if x.numel() else x for x in columns))
            batches: list[Batch] = []
            for source, stream in zip(sources, streams, strict=True):
                noise.use(stream)
                batches.append(source.sample(batch_size))
            return joined(batches)
        finally:
            noise.use(None)

    def _add(self, metrics: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1


class _Here(threading.local):
    member: Member | None = None


_here = _Here()


def here() -> Member | None:
    """The member whose thread this is; None in a run alone."""
    return _here.member


def _request(member: Member) -> _Request:
    assert member.request is not None
    return member.request


def _signature(request: _Request) -> tuple[object, ...]:
    """Requests with equal ones can be answered at once."""
    return request.kind, *(a.shape if isinstance(a, Tensor) else a for a in request.arguments)


def _closed() -> threading.Lock:
    """A gate that one thread waits at, and another opens for one passage."""
    gate = threading.Lock()
    gate.acquire()
    return gate
