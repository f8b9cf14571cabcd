from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offrl.data import steps as episodes
from offrl.data.checks import check, check_matches, refuse_poison
from offrl.data.steps import Recording
from offrl.errors import UserError
from offrl.types import ActionSpec, ObsSpec, Spec, Steps
from tests.data.synthetic import DISCRETE, SPEC, make_steps

BOX = spaces.Box(-np.inf, np.inf, (3,))


def recorded(steps: Steps, action: spaces.Space[Any] | None = None) -> Recording:
    return Recording(steps, BOX, action or spaces.Box(-1, 1, (2,)))


def found(recording: Recording, name: str, out_of_bounds: Any = "refuse") -> tuple[str, str]:
    (finding,) = [one for one in check(recording, out_of_bounds) if one.check == name]
    return finding.severity, finding.message


def test_good_data_pass_every_check() -> None:
    recording = recorded(make_steps([4, 3, 5], [True, False, True]))
    assert {one.severity for one in check(recording, "refuse")} == {"ok"}
    refuse_poison(recording, "refuse")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["obs", "action", "reward", "next_obs"])
def test_what_is_not_finite_is_found_with_its_rows(name: str, value: float) -> None:
    steps = make_steps([4, 3], [True, False])
    getattr(steps, name)[[2, 5]] = value
    severity, message = found(recorded(steps), "finite")
    assert severity == "fail"
    assert f"{name} in 2 rows (rows 2, 5, counted from 0)" in message
    with pytest.raises(UserError, match="spoil training: NaN or infinite"):
        refuse_poison(recorded(steps), "refuse")


def test_opposite_infinities_do_not_hide_each_other() -> None:
    steps = make_steps([4], [True])
    steps.reward[:2] = np.inf, -np.inf
    assert found(recorded(steps), "finite")[0] == "fail"


def test_actions_out_of_bounds_come_with_their_share() -> None:
    steps = make_steps([4], [True])
    steps.action[1] = 2.0
    severity, message = found(recorded(steps), "actions")
    assert severity == "fail"
    assert "25.00%" in message
    assert found(recorded(steps), "actions", "clip")[0] == "warn"
    steps.action[1] = 1.00001
    assert found(recorded(steps), "actions")[0] == "ok", "rounding is no trespass"


def test_discrete_actions_must_be_among_the_choices() -> None:
    steps = make_steps([4], [True], DISCRETE)
    steps.action[3] = 4
    severity, message = found(recorded(steps, spaces.Discrete(4)), "actions")
    assert severity == "fail"
    assert "row 3" in message


@pytest.mark.parametrize(("used", "unused"), [([100234, 102234], "102,233 of 102,235"), ([1, 2, 3], "1 of 4")])
def test_choices_that_never_occur_are_counted(used: list[int], unused: str) -> None:
    steps = make_steps([6], [True], DISCRETE)
    steps.action[:] = np.resize(used, 6)
    severity, message = found(recorded(steps, spaces.Discrete(max(used) + 1)), "actions")
    assert severity == "warn"
    assert f"{unused} choices never occur" in message
    assert "renumber" in message


def test_shapes_that_disagree_are_the_first_thing_said() -> None:
    steps = make_steps([4], [True])
    findings = check(recorded(replace(steps, obs=steps.obs[:, :2])), "refuse")
    assert [one.severity for one in findings] == ["fail"]
    assert "obs has shape [2], not [3]" in findings[0].message
    with pytest.raises(UserError, match="action has 3 rows"):
        refuse_poison(recorded(replace(steps, action=steps.action[:3])), "refuse")


def test_broken_order_is_found_within_episodes_only() -> None:
    steps = make_steps([4, 4], [True, False])
    rows = np.array([0, 2, 1, 3, 4, 5, 6, 7])
    severity, message = found(recorded(replace(steps, obs=steps.obs[rows], next_obs=steps.next_obs[rows])), "order")
    assert severity == "fail"
    assert "rows 1, 2, 3" in message


def test_missing_ends_constant_columns_and_flat_rewards_are_suspicious() -> None:
    steps = make_steps([1200], [True])
    steps.obs[:, 0] = 1
    steps.reward[:] = 0
    recording = recorded(steps)
    assert "ends of episodes" in found(recording, "episodes")[1]
    assert "obs[0]" in found(recording, "constant")[1]
    assert "every reward is 0" in found(recording, "reward")[1]
    assert "one step only" in found(recorded(make_steps([1] * 9 + [3], [True] * 10)), "episodes")[1]


def test_duplicates_are_counted() -> None:
    steps = make_steps([5], [True])
    twice = episodes.concatenate([steps, steps])
    severity, message = found(recorded(twice), "duplicates")
    assert severity == "warn"
    assert message.startswith("5 transitions (50.0%)")


def test_data_and_environment_must_agree() -> None:
    check_matches(SPEC, SPEC)
    with pytest.raises(UserError, match=r"observations are float32 \[3\] in log and float32 \[4\] in hopper.*history"):
        check_matches(SPEC, replace(SPEC, obs=ObsSpec((4,))), "log", "hopper")
    with pytest.raises(UserError, match=r"continuous \[2\] in the dataset and discrete with 4 choices"):
        check_matches(SPEC, DISCRETE)
    wider = Spec(SPEC.obs, ActionSpec("continuous", (2,), low=(-2.0, -2.0), high=(2.0, 2.0)))
    with pytest.raises(UserError, match=r"\[-2\.0, -2\.0\]"):
        check_matches(SPEC, wider)
