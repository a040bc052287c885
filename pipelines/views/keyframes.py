"""Images of a recording that show its objects best, with the outlines of the objects in them, for the report and the page.

`keyframes.json` of a run contains them, so that the page can be written again without the recording.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.evenly import evenly
from mapping.files import write_text_atomic
from mapping.mesh.mesh import Mesh
from mapping.reading.files import file_sha256
from mapping.se3 import quat_xyzw_from_rotation
from pipelines.images import encode_jpeg, encode_png
from pipelines.turning import turned_array, turned_camera, turned_pose, turns_to_upright
from pipelines.workspace import WorkspaceError, read_record
from scenegraph.graph import SceneGraph

if TYPE_CHECKING:
    from mapping.mesh.raycast import MeshCaster

Array = NDArray[np.float64]

UP = (0.0, 0.0, 1.0)
"""Of the world of the map."""
KEYFRAMES_FILE = "keyframes.json"
CANDIDATES = 160
"""Frames that are compared, evenly over the recording."""
MOST_FRAMES, EVEN_FRAMES = 64, 16
"""Images that are kept, and how many of them are there however little they show."""
IMAGES_PER_OBJECT = 3
GOOD_SHARE = 0.7
"""An image that is kept already serves an object where it shows this share of what the best one does."""
LEAST_SHARE = 0.2
FRAME_NUMBERS = ("index", "time", "fx", "fy", "cx", "cy", "width", "height")
IMAGE_TYPES = ("image/jpeg", "image/png")
LARGEST = 1e12
"""Numbers in the file are smaller."""
BORDER_PENALTY = 0.5
"""Of an object that the image border cuts."""
LEAST_PIXELS = 12
SCORE_WIDTH, OUTLINE_WIDTH = 96, 200
IMAGE_WIDTH, STRIP_WIDTH = 320, 192
QUALITY = 78
DEPTH_AGREES, LEAST_VISIBLE = 0.25, 0.5
"""Metres, relative to 1 m of depth, between the frame's depth and the map's, and the least share of an object where they agree:
else something stood in front of it, or it was not there."""


class ShownFrame(Protocol):
    """A frame with its pose (4, 4) in the world of the map and the depth and labels that the map was made of."""

    @property
    def index(self) -> int: ...
    @property
    def timestamp(self) -> float: ...
    @property
    def rgb(self) -> NDArray[np.uint8]: ...
    @property
    def intrinsics(self) -> Intrinsics: ...
    @property
    def T_world_camera(self) -> Array: ...
    @property
    def predictions(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class _UprightFrame:
    """A `ShownFrame` turned by quarters, of what is predicted of it depth and labels alone."""

    index: int
    timestamp: float
    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    T_world_camera: Array
    predictions: Predictions


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A frame that may be kept: its index and the score of each object in it, by object number."""

    index: int
    scores: dict[int, float]


def find_keyframes(
    mesh: Mesh,
    graph: SceneGraph,
    cameras: Mapping[int, tuple[Intrinsics, Array]],
    frames_at: Callable[[Sequence[int]], Iterable[ShownFrame]],
) -> dict[str, Any]:
    """The images of a run as `keyframes.json` has them: `frames` with pose, camera, image, depth, labels and the keys of the
    objects that each shows, and for the key of each of the `objects` the frames that show it best, with its outlines. Images
    that lie on their side are turned upright, and their cameras with them.

    cameras : by index of a frame, its camera and pose (4, 4) in the world of the mesh.
    frames_at : the frames of these indices, as far as they can be read, in order.
    """
    from mapping.mesh.raycast import MeshCaster

    caster = MeshCaster(mesh)
    numbers = _face_objects(mesh)
    compared = evenly(sorted(cameras), CANDIDATES)
    scores = {index: _scores(caster, numbers, *cameras[index]) for index in compared}
    turns = turns_to_upright(np.array([cameras[index][1] for index in compared]), UP)
    turns_of = dict(zip(compared, turns.tolist(), strict=True))
    kept = _kept([_Candidate(index, scores[index]) for index in compared])
    frames: list[dict[str, Any]] = []
    found: dict[int, list[tuple[float, int, list[Any]]]] = {}
    keys = {node.number: key for key, node in graph.nodes("object")}
    for posed in (_upright(frame, turns_of[frame.index]) for frame in frames_at(kept)):
        outlines = _outlines(caster, numbers, posed)
        for number, outline in outlines.items():
            score = scores[posed.index].get(number, 0.0)
            found.setdefault(number, []).append((score, len(frames), outline))
        shows = [keys[number] for number in sorted(outlines) if number in keys]
        frames.append(_frame_entry(posed, graph) | {"shows": shows})
    objects = {}
    for number, images in sorted(found.items()):
        images.sort(key=lambda image: (-image[0], image[1]))
        good = [image for image in images if image[0] >= LEAST_SHARE * images[0][0] and image[0] > 0]
        if number in keys and good:
            objects[keys[number]] = [{"frame": f, "outline": outline} for _, f, outline in good[:IMAGES_PER_OBJECT]]
    return {"frames": frames, "objects": objects}


