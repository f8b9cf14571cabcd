"""The metrics of a run in one columnar file: a row each time that something was logged, a column for each quantity."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from offrl.errors import UserError
from offrl.log.files import replacing

COUNTERS = ("step", "update", "env_step", "seconds")  # the first columns of every row
Columns = dict[str, list[float | None]]


class MetricsFile:
    """A Parquet file of wide rows; what a row does not mention is null.

    The file is rewritten whole, aside and renamed, so a reader never sees half of one. Writing is put off until it
    takes at most one part in `PATIENCE` of the time since the last write: the total cost stays linear in the rows.
    """

    PATIENCE = 50

    def __init__(self, path: Path, min_interval: float = 5.0) -> None:
        """`min_interval`: seconds between two writes at least, unless `flush` is called."""
        self.path = path
        self.columns: Columns = {name: [] for name in COUNTERS}
        self._rows = 0
        self._dirty = False
        self._last, self._wait, self._min_interval = time.monotonic(), min_interval, min_interval

    def log(self, row: Mapping[str, float]) -> None:
        """Add a row, and write the file if it is time."""
        for name, value in row.items():
            self.columns.setdefault(name, [None] * self._rows).append(float(value))
        self._rows += 1
        for values in self.columns.values():
            if len(values) < self._rows:
                values.append(None)
        self._dirty = True
        if time.monotonic() - self._last > self._wait:
            self.flush()

    def flush(self) -> None:
        """Write what has been logged. Raises `UserError` if the disk refuses."""
        if not self._dirty:
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        start = time.monotonic()
        with replacing(self.path) as aside:
            pq.write_table(pa.table({k: pa.array(v, pa.float64()) for k, v in self.columns.items()}), aside)
        self._dirty = False
        self._last = time.monotonic()
        self._wait = max(self._min_interval, self.PATIENCE * (self._last - start))

    def truncate(self, step: float) -> None:
        """Go on from the file on the disk, without the rows beyond `step` (a run that resumes makes them anew)."""
        if not self.path.exists():
            return
        columns = read_metrics(self.path)
        keep = columns["step"] <= step
        self._rows = int(keep.sum())
        self.columns = {k: [None if np.isnan(x) else float(x) for x in v[keep]] for k, v in columns.items()}
        self._dirty = True
        self.flush()


def read_metrics(path: Path | str) -> dict[str, NDArray[np.float64]]:
    """The columns of a run's metrics; [rows] each, NaN where nothing was logged. `path`: the file or the run folder.

    Raises `UserError` if there is no such file or it is not one of ours.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = Path(path)
    file = file / "metrics.parquet" if file.is_dir() else file
    try:
        table = pq.read_table(file)
    except FileNotFoundError as error:
        raise UserError(f"{file}: no such metrics file; is this a run folder?") from error
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{file} cannot be read as metrics: {error}") from error
    return {name: table[name].to_numpy().astype(np.float64) for name in table.column_names}
