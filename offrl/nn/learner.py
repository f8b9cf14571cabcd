"""What moves a network: gradients, Adam, lagged copies. Algorithms say which loss, never how.

No parameter of the library requires a gradient. `descend` differentiates a loss with respect to one network
alone, so every other network in that loss is a constant: there is nothing to detach, to freeze or to zero.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# Torch's multi-tensor operators have private names and no public equal.

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value
from torch.optim.adam import adam

from offrl.types import Loss, Metrics

M = TypeVar("M", bound=nn.Module)


class Learner(nn.Module, Generic[M]):
    """A network and the Adam moments that move it (Kingma & Ba 2015, arXiv:1412.6980); `state_dict()` holds
    both."""

    lr: Tensor  # 0-d
    step: Tensor  # 0-d: how many steps it has taken

    def __init__(self, network: M, lr: float, *, eps: float = 1e-8, max_grad_norm: float | None = None) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.eps, self.max_grad_norm = eps, max_grad_norm
        self.register_buffer("lr", torch.tensor(lr))
        self.register_buffer("step", torch.zeros(()))
        for i, parameter in enumerate(network.parameters()):
            self.register_buffer(f"first{i}", torch.zeros_like(parameter))
            self.register_buffer(f"second{i}", torch.zeros_like(parameter))
        self._list_state()

    def forward(self, *inputs: Any) -> Any:
        """The network itself, as a constant; gradients still pass through it to its inputs."""
        return self.network(*inputs)

    def descend(self, loss: Callable[..., Loss], *args: Any) -> Metrics:
        """One Adam step on the scalar of `loss(network, *args) -> (scalar, metrics)`; returns the metrics."""
        gradients, metrics = (self._traced if torch.compiler.is_compiling() else self._eager)(loss, *args)
        if self.max_grad_norm is not None:
            clip_(gradients, self.max_grad_norm)
        self._adam(gradients)
        return metrics

    def _eager(self, loss: Callable[..., Loss], *args: Any) -> tuple[list[Tensor], Metrics]:
        for parameter in self._parameters_list:
            parameter.requires_grad_(True)
        try:
            with torch.enable_grad():
                value, metrics = loss(self.network, *args)
            gradients = torch.autograd.grad(value, self._parameters_list)
        finally:
            for parameter in self._parameters_list:
                parameter.requires_grad_(False)
        return list(gradients), {name: metric.detach() for name, metric in metrics.items()}

    def _traced(self, loss: Callable[..., Loss], *args: Any) -> tuple[list[Tensor], Metrics]:
        """The same through functional gradients, which `torch.compile` puts into one graph."""

        def objective(candidate: dict[str, Tensor]) -> Loss:
            def network(*inputs: Tensor) -> Any:
                return functional_call(self.network, candidate, inputs)

            return loss(network, *args)

        parameters: dict[str, Tensor] = dict(self.network.named_parameters())
        gradients, (_, metrics) = grad_and_value(objective, has_aux=True)(parameters)
        return list(gradients.values()), metrics

    @torch.no_grad()
    def _adam(self, gradients: list[Tensor]) -> None:
        """The fused step, called directly; while tracing the public one, of which a compiler can see the inside."""
        parameters, first, second = self._parameters_list, self._first, self._second
        constants: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": self.eps}
        constants |= {"lr": self.lr, "amsgrad": False, "maximize": False}
        if torch.compiler.is_compiling():
            steps = [self.step.clone() for _ in parameters]  # it counts each one up
            adam(parameters, gradients, first, second, [], steps, foreach=True, capturable=True, **constants)
            self.step.add_(1.0)
        else:
            self.step.add_(1.0)
            torch._fused_adam_(parameters, gradients, first, second, [], self._steps, **constants)

    def _list_state(self) -> None:
        """Lists for the fused step, made once: walking the module tree at each update would cost more than Adam."""
        self._parameters_list: list[Tensor] = list(self.network.parameters())
        count = len(self._parameters_list)
        self._first, self._second = (
            [self.get_buffer(f"{name}{i}") for i in range(count)] for name in ("first", "second")
        )
        self._steps = [self.step] * count

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Learner[M]:
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        self._list_state()
        return self


class Target(nn.Module):
    """A lagged copy of a learner's network: after every `period` updates it moves a step `rate` towards
    it."""

    count: Tensor

    def __init__(self, learner: Learner[Any], rate: float, period: int = 1) -> None:
        super().__init__()
        self.network = copy.deepcopy(learner.network).requires_grad_(False)
        self.rate, self.period = rate, period
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self._list_state()

    def forward(self, *inputs: Tensor) -> Any:
        """The lagged network, as a constant."""
        return self.network(*inputs)

    @torch.no_grad()
    def track(self, learner: Learner[Any]) -> None:
        """target ← target + rate (network − target), or nothing between the periods."""
        rate: float | Tensor = self.rate
        if self.period > 1:  # as a tensor, so that a captured graph needs no branch
            self.count += 1
            rate = self.rate * (self.count % self.period == 0)
        torch._foreach_lerp_(  # pyright: ignore[reportCallIssue]
            self._parameters_list,
            learner._parameters_list,
            rate,  # pyright: ignore[reportArgumentType]
        )

    def _list_state(self) -> None:
        self._parameters_list: list[Tensor] = list(self.network.parameters())

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Target:
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        self._list_state()
        return self


def clip_(gradients: list[Tensor], max_norm: float) -> None:
    """Scale gradients in place so that their joint Euclidean norm is at most `max_norm` (Pascanu et al.
    2013)."""
    norm = torch.stack(torch._foreach_norm(gradients)).square().sum().sqrt()
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
