"""From observations to numbers: normalisation, encoders, and the recipes that a `network` config names.

A recipe is what a config builds; its `build` makes the module once the observation space is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from offrl.errors import UserError
from offrl.nn.layers import Activation, Dense, Initialisation
from offrl.types import ActionSpec, ObsSpec, Spec

FAR = 10.0  # standard deviations


class Normalize(nn.Module):
    """(obs − mean) / std, clipped to [-10, 10], with statistics that are saved with the network; mean 0 and std 1 until
    `set` is called.

    Far outside of all that was seen a network answers anything: hence the bounds, which are those of `VecNormalize` in
    OpenAI baselines.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take over statistics of one observation, [*shape] each; what never varies is only centred."""
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0.0, std, 1.0))

    def forward(self, obs: Tensor) -> Tensor:
        return ((obs - self.mean) / self.std).clamp(-FAR, FAR)


class Encoder(nn.Module):
    """[B, *obs.shape] -> [B, features]."""

    features: int


class VectorEncoder(Encoder):
    """[B, *shape] -> [B, features]: normalise where wanted, and lay a history window end to end."""

    def __init__(self, obs: ObsSpec, normalize: bool) -> None:
        super().__init__()
        self.normalize = Normalize(obs.shape) if normalize else None
        self.flat = len(obs.shape) == 1
        self.features = math.prod(obs.shape)

    def forward(self, obs: Tensor) -> Tensor:
        obs = obs if self.normalize is None else self.normalize(obs)
        return obs if self.flat else obs.flatten(1)


class ImageEncoder(Encoder):
    """uint8 [B, channels, height, width] -> [B, features] by convolutions; a history window becomes
    channels."""

    def __init__(self, obs: ObsSpec, recipe: CNN) -> None:
        super().__init__()
        self.scale = recipe.pixel_scale
        channels, *size = (math.prod(obs.shape[:-2]), *obs.shape[-2:])
        layers: list[nn.Module] = []
        for filters, kernel, stride in zip(recipe.channels, recipe.kernels, recipe.strides, strict=True):
            size = [(length - kernel) // stride + 1 for length in size]
            if min(size) < 1:
                raise UserError(
                    f"network.kernels={recipe.kernels} with strides={recipe.strides} shrink an image of "
                    f"{obs.shape[-2]}x{obs.shape[-1]} to nothing: use network=cnn_small"
                )
            layers += [nn.Conv2d(channels, filters, kernel, stride), nn.ReLU()]
            channels = filters
        self.convolutions = nn.Sequential(*layers)
        self.features = channels * math.prod(size)

    def forward(self, obs: Tensor) -> Tensor:
        pixels = obs.flatten(1, -3) if obs.dim() > 4 else obs
        return self.convolutions(pixels / self.scale).flatten(1)


class RecurrentEncoder(Encoder):
    """[B, H, obs] -> [B, features]: a GRU reads the history window, oldest first; its last state is the
    feature.

    The state is recomputed from the window, never carried between steps, so replay and logged data need
    nothing special.
    """

    def __init__(self, obs: ObsSpec, recipe: Recurrent) -> None:
        super().__init__()
        if obs.history == 0 or obs.is_image:
            raise UserError(
                f"network=recurrent reads a window of vectors, but observations have shape {obs.shape}: "
                "set env.history to the window's length, for example env.history=8"
            )
        self.normalize = Normalize(obs.shape) if recipe.normalize_obs else None
        self.gru = nn.GRU(obs.shape[-1], recipe.recurrent_size, batch_first=True)
        self.features = recipe.recurrent_size

    def forward(self, obs: Tensor) -> Tensor:
        obs = obs if self.normalize is None else self.normalize(obs)
        return self.gru(obs)[0][:, -1]


class Network(nn.Module):
    """An encoder, then a dense stack; `extra` inputs (actions) join after the encoder."""

    def __init__(self, encoder: Encoder, body: Dense) -> None:
        super().__init__()
        self.encoder, self.body = encoder, body

    def forward(self, obs: Tensor, extra: Tensor | None = None, member: int | None = None) -> Tensor:
        """[B, *obs.shape], [B, extra] -> [B, outputs] or [E, B, outputs]; with `member` that one's [B, outputs].

        `extra` [E, B, extra] gives each member of an ensemble inputs of its own.
        """
        features = self.encoder(obs)
        if extra is None:
            return self.body(features, member)
        if extra.dim() > features.dim():
            features = features.expand(*extra.shape[:-1], -1)
        return self.body(torch.cat((features, extra), -1), member)


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Recipe: dense layers over a vector observation."""

    hidden: tuple[int, ...]  # units of each hidden layer
    activation: Activation
    layer_norm: bool
    initialisation: Initialisation
    normalize_obs: bool  # by statistics of the data, kept in the network and saved with it

    def encoder(self, obs: ObsSpec) -> Encoder:
        """The part that reads the observation."""
        if obs.is_image:
            raise UserError(
                f"network=mlp cannot read images of shape {obs.shape}: use network=cnn or network=cnn_small"
            )
        return VectorEncoder(obs, self.normalize_obs)

    def build(
        self, obs: ObsSpec, outputs: int, *, extra: int = 0, members: int | None = None, gain: float = 1.0
    ) -> Network:
        """A network with `outputs` numbers a row, `extra` inputs beside the observation, as an ensemble if
        `members`."""
        encoder = self.encoder(obs)
        return Network(encoder, self.body(encoder.features + extra, outputs, members=members, gain=gain))

    def body(self, inputs: int, outputs: int, *, members: int | None = None, gain: float = 1.0) -> Dense:
        """The dense stack behind the encoder alone."""
        return Dense(
            inputs,
            self.hidden,
            outputs,
            members=members,
            activation=self.activation,
            layer_norm=self.layer_norm,
            initialisation=self.initialisation,
            gain=gain,
        )


