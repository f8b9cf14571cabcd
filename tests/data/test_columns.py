from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offrl.data.columns import columns, history_index
from offrl.errors import UserError
from offrl.types import Spec
from tests.data.synthetic import DISCRETE, SPEC, loop_columns, make_steps

episodes = st.lists(st.tuples(st.integers(1, 7), st.booleans()), min_size=1, max_size=6)


@given(episodes, st.integers(1, 4), st.sampled_from([0.0, 0.9, 1.0]))
def test_columns_equal_the_plain_loop(shape: list[tuple[int, bool]], n_step: int, discount: float) -> None:
    steps = make_steps([n for n, _ in shape], [end for _, end in shape])
    made = columns(steps, ("return_to_go", "timestep"), discount, n_step)
    plain = loop_columns(steps, discount, n_step)
    np.testing.assert_allclose(made.reward, plain["reward"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.discount, plain["discount"], rtol=1e-6)
    np.testing.assert_array_equal(made.last, plain["last"])
    np.testing.assert_allclose(made.extra["return_to_go"], plain["return_to_go"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(made.extra["timestep"], plain["timestep"])


@given(episodes, st.integers(1, 3), st.sampled_from([SPEC, DISCRETE]))
def test_next_action_is_the_logged_one_wherever_the_target_uses_it(
    shape: list[tuple[int, bool]], n_step: int, spec: Spec
) -> None:
    steps = make_steps([n for n, _ in shape], [end for _, end in shape], spec)
    made = columns(steps, ("next_action",), 0.9, n_step)
    usable = np.ones(len(steps), bool) if made.usable is None else made.usable
    ends = np.cumsum([n for n, _ in shape])
    for row in np.flatnonzero(usable & (made.discount > 0)):
        following = made.last[row] + 1
        assert following not in ends  # the action after the window is of the same episode
        np.testing.assert_array_equal(made.extra["next_action"][row], steps.action[following])
    lost = {end - 1 for end, (_, terminated) in zip(ends, shape, strict=True) if not terminated}
    assert set(np.flatnonzero(~usable)) == lost


def test_a_truncated_episode_bootstraps_from_its_true_end_and_a_terminated_one_does_not() -> None:
    steps = make_steps([3, 3], [True, False])
    made = columns(steps, (), 0.5, 2)
    np.testing.assert_allclose(made.discount, [0.25, 0.0, 0.0, 0.25, 0.25, 0.5])
    np.testing.assert_array_equal(steps.next_obs[made.last[5]], [1, 3, 103])


def test_an_unfinished_last_episode_counts_as_truncated() -> None:
    steps = make_steps([4], [False])
    steps.truncated[:] = False
    np.testing.assert_allclose(columns(steps, (), 0.5, 1).discount, 0.5)


def test_return_to_go_of_one_long_episode_is_exact() -> None:
    steps = make_steps([5000], [True])
    made = columns(steps, ("return_to_go",), 0.99, 1).extra["return_to_go"]
    total = 0.0
    for t in range(4999, -1, -1):
        total = float(steps.reward[t]) + 0.99 * total
        assert made[t] == pytest.approx(total, rel=1e-4, abs=1e-4)


def test_history_stays_within_the_episode() -> None:
    steps = make_steps([3, 2], [True, True])
    timestep = columns(steps, ("timestep",), 1.0, 1).extra["timestep"]
    index = history_index(timestep, np.arange(5), 3)
    np.testing.assert_array_equal(index, [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3], [3, 3, 4]])


def test_a_missing_behaviour_probability_is_said() -> None:
    steps = make_steps([3], [True])
    steps.extra.clear()
    with pytest.raises(UserError, match=r"log-probabilities.*offrl collect"):
        columns(steps, ("log_prob",), 1.0, 1)


def test_an_unknown_column_is_said() -> None:
    with pytest.raises(UserError, match="advantage"):
        columns(make_steps([3], [True]), ("advantage",), 1.0, 1)
