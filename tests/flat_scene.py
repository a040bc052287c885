"""The small flat of `scenes.py` with a surface, colours and images, for tests of the page that shows maps."""

import base64
from dataclasses import replace

import numpy as np
from apartments import WALL, Apartment, Opening, box
from scenes import small_flat

from mapping.mesh.mesh import Mesh, concatenate
from pipelines.images import encode_jpeg
from scenegraph.labels import nyu40

COLORS = {"floor": (150, 120, 90), "wall": (225, 220, 210), "ceiling": (245, 245, 245), "table": (130, 80, 40)}
IMAGE_SIZE = (64, 48)


def flat_mesh(step: float = 0.1) -> Mesh:
    """Floor, walls and ceiling of two rooms with a doorway, and a box for each object of the graph, with its number."""
    rooms = Apartment([(0, 0, 4, 3), (4 + WALL, 0, 8, 3)], [Opening(0, 4 + WALL / 2, 1.5, 0.9, 2.05)])
    parts = [_painted(rooms.mesh(step), 0)]
    for _, node in small_flat().nodes("object"):
        low, high = node.box.center - node.box.size / 2, node.box.center + node.box.size / 2
        parts.append(
            _painted(box(low, high, node.label, yaw=0.3 if node.label == "table" else 0.0, step=step), node.number)
        )
    return concatenate(parts)


def _painted(mesh: Mesh, number: int) -> Mesh:
    colors = nyu40().colorize(mesh.labels)
    for name, color in COLORS.items():
        colors[mesh.labels == nyu40().id_of(name)] = color
    count = len(mesh.vertices)
    confidence = np.full(count, 0.9 if number else 0.4, np.float32)
    return replace(mesh, colors=colors, objects=np.full(count, number, np.uint32), confidence=confidence)


def flat_keyframes() -> dict:
    """Three images of one colour each; the second shows the table in its middle."""
    frames = []
    for number, (_, agent) in enumerate(small_flat().nodes("agent")):
        rgb = np.full((IMAGE_SIZE[1], IMAGE_SIZE[0], 3), (60 * number + 60, 90, 200), np.uint8)
        image = {"type": "image/jpeg", "data": base64.b64encode(encode_jpeg(rgb)).decode()}
        camera = {"fx": 50.0, "fy": 50.0, "cx": 31.5, "cy": 23.5, "width": IMAGE_SIZE[0], "height": IMAGE_SIZE[1]}
        pose = {"position": agent.position.tolist(), "rotation": agent.rotation_xyzw.tolist()}
        frames.append(
            {"index": number, "time": agent.time, **pose, **camera, "image": image, "depth": image, "far": 3.0}
        )
    ring = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]
    return {"frames": frames, "objects": {"O0": [{"frame": 1, "outline": [ring]}]}}