def save_keyframes(run_folder: Path, keyframes: Mapping[str, Any]) -> None:
    """Write `keyframes.json` for the graph in the run folder."""
    text = json.dumps({"graph": _graph_sha(run_folder), **keyframes}, allow_nan=False, separators=(",", ":"))
    write_text_atomic(run_folder / KEYFRAMES_FILE, text + "\n")


def load_keyframes(run_folder: Path) -> dict[str, Any]:
    """What `save_keyframes` wrote for this very graph; nothing where there is none."""
    path = run_folder / KEYFRAMES_FILE
    empty: dict[str, Any] = {"frames": [], "objects": {}}
    if not path.is_file():
        return empty
    record = read_record(path)
    if record.get("graph") != _graph_sha(run_folder):
        return empty
    frames, objects = record.get("frames"), record.get("objects")
    if not isinstance(frames, list) or not isinstance(objects, dict):
        raise WorkspaceError(f"{path}: expected frames and objects; remove the file to do without images")
    for number, frame in enumerate(frames):
        if not _is_frame(frame):
            raise WorkspaceError(f"{path}: frames[{number}]: expected a pose, a camera and images; remove the file")
    for key, images in objects.items():
        if not isinstance(images, list) or not all(_is_sight(image, len(frames)) for image in images):
            raise WorkspaceError(f"{path}: objects.{key}: expected frames with outlines; remove the file")
    return {"frames": frames, "objects": objects}


def _is_frame(frame: Any) -> bool:
    """Whether it is what `_frame_entry` returns."""
    if not isinstance(frame, dict):
        return False
    numbers = [*FRAME_NUMBERS, *(["far"] if "far" in frame else [])]
    kinds = ["image", *(kind for kind in ("depth", "labels") if kind in frame)]
    shows = frame.get("shows", [])
    return (
        _are_numbers([frame.get(name) for name in numbers], len(numbers))
        and min(frame["width"], frame["height"]) >= 1
        and min(frame["fx"], frame["fy"]) > 0
        and _are_numbers(frame.get("position"), 3)
        and _are_numbers(frame.get("rotation"), 4)
        and any(frame["rotation"])
        and all(_is_image(frame.get(kind)) for kind in kinds)
        and ("depth" not in frame or "far" in frame)
        and isinstance(shows, list)
        and all(isinstance(key, str) for key in shows)
    )


def _are_numbers(values: Any, count: int) -> bool:
    are_listed = isinstance(values, list) and len(values) == count
    return are_listed and all(isinstance(x, int | float) and abs(x) < LARGEST for x in values)


def _is_image(image: Any) -> bool:
    return isinstance(image, dict) and image.get("type") in IMAGE_TYPES and isinstance(image.get("data"), str)


def _is_sight(image: Any, frames: int) -> bool:
    """Whether it is the number of a frame and outlines in it."""
    if not isinstance(image, dict) or not isinstance(image.get("frame"), int) or not 0 <= image["frame"] < frames:
        return False
    outline = image.get("outline")
    return isinstance(outline, list) and all(
        isinstance(ring, list) and all(_are_numbers(point, 2) for point in ring) for ring in outline
    )


def _graph_sha(run_folder: Path) -> str:
    return file_sha256(run_folder / "scene_graph.json", WorkspaceError)


def _face_objects(mesh: Mesh) -> NDArray[np.int64]:
    """The object number of each face, 0 for none or where its corners differ; one more entry, 0, for no face."""
    if mesh.objects is None:
        return np.zeros(len(mesh.faces) + 1, np.int64)
    corners = mesh.objects[mesh.faces].astype(np.int64)
    same = (corners == corners[:, :1]).all(axis=1)
    return np.append(np.where(same, corners[:, 0], 0), 0)


def _upright(frame: ShownFrame, turns: int) -> ShownFrame:
    if turns == 0:
        return frame
    labels = frame.predictions.labels
    return _UprightFrame(
        frame.index,
        frame.timestamp,
        turned_array(frame.rgb, turns),
        turned_camera(frame.intrinsics.undistorted(), turns),
        turned_pose(frame.T_world_camera, turns),
        Predictions(
            turned_array(frame.predictions.depth, turns), None if labels is None else turned_array(labels, turns)
        ),
    )


def _resized(camera: Intrinsics, width: int) -> Intrinsics:
    width = min(width, camera.width)
    return camera.resized(width, max(1, round(width * camera.height / camera.width)))


