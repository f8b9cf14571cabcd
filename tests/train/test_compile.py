"""Updates as one graph: when, and that nothing else changes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from offrl.build import build
from offrl.log.metrics import read_metrics
from offrl.nn.stack_graph import CompiledUpdate
from offrl.train import compiling
from offrl.train.compiling import Choice, choose
from offrl.train.run import train
from offrl.train.together import Company, here
from offrl.types import Batch, Metrics
from tests.train.kit import RUNS, begin, config, same

HARDWARE = {"device": "cpu", "compile": "auto", "compile_from": 120}  # a small offline run has 120 updates
AUTO = {
    "offline": 120,
    "replay": 140,
    "discrete": 50,
    "offline_to_online": 160,
    "blend": 40,
    "rollout": 30,
    "solve": 12,
}


@pytest.fixture
def _cheaply(monkeypatch: pytest.MonkeyPatch) -> None:
    """One graph, computed by ordinary operators: no compiler is needed."""
    real = torch.compile

    def cheap(function: Any, *, fullgraph: bool, **others: object) -> Any:
        del others
        return real(function, fullgraph=fullgraph, backend="eager")

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", cheap)


def made(name: str) -> tuple[Any, Any]:
    """A trainer and its algorithm."""
    node = config(*RUNS[name])
    return build(node["trainer"]), build(node["algo"])


@pytest.mark.parametrize("name", AUTO)
def test_auto_goes_by_the_number_of_updates(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the run will make; an algorithm that solves is never compiled."""
    monkeypatch.setattr(compiling, "_failure", lambda device: None)
    trainer, algo = made(name)
    assert trainer.planned_updates(algo) == AUTO[name]
    for enough, compiled in ((AUTO[name], name != "solve"), (AUTO[name] + 1, False)):
        assert choose(HARDWARE | {"compile_from": enough}, trainer, algo, {}).compiled is compiled


def test_auto_leaves_alone_what_is_faster_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU, and unless somebody insists."""
    monkeypatch.setattr(compiling, "_failure", lambda device: None)
    trainer, algo = made("offline")
    monkeypatch.setattr(type(algo), "written_is_faster", True)
    hardware = HARDWARE | {"compile_from": 1}
    assert not choose(hardware, trainer, algo, {}).compiled
    assert choose(hardware | {"device": "cuda"}, trainer, algo, {}).compiled
    assert choose(hardware | {"compile": True}, trainer, algo, {}).compiled


def test_what_was_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run goes on as it began, whatever its new total; who says yes or no is obeyed."""
    monkeypatch.setattr(compiling, "_failure", lambda device: None)
    run = made("offline")
    for began in (Choice(True, "it was long"), Choice(False, "it was short")):
        for enough in (1, 1000):
            assert choose(HARDWARE | {"compile_from": enough}, *run, began.facts()) == began
        for asked in (True, False):
            assert choose(HARDWARE | {"compile": asked}, *run, began.facts()).compiled is asked
    assert not choose(HARDWARE | {"compile": True}, *run, {}, devices=2).compiled


def test_without_a_compiler_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the run goes on without one."""

    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(torch, "compile", broken)
    run = made("offline")
    for asked in (True, "auto"):
        chosen = choose(HARDWARE | {"compile": asked}, *run, {})
        assert chosen == Choice(False, "this machine cannot compile: No working C++ compiler found")


@pytest.mark.usefixtures("_cheaply")
def test_a_compiled_run_is_the_same_run(tmp_path: Path) -> None:
    """The same batches and the same noise: only rounding differs. And it stops and goes on bit for bit."""

    def finished(place: str, *, compile: bool, updates: int, resume: bool = False) -> dict[str, Any]:
        words = (*RUNS["offline"], f"trainer.updates={updates}", "trainer.checkpoint_interval=20", "evaluation=none")
        trainer, context = begin(tmp_path / place, config(*words))
        context.compile = compile
        train(trainer, context, resume)
        return context.algo.state_dict()

    plain = finished("plain", compile=False, updates=40)
    whole = finished("whole", compile=True, updates=40)
    for key, value in plain.items():
        torch.testing.assert_close(value, whole[key], rtol=1e-4, atol=1e-5, msg=key)
    finished("parts", compile=True, updates=20)
    assert same(whole, finished("parts", compile=True, updates=40, resume=True))


@pytest.mark.slow
@pytest.mark.usefixtures("_cheaply")
def test_a_compiled_company_stops_and_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each run in it is the run alone, but for rounding."""
    calls: list[int] = []
    real = CompiledUpdate.__call__

    def counted(self: CompiledUpdate, batch: Batch) -> Metrics:
        calls.append(len(batch.reward))
        return real(self, batch)

    monkeypatch.setattr(CompiledUpdate, "__call__", counted)

    def run(place: Path, updates: int, resume: bool) -> dict[str, Any]:
        words = (*RUNS["offline"], f"trainer.updates={updates}", "trainer.checkpoint_interval=10", "evaluation=none")
        trainer, context = begin(place, config(*words))
        context.member = here()
        if context.member is not None:
            context.member.join(context.algo)
        train(trainer, context, resume)
        return context.algo.state_dict()

    def together(place: str, updates: int, resume: bool = False) -> list[dict[str, Any]]:
        jobs = [partial(run, tmp_path / place / str(number), updates, resume) for number in range(2)]
        states = Company(mode="stack", compile=True).run(jobs, seeds=range(2))
        for state in states:
            if isinstance(state, BaseException):
                raise state
        return cast("list[dict[str, Any]]", states)

    whole = together("whole", 20)
    assert calls == [2] * 20
    for key, value in run(tmp_path / "alone", 20, resume=False).items():
        torch.testing.assert_close(whole[0][key], value, rtol=1e-4, atol=1e-5, msg=key)
    together("parts", 10)
    for state, parts in zip(whole, together("parts", 20, resume=True), strict=True):
        assert same(state, parts)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_call", [1, 2])
@pytest.mark.parametrize("name", ["offline", "discrete", "offline_to_online", "rollout"])
def test_a_compiled_run_trains(name: str, per_call: int, tmp_path: Path) -> None:
    torch.compiler.reset()
    trainer, context = begin(tmp_path, config(*RUNS[name], "evaluation=none"))
    context.compile, context.updates_per_call = True, per_call
    train(trainer, context, resume=False)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    losses = {key: value for key, value in read_metrics(tmp_path).items() if key.endswith("/loss")}
    assert losses
    assert all(np.isfinite(value[-1]) for value in losses.values())
