"""What a trainer may ask of an algorithm, and nothing more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, cast, get_type_hints

import torch
from torch import Tensor, nn

from offrl.errors import UserError
from offrl.nn.networks import Normalize
from offrl.nn.policies import Density, Distribution
from offrl.types import ActionKind, Batch, Experience, Metrics, Rollout, Spec, Steps


@dataclass(eq=False, kw_only=True)
class Algorithm(nn.Module, ABC):
    """One way of learning. Fields are its knobs, each given once in its YAML; `build` makes the networks.

    `state_dict()` is the whole of its state: parameters, moments, targets and counters.
    """

    learns_from: ClassVar[frozenset[Experience]]
    action_kinds: ClassVar[frozenset[ActionKind]]
    is_policy: ClassVar[bool] = True  # whether it can act; otherwise it only says what the data's policy is worth
    needs: ClassVar[tuple[str, ...]] = ()  # optional columns of `Batch` that `update` reads
    whole_episodes: ClassVar[bool] = False  # rows of a batch are whole episodes, no longer than `context`
    single_steps: ClassVar[bool] = False  # a reward is weighed as that of one action: none may be summed
    written_is_faster: ClassVar[bool] = False  # on a CPU, than compiled: `hardware.compile=auto` leaves it as it is
    structural: ClassVar[frozenset[str]] = frozenset()  # float knobs in which runs that train as one may not differ

    batch_size: int  # transitions an update

    def __post_init__(self) -> None:
        super().__init__()
        self.check()

    def check(self) -> None:
        """Raise `UserError` for knobs that make no sense together."""
        if self.batch_size < self.fewest_rows:
            raise UserError(
                f"algo.batch_size={self.batch_size}: {type(self).__name__} learns nothing from fewer than "
                f"{self.fewest_rows} rows: use algo.batch_size={self.fewest_rows} or more"
            )

    @property
    def return_discount(self) -> float:
        """gamma, for whoever prepares the data; 1 for algorithms without a value function."""
        return 1.0

    @property
    def context(self) -> int:
        """Steps of one episode in each row of a batch (see `Batch`); 0: rows are single transitions."""
        return 0

    @property
    def fewest_rows(self) -> int:
        """Rows of a batch without which an update learns nothing: more than one where they are compared."""
        return 1

    def check_data(self, steps: Steps) -> None:
        """Raise `UserError` for logged data, prepared for training, that this algorithm cannot learn from."""

    def set_earnings(self, best: float, scale: float, shift: float) -> None:
        """Hear, before learning from logged data alone, the largest undiscounted return of an episode in them, and what
        was done to their rewards before, reward * scale + shift. Only a policy that is told at play what it earns has a
        use for it.
        """

    @abstractmethod
    def build(self, spec: Spec) -> None:
        """Make networks, optimiser moments and targets for this observation and action space."""

    @abstractmethod
    def update(self, batch: Batch) -> Metrics:
        """Learn from one batch, in place; the metrics stay on the device."""

    @torch.no_grad()
    def act(self, obs: Tensor) -> Tensor:
        """[N, *obs.shape] -> deterministic action, in [-1, 1] where continuous: the mode of `distribution`, if not
        said otherwise.
        """
        return self.distribution(obs).mode()

    @torch.no_grad()
    def explore(self, obs: Tensor, step: int) -> Tensor:
        """[N, *obs.shape] -> action to gather experience with; `step` counts environment steps so far. A sample of
        `distribution`, if not said otherwise.
        """
        return self.distribution(obs).sample()

    @torch.no_grad()
    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """[N] log of the probability (discrete) or density of `action` [N, …] under `explore`, its schedules at their
        end; an action on a bound, or beyond it, stands for all that are clipped to it. Of `distribution`, if not said
        otherwise.

        Raises `UserError` where there is no density.
        """
        choice = self.distribution(obs) if type(self).explore is Algorithm.explore else None
        if not isinstance(choice, Density):
            raise UserError(
                f"{type(self).__name__} with this policy has no density: nothing says how likely an action is under it"
            )
        return choice.clipped_log_prob(action)

    def distribution(self, obs: Tensor) -> Distribution:
        """Over actions in [N, *obs.shape]: that of `self.actor`, if not said otherwise."""
        if not self.is_policy:
            raise UserError(f"{type(self).__name__} is no policy: it values the policy that made its data")
        return cast(Any, self).actor(obs)

    @property
    def normalizes_obs(self) -> bool:
        """Whether some network wants observation statistics (`network.normalize_obs=true`)."""
        return any(isinstance(module, Normalize) for module in self.modules())

    def set_obs_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Give every network, target networks included, the statistics [*obs.shape] to normalise by."""
        for module in self.modules():
            if isinstance(module, Normalize):
                module.set(mean, std)


@dataclass(eq=False, kw_only=True)
class Discounted(Algorithm):
    """An algorithm with a value function over a discounted future."""

    discount: float  # gamma, per environment step

    def check(self) -> None:
        super().check()
        if not 0.0 <= self.discount <= 1.0:
            raise UserError(f"algo.discount={self.discount} is not in [0, 1]")

    @property
    def return_discount(self) -> float:
        return self.discount


@dataclass(eq=False, kw_only=True)
class Solver(Discounted):
    """An algorithm that solves equations whose coefficients are sums over all data, instead of descending a loss.

    The sums are gathered a batch at a time, so that the data may be larger than memory; `batch_size` changes nothing
    but the room that this takes.
    """

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"passes"})

    @abstractmethod
    def clear(self) -> None:
        """Set the sums to zero."""

    @abstractmethod
    def gather(self, batch: Batch) -> None:
        """Add the rows of a batch to them."""

    @abstractmethod
    def solve(self) -> Metrics:
        """Learn all that they say."""

    def update(self, batch: Batch) -> Metrics:
        """All three, where `batch` is all there is."""
        self.clear()
        self.gather(batch)
        return self.solve()


@dataclass(eq=False, kw_only=True)
class OnPolicy(Discounted):
    """An algorithm that learns from its own fresh rollouts, and then throws them away."""

    learns_from: ClassVar[frozenset[Experience]] = frozenset({"rollout"})

    horizon: int  # steps of each environment in one rollout
    epochs: int  # passes over one rollout

    def check(self) -> None:
        super().check()
        for name in ("horizon", "epochs"):
            if getattr(self, name) < 1:
                raise UserError(f"algo.{name}={getattr(self, name)} must be at least 1")

    @abstractmethod
    def prepare(self, rollout: Rollout) -> Batch:
        """Turn a rollout into T·N rows with the columns that `update` reads (advantages, old
        log-probabilities …).

        Called once a rollout, before any update on it.
        """

    def anneal(self, progress: float) -> None:
        """Set schedules for the fraction `progress` in [0, 1] of training that is done; called before each
        rollout."""


def scalar_knobs(algorithm: type[Algorithm]) -> list[str]:
    """The knobs in which runs that train as one may differ: its floats, but for those that it calls structural."""
    hints = get_type_hints(algorithm)
    return [
        field.name
        for field in fields(algorithm)
        if hints[field.name] is float and field.name not in algorithm.structural
    ]
