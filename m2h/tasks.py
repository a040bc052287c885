"""The four tasks of the network, one row each: what comes out, in which unit, and how it is judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TaskName = Literal["depth", "semantics", "normals", "edges"]


@dataclass(frozen=True)
class TaskSpec:
    """One task: `channels` of its output (None: one a class), its unit, its field in `Predictions` and its headline metric."""

    name: TaskName
    channels: int | None
    unit: str
    field: str
    metric: str
    higher_is_better: bool


TASKS: dict[TaskName, TaskSpec] = {
    "depth": TaskSpec("depth", 1, "metres along camera z", "depth", "rmse", higher_is_better=False),
    "semantics": TaskSpec("semantics", None, "logits, one channel a class", "labels", "miou", higher_is_better=True),
    "normals": TaskSpec(
        "normals", 3, "unit vectors in camera axes", "normals", "normal_mean_deg", higher_is_better=False
    ),
    "edges": TaskSpec("edges", 1, "logits", "edges", "edge_ods_f", higher_is_better=True),
}
"""Task table in the order of the outputs."""

ATTENTION_ORDER: tuple[TaskName, ...] = ("edges", "normals", "semantics", "depth")
"""The order in which the published network lays the tasks side by side in a window."""
