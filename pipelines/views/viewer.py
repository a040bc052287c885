"""The map in 3D as viser shows it, and one self-contained HTML file of it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.files import write_text_atomic
from mapping.mesh.mesh import Mesh
from mapping.text import for_xml
from scenegraph.graph import SceneGraph
from scenegraph.tracks.positions import stretches

Array = NDArray[np.float64]
BOX_EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]])
HELP = (
    '<div style="position:fixed;left:12px;bottom:10px;z-index:9;font:13px system-ui,sans-serif;color:#444;'
    'background:#ffffffcc;padding:4px 10px;border-radius:6px;pointer-events:none">'
    "drag to turn, right-drag to move, scroll to zoom &nbsp; boxes: objects, "
    '<span style="color:#e68c1e">rooms</span>, <span style="color:#3c6ebe">the camera path</span>, '
    '<span style="color:#dc3232">what moved</span></div>'
)
LABEL_HEIGHT = 2.6
"""Metres above its floor at which a room's name floats."""


def write_scene_html(mesh: Mesh, graph: SceneGraph, path: Path) -> None:
    """One offline HTML file with the mesh, object boxes, places, rooms and tracks; drag to turn, scroll to zoom."""
    recorder = _recorder()
    fill_scene(recorder, mesh, graph, is_live=False)
    html = recorder.scene.as_html()
    html = html.replace("<head>", "<head>" + _camera_script(mesh), 1)
    write_text_atomic(path, html.replace("<body>", "<body>" + HELP, 1))


def _camera_script(mesh: Mesh) -> str:
    """viser's page takes its first camera from the address, so put it there unless the user has given one."""
    position, target = _first_camera(mesh)
    terms = [
        f"initialCameraPosition={','.join(f'{x:.2f}' for x in position)}",
        f"initialCameraLookAt={','.join(f'{x:.2f}' for x in target)}",
        "initialCameraUp=0,0,1",
    ]
    return f"<script>if(!location.search)history.replaceState(null,'','?{'&'.join(terms)}')</script>"


def fill_scene(server: Any, mesh: Mesh, graph: SceneGraph, *, is_live: bool) -> dict[str, list[Any]]:
    """Put the map into a viser scene; returns the handles of each layer."""
    scene = server.scene
    scene.set_up_direction("+z")
    scene.configure_default_lights(enabled=False)
    scene.add_light_ambient("/light/even", intensity=2.2)  # colours already contain lighting, so little is added
    scene.add_light_directional("/light/above", intensity=0.9, cast_shadow=False)
    layers: dict[str, list[Any]] = {"mesh": _add_mesh(scene, mesh, "/mesh/color", mesh.colors, visible=True)}
    if is_live and mesh.labels is not None:
        colors = graph.label_space.colorize(mesh.labels)
        layers["labels"] = _add_mesh(scene, mesh, "/mesh/labels", colors, visible=False)
    layers["objects"] = _add_objects(scene, graph)
    layers["places"] = _add_places(scene, graph, visible=False)
    layers["rooms"] = _add_rooms(scene, graph)
    layers["camera"] = _add_paths(scene, graph)
    server.initial_camera.position, server.initial_camera.look_at = map(tuple, _first_camera(mesh))
    return {name: handles for name, handles in layers.items() if handles}


def _recorder() -> Any:
    """What viser calls a server, without one: what is put into its scene is kept, nothing listens and nothing is printed.

    viser starts its server when it makes the object, so this makes the parts itself, of which the scene is one.
    """
    import viser
    from viser._messages import Message
    from viser._viser import InitialCameraConfig
    from viser.infra import WebsockServer
    from viser.infra._async_message_buffer import AsyncMessageBuffer

    class Recorder(viser.ViserServer):  # type: ignore[misc]
        def __init__(self) -> None:
            loop = asyncio.new_event_loop()
            loop.close()  # nobody waits for messages
            connection = WebsockServer("", 0, Message, verbose=False)
            connection._broadcast_buffer = AsyncMessageBuffer(loop, persistent_messages=True)
            self._websock_server = self._connection = connection
            self._event_loop, self._thread_executor = loop, ThreadPoolExecutor(1)
            self._connected_clients: dict[int, Any] = {}
            self._client_lock, self._scene_lifecycle_lock = threading.Lock(), threading.RLock()
            self._initial_camera = InitialCameraConfig(broadcast=connection.queue_message)
            self.scene = viser.SceneApi(self, thread_executor=self._thread_executor, event_loop=loop)
            self.scene.reset()

    return Recorder()


