"""Text files of numbers, with errors that name the file and the line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.reading.documents import read_json as read_json_file
from mapping.reading.files import read_lines, shown
from mapping.reading.files import read_text as read_text_file
from pipelines.frame import SequenceError

Array = NDArray[np.float64]
MOST_NUMBERS = 1 << 24
"""Of a table: a million poses."""
DIGITS, LONGEST_NUMBER = "0123456789", 300
"""Of a number in a name: no file has a longer one."""


def read_text(path: Path) -> str:
    """A UTF-8 text file; raises SequenceError naming it."""
    return read_text_file(path, SequenceError)


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON file with an object; raises SequenceError naming the file and the line, also for a name that an object has
    twice. NaN is a number: lost poses have it."""
    data = read_json_file(path, SequenceError, finite=False, unique=True)
    if not isinstance(data, Mapping):
        raise SequenceError(f"{path}: expected an object, found {type(data).__name__}")
    return data


def number_of(keys: Mapping[str, Any], key: str, path: Path) -> float:
    """A finite number of a JSON object; raises SequenceError naming the key."""
    value = keys.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SequenceError(f"{path}: {key} must be a number, got {shown(value)}")
    return float(value)


def csv_columns(path: Path, required: tuple[str, ...]) -> dict[str, Array]:
    """The columns (N,) of a table with a header line, by name; raises SequenceError naming the line or the missing column."""
    lines = ((number, line.strip()) for number, line in enumerate(read_lines(path, SequenceError), 1) if line.strip())
    names = [name.strip() for name in next(lines, (0, ""))[1].lstrip("#").split(",")]
    if missing := [name for name in required if name not in names]:
        raise SequenceError(
            f"{path}: expected a header with the columns {', '.join(required)}; missing: {', '.join(missing)}"
        )
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SequenceError(f"{path}: columns repeat: {', '.join(repeated)}")
    rows = []
    for number, line in lines:
        try:
            rows.append([float(field) for field in line.split(",")])
        except ValueError:
            raise SequenceError(f"{path} line {number}: expected numbers, found {line[:60]!r}") from None
        if len(rows[-1]) != len(names):
            raise SequenceError(f"{path} line {number}: expected {len(names)} numbers, found {len(rows[-1])}")
        _check_count(len(rows) * len(names), path)
    if not rows:
        raise SequenceError(f"{path}: has no line below its header")
    return dict(zip(names, np.array(rows, dtype=np.float64).T, strict=True))


def content_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and lines that are neither empty nor a `#` comment."""
    for number, line in enumerate(read_lines(path, SequenceError), 1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield number, line


def number_rows(path: Path, columns: tuple[int, ...], what: str) -> Array:
    """The numbers of a text file (N, C), separated by spaces or commas; nan and inf are numbers. A header of names is skipped.

    `columns` are the counts that a line may have, the first line decides; `what` describes a line. Raises SequenceError naming
    the line.
    """
    rows: list[list[float]] = []
    for number, line in content_lines(path):
        fields = line.replace(",", " ").split()
        try:
            row = [float(field) for field in fields]
        except ValueError:
            if not rows and re.fullmatch(r"%?[a-zA-Z_][\w.\[\]()/]*", fields[0]) and len(fields) in columns:
                continue  # a header line of names
            raise SequenceError(f"{path} line {number}: expected {what}, found {line[:60]!r}") from None
        if len(row) not in columns or (rows and len(row) != len(rows[0])):
            wanted = len(rows[0]) if rows else " or ".join(map(str, columns))
            raise SequenceError(f"{path} line {number}: expected {wanted} numbers ({what}), found {len(row)}")
        rows.append(row)
        _check_count(len(rows) * len(row), path)
    if not rows:
        raise SequenceError(f"{path}: is empty, expected lines of {what}")
    return np.array(rows, dtype=np.float64)


def _check_count(numbers: int, path: Path) -> None:
    if numbers > MOST_NUMBERS:
        raise SequenceError(f"{path}: is too large: at most {MOST_NUMBERS} numbers are read")


def read_matrix(path: Path, rows: int, columns: int) -> Array:
    """A matrix as text, one row per line; raises SequenceError for another shape."""
    matrix = number_rows(path, (columns,), f"a row of a {rows}x{columns} matrix")
    if matrix.shape != (rows, columns):
        raise SequenceError(f"{path}: expected a {rows}x{columns} matrix, found {len(matrix)} rows")
    return matrix


def matrix_rows(path: Path) -> Array:
    """A file of one 4x4 matrix per line, in rows, the last row optional, as (N, 4, 4); raises SequenceError."""
    return full_matrices(number_rows(path, (12, 16), "a 3x4 or 4x4 matrix"))


def full_matrices(rows: Array) -> Array:
    """Rows of 12 or 16 matrix elements as (N, 4, 4)."""
    matrices = np.tile(np.eye(4), (len(rows), 1, 1))
    matrices[:, : rows.shape[1] // 4] = rows.reshape(len(rows), -1, 4)
    return matrices


def slashed(name: str) -> str:
    """A file name as it is written on Windows with slashes instead of backslashes."""
    return name.replace("\\", "/")


def stamped_files(path: Path) -> tuple[Array, list[str]]:
    """A TUM list of `stamp file` lines as stamps (N,) and file names, in the order of the stamps.

    Raises SequenceError naming the line.
    """
    times, names = [], []
    for number, line in content_lines(path):
        try:
            stamp, name = line.split(maxsplit=1)
            times.append(float(stamp))
            if not math.isfinite(times[-1]):
                raise ValueError
        except ValueError:
            raise SequenceError(f"{path} line {number}: expected `stamp file`, found {line[:60]!r}") from None
        names.append(slashed(name))
        _check_count(len(names), path)
    order = np.argsort(np.array(times), kind="stable")
    return np.array(times)[order], [names[i] for i in order]


def last_number(name: str) -> int | None:
    """The last group of digits of a file name without suffixes, as in `frame-000123.color.png`; None without digits."""
    groups = re.findall(r"[0-9]+", name.split(".")[0])
    return int(groups[-1]) if groups and len(groups[-1]) <= LONGEST_NUMBER else None


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts `frame2` before `frame10`."""
    parts = re.split(r"([0-9]+)", name)
    return tuple(
        (0, int(part), "") if part[0] in DIGITS and len(part) <= LONGEST_NUMBER else (1, 0, part)
        for part in parts
        if part
    )
