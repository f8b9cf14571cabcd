"""`offrl ope`: what policies are worth, judged from a log."""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from offrl.build import build
from offrl.data import steps as recorded
from offrl.data.checks import check_matches
from offrl.data.dataset import Dataset
from offrl.data.files import FileData
from offrl.data.recipes import Preparation
from offrl.envs.actors import Actor, Agent, Noisy
from offrl.envs.collect import rollout_steps
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.jobs.fitting import check_fits
from offrl.log.files import write_json
from offrl.nn.networks import CNN
from offrl.ope import report
from offrl.ope.assess import Assessment, Estimate, Settings, assess
from offrl.ope.behaviour import Behaviour, Guess
from offrl.ope.evidence import Array, pad
from offrl.ope.logged import Log
from offrl.ope.selection import regret_at, spearman
from offrl.ope.target import Trained
from offrl.train.checkpoint import load_policy
from offrl.types import ActionSpec, Batch


@dataclass(frozen=True)
class Asked:
    """One policy that is asked about."""

    run: Path
    checkpoint: str
    target: Trained
    trained: Mapping[str, Any]  # the config of its run

    @property
    def name(self) -> str:
        """What to call it."""
        return f"{self.run} ({self.checkpoint})"


def run(config: dict[str, Any], folder: Path) -> float | None:
    """Judge one policy (`run`) or rank several (`runs`); the headline is the first estimate that there is."""
    console = Console()
    asked = _asked(config)
    data, log_behaviour = _load(config, asked[0].target.spec.action)
    settings = _settings(config, asked[0])
    _ranked_by(config)
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, tuple[Assessment, tuple[float, float] | None]] = {}
    guess: Guess | None = None
    for index, one in enumerate(asked):
        check_matches(
            data.spec,
            one.target.spec,
            data_name=f"dataset={config['dataset_name']}",
            env_name=one.name,
            remedy="take a log of what the policy was trained for, seen in the same way",
        )
        log = log_of(data, one.target, config["discount"], config["horizon"])
        guess = guess or settings.behaviour.fit(log)
        assessment = assess(log, log_behaviour, settings, guess)
        truth = _truth(one, log, config) if config["truth"] else None
        found[one.name] = assessment, truth
        report.show(console, one.name, assessment, truth)
        console.print(f"judged: {_judged(one)}", highlight=False)
        label = "ope" if len(asked) == 1 else f"ope-{index}"
        report.draw(folder / f"{label}.png", one.name, assessment, truth)
        about = {"policy": one.name, "dataset": config["dataset_name"], "truth": truth}
        about |= {"stochastic": config["stochastic"], "kernel": config["kernel"]}
        about |= {"discount": config["discount"], "horizon": log.horizon}
        write_json(folder / f"{label}.json", about | assessment.as_dict())
    if len(found) > 1:
        _rank(console, found, config, folder)
    console.print(f"written to {folder}", highlight=False, soft_wrap=True)
    first = next(iter(found.values()))[0]
    return next((row.value for row in first.estimates.values() if row.value is not None), None)


def log_of(data: Dataset, target: Trained, discount: float, horizon: int | None) -> Log:
    """The prepared dataset as a log; without a `horizon` that of its longest episode."""
    if not 0.0 <= discount <= 1.0:
        raise UserError(f"discount={discount} is not in [0, 1]")
    lengths = recorded.lengths(data.steps)
    if horizon is not None and horizon < 1:
        raise UserError(f"horizon={horizon}: at least one step, or null for that of the longest episode")

    def read(rows: Tensor) -> Batch:
        return data.rows.gather(rows)

    return Log(read, data.spec, lengths, target, horizon or int(lengths.max()), discount)


def _asked(config: Mapping[str, Any]) -> list[Asked]:
    """The policies of `run`, or of all run folders that `runs` names, at their checkpoints."""
    wanted = [config["run"]] if not config["runs"] else config["runs"]
    patterns = cast("list[str]", [wanted] if isinstance(wanted, str) else wanted)
    if patterns == [None]:
        raise UserError("offrl ope needs a trained policy: give run=RUN_DIR, or runs=[RUN_DIR,…] to rank several")
    runs = [path for pattern in patterns for path in (sorted(glob.glob(str(pattern))) or [str(pattern)])]
    return [_policy(Path(run), which, config) for run in runs for which in _checkpoints(Path(run), config)]


