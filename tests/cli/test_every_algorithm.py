"""`offrl train algo=NAME` runs for every name, with the values that ship, on logs of uniform actions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from offrl import launch
from scripts.make_zoo_table import names, target

pytestmark = pytest.mark.slow

LIMIT = 100  # steps of whatever the trainer counts; the online ones learn in the second half of it
PLACES = {
    **dict.fromkeys(("tabular_q", "in_sample_q", "value_iteration"), "gridworld"),  # states that have numbers
    "emrl": "cartpole",  # rewards that are not negative
    "proportional_q": "deadly_triad",  # actions that are numbers to multiply with
}
SHORT = (f"limit={LIMIT}", "evaluation.episodes=1", "evaluation.num_envs=1", "logger=none")


def offrl(home: Path, *words: str) -> None:
    """The command in this process, which spares seventy imports of torch; anything but success is an error."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setattr("sys.argv", ["offrl", *words])
        for name in ("HYDRA_FULL_ERROR", "OFFRL_DEBUG"):  # which the command sets
            patch.setenv(name, "0")
        with pytest.raises(SystemExit) as ended:
            launch.main()
    torch.set_num_threads(threads)
    assert ended.value.code == 0


@pytest.fixture(scope="session")
def log_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """From an environment to the name of a log of uniform actions in it, recorded once."""

    @cache
    def recorded(env: str) -> str:
        name = f"every/{env.replace('_', '-')}-v0"
        offrl(tmp_path_factory.mktemp("home"), "collect", f"env={env}", "actor=random", "steps=2000", f"to={name}")
        return name

    return recorded


def place(name: str) -> str:
    """The environment to try it on."""
    return PLACES.get(name) or ("pendulum" if "continuous" in target(name).action_kinds else "cartpole")


@pytest.mark.parametrize("name", names("algo"))
def test_trains(name: str, log_of: Callable[[str], str], tmp_path: Path) -> None:
    env = place(name)
    dataset = () if name == "value_iteration" else (f"dataset={log_of(env)}",)
    offrl(tmp_path, "train", f"algo={name}", f"env={env}", *dataset, *SHORT, "hydra.run.dir=run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert (tmp_path / "run" / "policy.pt").exists()
    if target(name).is_policy:
        assert math.isfinite(record["results"]["last"]["return"])