@dataclass(frozen=True, kw_only=True)
class CNN(MLP):
    """Recipe: convolutions over an image, then dense layers. Members of an ensemble share the
    convolutions."""

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    pixel_scale: float  # the value that becomes 1

    def encoder(self, obs: ObsSpec) -> Encoder:
        if not obs.is_image:
            raise UserError(f"network=cnn reads images, but observations have shape {obs.shape}: use network=mlp")
        if self.normalize_obs:
            raise UserError("network.normalize_obs=true has no meaning for images: pixel_scale does it")
        if not len(self.channels) == len(self.kernels) == len(self.strides):
            raise UserError("network.channels, network.kernels and network.strides must be equally long")
        return ImageEncoder(obs, self)


@dataclass(frozen=True, kw_only=True)
class Recurrent(MLP):
    """Recipe: a GRU over the history window, then dense layers."""

    recurrent_size: int

    def encoder(self, obs: ObsSpec) -> Encoder:
        return RecurrentEncoder(obs, self)


class Critics(nn.Module):
    """E action values side by side.

    Continuous actions are inputs: (obs [B, …], action [B, A]) -> [E, B]. Discrete ones are outputs: (obs) ->
    [E, B, K], or with the action indices [B] the values of those, [E, B]. With `member` the axis E is gone: the
    values of that one alone.
    """

    def __init__(self, spec: Spec, network: MLP, members: int) -> None:
        super().__init__()
        self.discrete = spec.action.kind == "discrete"
        outputs = spec.action.choices[0] if self.discrete else 1
        extra = 0 if self.discrete else action_inputs(spec.action)
        self.network = network.build(spec.obs, outputs, extra=extra, members=members)

    def forward(self, obs: Tensor, action: Tensor | None = None, member: int | None = None) -> Tensor:
        if not self.discrete:
            return self.network(obs, action, member).squeeze(-1)
        values = self.network(obs, None, member)
        if action is None:
            return values
        return values.gather(-1, action.expand(values.shape[:-1]).unsqueeze(-1)).squeeze(-1)


class ActionValues(nn.Module):
    """The value of each of K discrete actions, from one pass: (obs) -> [*E, B, K]; or, with `numbers` N, what is said
    of it in N numbers (a distribution), [*E, B, K, N].

    `dueling` splits the dense stack in two, a value and the advantages over it, Q = V + A − mean_a A (Wang et al. 2016,
    arXiv:1511.06581, eq. 9). The streams share the encoder, as in the paper's networks for images; of a vector
    observation each sees all, so there they share nothing.
    """

    def __init__(
        self,
        spec: Spec,
        network: MLP,
        *,
        dueling: bool = False,
        numbers: int | None = None,
        members: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = network.encoder(spec.obs)
        self.numbers = numbers
        width, inputs = numbers or 1, self.encoder.features
        self.advantage = network.body(inputs, spec.action.choices[0] * width, members=members)
        self.value = network.body(inputs, width, members=members) if dueling else None

    def forward(self, obs: Tensor) -> Tensor:
        features = self.encoder(obs)
        values = self.advantage(features).unflatten(-1, (-1, self.numbers or 1))  # [*E, B, K, N]
        if self.value is not None:
            values = values - values.mean(-2, keepdim=True) + self.value(features).unsqueeze(-2)
        return values if self.numbers else values.squeeze(-1)


class Value(nn.Module):
    """V(s): [B, *obs.shape] -> [B]."""

    def __init__(self, spec: Spec, network: MLP, gain: float = 1.0) -> None:
        super().__init__()
        self.network = network.build(spec.obs, 1, gain=gain)

    def forward(self, obs: Tensor) -> Tensor:
        return self.network(obs).squeeze(-1)


def action_inputs(action: ActionSpec) -> int:
    """Numbers that one action takes as an input; raises where it cannot be one."""
    if action.kind != "continuous":
        raise UserError(f"a critic takes continuous or discrete actions, not {action.kind} ones")
    return action.size
