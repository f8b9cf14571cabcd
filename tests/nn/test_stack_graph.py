"""The update of a stack as one graph, against the stack itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from offrl.algos.base import OnPolicy, Solver
from offrl.nn.stack import Stack, joined
from offrl.nn.stack_graph import CompiledUpdate
from offrl.types import ActionKind, Batch
from scripts.make_zoo_table import target
from tests.algos.zoo import PAIRS, SPECS, a_batch, kinds, prepared, small

RUNS, UPDATES = 3, 6
DESCENDING = [pair for pair in PAIRS if not issubclass(target(pair[0]), Solver)]


def a_stack(name: str, kind: ActionKind, device: str = "cpu") -> tuple[Stack, list[Any]]:
    """Runs with different parameters, learning rates and random numbers."""
    algos: list[Any] = []
    for run in range(RUNS):
        torch.manual_seed(run)
        algo = small(name, **({"lr": 1e-3 / (run + 1)} if "lr" in vars(small(name)) else {}))
        algo.build(SPECS[kind])
        algos.append(algo.to(device))
    return Stack(algos, [torch.Generator().manual_seed(run) for run in range(RUNS)]), algos


def a_feed(algo: Any, kind: ActionKind) -> Batch:
    """What it learns from at once."""
    return prepared(copy.deepcopy(algo), kind) if isinstance(algo, OnPolicy) else a_batch(algo, kind)


def assert_the_same_is_learnt(name: str, kind: ActionKind, backend: str, device: str = "cpu") -> None:
    """Metrics and states agree after every update, whatever was compiled when."""
    (plain, mine), (traced, theirs) = a_stack(name, kind, device), a_stack(name, kind, device)
    compiled = CompiledUpdate(traced, backend)
    torch.manual_seed(9)
    for _ in range(UPDATES):
        batch = joined([Batch(*(x.to(device) for x in a_feed(mine[0], kind))) for _ in range(RUNS)])
        expected, metrics = plain("update", batch), compiled(batch)
        assert expected.keys() == metrics.keys()
        for key, value in expected.items():
            torch.testing.assert_close(metrics[key], value, rtol=1e-3, atol=1e-5, msg=key)
    plain.settle()
    traced.settle()
    for one, other in zip(mine, theirs, strict=True):
        for key, value in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-3, atol=1e-5, msg=key)


@pytest.mark.parametrize(("name", "kind"), [("td3", "continuous"), ("ppo", "discrete")])
def test_a_compiled_stack_learns_the_same(name: str, kind: ActionKind) -> None:
    """TD3 has a phase, noise, and metrics that only every second update has; PPO learns from a rollout's rows."""
    assert_the_same_is_learnt(name, kind, "eager")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), DESCENDING)
def test_every_compiled_stack_learns_the_same(name: str, kind: ActionKind) -> None:
    assert_the_same_is_learnt(name, kind, "aot_eager")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["dqn", "td3", "sac", "iql", "ppo"])
def test_through_the_compiler_that_users_get(name: str) -> None:
    assert_the_same_is_learnt(name, kinds(name)[0], "inductor")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["dqn", "iql"])
def test_as_a_cuda_graph(name: str) -> None:
    """Of algorithms that draw nothing: on a GPU the runs share one generator."""
    assert_the_same_is_learnt(name, kinds(name)[0], "inductor", "cuda")


def test_tracing_leaves_no_trace() -> None:
    """The first update is the first: neither state nor random numbers nor phase have moved before it."""
    stack, algos = a_stack("td3", "continuous")
    before = [copy.deepcopy(algo.state_dict()) for algo in algos]
    streams = [stream.get_state() for stream in stack.streams]
    compiled = CompiledUpdate(stack, "eager")
    compiled._traced(joined([a_batch(algos[0], "continuous") for _ in range(RUNS)]))
    stack.settle()
    for algo, state in zip(algos, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in algo.state_dict().items())
    assert all(torch.equal(stream.get_state(), state) for stream, state in zip(stack.streams, streams, strict=True))
