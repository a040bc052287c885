"""The memory that a part of the process needs is its own, not that of what ran before it."""

from pathlib import Path

import numpy as np
import pytest

from pipelines import memory
from pipelines.memory import PeakMemory

MIB = 2**20


def touch(mib: int) -> float:
    """Needs `mib` MiB for as long as it runs."""
    block = np.ones(mib * MIB // 8)
    return float(block.sum())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_a_small_part_after_a_large_one_is_small():
    with PeakMemory() as before:
        pass
    with PeakMemory() as large:
        touch(600)
    with PeakMemory() as small:
        touch(100)
    assert large.mib - before.mib > 550
    assert small.method == "sampled"
    assert small.mib < large.mib - 300


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_a_new_peak_is_exact(monkeypatch):
    readings = iter([(100.0, 300.0), (150.0, 420.0)])
    monkeypatch.setattr(memory, "_read_status", lambda: next(readings))
    monkeypatch.setattr(memory, "SAMPLE_SECONDS", 60)
    with PeakMemory() as peak:
        pass
    assert (peak.mib, peak.method) == (420.0, "exact")


def test_a_system_that_tells_nothing_gives_the_peak_of_the_process(monkeypatch):
    monkeypatch.setattr(memory, "STATUS", Path("/nowhere/status"))
    with PeakMemory() as peak:
        pass
    assert peak.method == "process"
    assert peak.mib > 10
