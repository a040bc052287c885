"""How much memory there is, so that what would need more is refused before it is begun."""

from __future__ import annotations

import os
import resource
from pathlib import Path

MEMINFO, STATM = Path("/proc/meminfo"), Path("/proc/self/statm")
CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Where limit and use of the memory of a container are, of the second and the first version of control groups."""
FALLBACK = 4 << 30


def available_bytes() -> int:
    """Bytes that this process may still allocate: of the machine, of its container and by the limit of its address space.

    Where the system does not report it, 4 GiB.
    """
    found = [_of_machine(), *(_of_container(*paths) for paths in CGROUPS), _of_process()]
    known = [value for value in found if value is not None]
    return max(0, min(known)) if known else FALLBACK


def _of_machine() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text(encoding="ascii").splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None


def _of_container(folder: Path, limit: str, used: str) -> int | None:
    """What is left for a container; files that are only cached make room."""
    try:
        most, now = (int((folder / name).read_text(encoding="ascii")) for name in (limit, used))
        lines = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return most - now + int(lines.get("inactive_file", 0))
    except (OSError, ValueError):  # no container, or "max"
        return None


def _of_process() -> int | None:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return soft
    return soft - pages * os.sysconf("SC_PAGE_SIZE")
