"""Write docs/algorithms/README.md: what each algorithm is, learns from, takes and needs, read off configs and classes.

python scripts/make_zoo_table.py
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from offrl.algos.base import Algorithm
from offrl.build import TARGET, build, locate
from offrl.errors import UserError
from offrl.paths import config_dir
from offrl.train.loop import Trainer
from offrl.types import ActionSpec, ObsSpec, Spec

PAGE = Path(__file__).parents[1] / "docs" / "algorithms" / "README.md"
HEADER = """# Algorithms

One row for each `algo=`. `scripts/make_zoo_table.py` writes this page from the configs and the classes: change those.
How an algorithm is written: [writing.md](writing.md). What each one earns, small: [figures.md](figures.md).

- **Trainers**: the one that the algorithm's YAML chooses stands first; `trainer=` takes any of the others.
- **Heads**: what `policy=` may be with continuous actions. Discrete ones always take the categorical head.
- **Needs**: beyond transitions.
- **Paper**: that of the file; a variant names its own in its description or in its YAML.
"""
COLUMNS = ("`algo=`", "what it is", "trainers", "actions", "heads", "needs", "paper")
NEEDS = {
    "next_action": "the logged next action",
    "return_to_go": "return-to-go",
    "timestep": "the time within the episode",
    "log_prob": "behaviour probabilities",
}
WIDE = Spec(ObsSpec((3,)), ActionSpec("continuous", (2,), low=(-1.0,) * 2, high=(1.0,) * 2))


def names(group: str) -> list[str]:
    """The options of a group of configs."""
    return sorted(file.stem for file in (config_dir() / group).glob("[!_]*.yaml"))


@cache
def config(*words: str) -> dict[str, Any]:
    """Some groups of a composed config, resolved; not to be changed in place."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        composed = compose("config", list(words))
    chosen = [group for group in ("algo", "trainer", "policy") if composed[group] is not None]
    return {group: OmegaConf.to_container(composed[group], resolve=True) for group in chosen}