def _checkpoints(run: Path, config: Mapping[str, Any]) -> list[str]:
    if config["checkpoint"] != "all":
        return [str(config["checkpoint"])]
    names = sorted(path.stem for path in (run / "checkpoints").glob("*.pt"))
    if not names:
        raise UserError(f"checkpoint=all: there is none in {run}")
    return names


def _policy(run: Path, which: str, config: Mapping[str, Any]) -> Asked:
    algo, spec, trained = load_policy(run, which)
    target = Trained(algo.eval(), spec, config["stochastic"], config["kernel"], config["draws"])
    return Asked(run, which, target, trained)


def _judged(one: Asked) -> str:
    """As what the policy was judged, and how that is exported."""
    target = one.target
    words = f"offrl export run={one.run} checkpoint={one.checkpoint} stochastic={str(target.stochastic).lower()}"
    if target.kernel is not None:
        return f"its one best action, blurred to a width of {target.kernel:g}; {words} writes it as it is, not blurred"
    what = "the policy as it explores" if target.stochastic else "its one best action"
    return f"{what}, which {words} writes"


def _load(config: dict[str, Any], action: ActionSpec) -> tuple[Dataset, Array | None]:
    """(the log, log b(a|s) where it was recorded); rewards as they were logged, and of a file that does not say which
    actions there are, those that the policy knows."""
    if not config["dataset"]:
        raise UserError("offrl ope needs a log: give dataset=NAME, a Minari id, or a file")
    recipe = cast(Preparation, build(config["dataset"], "dataset"))
    config["dataset_name"] = recipe.name
    recipe = replace(recipe, normalize_reward="none", reward_scale=1.0, reward_shift=0.0)
    if isinstance(recipe, FileData):
        recipe = _with_actions(recipe, action)
    data = recipe.load(discount=1.0)
    log_prob = data.steps.extra.get("log_prob")
    return data, None if log_prob is None else np.asarray(log_prob, np.float64)


def _with_actions(recipe: FileData, action: ActionSpec) -> FileData:
    """The recipe with what it leaves to be guessed from a log: how many choices, or which bounds."""
    if action.kind == "continuous":
        low, high = recipe.action_low, recipe.action_high
        return replace(
            recipe, action_low=action.low if low is None else low, action_high=action.high if high is None else high
        )
    same = len(set(action.choices)) == 1  # a recipe has one number for all
    return replace(recipe, choices=recipe.choices or (action.choices[0] if same else None))


def _behaviour(config: Mapping[str, Any], judged: Asked) -> Behaviour:
    """Its model reads pictures by the network that the policy reads them by, unless one for pictures is given."""
    recipe = cast(Behaviour, build(config["behaviour"], "behaviour"))
    if judged.target.spec.obs.is_image and not isinstance(recipe.network, CNN):
        return replace(recipe, network=build(judged.trained["network"], "network"))
    return recipe


def _settings(config: Mapping[str, Any], judged: Asked) -> Settings:
    for group in ("estimator", "interval"):
        if not config[group]:
            raise UserError(f"{group}=null: choose at least one, or {group}=all")
    if config["propensities"] not in ("auto", "recorded", "estimated"):
        raise UserError(f"propensities={config['propensities']}: auto, recorded or estimated")
    return Settings(
        {name: build(node, f"estimator.{name}") for name, node in config["estimator"].items()},
        {name: build(node, f"interval.{name}") for name, node in config["interval"].items()},
        _behaviour(config, judged),
        config["propensities"],
        config["clip"],
        config["folds"],
        config["baseline"],
        config["seed"],
    )


