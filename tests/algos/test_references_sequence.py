"""Decision Transformer: ours and a plain one move alike; it remembers what it should, and looks only back."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from offrl.algos.sequence.context import Context
from offrl.types import Batch, at_play
from tests.algos.test_references import (
    ACTIONS,
    CHOICES,
    CONTINUOUS,
    DISCRETE,
    OBS,
    Make,
    dense,
    make,  # noqa: F401  # pyright: ignore[reportUnusedImport] - a fixture
)
from tests.reference.plain import assert_same, copy_of
from tests.reference.sequence import DecisionTransformer

pytestmark = pytest.mark.usefixtures("double_precision")
# Adam's first steps divide each gradient by its own size, and some here are nearly 0, where sums differ by processor.
TOLERANCE = 1e-7
LENGTH, ROWS = 4, 6
SMALL = (
    "network.width=8",
    "network.heads=2",
    "network.layers=2",
    f"algo.context_length={LENGTH}",
    "algo.timesteps=9",
    "algo.dropout=0.0",
    "algo.return_scale=2.0",
    "algo.warmup_updates=2",
    "algo.lr=0.01",
)


def contexts(discrete: bool) -> Batch:
    shape = (ROWS, LENGTH)
    action = torch.randint(CHOICES, shape) if discrete else torch.rand(*shape, ACTIONS) * 2 - 1
    age = torch.randint(1, LENGTH + 1, (ROWS, 1))
    obs = torch.randn(*shape, OBS)
    timestep = (torch.randint(4, (ROWS, 1)) + torch.arange(LENGTH)).clamp(min=0)
    mask = torch.arange(LENGTH, 0, -1) <= age
    return Batch(
        obs,
        action,
        torch.randn(shape),
        torch.ones(shape),
        obs,
        return_to_go=torch.randn(shape),
        timestep=timestep,
        mask=mask,
    )


@pytest.mark.parametrize("discrete", [False, True])
def test_decision_transformer(make: Make, discrete: bool) -> None:  # noqa: F811
    ours = make("decision_transformer", DISCRETE if discrete else CONTINUOUS, *SMALL)
    encoder = ours.actor.network.network.encoder
    reference = DecisionTransformer(encoder, copy_of(dense(ours.actor)), 2, CHOICES if discrete else None)
    reference.start(ours.lr, ours.warmup_updates, ours.max_grad_norm)
    for _ in range(3):
        batch = contexts(discrete)
        ours.update(batch)
        reference.update(batch)
    assert_same("read-out", reference.read_out, dense(ours.actor), TOLERANCE)
    for theirs, mine in reference.pairs:
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=0, atol=TOLERANCE)
    layers = cast("list[nn.TransformerEncoderLayer]", reference.body.layers)
    for theirs, mine in zip(layers, encoder.transformer.blocks, strict=True):
        torch.testing.assert_close(mine.question.weight, theirs.self_attn.in_proj_weight, rtol=0, atol=TOLERANCE)


def test_no_step_sees_what_comes_after_it_or_was_not_there(make: Make) -> None:  # noqa: F811
    ours, batch = make("decision_transformer", CONTINUOUS, *SMALL), contexts(False)

    def chosen(batch: Batch) -> Tensor:
        context = Context(batch.obs, batch.action, batch.return_to_go, batch.timestep, batch.mask, 0.0)
        return ours.actor(context).mode().unflatten(0, (ROWS, LENGTH))

    before = chosen(batch)
    later = batch._replace(obs=batch.obs.clone(), action=batch.action.clone())
    later.obs[:, 3], later.action[:, 2] = 9.0, 0.9
    assert torch.equal(chosen(later)[:, :3], before[:, :3])
    assert not torch.equal(chosen(later)[:, 3], before[:, 3])
    absent = batch._replace(obs=torch.where(batch.mask.unsqueeze(-1), batch.obs, 9.0))
    assert torch.equal(chosen(absent)[batch.mask], before[batch.mask])


def test_at_play_it_sees_what_it_would_be_shown_of_its_own_episode(make: Make) -> None:  # noqa: F811
    """Acting step by step equals reading the same steps as one context; a new episode starts from nothing."""
    ours = make("decision_transformer", CONTINUOUS, *SMALL, "algo.target_return=3.0")
    player: Any = at_play(ours, 2)
    obs, reward = torch.randn(6, 2, OBS), torch.randn(6, 2)
    actions: list[Tensor] = []
    for t in range(6):
        actions.append(player.act(obs[t]))
        over = torch.tensor([False, t == 2])
        player.observe(actions[-1], reward[t], over)
    for env, first in ((0, 0), (1, 3)):
        steps = range(max(first, 6 - LENGTH), 6)
        pad = LENGTH - len(steps)
        to_go = [3.0 - float(reward[first:t, env].sum()) for t in steps]

        def padded(column: Tensor, pad: int = pad) -> Tensor:
            return torch.cat((torch.zeros(pad, *column.shape[1:], dtype=column.dtype), column)).unsqueeze(0)

        context = Context(
            padded(torch.stack([obs[t, env] for t in steps])),
            padded(torch.stack([actions[t][env] for t in steps])),
            padded(torch.tensor(to_go)),
            padded(torch.tensor([t - first for t in steps])),
            padded(torch.ones(len(steps), dtype=torch.bool)),
            None,
        )
        torch.testing.assert_close(ours.actor(context).mode()[0], actions[5][env])


def test_numbers_are_dropped_from_the_embeddings_too(make: Make) -> None:  # noqa: F811
    ours, batch = make("decision_transformer", CONTINUOUS, *SMALL, "network.layers=0"), contexts(False)

    def features(rate: float) -> Tensor:
        context = Context(batch.obs, batch.action, batch.return_to_go, batch.timestep, batch.mask, rate)
        return ours.actor.network.network.encoder(context)

    assert torch.equal(features(0.0), features(0.0))
    assert not torch.allclose(features(0.5), features(0.5))


def test_it_asks_for_what_the_best_episode_earned(make: Make) -> None:  # noqa: F811
    ours = make("decision_transformer", CONTINUOUS, *SMALL)
    assert ours.act(torch.randn(2, OBS)).isfinite().all()
    ours.set_earnings(-12.5, 1.0, 0.0)
    ours.update(contexts(False))
    assert float(ours.target) == -12.5


@pytest.mark.parametrize(("scale", "shift", "left"), [(0.01, 0.0, 3.67), (0.01, -0.5, 6.17), (1.0, 0.0, -1.28)])
def test_what_is_earned_counts_as_it_does_in_the_data(make: Make, scale: float, shift: float, left: float) -> None:  # noqa: F811
    """Five rewards of 1 are taken off a return of 3.72, also by who was saved and loaded; new episodes ask for all."""
    learner, ours = (make("decision_transformer", CONTINUOUS, *SMALL, "algo.target_return=3.72") for _ in range(2))
    learner.set_earnings(50.0, scale, shift)
    ours.load_state_dict(learner.state_dict())
    player: Any = at_play(ours, 2)
    for t in range(5):
        action = player.act(torch.randn(2, OBS))
        player.observe(action, torch.ones(2), torch.tensor([False, t == 4]))
    assert player.return_to_go.tolist() == pytest.approx([left, 3.72])
