"""What methods that solve linear equations in fixed features share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from offrl.algos.base import Solver
from offrl.errors import UserError
from offrl.nn.features import Features
from offrl.types import Steps


@dataclass(eq=False, kw_only=True)
class LeastSquares(Solver):
    """Solves once a round; `ridge` keeps features that repeat each other from making the equations singular."""

    ridge: float  # added to the diagonal of the matrix that is inverted, whose entries grow with the rows
    features: Features  # φ(s)

    def check(self) -> None:
        super().check()
        if self.ridge < 0.0:
            raise UserError(f"algo.ridge={self.ridge} is negative")

    def check_data(self, steps: Steps) -> None:
        self.features.check_data(steps)

    def ridged(self, matrix: Tensor) -> Tensor:
        """The matrix [n, n] with `ridge` added to its diagonal."""
        return matrix + self.ridge * torch.eye(len(matrix)).to(matrix)
