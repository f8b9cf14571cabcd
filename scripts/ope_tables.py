"""Errors of estimators against the size of the log, errors of the value models as shipped, and coverage of intervals,
on problems with known values.

python scripts/ope_tables.py [errors] [models] [coverage] [--draw FOLDER]   # prints; writes errors.png into FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any, cast

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import OmegaConf

from offrl.build import build
from offrl.envs import off_policy as problems
from offrl.functional.mdp import MDP, expected_return, simulate
from offrl.log.files import replacing
from offrl.ope.doubly_robust import Direct, DoublyRobust, WeightedDoublyRobust
from offrl.ope.estimator import Estimator
from offrl.ope.evidence import Array, Evidence
from offrl.ope.importance import ImportanceSampling, PerDecision, WeightedImportanceSampling, WeightedPerDecision
from offrl.ope.intervals import Bootstrap, Concentration, HighConfidence, Interval, Student
from offrl.ope.logged import Log
from offrl.ope.magic import Magic
from offrl.ope.tabular import MaximumLikelihood
from offrl.ope.values import ValueModel
from offrl.paths import config_dir
from offrl.types import ActionSpec, Batch, ObsSpec, Spec

MODEL = MaximumLikelihood(stationary=False, max_states=200, skip_last=False)
MAGIC = Magic(model=MODEL, lengths=25, replicates=100, confidence=0.9, legacy_covariance=False, seed=0)
ESTIMATORS: dict[str, Estimator] = {
    "direct": Direct(model=MODEL),
    "is": ImportanceSampling(),
    "wis": WeightedImportanceSampling(),
    "pdis": PerDecision(),
    "wpdis": WeightedPerDecision(),
    "dr": DoublyRobust(model=MODEL),
    "wdr": WeightedDoublyRobust(model=MODEL),
    "magic": MAGIC,
}
INTERVALS: dict[str, Interval] = {
    "percentile": Bootstrap(level=0.95, min_episodes=2, kind="percentile", replicates=500, seed=0),
    "bca": Bootstrap(level=0.95, min_episodes=2, kind="bca", replicates=500, seed=0),
    "student": Student(level=0.95, min_episodes=2),
    "hoeffding": Concentration(level=0.95, min_episodes=2, kind="hoeffding", range=None),
    "bernstein": Concentration(level=0.95, min_episodes=2, kind="bernstein", range=None),
    "thomas": HighConfidence(level=0.95, min_episodes=2, range=None, share=0.05, seed=0),
}
SIZES = (32, 128, 512, 2048)
REPETITIONS, FITS, COVERED = 100, 5, 200
LOOKS = {  # colour (of Okabe and Ito) and line; those of a kind are alike, so that lines on top of each other show
    "direct": ("#000000", "o-"),
    "is": ("#56B4E9", "s-"),
    "pdis": ("#0072B2", "D:"),
    "dr": ("#CC79A7", "^-"),
    "wis": ("#E69F00", "s-"),
    "wpdis": ("#D55E00", "D:"),
    "wdr": ("#009E73", "^-"),
    "magic": ("#999999", "*--"),
}
Case = tuple[str, MDP, tuple[float, ...], tuple[float, ...], NDArray[np.float32]]
FLOOR = 1e-12  # smaller errors are rounding, and drawn here


class Walker:
    """A tabular policy that reads states, one-hot or hidden."""

    def __init__(self, chances: torch.Tensor) -> None:
        self.chances = chances

    def choices(self, obs: torch.Tensor) -> torch.Tensor:
        """[B, A]."""
        return self.chances[obs.argmax(1)]

    def log_prob(self, obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[B]."""
        return self.choices(obs).gather(1, action[:, None]).squeeze(1).log()


def cases() -> Iterator[Case]:
    """(name, problem, behaviour, target, what is seen of each state)."""
    fail, win, grid = problems.model_fail(), problems.model_win(), problems.gridworld()
    yield "ModelFail", fail, problems.softmax_pair(1.0), problems.softmax_pair(-1.0), problems.blind(fail)
    yield "ModelWin", win, problems.softmax_pair(0.5), problems.softmax_pair(-0.5), np.eye(3, dtype=np.float32)
    yield "gridworld", grid, (0.2, 0.3, 0.3, 0.2), (0.1, 0.4, 0.4, 0.1), np.eye(16, dtype=np.float32)


def record(
    mdp: MDP, behaviour: torch.Tensor, target: torch.Tensor, seen: NDArray[np.float32], count: int
) -> tuple[Log, Evidence]:
    """`count` episodes."""
    rollout = simulate(mdp, behaviour, mdp.horizon or 1, count)
    obs, action, reward, terminated, truncated, following = (column.T for column in rollout)
    ended = (terminated | truncated).long()
    mask = ended.cumsum(1) - ended == 0
    shown = torch.as_tensor(seen)
    columns = (shown[obs[mask]], action[mask], reward[mask], (~terminated[mask]).double(), shown[following[mask]])

    def read(rows: torch.Tensor) -> Batch:
        return Batch(*(column[rows] for column in columns))

    spec = Spec(ObsSpec(tuple(shown.shape[1:])), ActionSpec("discrete", (), (mdp.actions,)))
    log = Log(read, spec, mask.sum(1).numpy(), Walker(target), mdp.horizon or 1, mdp.discount)
    return log, log.evidence(behaviour.log()[obs[mask], action[mask]].numpy())


