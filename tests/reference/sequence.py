"""Decision Transformer (Chen et al. 2021) from torch's own transformer layers."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from offrl.algos.sequence.context import ContextEncoder
from offrl.types import Batch
from tests.reference.plain import adam, step


class DecisionTransformer(nn.Module):
    """Deterministic, or categorical with `choices`; weights are those of `ours` and `read_out`."""

    def __init__(self, ours: ContextEncoder, read_out: nn.ModuleList, heads: int, choices: int | None) -> None:
        super().__init__()
        width = ours.features
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "relu", batch_first=True, norm_first=True)
        blocks = cast("list[Any]", list(ours.transformer.blocks))
        self.body = nn.TransformerEncoder(layer, len(blocks), nn.LayerNorm(width), enable_nested_tensor=False)
        self.embeds = nn.ModuleList(nn.Linear(*size) for size in ((1, width), (5, width), (choices or 3, width)))
        self.timestep, self.norm = nn.Embedding(ours.embed_timestep.num_embeddings, width), nn.LayerNorm(width)
        self.read_out, self.heads, self.choices, self.scale = read_out, heads, choices, ours.return_scale
        pairs: list[tuple[Any, Any]] = [(self.embeds[0], ours.embed_return), (self.embeds[1], ours.embed_obs)]
        pairs += [(self.embeds[2], ours.embed_action), (self.timestep, ours.embed_timestep), (self.norm, ours.norm)]
        pairs += [(self.body.norm, ours.transformer.norm)]
        for theirs, block in zip(cast("list[Any]", list(self.body.layers)), blocks, strict=True):
            theirs.self_attn.in_proj_weight.data.copy_(block.question.weight)
            theirs.self_attn.in_proj_bias.data.copy_(block.question.bias)
            pairs += [(theirs.self_attn.out_proj, block.output), (theirs.norm1, block.attention_norm)]
            pairs += [(theirs.linear1, block.widen), (theirs.linear2, block.narrow), (theirs.norm2, block.dense_norm)]
        for theirs, mine in pairs:
            theirs.load_state_dict(mine.state_dict())
        self.pairs = pairs

    def forward(self, batch: Batch) -> Tensor:
        """What is read out at the observations, [B, K, outputs]."""
        action = batch.action if self.choices is None else nn.functional.one_hot(batch.action, self.choices).double()
        step = self.timestep(batch.timestep)
        returns = self.embeds[0](batch.return_to_go.unsqueeze(-1) / self.scale) + step
        tokens = [returns, self.embeds[1](batch.obs) + step, self.embeds[2](action) + step]
        rows, length = batch.reward.shape
        x = torch.stack(tokens, dim=2).reshape(rows, 3 * length, -1)
        blocked = torch.ones(rows, 3 * length, 3 * length, dtype=torch.bool)
        for b in range(rows):
            for i in range(3 * length):
                for j in range(i + 1):
                    blocked[b, i, j] = i != j and not bool(batch.mask[b, j // 3])
        x = self.body(self.norm(x), mask=blocked.repeat_interleave(self.heads, dim=0))
        return self.read_out[0](x[:, 1::3])

    def start(self, lr: float, warmup: int, max_norm: float) -> None:
        """Make the optimiser."""
        self.optimizer, self.lr, self.warmup, self.max_norm, self.updates = (
            adam(self.parameters(), lr),
            lr,
            warmup,
            max_norm,
            0,
        )

    def update(self, batch: Batch) -> None:
        """One step, only on what is there."""
        self.updates += 1
        self.optimizer.param_groups[0]["lr"] = self.lr * min(1.0, self.updates / self.warmup)
        outputs, action = self(batch)[batch.mask], batch.action[batch.mask]
        if self.choices is None:
            loss = ((torch.tanh(outputs) - action) ** 2).mean()
        else:
            loss = nn.functional.cross_entropy(outputs, action)
        step(self.optimizer, loss, self.max_norm)
