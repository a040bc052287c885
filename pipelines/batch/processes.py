"""Which process on which machine something belongs to, and whether it still runs."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from mapping.reading.files import read_head

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")
LONGEST = 4096
START_FIELD = 22 - 3
"""Of /proc/PID/stat, counted from the field after the name: when the process started."""


@dataclass(frozen=True)
class ProcessName:
    """A process among those of all machines. `boot` and `namespace` say within what `pid` means something: a machine since its
    start, and a container; `started` tells the process from a later one of the same number."""

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    def to_data(self) -> dict[str, str | int]:
        """As an object of JSON."""
        return asdict(self)


class _UnreadableError(ValueError):
    """What the system does not tell."""


def this_process() -> ProcessName:
    """The name of this process."""
    host, boot, namespace = _place()
    return ProcessName(host, boot, namespace, os.getpid(), _started(os.getpid()))


def is_gone(name: ProcessName) -> bool:
    """Whether a process is known to have ended; of other machines and containers nothing is known."""
    if (name.host, name.boot, name.namespace) != _place():
        return False
    try:
        os.kill(name.pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return _started(name.pid) != name.started or _is_zombie(name.pid)


@cache
def _place() -> tuple[str, str, str]:
    try:
        namespace = str(NAMESPACE.readlink())
    except OSError:
        namespace = ""
    try:
        boot = read_head(BOOT_ID, _UnreadableError, 64).decode("ascii", "replace").strip()
    except _UnreadableError:
        boot = ""
    return socket.gethostname(), boot, namespace


def _fields(pid: int) -> list[str]:
    """What the system says of a process, from its state on; empty where it does not."""
    try:
        text = read_head(f"/proc/{pid}/stat", _UnreadableError, LONGEST).decode("utf-8", "replace")
    except _UnreadableError:
        return []
    return text.rpartition(")")[2].split()


def _started(pid: int) -> str:
    fields = _fields(pid)
    return fields[START_FIELD] if len(fields) > START_FIELD else ""


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and only waits for its parent to notice."""
    return _fields(pid)[:1] in (["Z"], ["X"])
