"""Offline sequence to mesh and scene graph: readers, stages, run folder, synthetic worlds, evaluation, viewers, command line."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.sequences.detect import open_sequence as open_sequence

_EXPORTS = {"open_sequence": "pipelines.sequences.detect"}
"""Public names and their modules, imported when first used: the package itself loads nothing."""


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
