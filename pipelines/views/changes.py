"""The changes since an earlier visit as the page of a map shows them: boxes in the world of the later map."""

from __future__ import annotations

from typing import Any

from mapping.se3 import inverse
from pipelines.views.scene_page import box_entry
from scenegraph.boxes import transform_box
from scenegraph.diff import diff_graphs
from scenegraph.graph import SceneGraph
from scenegraph.visits.diff_config import DiffConfig


def page_changes(earlier: SceneGraph, graph: SceneGraph, config: DiffConfig | None = None) -> list[dict[str, Any]]:
    """What `diff_graphs` finds, each with the boxes of before and after, as far as there are both.

    Raises DiffError for graphs that cannot be compared.
    """
    T_world_earlier = inverse(graph.T_input_world) @ earlier.T_input_world
    found = []
    for change in diff_graphs(earlier, graph, config).changes:
        boxes = []
        if change.key_a is not None:
            boxes.append(transform_box(T_world_earlier, earlier[change.key_a].box))  # type: ignore[union-attr]
        if change.key_b is not None:
            boxes.append(graph[change.key_b].box)  # type: ignore[union-attr]
        found.append(
            {
                "kind": change.kind,
                "label": change.label,
                "a": change.key_a,
                "b": change.key_b,
                "distance": change.distance,
                "boxes": [box_entry(box) for box in boxes],
            }
        )
    return found
