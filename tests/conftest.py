"""What all tests share: a machine that is left alone, and configs composed as the command line does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

# Before torch or Minari is imported by a test module.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ.pop("HYDRA_FULL_ERROR", None)

Compose = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session", autouse=True)
def _own_datasets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep recorded datasets out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))
        yield


@pytest.fixture(autouse=True)
def _denormals_as_they_were() -> Iterator[None]:
    """A job run inside a test may flush denormals, which stays with the process."""
    import torch

    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Double precision from one seed: rounding must not hide a wrong term."""
    import torch

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def compose() -> Compose:
    """`compose("algo=iql", ...)` is the resolved config of `offrl train algo=iql ...`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from offrl.cli import names
    from offrl.paths import config_dir

    names.register()

    def composed(*overrides: str, config_folder: Path | None = None, primary: str = "config") -> dict[str, Any]:
        search = [] if config_folder is None else [f"hydra.searchpath=['file://{config_folder}']"]
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = hydra_compose(primary, [*overrides, *search], return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        plain = {key: config._get_node(key) for key in config if key != "hydra"}
        return cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.create(plain), resolve=True))

    return composed
