"""Arrays of rows that may be larger than memory: in unnamed files, whose most recently used parts stay in memory."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.tsdf.blocks import FIRST_ROWS, with_rows

CHUNK = 1 << 20
"""Bytes that are released together."""
KEEP_SHARE = 0.75
"""The share of the cap down to which memory is released at once, so that it is not released at every frame."""


class SpillError(OSError):
    """The file system has no space for what does not fit into memory."""


class RowFile:
    """One growing array (rows, *row_shape) of zeros in a file without a name, mapped into memory.

    The file is sparse and is deleted with the process; growing copies nothing. Released pages are read again when they are
    used, so the contents of the array never depend on what was released.
    """

    def __init__(self, row_shape: tuple[int, ...], dtype: Any) -> None:
        self._row_shape, self._dtype = row_shape, np.dtype(dtype)
        self._row_bytes = int(np.prod(row_shape)) * self._dtype.itemsize
        self._file = tempfile.TemporaryFile(prefix="m2h-volume-")  # noqa: SIM115  lives as long as the array
        self._map: mmap.mmap | None = None
        self.used = np.zeros(0, np.int64)
        """By chunk: the number of the last frame that used it, 0 when it is not in memory."""

    def grow(self, array: NDArray[Any], count: int) -> NDArray[Any]:
        """The array with at least `count` rows. Raises SpillError."""
        if len(array) >= count:
            return array
        rows = max(count, 2 * len(array), FIRST_ROWS)
        if self._size(rows) > self._max_size():
            rows = count
        size = self._size(rows)
        try:
            if (
                size > self._max_size()
            ):  # the file is sparse: without this check, a write to a full disk would kill the process
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._file.truncate(size)
            self._map = mmap.mmap(self._file.fileno(), size)
        except OSError as error:
            raise SpillError(f"{tempfile.gettempdir()}: no space for {size} bytes of the volume ({error})") from error
        self.used = with_rows(self.used, size // CHUNK)[: size // CHUNK]
        cells = np.frombuffer(self._map, self._dtype, rows * int(np.prod(self._row_shape)))
        return cells.reshape(rows, *self._row_shape)

    def _size(self, rows: int) -> int:
        return -(-rows * self._row_bytes // CHUNK) * CHUNK

    def _max_size(self) -> int:
        """The largest possible size of the file in bytes: what it takes on disk plus what is free there."""
        if not hasattr(os, "fstatvfs"):
            return sys.maxsize
        disk = os.fstatvfs(self._file.fileno())
        return disk.f_bavail * disk.f_frsize + 512 * os.fstat(self._file.fileno()).st_blocks

    def touch(self, rows: NDArray[Any], frame: int) -> None:
        """Note that a frame used these rows."""
        first = np.asarray(rows, np.int64) * self._row_bytes
        self.used[first // CHUNK] = frame
        self.used[(first + self._row_bytes - 1) // CHUNK] = frame

    def release(self, chunks: NDArray[np.int64]) -> None:
        """Write these chunks to the file and take them out of memory."""
        assert self._map is not None
        for chunk in np.sort(chunks).tolist():
            self._map.flush(chunk * CHUNK, CHUNK)
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED, chunk * CHUNK, CHUNK)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._file.fileno(), chunk * CHUNK, CHUNK, os.POSIX_FADV_DONTNEED)
        self.used[chunks] = 0


class RowMemory:
    """The large arrays of a volume: in memory or, with a cap on their bytes, in files."""

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes = max_bytes
        self._files: dict[str, RowFile] = {}
        self._frame = 0

    def with_rows(self, name: str, array: NDArray[Any], count: int) -> NDArray[Any]:
        """The array of that name with at least `count` rows, the new ones 0. Raises SpillError when the disk is full."""
        if self._max_bytes is None:
            return with_rows(array, count)
        if name not in self._files:
            self._files[name] = RowFile(array.shape[1:], array.dtype)
        return self._files[name].grow(array, count)

    def touch(self, rows: dict[str, NDArray[Any]]) -> None:
        """Note the rows that a frame used, by array; above the cap, release the least recently used chunks.

        Rows of this frame stay in memory, even if they alone exceed the cap.
        """
        if self._max_bytes is None:
            return
        self._frame += 1
        for name, used in rows.items():
            if name in self._files and len(used):
                self._files[name].touch(used, self._frame)
        if self.resident_bytes > self._max_bytes:
            self._shrink(int(KEEP_SHARE * self._max_bytes))

    @property
    def spills(self) -> bool:
        """Whether there is a cap."""
        return self._max_bytes is not None

    @property
    def resident_bytes(self) -> int:
        """Bytes of the chunks that were used and not released since."""
        return CHUNK * sum(int(np.count_nonzero(file.used)) for file in self._files.values())

    def _shrink(self, wanted: int) -> None:
        files = [file for file in self._files.values() if len(file.used)]
        used = np.concatenate([file.used for file in files])
        owner = np.repeat(np.arange(len(files)), [len(file.used) for file in files])
        chunk = np.concatenate([np.arange(len(file.used)) for file in files])
        candidates = np.flatnonzero((used > 0) & (used < self._frame))
        oldest = candidates[np.argsort(used[candidates], kind="stable")]
        excess = -(-(self.resident_bytes - wanted) // CHUNK)
        for number, file in enumerate(files):
            released = oldest[:excess]
            file.release(chunk[released[owner[released] == number]])
