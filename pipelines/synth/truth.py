"""The ground truth of a visit: the static mesh with labels and instances, and the true scene graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from mapping.se3 import quat_xyzw_from_rotation
from pipelines.synth.base.world import Body, SynthRoom, World
from pipelines.synth.motion.figure import PERSON_LABEL
from pipelines.synth.motion.people import People, person_boxes
from pipelines.synth.rendering.surfaces import Surfaces
from pipelines.synth.rendering.textures import material_table, mean_albedo
from scenegraph.graph import SceneGraph
from scenegraph.labels import nyu40
from scenegraph.nodes import AgentNode, BuildingNode, ObjectNode, RoomNode, StoreyNode, TrackNode

Array = NDArray[np.float64]

SEEN_PIXELS = 40
"""Least pixels of an instance in a frame that counts as a view of it."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the frames show: times (N,) seconds, poses `T_world_camera` (N, 4, 4), pixels (N, K + 1) of each instance number."""

    times: Array
    poses: Array
    pixels: NDArray[np.int64]

    def views(self, number: int) -> int:
        """Number of frames that show an instance."""
        return int((self.pixels[:, number] >= SEEN_PIXELS).sum()) if number < self.pixels.shape[1] else 0


def truth_mesh(surfaces: Surfaces) -> Mesh:
    """All static surfaces with their mean colour (sRGB), label and instance number per vertex."""
    albedo = np.clip(mean_albedo(material_table(surfaces.materials)), 0.0, 1.0)
    srgb = np.where(albedo < 0.0031308, 12.92 * albedo, 1.055 * albedo ** (1 / 2.4) - 0.055)
    material = np.zeros(len(surfaces.vertices), np.int64)
    material[surfaces.faces.ravel()] = np.repeat(surfaces.face_material, 3)
    mesh = Mesh(
        surfaces.vertices,
        surfaces.faces,
        np.rint(255 * srgb[material]).astype(np.uint8),
        surfaces.labels[surfaces.vertex_body].astype(np.uint16),
        surfaces.numbers[surfaces.vertex_body].astype(np.uint32),
    )
    return mesh.submesh(np.ones(len(mesh.faces), np.bool_))  # without the vertices of faces that had no area


def truth_graph(world: World, visit: int, people: People | None, seen: Seen) -> SceneGraph:
    """The true scene graph of a visit.

    Objects have `number` = instance and `views` = frames that show them; tracks give each person's box centre at the
    time of every frame, seen or not. `graph.metadata` has `changes` since the visit before and `visibility` (pixels
    in each frame) of tracks.
    """
    graph = SceneGraph(nyu40(), metadata={"source": "synthetic", "seed": world.seed, "visit": visit})
    building = graph.add(BuildingNode())
    storeys = [graph.add(StoreyNode(z_range=storey), parent=building) for storey in world.storeys]
    rooms = {room.number: graph.add(_room_node(room), parent=storeys[room.storey]) for room in world.rooms}
    _add_doors(graph, world, rooms)
    objects = _add_objects(graph, world, visit, rooms, seen)
    graph.metadata["changes"] = _changes(world, visit, objects) if visit > 0 else []
    graph.metadata["visibility"] = _add_tracks(graph, people, seen, building)
    for time, pose in zip(seen.times, seen.poses, strict=True):
        room = _room_at(world, pose[:3, 3])
        node = AgentNode(float(time), pose[:3, 3], quat_xyzw_from_rotation(pose[:3, :3]))
        graph.add(node, parent=building if room is None else rooms[room.number])
    return graph


def _room_node(room: SynthRoom) -> RoomNode:
    shape = shapely.Polygon(room.polygon)
    center = shape.representative_point() if not shape.contains(shape.centroid) else shape.centroid
    position = np.array([center.x, center.y, sum(room.z_range) / 2])
    return RoomNode(room.kind, position, room.polygon, room.z_range, float(shape.area), {room.kind: 1.0})


