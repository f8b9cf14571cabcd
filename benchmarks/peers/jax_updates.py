"""BC, TD3+BC, IQL, AWAC and SAC in plain JAX and optax, the way single-file JAX code writes them.

The whole state is one tree, an update is a pure function of it, the data lives in arrays on the device, indices are
drawn inside, and `lax.scan` makes many updates of one compiled call, whose memory is donated. Written from the papers
(see `plain_torch.py`); networks, losses and rates are those of the other contenders.

    python -m benchmarks.peers.jax_updates --algo iql
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any, NamedTuple

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--algo", required=True)
parser.add_argument("--count", type=int, default=1_000_000)
parser.add_argument("--choices", type=int, default=0, choices=[0])
parser.add_argument("--batch-size", type=int, default=256)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--platform", default="cpu", choices=["cpu", "cuda"], help="without which it ends")
parser.add_argument("--scan", type=int, default=20, help="updates of one compiled call")
ARGS = parser.parse_args()

os.environ["JAX_PLATFORMS"] = ARGS.platform
# XLA makes its pool as large as the cores that the process may use when it starts, and knows no other setting.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-ARGS.threads :])

import jax  # noqa: E402 - after the line above
import jax.numpy as jnp  # noqa: E402
import optax  # noqa: E402
from jax import Array  # noqa: E402

from benchmarks.synthetic import ACTION, OBS, hopper_like  # noqa: E402
from benchmarks.worker import serve, versions  # noqa: E402

DISCOUNT, POLYAK, LR = 0.99, 0.005, 3e-4
ADAM = optax.adam(LR)

Tree = Any
Metrics = dict[str, Array]


class Batch(NamedTuple):
    """Transitions."""

    obs: Array
    action: Array
    reward: Array
    next_obs: Array
    done: Array


class Net(NamedTuple):
    """Parameters and Adam's moments."""

    params: Tree
    moments: Tree


def mlp(key: Array, inputs: int, outputs: int) -> Tree:
    """Two hidden layers of 256: uniform weights, as torch makes them."""
    layers: Tree = []
    for key_, i, o in zip(jax.random.split(key, 3), (inputs, 256, 256), (256, 256, outputs), strict=True):
        w, b = jax.random.split(key_)
        bound = i**-0.5
        layers.append((jax.random.uniform(w, (i, o), minval=-bound, maxval=bound), jax.random.uniform(b, (o,)) * bound))
    return layers


def forward(layers: Tree, x: Array) -> Array:
    """The network's output."""
    for w, b in layers[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = layers[-1]
    return x @ w + b


def net(params: Tree) -> Net:
    """Ready to be moved."""
    return Net(params, ADAM.init(params))


def descend(old: Net, loss: Callable[[Tree], Array]) -> tuple[Net, Array]:
    """One step of Adam."""
    value, gradient = jax.value_and_grad(loss)(old.params)
    change, moments = ADAM.update(gradient, old.moments)
    return Net(optax.apply_updates(old.params, change), moments), value


def track(target: Tree, params: Tree) -> Tree:
    """A step of a lagged copy."""
    return optax.incremental_update(params, target, POLYAK)


def twins(key: Array) -> Tree:
    """Two critics, stacked."""
    return jax.vmap(lambda k: mlp(k, OBS + ACTION, 1))(jax.random.split(key))


def q_values(critics: Tree, obs: Array, action: Array) -> Array:
    """[2, B]."""
    x = jnp.concatenate([obs, action], -1)
    return jax.vmap(lambda layers: forward(layers, x)[:, 0])(critics)


def gaussian_log_prob(actor: Tree, obs: Array, action: Array) -> Array:
    """Of a Gaussian around tanh(mean), its spread the same everywhere, [B]."""
    mean, log_std = jnp.tanh(forward(actor["net"], obs)), actor["log_std"].clip(-5, 2)
    return jax.scipy.stats.norm.logpdf(action, mean, jnp.exp(log_std)).sum(-1)


def gaussian(key: Array) -> Tree:
    """Its parameters."""
    return {"net": mlp(key, OBS, ACTION), "log_std": jnp.zeros(ACTION)}


def squashed(actor: Tree, obs: Array, key: Array) -> tuple[Array, Array]:
    """An action of tanh(Gaussian) with a spread of the state's own, and its log-probability [B]."""
    mean, log_std = jnp.split(forward(actor, obs), 2, -1)
    log_std = log_std.clip(-20, 2)
    noise = jax.random.normal(key, mean.shape)
    raw = mean + jnp.exp(log_std) * noise
    log_prob = (
        -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.pi) - 2 * (jnp.log(2) - raw - jax.nn.softplus(-2 * raw))
    )
    return jnp.tanh(raw), log_prob.sum(-1)


