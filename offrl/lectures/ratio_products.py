"""What becomes of the product of probability ratios over an episode, as two policies move apart.

Under the behaviour policy the product has mean 1 at every length (D. Precup, R. Sutton and S. Singh, "Eligibility
Traces for Off-Policy Policy Evaluation", ICML 2000); yet its logarithm is a walk that drifts downwards by KL[b, π] a
step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import einsum
from torch.linalg import matrix_power

from offrl.envs.tabular import chain_walk
from offrl.functional import mdp as exact
from offrl.functional import noise


@dataclass(frozen=True)
class RatioProducts:
    """∏_t π(a_t|s_t) / b(a_t|s_t) of walks on a chain that never end, for random softmax policies."""

    distance: float  # deviation of the logits of π from those of b
    states: int
    episodes: int
    steps: int
    interval: int  # steps between two rows

    def __call__(self) -> Iterator[Mapping[str, float]]:
        """Rows of the product so far: its median over episodes, the size of its decimal logarithm, the share of the
        episodes that its weights leave in effect (Kish's effective sample size over their number), and its root mean
        square, which no sample shows: the sum over all walks, as a matrix power."""
        world = chain_walk(self.states)
        logits = noise.normal((self.states, world.actions), world.start)
        behaviour = logits.softmax(-1)
        target = (logits + self.distance * noise.normal((self.states, world.actions), world.start)).softmax(-1)
        walk = exact.simulate(world, behaviour, self.steps, self.episodes)
        ratio = (target / behaviour).log()[walk.obs, walk.action]  # [T, N]
        squares = einsum("sa,sat->st", target.square() / behaviour, world.onward)  # E_b[ρ²; s'] from s
        for step in range(self.interval, self.steps + 1, self.interval):
            product = ratio[:step].sum(0).exp()
            yield {
                "step": step,
                "ratio/median": product.median().item(),
                "ratio/spread": (world.start @ matrix_power(squares, step)).sum().sqrt().item(),
                "ratio/decades": product.log10().abs().median().item(),
                "ratio/effective": (product.sum().square() / product.square().sum() / self.episodes).item(),
            }
