"""Fitted Q evaluation with networks.

H. Le, C. Voloshin and Y. Yue, "Batch Policy Learning under Constraints", ICML 2019, arXiv:1903.08738, algorithm 3; with
networks and a lagged copy as in C. Voloshin et al., "Empirical Study of Off-Policy Policy Evaluation for Reinforcement
Learning", 2019, arXiv:1911.06854.

The network is told how many steps h are to go, and foretells a mean reward f of the steps that are likely to come:
Q_h = c_h f with c_h = 1 + λ + … + λ^(h−1), where λ is gamma times the share of the logged steps that did not end an
episode. Then nothing has to be said of h = 0, f is of the size of a reward at every h, and

    f_h(s, a) ← (r + gamma c_{h−1} Σ_a' p(a'|s') f_{h−1}(s', a')) / c_h.

Every logged step serves all h, but a share of them learns the h that it had, which counts most. The horizon grows from
1 to T during the first part of the training, so that values which are bootstrapped from have been learned before:
backward induction in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from offrl.errors import UserError
from offrl.nn.learner import Learner, Target
from offrl.nn.networks import MLP, Normalize, action_inputs
from offrl.ope.evidence import Array
from offrl.ope.features import spaced
from offrl.ope.logged import CHUNK, Log
from offrl.ope.values import ValueModel
from offrl.types import Loss, Network, Spec


@dataclass(frozen=True, kw_only=True)
class Neural(ValueModel):
    """Q_h(s, a) of all parts and members side by side, as one ensemble; a part's value is its members' mean."""

    network: MLP
    members: int  # networks a part
    lr: float  # falls to 0 in a straight line
    updates: int
    batch_size: int  # steps an update, of each network
    target_rate: float  # by which the copy that is bootstrapped from follows
    growth: float  # share of the updates in which the horizon grows
    own: float  # share of the drawn steps that learn the h which they had in the log, instead of any
    seed: int

    def check(self, log: Log) -> None:
        super().check(log)
        if log.spec.action.kind == "multi_discrete":
            raise UserError("value_model=neural takes continuous or single discrete actions: use estimator=is or wis")
        if min(self.members, self.updates, self.batch_size) < 1:
            raise UserError(
                f"value_model.members={self.members}, updates={self.updates}, batch_size={self.batch_size}: at least 1"
            )
        for name, least in (("target_rate", 1e-6), ("growth", 0.0), ("own", 0.0)):
            if not least <= (share := float(getattr(self, name))) <= 1.0:
                raise UserError(f"value_model.{name}={share:g}: a share, from {least:g} to 1")

    def fit(self, log: Log, fold: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64], Array]:
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            values = self._train(log, fold)
        part_of = torch.as_tensor(fold[log.episode])
        q, v = np.empty(log.rows), np.empty(log.rows)
        for chunk in log.chunks():
            batch, part, to_go = chunk.batch, part_of[chunk.rows], chunk.to_go
            q[chunk.rows] = values.taken(part, batch.obs, batch.action, to_go)
            v[chunk.rows] = values.expected(part, batch.obs, log.target.choices(batch.obs), to_go)
        ends = log.breaks(endless=self.stationary)
        after = [np.empty(0)]
        for rows in torch.as_tensor(ends).split(CHUNK):
            following = log.read(rows).next_obs
            to_go = torch.as_tensor(log.horizon - log.timestep[rows.numpy()] - 1)
            after.append(values.expected(part_of[rows], following, log.target.choices(following), to_go))
        return q, v, ends, np.concatenate(after)

    def _train(self, log: Log, fold: NDArray[np.int64]) -> Values:
        parts = int(fold.max()) + 1
        members = parts * self.members
        rows = [torch.as_tensor(np.flatnonzero((fold[log.episode] != part) | (parts == 1))) for part in range(parts)]
        seen = log.read(rows[0][spaced(len(rows[0]), CHUNK)])
        learner = Learner(MeanRewards(log.spec, self.network, members), self.lr)
        for module in learner.modules():
            if isinstance(module, Normalize):
                module.set(seen.obs.mean(0), seen.obs.std(0) + 1e-3)
        target = Target(learner, self.target_rate)
        unit = float(log.gather(lambda chunk: chunk.batch.reward.double().square()).mean() ** 0.5) or 1.0
        going = log.discount * float(log.gather(lambda chunk: chunk.batch.discount).mean())
        values = Values(learner, log, self.stationary, self.members, unit, going)
        following, had = _choices(log), torch.as_tensor(log.horizon - log.timestep)
        for update in tqdm(range(self.updates), "fitted Q evaluation", leave=False, disable=None):
            done = update / self.updates
            learner.lr.fill_(self.lr * (1.0 - done))
            drawn = torch.stack(
                [own[torch.randint(len(own), (self.batch_size,))] for own in rows for _ in range(self.members)]
            )
            batch = log.read(drawn.flatten())
            obs, action, next_obs = (x.unflatten(0, drawn.shape) for x in (batch.obs, batch.action, batch.next_obs))
            reach = log.horizon if done >= self.growth else 1 + int((log.horizon - 1) * done / self.growth)
            to_go = torch.randint(1, reach + 1, drawn.shape)
            logged = had[drawn]
            to_go = torch.where((torch.rand(drawn.shape) < self.own) & (logged > 0) & (logged <= reach), logged, to_go)
            with torch.no_grad():
                after = values.next(target, next_obs, following[drawn], to_go) * batch.discount.view(drawn.shape)
                aim = (batch.reward.view(drawn.shape) / unit + after) / values.annuity[to_go]
            learner.descend(_loss, obs, action, values.time(to_go), aim)
            target.track(learner)
        return values


def _loss(network: Network, obs: Tensor, action: Tensor, time: Tensor, aim: Tensor) -> Loss:
    return (network(obs, time, action) - aim).square().mean(), {}


def _choices(log: Log) -> Tensor:
    """[rows, …] what the target does after each step."""
    parts = [log.target.choices(chunk.batch.next_obs).float() for chunk in log.chunks()]
    return torch.cat(parts)


class MeanRewards(nn.Module):
    """f, of E members: from observations [E, B, …] and times [E, B, 2]; without an axis E all members see the same."""

    TIMES = 2

    def __init__(self, spec: Spec, network: MLP, members: int) -> None:
        super().__init__()
        self.discrete = spec.action.kind == "discrete"
        self.encoder = network.encoder(spec.obs)
        extra = self.TIMES + (0 if self.discrete else action_inputs(spec.action))
        outputs = spec.action.choices[0] if self.discrete else 1
        self.body = network.body(self.encoder.features + extra, outputs, members=members)

    def forward(self, obs: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """[E, B] of single actions."""
        if not self.discrete:
            return self._outputs(obs, torch.cat([time, action], -1)).squeeze(-1)
        each = self._outputs(obs, time)
        return each.gather(-1, action.expand(each.shape[:-1])[..., None]).squeeze(-1)

    def expected(self, obs: Tensor, time: Tensor, choices: Tensor) -> Tensor:
        """[E, B] over probabilities [*E, B, K], or draws [*E, B, D, A]."""
        if self.discrete:
            return (self._outputs(obs, time) * choices).sum(-1)
        draws, rows = choices.shape[-2], choices.dim() - 3  # the axis of rows
        obs, time = obs.repeat_interleave(draws, rows), time.repeat_interleave(draws, rows)
        each = self._outputs(obs, torch.cat([time, choices.flatten(rows, rows + 1)], -1)).squeeze(-1)
        return each.unflatten(-1, (-1, draws)).mean(-1)

    def _outputs(self, obs: Tensor, extra: Tensor) -> Tensor:
        lead = extra.shape[:-1]
        features = self.encoder(obs.flatten(0, len(lead) - 1)).unflatten(0, lead)
        return self.body(torch.cat([features, extra], -1))


class Values:
    """Values from foretold mean rewards."""

    def __init__(
        self, learner: Learner[MeanRewards], log: Log, stationary: bool, members: int, unit: float, going: float
    ) -> None:
        self.learner, self.discount, self.horizon = learner, log.discount, log.horizon
        self.stationary, self.members, self.unit = stationary, members, unit
        powers = going ** torch.arange(log.horizon, dtype=torch.float64)
        growing = torch.cat([torch.zeros(1), powers.cumsum(0).float()])
        self.annuity = torch.full_like(growing, 1.0 / (1.0 - going)) if stationary else growing  # c_h

    def time(self, to_go: Tensor) -> Tensor:
        """[…, 2]: h and log h, as shares of T's; of a stationary model always the same."""
        h = torch.full_like(to_go, self.horizon) if self.stationary else to_go
        share = h / self.horizon
        return torch.stack([share, (h + 1.0).log() / np.log(self.horizon + 1.0)], -1)

    def next(self, target: Target, obs: Tensor, choices: Tensor, to_go: Tensor) -> Tensor:
        """gamma c_{h−1} f_{h−1} of next states."""
        later = to_go if self.stationary else to_go - 1
        foretold = target.network.expected(obs, self.time(later), choices)
        return self.discount * self.annuity[later] * foretold

    @torch.no_grad()
    def taken(self, part: Tensor, obs: Tensor, action: Tensor, to_go: Tensor) -> Array:
        """Q [B]."""
        h = to_go.clamp(min=0)
        return self._mine(self.learner.network(obs, self.time(h), action), part, h)

    @torch.no_grad()
    def expected(self, part: Tensor, obs: Tensor, choices: Tensor, to_go: Tensor) -> Array:
        """V [B]."""
        h = to_go.clamp(min=0)
        return self._mine(self.learner.network.expected(obs, self.time(h), choices.float()), part, h)

    def _mine(self, foretold: Tensor, part: Tensor, to_go: Tensor) -> Array:
        """The mean of the members of each row's own part, as values."""
        means = foretold.unflatten(0, (-1, self.members)).mean(1)[part, torch.arange(len(part))]
        return (means * self.annuity[to_go] * self.unit).double().numpy()