def _first_camera(mesh: Mesh) -> tuple[Array, Array]:
    """A position from which the whole map is in view, and what to look at."""
    if not len(mesh.vertices):
        return np.array([3.0, -3.0, 3.0]), np.zeros(3)
    low, high = np.quantile(
        mesh.vertices, [0.01, 0.99], axis=0
    )  # a few outlying triangles must not make the rest small
    center, reach = (low + high) / 2, float(np.linalg.norm((high - low)[:2]))
    return center + reach * np.array([-0.22, -0.45, 0.45]), center


def _add_mesh(scene: Any, mesh: Mesh, name: str, colors: NDArray[np.uint8] | None, *, visible: bool) -> list[Any]:
    if not len(mesh.faces):
        return []
    import trimesh

    shades = colors if colors is not None else np.full((len(mesh.vertices), 3), 180, np.uint8)
    shape = trimesh.Trimesh(mesh.vertices, mesh.faces, vertex_colors=shades, process=False)
    return [scene.add_mesh_trimesh(name, shape, visible=visible)]


def _add_objects(scene: Any, graph: SceneGraph) -> list[Any]:
    palette = {c.name: c.color for c in graph.label_space.classes}
    handles = []
    for key, node in graph.nodes("object"):
        color = palette.get(node.label, (128, 128, 128))
        segments = node.box.corners()[BOX_EDGES].astype(np.float32)
        handles.append(scene.add_line_segments(f"/objects/{key}/box", segments, color, thickness=0.015))
        top = node.box.center + np.array([0, 0, node.box.size[2] / 2 + 0.05])
        if node.label != "unknown":
            handles.append(_add_label(scene, f"/objects/{key}/label", f"{key} {node.label}", top, height=0.08))
    return handles


def _add_label(scene: Any, name: str, text: str, position: Array, *, height: float) -> Any:
    """Text of a height in metres, hidden by objects in front of it."""
    return scene.add_label(
        name,
        for_xml(text).replace("_", " "),
        position=tuple(position),
        font_size_mode="scene",
        font_scene_height=height,
        anchor="bottom-center",
    )


def _add_places(scene: Any, graph: SceneGraph, *, visible: bool) -> list[Any]:
    places = dict(graph.nodes("place"))
    if not places:
        return []
    points = np.array([node.position for node in places.values()], dtype=np.float32)
    handles = [
        scene.add_point_cloud(
            "/places/nodes", points, (70, 130, 180), point_size=0.06, point_shape="circle", visible=visible
        )
    ]
    pairs = [(edge.source, edge.target) for edge in graph.edges("place_edge")]
    if pairs:
        segments = np.array([[places[a].position, places[b].position] for a, b in pairs], dtype=np.float32)
        handles.append(
            scene.add_line_segments("/places/edges", segments, (120, 160, 200), thickness=0.008, visible=visible)
        )
    return handles


def _add_rooms(scene: Any, graph: SceneGraph) -> list[Any]:
    handles = []
    for key, room in graph.nodes("room"):
        ring = np.column_stack([room.polygon, np.full(len(room.polygon), room.z_range[0] + 0.03)])
        segments = np.stack([ring, np.roll(ring, -1, axis=0)], axis=1).astype(np.float32)
        handles.append(scene.add_line_segments(f"/rooms/{key}/outline", segments, (230, 140, 30), thickness=0.03))
        above = np.array([*np.asarray(room.position)[:2], room.z_range[0] + LABEL_HEIGHT])
        handles.append(_add_label(scene, f"/rooms/{key}/label", f"{key} {room.label}", above, height=0.22))
    return handles


def _add_paths(scene: Any, graph: SceneGraph) -> list[Any]:
    handles = []
    agents = np.array([node.position for _, node in graph.nodes("agent")], dtype=np.float64).reshape(-1, 3)
    paths = [("/camera/path", [agents], (60, 110, 190))]
    paths += [(f"/tracks/{key}", stretches(track), (220, 50, 50)) for key, track in graph.nodes("track")]
    for name, pieces, color in paths:
        lines = [np.stack([piece[:-1], piece[1:]], axis=1) for piece in pieces if len(piece) > 1]
        if lines:
            segments = np.concatenate(lines).astype(np.float32)
            handles.append(scene.add_line_segments(name, segments, color, thickness=0.02))
    return handles
