"""A map as a COLMAP project: `images/`, and `sparse/0/` with cameras, poses, and points of the surface with their observations.

The world is the levelled one in metres, z up. Pixel centres lie at +0.5 in COLMAP. Images are without distortion, so all cameras
are pinholes. The binary layout is that of COLMAP's documentation ("Output format").
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.files import flush_files, make_folder, write_bytes_atomic
from mapping.se3 import inverse, quat_xyzw_from_rotation
from pipelines.exports.export_input import ExportError, FinishedRun
from pipelines.exports.reopened_recording import MappedRecording, open_recording
from pipelines.exports.surface_points import SeenPoints, seen_points
from pipelines.images import encode_png

Array = NDArray[np.float64]
PINHOLE = 1
"""COLMAP's number of the model with fx, fy, cx, cy."""


def write_colmap(run: FinishedRun, folder: Path) -> None:
    """The project of a run, into an empty folder; masks of images, where it has any, in `masks/` as COLMAP names them.

    Raises ExportError where the recording is missing or none of its frames can be read.
    """
    recording = open_recording(run)
    names = _write_images(recording, folder)
    if not names:
        raise ExportError(f"{recording.sequence.path}: none of its frames can be read")
    cameras = {position: recording.cameras[position] for position in names}
    model = folder / "sparse" / "0"
    make_folder(model)
    seen = seen_points(run.mesh, cameras)
    kinds = list(dict.fromkeys(camera for camera, _ in cameras.values()))
    write_bytes_atomic(model / "cameras.bin", _cameras(kinds))
    write_bytes_atomic(model / "images.bin", _images(names, cameras, kinds, seen))
    write_bytes_atomic(model / "points3D.bin", _points(seen))


def _write_images(recording: MappedRecording, folder: Path) -> dict[int, str]:
    """Write the images, and return their names by position."""
    names = {}
    for position, frame in recording.frames():
        suffix, data = recording.encoded(position, frame)
        names[position] = f"{frame.index:06d}{suffix}"
        make_folder(folder / "images")
        write_bytes_atomic(folder / "images" / names[position], data, durable=False)
        if frame.mask is not None:
            make_folder(folder / "masks")
            mask = encode_png(np.where(frame.mask, np.uint8(255), np.uint8(0)))
            write_bytes_atomic(folder / "masks" / f"{names[position]}.png", mask, durable=False)
    flush_files(folder)
    return names


def _cameras(kinds: list[Intrinsics]) -> bytes:
    parts = [struct.pack("<Q", len(kinds))]
    for number, c in enumerate(kinds, 1):
        parts.append(struct.pack("<iiQQ4d", number, PINHOLE, c.width, c.height, c.fx, c.fy, c.cx + 0.5, c.cy + 0.5))
    return b"".join(parts)


def _images(
    names: dict[int, str], cameras: dict[int, tuple[Intrinsics, Array]], kinds: list[Intrinsics], seen: SeenPoints
) -> bytes:
    """World-to-camera poses; the number of an image is that of its place, from 1."""
    parts = [struct.pack("<Q", len(names))]
    for number, (position, name) in enumerate(names.items(), 1):
        camera, T_world_camera = cameras[position]
        T = inverse(T_world_camera)
        x, y, z, w = quat_xyzw_from_rotation(T[:3, :3]).tolist()
        parts.append(struct.pack("<i7di", number, w, x, y, z, *T[:3, 3].tolist(), kinds.index(camera) + 1))
        parts.append(name.encode() + b"\0")
        rows, pixels = seen.seen.get(position, (np.zeros(0, np.int64), np.zeros((0, 2))))
        observations = np.zeros(len(rows), dtype=[("x", "<f8"), ("y", "<f8"), ("point", "<u8")])
        observations["x"], observations["y"] = (pixels + 0.5).T
        observations["point"] = rows + 1
        parts += [struct.pack("<Q", len(rows)), observations.tobytes()]
    return b"".join(parts)


def _points(seen: SeenPoints) -> bytes:
    """Points numbered from 1, with the images that see them; their reprojection error is 0, as they are of the surface."""
    tracks: list[list[int]] = [[] for _ in seen.points]
    for image, (rows, _) in enumerate(seen.seen.values(), 1):
        for place, row in enumerate(rows.tolist()):
            tracks[row] += [image, place]
    parts = [struct.pack("<Q", len(tracks))]
    for number, (point, color, track) in enumerate(zip(seen.points, seen.colors, tracks, strict=True), 1):
        parts.append(struct.pack("<Q3d3Bd", number, *point.tolist(), *color.tolist(), 0.0))
        parts.append(struct.pack(f"<Q{len(track)}i", len(track) // 2, *track))
    return b"".join(parts)
