"""The one place where files are written: a reader never sees a partial one, and a killed process leaves nothing for ever.

What is being written is a temporary, a file or a folder called `.m2h-PID-RANDOM` and the suffix, next to its target. It takes the
target's name when it is complete and on the disk. Its writer holds a lock on it, which the kernel gives back when the process
ends, however it ends. So the next run knows what was abandoned from what is being written, even by a process of another container
whose number means nothing here. Readers ignore temporaries (`is_temporary`).
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

AnyPath = str | os.PathLike[str]

TEMPORARY_NAME = re.compile(r"\.m2h-(?P<pid>[0-9]+)-[0-9a-f]{8}(\.[^/]*)?")
LONGEST_SUFFIX = 16
"""A longer end of a name after a dot is no suffix that any writer asks for."""


def is_temporary(name: str) -> bool:
    """Whether a file or folder of this name is one that is being written, or was when its process ended."""
    return TEMPORARY_NAME.fullmatch(name) is not None


def without_temporaries(paths: Iterable[Path]) -> list[Path]:
    """The paths that neither are temporaries nor lie in one, in order."""
    return [path for path in paths if not any(map(is_temporary, path.parts))]


@contextmanager
def atomic_path(path: AnyPath, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path next to `path`, same suffix, that becomes `path` when the block ends normally and is deleted otherwise.

    With `durable` it is on the disk before it gets its name, so that not even a power cut leaves a file that is empty or cut off.
    That costs milliseconds; for many files, write them without and call `flush_files` before the file that vouches for them.

    Raises OSError (with the target's name) when the folder is missing or cannot be written.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: the folder {target.parent} does not exist")
    with _temporary(target, is_folder=False) as temporary:
        try:
            yield temporary
            if durable:
                _flush(temporary)
            os.replace(temporary, target)
        except OSError as error:  # for a full disk, say, the system does not name the file
            if error.filename not in (None, str(temporary)):
                raise
            raise OSError(f"{target}: cannot be written ({error.strerror or error})") from error


@contextmanager
def atomic_folder(path: AnyPath) -> Iterator[Path]:
    """A temporary folder next to `path` that becomes `path` when the block ends normally and is deleted otherwise.

    Raises OSError (with the target's name) when it cannot be written, or `path` is there and no empty folder.
    """
    target = Path(path)
    with _temporary(target, is_folder=True) as temporary:
        yield temporary
        move(temporary, target)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in the system's place for such, for files that nobody keeps; those that were abandoned there are removed."""
    place = Path(tempfile.gettempdir())
    remove_abandoned(place)
    with _temporary(place / "scratch", is_folder=True) as folder:
        yield folder


def write_text_atomic(path: AnyPath, text: str) -> None:
    """Write UTF-8 text through `atomic_path`; halves of characters, as in undecodable file names, as `\\udcff`."""
    write_bytes_atomic(path, text.encode("utf-8", "backslashreplace"))


def write_bytes_atomic(path: AnyPath, data: bytes, *, durable: bool = True) -> None:
    """Write bytes through `atomic_path`."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def create_file(path: AnyPath, data: bytes) -> bool:
    """Write a new file; False, and nothing is written, where there is one of that name.

    Of several processes that ask for one name, on whichever machines that share the folder, exactly one gets True, and readers
    see the whole file or none. Raises OSError (with the target's name) when it cannot be written.
    """
    target = Path(path)
    with _temporary(target, is_folder=False) as temporary:
        temporary.write_bytes(data)
        _flush(temporary)
        try:
            os.link(temporary, target)
        except OSError as error:
            # A file server may have linked it and its answer was lost: what counts is whether the file has two names.
            if os.stat(temporary).st_nlink < 2:
                if isinstance(error, FileExistsError):
                    return False
                raise OSError(f"{target}: cannot be written ({error.strerror})") from error
    return True


def flush_files(folder: AnyPath) -> None:
    """Bring all files below a folder to the disk: those that were written without `durable`."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _flush(Path(parent, name))


def make_folder(path: AnyPath) -> None:
    """Make a folder and those above it where they are missing. Raises OSError (with the name) when that is not possible."""
    os.makedirs(path, exist_ok=True)


def move(path: AnyPath, target: AnyPath) -> None:
    """Give a complete file or folder its name, a file in place of the one that has it. Raises OSError (with the name)."""
    try:
        os.replace(path, target)
    except OSError as error:
        raise OSError(f"{target}: cannot be written ({error.strerror})") from error


def remove_file(path: AnyPath) -> None:
    """Remove a file where it is there."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def remove_folder(path: AnyPath) -> None:
    """Remove a folder with all that is in it where it is there; links in it are removed, not followed."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def remove_abandoned(folder: AnyPath, *, below: bool = False) -> None:
    """Remove the temporaries in a folder, with `below` also in those below it, that no process is writing any more.

    Links are not followed. What cannot be removed stays.
    """
    for parent, folders, files in os.walk(folder):
        for name in filter(is_temporary, (*folders, *files)):
            with suppress(OSError):
                _remove_if_abandoned(Path(parent, name))
        folders[:] = [name for name in folders if below and not is_temporary(name)]


def locked_file(path: AnyPath) -> BinaryIO:
    """The file, made where it is missing, open to read and write, locked, and still of this name.

    The kernel gives the lock back when it is closed or the process ends, however it ends. Raises BlockingIOError
    while another holds it, and OSError for a link.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _still_has(path, descriptor):
                return os.fdopen(descriptor, "r+b")
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it between our two steps: look again


@contextmanager
def _temporary(target: Path, *, is_folder: bool) -> Iterator[Path]:
    """A new temporary for the target, locked, which is removed at the end unless it has another name by then."""
    temporary, lock = _new_temporary(target, is_folder=is_folder)
    try:
        yield temporary
    finally:
        try:
            remove = remove_folder if is_folder else remove_file
            remove(temporary)
        finally:
            os.close(lock)


def _new_temporary(target: Path, *, is_folder: bool) -> tuple[Path, int]:
    """A new temporary for the target, and the descriptor that holds its lock."""
    suffix = "" if is_folder or len(target.suffix) > LONGEST_SUFFIX else target.suffix
    while True:
        path = target.parent / f".m2h-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
        try:
            if is_folder:
                os.mkdir(path)
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            else:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OSError(f"{target}: cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # taken for abandoned before it was locked
            os.close(descriptor)
            continue
        except OSError:  # a file system without locks
            return path, descriptor
        if _still_has(path, descriptor):
            return path, descriptor
        os.close(descriptor)


def _still_has(path: AnyPath, descriptor: int) -> bool:
    """Whether the path still is that of the open file."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:  # of a descriptor the system names no file
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def _remove_if_abandoned(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    except OSError:  # a file system without locks: the number of the process has to do
        if not _is_alive(path.name):
            _remove(path)
    else:
        _remove(path)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    remove = remove_folder if path.is_dir() else remove_file
    remove(path)


def _is_alive(name: str) -> bool:
    """Whether the process that made a temporary of this name may still run."""
    match = TEMPORARY_NAME.fullmatch(name)
    assert match is not None
    try:
        os.kill(int(match["pid"]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
