"""Logs that lectures record, measurements that they make, and the map of routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offrl.build import build
from offrl.compare.quantities import quantity
from offrl.compare.routes import Routes
from offrl.compare.runs import load_runs
from offrl.data import steps as recorded
from offrl.errors import UserError
from offrl.jobs import train
from offrl.lectures.horizon import Horizon
from offrl.lectures.regression import Regression
from tests.conftest import Compose

STITCHING = "experiment=lectures/c02_stitching"


def test_trips_start_where_they_should_and_most_arrive(compose: Compose) -> None:
    node = compose(STITCHING)["dataset"]
    steps = build(node, "dataset").read().steps
    world: Any = build(node["env"], "env").make_one().unwrapped
    first = [world.cells[i] for i in steps.obs[recorded.starts(steps)].argmax(1)]
    assert first == [(1, 1)] * 90 + [(7, 1)] * 30
    assert not recorded.discontinuities(steps).size
    returns, arrivals = recorded.returns(steps), steps.terminated[recorded.ends(steps)]
    assert np.array_equal(returns, arrivals)  # D alone is rewarded, and ends an episode
    assert not arrivals[:90].any()
    assert arrivals[90:].mean() > 0.8
    assert recorded.lengths(steps).max() <= 40
    same, other = (build(node | {"seed": seed}, "dataset").read().fingerprint for seed in (node["seed"], 7))
    assert same == recorded.fingerprint(steps) != other


def test_a_trip_from_inside_a_wall_is_refused(compose: Compose) -> None:
    node = compose(STITCHING)["dataset"]
    node["parts"][0]["start"] = [0, 0]
    with pytest.raises(UserError, match=r"\[0, 0\] is no free cell"):
        build(node, "dataset").read()


def test_controllers_give_an_equal_share_with_each_noise(compose: Compose) -> None:
    steps = build(compose("experiment=lectures/c28_better_than_the_data")["dataset"], "dataset").read().steps
    assert len(steps) == 12800
    returns = recorded.returns(steps).reshape(8, -1).mean(1)
    assert returns[0] > -300 > -900 > returns[-1]


def test_routes_of_the_log_and_of_a_policy_are_drawn(compose: Compose, tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    node = compose(STITCHING, "algo=bc", "trainer.updates=2", "network.hidden=[8]")
    train.run(node, tmp_path / "run")
    runs, (left, right) = load_runs([str(tmp_path)]), Figure().subplots(1, 2)
    assert 0.15 < quantity("data/return").values(runs)[0] <= 0.25  # one trip in four is rewarded, where it arrives
    Routes(title="log", log="seed = 0", marks={"A": (1, 1)}).draw(runs, [left])
    Routes(title="cloning", ways={"clone": "seed = 0"}).draw(runs, [right])
    assert len(left.lines) > 2 * 40  # a way, a dot and a square each
    assert [text.get_text() for text in left.texts] == ["A"]
    assert right.get_title() == "cloning"
    with pytest.raises(UserError, match="no run with seed = 3"):
        Routes(title="nobody", log="seed = 3").draw(runs, [left])


def test_weights_have_their_exact_second_moment_and_estimators_agree_without_shift() -> None:
    torch.manual_seed(0)
    (row,) = Horizon(length=4, prefer=0.8, episodes=2000, repetitions=1)()
    assert row["weights/exact"] == pytest.approx(1.36**4)
    assert row["weights/needed"] == pytest.approx(1.36**4, rel=0.1)
    (same,) = Horizon(length=4, prefer=0.5 + 1e-9, episodes=50, repetitions=2)()
    assert same["weights/needed"] == pytest.approx(1.0)
    assert same["error/is"] == pytest.approx(same["error/pdis"], rel=1e-6)


def test_regression_looks_for_the_input_that_it_values_most() -> None:
    torch.manual_seed(0)
    short = Regression(dimensions=2, frequency=2.0, spread=0.3, noise=0.1, samples=200, updates=50, batch_size=32,
                       lr=1e-3, hidden=16, climb=50, interval=50)  # fmt: skip
    (row,) = short()
    assert row["believed/argmax"] - row["true/argmax"] == pytest.approx(row["error/argmax"])
    assert row["distance/argmax"] > row["distance/own"]


def test_the_linear_model_and_lstd_find_the_same_value(compose: Compose) -> None:
    torch.manual_seed(0)
    rows = list(build(compose("experiment=lectures/c06_least_squares")["measure"], "measure")())
    assert rows[-1]["lstd/gap"] < 1e-6
    assert rows[-1]["lstd/error"] < 0.5
    assert rows[-1]["lspi/true"] <= rows[-1]["optimal"] + 1e-9
