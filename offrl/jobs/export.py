"""`offrl export`: the policy of a run folder as one file that acts without this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from offrl import __version__
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
    keys = (trained["env"] or {}).get("obs_keys")
    write_json(path.with_suffix(".json"), card(spec, keys) | {"made_from": origin, "difference": away})
    agreement = "it draws its actions" if away is None else f"its actions are the policy's to {away:.1g}"
    print(f"written to {path} ({path.stat().st_size / 1024:.0f} KiB; {agreement}), described in its .json\n")
    print(USE[form].format(path=path, dtype=spec.obs.dtype, shape=("N", *spec.obs.shape)).replace("'N'", "N"))
