"""Zip files whose members are read in memory, each up to a size that is compared with what the archive declares."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from mapping.reading.files import opened, shown

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_LONGEST_END = 22 + (1 << 16)
"""Bytes of the record at the end, with a comment."""


@contextmanager
def opened_archive(
    path: str | os.PathLike[str], error: type[ValueError], *, what: str = "a zip file"
) -> Iterator[zipfile.ZipFile]:
    """A zip file; raises `error` naming it for another or a damaged one, also while it is read in the block."""
    with opened(path, error) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                if not _has_all_members(archive, file):
                    raise error(f"{os.fspath(path)}: not readable as {what} (its directory is damaged)")
                yield archive
        except error:
            raise
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            EOFError,
            RuntimeError,
            ValueError,
            LookupError,
        ) as problem:
            # The module zipfile raises RuntimeError for encryption, and the rest for numbers of damaged headers.
            reason = (str(problem).splitlines() or [type(problem).__name__])[0]
            raise error(f"{os.fspath(path)}: not readable as {what} ({reason[:200]})") from problem


def _has_all_members(archive: zipfile.ZipFile, file: IO[bytes]) -> bool:
    """Whether as many members are found as the end of the file says, where it says: a damaged length can hide some.

    Of 65535 members and more, and 4 GiB and more, the end says nothing.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_END))
    end = file.read()
    at = end.rfind(b"PK\5\6")
    if at < 0 or len(end) < at + 20:
        return False
    count, begin = struct.unpack_from("<H", end, at + 10)[0], struct.unpack_from("<L", end, at + 16)[0]
    return count in (len(archive.infolist()), 0xFFFF) and begin in (archive.start_dir, 0xFFFFFFFF)


def check_member(member: zipfile.ZipInfo, where: str, error: type[ValueError]) -> None:
    """Raises `error` for a member that is encrypted or compressed by another method than deflate."""
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
        raise error(
            f"{where}: {shown(member.filename)[1:-1]} is encrypted or compressed in another way than by deflate"
        )
