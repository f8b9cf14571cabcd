"""What a `policy` config builds: the recipe of a policy network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from offrl.errors import UserError
from offrl.nn.heads.categorical import Choose
from offrl.nn.heads.distribution import Distribution
from offrl.nn.networks import MLP, Network
from offrl.types import ActionSpec, Spec

Ability = Literal["density", "reparameterised"]

# What an algorithm asks for, and which heads have it.
_WANTED: dict[Ability, str] = {
    "density": "log p(action | obs)",
    "reparameterised": "samples that can be differentiated",
}
_TRY: dict[Ability, str] = {
    "density": "gaussian, tanh_gaussian, mixture or autoregressive",
    "reparameterised": "gaussian, tanh_gaussian, diffusion or flow",
}


class PolicyNetwork(nn.Module):
    """obs [B, *obs.shape] -> a distribution over actions."""

    def __init__(self, network: Network, head: nn.Module) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, obs: Tensor) -> Distribution:
        return self.head(self.network(obs))


@dataclass(frozen=True, kw_only=True)
class Policy(ABC):
    """Recipe of a policy network. Discrete actions take the categorical head, whatever the recipe."""

    abilities: ClassVar[frozenset[Ability]]  # beyond sampling and cloning, with continuous actions

    output_gain: float  # of the last layer, where the network is initialised orthogonally

    def build(self, spec: Spec, network: MLP, *, needs: Ability | None = None) -> nn.Module:
        """The policy for this observation and action space: obs -> `Distribution`.

        Raises `UserError` where the algorithm `needs` what the head cannot do: "density" means `log_prob` and
        `entropy`, "reparameterised" a `sample` through which gradients pass.
        """
        continuous = spec.action.kind == "continuous"
        if needs is not None and needs not in (self.abilities if continuous else {"density"}):
            head = f"policy={option(type(self))}" if continuous else "a policy over discrete actions"
            raise UserError(
                f"this algorithm needs {_WANTED[needs]}, which {head} does not have"
                + (f": use policy={_TRY[needs]}" if continuous else ": use another algorithm")
            )
        return self.continuous(spec, network) if continuous else self.discrete(spec, network)

    def discrete(self, spec: Spec, network: MLP) -> nn.Module:
        """The policy over one or several discrete actions."""
        body = network.build(spec.obs, sum(spec.action.choices), gain=self.output_gain)
        return PolicyNetwork(body, Choose(spec))

    @abstractmethod
    def continuous(self, spec: Spec, network: MLP) -> nn.Module:
        """The policy over a continuous action."""


@dataclass(frozen=True, kw_only=True)
class ReadOut(Policy):
    """A recipe whose distribution is read off the outputs of one network."""

    def continuous(self, spec: Spec, network: MLP) -> nn.Module:
        head, outputs = self.head(spec.action)
        return PolicyNetwork(network.build(spec.obs, outputs, gain=self.output_gain), head)

    @abstractmethod
    def head(self, actions: ActionSpec) -> tuple[nn.Module, int]:
        """(what turns outputs into a distribution, how many outputs it needs)."""


@dataclass(frozen=True, kw_only=True)
class Categorical(Policy):
    """Recipe for discrete and multi-discrete actions alone."""

    abilities: ClassVar[frozenset[Ability]] = frozenset()

    def continuous(self, spec: Spec, network: MLP) -> nn.Module:
        raise UserError("policy=categorical is for discrete actions: use policy=gaussian for continuous ones")


def option(recipe: type[Policy]) -> str:
    """As its config is called: TanhGaussian is tanh_gaussian."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in recipe.__name__).lstrip("_")
