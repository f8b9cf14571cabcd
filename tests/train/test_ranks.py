"""A batch that is shared by two processes teaches what it teaches one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from offrl.algos.base import Algorithm
from offrl.errors import UserError
from offrl.train.ranks import Ranks
from offrl.train.updater import Meter
from offrl.types import Batch
from tests.algos.zoo import NAMES, a_batch, kinds, made, target

RANKS, UPDATES = 2, 3
DESCENDING = [name for name in NAMES if "dataset" in target(name).learns_from]
# Losses that are means over rows and draw nothing: their gradient over the batch is the mean of those over its halves.
MEANS = ("bc", "iql", "dqn", "discrete_cql")
FEW = [*MEANS, "td3_bc", "decision_transformer"]  # unless the slow tests are asked for
# Statistics of the rows that a rank has seen; the leader's are kept: a moving average, and the best return so far.
OF_A_RANK = ("scale.mean_square", "best.value")


def batches(algo: Algorithm, name: str) -> list[Batch]:
    """The same for everyone who asks with the same algorithm."""
    torch.manual_seed(7)
    drawn = [a_batch(algo, kinds(name)[0]) for _ in range(UPDATES)]
    return [Batch(*(c.double() if c.is_floating_point() and len(c) else c for c in batch)) for batch in drawn]


def part(batch: Batch, number: int) -> Batch:
    return Batch(*(column.chunk(RANKS)[number] if len(column) else column for column in batch))


def learn(rank: int, folder: Path, names: list[str]) -> None:
    """One process: every algorithm on its part of the batches, in double precision."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=rank, world_size=RANKS)
    ranks, states = Ranks(torch.device("cpu")), dict[str, Any]()
    for name in names:
        algo = made(name, kinds(name)[0])
        given, meter = batches(algo, name), Meter()
        if rank:  # wherever the others are, they start where the leader is
            for parameter in algo.parameters():
                parameter.data.add_(1.0)
        ranks.share(algo, seed=0)
        meter.average = ranks.average_
        for batch in given:
            metrics = algo.update(part(batch, rank))
            meter.add(metrics, dict.fromkeys(metrics, 1))
        states[name] = algo.state_dict(), meter.read()
    assert ranks.largest(rank) == RANKS - 1
    assert ranks.gathered(rank) == ([0, 1] if rank == 0 else [])
    torch.save(states, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


def learnt(folder: Path, names: list[str]) -> list[dict[str, Any]]:
    """State and metrics of these algorithms, by rank."""
    start_processes(learn, (folder, names), nprocs=RANKS, start_method="spawn")
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(RANKS)]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return learnt(tmp_path_factory.mktemp("ranks"), FEW)


def assert_together(ranks: list[dict[str, Any]]) -> None:
    """Bit for bit, though each saw other rows and other noise; so are the metrics that they decide by."""
    for name, (state, metrics) in ranks[0].items():
        other_state, other_metrics = ranks[1][name]
        for key, value in state.items():
            assert torch.equal(value, other_state[key]) or key in OF_A_RANK, f"{name}: {key}"
        assert metrics == other_metrics, name


def test_ranks_stay_together(few: list[dict[str, Any]]) -> None:
    assert_together(few)


@pytest.mark.slow
def test_ranks_of_every_algorithm_stay_together(tmp_path: Path) -> None:
    assert_together(learnt(tmp_path, DESCENDING))


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", MEANS)
def test_halves_teach_what_the_whole_teaches(name: str, few: list[dict[str, Any]]) -> None:
    algo, meter = made(name, kinds(name)[0]), Meter()
    for batch in batches(algo, name):
        metrics = algo.update(batch)
        meter.add(metrics, dict.fromkeys(metrics, 1))
    state, together = few[0][name]
    for key, value in algo.state_dict().items():
        torch.testing.assert_close(state[key], value, rtol=1e-9, atol=1e-9, msg=key)
    assert together == pytest.approx(meter.read(), rel=1e-9, abs=1e-12)


def test_a_batch_without_equal_parts_is_refused() -> None:
    ranks = object.__new__(Ranks)
    ranks.count = 3
    with pytest.raises(UserError, match=r"algo.batch_size=16 .* hardware.devices=3"):
        ranks.share(made("bc", "continuous"), seed=0)
