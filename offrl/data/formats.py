"""Named arrays out of CSV, Parquet, NPZ and HDF5 files, in bulk, and never by running what a file contains."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from offrl.errors import UserError

PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".npy", ".yaml", ".yml"}
INT64 = 1 << 63  # int64 holds what is below
LOOKED_AT = 1 << 20  # bytes of a CSV file that show how its cells are separated


def read_columns(path: Path, header: Sequence[str] | None, notes: list[str]) -> dict[str, NDArray[Any]]:
    """Every array of a file by name; those inside HDF5 groups as `group/name`.

    Args:
        header: names of the columns of a CSV file that does not begin with them.
        notes: what had to be guessed goes here.

    Raises:
        UserError: for a file that is missing, damaged, of unknown kind, or could run code when read.
    """
    if not path.is_file():
        raise UserError(f"dataset.path={path}: there is no such file")
    if path.stat().st_size == 0:
        raise UserError(f"dataset.path={path} is empty: it has 0 bytes")

    def read_csv(file: Path) -> dict[str, NDArray[Any]]:
        return _read_csv(file, header, notes)

    readers: dict[str, Callable[[Path], dict[str, NDArray[Any]]]] = {
        ".csv": read_csv,
        ".csv.gz": read_csv,
        ".tsv": read_csv,
        ".parquet": _read_parquet,
        ".npz": _read_npz,
        ".hdf5": _read_hdf5,
        ".h5": _read_hdf5,
    }
    if (kind := path.suffix.lower()) in PICKLES:
        raise UserError(
            f"dataset.path={path}: {kind} files are not read, for such a file can run code when it is opened; convert "
            "it where you trust it, to NPZ (numpy.savez with plain arrays), HDF5, Parquet or CSV"
        )
    for ending, reader in readers.items():
        if path.name.lower().endswith(ending):
            return reader(path)
    raise UserError(f"dataset.path={path}: of unknown kind {kind!r}; known are {', '.join(readers)}")


def verify(path: Path, size: int | None, sha256: str | None) -> None:
    """Compare a file with the size and checksum it should have; `<path>.sha256` beside it counts as well.

    Raises:
        UserError: if it is another file, or not all of it.
    """
    beside = path.with_name(f"{path.name}.sha256")
    if sha256 is None and beside.is_file():
        sha256 = beside.read_text().split()[0]
    if size is not None and path.stat().st_size != size:
        raise UserError(
            f"dataset.path={path} has {path.stat().st_size:,} bytes instead of {size:,}: the download is incomplete"
        )
    if sha256 is not None:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != sha256.lower():
            raise UserError(f"dataset.path={path} has sha256 {found[:12]}… instead of {sha256[:12]}…: fetch it again")


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"dataset.path={path} cannot be read: {error}; an incomplete download looks like this: fetch it again"
    )


def _read_csv(path: Path, header: Sequence[str] | None, notes: list[str]) -> dict[str, NDArray[Any]]:
    try:
        separator, point = _separators(path)
        table = _csv_table(path, header, separator, point)
    except OSError as error:
        raise _damaged(path, error) from error
    if separator == ";":
        notes.append(f"cells are separated by ';', and numbers have a decimal {'comma' if point == ',' else 'point'}")
    names = _names(table, path)
    if any(is_number(name.replace(point, ".")) for name in names):
        raise UserError(
            f"dataset.path={path} begins with {', '.join(names[:4])} …: numbers, not names, so it has no header; "
            "name its columns with dataset.header=[obs_0,obs_1,…]"
        )
    _refuse_twins(table, path)
    return _table_columns(_with_long_integers(table, partial(_csv_table, path, header, separator, point)), path)


def _names(table: Any, path: Path) -> list[str]:
    """Names of the columns; in a CSV file they may not even be text."""
    try:
        return cast("list[str]", table.column_names)
    except UnicodeDecodeError as error:
        raise UserError(f"dataset.path={path}: the names of its columns are not UTF-8: save it as UTF-8") from error


def _refuse_twins(table: Any, path: Path) -> None:
    for name, count in Counter(_names(table, path)).items():
        if count > 1:
            raise UserError(f"dataset.path={path} has {count} columns of the name {name!r}: rename them")


def _separators(path: Path) -> tuple[str, str]:
    """What stands between cells, and before the decimals of a number."""
    from pyarrow import input_stream

    with input_stream(str(path)) as stream:  # unpacks what is compressed
        begin = stream.read(LOOKED_AT)
    if b"\0" in begin:
        raise UserError(f"dataset.path={path} is UTF-16, UTF-32 or no text at all: save it as UTF-8")
    start = begin.decode("utf-8", "replace")
    first_line = start.partition("\n")[0]
    separator = max(",;\t", key=first_line.count)
    decimal_comma = separator == ";" and re.search(r"(^|;)-?\d*,\d+(;|\r?$)", start, re.MULTILINE)
    return separator, "," if decimal_comma else "."


def _csv_table(
    path: Path, header: Sequence[str] | None, separator: str, point: str, threads: bool = True, **conversion: Any
) -> Any:
    from pyarrow import ArrowInvalid, csv

    try:
        return csv.read_csv(
            path,
            csv.ReadOptions(use_threads=threads, column_names=list(header) if header else None),
            csv.ParseOptions(delimiter=separator),
            csv.ConvertOptions(decimal_point=point, **conversion),
        )
    except ArrowInvalid as error:
        if threads:  # without them the message has the number of the row
            return _csv_table(path, header, separator, point, threads=False, **conversion)
        raise UserError(
            f"dataset.path={path} cannot be read: {error}; rows are counted from 1 there, the header among them, and "
            f"each should have as many cells as the first, separated by {separator!r}: correct it, or, if it is the "
            "last row and incomplete, fetch the file again"
        ) from error


def _with_long_integers(table: Any, read: Callable[..., Any]) -> Any:
    """The same table; whole numbers that Arrow made floating-point, for int64 does not hold them, become uint64."""
    import pyarrow as pa

    for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if pa.types.is_floating(column.type) and _largest(column) >= INT64:
            with suppress(UserError):  # some are negative, broken, or larger still
                whole = read(include_columns=[name], column_types={name: pa.uint64()})
                table = table.set_column(place, name, whole[name])
    return table


def _largest(column: Any) -> float:
    from pyarrow import compute

    return compute.call_function("max", [column]).as_py() or 0.0


def is_number(value: Any) -> bool:
    """Whether it is a number, or text that says one."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _read_parquet(path: Path) -> dict[str, NDArray[Any]]:
    from pyarrow import ArrowInvalid, parquet

    try:
        table = parquet.read_table(path)
    except (ArrowInvalid, OSError) as error:
        raise _damaged(path, error) from error
    _refuse_twins(table, path)
    return _table_columns(table, path)


