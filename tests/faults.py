"""Faults at the one place where files are written: a process that is killed, a disk that is full, at any one operation."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mapping import files

OPERATIONS = ("open", "fsync", "replace", "link", "unlink", "mkdir", "makedirs")
"""Functions of `os` that change what is on the disk; `open` counts where it makes a file."""


class KilledError(BaseException):
    """The process ends here: nothing that would come afterwards is done."""


class FaultyDisk:
    """Stands for `os` in `mapping.files`, counts the operations, and lets the one of number `at` fail.

    With an `error` (a number of errno) that operation alone fails with it. Without one the process is killed in its place: it and
    all later ones raise KilledError, so that nothing is cleaned up, and locks are given back as the kernel does.
    `watch` is called with its number before every operation: what is on the disk then is what a kill would leave.
    """

    def __init__(
        self, at: int | None = None, error: int | None = None, watch: Callable[[int], None] = lambda number: None
    ) -> None:
        self.at, self.error, self.watch = at, error, watch
        self.done: list[str] = []
        self._open: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        function = getattr(os, name)
        return self._counted(name, function) if name in OPERATIONS else function

    def _counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if name != "open" or arguments[1] & os.O_CREAT:
                self._operate(name, arguments[0])
            result = function(*arguments, **options)
            if name == "open":
                self._open.add(result)
            return result

        return call

    def _operate(self, name: str, subject: Any) -> None:
        number = len(self.done)
        self.watch(number)
        self.done.append(name)
        if self.at is None or number < self.at:
            return
        if self.error is None:
            raise KilledError(f"at {name} of {subject}")
        if number == self.at:
            where = () if name == "fsync" else (str(subject),)  # of a descriptor the system names no file
            raise OSError(self.error, os.strerror(self.error), *where)

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def fdopen(self, descriptor: int, *arguments: Any) -> Any:
        self._open.discard(descriptor)
        return os.fdopen(descriptor, *arguments)

    def end(self) -> None:
        """What the kernel does when a process ends: its descriptors are closed, and with them its locks."""
        for descriptor in self._open:
            os.close(descriptor)


class _FaultyTrees:
    """Stands for `shutil` in `mapping.files`: a folder is removed in one operation."""

    def __init__(self, disk: FaultyDisk) -> None:
        self._disk = disk

    def rmtree(self, path: Any) -> None:
        import shutil

        if os.path.lexists(path):
            self._disk._operate("rmtree", path)
        shutil.rmtree(path)


@contextmanager
def faulty_disk(
    at: int | None = None, error: int | None = None, watch: Callable[[int], None] = lambda number: None
) -> Iterator[FaultyDisk]:
    """Within, the operation of that number fails, or the process is as if killed there."""
    disk = FaultyDisk(at, error, watch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "os", disk)
        patch.setattr(files, "shutil", _FaultyTrees(disk))
        try:
            yield disk
        finally:
            disk.end()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Within, the system lets no file become larger: what is in a file fails, at any byte, and not only what is done to it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def temporaries(folder: Path) -> list[Path]:
    """What is left of unfinished files."""
    return [path for path in folder.rglob("*") if files.is_temporary(path.name)]
