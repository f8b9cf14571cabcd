"""Sweeps whose runs train as one leave what they would have left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from offrl.cli import overrides
from offrl.cli.vectorized import _parts, alike
from offrl.errors import UserError
from offrl.log.metrics import read_metrics

SMALL = [
    *("algo=dqn", "env=cartpole", "network.hidden=[32]", "trainer.warmup=50", "trainer.log_interval=100"),
    *("trainer.checkpoint_interval=100", "evaluation.interval=100", "evaluation.episodes=2", "logger=none"),
]


def offrl(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "offrl", "train", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)


def test_seeds_are_a_sweep_that_trains_as_one() -> None:
    words = overrides.with_seeds(["algo=dqn", "seeds=3", "seed=5"])
    assert words == ["algo=dqn", "seed=5,6,7", "hydra/launcher=vectorized", "-m"]
    assert overrides.with_seeds(["seeds=1", "seed=2"]) == ["seed=2"]
    assert overrides.with_seeds(["seeds=2", "sweep=joblib"]) == ["sweep=joblib", "seed=0,1", "-m"]
    with pytest.raises(UserError, match="seeds=many"):
        overrides.with_seeds(["seeds=many"])


def test_parts_hold_every_run_once() -> None:
    configs: list[Any] = [OmegaConf.create({"number": i}) for i in range(10)]
    for processes in (1, 2, 3):
        for most in (1, 4, 32):
            parts = _parts(list(range(10)), configs, processes, most)
            assert sorted(number for part in parts for number in part.numbers) == list(range(10))
            assert all(len(part.numbers) <= most for part in parts)


def assert_same_folders(one: Path, together: Path, runs: int, tolerance: float) -> list[str]:
    """Both sweeps left the same files, and parameters and metrics to `tolerance` (of metrics ten times as much: returns
    add rounding up); returns the names of the run folders.
    """
    folders = sorted(path.name for path in one.iterdir() if path.is_dir())
    assert len(folders) == runs
    for folder in folders:
        homes = one / folder, together / folder
        first, second = ({str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()} for home in homes)
        assert first - {"train.log"} == second - {"train.log"}
        facts = [json.loads((home / "run.json").read_text()) for home in homes]
        assert [fact["status"] for fact in facts] == ["finished"] * 2
        states = [torch.load(home / "policy.pt", weights_only=True)["algo"] for home in homes]
        for key, value in states[0].items():
            torch.testing.assert_close(states[1][key], value, rtol=tolerance, atol=tolerance, msg=f"{folder}: {key}")
        tables = [read_metrics(home) for home in homes]
        assert tables[0].keys() == tables[1].keys()
        for name in tables[0].keys() - {"seconds"}:
            if not name.startswith("rate/"):  # how fast, not what
                np.testing.assert_allclose(
                    tables[1][name], tables[0][name], rtol=10 * tolerance, atol=10 * tolerance, err_msg=name
                )
    return folders


def test_a_sweep_as_one_equals_one_by_one(tmp_path: Path) -> None:
    """Two learning rates by two seeds, in two processes, against the ordinary launcher; one run as one is resumed."""
    swept = ["-m", *SMALL, "trainer.steps=200", "algo.lr=1e-3,3e-4", "seed=0,1"]
    stacked = ["hydra/launcher=vectorized", "hydra.launcher.mode=stack", "hydra.launcher.processes=1"]
    for name, more in (("one", []), ("together", stacked)):
        done = offrl(*swept, f"hydra.sweep.dir={tmp_path / name}", *more)
        assert done.returncode == 0, done.stderr
    folders = assert_same_folders(tmp_path / "one", tmp_path / "together", 4, 1e-4)
    size = [(tmp_path / name / folders[0] / "policy.pt").stat().st_size for name in ("one", "together")]
    assert abs(size[0] - size[1]) < 2000, "a run's file holds that run alone"
    again = offrl(f"run={tmp_path / 'together' / folders[0]}", "resume=true", "trainer.steps=300")
    assert again.returncode == 0, again.stderr


ONLINE = (*SMALL, "trainer.steps=400")
OFFLINE = (
    *("algo=iql", "env=pendulum", "network.hidden=[32]", "algo.batch_size=64", "trainer.updates=400"),
    *("trainer.log_interval=100", "trainer.checkpoint_interval=200", "evaluation.interval=200"),
    *("evaluation.episodes=2", "logger=none"),
)


@pytest.mark.slow
@pytest.mark.parametrize("words", [ONLINE, OFFLINE], ids=["online", "offline"])
def test_eight_runs_as_the_vectorised_launcher_chooses(words: tuple[str, ...], tmp_path: Path) -> None:
    """Two learning rates by four seeds, as the launcher shares them out by itself, against the ordinary one."""
    if words is OFFLINE:
        words = (*words, f"dataset={pendulum_log(tmp_path / 'log.npz')}")
    swept = ["-m", *words, "algo.lr=1e-3,3e-4", "seed=0,1,2,3"]
    for name, more in (("one", []), ("together", ["hydra/launcher=vectorized"])):
        done = offrl(*swept, f"hydra.sweep.dir={tmp_path / name}", *more)
        assert done.returncode == 0, done.stderr
    assert_same_folders(tmp_path / "one", tmp_path / "together", 8, 1e-3)


def pendulum_log(path: Path) -> Path:
    """Five thousand steps of noise in Pendulum's shapes."""
    draw = np.random.default_rng(0)
    obs = draw.standard_normal((5_001, 3), dtype=np.float32)
    last = np.arange(1, 5_001) % 200 == 0
    np.savez(
        path,
        obs=obs[:-1],
        action=draw.choice(np.array([-2, -0.5, 0.5, 2], np.float32), (5_000, 1)),  # both bounds are there to be found
        reward=-draw.random(5_000, dtype=np.float32),
        terminated=np.zeros(5_000, np.bool_),
        truncated=last,
        next_obs=obs[1:],
    )
    return path


