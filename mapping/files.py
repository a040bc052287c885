"""Atomic writing of files: a reader never sees a partial one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, same suffix, that becomes `path` when the block ends normally and is deleted otherwise.

    Raises OSError (with the target's name) when the folder is missing or cannot be written.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: the folder {target.parent} does not exist")
    temporary = target.parent / f".{target.stem}-{os.getpid()}-{secrets.token_hex(4)}{target.suffix}"
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise OSError(f"{target}: cannot be written ({error.strerror})") from error
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:  # for a full disk, say, the system does not name the file
        if error.filename not in (None, str(temporary)):
            raise
        raise OSError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomic(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text through `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
