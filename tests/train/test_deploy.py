"""An exported policy acts as the policy did, in the environment's own numbers, without this program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from offrl.build import build
from offrl.data.spaces import layout
from offrl.envs.spaces import action_codec
from offrl.errors import UserError
from offrl.jobs import dataset, export, train
from offrl.nn.networks import Normalize
from offrl.train import deploy
from offrl.types import ActionSpec, ObsSpec, Spec, remembers
from tests.algos.zoo import PAIRS, SPECS, made, node
from tests.conftest import Compose
from tests.train.kit import RUNS, config, run

TELLING = [  # a value's argmax, ties of several actions, schedules, drawn actions, a search, features, squashing
    ("bc", "multi_discrete"), ("dqn", "discrete"), ("sac", "continuous"), ("qt_opt", "continuous"),
    ("bcq", "continuous"), ("lspi", "discrete"), ("ppo", "continuous"),
]  # fmt: skip
DRAWN = {"bcq", "crr", "crr_indicator", "qt_opt"}  # act by numbers that they draw, where actions are continuous


def exported(name: str, kind: Any, form: str, folder: Path) -> float | None:
    """The difference between the file and the policy."""
    policy = deploy.Deployed(made(name, kind), SPECS[kind], stochastic=False)
    act = deploy.write(policy, SPECS[kind], folder / f"policy{deploy.SUFFIXES[form]}", form)
    return deploy.difference(act, policy, SPECS[kind])


@pytest.mark.parametrize("form", deploy.SUFFIXES)
@pytest.mark.parametrize(("name", "kind"), TELLING)
def test_file_acts_as_the_policy(name: str, kind: Any, form: str, tmp_path: Path) -> None:
    away = exported(name, kind, form, tmp_path)
    drawn = name in DRAWN and kind == "continuous"
    assert away is None if drawn else away is not None and away < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("form", deploy.SUFFIXES)
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_every_policy_can_be_exported(name: str, kind: Any, form: str, tmp_path: Path) -> None:
    algo = made(name, kind)
    if not algo.is_policy or remembers(algo):
        with pytest.raises(UserError):
            deploy.check_exportable(algo)
        return
    away = exported(name, kind, form, tmp_path)
    drawn = name in DRAWN and kind == "continuous"
    assert away is None if drawn else away is not None and away < 1e-5


@pytest.mark.parametrize(
    ("obs", "network"),
    [(ObsSpec((3, 36, 36), "uint8"), "cnn_small"), (ObsSpec((4, 5), history=4), "recurrent")],
)
def test_pictures_and_histories(obs: ObsSpec, network: str, tmp_path: Path) -> None:
    spec = Spec(obs, SPECS["discrete"].action)
    algo = build(node("bc", f"network={network}"), "algo")
    algo.build(spec)
    policy = deploy.Deployed(algo, spec, stochastic=False)
    act = deploy.write(policy, spec, tmp_path / "policy.pt2", "torch")
    assert deploy.difference(act, policy, spec) == 0.0


def test_actions_are_the_environment_s() -> None:
    space = gym.spaces.Box(np.array([-3.0, 0.0, -np.inf], np.float32), np.array([1.0, 5.0, np.inf], np.float32))
    spec = action_codec(space).spec
    algo = made("bc", "continuous")
    algo.build(Spec(ObsSpec((4,)), spec))
    obs = deploy.example(algo, Spec(ObsSpec((4,)), spec), 200)
    algo.act = lambda obs: 2.0 * obs[:, :3]  # far beyond the bounds
    found = deploy.Deployed(algo, Spec(ObsSpec((4,)), spec), stochastic=False)(obs).numpy()
    np.testing.assert_allclose(found, action_codec(space).decode((2.0 * obs[:, :3]).numpy()), rtol=1e-6)


def test_a_stochastic_policy_draws(tmp_path: Path) -> None:
    spec = SPECS["continuous"]
    policy = deploy.Deployed(made("sac", "continuous"), spec, stochastic=True)
    act = deploy.write(policy, spec, tmp_path / "policy.onnx", "onnx")
    assert deploy.difference(act, policy, spec) is None
    obs = deploy.example(policy, spec, 1).expand(2000, -1).numpy()
    with torch.no_grad():
        own = policy(torch.from_numpy(obs)).numpy()
    np.testing.assert_allclose(act(obs).mean(0), own.mean(0), atol=0.1)
    np.testing.assert_allclose(act(obs).std(0), own.std(0), rtol=0.15)


def test_a_run_is_exported_and_plays_without_us(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnxruntime

    home = tmp_path / "run"
    run(home, config(*RUNS["replay"]))
    export.run({"run": str(home), "checkpoint": "last", "format": "onnx", "stochastic": False, "to": None}, tmp_path)
    said, file = capsys.readouterr().out, home / "export" / "policy.onnx"
    assert str(file) in said
    assert "onnxruntime" in said
    card = json.loads(file.with_suffix(".json").read_text())
    assert card["takes"]["shape"] == ["N", 3]
    assert [part["numbers"] for part in card["takes"]["parts"]] == [3]
    assert (card["gives"]["low"], card["gives"]["high"]) == ([-2.0], [2.0])
    assert card["difference"] < 1e-5
    session = onnxruntime.InferenceSession(str(file))
    env = gym.make("Pendulum-v1")
    obs, _ = env.reset(seed=0)
    for _ in range(5):
        obs, *_ = env.step(np.asarray(session.run(None, {"obs": obs[None].astype(np.float32)})[0])[0])


def test_what_cannot_be_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="remembers"):
        deploy.check_exportable(made("decision_transformer", "discrete"))
    with pytest.raises(UserError, match="no policy"):
        deploy.check_exportable(made("lstd", "discrete"))
    home = tmp_path / "run"
    run(home, config(*RUNS["replay"]))
    asked = {"run": str(home), "checkpoint": "last", "format": "torch", "stochastic": False, "to": None}
    with pytest.raises(UserError, match="format=onyx"):
        export.run(asked | {"format": "onyx"}, tmp_path)
    with pytest.raises(UserError, match="run=RUN_DIR"):
        export.run(asked | {"run": None}, tmp_path)
    monkeypatch.setattr(export, "difference", lambda *_: 0.5)
    with pytest.raises(UserError, match=r"differ .* by 0\.5"):
        export.run(asked, tmp_path)
    assert not list((home / "export").iterdir())
    earlier = home / "export" / "policy.pt2"
    earlier.write_bytes(b"good")
    with pytest.raises(UserError, match=r"differ .* by 0\.5"):
        export.run(asked, tmp_path)
    assert earlier.read_bytes() == b"good"


def described(home: Path) -> dict[str, Any]:
    """What the card of an exported run says of the observations."""
    export.run({"run": str(home), "checkpoint": "last", "format": "torch", "stochastic": False, "to": None}, home)
    return json.loads((home / "export" / "policy.json").read_text())["takes"]


def test_a_card_says_what_an_observation_is_made_of(
    tmp_path: Path, compose: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    rows = [f"{x:.3f},{y:.3f},{i % 2},{x:.3f},1" for i, (x, y) in enumerate(generator.random((40, 2)))]
    (tmp_path / "log.csv").write_text("\n".join(["price,age,action,reward,done", *rows]) + "\n")
    columns: dict[str, Any] = {
        f"{place}/{key}": generator.random((40, numbers))
        for place in ("observations", "next_observations")
        for key, numbers in (("b", 2), ("a", 3))
    }
    columns |= {"actions": np.arange(40) % 2, "rewards": np.ones(40), "terminals": np.ones(40, np.bool_)}
    np.savez(tmp_path / "log.npz", **columns)
    table = ("dataset=file", f"dataset.path={tmp_path}/log.csv", "dataset.obs=[price,age]")
    dataset.run(compose("job=dataset", "action=import", *table, "to=card/log-v0"), tmp_path)
    logs = {
        "table": table,
        "imported": ("dataset=minari", "dataset.id=card/log-v0"),
        "keyed": ("dataset=file", f"dataset.path={tmp_path}/log.npz"),
    }
    found: dict[str, dict[str, Any]] = {}
    for name, words in logs.items():
        quick = ("logger=none", "evaluation=none", "network.hidden=[4]", "trainer.updates=5")
        train.run(compose("algo=bc", *words, *quick), tmp_path / name)
        found[name] = described(tmp_path / name)
    assert found["table"]["columns"] == found["imported"]["columns"] == ["price", "age"]
    assert [part["numbers"] for part in found["table"]["parts"]] == [2]
    keys = [(part["key"], part["numbers"]) for part in found["keyed"]["parts"]]
    assert sorted(keys) == [("a", 3), ("b", 2)]
    assert found["keyed"]["columns"] == [f"observations/{key}" for key, _ in keys]
    (tmp_path / "log.npz").unlink()
    capsys.readouterr()
    assert "parts" not in described(tmp_path / "keyed")
    assert "is not described" in capsys.readouterr().out


def test_the_parts_of_spaces() -> None:
    space = gym.spaces.Dict(
        {
            "place": gym.spaces.Discrete(4, start=1),
            "pose": gym.spaces.Box(-1.0, 1.0, (2, 3)),
            "tools": gym.spaces.MultiDiscrete([2, 3]),
        }
    )
    assert [(part["key"], part["numbers"]) for part in layout(space)] == [("place", 4), ("pose", 6), ("tools", 5)]
    assert layout(space, ["place"])[0]["encoding"].startswith("one-hot: 1 is")
    picture = layout(gym.spaces.Box(0, 255, (64, 48, 3), np.uint8))
    assert picture == [
        {"key": None, "shape": [64, 48, 3], "numbers": 9216, "encoding": "a picture with its channels first"}
    ]


@pytest.mark.parametrize("form", deploy.SUFFIXES)
def test_differences_are_shares_of_the_bounds(form: str, tmp_path: Path) -> None:
    """Rounding of actions of up to 50,000 is no mistake."""
    spec = Spec(ObsSpec((4,)), ActionSpec("continuous", (1,), low=(0.0,), high=(50_000.0,)))
    algo = build(node("bc", "policy=deterministic"), "algo")
    algo.build(spec)
    policy = deploy.Deployed(algo, spec, stochastic=False)
    act = deploy.write(policy, spec, tmp_path / "policy", form)
    away = deploy.difference(act, policy, spec)
    assert away is not None
    assert away < 1e-6
    shifted = deploy.difference(lambda obs: act(obs) + 25.0, policy, spec)
    assert shifted == pytest.approx(1e-3, rel=1e-2)


def test_made_up_observations_are_such_as_were_seen() -> None:
    spec = Spec(ObsSpec((4,)), SPECS["discrete"].action)
    algo = build(node("bc", "network.normalize_obs=true"), "algo")
    algo.build(spec)
    for part in algo.modules():
        if isinstance(part, Normalize):
            part.set(torch.full((4,), 1e5), torch.full((4,), 10.0))
    obs = deploy.example(algo, spec, 500)
    assert obs.mean().item() == pytest.approx(1e5, abs=2.0)
    assert obs.std().item() == pytest.approx(10.0, rel=0.1)


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"onnxscript: pip install 'offrl\[export\]'"):
        exported("bc", "discrete", "onnx", tmp_path)
    assert not list(tmp_path.iterdir())


def test_discrete_bounds_are_not_asked_for() -> None:
    policy = deploy.Deployed(made("dqn", "discrete"), Spec(ObsSpec((4,)), ActionSpec("discrete", (), (3,))), False)
    assert policy(torch.zeros(2, 4)).dtype == torch.int64