def _scores(
    caster: MeshCaster, numbers: NDArray[np.int64], camera: Intrinsics, T_world_camera: Array
) -> dict[int, float]:
    """By object number, how well a camera sees the object: its pixels, fewer where the border cuts it."""
    _, faces = caster.cast(_resized(camera.undistorted(), SCORE_WIDTH), T_world_camera)
    image = numbers[faces]
    counts = np.bincount(image.ravel())
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    cut = np.bincount(border, minlength=len(counts)) > 0
    scores = np.where(cut, BORDER_PENALTY, 1.0) * counts
    return {int(n): float(scores[n]) for n in np.flatnonzero(counts >= LEAST_PIXELS) if n > 0}


def _kept(candidates: Sequence[_Candidate]) -> list[int]:
    """Indices of the frames to keep: for every object a good one, hardest to show first, then others evenly in time."""
    best: dict[int, float] = {}
    for candidate in candidates:
        for number, score in candidate.scores.items():
            best[number] = max(best.get(number, 0.0), score)
    kept: dict[int, _Candidate] = {}
    for number in sorted(best, key=lambda n: (best[n], n)):
        served = any(c.scores.get(number, 0.0) >= GOOD_SHARE * best[number] for c in kept.values())
        if not served and len(kept) < MOST_FRAMES - EVEN_FRAMES:
            chosen = max(candidates, key=lambda c: (c.scores.get(number, 0.0), sum(c.scores.values())))
            kept[chosen.index] = chosen
    even = evenly([candidate.index for candidate in candidates], EVEN_FRAMES)
    return sorted({*kept, *even})


def _outlines(caster: MeshCaster, numbers: NDArray[np.int64], posed: ShownFrame) -> dict[int, list[Any]]:
    """By object number: outlines of the object in the image, coordinates from 0 to 1, where the frame's depth shows it too."""
    camera = _resized(posed.intrinsics.undistorted(), OUTLINE_WIDTH)
    depth, faces = caster.cast(camera, posed.T_world_camera)
    image = numbers[faces]
    own = cv2.resize(posed.predictions.depth, (camera.width, camera.height), interpolation=cv2.INTER_NEAREST)
    agrees = (own == 0) | (np.abs(own - depth) < DEPTH_AGREES * np.maximum(depth, 1.0))
    outlines: dict[int, list[Any]] = {}
    for number in np.unique(image[image > 0]):
        mask = image == number
        if mask.sum() < LEAST_PIXELS or agrees[mask].mean() < LEAST_VISIBLE:
            continue
        rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        simple = [cv2.approxPolyDP(ring, 0.8, closed=True)[:, 0] for ring in rings if cv2.contourArea(ring) > 4]
        size = (camera.width, camera.height)
        outlines[int(number)] = [np.round((ring + 0.5) / size, 4).tolist() for ring in simple if len(ring) > 2]
    return {number: rings for number, rings in outlines.items() if rings}


def _frame_entry(posed: ShownFrame, graph: SceneGraph) -> dict[str, Any]:
    camera = posed.intrinsics
    T = posed.T_world_camera
    entry: dict[str, Any] = {
        "index": int(posed.index),
        "time": float(posed.timestamp),
        "position": np.round(T[:3, 3], 4).tolist(),
        "rotation": np.round(quat_xyzw_from_rotation(T[:3, :3]), 6).tolist(),
        **{name: round(float(getattr(camera, name)), 3) for name in ("fx", "fy", "cx", "cy")},
        "width": camera.width,
        "height": camera.height,
        "image": _jpeg(_shrunk(posed.rgb, IMAGE_WIDTH, cv2.INTER_AREA)),
    }
    depth = _shrunk(posed.predictions.depth, STRIP_WIDTH, cv2.INTER_NEAREST)
    if (depth > 0).any():
        far = float(np.quantile(depth[depth > 0], 0.98))
        entry |= {"depth": _jpeg(_depth_colors(depth, far)), "far": round(far, 2)}
    if posed.predictions.labels is not None:
        labels = _shrunk(posed.predictions.labels, STRIP_WIDTH, cv2.INTER_NEAREST)
        entry["labels"] = _image("image/png", encode_png(graph.label_space.colorize(labels), compression=9))
    return entry


def _shrunk(image: NDArray[Any], width: int, interpolation: int) -> NDArray[Any]:
    height, full = image.shape[:2]
    width = min(width, full)
    return cv2.resize(image, (width, max(1, round(width * height / full))), interpolation=interpolation)


def _depth_colors(depth: NDArray[np.float32], far: float) -> NDArray[np.uint8]:
    shades = np.clip(depth / max(far, 1e-6) * 255, 0, 255).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(shades, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    return np.where(depth[..., None] > 0, colors, 0).astype(np.uint8)


def _jpeg(rgb: NDArray[np.uint8]) -> dict[str, str]:
    return _image("image/jpeg", encode_jpeg(np.ascontiguousarray(rgb), quality=QUALITY))


def _image(kind: str, data: bytes) -> dict[str, str]:
    return {"type": kind, "data": base64.b64encode(data).decode("ascii")}
