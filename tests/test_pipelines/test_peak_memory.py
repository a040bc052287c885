"""The memory of a part of the process is its own, not that of what ran before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import peak_memory
from pipelines.peak_memory import PeakMemory

THREE_PARTS = """
import json
import numpy as np
from pipelines.peak_memory import PeakMemory

def touch(mib):
    return float(np.ones(mib * 2**17).sum())

with PeakMemory() as before:
    pass
with PeakMemory() as large:
    touch(600)
with PeakMemory() as small:
    touch(100)
print(json.dumps([before.mib, large.mib, small.mib, small.method]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_a_small_part_after_a_large_one_is_small():
    """In a separate process: in one that has freed much memory, 600 MiB need not be new memory."""
    result = subprocess.run([sys.executable, "-c", THREE_PARTS], capture_output=True, text=True, check=True)
    *peaks, method = json.loads(result.stdout)
    before, large, small = peaks
    assert large - before > 550
    assert method == "sampled"
    assert small < large - 300


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
def test_a_new_peak_is_exact(monkeypatch):
    readings = iter([(100.0, 300.0), (150.0, 420.0)])
    monkeypatch.setattr(peak_memory, "_read_status", lambda: next(readings))
    monkeypatch.setattr(peak_memory, "SAMPLE_SECONDS", 60)
    with PeakMemory() as peak:
        pass
    assert (peak.mib, peak.method) == (420.0, "exact")


def test_a_system_that_gives_no_evidence_gives_the_peak_of_the_process(monkeypatch):
    monkeypatch.setattr(peak_memory, "STATUS", Path("/nowhere/status"))
    with PeakMemory() as peak:
        pass
    assert peak.method == "process"
    assert peak.mib > 10
