"""What is learned in comparisons: each training said twice, in our words and in the peer's.

The long tasks are at everyone's defaults. The small ones, minutes on one core each, give both sides the same two layers
of 64 units, batch, rates, discount and pace of the lagged networks, so that what differs is the algorithm as written;
what only one side has stays at its default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

Settings: TypeAlias = dict[str, Any]  # of a peer


@dataclass(frozen=True)
class Task:
    """One training, said twice."""

    ours: tuple[str, ...]
    algo: str = ""  # as the peer calls it; none: no peer has it
    env: str = "Hopper-v5"
    steps: int = 0  # of the environment; 0: offline
    updates: int = 0  # offline; 0: as many as the command says
    log: str = ""  # offline: one of benchmarks.logs.LOGS; none: the dataset that the command names
    episodes: int = 10  # of the evaluation at the end
    settings: Settings = field(default_factory=lambda: {})  # the peer's; none: its published ones

    @property
    def peer(self) -> str:
        """Whom it is compared with."""
        return "sb3" if self.steps else "d3rlpy"


LONG = {
    "ppo_cartpole": Task(("algo=ppo", "env=cartpole"), "PPO", "CartPole-v1", 100_000),
    "dqn_cartpole": Task(("algo=double_dqn", "env=cartpole"), "DQN", "CartPole-v1", 60_000),
    "sac_pendulum": Task(("algo=sac", "env=pendulum"), "SAC", "Pendulum-v1", 10_000),
    "sac_hopper": Task(("algo=sac", "env=hopper"), "SAC", steps=100_000),
    "td3_hopper": Task(("algo=td3", "env=hopper"), "TD3", steps=100_000),
    "ppo_halfcheetah": Task(("algo=ppo", "env=halfcheetah"), "PPO", "HalfCheetah-v5", 300_000),
    **{f"{algo}_offline": Task((f"algo={algo}", "env=hopper"), algo) for algo in ("bc", "td3_bc", "iql", "cql")},
}

SMALL = ("network.hidden=[64,64]", "evaluation.interval=1000000", "evaluation.episodes=20", "evaluation.num_envs=20",
         "trainer.checkpoint_interval=1000000", "trainer.log_interval=500", "trainer.pulse=500")  # fmt: skip
OFFLINE = "trainer=offline"
SEQUENCE = (
    "network.hidden=[]",
    "network.width=64",
    "network.layers=2",
    "network.normalize_obs=false",
    "algo.batch_size=32",
    "algo.warmup_updates=1",
    "algo.return_scale=100",
)
TRANSFORMER: Settings = {
    "hidden": [64],
    "batch_size": 32,
    "learning_rate": 1e-3,
    "num_layers": 2,
    "return_scale": 100.0,
}

# Pendulum: a swing is over in a second or two, hence the discount.
SWING = ("env=pendulum", *SMALL, "algo.batch_size=128")
FAST = ("algo.lr=1e-3", "algo.target_rate=0.02", "algo.discount=0.95")
SOFT = (*FAST, "algo.actor_lr=1e-3")
CONSERVATIVE = (*SOFT, "algo.penalty_actions=3", "algo.conservative_weight=1")
WEIGHING = (*FAST, "algo.target_period=1", "algo.temperature=0.1")
RATES: Settings = {"actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3}
PENDULUM: Settings = {"hidden": [64, 64], "batch_size": 128, "gamma": 0.95, "tau": 0.02, **RATES}
PRESSED: Settings = {"n_action_samples": 3, "conservative_weight": 1.0, "alpha_learning_rate": 0.0}
LAGGED_TOO: Settings = {"target_update_type": "soft", "n_critics": 2}


def swung(name: str, words: tuple[str, ...], algo: str = "", updates: int = 3000, **settings: Any) -> Task:
    """Updates on the mixed log of Pendulum."""
    own = (f"algo={name}", OFFLINE, *SWING, *words)
    return Task(own, algo, "Pendulum-v1", 0, updates, "pendulum", 20, {**PENDULUM, **settings})


SWUNG = {
    "bc": swung("bc", ("algo.lr=1e-3",), "BC", learning_rate=1e-3),
    "td3_bc": swung("td3_bc", FAST, "TD3PlusBC", standardise=True),
    "iql": swung("iql", (*FAST, "algo.temperature=0.1"), "IQL", weight_temp=0.1),
    "awac": swung("awac", WEIGHING, "AWAC", lam=10.0),
    "crr": swung("crr", WEIGHING, "CRR", beta=10.0, **LAGGED_TOO),
    "crr_indicator": swung("crr_indicator", WEIGHING[:-1], "CRR", weight_type="binary", **LAGGED_TOO),
    "bcq": swung("bcq", (*FAST, "algo.acting_actions=10"), "BCQ", n_action_samples=10),
    "cql": swung("cql", CONSERVATIVE, "CQL", **PRESSED),
    "cal_ql": swung("cal_ql", CONSERVATIVE, "CalQL", **PRESSED),
    "rebrac": swung("rebrac", FAST, "ReBRAC", actor_beta=0.01, critic_beta=0.001),
    "ddpg_offline": swung("ddpg_offline", FAST, "DDPG"),
    "decision_transformer": swung("decision_transformer", (*SEQUENCE, "algo.lr=1e-3"), "DecisionTransformer", 1500,
                                  **TRANSFORMER),
    "cql_squared": swung("cql_squared", CONSERVATIVE),
    "sac_n": swung("sac_n", (*SOFT, "algo.critics=4")),
    "edac": swung("edac", (*SOFT, "algo.critics=4")),
    "xql": swung("xql", (*FAST, "algo.temperature=0.1", "algo.value_scale=20")),
    "awr": swung("awr", ("algo.batch_size=8", "algo.discount=0.95", "algo.actor_lr=1e-3", "algo.critic_lr=1e-3")),
    "marwil": swung("marwil", ("algo.lr=1e-3", "algo.discount=0.95", "algo.temperature=2")),
    "marwil_mc": swung("marwil_mc", ("algo.lr=1e-3", "algo.temperature=2")),
    "rwr": swung("rwr", ("algo.lr=1e-3", "algo.temperature=1")),
    "return_weighted": swung("return_weighted", ("algo.lr=1e-3", "algo.temperature=0.01")),
    "mpo": swung("mpo", ("algo.lr=1e-3", "algo.discount=0.95", "algo.target_period=50", "algo.mean_bound=0.05",
                         "algo.std_bound=1e-4", "algo.initial_mean_multiplier=1", "algo.initial_std_multiplier=10")),
}  # fmt: skip

# CartPole, from a log whose every second action is random.
POLE = ("env=cartpole", *SMALL, "algo.batch_size=64", "algo.lr=1e-3")
COPIED = ("algo.target_rate=1", "algo.target_period=100")
CARTPOLE: Settings = {
    "hidden": [64, 64],
    "batch_size": 64,
    "gamma": 0.99,
    "learning_rate": 1e-3,
    "target_update_interval": 100,
}


def balanced(name: str, words: tuple[str, ...], algo: str = "", updates: int = 5000, **settings: Any) -> Task:
    """Updates on a log of CartPole."""
    own = (f"algo={name}", OFFLINE, *POLE, *words)
    return Task(own, algo, "CartPole-v1", 0, updates, "cartpole", 20, {**CARTPOLE, **settings})


BALANCED = {
    "bc_discrete": balanced("bc", (), "DiscreteBC", beta=0.0),
    "naive_q": balanced("naive_q", COPIED, "DQN"),
    "double_dqn_offline": balanced("double_dqn", COPIED, "DoubleDQN"),
    "qr_dqn_offline": balanced("qr_dqn", COPIED, "DQN", quantiles=32),
    "bcq_discrete": balanced("bcq_discrete", COPIED, "DiscreteBCQ", beta=0.01),
    "discrete_cql": balanced("discrete_cql", COPIED, "DiscreteCQL"),
    "sac_discrete_offline": balanced("sac_discrete", ("algo.actor_lr=1e-3", "algo.target_rate=0.02"), "DiscreteSAC",
                                     **RATES),
    "decision_transformer_discrete": balanced("decision_transformer", SEQUENCE, "DiscreteDecisionTransformer", 1500,
                                              **TRANSFORMER),
    "discrete_cql_squared": balanced("discrete_cql_squared", COPIED),
    "iql_discrete": balanced("iql", ("algo.target_rate=0.02",)),
}  # fmt: skip

# Hopper, from the log of good and bad hoppers.
LEGS = ("env=hopper", *SMALL, "algo.batch_size=256")
STEADY = ("algo.lr=1e-3", "algo.target_rate=0.01")
HOPPER: Settings = {"hidden": [64, 64], "batch_size": 256, "gamma": 0.99, "tau": 0.01, **RATES}


def hopped(name: str, words: tuple[str, ...], algo: str = "", updates: int = 5000, **settings: Any) -> Task:
    """Updates on the log of Hopper."""
    own = (f"algo={name}", OFFLINE, *LEGS, *words)
    return Task(own, algo, "Hopper-v5", 0, updates, "hopper", 20, {**HOPPER, **settings})


HOPPED = {
    "bc_hopper": hopped("bc", ("algo.lr=1e-3",), "BC", learning_rate=1e-3),
    "td3_bc_hopper": hopped("td3_bc", STEADY, "TD3PlusBC", standardise=True),
    "iql_hopper": hopped("iql", STEADY, "IQL"),
    "cql_hopper": hopped("cql", (*STEADY, "algo.actor_lr=1e-3", "algo.penalty_actions=3"), "CQL", **PRESSED),
}

# PointMaze, from wanderings: the way to the goal has to be put together from pieces.
MAZE = ("env=pointmaze_umaze", *SMALL, "algo.batch_size=256", "trainer.n_step=5", "algo.lr=1e-3")


def mazed(name: str, *words: str, updates: int = 5000) -> Task:
    """Updates on the log of PointMaze, which no peer is asked for: it would need our maze."""
    return Task((f"algo={name}", OFFLINE, *MAZE, *words), "", "PointMaze_UMaze-v3", 0, updates, "pointmaze_umaze", 20)


MAZED = {
    "bc_maze": mazed("bc"),
    "td3_bc_maze": mazed("td3_bc", "algo.target_rate=0.01"),
    "iql_maze": mazed("iql_maze", "algo.target_rate=0.01"),
}

# Online, a few thousand steps.
SWUNG_ONLINE = (*SWING, "trainer.warmup=500", "trainer.capacity=10000")
REPLAY: Settings = {"hidden": [64, 64], "batch_size": 128, "gamma": 0.95, "tau": 0.02, "learning_rate": 1e-3,
          "learning_starts": 500, "buffer_size": 10_000, "train_freq": 1}  # fmt: skip
PAIRED = ("trainer.warmup=500", "trainer.update_interval=4", "trainer.updates_per_step=0.5", "algo.epsilon_steps=5000")


def acted(name: str, env: str, steps: int, words: tuple[str, ...], algo: str, **settings: Any) -> Task:
    """Environment steps from nothing."""
    return Task((f"algo={name}", *words), algo, env, steps, 0, "", 20, settings)


ONLINE = {
    "ddpg": acted("ddpg", "Pendulum-v1", 4000, (*SWUNG_ONLINE, *FAST), "DDPG", **REPLAY, action_noise=0.1),
    "td3": acted("td3", "Pendulum-v1", 4000, (*SWUNG_ONLINE, *FAST), "TD3", **REPLAY, action_noise=0.1),
    "sac": acted("sac", "Pendulum-v1", 4000, (*SWUNG_ONLINE, *SOFT, "algo.temperature_lr=1e-3"), "SAC", **REPLAY),
    "dqn": acted("dqn", "CartPole-v1", 20_000, (*POLE, *PAIRED, "algo.target_rate=0.02"), "DQN", hidden=[64, 64],
                 batch_size=64, gamma=0.99, learning_rate=1e-3, learning_starts=500, buffer_size=20_000, train_freq=4,
                 gradient_steps=2, tau=0.02, target_update_interval=1, exploration_fraction=0.25,
                 exploration_final_eps=0.02),
    "a2c": acted("a2c", "CartPole-v1", 60_000, ("env=cartpole", *SMALL, "env.num_envs=8"), "A2C", hidden=[64, 64],
                 n_envs=8, ent_coef=0.01),
    "ppo": acted("ppo", "CartPole-v1", 30_000, ("env=cartpole", *SMALL), "PPO", hidden=[64, 64]),
}  # fmt: skip


def climbed(name: str, steps: int, *words: str) -> dict[str, Task]:
    """A policy gradient on CartPole, which no peer has in this form."""
    return {name: acted(name, "CartPole-v1", steps, ("env=cartpole", *SMALL, *words), "")}


EIGHT = "env.num_envs=8"
SHORT = (EIGHT, "algo.horizon=32")
STEPWISE = (EIGHT, "algo.horizon=8", "algo.lr=2e-3")
OWN_OLD = ("trainer=rollout", "env.num_envs=16")  # learned from one's own last rollouts
CLIMBED = {
    **climbed("reinforce", 40_000, EIGHT),
    **climbed("reinforce_plain", 40_000, EIGHT),
    **climbed("reinforce_value", 40_000, EIGHT),
    **climbed("a2c_td", 60_000, *STEPWISE),
    **climbed("a2c_n_step", 60_000, *SHORT),
    **climbed("a2c_mc", 60_000, EIGHT, "algo.horizon=64", "algo.normalize_advantage=true", "algo.lr=2e-3"),
    **climbed("a2c_gae", 60_000, *SHORT),
    **climbed("value_pg", 60_000, EIGHT, "algo.horizon=8"),
    **climbed("ppo_kl", 30_000),
    **climbed("ppo_adaptive_kl", 30_000),
    **climbed("ppo_clip_kl", 30_000),
    **climbed("ppo_clip_kl_entropy", 30_000),
    **climbed("trpo", 20_000),
    **climbed("npg", 20_000),
    **climbed("importance_weighted", 40_000, *OWN_OLD),
    **climbed("importance_weighted_step", 40_000, *OWN_OLD),
    **climbed("importance_weighted_trajectory", 40_000, *OWN_OLD),
}

TASKS = LONG | {f"small_{name}": task for name, task in (SWUNG | BALANCED | HOPPED | MAZED | ONLINE | CLIMBED).items()}
