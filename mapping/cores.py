"""How many processors this process may use."""

from __future__ import annotations

import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time that a container gets in a period, and the period: control groups of the second version."""
CPU_QUOTA = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
"""The same of the first version, in two files."""


def available_cores() -> int:
    """Cores that this process may use: by its affinity, as schedulers of clusters set it, and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, int(quota + 0.5)))


def _quota() -> float | None:
    """Cores by the quota of the container; None where there is none."""
    try:
        text = CPU_MAX.read_text(encoding="ascii")
    except OSError:
        try:
            text = " ".join(path.read_text(encoding="ascii") for path in CPU_QUOTA)
        except OSError:
            return None
    try:
        quota, period = (int(part) for part in text.split())
    except ValueError:  # "max"
        return None
    return quota / period if quota > 0 and period > 0 else None
