"""What a map has measured of its storeys and rooms: heights need a ceiling in view, areas a floor."""

from __future__ import annotations

from dataclasses import dataclass

from scenegraph.graph import SceneGraph


@dataclass(frozen=True)
class Measured:
    """By key: the ceiling of each storey (z), the height and the area of each room; None where it was not measured."""

    ceilings: dict[str, float | None]
    heights: dict[str, float | None]
    areas: dict[str, float | None]


def measured_of(graph: SceneGraph) -> Measured:
    """What is measured in the rooms of a graph; a storey's ceiling was measured where that of one of its rooms was."""
    rooms = graph.nodes("room")
    heights = {key: room.measured_height for key, room in rooms}
    ceilings = {}
    for key, storey in graph.nodes("storey"):
        inside = graph.children(key, "room")
        ceilings[key] = storey.z_range[1] if any(heights[room] is not None for room in inside) else None
    return Measured(ceilings, heights, {key: room.measured_area for key, room in rooms})
