"""From a map to a scene graph: the method, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.camera import Intrinsics
from mapping.distance_field import FreeSpace
from mapping.mesh.mesh import Mesh
from mapping.se3 import quat_xyzw_from_rotation
from scenegraph.faces import Faces
from scenegraph.graph import SceneGraph
from scenegraph.graph_config import AgentConfig, SceneGraphConfig
from scenegraph.labels import LabelSpace
from scenegraph.nodes import AgentNode, BuildingNode, ObjectNode, PlaceNode, StoreyNode, TrackNode
from scenegraph.objects.accepted import accepted_objects
from scenegraph.objects.evidence import EvidentMesh
from scenegraph.objects.extract import extract_objects, extract_unlabelled_objects
from scenegraph.objects.relations import object_relations
from scenegraph.objects.structure import correct_structure, has_labels, label_structure
from scenegraph.objects.views import count_views
from scenegraph.rooms.layout import RoomLayout, find_rooms, room_node
from scenegraph.rooms.measured import observed_shares
from scenegraph.rooms.places import Places, extract_places
from scenegraph.rooms.storeys import find_storeys

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CameraTrajectory:
    """Where the camera was: times (N,) increasing seconds, `T_world_camera` (N, 4, 4), and the camera if it is known."""

    times: Array
    T_world_camera: Array
    intrinsics: Intrinsics | None = None

    def __post_init__(self) -> None:
        if self.T_world_camera.shape != (len(self.times), 4, 4):
            raise ValueError(
                f"CameraTrajectory.T_world_camera must be ({len(self.times)}, 4, 4), got {self.T_world_camera.shape}"
            )
        if (np.diff(self.times) < 0).any():
            raise ValueError("CameraTrajectory.times must not decrease")

    @property
    def positions(self) -> Array:
        """(N, 3) camera centres."""
        return np.asarray(self.T_world_camera[:, :3, 3])


def build_scene_graph(
    mesh: Mesh | EvidentMesh,
    free_space: FreeSpace,
    trajectory: CameraTrajectory,
    label_space: LabelSpace,
    *,
    tracks: Sequence[TrackNode] = (),
    T_input_world: ArrayLike | None = None,
    config: SceneGraphConfig | None = None,
) -> tuple[SceneGraph, Mesh]:
    """The scene graph of a levelled map (z up), and its mesh with the object number of every vertex.

    Parameters
    ----------
    mesh : the static surface with labels of `label_space`, predicted ones with their evidence, exact ones with pixels of objects;
    without labels, structure is found by geometry and objects are unknown. free_space : observed free space around it.
    trajectory : the camera's poses in the same world, for the agent layer and the view counts of objects.
    tracks : what moved, in the same world.
    T_input_world : (4, 4) from this world to the world of the input, stored with the graph.
    """
    config = config or SceneGraphConfig()
    known = mesh if isinstance(mesh, EvidentMesh) else EvidentMesh(mesh)
    mesh = known.mesh
    faces = Faces.of(mesh)
    corrects = bool(config.structure.corrects_labels) and has_labels(mesh)
    # A table that is called floor must not become the floor by which labels are corrected.
    seen = faces.with_mesh(replace(mesh, labels=None)) if corrects else faces
    storeys = find_storeys(seen, label_space, trajectory.positions, config.storeys)
    if corrects:
        faces = faces.with_mesh(correct_structure(faces, label_space, storeys, config.structure))
    mesh, objects = _surface_objects(faces, label_space, storeys, config, known)
    objects = [replace(o, confidence=o.confidence * known.certainty.get(o.label_id, 1.0)) for o in objects]
    objects = _with_views(objects, mesh, trajectory, free_space, config)
    places = extract_places(free_space, config.places)
    layout = find_rooms(faces.with_mesh(mesh), label_space, free_space, places, storeys, config.rooms)

    graph = SceneGraph(label_space, T_input_world, _metadata(layout, places, mesh))
    graph.add(BuildingNode())
    for z_range in storeys:
        graph.add(StoreyNode(z_range), parent="B0")
    _add_rooms(graph, layout, objects, faces, config)
    _add_places(graph, places, layout)
    for node in objects:
        graph.add(node, parent=_parent(layout, node.position))
    for relation in object_relations(objects, faces.with_mesh(mesh), config.relations):
        attributes = {"score": relation.score, "evidence": relation.evidence}
        graph.connect(f"O{relation.source}", f"O{relation.target}", kind=relation.kind, **attributes)
    for pose in agent_nodes(trajectory, config.agents):
        graph.add(pose, parent=_parent(layout, pose.position))
    for track in tracks:
        graph.add(track, parent=_track_parent(layout, track))
    for door in layout.doors:
        a, b = door.rooms
        attributes = {"door": list(door.position), "width": round(door.width, 3), "evidence": door.evidence}
        graph.connect(f"R{a}", f"R{b}", kind="room_edge", **attributes)
    return graph, mesh


def _add_rooms(
    graph: SceneGraph, layout: RoomLayout, objects: Sequence[ObjectNode], faces: Faces, config: SceneGraphConfig
) -> None:
    """The rooms below their storeys, named by the objects in them."""
    object_rooms = layout.room_of(np.array([node.position for node in objects]).reshape(-1, 3))
    for number, room in enumerate(layout.rooms):
        inside = [node.label for node, at in zip(objects, object_rooms, strict=True) if at == number]
        named = room_node(layout, number, inside, predicted=bool(config.structure.corrects_labels))
        observed = observed_shares(named.polygon, named.z_range, faces)
        graph.add(replace(named, evidence={**named.evidence, **observed}), parent=f"F{room.storey}")


def agent_nodes(trajectory: CameraTrajectory, config: AgentConfig) -> list[AgentNode]:
    """Poses at which the camera had moved or turned enough since the last one taken, the first one included (as in Hydra)."""
    nodes: list[AgentNode] = []
    last: tuple[float, Array] | None = None
    for time, T in zip(trajectory.times, trajectory.T_world_camera, strict=True):
        if last is not None:
            moved = float(np.linalg.norm(T[:3, 3] - last[1][:3, 3]))
            turned = float(np.linalg.norm(T[:3, :3] - last[1][:3, :3]))
            if moved + config.turn_weight * turned < config.min_distance or time - last[0] < config.min_time:
                continue
        last = (float(time), T)
        nodes.append(AgentNode(float(time), T[:3, 3].copy(), quat_xyzw_from_rotation(T[:3, :3])))
    return nodes


def _surface_objects(
    faces: Faces,
    label_space: LabelSpace,
    storeys: Sequence[tuple[float, float]],
    config: SceneGraphConfig,
    known: EvidentMesh,
) -> tuple[Mesh, list[ObjectNode]]:
    """The mesh with labels and object numbers, and the objects."""
    floors = [floor for floor, _ in storeys]
    if has_labels(faces.mesh):
        objects, mesh = extract_objects(
            faces,
            label_space,
            config.objects,
            floors=floors,
            evidence=known.evidence,
            samples=known.samples,
            structure=config.structure,
        )
        if config.structure.corrects_labels:
            objects, mesh = accepted_objects(objects, mesh, config.objects)
    else:
        faces = faces.with_mesh(label_structure(faces, label_space, storeys, config.structure))
        objects, mesh = extract_unlabelled_objects(faces, label_space, config.structure, config.objects, floors=floors)
    return mesh, objects


def _with_views(
    objects: list[ObjectNode], mesh: Mesh, trajectory: CameraTrajectory, free_space: FreeSpace, config: SceneGraphConfig
) -> list[ObjectNode]:
    """The objects with the number of frames that saw them, and a lower confidence where few did; unchanged when the camera is
    unknown."""
    if trajectory.intrinsics is None:
        return objects
    poses = trajectory.T_world_camera
    views = count_views(mesh, len(objects), poses, trajectory.intrinsics, free_space, config.agents.view_distance)
    return [
        replace(node, views=int(seen), confidence=round(node.confidence * seen / (seen + 1), 4))
        for node, seen in zip(objects, views.tolist(), strict=True)
    ]


def _add_places(graph: SceneGraph, places: Places, layout: RoomLayout) -> None:
    for position, radius, room in zip(places.positions, places.radii, layout.room_of(places.positions), strict=True):
        parent = f"R{room}" if room >= 0 else _parent(layout, position)
        graph.add(PlaceNode(position.copy(), round(float(radius), 4)), parent=parent)
    for (a, b), clearance in zip(places.edges.tolist(), places.clearances.tolist(), strict=True):
        graph.connect(f"P{a}", f"P{b}", kind="place_edge", clearance=round(clearance, 4))


def _parent(layout: RoomLayout, position: ArrayLike) -> str:
    """The key of the room at a position, or of its storey when that has no room."""
    room = int(layout.room_of(position)[0])
    return f"R{room}" if room >= 0 else f"F{layout.storey_of(position)}"


def _track_parent(layout: RoomLayout, track: TrackNode) -> str:
    """The room that a track never leaves, else the building."""
    rooms = np.unique(layout.room_of(track.positions))
    return f"R{rooms[0]}" if len(rooms) == 1 and rooms[0] >= 0 else "B0"


def _metadata(layout: RoomLayout, places: Places, mesh: Mesh) -> dict[str, object]:
    """How the graph was made, for the report."""
    return {
        "rooms": {"method": "place filtration and wall watershed", "doors": len(layout.doors)},
        "places": {"count": len(places), "edges": len(places.edges)},
        "surface": {"vertices": len(mesh.vertices), "faces": len(mesh.faces)},
    }
