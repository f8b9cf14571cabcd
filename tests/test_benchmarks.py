"""What turns measurements into the tables of the documentation."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import comparison, gpu, page, products, run, stacked, start_up, updates
from benchmarks.harness import RESULTS, ROOT
from benchmarks.peers.record import fill


def side(*rates: tuple[float, float]) -> dict[str, Any]:
    """A contender whose rounds did one thing in the given seconds, by the wall and the processor's clock."""
    return {"versions": {"torch": "9"}, "records": [{"done": 1, "wall": wall, "cpu": cpu} for wall, cpu in rates]}


RECORD: dict[str, Any] = {
    "machine": {"cores": 2, "cpu": "Some Processor", "load": 0.1, "measured": "2026-01-01"},
    "rows": {
        "iql": {
            "offrl": side((0.1, 0.05), (0.2, 0.1), (0.4, 0.2)),
            "plain": side((0.2, 0.1), (0.4, 0.4), (1.2, 0.4)),
            "products": side((0.1, 0.025), (0.1, 0.05), (0.1, 0.1)),
        },
        "dqn": {"offrl": side((0.001, 0.001))},
    },
}


def test_rates_are_medians_and_ratios_those_of_rounds() -> None:
    header, _, iql, dqn = comparison.markdown(RECORD, "updates/s").splitlines()
    assert header == "| updates/s | offrl | plain | offrl / plain | products alone | share of it |"
    assert iql == "| iql | 5 (10) | 2.5 (2.5) | 2.00 (2.00) | 10 (20) | 50% |"
    assert dqn == "| dqn | 1,000 (1,000) | - | - | - | - |"


def test_a_compiled_update_is_compared_with_the_others() -> None:
    rows = {"iql": RECORD["rows"]["iql"] | {"offrl, compiled": side((0.05, 0.01), (0.1, 0.05), (0.2, 0.1))}}
    header, _, iql = comparison.markdown({"rows": rows}, "updates/s").splitlines()
    assert header.startswith("| updates/s | offrl | plain | offrl, compiled | offrl / plain | products alone |")
    assert iql.endswith("| 2.00 (2.00), compiled 4.00 | 10 (20) | 50%, compiled 100% |")


def test_a_record_grows_by_the_seeds_that_it_lacks(tmp_path: Path) -> None:
    trained: list[int] = []

    def train(seed: int) -> dict[str, Any]:
        trained.append(seed)
        return {"seed": seed, "curve": [[1, 2.0]]}

    out = tmp_path / "record.json"
    fill(out, {"algo": "SAC", "starts": (1, 2)}, [0, 1], train)
    fill(out, {"algo": "SAC", "starts": (1, 2)}, [1, 2], train)
    assert trained == [0, 1, 2]
    assert [run["seed"] for run in json.loads(out.read_text())["runs"]] == [0, 1, 2]
    fill(out, {"algo": "SAC", "starts": (3, 4)}, [2], train)
    assert [run["seed"] for run in json.loads(out.read_text())["runs"]] == [2]


def test_the_page_has_a_place_for_every_table() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    for name in page.TABLES:
        made = page.filled(text, name, RECORD) if "updates_" in name and "stacked" not in name else text
        assert text.count(f"<!-- {name} -->") == 1
        assert made.count("<!-- end -->") == len(page.TABLES)
    once = page.filled(text, "updates_1_threads", RECORD)
    assert "| iql | 5 (10) |" in once
    assert "2 cores of Some Processor" in once
    assert page.filled(once, "updates_1_threads", RECORD) == once


@pytest.mark.parametrize("name", page.TABLES)
def test_every_record_that_is_kept_can_be_shown(name: str) -> None:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        pytest.skip("not measured")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert page.TABLES[name](record).count("\n") >= 2
    assert page.about(record)


def test_operations_of_an_update() -> None:
    """Cloning with two hidden layers: a product a layer forward, and backward one for its weights and, but for the
    first, one for its inputs.
    """
    sizes, rows = (11, 256, 256, 3), 256
    network = nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(sizes)))
    with products.Watch() as watch:
        for _ in range(products.EVERY):
            network(torch.randn(rows, sizes[0])).square().mean().backward()
    layers = [inputs * outputs for inputs, outputs in pairwise(sizes)]
    assert products.operations(watch.seen) == 2 * rows * (3 * sum(layers) - layers[0])
    assert products.replay(watch.seen)() == products.EVERY


def test_everyone_is_asked_for_what_they_have(tmp_path: Path) -> None:
    """Every algorithm of every row is known where it is sent."""
    from benchmarks.peers.plain_updates import AGENTS

    in_jax = (ROOT / "benchmarks" / "peers" / "jax_updates.py").read_text()  # which only its own Python can import
    peers = {"jax": tmp_path, "d3rlpy": tmp_path}
    for name, row in updates.ROWS.items():
        asked = {contender.name for contender in updates.contenders(name, 1, peers)}
        assert asked >= {"offrl", "d3rlpy", "products"}
        assert ("plain PyTorch" in asked) == row.plain == (name in AGENTS)
        assert ("JAX" in asked) == row.jax == (f'"{name}": (' in in_jax)
    assert set(start_up.PEERS) == {"torch", "sb3", "d3rlpy"}
    assert {table[0] for table in run.TABLES} >= {name for name in page.TABLES if "updates_" not in name}
    assert set(stacked.OFFLINE) <= set(stacked.TASKS)


def test_what_a_gpu_reaches() -> None:
    """Two aims for what JAX does too; two for the stack, whose rate is that of what one length has beyond another."""
    fast, slow = side((1e-4, 1e-4)), side((2e-3, 2e-3))
    content = {
        "device": "Some GPU",
        "runs": 32,
        "length": 20_000,
        "singles": {"IQL": {"offrl": fast, "JAX": fast}, "TD3, HalfCheetah": {"offrl": slow}},
        "stack": {"1": [35.0, 40.0], "32": [65.0, 81.0]},  # 8,000 updates a second, and 2,500 of all 32 runs
    }
    reached = {what: (measured, met) for what, _, measured, met in gpu.verdicts(content)}
    assert reached == {
        "IQL": ("10,000", True),
        "IQL beside JAX": ("1.00", True),
        "TD3, HalfCheetah": ("500", False),
        "IQL, 32 runs as one": ("80,000", True),
        "IQL, 32 runs for one": ("3.20", False),
    }
    assert gpu.markdown(content).startswith("| Some GPU | aimed at | measured | reached |")
