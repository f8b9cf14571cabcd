"""The command line as its users meet it: in processes of its own, from a folder of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from offrl.cli import overrides
from offrl.cli.usage import JOBS
from offrl.paths import config_dir

OWN_FILES = {
    "own/job/report.yaml": "# @package _global_\njob: own_jobs.report\ntimes: 1\nhydra: {job: {name: report}}\n",
    "own/job/crash.yaml": "# @package _global_\njob: own_jobs.crash\nhydra: {job: {name: crash}}\n",
    "own/job/interrupt.yaml": "# @package _global_\njob: own_jobs.interrupt\nhydra: {job: {name: interrupt}}\n",
    "own/job/talk.yaml": "# @package _global_\njob: own_jobs.talk\nhydra: {job: {name: talk}}\n",
    "own/job/hang_up.yaml": "# @package _global_\njob: own_jobs.hang_up\nhydra: {job: {name: hang_up}}\n",
    "own/job/fill.yaml": "# @package _global_\njob: own_jobs.fill\nhydra: {job: {name: fill}}\n",
    "own/env/room.yaml": "defaults: [gym, _self_]\nid: CartPole-v1\nmax_episode_steps: 9\n",
    "own_jobs.py": """
import random, weakref
import numpy, torch
from offrl.errors import UserError

def report(config, folder):
    if config["seed"] == 1:
        raise UserError("seed 1 is unlucky")
    print("draws", random.random(), numpy.random.rand(), torch.rand(()).item(), torch.get_num_threads())
    print("env", config["env"]["id"], config["env"]["max_episode_steps"], "folder", folder.name)

def crash(config, folder):
    raise KeyError("lost")

def interrupt(config, folder):
    raise KeyboardInterrupt

def talk(config, folder):
    while True:
        print("and so on")

def hang_up(config, folder):
    raise BrokenPipeError("a pipe of this job")

class Data:
    pass

held = weakref.WeakSet()

def fill(config, folder):
    print("held:", len(held))
    data = Data()
    held.add(data)
    raise UserError("too little memory")
