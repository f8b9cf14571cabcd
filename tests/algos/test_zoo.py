"""What must hold for every algorithm, whatever it is."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from offrl.algos.base import Algorithm
from offrl.errors import UserError
from offrl.train.updater import as_one_graph
from offrl.types import ActionKind, Batch, Metrics
from scripts.make_zoo_table import target
from tests.algos.zoo import NAMES, OBS, ONE_OF_EACH, PAIRS, SPECS, a_batch, kinds, made, node, small, work

RECIPES = {
    "network",
    "policy",
    "features",
}  # knobs that are themselves configs: their own knobs are tested with the networks

# Values at which a knob shows in a few updates, where halving it or adding one would not.
TELLING: dict[str, object] = {
    "initial": 3.0,
    "ridge": 1.0,
    "boltzmann_temperature": 1.0,
    "bootstrap": 0.5,
    "error_clip": 0.1,
    "target_policy_rate": 0.5,
    "lag": 2,
    "max_weight": 0.01,
    "target_period": 2,
    "threshold": 1.0,
    "value_min": -10.0,
    "decay_updates": 6,
    "target_noise_clip": 0.1,
    "max_grad_norm": 0.1,
    "huber_threshold": 0.05,
    "clip": 0.001,
    "backtracks": 0,
    "baseline": "value",
    "kl_adaptation": 2.0,
    "kl_weight": 1.0,
    "weighting": "step",
    "entropy_weight": 0.1,
    "policy_delay": 3,
    "epsilon_end": 0.8,
    "epsilon_steps": 3,
    "epsilon_start": 0.5,
    "entropy_backup": 0.5,
    "target_noise": 0.3,
    "target_return": 2.0,
    "timesteps": 1,
    "temperature_lr": 0.01,
}
OTHER_WORDS = {"baseline": "none", "weighting": "trajectory"}  # where the telling one is the config's own

# Other knobs under which it shows: a falling ε, and a moving network that disagrees with the lagged one.
FALLING: dict[str, object] = {"epsilon_start": 1.0, "epsilon_end": 0.0, "epsilon_steps": 100}
TOO_FAR: dict[str, object] = {"radius": 5.0, "backtracks": 10}
PENALISED: dict[str, object] = {"kl_weight": 1.0, "kl_adaptation": 2.0}
AROUND: dict[str, dict[str, object]] = {
    "backtracks": TOO_FAR,
    "discount": {"huber_threshold": math.inf},  # a linear loss tells only the sign of an error
    "double_q": {"lr": 0.3, "threshold": 0.0},
    "entropy_backup": {"entropy_weight": 1.0},
    "epsilon_end": FALLING,
    "epsilon_start": FALLING,
    "epsilon_steps": FALLING,
    "kl_adaptation": PENALISED,
    "kl_target": PENALISED,
    "shrink": TOO_FAR,
    "target_entropy": {"temperature_lr": 0.01, "policy_delay": 1},
    "target_noise": {"target_noise_clip": 1.0},
    "target_noise_clip": {"target_noise": 0.3},
    "target_policy_rate": {"target_period": 1},
    "target_rate": {"target_period": 1},
    "trace": {"n_step": 0},  # of one error none is discounted
    "value_lr": {"baseline": "value"},
}


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_builds_learns_and_acts(name: str, kind: ActionKind) -> None:
    """Finite parameters after work, actions of the right shape and range."""
    algo = made(name, kind)
    work(algo, kind)
    assert all(value.isfinite().all() for value in algo.state_dict().values())
    obs = torch.randn(5, OBS)
    action = SPECS[kind].action
    if not algo.is_policy:
        for refused in (algo.act, lambda obs: algo.explore(obs, 0)):
            with pytest.raises(UserError, match="no policy"):
                refused(obs)
        return
    for chosen in (algo.act(obs), algo.explore(obs, 0)):
        assert chosen.shape == (5, *action.shape)
        assert not chosen.requires_grad
        if kind == "continuous":
            assert chosen.dtype == torch.float32
        else:
            assert chosen.dtype == torch.int64
            assert (chosen >= 0).all()
            assert (chosen < torch.tensor(action.choices)).all()
    if kind == "continuous":
        assert algo.act(obs).abs().max() <= 1.0


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_metrics_are_finite_numbers_on_the_device(name: str, kind: ActionKind) -> None:
    """Named part/quantity, 0-d and detached: whoever sums them must not meet a graph."""
    algo = made(name, kind)
    if not hasattr(algo, "prepare"):
        metrics = algo.update(a_batch(algo, kind))
        assert metrics
        for key, value in metrics.items():
            assert key.count("/") == 1
            assert value.shape == ()
            assert value.isfinite()
            assert not value.requires_grad


@pytest.mark.parametrize("name", NAMES)
def test_yaml_is_the_schema(name: str) -> None:
    """Every field is given in the YAML, and nothing else is."""
    fields = {field.name for field in dataclasses.fields(small(name))}
    assert fields == set(node(name)) - {"_target_"}


def digest(name: str, kind: ActionKind, **knobs: object) -> list[torch.Tensor]:
    """All that a knob could change: the state after work, and what is done then, early and late."""
    algo = made(name, kind, **knobs)
    torch.manual_seed(1)
    work(algo, kind, updates=6, reward_scale=30.0)
    torch.manual_seed(2)
    obs = torch.randn(64, OBS)
    taken = [algo.explore(obs, step).float() for step in (0, 2, 100_000) if algo.is_policy]
    taken += [algo.act(obs).float()] if algo.is_policy else []
    return [*(value.float() for value in algo.state_dict().values()), *taken]


def knobs_of(name: str) -> list[str]:
    """The algorithm's own scalar knobs."""
    fields = dataclasses.fields(target(name))
    return [field.name for field in fields if field.name not in RECIPES]


