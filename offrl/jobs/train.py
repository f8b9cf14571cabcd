"""`offrl train`: learn a policy, offline, online, or first the one and then the other."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from offrl.algos.base import Algorithm
from offrl.build import build
from offrl.data.checks import check_matches
from offrl.data.dataset import Dataset
from offrl.data.recipes import Preparation
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.jobs.dry_run import report
from offrl.jobs.pairing import LOGGED, check_actions, check_env, check_experience, check_rollout, check_steps
from offrl.jobs.recorded_env import choose_env
from offrl.jobs.shorten import shorten
from offrl.log.logger import Label, Logger, LoggerRecipe, NoLogger, sweep_group
from offrl.nn.learner import use_bfloat16
from offrl.ope.target import check_reactive
from offrl.train.compiling import choose
from offrl.train.estimate import Estimation, Judge
from offrl.train.evaluator import Evaluation, Evaluator
from offrl.train.loop import RunContext, Trainer
from offrl.train.ranks import Ranks
from offrl.train.ranks import here as ranks_here
from offrl.train.resume import refuse_changes
from offrl.train.run import train
from offrl.train.rundir import RunDir, now, read_facts, surroundings
from offrl.train.together import Member, here
from offrl.types import Spec


class Parts(NamedTuple):
    """What a config describes, built, and found to fit together."""

    algo: Algorithm
    trainer: Trainer
    env: Env | None
    dataset: Dataset | None
    spec: Spec


def run(config: dict[str, Any], folder: Path) -> float | None:
    """Train as `config` says, into `folder`; returns the headline: the last evaluation's score, or else its return."""
    device = torch.device(config["hardware"]["device"])
    algo, trainer, env, dataset, spec = parts = _build(config, device)
    ranks = ranks_here(device)
    if ranks is not None:
        ranks.share(algo, config["seed"])
    if config["dry_run"]:
        print(report(config, spec, algo, dataset.sample(algo.batch_size) if dataset is not None else None))
        return None
    settings = cast("Evaluation | Estimation", build(config["evaluation"], "evaluation"))
    judge = _judge(config, settings, trainer, algo, spec) if isinstance(settings, Estimation) else None
    leads = ranks is None or ranks.leads
    evaluator = _evaluator(settings, algo, env, device) if isinstance(settings, Evaluation) and leads else None
    home = _open_folder(config, RunDir(folder, writes=leads), parts, device)
    with home.alone(), _noting_failure(home, config["resume"]):
        member = here()
        compiles = _compiles(config["hardware"], parts, home, member, ranks)
        if member is not None:
            member.join(algo)
        context = RunContext(
            algo=algo,
            spec=spec,
            env=env,
            dataset=dataset,
            evaluator=evaluator,
            judge=judge,
            folder=home,
            logger=_open_logger(config, home) if leads else NoLogger(),
            config=config,
            device=device,
            compile=compiles,
            updates_per_call=config["hardware"]["updates_per_call"],
            seed=config["seed"],
            member=member,
            ranks=ranks,
        )
        train(trainer, context, resume=config["resume"])
    return _say_result(context)


@contextlib.contextmanager
def _noting_failure(home: RunDir, resume: bool) -> Generator[None]:
    """Put on record that a run failed before its training, which notes its own end. One that was to be resumed is left
    as it was."""
    try:
        yield
    except BaseException:
        if not resume and home.facts["status"] == "running":
            home.note(status="failed", end=now())
        raise


def _build(config: dict[str, Any], device: torch.device) -> Parts:
    """Build everything, and refuse what does not fit before any training."""
    check_experience(config)
    shorten(config)
    choose_env(config)
    check_env(config)
    algo = cast(Algorithm, build(config["algo"], "algo"))
    trainer = cast(Trainer, build(config["trainer"], "trainer"))
    check_steps(algo, config["trainer"])
    env = cast(Env, build(config["env"], "env")) if config["env"] else None
    check_rollout(algo, trainer, env)
    dataset = _load_dataset(config, trainer, algo, env, device)
    spec = env.spec() if env is not None else cast(Dataset, dataset).spec
    check_actions(type(algo), spec, env.name if env is not None else _origin(config["dataset"]))
    if dataset is not None:
        algo.check_data(dataset.steps)
    if env is not None and dataset is not None:
        check_matches(dataset.spec, spec, env_name=env.name)
    algo.build(spec)
    algo.to(device)
    if config["hardware"]["precision"] == "bf16":
        use_bfloat16(algo)
    return Parts(algo, trainer, env, dataset, spec)


def _origin(recipe: Mapping[str, Any]) -> str:
    """What the data of this recipe are called: a file or an id."""
    return str(recipe.get("path") or recipe.get("id") or "the dataset")


