"""Make the pictures of docs/compare.md from runs of their own: figures, the map of a policy, a lecture, the report.

python scripts/make_doc_images.py            # all of it, in some minutes
python scripts/make_doc_images.py --only report

Only the pictures of the report as a browser shows it need Chromium; they stay as they are where there is none.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCREENS = {"report": (1200, 1500), "report_narrow": (390, 1100)}  # picture -> width and height of the window
SWEEP = (
    "algo=dqn env=cartpole trainer.n_step=1,3 seed=range(5) trainer.steps=8000 algo.epsilon_steps=4000 "
    "network.hidden=[64,64] evaluation.interval=1000 evaluation.episodes=10 hydra/launcher=vectorized logger=none"
)
WALK = "algo=dqn env=gridworld seed=0 trainer.steps=8000 algo.epsilon_steps=6000 network.hidden=[64,64] logger=none"
LECTURE = "c14_gradient_variance"


def offrl(scratch: Path, words: str) -> None:
    """A command line of the program, in a folder of its own; the script ends where it does not succeed."""
    subprocess.run([sys.executable, "-m", "offrl", *words.split()], cwd=scratch, check=True, stdout=subprocess.DEVNULL)


def report(scratch: Path) -> None:
    """The figures of a comparison, and its page as a browser shows it."""
    offrl(scratch, f"train -m {SWEEP} hydra.sweep.dir=runs/sweeps/n_step")
    offrl(scratch, "compare runs=runs/sweeps/n_step")
    for name in ("curves", "aggregates", "improvement"):
        shutil.copy(scratch / "comparison" / f"{name}.png", IMAGES / f"compare_{name}.png")
    photograph(scratch / "comparison" / "report.html")


def photograph(page: Path) -> None:
    """The top of a page, on a wide and on a narrow screen, without a window."""
    from PIL import Image

    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print(f"no {', '.join(BROWSERS)}: the report was not photographed", file=sys.stderr)
        return
    for name, (width, height) in SCREENS.items():
        picture = IMAGES / f"{name}.png"
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        window = (f"--window-size={width},{height}", f"--screenshot={picture}", page.resolve().as_uri())
        subprocess.run([browser, *flags, *window], check=True, capture_output=True)
        with Image.open(picture) as full:
            full.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, "PNG", optimize=True)


def policy(scratch: Path) -> None:
    """Where a policy goes in a gridworld, and what its critic believes."""
    offrl(scratch, f"train {WALK} hydra.run.dir=walk")
    offrl(scratch, "evaluate run=walk pictures=true episodes=20")
    shutil.copy(scratch / "walk" / "evaluation" / "map.png", IMAGES / "policy_map.png")


def lecture(scratch: Path) -> None:
    """The figure of one lecture."""
    offrl(scratch, f"train experiment=lectures/{LECTURE} hydra.sweep.dir={LECTURE}")
    shutil.copy(scratch / LECTURE / "figure.png", IMAGES / "lecture_c14.png")


PARTS: dict[str, Callable[[Path], None]] = {"report": report, "policy": policy, "lecture": lecture}


def main() -> None:
    """Make what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    for name in parser.parse_args().only:
        with tempfile.TemporaryDirectory() as scratch:
            PARTS[name](Path(scratch))


if __name__ == "__main__":
    main()