@pytest.mark.parametrize(("name", "knob"), [(name, knob) for name in NAMES for knob in knobs_of(name)])
def test_every_knob_is_live(name: str, knob: str) -> None:
    """Turning a knob changes what is learned or done."""
    kind = kinds(name)[0]
    value: Any = getattr(small(name), knob)
    turned: Any = TELLING.get(knob)
    if turned == value and isinstance(value, str):
        turned = OTHER_WORDS[knob]
    elif turned is None or turned == value:
        turned = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else 0.5 * value or 0.5
    base = {key: around for key, around in AROUND.get(knob, {}).items() if key in node(name) and key != knob}
    before, after = digest(name, kind, **base), digest(name, kind, **base | {knob: turned})
    same = len(before) == len(after) and all(
        x.shape == y.shape and torch.equal(x, y) for x, y in zip(before, after, strict=False)
    )
    assert not same, f"algo.{knob}: {value} -> {turned} changes nothing"


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_saved_and_loaded_is_the_same(name: str, kind: ActionKind) -> None:
    """A fresh object with the loaded state goes on bit for bit, from an odd number of updates."""
    algo = made(name, kind)
    work(algo, kind, updates=3)
    state = copy.deepcopy(algo.state_dict())
    fresh = made(name, kind)
    fresh.load_state_dict(state)
    for each in (algo, fresh):
        torch.manual_seed(3)
        work(each, kind, updates=3)
    for key, value in algo.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[key]), key


FEW, MANY = 10, 1000  # updates

# A wrong term, or another random number, is off by the learning rate after one update. Rounding starts at the last
# digit, and many updates amplify it: a ReLU or a maximum changes its branch, Adam divides by the root of what is tiny.
# So doubles are held to the same tolerance all along, and floats to one that grows (CQL comes within 0.011).
IN_DOUBLES, IN_FLOATS = (1e-9, 1e-9), (1e-4, 5e-2)
# Natural steps multiply a difference all along: 1e-16 after one, 1e-9 after 10, 1e-6 after 120 (NPG; TRPO 2e-7 after
# 40), and after 1,000 two runs have nothing in common. So only the first are compared.
CHAOTIC: dict[str, tuple[float, float]] = dict.fromkeys(("npg", "trpo"), (1e-7, math.inf))
# Solving a linear system multiplies the rounding of what it holds by its condition: sums taken in another order move
# the weights by up to 6e-9.
SOLVED = dict.fromkeys(("least_squares_model", "lspi", "lstd", "lstdq"), (1e-7, 1e-7))


