"""What algorithms believe about their own policy."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from offrl.algos.estimates import believed_return
from offrl.types import ActionKind
from tests.algos.zoo import OBS, PAIRS, made

WITHOUT_VALUES = {
    *("bc", "bc_best", "bc_ensemble", "dagger", "ensemble_dagger", "hg_dagger", "decision_transformer"),
    *("emrl", "rwr", "return_weighted", "reinforce", "reinforce_plain"),
    *("importance_weighted", "importance_weighted_step", "importance_weighted_trajectory"),
}


@pytest.mark.parametrize(("name", "kind"), dict(PAIRS).items())
def test_every_algorithm_believes_something_or_nothing(name: str, kind: ActionKind) -> None:
    algo = made(name, kind)
    believed = believed_return(algo, torch.randn(7, OBS))
    if name in WITHOUT_VALUES:
        assert believed is None
    else:
        assert believed is not None
        assert believed.shape == (7,)
        assert believed.isfinite().all()


def test_the_critic_is_asked_about_the_action_that_is_chosen() -> None:
    obs = torch.randn(7, OBS)
    dqn: Any = made("dqn", "discrete")
    torch.testing.assert_close(believed_return(dqn, obs), dqn.critic(obs).amax(-1))
    sac: Any = made("sac", "continuous")
    torch.testing.assert_close(believed_return(sac, obs), sac.critic(obs, sac.act(obs)).amin(0))
    lspi: Any = made("lspi", "discrete")
    lspi.learned.weights.normal_()
    torch.testing.assert_close(believed_return(lspi, obs), lspi.critic(obs).amax(-1))


def test_a_value_is_asked_where_there_is_no_critic() -> None:
    obs = torch.randn(7, OBS)
    ppo: Any = made("ppo", "continuous")
    torch.testing.assert_close(believed_return(ppo, obs), ppo.model.network.value(obs))
    marwil: Any = made("marwil", "continuous")
    torch.testing.assert_close(believed_return(marwil, obs), marwil.value(obs))
