"""From the words of the command line to Hydra overrides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from zlib import crc32

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from offrl.cli.names import folder_name
from offrl.errors import UserError

SAVED = "saved_run"  # name of the primary config that stands for a run folder's
SWEPT = "swept"  # and of the one in which a swept group holds the first of its options
_FILES = (".csv", ".csv.gz", ".tsv", ".parquet", ".npz", ".hdf5", ".h5")
_NO_FOLDER = ["hydra.run.dir=.", "hydra.output_subdir=null", "hydra.job_logging.root.handlers=[console]"]


def config_dirs(words: Sequence[str]) -> list[Path]:
    """The folders that `--config-dir` names."""
    found = [word.partition("=")[2] for word in words if re.match(r"(--config-dir|-cd)=", word)]
    found += [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("--config-dir", "-cd")]
    return [Path(folder) for folder in found]


def is_override(word: str) -> bool:
    """Whether a word is `key=value` or `~key`, rather than a path, a flag or the value of one."""
    return bool(re.match(r"~[^/]", word)) or ("=" in word and not word.startswith("-"))


def values(words: Sequence[str]) -> dict[str, str]:
    """The `key=value` words, by key; of a repeated key the last."""
    pairs = (word.partition("=") for word in words if is_override(word))
    return {key.lstrip("+~"): value for key, _, value in pairs}


def positional(job: str, words: Sequence[str]) -> list[str]:
    """`dataset check X` is `dataset action=check dataset=X`. Raises `UserError` for further words of that kind."""
    names = ["action", "dataset"] if job == "dataset" else []
    count = next((i for i, word in enumerate(words) if is_override(word) or word.startswith("-")), len(words))
    named = [f"{name}={word}" for name, word in zip(names, words[:count], strict=False)]
    if count > len(named):
        takes = "takes one log at a time" if names else "takes key=value words"
        hint = ", such as run=FOLDER or runs=FOLDER" if Path(words[len(named)]).is_dir() else ""
        raise UserError(f"offrl {job} {takes}{hint}: what is {words[len(named)]!r}?")
    return [*named, *words[len(named) :]]


def with_seeds(words: Sequence[str]) -> list[str]:
    """`seeds=8` is a sweep over so many seeds, from `seed` on, trained as one where nothing else is asked for."""
    given = values(words)
    if "seeds" not in given:
        return list(words)
    first, count = given.get("seed", "0"), given["seeds"]
    if not (first.isdigit() and count.isdigit() and int(count) > 0):
        raise UserError(f"seeds={count} (from seed={first}): both are whole numbers, such as seeds=8 seed=0")
    kept = [word for word in words if not re.match(r"\+*(seeds|seed)=", word)]
    launcher = [] if {"hydra/launcher", "sweep"} & given.keys() else ["hydra/launcher=vectorized"]
    numbers = ",".join(str(int(first) + i) for i in range(int(count)))
    if int(count) == 1:
        return [*kept, f"seed={first}"]
    return [*kept, f"seed={numbers}", *launcher, *([] if {"-m", "--multirun"} & set(words) else ["-m"])]


def first_run(words: Sequence[str]) -> list[str]:
    """The words of the first run of a sweep: of what is swept the first value."""
    kept = [word for word in words if word not in ("-m", "--multirun") and not word.startswith("hydra/launcher=")]
    return [word if re.search(r"[\[({'\"]", word) else word.partition(",")[0] for word in kept]


def expand(words: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Let `env=` take any environment id and `dataset=` any Minari id or file, also in the lists of a sweep.

    A value that is no config in `folders` becomes one, in memory: `env=Pendulum-v1` is `env=gym env.id=Pendulum-v1`.
    A group may be null: it then holds its option `none`, or nothing where there is no such one.
    """
    out: list[str] = []
    for word in words:
        group, _, value = word.partition("=")
        if value == "null" and any((folder / group).is_dir() for folder in folders):
            none = any((folder / group / "none.yaml").is_file() for folder in folders)
            out.append(f"{group}=none" if none else f"~{group}")  # Hydra's way of choosing no option of a group
            continue
        if group in ("run", "runs", "where", "to") and value != "null" and not value.startswith("["):
            text = literal(value) if group == "where" else quoted(at_home(value))
            out.append(f"{group}={text}")  # a path or SQL may hold characters that mean something to Hydra
            continue
        if group == "dataset.path" and not re.search(r"[\[\](){},]", value):
            out.append(f"{group}={quoted(_absolute(value))}")
            continue
        inside = re.fullmatch(r"(['\"])(.*)\1", value)
        if group not in ("env", "dataset") or not value or (not inside and re.search(r"[\[\](){}'\"]", value)):
            out.append(word)
            continue
        options = [_option(group, each.strip(), folders) for each in ([inside[2]] if inside else value.split(","))]
        out.append(f"{group}={','.join(options)}")
    return out