@pytest.mark.parametrize("mode", ["stack", "threads"])
def test_every_run_is_a_run_of_its_own_at_weights_and_biases(mode: str, tmp_path: Path) -> None:
    words = ["-m", *SMALL, "logger=wandb", "trainer.steps=100", "seed=0,1", f"hydra.sweep.dir={tmp_path}"]
    done = offrl(*words, "hydra/launcher=vectorized", f"hydra.launcher.mode={mode}")
    assert done.returncode == 0, done.stderr
    for folder in (tmp_path / "0_seed-0", tmp_path / "1_seed-1"):
        (record,) = folder.glob("wandb/offline-run-*")
        assert record.name.endswith(json.loads((folder / "run.json").read_text())["wandb_id"])


def test_a_run_that_diverges_leaves_the_others_alone(tmp_path: Path) -> None:
    """A learning rate beyond all sense ends its own run alone."""
    words = ["-m", *SMALL, "trainer.steps=200", "trainer.max_q=1e4", "algo.lr=1e30,1e-3", f"hydra.sweep.dir={tmp_path}"]
    done = offrl(*words, "hydra/launcher=vectorized", "hydra.launcher.mode=stack")
    status = {path.name: json.loads((path / "run.json").read_text())["status"] for path in tmp_path.glob("*lr*")}
    assert done.returncode == 1
    assert sorted(status.values()) == ["diverged", "finished"], done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals of a group")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_sweep_in_several_processes_stops_when_asked(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """With a checkpoint of each run at work, whoever got the signal beside the parent; the others do not begin."""
    words = [*SMALL, "trainer.steps=10000000", "evaluation=none", "hardware.compile=false", "seeds=3"]
    launcher = ["hydra.launcher.max_runs=1", "hydra.launcher.processes=2", f"hydra.sweep.dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "offrl", "train", *words, *launcher],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 300
    while len({path.parent for path in tmp_path.glob("*/checkpoints/step-*.pt")}) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.2)
    if number == signal.SIGTERM:
        process.send_signal(number)
    else:
        os.killpg(process.pid, number)  # as a terminal does
    out, err = process.communicate(timeout=60)  # at the end of which nobody holds its pipes any more
    assert process.returncode == code, err
    assert out.count("interrupted by SIG") == 2
    assert "Traceback" not in err
    status = {path.parent.name: json.loads(path.read_text())["status"] for path in tmp_path.glob("*/run.json")}
    assert status == {"0_seed-0": "interrupted", "1_seed-1": "interrupted"}


def test_what_may_train_as_one(tmp_path: Path) -> None:
    """Seeds and scalar knobs may differ; the layers' sizes may not. A log judges one run at a time."""
    from hydra import compose, initialize_config_dir

    from offrl.paths import config_dir

    def config(*words: str) -> Any:
        fixed = ["job=train", "algo=dqn", "env=cartpole", "name=x", "logger=none", f"hydra.sweep.dir={tmp_path}"]
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose("config", [*fixed, *words], return_hydra_config=True)

    judged = ("algo=iql", "dataset=file", "dataset.path=log.npz", "evaluation=estimated")
    configs = [
        config("seed=0"),
        config("seed=1", "algo.lr=0.1"),
        config("algo.batch_size=7"),
        config("trainer.n_step=2"),
    ]
    assert alike(configs) == [[0, 1], [2], [3]]
    assert alike([config(*judged, f"algo.lr={lr}") for lr in (0.1, 0.2)]) == [[0], [1]]


def test_a_sweep_is_resumed_as_one(tmp_path: Path) -> None:
    """Half and half together gives what the whole gives alone."""
    swept = ["-m", *SMALL, "seed=0,1"]
    for name, steps in (("whole", 200), ("halves", 100)):
        done = offrl(*swept, f"trainer.steps={steps}", f"hydra.sweep.dir={tmp_path / name}")
        assert done.returncode == 0, done.stderr
    words = ["resume", f"runs={tmp_path / 'halves'}", "total=200", "mode=stack"]
    done = subprocess.run(
        [sys.executable, "-m", "offrl", *words], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "2 runs together" in done.stdout
    for folder in (path for path in (tmp_path / "whole").iterdir() if path.is_dir()):
        one, other = (
            torch.load(tmp_path / n / folder.name / "policy.pt", weights_only=True) for n in ("whole", "halves")
        )
        assert one["step"] == other["step"]
        for key, value in one["algo"].items():
            torch.testing.assert_close(other["algo"][key], value, rtol=1e-4, atol=1e-5, msg=key)
