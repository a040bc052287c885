"""Arrays of `.npy` and `.npz` files, whose headers are read and compared with the limit before their numbers are.

As in `mapping.reading.files`, every function takes the error to raise.
"""

from __future__ import annotations

import io
import math
import os
import tokenize
import zipfile
from collections.abc import Collection
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mapping.reading.archives import check_member, opened_archive
from mapping.reading.files import MIB, opened, shown

MOST_ARRAY_BYTES = 1024 * MIB
"""Of the arrays of one file, for which no other limit is given: those of one frame."""
MOST_MEMBERS = 1024
_PIECE = 8 * MIB


class _FormatError(Exception):
    """What is wrong with a file, without its name."""


def read_npy(path: str | os.PathLike[str], error: type[ValueError], *, most: int = MOST_ARRAY_BYTES) -> NDArray[Any]:
    """The array of a `.npy` file; raises `error` naming the file, also for more than `most` bytes of numbers."""
    with opened(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            return _read_array(file, size, most)
        except _FormatError as problem:
            raise error(f"{os.fspath(path)}: not a NumPy array file: {problem}") from problem


def read_npz(
    path: str | os.PathLike[str],
    error: type[ValueError],
    *,
    names: Collection[str] | None = None,
    most: int = MOST_ARRAY_BYTES,
) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz` file by name, which are among `names` where these are given.

    Raises `error` naming the file: for another or a damaged file, for unknown names, and for more than `most` bytes of numbers.
    """
    where = os.fspath(path)
    with opened_archive(path, error, what=".npz") as archive:
        members = archive.infolist()
        declared = sum(member.file_size for member in members)
        if len(members) > MOST_MEMBERS or declared > most + MIB:
            raise error(
                f"{where}: is too large: {len(members)} arrays of {declared} bytes, at most {most} bytes are read"
            )
        arrays: dict[str, NDArray[Any]] = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if names is not None and name not in names:
                raise error(f"{where}: unknown array {shown(name)}; known are {', '.join(names)}")
            check_member(member, where, error)
            if name in arrays:
                raise error(f"{where}: the array {shown(name)} is in it twice")
            arrays[name] = _read_member(archive, member, most, f"{where}: {shown(name)[1:-1]}", error)
    return arrays


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int, where: str, error: type[ValueError]
) -> NDArray[Any]:
    with archive.open(member) as stream:
        try:
            array = _read_array(stream, member.file_size, most)
        except _FormatError as problem:
            raise error(f"{where}: not readable as an array: {problem}") from problem
        if stream.read(1):  # at the end the checksum is compared
            raise error(f"{where}: has more bytes than its shape needs")
    return array


def _read_array(file: IO[bytes], size: int, most: int) -> NDArray[Any]:
    """The array at the position of a file, or member, of `size` bytes, in this machine's order of bytes."""
    try:
        shape, fortran, dtype = _read_header(file)
    except (ValueError, EOFError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError) as problem:
        raise _FormatError(_first_line(problem)) from problem
    if dtype.hasobject:
        raise _FormatError("it contains Python objects, which are not read")
    if any(isinstance(length, bool) or not isinstance(length, int) or length < 0 for length in shape):
        raise _FormatError(f"{shown(shape)} is not a shape")
    needed = math.prod(shape) * dtype.itemsize
    if needed > most:
        raise _FormatError(
            f"is too large: shape {shown(shape)} of {dtype} takes {needed} bytes, at most {most} are read"
        )
    if needed > size or dtype.itemsize == 0:
        raise _FormatError(f"is truncated: shape {shown(shape)} of {dtype} takes {needed} bytes, it has {size}")
    data = bytearray(needed)
    view, at = memoryview(data), 0
    while at < needed:
        piece = file.read(min(_PIECE, needed - at))
        if not piece:
            raise _FormatError(f"is truncated: shape {shown(shape)} of {dtype} takes {needed} bytes, it has {at}")
        view[at : at + len(piece)] = piece
        at += len(piece)
    array: NDArray[Any] = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False)
    return array.reshape(shape, order="F" if fortran else "C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version in ((2, 0), (3, 0)):
        head = file.read(4)
        if len(head) < 4 or int.from_bytes(head, "little") > 1 << 16:
            raise ValueError("its header is too long")
        rest = file.read(int.from_bytes(head, "little"))
        return np.lib.format.read_array_header_2_0(io.BytesIO(head + rest))
    raise ValueError(f"version {version} is not known")


def _first_line(problem: BaseException) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:200]
