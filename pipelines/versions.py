"""Versions of what a run depends on, for its manifest."""

from __future__ import annotations

import platform
from importlib import metadata

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
