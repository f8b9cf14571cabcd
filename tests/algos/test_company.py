"""Run i of N that train as one is the run alone."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from offrl.algos.base import Algorithm, scalar_knobs
from offrl.train.together import Company, Member, here
from offrl.types import ActionKind, Batch
from tests.algos.zoo import NAMES, PAIRS, SPECS, kinds, small, work

RUNS = 3
TOLERANCE = 1e-4  # float32 sums in another order, after a few Adam steps or a solve by conjugate gradient
FACTORS = {"kl_adaptation": 2.0}  # a factor of at least 1; other knobs are halved
PRICED: dict[str, object] = {"kl_weight": 1.0}  # where it is 0 there is nothing to adapt


def made(name: str, kind: ActionKind, run: int, **knobs: object) -> Algorithm:
    """As in run number `run`: weights of its own."""
    torch.manual_seed(run)
    algo = small(name, **knobs)
    algo.build(SPECS[kind])
    return algo


def alone(name: str, kind: ActionKind, run: int, **knobs: object) -> Algorithm:
    """After the work of run number `run`, by itself."""
    algo = made(name, kind, run, **knobs)
    work(algo, kind)
    return algo


class Asking:
    """The algorithm as a trainer in company uses it."""

    def __init__(self, algo: Algorithm, member: Member) -> None:
        self._algo, self._member = algo, member

    def __getattr__(self, name: str) -> Any:
        return getattr(self._algo, name)

    @property  # what `isinstance` asks
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self._algo)

    def update(self, batch: Batch) -> None:
        self._member.ask("learn", batch)

    def explore(self, obs: Tensor, step: int) -> Tensor:
        return self._member.explore(obs, step)


def in_company(name: str, kind: ActionKind, run: int, **knobs: object) -> Algorithm:
    """The same in the company of others."""
    algo, member = made(name, kind, run, **knobs), here()
    assert member is not None
    member.join(algo)
    work(cast(Algorithm, Asking(algo, member)), kind)
    return algo


def assert_alike(name: str, kind: ActionKind, knobs: list[dict[str, object]]) -> None:
    """Every run, by itself and in company."""
    apart = [alone(name, kind, run, **own) for run, own in enumerate(knobs)]
    jobs = [partial(in_company, name, kind, run, **own) for run, own in enumerate(knobs)]
    together = Company(mode="stack").run(jobs, seeds=range(len(knobs)))
    for one, other in zip(apart, together, strict=True):
        if isinstance(other, BaseException):
            raise other
        expected, state = one.state_dict(), other.state_dict()
        for key, value in expected.items():
            torch.testing.assert_close(state[key], value, rtol=TOLERANCE, atol=TOLERANCE, msg=f"{name}: {key}")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_runs_that_differ_in_seed(name: str, kind: ActionKind) -> None:
    assert_alike(name, kind, [{}] * RUNS)


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_differ_in_scalar_knobs(name: str) -> None:
    """All of an algorithm's at once, and in seed."""
    kind = kinds(name)[0]
    base = small(name)
    turned = {knob: getattr(base, knob) * FACTORS.get(knob, 0.5) for knob in scalar_knobs(type(base))}
    turned |= PRICED if "kl_weight" in turned else {}
    assert_alike(name, kind, [{}, turned])
