"""`offrl export`: the policy of a run folder as one file that acts without this program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from offrl import __version__
from offrl.build import build
from offrl.data.recipes import Preparation
from offrl.data.spaces import layout
from offrl.envs.make import Env
from offrl.errors import UserError
from offrl.log.files import replacing, write_json
from offrl.train.checkpoint import load_policy
from offrl.train.deploy import SUFFIXES, Deployed, card, check_exportable, difference, write
from offrl.train.rundir import now

TOLERANCE = 1e-4  # between the file's actions and the policy's, as shares of half the distance between bounds

USE = {
    "onnx": """\
  import onnxruntime
  session = onnxruntime.InferenceSession("{path}")
  action = session.run(None, {{"obs": obs}})[0]         # obs: {dtype} array {shape}""",
    "torch": """\
  import torch
  policy = torch.export.load("{path}").module()
  action = policy(obs)                                  # obs: {dtype} tensor {shape}""",
}


def run(config: dict[str, Any], folder: Path) -> None:
    """Write the file and its card, compare it with the policy, and say how it is used."""
    del folder
    if not config["run"]:
        raise UserError("offrl export needs a run folder: give run=RUN_DIR")
    form = config["format"]
    if form not in SUFFIXES:
        raise UserError(f"format={form}: want one of {', '.join(SUFFIXES)}")
    home = Path(config["run"])
    algo, spec, trained = load_policy(home, str(config["checkpoint"]))
    check_exportable(algo)
    path = Path(config["to"] or home / "export" / f"policy{SUFFIXES[form]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    policy = Deployed(algo, spec, config["stochastic"])
    with replacing(path) as aside:
        away = difference(write(policy, spec, aside, form), policy, spec)
        if away is not None and not away <= TOLERANCE:
            raise UserError(
                f"{path}: its actions would differ from the policy's by {away:.2g} of half the distance between their "
                "bounds, so it was not written"
            )
    origin = {"run": str(home), "checkpoint": config["checkpoint"], "stochastic": config["stochastic"]}
    origin |= {"algorithm": type(algo).__name__, "offrl": __version__, "time": now()}
    described = card(spec, _inputs(trained))
    write_json(path.with_suffix(".json"), described | {"made_from": origin, "difference": away})
    agreement = "it draws its actions" if away is None else f"its actions are the policy's to {away:.1g}"
    print(f"written to {path} ({path.stat().st_size / 1024:.0f} KiB; {agreement}), described in its .json\n")
    print(USE[form].format(path=path, dtype=spec.obs.dtype, shape=("N", *spec.obs.shape)).replace("'N'", "N"))


def _inputs(trained: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of an observation, and the columns of the log that they come from where it has some: by the environment
    or the log that the policy was trained with, empty where neither can be had any more."""
    try:
        if trained["env"]:
            env = cast(Env, build(trained["env"], "env"))
            one = env.make_one()
            one.close()
            return {"parts": layout(one.observation_space, env.obs_keys or ())}
        recording = cast(Preparation, build(trained["dataset"], "dataset")).read()
    except UserError as error:
        print(f"note: which parts an observation has is not described, for {error}")
        return {}
    parts, columns = layout(recording.observation_space, recording.obs_keys), recording.metadata.get("inputs")
    return {"parts": parts} | ({"columns": columns} if columns else {})
