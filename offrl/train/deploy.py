"""A trained policy on its own: a file that acts without this program, in the environment's own numbers."""

# pyright: reportUnknownMemberType=false
# The exporters of torch are typed in part.

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from offrl.algos.base import Algorithm
from offrl.errors import UserError
from offrl.nn.networks import Normalize
from offrl.types import END, Spec, remembers

Act = Callable[[NDArray[Any]], NDArray[Any]]  # observations [N, *obs.shape] -> actions [N, *action.shape]

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}


class Deployed(nn.Module):
    """A policy from observations [N, *obs.shape] to actions as the environment takes them.

    Continuous actions [N, A] lie within the bounds, one whose bounds are infinite is as the policy gives it; discrete
    ones are indices from 0, int64 [N] or [N, A]. Normalisation of observations is inside.
    """

    low: Tensor
    high: Tensor

    def __init__(self, policy: Algorithm, spec: Spec, stochastic: bool) -> None:
        super().__init__()
        self.policy, self.continuous, self.stochastic = policy, spec.action.kind == "continuous", stochastic
        self.register_buffer("low", torch.tensor(spec.action.low))
        self.register_buffer("high", torch.tensor(spec.action.high))
        self.eval()

    def forward(self, obs: Tensor) -> Tensor:
        """As judged, or as explored when all schedules have ended."""
        action = self.policy.explore(obs, END) if self.stochastic else self.policy.act(obs)
        if not self.continuous:
            return action
        bounded = self.low.isfinite() & self.high.isfinite()
        low, high = torch.where(bounded, self.low, -1.0), torch.where(bounded, self.high, 1.0)
        scaled = action.clamp(-1.0, 1.0) * ((high - low) / 2.0) + (low + high) / 2.0
        return torch.where(bounded, scaled.clamp(low, high), action)


def check_exportable(policy: Algorithm) -> None:
    """Raise `UserError` for what cannot be one function of the observation."""
    if not policy.is_policy:
        raise UserError(f"{type(policy).__name__} is no policy: it values the policy that made its data")
    if remembers(policy):
        raise UserError(
            f"{type(policy).__name__} remembers what it saw in an episode; only policies that act on the observation "
            "alone can be exported. In Python `offrl.train.checkpoint.load_policy` plays it"
        )


def example(policy: nn.Module, spec: Spec, rows: int) -> Tensor:
    """[rows, *obs.shape] made-up observations, the same at each call: around those that the policy's normalisation
    knows, if it has one, since all that is far from them looks alike to it."""
    generator = torch.Generator().manual_seed(0)
    shape = (rows, *spec.obs.shape)
    if spec.obs.dtype == "uint8":
        return torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    drawn = torch.randn(shape, generator=generator)
    known = next((part for part in policy.modules() if isinstance(part, Normalize)), None)
    return drawn if known is None else known.mean + known.std * drawn


def write(policy: Deployed, spec: Spec, path: Path, form: str) -> Act:
    """Write the policy to `path`, for any number of observations at once; returns the file's own `act`.

    `form`: "onnx" for ONNX Runtime in any language, "torch" for `torch.export.load`.

    Raises:
        UserError: the packages that write or read the form are missing, or the policy does something it cannot hold.
    """
    writer, reader = {"onnx": (_write_onnx, _read_onnx), "torch": (_write_torch, _read_torch)}[form]
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    try:
        with torch.no_grad(), _quiet():
            writer(policy, example(policy, spec, 2), batch, path)
    except ImportError as error:
        raise UserError(f"format={form} needs {error.name}: pip install 'offrl[export]'") from error
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{type(policy.policy).__name__} cannot be written as {form}: {reason}") from error
    return reader(path)


def difference(act: Act, policy: Deployed, spec: Spec, rows: int = 64) -> float | None:
    """Largest difference between an exported policy's actions and the policy's own, on made-up observations, all at
    once and one by one; None where the policy draws its actions, so that none is right.

    In units of half the distance between an action's bounds; where it has none, absolute, or above 1 relative.
    """
    obs = example(policy, spec, rows)
    with torch.no_grad():
        expected = policy(obs).numpy()
        draws = not np.array_equal(expected, policy(obs).numpy())
    at_once = act(obs.numpy())
    singly = np.concatenate([act(row.numpy()) for row in obs.split(1)])
    if draws:
        return None
    unit = np.maximum(np.abs(expected), 1.0)
    if policy.continuous:
        half = (np.asarray(spec.action.high) - np.asarray(spec.action.low)) / 2.0
        unit = np.where(np.isfinite(half) & (half > 0.0), half, unit)
    return float(max((np.abs(found - expected) / unit).max() for found in (at_once, singly)))


def card(spec: Spec, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What goes in and what comes out, for whoever calls the file; `inputs` is what is known of the observation's
    parts."""
    takes = asdict(spec.obs) | {"shape": ["N", *spec.obs.shape], "name": "obs", **inputs}
    gives = asdict(spec.action) | {"shape": ["N", *spec.action.shape], "name": "action"}
    gives["dtype"] = "float32" if spec.action.kind == "continuous" else "int64"
    return {"takes": takes, "gives": gives}


def _write_onnx(policy: Deployed, obs: Tensor, batch: Any, path: Path) -> None:
    import onnx  # noqa: F401  # pyright: ignore[reportUnusedImport, reportMissingTypeStubs]
    import onnxscript  # noqa: F401  # pyright: ignore[reportUnusedImport, reportMissingTypeStubs]

    program = torch.onnx.export(
        policy,
        (obs,),
        dynamo=True,
        dynamic_shapes=({0: batch},),
        input_names=["obs"],
        output_names=["action"],
        verbose=False,
    )
    assert program is not None  # as always with dynamo=True
    program.save(str(path), external_data=False)


def _read_onnx(path: Path) -> Act:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda obs: np.asarray(session.run(None, {"obs": obs})[0])


def _write_torch(policy: Deployed, obs: Tensor, batch: Any, path: Path) -> None:
    program = torch.export.export(policy, (obs,), dynamic_shapes=({0: batch},), strict=False)
    with path.open("wb") as file:
        torch.export.save(program, file)


def _read_torch(path: Path) -> Act:
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda obs: module(torch.from_numpy(obs)).numpy()


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Without what the exporters have to say about their own inside."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