def worked(algo: Algorithm, kind: ActionKind, update: Callable[[Batch], Metrics]) -> list[dict[str, Any]]:
    """The state after few and after many updates by `update`, on what is the same for all."""
    states: list[dict[str, Any]] = []
    count = 0

    def counted(batch: Batch) -> Metrics:
        nonlocal count
        count += 1
        metrics = update(batch)
        if count in (FEW, MANY):
            states.append(copy.deepcopy(algo.state_dict()))
        return metrics

    cast(Any, algo).update = counted
    torch.manual_seed(4)
    while count < MANY:
        work(algo, kind, updates=MANY)
    return states


def assert_compiling_changes_nothing(
    name: str, kind: ActionKind, backend: str, tolerances: tuple[float, float]
) -> None:
    """The same work done as written, and with `update` compiled as one graph."""
    torch._dynamo.reset()
    plain, traced = made(name, kind), made(name, kind)
    both = worked(plain, kind, plain.update), worked(traced, kind, as_one_graph(traced.update, backend=backend))
    for expected, state, tolerance in zip(*both, tolerances, strict=True):
        for key, value in expected.items():
            assert value.isfinite().all(), key
            torch.testing.assert_close(
                state[key], value, rtol=tolerance, atol=tolerance, msg=lambda text, key=key: f"{key}: {text}"
            )


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_compiled_equals_eager(name: str) -> None:
    """The whole update captured as one graph, and this run operation by operation; variants by YAML are left out."""
    assert_compiling_changes_nothing(name, kinds(name)[0], "eager", CHAOTIC.get(name, IN_DOUBLES))


@pytest.fixture
def tolerances(name: str, request: pytest.FixtureRequest) -> tuple[float, float]:
    """In double precision, except where a 0-d tensor moves (a temperature, a falling learning rate): torch's
    decompositions take one of doubles for a Python number (as of 2.13), and lose what is written into it."""
    algo = made(name, kinds(name)[0])
    single = [key for key, value in algo.state_dict().items() if value.dim() == 0 and value.is_floating_point()]
    if getattr(algo, "anneal_lr", False) or not all(key.endswith((".lr", ".step")) for key in single):
        return IN_FLOATS
    request.getfixturevalue("double_precision")
    return (CHAOTIC | SOLVED).get(name, IN_DOUBLES)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_compiled_equals_eager_for_all(name: str, kind: ActionKind, tolerances: tuple[float, float]) -> None:
    """The same for the whole zoo, through torch's decompositions and functionalisation."""
    assert_compiling_changes_nothing(name, kind, "aot_eager", tolerances)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_inductor_equals_eager(name: str, tolerances: tuple[float, float]) -> None:
    """The same through the compiler that users get."""
    assert_compiling_changes_nothing(name, kinds(name)[0], "inductor", tolerances)


@pytest.mark.parametrize(
    ("name", "knobs", "word"),
    [
        ("iql", {"expectile": 1.0}, "expectile"),
        ("sac", {"initial_temperature": 0.0}, "temperature"),
        ("bcq_discrete", {"threshold": 1.5}, "threshold"),
        ("c51", {"atoms": 1}, "atoms"),
        ("c51", {"value_max": -1.0}, "value_min"),
        ("dqn", {"boltzmann_temperature": -1.0}, "boltzmann_temperature"),
        ("dqn", {"epsilon_end": 2.0}, "epsilon"),
        ("dqn", {"huber_threshold": 0.0}, "huber_threshold"),
        ("qr_dqn", {"quantiles": 0}, "quantiles"),
        ("qt_opt", {"elites": 65}, "elites"),
        ("td3", {"policy_delay": 0}, "policy_delay"),
        ("ppo", {"clip": 0.0}, "clip"),
        ("ppo", {"kl_adaptation": 2.0}, "kl_weight, and that is 0"),
        ("iql", {"discount": 1.5}, "discount"),
        ("bc", {"batch_size": 0}, "batch_size"),
        ("lspi", {"ridge": -1.0}, "ridge"),
        ("tabular_q", {"sweeps": 0}, "sweeps"),
    ],
)
def test_senseless_knobs_are_refused(name: str, knobs: dict[str, object], word: str) -> None:
    """The message names the knob."""
    with pytest.raises(UserError, match=word):
        small(name, **knobs)