def bc_start(key: Array) -> Tree:
    return {"actor": net(mlp(key, OBS, ACTION))}


def bc(state: Tree, batch: Batch, key: Array) -> tuple[Tree, Metrics]:
    """Deterministic cloning."""
    del key
    actor, loss = descend(state["actor"], lambda p: ((jnp.tanh(forward(p, batch.obs)) - batch.action) ** 2).mean())
    return {"actor": actor}, {"actor": loss}


def td3_bc_start(key: Array) -> Tree:
    first, second = jax.random.split(key)
    actor, critic = mlp(first, OBS, ACTION), twins(second)
    copies = jax.tree.map(jnp.copy, (actor, critic))
    return {"actor": net(actor), "critic": net(critic), "targets": copies, "count": jnp.zeros((), jnp.int32)}


def td3_bc(state: Tree, batch: Batch, key: Array) -> tuple[Tree, Metrics]:
    """TD3 whose actor is also pulled towards the data, at every second update."""
    actor_target, critic_target = state["targets"]
    noise = (jax.random.normal(key, batch.action.shape) * 0.2).clip(-0.5, 0.5)
    next_action = (jnp.tanh(forward(actor_target, batch.next_obs)) + noise).clip(-1, 1)
    future = q_values(critic_target, batch.next_obs, next_action).min(0)
    target = batch.reward + DISCOUNT * (1 - batch.done) * future
    critic, critic_loss = descend(
        state["critic"], lambda p: ((q_values(p, batch.obs, batch.action) - target) ** 2).mean(1).sum()
    )

    def actor_loss(params: Tree) -> Array:
        chosen = jnp.tanh(forward(params, batch.obs))
        x = jnp.concatenate([batch.obs, chosen], -1)
        q = forward(jax.tree.map(lambda leaf: leaf[0], critic.params), x)[:, 0]
        weight = 2.5 / jax.lax.stop_gradient(jnp.abs(q).mean())
        return -weight * q.mean() + ((chosen - batch.action) ** 2).mean()

    def delayed(actor: Net) -> tuple[Net, Tree, Array]:
        actor, loss = descend(actor, actor_loss)
        return actor, (track(actor_target, actor.params), track(critic_target, critic.params)), loss

    def skipped(actor: Net) -> tuple[Net, Tree, Array]:
        return actor, state["targets"], jnp.zeros(())

    count = state["count"] + 1
    actor, targets, loss = jax.lax.cond(count % 2 == 0, delayed, skipped, state["actor"])
    return {"actor": actor, "critic": critic, "targets": targets, "count": count}, {
        "critic": critic_loss,
        "actor": loss,
    }


def iql_start(key: Array) -> Tree:
    first, second, third = jax.random.split(key, 3)
    critic = twins(second)
    nets = {"actor": net(gaussian(first)), "critic": net(critic), "value": net(mlp(third, OBS, 1))}
    return nets | {"target": jax.tree.map(jnp.copy, critic)}


def iql(state: Tree, batch: Batch, key: Array) -> tuple[Tree, Metrics]:
    """Expectile value, then advantage-weighted cloning."""
    del key
    q = q_values(state["target"], batch.obs, batch.action).min(0)
    next_value = forward(state["value"].params, batch.next_obs)[:, 0]

    def value_loss(params: Tree) -> tuple[Array, Array]:
        advantage = q - forward(params, batch.obs)[:, 0]
        return (jnp.where(advantage > 0, 0.7, 0.3) * advantage**2).mean(), advantage

    (loss_v, advantage), gradient = jax.value_and_grad(value_loss, has_aux=True)(state["value"].params)
    change, moments = ADAM.update(gradient, state["value"].moments)
    value = Net(optax.apply_updates(state["value"].params, change), moments)
    target = batch.reward + DISCOUNT * (1 - batch.done) * next_value
    critic, loss_q = descend(state["critic"], lambda p: ((q_values(p, batch.obs, batch.action) - target) ** 2).mean())
    weight = jnp.minimum(jnp.exp(3.0 * advantage), 100.0)
    actor, loss_a = descend(state["actor"], lambda p: -(weight * gaussian_log_prob(p, batch.obs, batch.action)).mean())
    nets = {"actor": actor, "critic": critic, "value": value, "target": track(state["target"], critic.params)}
    return nets, {"value": loss_v, "critic": loss_q, "actor": loss_a}


def awac_start(key: Array) -> Tree:
    first, second = jax.random.split(key)
    critic = twins(second)
    return {"actor": net(gaussian(first)), "critic": net(critic), "target": jax.tree.map(jnp.copy, critic)}


