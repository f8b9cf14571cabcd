"""How every figure of the program looks: legible, safe for the colour-blind, nothing cut off."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offrl.log.files import replacing
from offrl.log.plots import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

DPI = 150
WIDTH, HEIGHT = 4.8, 3.7  # inches of one panel among others
ALONE = 7.0  # width of one that stands alone
LINES = ("-", (0, (4, 1.2)), (0, (6, 1.2, 1.2, 1.2)), (0, (1.5, 1)), (0, (6, 1, 1, 1, 1, 1)))  # show what lies beneath
REFERENCE: Any = {"color": "#555555", "linestyle": (0, (1, 2)), "linewidth": 1.4}  # of a line to hold others against
PLAIN = (1e-3, 1e5)  # where an axis of decades has plain numbers
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FORMATS = ("png", "svg")

RC: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "legend.fontsize": 10,
    "legend.frameon": True,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "offrl",  # the same picture is the same file
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
}


@contextmanager
def drawing(width: float = WIDTH, height: float = HEIGHT, title: str = "") -> Generator[Figure]:
    """A figure in the one style; draw on it and save it inside the block."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(RC):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        if title:
            figure.suptitle(wrapped(title, width), fontsize=13)
        yield figure


def save(figure: Figure, path: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write `path` with each suffix, in one piece each."""
    written = [path.with_name(f"{path.name}.{kind}") for kind in formats]
    for file, kind in zip(written, formats, strict=True):
        with replacing(file) as aside:
            figure.savefig(aside, format=kind, bbox_inches="tight", metadata={"Date": None} if kind == "svg" else None)
            if kind == "png":
                _lighten(aside)
    return written


def _lighten(picture: Path) -> None:
    """A PNG with 256 colours: a third of the bytes, and no difference to see."""
    from PIL import Image

    with Image.open(picture) as full:
        full.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(picture, "PNG", optimize=True)


def across(panels: int) -> float:
    """Inches of so many panels side by side."""
    return ALONE if panels == 1 else WIDTH * panels


def look(index: int) -> dict[str, Any]:
    """Colour and dashes of the curve of one group."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}


def colour(index: int) -> str:
    """Of one group, wherever it is drawn."""
    return COLOURS[index % len(COLOURS)]


def legend(axes: Axes, entries: int) -> None:
    """Inside where there is room, else below the axes."""
    if 0 < entries <= 3:
        axes.legend()
    elif entries:
        columns = 2 if entries <= 12 else 3
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns, fontsize=9)


def wrapped(text: str, width: float, characters: float = 10.0) -> str:
    """`text` over as few lines as fit into `width` inches, of much the same length; `characters` to an inch."""
    from textwrap import wrap

    most = max(6, int(width * characters))
    lines = wrap(text, most, break_long_words=False)
    even = (wrap(text, room, break_long_words=False) for room in range(1 + len(text) // max(1, len(lines)), most))
    return "\n".join(next((found for found in even if 0 < len(found) == len(lines)), lines))


def decades(axis: Axis, ends: tuple[float, float]) -> None:
    """A logarithmic axis: 0.2, 1 and 3000 where its ends allow, else powers of ten."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    low, high = sorted(ends)
    if low >= PLAIN[0] and high <= PLAIN[1]:
        axis.set_major_formatter(Plain())
        axis.set_minor_formatter(Plain(minor_thresholds=(1.5, 0.5)))


def step_label(x: str) -> str:
    """An axis in words."""
    return {
        "step": "step",
        "update": "updates",
        "env_step": "environment steps",
        "seconds": "wall time [s]",
    }.get(x, x)


def metric_label(metric: str) -> str:
    """`evaluation/return` as `evaluation return`."""
    return metric.replace("/", " ").replace("_", " ")
