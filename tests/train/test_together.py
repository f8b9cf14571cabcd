"""Runs in company take turns: what one of them has set up is not there for the others."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from offrl.algos.base import Algorithm
from offrl.data.dataset import Dataset
from offrl.data.mixture import Mixture
from offrl.functional import noise
from offrl.train import trial
from offrl.train.together import Company, CompanyUpdater, here
from offrl.train.updater import Meter
from offrl.types import Batch, Metrics, Steps
from tests.algos.zoo import SPECS, small

DENORMAL = 1e-40


def joined() -> Algorithm:
    """A small algorithm, in company."""
    algo, member = small("bc"), here()
    algo.build(SPECS["continuous"])
    assert member is not None
    member.join(algo)
    return algo


def results(company: Company, *jobs: partial[object]) -> list[object]:
    """What the jobs return; what one raises is raised."""
    ends = company.run(jobs, seeds=range(len(jobs)))
    for end in ends:
        if isinstance(end, BaseException):
            raise end
    return ends


def test_a_waiting_run_keeps_its_modes_to_itself() -> None:
    """One acts without gradients while the other waits outside of them."""

    def modes(without: bool) -> list[bool]:
        joined()
        member, seen = here(), list[bool]()
        assert member is not None
        for _ in range(3):
            with torch.inference_mode(without):
                member.act(torch.zeros(1, 4))
                seen.append(torch.is_inference_mode_enabled())
            seen.append(torch.is_inference_mode_enabled())
        return seen

    first, second = results(Company(mode="stack"), partial(modes, True), partial(modes, False))
    assert first == [True, False] * 3
    assert second == [False, False] * 3


def test_random_numbers_stay_with_their_run() -> None:
    """A run that draws between two requests draws from its own stream, whoever else draws meanwhile."""

    def drawn(numbers: int) -> list[Tensor]:
        torch.manual_seed(5)
        joined()
        member, seen = here(), list[Tensor]()
        assert member is not None
        for _ in range(3):
            member.act(torch.zeros(1, 4))
            seen += [noise.normal((numbers,), torch.zeros(1))]
        return seen

    one, other = results(Company(mode="stack"), partial(drawn, 2), partial(drawn, 2))
    assert isinstance(one, list)
    assert isinstance(other, list)
    torch.testing.assert_close(torch.stack(one), torch.stack(other), rtol=0, atol=0)


@pytest.mark.parametrize("flush", [True, False])
def test_threads_side_by_side_treat_denormals_as_the_run_was_told(flush: bool) -> None:
    seen: list[float] = []

    def noted(batch: Batch) -> Metrics:
        del batch
        seen.append(float((torch.full((64,), DENORMAL) * 0.5).sum()))
        return {"loss": torch.zeros(())}

    def job() -> None:
        algo, member = joined(), here()
        assert member is not None
        algo.update = noted
        CompanyUpdater(member, Meter()).learn(Batch(*(torch.zeros(1, 1) for _ in range(5))))

    before = bool((torch.tensor([DENORMAL]) * 0.5).sum() == 0.0)
    torch.set_flush_denormal(flush)
    try:
        results(Company(mode="threads"), partial(job), partial(job))
    finally:
        torch.set_flush_denormal(before)
    assert [value == 0.0 for value in seen] == [flush] * 2


def test_trying_how_to_learn_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs go on as if nobody had measured what pays: with the batches and the random numbers that were next."""
    monkeypatch.setattr(trial, "SECONDS", 0.01)

    def job() -> tuple[bool, int]:
        joined()
        member = here()
        assert member is not None
        data = Dataset(zeros(), SPECS["continuous"])
        before = torch.get_rng_state()
        CompanyUpdater(member, Meter()).run(Mixture([data], [1.0]), 1)
        return torch.equal(torch.get_rng_state(), before), data._cursor

    def zeros() -> Steps:
        no, flags = np.zeros((8, 4), np.float32), np.zeros(8, np.bool_)
        return Steps(no, np.zeros((8, 2), np.float32), no[:, 0], flags, flags, no)

    assert results(Company(mode="auto"), partial(job), partial(job)) == [(True, 1)] * 2


def test_one_that_fails_while_learning_says_so_and_the_other_goes_on() -> None:
    def refused(batch: Batch) -> Metrics:
        raise ArithmeticError("no")

    def job(fails: bool) -> int:
        algo, member = joined(), here()
        assert member is not None
        algo.update = refused if fails else lambda batch: {"loss": batch.reward.sum()}
        updater = CompanyUpdater(member, Meter())
        for _ in range(3):
            updater.learn(Batch(*(torch.zeros(1, 1) for _ in range(5))))
        return 3

    bad, good = Company(mode="threads").run([partial(job, True), partial(job, False)], seeds=range(2))
    assert isinstance(bad, ArithmeticError)
    assert good == 3
