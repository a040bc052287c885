"""The map as a GLB file with the images of the recording on its surface."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.mesh.glb import GlbNode, GlbTexture, write_glb
from mapping.mesh.mesh import Mesh
from mapping.texture.textured import AtlasPage, textured
from mapping.texture.views import TextureView, sharpness_of
from pipelines.exports.export_input import ExportError, FinishedRun
from pipelines.exports.reopened_recording import MappedRecording, open_recording
from pipelines.frame import Frame
from pipelines.images import encode_jpeg

MOST_VIEWS = 160
"""Images that are compared: the sharpest one of each of so many stretches of the recording."""
LONGEST_SIDE = 1600
"""Pixels; larger images are reduced."""
QUALITY = 92


def write_textured(run: FinishedRun, path: Path) -> None:
    """One node with an atlas page each, and one in vertex colours for the surface that no image shows well.

    Raises ExportError where the recording is missing or none of its frames can be read.
    """
    recording = open_recording(run)
    views = [_view(frame, sharpness) for frame, sharpness in _sharpest(recording)]
    if not views:
        raise ExportError(f"{recording.sequence.path}: none of its frames can be read")
    found = textured(run.mesh, views)
    nodes = [_node(number, page) for number, page in enumerate(found.pages)]
    if len(found.rest.faces):
        nodes.append(GlbNode("not in an image", found.rest))
    write_glb(path, nodes)


def _sharpest(recording: MappedRecording) -> list[tuple[Frame, float]]:
    """The sharpest frame of each stretch of the recording, with its sharpness compared with its neighbours'."""
    positions = list(recording.cameras)
    parts = min(MOST_VIEWS, len(positions))
    part_of = {position: number * parts // len(positions) for number, position in enumerate(positions)}
    best: dict[int, tuple[Frame, float]] = {}
    for position, frame in recording.frames():
        sharpness = sharpness_of(frame.rgb)
        part = part_of[position]
        if part not in best or sharpness > best[part][1]:
            best[part] = (frame, sharpness)
    typical = float(np.median([sharpness for _, sharpness in best.values()])) if best else 1.0
    return [(frame, min(sharpness / max(typical, 1e-6), 1.0)) for _, (frame, sharpness) in sorted(best.items())]


def _view(frame: Frame, sharpness: float) -> TextureView:
    camera, rgb = frame.intrinsics, frame.rgb
    depth, mask = frame.recorded.depth, frame.mask
    factor = LONGEST_SIDE / max(camera.width, camera.height)
    if factor < 1:
        size = round(camera.width * factor), round(camera.height * factor)
        camera = camera.resized(*size)
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        depth = None if depth is None else cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST)
        mask = None if mask is None else cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return TextureView(camera, frame.T_world_camera, rgb, depth, mask, max(sharpness, 1e-3))


def _node(number: int, page: AtlasPage) -> GlbNode:
    height, width = page.image.shape[:2]
    uv: NDArray[np.float32] = ((page.pixels + 0.5) / [width, height]).astype(np.float32)
    mesh = Mesh(np.asarray(page.vertices), page.faces)
    return GlbNode(f"page {number}", mesh, texture=GlbTexture(uv, encode_jpeg(page.image, quality=QUALITY)))