@cache
def class_of(group: str, name: str) -> type[Any]:
    """The class that an option names, itself or by the option that it varies; found without composing a config."""
    node = yaml.load((config_dir() / group / f"{name}.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    own = node if group != "algo" else node.get("algo") or {}
    if TARGET in own:
        return cast("type[Any]", locate(own))
    return class_of(
        group, next(option for option in node["defaults"] if isinstance(option, str) and option != "_self_")
    )


def target(name: str) -> type[Algorithm]:
    """The class of an algorithm."""
    return class_of("algo", name)


def family(name: str) -> str:
    """The folder that it lives in."""
    return target(name).__module__.split(".")[2]


def summary(name: str) -> str:
    """What the file says first, or the class where a file holds several; of a variant, what its YAML says first."""
    algorithm = target(name)
    if name != primary(algorithm):
        lines = (config_dir() / "algo" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[1:]
        comment = " ".join(line.lstrip("# ") for line in _leading(lines))
        return re.split(r"(?<! al)(?<!eq)\. ", f"{comment} ")[0].strip(" .")
    alone = all(
        target(other) is algorithm for other in names("algo") if target(other).__module__ == algorithm.__module__
    )
    text = inspect.getdoc(inspect.getmodule(algorithm) if alone else algorithm) or ""
    return _flat(text.split("\n\n")[0]).rstrip(".")


def _leading(lines: list[str]) -> list[str]:
    """Comment lines at the top."""
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:count]


@cache
def primary(algorithm: type[Algorithm]) -> str:
    """The YAML that is named as the class, or else the shortest name: the others are its variants."""
    own = [name for name in names("algo") if target(name) is algorithm]
    return min(own, key=lambda name: (name.replace("_", "") != algorithm.__name__.lower(), len(name), name))


def paper(name: str) -> str:
    """The first work that the file cites: authors, year, title, with a link where there is one."""
    text = _flat((inspect.getdoc(inspect.getmodule(target(name))) or "").partition("\n\n")[2])
    found = re.match(r'([^"]+), "([^"]+)"[^"]*?(\d{4})', text)
    if found is None:
        raise UserError(f"{target(name).__module__}: its docstring names no paper")
    authors, title, year = found[1].rpartition(": ")[2], found[2].strip(",."), found[3]
    link = re.match(r"[^.;]*?arXiv:(\d{4}\.\d{4,5})", text[found.end() :])
    return f"{_authors(authors)} {year}, " + (f"[{title}](https://arxiv.org/abs/{link[1]})" if link else title)


def _authors(words: str) -> str:
    """Surnames; of more than three, the first."""
    people = [_surname(person) for person in re.split(r", and |, | and ", words.removesuffix(" et al.").strip())]
    if words.endswith("et al.") or len(people) > 3:
        return f"{people[0]} et al."
    return " & ".join((", ".join(people[:-1]), people[-1])) if len(people) > 1 else people[0]


def _surname(person: str) -> str:
    return re.sub(r"^(After )?([A-Z]\.[- ]?)*", "", person.strip()).strip()


def trainers(name: str) -> str:
    """Those that feed it what it can learn from, its own first."""
    own = locate(config(f"algo={name}")["trainer"])
    classes: dict[str, type[Trainer]] = {option: class_of("trainer", option) for option in names("trainer")}
    fitting = [option for option, trainer in classes.items() if trainer.experience <= target(name).learns_from]
    return ", ".join(sorted(fitting, key=lambda option: (classes[option] is not own, option)))


def actions(name: str) -> str:
    """The kinds of action."""
    return ", ".join(kind.replace("_", "-") for kind in sorted(target(name).action_kinds))


def heads(name: str) -> str:
    """Policy heads with which it can be built, or why it has none."""
    node = config(f"algo={name}")["algo"]
    if not target(name).is_policy:
        return "none: it values the policy of the data"
    if "policy" not in node:
        return "none: it acts by its values" if has_values(name) else "its own"
    if "continuous" not in target(name).action_kinds:
        return "categorical"
    fitting = [head for head in names("policy") if builds(node, config(f"policy={head}")["policy"])]
    return ", ".join(fitting)


def has_values(name: str) -> bool:
    """Whether it is for discrete actions alone, or searches among continuous ones: no policy network."""
    return not target(name).action_kinds - {"discrete"} or family(name) == "value"


def builds(node: Mapping[str, Any], head: Mapping[str, Any]) -> bool:
    """Whether the algorithm takes this head over continuous actions."""
    try:
        algo = cast(Algorithm, build({**node, "policy": head, "network": node["network"] | {"hidden": [4]}}, "algo"))
        algo.build(WIDE)
    except UserError:
        return False
    return True


def needs(name: str) -> str:
    """What it reads beyond transitions."""
    node = config(f"algo={name}")
    algo = cast(Algorithm, build(node["algo"], "algo"))
    found = [NEEDS.get(column, column.replace("_", " ")) for column in algo.needs]
    experience = cast("type[Trainer]", locate(node["trainer"])).experience
    found += ["an expert to ask"] if "expert" in experience else []
    found += ["a tabular environment"] if "model" in experience else []
    found += [f"windows of {algo.context} steps"] if algo.context else []
    found += ["features that number states"] if "sweeps" in node["algo"] else []
    return ", ".join(found) or "nothing"


def _flat(text: str) -> str:
    return " ".join(text.split())


def row(name: str) -> tuple[str, ...]:
    """The cells of an algorithm."""
    return (f"`{name}`", *(fill(name) for fill in (summary, trainers, actions, heads, needs, paper)))


def line(cells: Iterable[str]) -> str:
    """A row of a table in Markdown."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def page() -> str:
    """The whole page."""
    by_family: dict[str, list[str]] = {}
    for name in names("algo"):
        by_family.setdefault(family(name), []).append(name)
    parts = [HEADER]
    for room, members in sorted(by_family.items()):
        title = room.replace("_", " ").capitalize()
        about = PAGE.parent / f"{room}.md"
        parts.append(f"## {title}\n" + (f"\nMore: [{about.name}]({about.name}).\n" if about.exists() else ""))
        rows = [COLUMNS, ("---",) * len(COLUMNS)]
        for name in sorted(members, key=lambda name: (primary(target(name)), name != primary(target(name)), name)):
            rows.append(row(name))
        parts.append("\n".join(map(line, rows)) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    try:
        PAGE.write_text(page(), encoding="utf-8")
    except UserError as error:
        sys.exit(f"make_zoo_table: {error}")
    print(f"wrote {PAGE}")
