"""The pictures of a report: the map from above, and images of the recording next to what was made of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.mesh.mesh import Mesh
from mapping.se3 import from_rotation_translation, rotation_from_quat_xyzw
from pipelines.images import encode_jpeg
from scenegraph.graph import SceneGraph
from scenegraph.labels import LabelClass

if TYPE_CHECKING:
    from mapping.mesh.raycast import MeshCaster

STRIPS = 4
LOOK_AHEAD = 1.5
"""Metres before a camera of a place that it shows, where its depth is not known."""
MAP_WIDTH = 320
TOP_VIEW_PIXELS = 900
TOP_VIEW_CUT = 1.9
"""Metres above a storey's floor at which the map is cut to show its rooms."""
LEAST_SHARE = 0.003
"""Of the surface, for a class to be in the legend."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A rendered image (H, W, 3) uint8 with its caption."""

    image: NDArray[np.uint8]
    caption: str

    @property
    def address(self) -> str:
        """The image itself as an address."""
        return f"data:image/jpeg;base64,{base64.b64encode(encode_jpeg(self.image, quality=85)).decode()}"


@dataclass(frozen=True, eq=False)
class Strip:
    """A frame of the recording: the addresses of its image, depth and labels and of the map from the same camera by what they
    are; its time in seconds from the start, and the keys of the objects that it shows, large ones first."""

    images: dict[str, str]
    time: float
    shows: list[str]
    far: float | None


@dataclass(frozen=True, eq=False)
class ReportPictures:
    """Views from above, strips, and the classes of the surface with their shares, largest first."""

    above: list[Picture]
    strips: list[Strip]
    legend: list[tuple[LabelClass, float]]


def make_pictures(mesh: Mesh, graph: SceneGraph, keyframes: Mapping[str, Any]) -> ReportPictures:
    """The pictures of a map, those of frames chosen for showing most of it."""
    from mapping.mesh.raycast import MeshCaster

    if not len(mesh.faces):
        return ReportPictures([], [], [])
    caster = MeshCaster(mesh)
    strips = [_strip(caster, graph, keyframes["frames"], i) for i in chosen_frames(graph, keyframes["frames"])]
    return ReportPictures(_views_from_above(caster, graph), strips, _legend(mesh, graph))


def chosen_frames(graph: SceneGraph, frames: Sequence[Mapping[str, Any]], count: int = STRIPS) -> list[int]:
    """Numbers of frames that together show the most objects, each by how large it is, and beyond that different places; in order.

    Without objects it is the one that sees farthest, and then those that look at what none of the others do.
    """
    sizes = {key: float(np.prod(node.box.size)) ** (1 / 3) for key, node in graph.nodes("object")}
    chosen: list[int] = []
    covered: set[str] = set()
    looks = [_looked_at(frame) for frame in frames]
    while len(chosen) < min(count, len(frames)):
        scores = []
        for i, frame in enumerate(frames):
            gain = sum(sizes[key] for key in _shown(graph, frame) if key not in covered)
            apart = min((float(np.linalg.norm(looks[i] - looks[k])) for k in chosen), default=0.0)
            scores.append((round(gain, 6), apart if chosen else float(frame.get("far", 0.0)), -i))
        best = max((i for i in range(len(frames)) if i not in chosen), key=lambda i: scores[i])
        chosen.append(best)
        covered |= set(_shown(graph, frames[best]))
    return sorted(chosen)


def _looked_at(frame: Mapping[str, Any]) -> NDArray[np.float64]:
    """A point (3,) before the camera of a frame: half as far as it sees."""
    forward = rotation_from_quat_xyzw(frame["rotation"])[:, 2]
    return np.asarray(np.array(frame["position"]) + 0.5 * frame.get("far", 2 * LOOK_AHEAD) * forward)


def _shown(graph: SceneGraph, frame: Mapping[str, Any]) -> list[str]:
    return [key for key in frame.get("shows", ()) if key in graph]


def _views_from_above(caster: MeshCaster, graph: SceneGraph) -> list[Picture]:
    from mapping.mesh.pictures import top_views

    mesh = caster.mesh
    extent = float(np.ptp(mesh.vertices[:, :2], axis=0).max())
    shown: list[tuple[str, NDArray[np.uint8] | None]] = [("in the colours of the images", None)]
    if mesh.labels is not None:
        shown.append(("by class", graph.label_space.colorize(mesh.labels)))
    pictures = []
    for key, storey in graph.nodes("storey") or [("F0", None)]:
        cut = (storey.z_range[0] if storey else 0.0) + TOP_VIEW_CUT
        name = f"storey {key} " if len(graph.nodes("storey")) > 1 else ""
        views = top_views(caster, [colors for _, colors in shown], pixel_size=extent / TOP_VIEW_PIXELS, cut_height=cut)
        for (what, _), view in zip(shown, views, strict=True):
            pictures.append(Picture(view, f"{name}from above, cut at {TOP_VIEW_CUT} m, {what}"))
    return pictures


def _strip(caster: MeshCaster, graph: SceneGraph, frames: Sequence[Mapping[str, Any]], number: int) -> Strip:
    from mapping.mesh.pictures import shaded_picture

    frame = frames[number]
    camera = Intrinsics(*(frame[name] for name in ("fx", "fy", "cx", "cy", "width", "height")))
    small = camera.resized(MAP_WIDTH, max(1, round(MAP_WIDTH * camera.height / camera.width)))
    pose = from_rotation_translation(rotation_from_quat_xyzw(frame["rotation"]), np.array(frame["position"]))
    kinds = [kind for kind in ("image", "depth", "labels") if kind in frame]
    images = {kind: f"data:{frame[kind]['type']};base64,{frame[kind]['data']}" for kind in kinds}
    images["map"] = Picture(shaded_picture(caster, small, pose), "").address
    sizes = {key: -float(np.prod(graph[key].box.size)) for key in _shown(graph, frame)}  # type: ignore[union-attr]
    return Strip(images, frame["time"], sorted(sizes, key=lambda key: (sizes[key], key)), frame.get("far"))


def _legend(mesh: Mesh, graph: SceneGraph) -> list[tuple[LabelClass, float]]:
    if mesh.labels is None:
        return []
    areas = np.bincount(mesh.labels[mesh.faces[:, 0]], mesh.face_areas())
    shares = areas / max(float(areas.sum()), 1e-9)
    known = graph.label_space.by_id
    found = [(known[i], float(shares[i])) for i in np.argsort(-shares) if shares[i] >= LEAST_SHARE and int(i) in known]
    return [(kind, share) for kind, share in found if kind.id != 0]
