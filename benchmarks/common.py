"""Shared by the benchmarks: timing, summaries, a description of the machine, and JSON files."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("numpy", "numba", "open3d", "torch", "opencv-python-headless", "onnxruntime", "openvino", "pycolmap")
NOISY_SHARE = 0.1
"""The share of processor time taken by other processes above which a measurement counts as noisy."""

BASES = {
    "speed_up": ("open3d 8", "open3d 16"),
    "speed_up_default": ("open3d 16",),
    "speed_up_legacy": ("open3d legacy",),
}
"""The references of fusion: Open3D's VoxelBlockGrid in its faster setting and with default blocks, and its older volume."""


def machine() -> dict[str, Any]:
    """Processor, cores, versions, date and load: the context of figures."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def time_calls(call: Callable[[], object], *, repeat: int = 20, warmup: int = 3) -> list[float]:
    """Seconds of each of `repeat` calls, after `warmup` ignored ones."""
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def summarise(seconds: Sequence[float]) -> dict[str, float]:
    """Median, quartiles, interquartile range and mean in milliseconds, and the number of samples."""
    milliseconds = np.asarray(seconds) * 1e3
    low, median, high = (float(q) for q in np.quantile(milliseconds, [0.25, 0.5, 0.75]))
    figures = {"median_ms": median, "q1_ms": low, "q3_ms": high, "iqr_ms": high - low}
    figures["mean_ms"] = float(milliseconds.mean())
    return {**{name: round(value, 4) for name, value in figures.items()}, "samples": len(seconds)}


@contextmanager
def noise(report: dict[str, Any]) -> Iterator[None]:
    """Fill `report` with the share of processor time that other processes took while the block ran, and whether it is noisy.

    Left empty on systems without /proc/stat.
    """
    before, own, start = busy_seconds(), time.process_time(), time.perf_counter()
    yield
    after = busy_seconds()
    if before is not None and after is not None:
        capacity = (time.perf_counter() - start) * (os.cpu_count() or 1)
        share = max(after - before - (time.process_time() - own), 0.0) / max(capacity, 1e-9)
        report |= {"others_share": round(share, 3), "noisy": share > NOISY_SHARE}


def add_speed_ups(results: dict[str, dict[str, Any]], key: str) -> None:
    """Add to each timed system its speed-up in `key` over the reference systems.

    As `KEY_speed_up...`: the other's median over its own, the least over several others. Below 1 it is slower.
    """
    for suffix, others in BASES.items():
        medians = [results[name][key]["median_ms"] for name in others if key in results.get(name, {})]
        for result in results.values():
            if medians and key in result:
                result[f"{key}_{suffix}"] = round(min(medians) / result[key]["median_ms"], 2)


def run_worker(script: str, arguments: Sequence[str], *, packages: str | None = None) -> dict[str, Any]:
    """Run a benchmark script in its own process; it prints one JSON object as its last line.

    `packages` is a folder whose packages go before the installed ones.
    """
    command = [sys.executable, script, *arguments]
    environment = os.environ | ({"PYTHONPATH": packages} if packages else {})
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    answer: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return answer


def write_json(path: str | Path, data: dict[str, Any]) -> None:
    """Write results atomically."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines of columns as wide as their widest entry, the first to the left, numbers to the right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    )


def busy_seconds() -> float | None:
    """Processor seconds that all processes together have used since the machine started; None without /proc/stat."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    except OSError:
        return None
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    ticks = dict(zip(names, map(int, fields), strict=False))
    return (sum(ticks.values()) - ticks["idle"] - ticks["iowait"]) / os.sysconf("SC_CLK_TCK")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