def _table_columns(table: Any, path: Path) -> dict[str, NDArray[Any]]:
    """Columns of an Arrow table; empty cells become NaN, decimals float64, lists of equal length a further axis."""
    return {name: _values(table[name].combine_chunks(), name, path) for name in table.column_names}


def _values(column: Any, name: str, path: Path) -> NDArray[Any]:
    import pyarrow as pa
    from pyarrow import types

    if types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type):
        lengths = column.value_lengths().unique().to_pylist()
        if len(lengths) > 1 or None in lengths:
            raise UserError(f"dataset.path={path}: the lists in column {name} differ in length")
        inner = _values(column.flatten(), name, path)
        return inner.reshape(len(column), *lengths, *inner.shape[1:])
    if types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return column.to_numpy(zero_copy_only=False)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            for name in archive.files:
                columns[name] = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise _damaged(path, error) from error
        raise UserError(
            f"dataset.path={path} holds Python objects, which can run code when they are read: refused; "
            "save plain arrays"
        ) from error
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise _damaged(path, error) from error
    return columns


def _read_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    import h5py

    columns: dict[str, NDArray[Any]] = {}

    def keep(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and entry.shape:  # scalars are remarks, not columns
            if entry.dtype.kind == "O":
                raise UserError(f"dataset.path={path}: {name} holds objects or text instead of numbers")
            columns[name] = entry[()]

    try:
        with h5py.File(path, "r") as file:
            if "episode_0" in file:
                raise UserError(
                    f"dataset.path={path} belongs to a Minari dataset: use it by its id, dataset=SOME/ID-v0"
                )
            file.visititems(lambda name, entry: None if name.startswith("metadata") else keep(name, entry))
            _compare_steps(path, dict(file.attrs), columns)
    except OSError as error:
        raise _damaged(path, error) from error
    return columns


def _compare_steps(path: Path, attributes: dict[str, Any], columns: dict[str, NDArray[Any]]) -> None:
    claimed = attributes.get("total_steps")
    found = next((len(columns[name]) for name in ("rewards", "reward", "actions") if name in columns), None)
    if claimed is not None and found is not None and int(claimed) != found:
        raise UserError(
            f"dataset.path={path} says total_steps={int(claimed):,} but has {found:,} rewards: not all of it is here"
        )