def _add_doors(graph: SceneGraph, world: World, rooms: dict[int, str]) -> None:
    """One `room_edge` for each pair of rooms that an opening connects: the first of the pair's openings."""
    joined: set[frozenset[int]] = set()
    for opening in world.openings:
        if frozenset(opening.rooms) in joined:
            continue
        joined.add(frozenset(opening.rooms))
        a, b = (rooms[number] for number in opening.rooms)
        graph.connect(a, b, kind="room_edge", door=opening.position.tolist(), opening=opening.kind, width=opening.width)


def _room_at(world: World, point: Array) -> SynthRoom | None:
    """The room that contains a point, else (in a doorway) the nearest on its storey."""
    storey = [room for room in world.rooms if room.z_range[0] - 0.05 <= point[2] < room.z_range[1] + 0.05]
    if not storey:
        return None
    spot = shapely.Point(point[:2])
    return min(storey, key=lambda room: (shapely.Polygon(room.polygon).distance(spot), room.number))


def _add_objects(graph: SceneGraph, world: World, visit: int, rooms: dict[int, str], seen: Seen) -> dict[int, str]:
    """Objects that are present at the visit, and their supports; keys by instance number."""
    space = nyu40()
    keys: dict[int, str] = {}
    for body in world.bodies:
        box = body.box(visit)
        if not body.is_object or box is None:
            continue
        node = ObjectNode(
            label=space.name_of(body.label_id),
            label_id=body.label_id,
            position=box.center,
            box=box,
            label_scores={space.name_of(body.label_id): 1.0},
            views=seen.views(body.number),
            number=body.number,
        )
        room = _room_at(world, box.center)
        keys[body.number] = graph.add(node, parent=None if room is None else rooms[room.number])
    for body in world.bodies:
        if body.number in keys and body.supported_by in keys:
            graph.connect(keys[body.number], keys[body.supported_by], kind="on", score=1.0)
    return keys


def _changes(world: World, visit: int, objects: dict[int, str]) -> list[dict[str, Any]]:
    """What appeared, disappeared and moved since the visit before: centres of boxes, None where it is absent."""
    space, changes = nyu40(), []
    for body in world.bodies:
        before, now = body.poses[visit - 1], body.poses[visit]
        if not body.is_object or (before is None and now is None):
            continue
        if before is not None and now is not None and np.allclose(before, now, atol=1e-6):
            continue
        changes.append(
            {
                "object": objects.get(body.number),
                "number": body.number,
                "kind": "appeared" if before is None else "disappeared" if now is None else "moved",
                "label": space.name_of(body.label_id),
                "from": _center(body, visit - 1),
                "to": _center(body, visit),
            }
        )
    return changes


def _center(body: Body, visit: int) -> list[float] | None:
    box = body.box(visit)
    return None if box is None else [float(x) for x in np.round(box.center, 4)]


def _add_tracks(graph: SceneGraph, people: People | None, seen: Seen, building: str) -> dict[str, list[int]]:
    """A track for each person; pixels of it in each frame by key. Size: the median box, as wide as it is deep."""
    if people is None:
        return {}
    boxes = np.stack([person_boxes(people.surfaces(float(time))) for time in seen.times], axis=1)
    visibility = {}
    for walker, box in zip(people.walkers, boxes, strict=True):
        size = np.median(box[:, 1] - box[:, 0], axis=0)
        wide = float(size[:2].mean())
        node = TrackNode("person", PERSON_LABEL, np.array([wide, wide, size[2]]), seen.times, box.mean(axis=1))
        key = graph.add(node, parent=building)
        number = walker.figure.bodies[0].number
        visibility[key] = [int(count) for count in seen.pixels[:, number]]
    return visibility


def count_pixels(instances: NDArray[np.uint16], most: int) -> NDArray[np.int64]:
    """(most + 1,) pixels of each instance number of an image."""
    return np.bincount(instances.ravel(), minlength=most + 1)[: most + 1]


def largest_number(bodies: Sequence[Body]) -> int:
    """The highest instance number, 0 for none."""
    return max((body.number for body in bodies), default=0)
