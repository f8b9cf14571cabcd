"""Our half of every comparison: the trainer of a composed config, advanced a little at a time, as `offrl train` would.

    python -m benchmarks.ours --count 1000000 algo=iql                 updates on synthetic data
    python -m benchmarks.ours algo=ppo env=cartpole env.num_envs=8     environment steps

Evaluation, checkpoints and loggers are off; metrics are read at the trainer's own interval.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from benchmarks.synthetic import ACTION, OBS, hopper_like
from benchmarks.worker import serve, versions
from offrl.build import build
from offrl.cli import names
from offrl.cli.hardware import Hardware, seed_everything
from offrl.cli.overrides import expand
from offrl.paths import config_dir

if TYPE_CHECKING:
    from offrl.algos.base import Algorithm
    from offrl.data.dataset import Dataset
    from offrl.train.loop import Trainer


def composed(overrides: list[str]) -> dict[str, Any]:
    """The config of these overrides, resolved, its hardware applied."""
    names.register()
    words = expand(overrides, [config_dir()])
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", ["name=benchmark", "evaluation=none", "logger=none", *words])
    plain = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    plain["hardware"]["device"] = cast(Hardware, build(plain["hardware"], "hardware")).apply()
    seed_everything(plain["seed"])
    return plain


def synthetic(rows: int, choices: int, algo: Algorithm, device: str = "cpu") -> Dataset:
    """Hopper-shaped noise in the memory of `device`; with `choices` > 0 that many discrete actions."""
    from offrl.data.dataset import Dataset
    from offrl.types import ActionSpec, ObsSpec, Spec, Steps

    log = hopper_like(rows, choices)
    bound = (1.0,) * ACTION
    actions = ActionSpec("continuous", (ACTION,), low=tuple(-x for x in bound), high=bound)
    spec = Spec(ObsSpec((OBS,)), ActionSpec("discrete", (), (choices,)) if choices else actions)
    return Dataset(Steps(**log._asdict()), spec, needs=algo.needs, discount=algo.return_discount, device=device)


def begun(config: dict[str, Any], rows: int, choices: int, folder: Path) -> Trainer:
    """The trainer of this config at its first step; `rows` of synthetic data where the config has no environment."""
    import torch

    from offrl.log.logger import NoLogger
    from offrl.nn.learner import use_bfloat16
    from offrl.train.compiling import choose
    from offrl.train.loop import RunContext
    from offrl.train.rundir import RunDir

    algo = build(config["algo"], "algo")
    trainer = build(config["trainer"], "trainer")
    env = build(config["env"], "env") if config["env"] else None
    device: str = config["hardware"]["device"]
    dataset = synthetic(rows, choices, algo, device) if env is None else None
    spec = env.spec() if env is not None else cast("Dataset", dataset).spec
    algo.build(spec)
    algo.to(device)
    if config["hardware"]["precision"] == "bf16":
        use_bfloat16(algo)
    trainer.begin(
        RunContext(
            algo=algo,
            spec=spec,
            env=env,
            dataset=dataset,
            evaluator=None,
            folder=RunDir(folder),
            logger=NoLogger(),
            config=config,
            device=torch.device(device),
            compile=choose(config["hardware"], trainer, algo, {}).compiled,
            updates_per_call=config["hardware"]["updates_per_call"],
            seed=config["seed"],
        )
    )
    return trainer


def advance(trainer: Trainer, device: str) -> Callable[[], int]:
    """A function that goes on by some steps and says by how many, once the device has done them."""
    import torch

    def work() -> int:
        before = trainer.step
        trainer.advance(before + 20)
        if trainer.step // trainer.log_interval > before // trainer.log_interval:
            trainer.read()
        if device == "cuda":
            torch.cuda.synchronize()
        return trainer.step - before

    return work


def sampled(trainer: Trainer, batch_size: int) -> Callable[[], int]:
    """A function that draws batches and does nothing with them."""
    dataset = cast("Dataset", cast(Any, trainer)._dataset)

    def work() -> int:
        for _ in range(100):
            dataset.sample(batch_size)
        return 100

    return work


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """What to train on what."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="transitions of noise, where there is no env")
    parser.add_argument("--choices", type=int, default=0, help="discrete actions in them; 0: continuous ones")
    parser.add_argument("overrides", nargs="*")
    return parser


def main() -> None:
    """Begin, then serve steps."""
    parser = arguments(__doc__)
    parser.add_argument("--sampling", action="store_true", help="batches alone, without updates")
    args = parser.parse_args()
    config = composed(args.overrides)
    with tempfile.TemporaryDirectory() as folder:
        trainer = begun(config, args.count, args.choices, Path(folder))
        device = config["hardware"]["device"]
        work = sampled(trainer, config["algo"]["batch_size"]) if args.sampling else advance(trainer, device)
        serve(work, versions("torch", "numpy", "gymnasium"))
        trainer.close()


if __name__ == "__main__":
    main()
