"""Weights & Biases without an account and without a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from offrl.log.logger import Label, NoLogger, sweep_group
from offrl.log.wandb import Wandb

LABEL = Label("iql-s0", group="sweep", tags=("a", "b"))


def recipe(mode: str) -> Wandb:
    return Wandb(mode=mode, project="test", entity=None, timeout=3.0)  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


def test_disabled_keeps_nothing(tmp_path: Path) -> None:
    assert isinstance(recipe("disabled").open(tmp_path, {}, LABEL), NoLogger)


def test_runs_of_a_sweep_that_differ_in_their_seeds_alone_are_one_group() -> None:
    sweep = Path("sweeps") / "2026-01-01"
    names = ["0_algo-dqn_seed-0_trainer.n_step-1", "1_algo-dqn_seed-11_trainer.n_step-1"]
    assert {sweep_group(sweep / name) for name in names} == {"2026-01-01 algo-dqn_trainer.n_step-1"}
    assert sweep_group(sweep / "2_algo.reseed-3_seed-4") == "2026-01-01 algo.reseed-3"
    assert sweep_group(sweep / "0_seed-0") == sweep_group(sweep / "1_seed-1") == "2026-01-01"


@pytest.mark.filterwarnings("ignore")
def test_runs_that_are_open_at_once_are_kept_apart(tmp_path: Path) -> None:
    """As are those of a sweep that train as one."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    loggers = [recipe("offline").open(folder, {}, LABEL) for folder in folders]
    for number, logger in enumerate(loggers):
        logger.log({"step": 1, "critic/loss": float(number)})
    for folder, logger in zip(folders, loggers, strict=True):
        logger.close({"last/return": 3.0}, failed=False)
        assert len(list(folder.glob(f"wandb/offline-run-*-{logger.id}"))) == 1
    assert loggers[0].id != loggers[1].id


@pytest.mark.filterwarnings("ignore")
def test_offline_run_and_resume_keep_one_id(tmp_path: Path) -> None:
    logger = recipe("offline").open(tmp_path, {"algo": {"lr": 1e-3}}, LABEL)
    logger.log({"step": 1, "critic/loss": 0.5})
    logger.close({"last/return": 3.0}, failed=False)
    assert logger.id
    again = recipe("offline").open(tmp_path, {}, Label("iql-s0", id=logger.id))
    again.close({}, failed=True)
    assert again.id == logger.id
    assert len(list(tmp_path.glob(f"wandb/offline-run-*-{logger.id}*"))) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_online_without_key_goes_on_offline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logger = recipe("online").open(tmp_path, {}, LABEL)
    logger.log({"step": 1, "critic/loss": 0.5})
    logger.close({}, failed=False)
    assert "kept offline" in capsys.readouterr().err
    assert list(tmp_path.glob("wandb/offline-run-*"))
