"""Packages that not everybody needs: imported when they are needed, or one line on how to install them."""

from __future__ import annotations

import importlib
from typing import Any

NETWORK_PACKAGES = ("torch", "timm")
"""What runs networks."""


class MissingPackageError(ValueError):
    """A package that is not installed; the message says what for, and the command that installs it."""


def require(package: str, *, extra: str, purpose: str) -> Any:
    """The imported package. Raises MissingPackageError where it cannot be imported: `purpose` begins its message, and `extra` is
    that of m2h-mapping which brings it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"{purpose} needs the package {package} ({error}): pip install 'm2h-mapping[{extra}]'"
        ) from error


def require_networks(purpose: str) -> None:
    """Raises MissingPackageError where what runs networks cannot be imported; `purpose` begins its message."""
    for package in NETWORK_PACKAGES:
        require(package, extra="torch", purpose=purpose)
