"""Small logs with every kind of ending, and plain-loop versions of what the columns compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offrl.types import ActionSpec, ObsSpec, Spec, Steps

SPEC = Spec(ObsSpec((3,)), ActionSpec("continuous", (2,), low=(-1.0, -1.0), high=(1.0, 1.0)))
DISCRETE = Spec(ObsSpec((3,)), ActionSpec("discrete", (), (4,)))
PICTURE = Spec(ObsSpec((1, 4, 4), "uint8"), ActionSpec("discrete", (), (4,)))


def make_steps(lengths: Sequence[int], ended: Sequence[bool], spec: Spec = SPEC, seed: int = 0) -> Steps:
    """Episodes of these lengths; `ended[i]` says that episode i terminated rather than was truncated.

    Observation component 0 is the episode, component 1 the time in it (pictures: both in their pixels).
    """
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    time = np.concatenate([np.arange(n) for n in lengths])
    last = np.cumsum(lengths) - 1
    terminated, truncated = np.zeros(total, bool), np.zeros(total, bool)
    terminated[last] = ended
    truncated[last] = ~np.asarray(ended)
    if spec.action.kind == "continuous":
        action = rng.uniform(-1, 1, (total, spec.action.size)).astype(np.float32)
    else:
        action = rng.integers(4, size=total)
    reward = rng.normal(size=total).astype(np.float32)
    log_prob = -rng.exponential(size=total).astype(np.float32)
    obs, next_obs = observe(spec, episode, time), observe(spec, episode, time + 1)
    return Steps(obs, action, reward, terminated, truncated, next_obs, {"log_prob": log_prob})


def observe(spec: Spec, episode: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The observation at `time` of `episode`."""
    if spec.obs.is_image:
        frames = np.zeros((len(time), 1, 4, 4), np.uint8)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = episode, time
        return frames
    return np.stack([episode, time, episode * 100 + time], axis=1).astype(np.float32)


def loop_columns(steps: Steps, discount: float, n_step: int) -> dict[str, np.ndarray]:
    """n-step columns, one row after the other, as the definition says."""
    total = len(steps)
    out = {name: [] for name in ("reward", "discount", "last", "return_to_go", "timestep", "next_action")}
    done = steps.terminated | steps.truncated
    done[-1] = True
    start = 0
    for t in range(total):
        stop = t
        while not done[stop]:
            stop += 1
        reward, last = 0.0, t
        for k in range(n_step):
            reward += discount**k * float(steps.reward[t + k])
            last = t + k
            if done[last]:
                break
        out["reward"].append(reward)
        out["last"].append(last)
        out["discount"].append(0.0 if steps.terminated[last] else discount ** (last - t + 1))
        out["return_to_go"].append(sum(discount ** (k - t) * float(steps.reward[k]) for k in range(t, stop + 1)))
        out["timestep"].append(t - start)
        out["next_action"].append(steps.action[last + 1] if last < stop else np.zeros_like(steps.action[0]))
        if done[t]:
            start = t + 1
    return {name: np.array(values) for name, values in out.items()}