""",
}


def offrl(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command, with the environment of these tests and `env`."""
    command = [sys.executable, "-m", "offrl", *words]
    # From an empty folder, `-m` must find the package that is being tested.
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **env}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder with jobs and an environment of its own."""
    for name, text in OWN_FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_help_is_light(tmp_path: Path) -> None:
    code = (
        "import sys; from offrl.launch import main; main(); assert not {'torch', 'numpy', 'hydra'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert all(job in done.stdout for job in JOBS)


def test_nobody_listens(home: Path) -> None:
    command = [sys.executable, "-m", "offrl", "talk", "--config-dir", "own"]
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        command,
        cwd=home,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGPIPE
        assert process.stderr.read() == ""


def test_every_job_has_a_config_and_examples() -> None:
    for job in JOBS:
        config = yaml.safe_load((config_dir() / "job" / f"{job}.yaml").read_text())
        assert config["hydra"]["help"]["template"].count(f"\n  offrl {job} ") >= 3


def test_job_help_and_completion(tmp_path: Path) -> None:
    done = offrl("train", "--help", cwd=tmp_path)
    assert "offrl train algo=ppo env=cartpole" in done.stdout
    assert "iql" in done.stdout
    done = offrl("completion", cwd=tmp_path)
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)
    asked = {"COMP_LINE": "offrl algo=i", "COMP_POINT": "12"}
    assert "algo=iql" in offrl("train", "-sc", "query=bash", cwd=tmp_path, **asked).stdout
    assert not list(tmp_path.iterdir())


def test_config_is_printed_and_nothing_is_written(tmp_path: Path) -> None:
    done = offrl("train", "--cfg", "job", "--resolve", "algo=iql", "env=Pendulum-v1", "seed=3", cwd=tmp_path)
    config = yaml.safe_load(done.stdout)
    assert (config["seed"], config["env"]["id"], config["name"]) == (3, "Pendulum-v1", "iql-Pendulum-v1")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trian algo=ppo", "there is no job 'trian': did you mean 'train'?"),
        ("train algo=iqll", "algo=iqll: there is no such option: did you mean 'iql'? (all: "),
        ("train algo=iql algo.expectle=1", "algo.expectle is no key of the config: did you mean 'expectile'?"),
        ("train algo=iql algo.network.hidden=[8]", "is no key of the config: did you mean 'network.hidden'?"),
        ("train env=gym algo=ppo", "env.id is missing: give it as env.id=VALUE"),
        ("train run=nowhere", "run=nowhere: there is no nowhere/config.yaml"),
        ("train experiment=c24_deadly_triad", "did you mean 'lectures/c24_deadly_triad'?"),
        ("train debug=fats algo=dqn env=cartpole", "debug=fats: there is no such option: did you mean 'fast'?"),
        (
            "train algo=sac env=Pendulum-v1 env.kwargs.g=5",
            "env.kwargs.g is no key of the config yet: +env.kwargs.g=VALUE",
        ),
        (
            "train algo=dqn env=cartpole trainer.updates=9",
            "trainer.updates is no key of the config: did you mean 'steps'?",
        ),
        ("ope run=null estimator=[fqe,wiss]", "estimator=wiss: there is no such option: did you mean 'wis'?"),
        ("compare .", "offrl compare takes key=value words, such as run=FOLDER or runs=FOLDER: what is '.'?"),
        ("dataset check a.csv b.csv", "offrl dataset takes one log at a time: what is 'b.csv'?"),
        ("resume runs=", "offrl resume needs the folder of a sweep: give runs=FOLDER"),
        ("train seed=[1", "seed=[1 is not understood"),
        ("train algo=sac env=cartpole", "SAC needs continuous actions, but cartpole has discrete ones: try algo=dqn"),
    ],
)
def test_mistakes_are_one_message_and_leave_nothing(tmp_path: Path, words: str, message: str) -> None:
    done = offrl(*words.split(), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("offrl: error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.*"))


def test_own_configs_and_modules_in_a_sweep_with_one_failure(home: Path) -> None:
    done = offrl("report", "--config-dir", "own", "-m", "seed=0,1,2", "env=room,Pendulum-v1", cwd=home)
    assert done.returncode == 1
    assert done.stderr.count("seed 1 is unlucky") == 2
    draws = [line for line in done.stdout.splitlines() if line.startswith("draws")]
    assert draws[0] == draws[1] != draws[2] == draws[3]
    assert draws[0].endswith(" 1")  # thread
    assert "env CartPole-v1 9 folder 0_env-room_seed-0" in done.stdout
    assert "env Pendulum-v1 None folder 5_env-Pendulum-v1_seed-2" in done.stdout


def test_crash_leaves_its_traceback_in_the_log(home: Path) -> None:
    done = offrl("crash", "--config-dir=own", cwd=home)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (log,) = home.rglob("crash.log")
    assert str(log) in done.stderr
    assert "KeyError: 'lost'" in log.read_text()
    assert "Traceback" in offrl("crash", "--config-dir=own", "--debug", cwd=home).stderr


def test_a_broken_pipe_of_a_job_is_an_error(home: Path) -> None:
    """Other than the one of stdout, which nobody may want to read on."""
    done = offrl("hang_up", "--config-dir=own", cwd=home)
    assert done.returncode == 1
    assert "BrokenPipeError: a pipe of this job" in done.stderr


def test_a_run_that_failed_leaves_its_memory_to_the_others_of_the_sweep(home: Path) -> None:
    done = offrl("fill", "--config-dir=own", "-m", "seed=0,1,2", cwd=home)
    assert done.returncode == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("held")] == ["held: 0"] * 3


def test_interruption_is_130(home: Path) -> None:
    done = offrl("interrupt", "--config-dir=own", cwd=home)
    assert (done.returncode, done.stderr) == (130, "offrl: interrupted\n")
    assert signal.SIGINT + 128 == 130


def test_a_run_is_taken_up_evaluated_and_repeated(tmp_path: Path) -> None:
    first = offrl("train", "algo=dqn", "env=cartpole", "debug=fast", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (run,) = (tmp_path / "runs" / "train").iterdir()
    assert run.name.endswith("_dqn-cartpole-s0")
    resumed = offrl("train", f"run={run}", "resume=true", "trainer.steps=400", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert list((tmp_path / "runs" / "train").iterdir()) == [run]
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert (config["trainer"]["steps"], config["trainer"]["log_interval"]) == (400, 100)
    evaluated = offrl("evaluate", f"run={run}", "episodes=2", "num_envs=2", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    named = f"run='~/{run.relative_to(tmp_path)}'"
    again = offrl("train", named, "seed=1", "dry_run=true", "evaluation=null", cwd=tmp_path, HOME=str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert "seed: 1" in again.stdout
    assert "together" in again.stdout
    assert list((tmp_path / "runs" / "train").iterdir()) == [run]
    again = offrl("train", f"run={run}", "seed=1", "trainer.steps=300", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    choices = [yaml.safe_load(path.read_text())["choices"] for path in tmp_path.rglob("run.json")]
    assert len(choices) == 2
    assert choices[0] == choices[1]
    assert choices[0]["algo"] == "dqn"


def test_words_become_overrides(tmp_path: Path) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "mine-v1.yaml").touch()
    expand = overrides.expand
    assert expand(["env=mine-v1,a:B-v0", "x=y-v1"], [tmp_path]) == ["env=mine-v1,a_B-v0", "x=y-v1"]
    assert expand(["env=null", "seed=null"], [tmp_path]) == ["~env", "seed=null"]
    assert expand(["logger=null", "evaluation=null"], [config_dir()]) == ["logger=none", "evaluation=none"]
    assert expand(["run='~/my runs'"], []) == [f"run='{Path.home() / 'my runs'}'"]
    assert overrides.folders_for(["run='it\\'s'", "resume=true"])[0] == "hydra.run.dir='it\\'s'"
    assert expand(["dataset=D4RL/door/human-v2,logs/a.csv,known"], []) == [
        "dataset=D4RL_door_human-v2,logs_a.csv,known"
    ]
    assert overrides.positional("dataset", ["check", "a.csv", "x=1"]) == ["action=check", "dataset=a.csv", "x=1"]
    assert expand(["dataset.path=~/a b.csv"], []) == [f"dataset.path='{Path.home() / 'a b.csv'}'"]
    (name,) = expand(["dataset='läden, alt.csv'"], [])
    assert name.isascii()
    assert name.startswith("dataset=l_xe4den_alt.csv_")
    assert overrides.first_run(
        ["-m", "algo=bc,iql", "network.hidden=[8,8]", "hydra/launcher=vectorized", "seed=0,1"]
    ) == [*("algo=bc", "network.hidden=[8,8]", "seed=0")]
    assert overrides.positional("dataset", ["--cfg", "job"]) == ["--cfg", "job"]


@pytest.mark.slow
def test_wheel_carries_its_configs(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(root)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("offrl-*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(tmp_path / "lib"), str(wheel)], check=True, timeout=300
    )
    run = [sys.executable, "-m", "offrl", "train", "--info", "config"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert f"file://{tmp_path / 'lib' / 'offrl' / 'configs'}" in done.stdout
