"""Offline sequence to mesh and scene graph: readers, stages, run folder, synthetic worlds, evaluation, viewers, command line."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.finished import Run as Run
    from pipelines.frame import Frame as Frame
    from pipelines.frame import FrameSequence as FrameSequence
    from pipelines.pipeline import run as run
    from pipelines.sequences.detect import open_sequence as open_sequence
    from pipelines.settings import PipelineConfig as PipelineConfig
    from pipelines.sources.source import DepthOrigin as DepthOrigin
    from pipelines.sources.source import Source as Source

_HOMES = {
    "DepthOrigin": "pipelines.sources.source",
    "Frame": "pipelines.frame",
    "FrameSequence": "pipelines.frame",
    "PipelineConfig": "pipelines.settings",
    "Run": "pipelines.finished",
    "Source": "pipelines.sources.source",
    "open_sequence": "pipelines.sequences.detect",
    "run": "pipelines.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import attributes on demand, so that the command line starts fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'pipelines' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
