from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offrl.build import build
from offrl.data import minari
from offrl.data import steps as episodes
from offrl.errors import UserError
from offrl.types import Steps
from tests.data.synthetic import make_steps
from tests.data.test_minari import ACTION, BOX, ID

PLAIN: dict[str, Any] = {
    "_target_": "offrl.data.recipes.MinariData",
    "id": ID,
    "download": False,
    "obs_keys": None,
    "history": 0,
    "memory": "device",
    "max_transitions": None,
    "subset_seed": 0,
    "best_fraction": 1.0,
    "normalize_reward": "none",
    "reward_scale": 1.0,
    "reward_shift": 0.0,
    "out_of_bounds": "refuse",
    "timeouts_at": None,
}


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    steps = make_steps([4, 3, 5, 2], [True, False, True, True])
    minari.write(ID, steps, observation_space=BOX, action_space=ACTION)
    return steps


def load(**settings: Any) -> Any:
    return build(PLAIN | settings, "dataset").load(("return_to_go",), 0.9, 2, "cpu")


def test_a_recipe_loads_a_dataset(steps: Steps) -> None:
    dataset = load(history=3)
    batch = dataset.sample(5)
    assert batch.obs.shape == (5, 3, 3)
    assert dataset.spec.obs.history == 3
    np.testing.assert_allclose(dataset.returns, episodes.returns(steps))
    assert load().fingerprint != load(reward_scale=2.0).fingerprint
    assert load().fingerprint == load(memory="mmap").fingerprint


def test_memory_mapped_sampling_equals_in_memory_sampling(steps: Steps) -> None:
    one, other = load(), load(memory="mmap")
    torch.manual_seed(0)
    first = one.sample(64)
    torch.manual_seed(0)
    second = other.sample(64)
    assert torch.equal(first.reward.sort().values, second.reward.sort().values)


def test_the_best_episodes_are_kept(steps: Steps) -> None:
    returns = episodes.returns(steps)
    dataset = load(best_fraction=0.5)
    assert sorted(dataset.returns) == pytest.approx(sorted(returns)[-2:])
    with pytest.raises(UserError, match=r"best_fraction=0\.0"):
        load(best_fraction=0.0)


def test_a_subset_has_whole_episodes(steps: Steps) -> None:
    dataset = load(max_transitions=8)
    assert 0 < len(dataset) <= 8
    assert set(episodes.lengths(dataset.steps)) <= {2, 3, 4, 5}
    with pytest.raises(UserError, match="less than one episode"):
        load(max_transitions=1)


def test_rewards_are_normalised_and_returns_stay_as_they_were(steps: Steps) -> None:
    returns = episodes.returns(steps)
    dataset = load(normalize_reward="return_range")
    scaled = episodes.returns(dataset.steps)
    assert scaled.max() - scaled.min() == pytest.approx(1000.0, rel=1e-4)
    np.testing.assert_allclose(dataset.returns, returns)
    np.testing.assert_allclose(load(reward_scale=2.0, reward_shift=-1.0).steps.reward, steps.reward * 2 - 1, rtol=1e-5)
    scale, shift = load(normalize_reward="return_range", reward_shift=-1.0).reward_map
    np.testing.assert_allclose(steps.reward * scale + shift, dataset.steps.reward - 1.0, rtol=1e-5)


@pytest.mark.parametrize("name", ["hopper/medium-replay", "cartpole/random", "pointmaze/umaze"])
def test_a_named_dataset_brings_its_environment(compose: Any, name: str) -> None:
    config = compose("algo=bc", f"dataset={name}")
    assert build(config["dataset"], "dataset").name == f"{name}-v0"
    assert config["env"]["name"] == {"pointmaze/umaze": "pointmaze_umaze"}.get(name, name.partition("/")[0])
    assert compose("algo=bc", f"dataset={name}", "env=walker2d")["env"]["name"] == "walker2d"


def test_ids_of_named_datasets_are_their_names() -> None:
    folder = Path(__file__).parents[2] / "configs" / "dataset"
    named = {str(path.relative_to(folder).with_suffix("")): path.read_text() for path in folder.glob("*/*.yaml")}
    assert len(named) == 28
    assert all(f"\n  id: {name}-v0\n" in text for name, text in named.items())