def _truth(one: Asked, log: Log, config: Mapping[str, Any]) -> tuple[float, float]:
    """(mean discounted return of the policy in its environment within the horizon, standard error)."""
    node = config["env"] or one.trained["env"]
    if not node:
        raise UserError(f"truth=true: {one.name} was trained without an environment; give env=NAME")
    env = cast(Env, build(node, "env"))
    check_fits(one.run, one.target.spec, env)
    episodes = config["truth_episodes"]
    vector = env.make(min(episodes, 10), config["seed"] + 1_000_000)
    with torch.random.fork_rng():
        torch.manual_seed(config["seed"])
        steps = rollout_steps(vector, _actor(one.target, config["seed"]), episodes=episodes)
    vector.close()
    reward = pad(steps.reward, recorded.lengths(steps), log.horizon)
    returns = reward @ np.power(log.discount, np.arange(log.horizon))
    return float(returns.mean()), float(returns.std(ddof=1) / math.sqrt(len(returns)))


def _actor(target: Trained, seed: int) -> Actor:
    """Who is rolled out: the policy that was judged, smoothed if it was."""
    actor = Agent(target.algo, target.stochastic)
    if target.kernel is None:
        return actor
    return Noisy(actor, target.spec.action, target.kernel, torch.Generator().manual_seed(seed))


def _rank(
    console: Console,
    found: Mapping[str, tuple[Assessment, tuple[float, float] | None]],
    config: Mapping[str, Any],
    folder: Path,
) -> None:
    """Print and keep the order of the policies, and with true values how good it was."""
    kinds, by = [*config["estimator"]], _ranked_by(config)
    bound = _common_bound([assessment.estimates[by] for assessment, _ in found.values()], [*config["interval"]])
    rows: list[dict[str, float | str | None]] = []
    for name, (assessment, truth) in found.items():
        estimate = assessment.estimates[by]
        low = estimate.intervals[bound].low if bound in estimate.intervals else None
        row = {"policy": name, by: estimate.value, f"lower bound ({bound})": low}
        rows.append(row | ({} if truth is None else {"true value": truth[0]}))
    if config["rank_by_bound"] and all(row[f"lower bound ({bound})"] is None for row in rows):
        raise UserError(f"rank_by_bound=true: {by} has no lower bound for any policy; the remarks above say why")
    key = f"lower bound ({bound})" if config["rank_by_bound"] else by
    rows.sort(key=lambda row: -math.inf if row[key] is None else cast(float, row[key]), reverse=True)
    console.print(report.ranking(rows))
    quality = _quality(found, kinds) if config["truth"] else {}
    for kind, figures in quality.items():
        console.print(f"{kind:>10}  " + "  ".join(f"{name} {value:.3g}" for name, value in figures.items()))
    write_json(folder / "ranking.json", {"by": key, "policies": rows, "quality": quality})


def _ranked_by(config: Mapping[str, Any]) -> str:
    """The estimator that ranks; raises `UserError` for one that was not asked for."""
    kinds, wanted = [*config["estimator"]], config["rank_by"]
    if wanted is None:
        return "wdr" if "wdr" in kinds else kinds[0]
    if wanted not in kinds:
        raise UserError(f"rank_by={wanted} is none of the estimators: choose among {', '.join(kinds)}")
    return str(wanted)


def _common_bound(estimates: Sequence[Estimate], kinds: Sequence[str]) -> str:
    """The first kind of interval of which most policies have a lower bound: bounds of one kind alone compare."""
    return max(
        kinds, key=lambda kind: sum(kind in e.intervals and e.intervals[kind].low is not None for e in estimates)
    )


def _quality(
    found: Mapping[str, tuple[Assessment, tuple[float, float] | None]], kinds: list[str]
) -> dict[str, dict[str, float]]:
    """Of each estimator, over the policies of which it has an estimate."""
    quality: dict[str, dict[str, float]] = {}
    for kind in kinds:
        pairs = [(a.estimates[kind].value, truth) for a, truth in found.values() if truth is not None]
        known = [(value, truth[0]) for value, truth in pairs if value is not None]
        if len(known) < 2:
            continue
        estimates, truths = zip(*known, strict=True)
        quality[kind] = {
            "absolute error": float(np.mean(np.abs(np.subtract(estimates, truths)))),
            "Spearman": spearman(estimates, truths),
            "regret@1": regret_at(1, estimates, truths),
            "regret@3": regret_at(3, estimates, truths),
        }
    return quality
