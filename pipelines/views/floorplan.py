"""The floor plan as SVG: rooms, doors, object footprints, the camera path and tracks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.text import for_html
from scenegraph.graph import SceneGraph
from scenegraph.nodes import ObjectNode, RoomNode
from scenegraph.tracks.positions import stretches

OBJECT_NAME_PX = 9.5
ROOM_FILLS = ("#e8f1fa", "#fdf0e1", "#eaf6e9", "#f6eaf5", "#fdf7d9", "#e6f5f4", "#f3ede6", "#ececf8")


def floor_plan_svg(graph: SceneGraph, *, storey: str | None = None, width_px: int = 1040) -> str:
    """An SVG picture of one storey (or of everything), x to the right, y up, one metre grid, north of the page is +y."""
    points = _extent_points(graph, storey)
    if not len(points):
        return "<p>Nothing to draw.</p>"
    low, high = points.min(axis=0) - 0.4, points.max(axis=0) + 0.4
    scale = width_px / max(high[0] - low[0], 1e-6)
    height_px = float((high[1] - low[1]) * scale)
    draw = _Canvas(low, high, scale)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width_px} {height_px:.0f}" width="{width_px}" '
        'font-family="system-ui, sans-serif">',
        '<rect width="100%" height="100%" fill="#fbfbfa"/>',
        *draw.grid(),
    ]
    rooms = _in_storey(graph, "room", storey)
    parts += [
        _room_outline(draw, key, room, ROOM_FILLS[number % len(ROOM_FILLS)]) for number, (key, room) in enumerate(rooms)
    ]
    palette = {c.name: c.color for c in graph.label_space.classes}
    objects = _in_storey(graph, "object", storey)
    objects.sort(key=lambda item: -float(np.prod(item[1].box.size[:2])))  # small objects are drawn on top
    parts += [_footprint(draw, key, node, palette.get(node.label, (128, 128, 128))) for key, node in objects]
    parts += _draw_doors(draw, graph, storey)
    agents = [node.position for _, node in _in_storey(graph, "agent", storey)]
    if len(agents) > 1:
        parts.append(draw.line(agents, "#3b6fb6", 1.2, opacity=0.55))
    for key, track in _in_storey(graph, "track", storey):
        title = f"{key} {track.label}"
        parts += [draw.line(piece, "#d23c3c", 1.8, dash="4 3", title=title) for piece in stretches(track)]
    parts += _names(draw, rooms, objects)
    return "\n".join([*parts, "</svg>"])


class _Canvas:
    """Metres to pixels, y upwards."""

    def __init__(self, low: NDArray[np.float64], high: NDArray[np.float64], scale: float) -> None:
        self.low, self.high, self.scale = low, high, scale

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        xy = np.atleast_2d(np.asarray(points, dtype=np.float64))[:, :2]
        return np.stack([(xy[:, 0] - self.low[0]) * self.scale, (self.high[1] - xy[:, 1]) * self.scale], axis=1)

    def path(self, points: ArrayLike) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self(points))

    def line(self, points: ArrayLike, color: str, width: float, **style: object) -> str:
        title = f"<title>{for_html(str(style.pop('title')))}</title>" if "title" in style else ""
        dash = f' stroke-dasharray="{style["dash"]}"' if "dash" in style else ""
        opacity = style.get("opacity", 1)
        return (
            f'<polyline points="{self.path(points)}" fill="none" stroke="{color}" stroke-width="{width}" '
            f'opacity="{opacity}"{dash}>{title}</polyline>'
        )

    def text(self, position: ArrayLike, text: str, size: float, color: str) -> str:
        x, y = self(position)[0]
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="middle" '
            'dominant-baseline="middle" pointer-events="none" stroke="#fff" stroke-width="2.5" stroke-opacity="0.8" '
            f'paint-order="stroke">{for_html(text)}</text>'
        )

    def text_box(self, position: ArrayLike, text: str, size: float) -> tuple[float, float, float, float]:
        """Approximate bounds of a text: left, top, right, bottom in pixels."""
        x, y = self(position)[0]
        half_width, half_height = 0.29 * size * len(text), 0.6 * size
        return float(x - half_width), float(y - half_height), float(x + half_width), float(y + half_height)

    def grid(self) -> list[str]:
        lines = []
        for axis in (0, 1):
            for at in np.arange(np.ceil(self.low[axis]), self.high[axis]):
                ends = np.array([self.low, self.high])
                ends[:, axis] = at
                lines.append(self.line(ends, "#e6e6e2", 0.6))
        return lines


def area_text(room: RoomNode) -> str:
    """The area of a room with its unit, a dash where it was not measured."""
    area = room.measured_area
    return "– m²" if area is None else f"{area:.1f} m²"


def _room_outline(draw: _Canvas, key: str, room: RoomNode, fill: str) -> str:
    title = f"{key} {room.label}, {area_text(room)}"
    return (
        f'<polygon points="{draw.path(room.polygon)}" fill="{fill}" stroke="#555" stroke-width="2">'
        f"<title>{for_html(title)}</title></polygon>"
    )


def _footprint(draw: _Canvas, key: str, node: ObjectNode, color: tuple[int, int, int]) -> str:
    rgb = f"rgb({color[0]},{color[1]},{color[2]})"
    size = " × ".join(f"{s:.2f}" for s in node.box.size)
    return (
        f'<polygon points="{draw.path(node.box.corners()[:4])}" fill="{rgb}" fill-opacity="0.35" stroke="{rgb}" '
        f'stroke-width="1.2"><title>{for_html(f"{key} {node.label}, {size} m, {node.views} views")}</title></polygon>'
    )


def _names(
    draw: _Canvas, rooms: Sequence[tuple[str, RoomNode]], objects: Sequence[tuple[str, ObjectNode]]
) -> list[str]:
    """Names of the rooms, then of the objects from large to small, unless they overlap another."""
    taken: list[tuple[float, float, float, float]] = []
    parts = []
    for key, room in rooms:
        at = np.array(room.position)[:2]
        lines = ((f"{key} {room.label.replace('_', ' ')}", 13.0, "#333"), (area_text(room), 11.0, "#666"))
        for text, size, color in lines:
            taken.append(draw.text_box(at, text, size))
            parts.append(draw.text(at, text, size, color))
            at = at - [0, 16 / draw.scale]
    for _, node in objects:
        text = node.label.replace("_", " ")
        box = draw.text_box(node.box.center, text, OBJECT_NAME_PX)
        is_clear = all(box[0] > b[2] or box[2] < b[0] or box[1] > b[3] or box[3] < b[1] for b in taken)
        if is_clear and node.label != "unknown" and max(node.box.size[:2]) * draw.scale > 24:
            taken.append(box)
            parts.append(draw.text(node.box.center, text, OBJECT_NAME_PX, "#333"))
    return parts


def _draw_doors(draw: _Canvas, graph: SceneGraph, storey: str | None) -> list[str]:
    rooms = {key for key, _ in _in_storey(graph, "room", storey)}
    parts = []
    for edge in graph.edges("room_edge"):
        if edge.source in rooms and edge.target in rooms and edge.attributes.get("door") is not None:
            x, y = draw(edge.attributes["door"])[0]
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#fff" stroke="#8a5a2b" stroke-width="2">'
                f"<title>door {for_html(edge.source)} - {for_html(edge.target)}</title></circle>"
            )
    return parts


def _in_storey(graph: SceneGraph, layer: str, storey: str | None) -> list[tuple[str, Any]]:
    """Nodes of a layer below a storey (all when it is None)."""
    return [(key, node) for key, node in graph.nodes(layer) if storey is None or _storey_of(graph, key) == storey]


def _storey_of(graph: SceneGraph, key: str | None) -> str | None:
    while key is not None and not key.startswith("F"):
        key = graph.parent(key)
    return key


def _extent_points(graph: SceneGraph, storey: str | None) -> NDArray[np.float64]:
    pieces = [np.asarray(room.polygon) for _, room in _in_storey(graph, "room", storey)]
    pieces += [node.box.corners()[:4, :2] for _, node in _in_storey(graph, "object", storey)]
    pieces += [np.asarray(node.position)[None, :2] for _, node in _in_storey(graph, "agent", storey)]
    return np.concatenate(pieces) if pieces else np.zeros((0, 2))