def estimates(log: Log, evidence: Evidence) -> Iterator[tuple[str, Estimator, Evidence]]:
    """Each estimator with the evidence that it takes."""
    whole, crossed = (evidence.with_values(*MODEL.values(log, folds, 0)) for folds in (1, 2))
    for name, estimator in ESTIMATORS.items():
        yield name, estimator, whole if name == "direct" else crossed


def errors(case: Case) -> dict[str, Array]:
    """Mean squared error of each estimator at each size."""
    _, mdp, b, p, seen = case
    behaviour, target = problems.everywhere(mdp, b), problems.everywhere(mdp, p)
    truth = float(expected_return(mdp, target))
    squared = {name: np.zeros(len(SIZES)) for name in ESTIMATORS}
    for place, size in enumerate(SIZES):
        for repetition in range(REPETITIONS):
            torch.manual_seed(1000 * place + repetition)
            log, evidence = record(mdp, behaviour, target, seen, size)
            for name, estimator, known in estimates(log, evidence):
                value = float(estimator(known, known.ones)[0])
                squared[name][place] += (value - truth) ** 2 / REPETITIONS
    return squared


def shipped(name: str) -> ValueModel:
    """The model as `offrl ope value_model=NAME` has it."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("config", overrides=["job=ope", f"value_model={name}"])
    return build(cast("dict[str, Any]", OmegaConf.to_container(config.value_model, resolve=True)), "value_model")


def models(names: tuple[str, ...] = ("tabular", "linear", "neural"), size: int = 512) -> None:
    """Print the root mean squared error of fitted Q evaluation by each model, and its processor time."""
    graph = problems.graph()
    far = ("graph", graph, (0.2, 0.8), (0.8, 0.2), np.eye(graph.states, dtype=np.float32))
    built = {name: shipped(name) for name in names}
    print(f"\n| {size} episodes | true value | {' | '.join(names)} |\n|---|---|{'---|' * len(names)}")
    for name, mdp, b, p, seen in [far, *list(cases())[1:]]:  # on ModelFail no model can tell the actions apart
        behaviour, target = problems.everywhere(mdp, b), problems.everywhere(mdp, p)
        truth = float(expected_return(mdp, target))
        cells: list[str] = []
        for model in built.values():
            squared, began = 0.0, process_time()
            for repetition in range(FITS):
                torch.manual_seed(1000 + repetition)
                log, _ = record(mdp, behaviour, target, seen, size)
                squared += (model.values(log, 1, 0)[1][:, 0].mean() - truth) ** 2 / FITS
            cells.append(f"{squared**0.5:.2g} ({(process_time() - began) / FITS:.1f} s)")
        print(f"| {name} | {truth:.3f} | {' | '.join(cells)} |", flush=True)


def coverage(case: Case, size: int) -> None:
    """Print how often intervals of 95 % hold the true value."""
    name, mdp, b, p, seen = case
    behaviour, target = problems.everywhere(mdp, b), problems.everywhere(mdp, p)
    truth = float(expected_return(mdp, target))
    held: dict[tuple[str, str], list[bool]] = {}
    for repetition in range(COVERED):
        torch.manual_seed(repetition)
        log, evidence = record(mdp, behaviour, target, seen, size)
        for kind, estimator, known in estimates(log, evidence):
            if kind in ("is", "wis", "pdis", "wpdis", "dr", "wdr"):
                for label, interval in INTERVALS.items():
                    found = interval(estimator, known, None)
                    if found.low is not None:
                        inside = found.low <= truth and (found.high is None or truth <= found.high)
                        held.setdefault((label, kind), []).append(inside)
    kinds = ("is", "wis", "pdis", "wpdis", "dr", "wdr")
    print(f"\n| {name}, {size} episodes | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
    for label in INTERVALS:
        found = [held.get((label, kind), []) for kind in kinds]
        cells = (f"{np.mean(one):.1%} of {len(one)}" if one else "none" for one in found)
        print(f"| {label} | {' | '.join(cells)} |", flush=True)


def draw(path: Path, found: dict[str, dict[str, Array]]) -> None:
    """Error against size, both axes logarithmic."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, squared) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        for label, (color, line) in LOOKS.items():
            axes.loglog(SIZES, np.maximum(squared[label], FLOOR), line, color=color, markersize=5, label=label)
        axes.set(title=name, xlabel="episodes", ylabel="mean squared error")
        axes.set_xticks(SIZES, [str(size) for size in SIZES])
        axes.xaxis.minorticks_off()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    with replacing(path) as aside:
        figure.savefig(aside, format="png")


def main() -> None:
    """Print and draw what is asked for; everything, if nothing is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", choices=("errors", "models", "coverage"), default=[])
    parser.add_argument("--draw", type=Path)
    args = parser.parse_args()
    wanted = args.tables or ("errors", "models", "coverage")
    torch.set_num_threads(1)
    if "errors" in wanted:
        found = {case[0]: errors(case) for case in cases()}
        for name, squared in found.items():
            print(f"\n| {name} | {' | '.join(map(str, SIZES))} |\n|---|{'---|' * len(SIZES)}")
            for label, values in squared.items():
                print(f"| {label} | {' | '.join(f'{value:.3g}' for value in values)} |", flush=True)
        if args.draw is not None:
            args.draw.mkdir(parents=True, exist_ok=True)
            draw(args.draw / "errors.png", found)
    if "models" in wanted:
        models()
    if "coverage" in wanted:
        graph = problems.graph(length=6)
        mild = ("graph of 6 steps", graph, (0.5, 0.5), (0.65, 0.35), np.eye(graph.states, dtype=np.float32))
        for case in [mild, *cases()]:
            coverage(case, 100)


if __name__ == "__main__":
    main()
