"""Versions of what a run depends on and the command that made it, for its manifest."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path

REPORTED_PACKAGES = (
    "m2h-mapping",
    "numpy",
    "numba",
    "scipy",
    "networkx",
    "opencv-python-headless",
    "open3d",
    "torch",
    "timm",
)


def package_versions() -> dict[str, str]:
    """Installed versions of what matters for a result, by distribution name."""
    versions = {"python": platform.python_version()}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def command_line() -> list[str]:
    """The command of this process: `m2h` with its arguments, or the program from which `run` was called."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
