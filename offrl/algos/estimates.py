"""What an algorithm believes: the return that its own critic expects of its own policy."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from offrl.algos.base import Algorithm
from offrl.nn.learner import Learner, Target


@torch.no_grad()
def believed_return(algo: Algorithm, obs: Tensor) -> Tensor | None:
    """[N, *obs.shape] -> Q(s, a) of the action that `act` chooses, or V(s) where there is no Q [N].

    None where there is neither, in a form understood here: a method `values(obs)` for all actions; a `critic`, network
    or method, of observations [..., N, K], or of observations and actions [..., N]; a `value` likewise, maybe inside a
    `model`. Of several critics the least counts, as it does in the targets that they learn from.
    """
    values, critic = getattr(algo, "values", None), getattr(algo, "critic", None)
    if callable(values):
        return _of_action(values(obs), algo.act(obs))
    if callable(critic):
        inputs = _inputs(critic)
        if inputs[1:2] == ["action"]:
            return _least(critic(obs, algo.act(obs)), len(obs))
        return _of_action(critic(obs), algo.act(obs)) if len(inputs) == 1 else None
    for holder in (algo, _bare(getattr(algo, "model", None))):
        value = getattr(holder, "value", None)
        if callable(value) and len(_inputs(value)) == 1:
            return _least(value(obs), len(obs))
    return None


def _bare(part: Any) -> Any:
    """The network that is learned or lags, without what moves it."""
    return part.network if isinstance(part, Learner | Target) else part


def _inputs(function: Callable[..., Any]) -> list[str]:
    """What a network or a method is given, by name; nothing where it does not say."""
    network = _bare(function)
    parameters = inspect.signature(getattr(network, "forward", network)).parameters.values()
    return [] if any(p.kind is p.VAR_POSITIONAL for p in parameters) else [p.name for p in parameters]


def _of_action(values: Any, action: Tensor) -> Tensor | None:
    """[..., N, K] and indices [N] -> [N]."""
    if not isinstance(values, Tensor) or action.dim() != 1 or values.dim() < 2 or values.shape[-2] != len(action):
        return None
    index = action.long().expand(values.shape[:-1]).unsqueeze(-1)
    return _least(values.gather(-1, index).squeeze(-1), len(action))


def _least(values: Any, count: int) -> Tensor | None:
    """[..., N] -> [N]."""
    if not isinstance(values, Tensor) or values.dim() < 1 or values.shape[-1] != count:
        return None
    return values.reshape(-1, count).amin(0)