def _option(group: str, value: str, folders: Sequence[Path]) -> str:
    if any((folder / group / f"{value}.yaml").is_file() for folder in folders):
        return value
    if group == "env" and re.search(r":|-v\d+$", value):
        base, own = "gym", {"id": value}
    elif group == "dataset" and (value.endswith(_FILES) or Path(at_home(value)).is_file()):
        base, own = "file", {"path": _absolute(value)}
    elif group == "dataset" and re.search(r"/|-v\d+$", value):
        base, own = "minari", {"id": value}
    else:
        return value  # Hydra says that there is no such option, and which there are
    name = folder_name(value) if value.isascii() else f"{folder_name(ascii(value))}_{crc32(value.encode()):08x}"
    ConfigStore.instance().store(group=group, name=name, node={"defaults": [base, "_self_"], **own})
    return name


def at_home(path: str) -> str:
    """`path` without quotes, in which a first ~ is the user's home: a shell leaves it behind a = sign."""
    bare = path.strip("'\"")
    return str(Path(bare).expanduser()) if bare.startswith("~") else bare


def _absolute(path: str) -> str:
    """`path` from the root: a run is gone on with from anywhere."""
    return str(Path(at_home(path)).absolute())


def from_run(run: str, job: str, words: Sequence[str], folders: Sequence[Path]) -> None:
    """Make the resolved config of a run folder the primary config `SAVED`.

    Its groups stay on offer: one that `words` choose, or that an option they choose brings along, replaces the saved
    node as a whole. Raises `UserError` if there is no such config.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise UserError(f"run={run}: there is no {path}, so this is not the folder of a run")
    saved, template = _load(path), _load(folders[0] / "config.yaml")
    groups = [next(iter(entry)) for entry in template["defaults"] if entry != "_self_"]
    bare = {
        "defaults": ["_self_", *({group: job if group == "job" else None} for group in groups)],
        "hydra": template["hydra"],
    }
    chosen = _chosen(bare, [word for word in words if word.partition("=")[0] in groups], folders)
    kept = {key: value for key, value in saved.items() if key not in chosen}
    ConfigStore.instance().store(name=SAVED, node={**bare, **dict.fromkeys(chosen & saved.keys()), **kept})


def _load(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.load(path)))


def _chosen(primary: dict[str, Any], words: Sequence[str], folders: Sequence[Path]) -> set[str]:
    """Choose options of groups on top of `primary`: the groups that then hold one, but for the job's."""
    ConfigStore.instance().store(name=SAVED, node=primary)
    search = ",".join(quoted(f"file://{folder}") for folder in folders[1:])
    firsts = [word if "=[" in word else word.partition(",")[0] for word in words]  # of a sweep's options, any will do
    with initialize_config_dir(str(folders[0]), version_base="1.3"):
        config = compose(SAVED, [*firsts, f"hydra.searchpath=[{search}]"], return_hydra_config=True)
    choices: dict[str, str | None] = config.hydra.runtime.choices
    return {group for group, option in choices.items() if option is not None} - {"job"}


def from_sweep(words: Sequence[str], folders: Sequence[Path]) -> bool:
    """Make a primary config `SWEPT` whose swept groups hold their first options; False where no group is swept.

    Hydra composes once without what is swept before it composes each run. Keys that come with an algorithm, such as
    those of its trainer, would be unknown to it then.
    """
    template = _load(folders[0] / "config.yaml")
    given = values(words)
    firsts = {
        group: value.partition(",")[0] for group, value in given.items() if re.fullmatch(r"[^\[\](){}]+,.+", value)
    }
    defaults = [_first(entry, firsts) for entry in template["defaults"]]
    ConfigStore.instance().store(name=SWEPT, node={**template, "defaults": defaults})
    return defaults != template["defaults"]


def _first(entry: str | dict[str, Any], firsts: dict[str, str]) -> str | dict[str, Any]:
    """An entry of a defaults list, with its group's first option where that is swept."""
    if isinstance(entry, str):
        return entry
    key = next(iter(entry))
    return {key: firsts.get(key, entry[key])}


def folders_for(words: Sequence[str]) -> list[str]:
    """Hydra settings that decide where this run writes, beyond those of the config. `words` are expanded ones."""
    given = values(words)
    if given.get("dry_run", "").lower() == "true" and "hydra.run.dir" not in given:
        return list(_NO_FOLDER)
    if given.get("resume", "").lower() == "true" and "run" in given:
        return [f"hydra.run.dir={given['run']}", "hydra.output_subdir=null"]
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(_not_swept(words))}]"]


def _not_swept(words: Sequence[str]) -> list[str]:
    """Keys with one value only: of no use in the names of a sweep's folders."""
    overrides = OverridesParser.create().parse_overrides([word for word in words if is_override(word)])
    return [quoted(o.get_key_element()) for o in overrides if not o.is_sweep_override()] + ["job"]


def quoted(text: str) -> str:
    """`text`, which may stand in quotes, as a quoted value of Hydra's grammar."""
    return literal(text.strip("'\""))


def literal(text: str) -> str:
    """`text` to the letter as a quoted value of Hydra's grammar: a quote is escaped, and what escapes before it."""
    escaped = re.sub(r"(\\*)('|$)", lambda end: 2 * end[1] + ("\\'" if end[2] else ""), text)
    return f"'{escaped}'"
