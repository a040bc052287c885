"""The peak memory of a part of a process."""

from __future__ import annotations

import resource
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal

Method = Literal["exact", "sampled", "process"]
STATUS = Path("/proc/self/status")
SAMPLE_SECONDS = 0.02


class PeakMemory:
    """The largest resident memory of this process while a `with` block runs: `mib`, and in `method` how it was measured.

    Linux keeps the peak of the whole process. Where the block raised it, the new peak is the block's own: `exact`. Where it did
    not, an earlier block needed more, and the memory of this one is sampled fifty times per second: `sampled`, never too high. On
    systems without /proc it is the peak of the process so far: `process`. The kernel's peak could also be reset for each block;
    that would hide it from external measurements of the process.
    """

    def __init__(self) -> None:
        self.mib = 0.0
        self.method: Method = "process"

    def __enter__(self) -> PeakMemory:
        start = _read_status()
        if start is not None:
            self._peak_before, self._largest = start[1], start[0]
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._sample, name="memory", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end = _read_status()
        if end is None:
            unit = 2**20 if sys.platform == "darwin" else 2**10
            self.mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
            return
        self._stop.set()
        self._thread.join()
        current, peak = end
        if peak > self._peak_before:
            self.mib, self.method = peak, "exact"
        else:
            self.mib, self.method = max(self._largest, current), "sampled"

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            now = _read_status()
            if now is not None:
                self._largest = max(self._largest, now[0])


def _read_status() -> tuple[float, float] | None:
    """Resident memory now and at its peak in MiB, as reported by the kernel; None where it does not."""
    try:
        fields = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines() if "Vm" in line)
        now, peak = (float(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    except (OSError, KeyError, ValueError):
        return None
    return now, peak
