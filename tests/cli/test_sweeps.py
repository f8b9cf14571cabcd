"""Hydra composes a sweep once without what is swept: keys that come with a swept option must be known then."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir

from offrl.cli import overrides
from offrl.paths import config_dir

FOLDERS = [Path(config_dir())]


def test_a_swept_algorithm_brings_its_trainer() -> None:
    words = ["algo=bc,iql", "trainer.updates=7", "-m"]
    assert overrides.from_sweep(words, FOLDERS)
    with initialize_config_dir(str(FOLDERS[0]), version_base="1.3"):
        once = compose(overrides.SWEPT, ["trainer.updates=7"])
        run = compose(overrides.SWEPT, ["trainer.updates=7", "algo=iql"])
    assert once.algo._target_.endswith(".BC")
    assert run.algo._target_.endswith(".IQL")
    assert run.trainer.updates == 7


def test_values_that_are_no_groups_change_nothing() -> None:
    assert not overrides.from_sweep(["algo=bc", "seed=0,1,2", "network.hidden=[64,64]", "-m"], FOLDERS)
