"""Bytes and text of files, of regular files alone and up to a size.

Every function takes the error that its caller raises for bad files, and raises it in one line that begins with the file. A file
that is missing or may not be read gives that error, too.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper

MIB = 1 << 20
MOST_TEXT_BYTES = 128 * MIB
"""Of a text file: some hundred thousand frames."""
MOST_BINARY_BYTES = 4096 * MIB
"""Of a file that is read whole into memory as bytes, such as a mesh."""
LONGEST_LINE = 16 * MIB
"""Characters of a line of text; COLMAP has all points of an image in one."""
LONGEST_SHOWN = 80
"""Characters of a value that a message shows."""


def shown(value: object) -> str:
    """A value of a file as the end of a message: short, in one line, whatever it is."""
    if isinstance(value, str | bytes) or (isinstance(value, int) and value.bit_length() > 256):
        text = repr(value[: 2 * LONGEST_SHOWN]) if isinstance(value, str | bytes) else "a whole number of many digits"
    elif isinstance(value, list | tuple | dict | set):
        text = _container(value, LONGEST_SHOWN)
    else:
        text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def _container(value: object, room: int) -> str:
    """The beginning of a container as text, without looking at the rest: anchors may make it endless."""
    if isinstance(value, dict):
        parts: Iterator[object] = iter(value.items())
    elif isinstance(value, list | tuple | set):
        parts = iter(value)
    else:
        return shown(value)
    open_, close = (
        ("{", "}") if isinstance(value, dict | set) else ("(", ")") if isinstance(value, tuple) else ("[", "]")
    )
    text = open_
    for number, part in enumerate(parts):
        text += ", " if number else ""
        if len(text) >= room:
            return text
        if isinstance(value, dict) and isinstance(part, tuple):
            text += f"{_container(part[0], room - len(text))}: {_container(part[1], room - len(text))}"
        else:
            text += _container(part, room - len(text))
    return text + close


def is_readable_name(name: str) -> bool:
    """Whether a file of this name can exist: it has no NUL character and no half of a surrogate pair."""
    return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in name)


@contextmanager
def opened(path: str | os.PathLike[str], error: type[ValueError], *, what: str = "file") -> Iterator[BufferedReader]:
    """A regular file, opened for reading; pipes, devices and folders are refused without waiting for them.

    Raises `error` naming the file; also for an OSError while it is read in the block. `what` is what a missing file is called.
    """
    try:
        with _open_regular(path, error) as file:
            yield file
    except FileNotFoundError as problem:
        raise error(f"{os.fspath(path)}: {what} is missing") from problem
    except OSError as problem:
        raise error(f"{os.fspath(path)}: cannot be read: {problem.strerror or problem}") from problem


def _open_regular(path: str | os.PathLike[str], error: type[ValueError]) -> BufferedReader:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    except (ValueError, TypeError) as problem:  # a NUL character, or half of a surrogate pair
        raise error(f"{shown(os.fspath(path))}: is not a name that a file can have") from problem
    except OSError as problem:
        if problem.errno == errno.ENXIO:  # a socket
            raise error(f"{os.fspath(path)}: is not a regular file") from problem
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise error(f"{os.fspath(path)}: is not a regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_regular(path: str | os.PathLike[str], error: type[ValueError]) -> None:
    """Raises `error` for what is no readable regular file; for files that a library opens itself."""
    with opened(path, error):
        pass


def read_bytes(
    path: str | os.PathLike[str], error: type[ValueError], *, most: int = MOST_BINARY_BYTES, what: str = "file"
) -> bytes:
    """The contents of a file of at most `most` bytes."""
    with opened(path, error, what=what) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise error(f"{os.fspath(path)}: is too large: {size} bytes, at most {most} are read")
        data = file.read(size)  # not `most`, for which the memory would be taken first
        while len(data) <= most and (piece := file.read(MIB)):  # it is growing, or of /proc, where files have no size
            data += piece
    if len(data) > most:
        raise error(f"{os.fspath(path)}: is too large: at most {most} bytes are read")
    return data


def read_head(path: str | os.PathLike[str], error: type[ValueError], count: int, *, what: str = "file") -> bytes:
    """The first `count` bytes of a file, fewer when it is shorter."""
    with opened(path, error, what=what) as file:
        return file.read(count)


def file_sha256(path: str | os.PathLike[str], error: type[ValueError]) -> str:
    """SHA-256 of a file in hexadecimal, read in pieces."""
    state = hashlib.sha256()
    with opened(path, error) as file:
        for piece in iter(lambda: file.read(MIB), b""):
            state.update(piece)
    return state.hexdigest()


def read_text(path: str | os.PathLike[str], error: type[ValueError], *, most: int = MOST_TEXT_BYTES) -> str:
    """A UTF-8 text file with or without a byte order mark, of at most `most` bytes and without NUL characters."""
    data = read_bytes(path, error, most=most)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{os.fspath(path)}: is not text (byte {problem.start} is not UTF-8)") from problem
    if "\0" in text:
        raise error(f"{os.fspath(path)}: is not text (it contains NUL characters)")
    return text.replace("\r\n", "\n").replace("\r", "\n")  # as the text mode of files does


def read_lines(path: str | os.PathLike[str], error: type[ValueError]) -> Iterator[str]:
    """The lines of a UTF-8 text file without their ends, one after the other: a file may be larger than memory.

    Raises `error` naming the file as `read_text` does, and for a line of more than `LONGEST_LINE` characters.
    """
    with opened(path, error) as file, TextIOWrapper(file, encoding="utf-8-sig") as text:
        try:
            while line := text.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    raise error(f"{os.fspath(path)}: has a line of more than {LONGEST_LINE} characters")
                if "\0" in line:
                    raise error(f"{os.fspath(path)}: is not text (it contains NUL characters)")
                yield line.rstrip("\n")
        except UnicodeDecodeError as problem:
            raise error(f"{os.fspath(path)}: is not text ({problem.reason} of UTF-8)") from problem
