"""A run shown live in the Rerun viewer, and recorded: images, depth, the camera, the mesh as it grows.

Seconds of the sequence are the timeline `time`; `step` counts what was shown, in the order of the run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from mapping.files import atomic_path, make_folder
from mapping.packages import require
from mapping.tsdf.observation import FusionError
from mapping.tsdf.volume import TSDFVolume
from pipelines.frame import Frame
from pipelines.stages.context import PosedFrame

PREVIEW_FILE = "preview.rrd"
"""The recording's name in a run folder."""
MESHES = 20
"""How often the mesh is shown in a run: making it costs about as much as fusing some frames."""
LONGEST_SIDE = 640
"""Pixels of the images that are shown."""


class LivePreview:
    """Shows a `Watcher`'s frames in a recording of rerun; `recording` has its sinks already."""

    def __init__(self, rr: Any, recording: Any) -> None:
        self._rr, self._recording = rr, recording
        self._step = 0
        self._path: list[NDArray[np.float64]] = []
        recording.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)

    def predicted(self, frame: Frame, predictions: Predictions) -> None:
        """The image and its depth, flat: the world is not levelled yet."""
        self._at(frame.timestamp)
        self._show("predicted", frame.rgb, predictions.depth)

    def fused(self, frame: PosedFrame, volume: TSDFVolume, done: int, total: int) -> None:
        """The camera in the world with its image and depth, its path, and from time to time the mesh."""
        rr, recording = self._rr, self._recording
        self._at(frame.timestamp)
        T = frame.T_world_camera
        self._path.append(T[:3, 3])
        recording.log("world/camera", rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
        recording.log("world/camera/view", _pinhole(rr, frame.intrinsics))
        self._show("world/camera/view", frame.rgb, frame.predictions.depth)
        every = max(1, total // MESHES)
        if done % every == 0 or done == total:
            recording.log("world/camera_path", rr.LineStrips3D([np.array(self._path)]))
            self._show_mesh(volume)

    def _show_mesh(self, volume: TSDFVolume) -> None:
        try:
            mesh = volume.extract_mesh()
        except FusionError:  # nothing is fused yet
            return
        if not len(mesh.faces):
            return
        shape = self._rr.Mesh3D(
            vertex_positions=mesh.vertices.astype(np.float32),
            triangle_indices=mesh.faces,
            vertex_colors=mesh.colors,
        )
        self._recording.log("world/mesh", shape)

    def _at(self, seconds: float) -> None:
        self._step += 1
        self._recording.set_time("time", duration=float(seconds))
        self._recording.set_time("step", sequence=self._step)

    def _show(self, where: str, rgb: NDArray[np.uint8], depth: NDArray[np.float32] | None) -> None:
        stride = -(-max(rgb.shape[:2]) // LONGEST_SIDE)
        self._recording.log(f"{where}/image", self._rr.Image(rgb[::stride, ::stride]))
        if depth is not None:
            self._recording.log(f"{where}/depth", self._rr.DepthImage(depth[::stride, ::stride], meter=1.0))


def _pinhole(rr: Any, camera: Intrinsics) -> Any:
    """The camera of the images that are shown."""
    stride = -(-max(camera.width, camera.height) // LONGEST_SIDE)
    size = (-(-camera.width // stride), -(-camera.height // stride))
    return rr.Pinhole(
        resolution=size,
        focal_length=(camera.fx / stride, camera.fy / stride),
        principal_point=((camera.cx + 0.5) / stride, (camera.cy + 0.5) / stride),
    )


@contextmanager
def live_preview(path: Path) -> Iterator[LivePreview]:
    """A watcher that writes `path` (.rrd) and, where there is a screen, shows the same in a viewer that it opens.

    The file gets its name when the run has ended well. Raises MissingPackageError without rerun.
    """
    rr = require("rerun", extra="rerun", purpose="--rerun")
    make_folder(path.parent)
    recording = rr.RecordingStream("m2h", recording_id="preview")
    with atomic_path(path) as temporary:
        sinks = [rr.FileSink(temporary)]
        if has_screen():
            rr.spawn(connect=False, recording=recording)
            sinks.append(rr.GrpcSink())
        recording.set_sinks(*sinks)
        try:
            yield LivePreview(rr, recording)
        finally:
            recording.flush()
            recording.disconnect()


def has_screen() -> bool:
    """Whether a window can be opened."""
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