def _compiles(
    hardware: Mapping[str, Any], parts: Parts, home: RunDir, member: Member | None, ranks: Ranks | None
) -> bool:
    """Whether updates are compiled: on record, and said where it is not what goes without saying."""
    devices = ranks.count if ranks is not None else 1
    choice = choose(hardware, parts.trainer, parts.algo, home.facts, in_company=member is not None, devices=devices)
    if member is not None:
        member.company.compile = choice.compiled
    home.note(**choice.facts())
    if choice.compiled or hardware["compile"] is True:
        print(f"compile: {'yes' if choice.compiled else 'no'}, for {choice.why}")
    return choice.compiled


def _load_dataset(
    config: Mapping[str, Any], trainer: Trainer, algo: Algorithm, env: Env | None, device: torch.device
) -> Dataset | None:
    if not trainer.experience & LOGGED:
        return None
    asked = (algo.needs, algo.return_discount, config["trainer"]["n_step"], device, algo.context)

    def load() -> Dataset:
        return build(config["dataset"], "dataset").load(*asked)

    member, ranks = here(), ranks_here(device)
    if ranks is not None:
        with ranks.leader_first():
            return load()
    return load() if member is None else member.shared((repr(config["dataset"]), *asked), load)


def _judge(config: Mapping[str, Any], settings: Estimation, trainer: Trainer, algo: Algorithm, spec: Spec) -> Judge:
    if trainer.experience - {"dataset"} or not algo.is_policy:
        raise UserError(
            "evaluation=estimated values a policy by the log that it is trained on: it needs trainer=offline, "
            "and an algorithm that can act"
        )
    if here() is not None:
        raise UserError("evaluation=estimated judges one run at a time: train the seeds one by one (-m seed=0,1,2)")
    if config["hardware"]["devices"] > 1:
        raise UserError("evaluation=estimated may end a run, which one device alone cannot: use hardware.devices=1")
    check_reactive(algo)
    return settings.judge(cast(Preparation, build(config["dataset"], "dataset")), spec)


def _evaluator(settings: Evaluation, algo: Algorithm, env: Env | None, device: torch.device) -> Evaluator | None:
    if settings.episodes == 0:
        return None
    if not algo.is_policy:
        print(f"evaluation: skipped, for {type(algo).__name__} is no policy: it values the policy that made its data")
        return None
    if env is None:
        print("evaluation: skipped, for these data name no environment; env=... evaluates in one")
        return None
    return Evaluator(env, settings, device)


def _open_folder(config: dict[str, Any], home: RunDir, parts: Parts, device: torch.device) -> RunDir:
    """Make the run's folder, or take it up again, unless what is asked of it now cannot be gone on with."""
    dataset = parts.dataset
    if config["resume"]:
        refuse_changes(home.open(), config, parts.trainer, home.root)
        return home
    home.create(config)
    facts = surroundings(device) | {
        "choices": _choices(config["run"]),
        "data": dataset.fingerprint if dataset is not None else None,
    }
    if dataset is not None and len(dataset.returns):
        facts["data_return"] = float(dataset.returns.mean())
    home.note(status="running", seed=config["seed"], start=now(), end=None, **facts)
    return home


def _open_logger(config: Mapping[str, Any], home: RunDir) -> Logger:
    recipe = cast(LoggerRecipe, build(config["logger"], "logger"))
    sweep, facts = _sweep() or home.facts.get("sweep"), home.facts  # a resumed run belongs to the sweep that began it
    label = Label(
        name=f"{config['name']}-s{config['seed']}",
        group=sweep_group(home.root) if sweep else config["name"],
        tags=(*config["tags"], *filter(None, [sweep])),
        id=facts.get("wandb_id"),
    )
    logger = recipe.open(home.root, config, label)
    home.note(sweep=sweep, wandb_id=logger.id or facts.get("wandb_id"))
    return logger


def _choices(origin: str | None) -> dict[str, str]:
    """The options that were chosen by name, by group: what a comparison calls the run. One begun with the config of
    the run `origin` keeps that one's, where nothing else was chosen.
    """
    from hydra.core.hydra_config import HydraConfig

    chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    own = {str(group): str(option) for group, option in chosen.items() if option and "/" not in str(group)}
    return (read_facts(origin).get("choices", {}) if origin else {}) | own


def _sweep() -> str | None:
    """The folder of the sweep that this run belongs to."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir).name


def _say_result(context: RunContext) -> float | None:
    """Print the headline (the last evaluation), the best beside it, and where everything is."""
    last, best = context.progress.last, context.progress.best
    print(f"run folder: {context.folder.root}")
    if not last:
        return None
    if "estimate" in last:
        print(f"last estimate: {last['estimate']:.4g}; best: {best['estimate']:.4g} at step {best['step']:,.0f}")
        return last["estimate"]
    key = "score" if "score" in last else "return"
    print(f"last evaluation: return {last['return']:.1f} ± {last['return_std']:.1f}" + _score(last))
    print(f"best evaluation: return {best['return']:.1f} at step {best['step']:,.0f}" + _score(best))
    return last[key]


def _score(row: Mapping[str, float]) -> str:
    return f", normalised score {row['score']:.1f}" if "score" in row else ""
