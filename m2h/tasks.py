"""The four tasks of the network."""

from __future__ import annotations

from typing import Literal

TaskName = Literal["depth", "semantics", "normals", "edges"]
"""Depth in metres along camera z; class logits, one channel per class; unit normals in camera axes; logits of edges."""

TASKS: dict[TaskName, str] = {"depth": "depth", "semantics": "labels", "normals": "normals", "edges": "edges"}
"""Each task's field in `Predictions` and in samples, in the order of the outputs."""

ATTENTION_ORDER: tuple[TaskName, ...] = ("edges", "normals", "semantics", "depth")
"""The order in which the published network lays the tasks side by side in a window."""
