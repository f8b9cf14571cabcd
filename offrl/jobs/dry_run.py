"""What `offrl train dry_run=true` prints: the config, the shapes, the sizes of the networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from offrl.algos.base import Algorithm
from offrl.nn.learner import Learner
from offrl.types import Batch, Spec


def report(config: Mapping[str, Any], spec: Spec, algo: Algorithm, batch: Batch | None) -> str:
    """Describe a run that is ready to start; `batch` is None where there is no data before the first step."""
    parts = [
        yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True),
        f"{'observation':<22} {spec.obs.dtype} {_shape(spec.obs.shape)}{_history(spec)}",
        f"{'action':<22} {spec.action.kind} {_shape(spec.action.shape)}{_range(spec)}",
        "",
        *(_batch(batch) if batch is not None else [f"{'batch':<22} of the environment's steps, once it runs"]),
        "",
        *_parameters(algo),
    ]
    return "\n".join(parts)


def _batch(batch: Batch) -> list[str]:
    columns = {name: column for name, column in batch._asdict().items() if column.numel()}
    return [
        f"{'batch.' + name:<22} {str(x.dtype).removeprefix('torch.')} {_shape(x.shape)}" for name, x in columns.items()
    ]


def _parameters(algo: Algorithm) -> list[str]:
    """Sizes of the networks that learn; lagged copies and Adam's moments are not counted."""
    learners = {name: part for name, part in algo.named_modules() if isinstance(part, Learner)}
    sizes = {name: sum(x.numel() for x in part.parameters()) for name, part in learners.items()}
    return [f"{name:<22} {size:>12,} parameters" for name, size in (sizes | {"together": sum(sizes.values())}).items()]


def _history(spec: Spec) -> str:
    return f", the last {spec.obs.history} steps" if spec.obs.history else ""


def _range(spec: Spec) -> str:
    if spec.action.choices:
        return f" of {' x '.join(map(str, spec.action.choices))}"
    return f" from {list(spec.action.low)} to {list(spec.action.high)}" if spec.action.low else ""


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
