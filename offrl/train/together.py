"""Runs that train as one: each by itself, all meeting where they compute.

A run in company is an ordinary run. Its job, trainer, callbacks, files and evaluation are those of a run alone; only
when it asks its algorithm for updates or actions does it wait for the others, and the stack (`offrl/nn/stack.py`)
answers all at once. So whatever a trainer does, it can do in company, each run leaves the folder that it would have
left alone, and one that fails leaves the others undisturbed.

The runs take turns in one thread, as greenlets: whoever waits hands over to the next in a microsecond, where threads
would take ten times that and wait for the interpreter's lock.

Where stacking does not pay (a processor is busy enough with one large network), the runs learn side by side instead, in
as many threads as there are cores, on the same copy of the data.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, Literal, TypeVar, cast

import torch
from greenlet import getcurrent, greenlet
from torch import Tensor

from offrl.algos.base import Algorithm
from offrl.data.dataset import Dataset
from offrl.data.replay import Replay
from offrl.data.rows import Rows, gather_each
from offrl.functional import noise
from offrl.nn.stack import Stack, joined
from offrl.nn.stack_graph import CompiledUpdate
from offrl.train.randomness import undisturbed
from offrl.train.stopping import asked_to_stop
from offrl.train.trial import stacking_pays
from offrl.train.updater import Meter, Updater
from offrl.types import Batch, Metrics, Source

T = TypeVar("T")
S = TypeVar("S", bound=Source)
Mode = Literal["auto", "stack", "threads"]
LEARNING = ("updates", "learn")


@dataclass
class _Request:
    """What a waiting run asks for: `kind` is join, updates or learn, or the name of a method that acts."""

    kind: str
    arguments: tuple[Any, ...]
    answer: Any = None
    error: BaseException | None = None
    done: bool = True  # once it has been looked at: False, if more is to be done before it is answered


class Member(greenlet):
    """One run in company: what its trainer, evaluator and updater talk to instead of the algorithm."""

    def __init__(self, company: Company, number: int, seed: int, job: Callable[[], object]) -> None:
        super().__init__(self._work)
        self.company, self.number, self.job = company, number, job
        self.stream = torch.Generator().manual_seed(seed)
        self.algo: Algorithm | None = None
        self.meter: Meter | None = None
        self.request: _Request | None = None
        self.result: Any = None  # what the job returned or raised

    def join(self, algo: Algorithm) -> None:
        """Train in company from here on. What was drawn from torch's own generator until now goes on in a stream."""
        self.algo = algo
        self.stream.set_state(torch.get_rng_state())
        self.ask("join", algo)

    def act(self, obs: Tensor) -> Tensor:
        """As the algorithm's."""
        return self.ask("act", obs)

    def explore(self, obs: Tensor, step: int) -> Tensor:
        """As the algorithm's."""
        return self.ask("explore", obs, step)

    def ask(self, kind: str, *arguments: Any) -> Any:
        """Wait for the others, and for the answer. Raises what went wrong there."""
        request = _Request(kind, arguments)
        if self.company.side_by_side and kind not in LEARNING:
            return getattr(self.algo, kind)(*arguments)
        self.request = request
        with torch.inference_mode(False):  # a mode is the thread's, in which the others go on meanwhile
            self.company.hub.switch()
        noise.use(self.stream)
        if request.error is not None:
            raise request.error
        return request.answer

    def shared(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` makes, made once for all runs that give the same key: each gets a shallow copy."""
        shelf = self.company.shelf
        if key not in shelf:
            shelf[key] = make()
        return copy.copy(cast(T, shelf[key]))

    def _work(self) -> None:
        try:
            self.result = self.job()
        except BaseException as error:
            self.result = error
        finally:
            self.company.leave(self)


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
    cores: int | None = None  # that are its own; None: all of the machine
    shelf: dict[Hashable, Any] = field(default_factory=dict[Hashable, Any])
    members: list[Member] = field(default_factory=list[Member])
    said: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.hub = getcurrent()  # who serves
        self._stack: Stack | None = None
        self._update: Callable[[Batch], Metrics] | None = None  # of the stack, on batches that were drawn
        self._sums: Metrics = {}  # [runs]
        self._counts: dict[str, int] = {}
        self._pool: ThreadPoolExecutor | None = None  # side by side: a thread a core
        self._learnt: SimpleQueue[Member] = SimpleQueue()  # who has done so there

    def run(self, jobs: Sequence[Callable[[], T]], seeds: Sequence[int]) -> list[T | BaseException]:
        """Do every job by itself, with `here()` as its member; what each returned or raised."""
        self.hub = getcurrent()
        begun: list[Member] = []
        try:
            for number, (job, seed) in enumerate(zip(jobs, seeds, strict=True)):
                begun.append(Member(self, number, seed, job))
                self.members.append(begun[-1])
                self._resume(begun[-1])
            while self.members:
                self._serve()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
        return [member.result for member in begun]

    def signals(self) -> AbstractContextManager[None]:
        """SIGTERM and Ctrl-C ask every run for a checkpoint and a clean end; a later one ends the process at once."""

        def note(number: int) -> None:
            self.caught = number

        return asked_to_stop(note)

    def hand_out(self) -> None:
        """Give each run its share of the metrics."""
        sums, counts, self._sums, self._counts = self._sums, self._counts, {}, {}
        if not sums or self._stack is None:
            return
        shares = {name: value.unbind(0) for name, value in sums.items()}
        for run, member in enumerate(self._stacked):
            if member.meter is not None:
                member.meter.add({name: share[run] for name, share in shares.items()}, counts)

    def leave(self, member: Member) -> None:
        """Said by a member whose job is over."""
        self.hand_out()
        self.members.remove(member)

    def _resume(self, member: Member) -> None:
        """Let it go on until it asks for something, or ends."""
        member.switch()
        noise.use(None)

    def _serve(self) -> None:
        """Answer those who ask for the same, acting first; where nobody asks, somebody is still learning."""
        waiting = [member for member in self.members if member.request is not None]
        if not waiting:
            self._resume(self._learnt.get())
            return
        acting = [m for m in waiting if _request(m).kind not in ("join", *LEARNING)]
        if acting:
            first = _signature(_request(acting[0]))
            self._answer([m for m in acting if _signature(_request(m)) == first], self._act)
        elif self.side_by_side:
            self._learn_apart(waiting)
        else:
            kind = _request(waiting[0]).kind
            alike = [m for m in waiting if _request(m).kind == kind]
            self._answer(alike, {"join": self._join, "updates": self._updates, "learn": self._learn}[kind])

    def _answer(self, asking: list[Member], answer: Callable[[list[Member]], None]) -> None:
        try:
            answer(asking)
        except BaseException as error:
            for member in asking:
                _request(member).error, _request(member).done = error, True
        noise.use(None)
        done = [member for member in asking if _request(member).done]
        for member in done:
            member.request = None
        for member in done:
            self._resume(member)

    def _learn_apart(self, asking: list[Member]) -> None:
        """Side by side: each learns in a thread, as many at a time as there are cores, and goes on when it has."""
        self._pool = self._pool or ThreadPoolExecutor(self._cores())  # of this thread: they flush denormals as it does
        for member in asking:
            request, member.request = _request(member), None
            self._pool.submit(self._learn_alone, member, request)

    def _learn_alone(self, member: Member, request: _Request) -> None:
        algo, meter = cast(Algorithm, member.algo), cast(Meter, member.meter)
        noise.use(member.stream)
        try:
            source, count = request.arguments if request.kind == "updates" else (None, 1)
            for _ in range(count):
                metrics = algo.update(source.sample(algo.batch_size) if source is not None else request.arguments[0])
                meter.add(metrics, dict.fromkeys(metrics, 1))
        except BaseException as error:
            request.error = error
        self._learnt.put(member)

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
        stack, update = self._ensure_stack(), cast("Callable[[Batch], Metrics]", self._update)
        self._add(update(joined(batches)))
        stack.settle()

    def _part(self, asking: list[Member]) -> None:
        """From now on side by side, also what was asked for."""
        self.side_by_side = True
        if len(asking) > 1:
            self.said(
                f"these networks keep a core busy: the {len(asking)} runs train side by side in threads, on one copy "
                "of the data, instead of as one"
            )
        for member in asking:
            _request(member).done = False

    def _pays(self, feed: Sequence[Source] | Sequence[Batch], batch_size: int) -> bool:
        """Measure, on copies."""
        algos = [cast(Algorithm, copy.deepcopy(member.algo)) for member in self.members]
        with undisturbed():
            if batch_size:
                batches = [copy.copy(cast(Source, source)).sample(batch_size) for source in feed]
            else:
                batches = cast("list[Batch]", list(feed))
            return stacking_pays(algos, batches, self._cores())

    def _cores(self) -> int:
        """How many runs can learn at a time, side by side."""
        return max(1, (self.cores or os.cpu_count() or 1) // torch.get_num_threads())

    def _batch(self, sources: Sequence[Source], batch_size: int) -> Batch:
        """A batch of each source [runs, B, …], each with the random numbers of its run."""
        if not all(type(source) in (Dataset, Replay) for source in sources):
            return joined(self._each(sources, lambda source: source.sample(batch_size)))
        stored = cast("Sequence[Dataset | Replay]", sources)
        index = self._each(stored, lambda source: source.next_index(batch_size))
        rows = [source.rows for source in stored]
        batch = gather_each(rows, index)
        return joined(list(map(Rows.gather, rows, index))) if batch is None else batch

    def _each(self, sources: Sequence[S], draw: Callable[[S], T]) -> list[T]:
        """What is drawn from each source."""
        drawn: list[T] = []
        for source, member in zip(sources, self._stacked, strict=True):
            noise.use(member.stream)
            drawn.append(draw(source))
        return drawn

    def _add(self, metrics: Mapping[str, Tensor]) -> None:
        for name, value in metrics.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1


def here() -> Member | None:
    """The member that is at work; None in a run alone."""
    current = getcurrent()
    return current if isinstance(current, Member) else None


def _request(member: Member) -> _Request:
    assert member.request is not None
    return member.request


def _signature(request: _Request) -> tuple[object, ...]:
    """Requests with equal ones can be answered at once."""
    return request.kind, *(a.shape if isinstance(a, Tensor) else a for a in request.arguments)