def awac(state: Tree, batch: Batch, key: Array) -> tuple[Tree, Metrics]:
    """Cloning, weighted by the advantage under the policy itself."""

    def drawn(obs: Array, key: Array) -> Array:
        params = state["actor"].params
        std = jnp.exp(params["log_std"].clip(-5, 2))
        noise = jax.random.normal(key, batch.action.shape)
        return (jnp.tanh(forward(params["net"], obs)) + std * noise).clip(-1, 1)

    first, second = jax.random.split(key)
    future = q_values(state["target"], batch.next_obs, drawn(batch.next_obs, first)).min(0)
    target = batch.reward + DISCOUNT * (1 - batch.done) * future
    critic, loss_q = descend(
        state["critic"], lambda p: ((q_values(p, batch.obs, batch.action) - target) ** 2).mean(1).sum()
    )
    q = q_values(critic.params, batch.obs, batch.action).min(0)
    advantage = q - q_values(critic.params, batch.obs, drawn(batch.obs, second)).min(0)
    weight = jnp.minimum(jnp.exp(advantage), 100.0)
    actor, loss_a = descend(state["actor"], lambda p: -(weight * gaussian_log_prob(p, batch.obs, batch.action)).mean())
    nets = {"actor": actor, "critic": critic, "target": track(state["target"], critic.params)}
    return nets, {"critic": loss_q, "actor": loss_a}


def sac_start(key: Array) -> Tree:
    first, second = jax.random.split(key)
    critic = twins(second)
    nets = {"actor": net(mlp(first, OBS, 2 * ACTION)), "critic": net(critic), "alpha": net(jnp.zeros(()))}
    return nets | {"target": jax.tree.map(jnp.copy, critic)}


def sac(state: Tree, batch: Batch, key: Array) -> tuple[Tree, Metrics]:
    """Maximum entropy with a learned temperature."""
    first, second = jax.random.split(key)
    critics, log_alpha = state["critic"].params, state["alpha"].params

    def actor_loss(params: Tree) -> tuple[Array, Array]:
        chosen, log_prob = squashed(params, batch.obs, first)
        q = q_values(critics, batch.obs, chosen).min(0)
        return (jnp.exp(log_alpha) * log_prob - q).mean(), log_prob

    (loss_a, log_prob), gradient = jax.value_and_grad(actor_loss, has_aux=True)(state["actor"].params)
    change, moments = ADAM.update(gradient, state["actor"].moments)
    actor = Net(optax.apply_updates(state["actor"].params, change), moments)
    alpha, loss_t = descend(state["alpha"], lambda p: -(p * (log_prob - ACTION)).mean())
    next_action, next_log_prob = squashed(actor.params, batch.next_obs, second)
    future = q_values(state["target"], batch.next_obs, next_action).min(0) - jnp.exp(alpha.params) * next_log_prob
    target = batch.reward + DISCOUNT * (1 - batch.done) * future
    critic, loss_q = descend(
        state["critic"], lambda p: ((q_values(p, batch.obs, batch.action) - target) ** 2).mean(1).sum()
    )
    nets = {"actor": actor, "critic": critic, "alpha": alpha, "target": track(state["target"], critic.params)}
    return nets, {"actor": loss_a, "alpha": loss_t, "critic": loss_q}


ALGOS: dict[str, tuple[Callable[..., Tree], Callable[..., tuple[Tree, Metrics]]]] = {
    "bc": (bc_start, bc),
    "td3_bc": (td3_bc_start, td3_bc),
    "iql": (iql_start, iql),
    "awac": (awac_start, awac),
    "sac": (sac_start, sac),
}


def data() -> Batch:
    """The noise of all contenders, on the device."""
    log = hopper_like(ARGS.count)
    columns = log.obs, log.action, log.reward, log.next_obs, log.terminated.astype("float32")
    return Batch(*map(jnp.asarray, columns))


def main() -> None:
    """Compile, then serve updates."""
    start, update = ALGOS[ARGS.algo]
    state, key = start(jax.random.key(0)), jax.random.key(1)

    def many(state: Tree, key: Array, log: Batch) -> tuple[Tree, Metrics]:
        def one(state: Tree, key: Array) -> tuple[Tree, Metrics]:
            draw, rest = jax.random.split(key)
            index = jax.random.randint(draw, (ARGS.batch_size,), 0, ARGS.count)
            return update(state, Batch(*(column[index] for column in log)), rest)

        state, metrics = jax.lax.scan(one, state, jax.random.split(key, ARGS.scan))
        return state, {name: value.mean() for name, value in metrics.items()}

    log, compiled = data(), jax.jit(many, donate_argnums=(0,))

    def work() -> int:
        nonlocal state, key
        key, now = jax.random.split(key)
        state, metrics = compiled(state, now, log)
        jax.block_until_ready((state, metrics))
        return ARGS.scan

    serve(work, versions("jax", "optax", "numpy"))


if __name__ == "__main__":
    main()
