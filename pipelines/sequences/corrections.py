"""Corrections of a sequence's cameras and pose times by the entries of its `m2h.yaml`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mapping.camera import Intrinsics
from mapping.se3 import interpolate_at
from pipelines.frame import FrameInfo, SequenceError
from pipelines.sequences.conventions import OVERRIDE_FILE, Overrides


def corrected_camera(camera: Intrinsics, width: int, overrides: Overrides, where: str) -> Intrinsics:
    """The camera with the focal length and the distortion of `m2h.yaml`; `width` is that of its images as they are stored.

    Raises SequenceError where the lens of the format has a distortion of its own.
    """
    if overrides.focal_length is not None:
        factor = overrides.focal_length / (camera.fx * width / camera.width)
        camera = replace(camera, fx=camera.fx * factor, fy=camera.fy * factor)
    if overrides.k1 is not None:
        if camera.is_distorted:
            raise SequenceError(f"{where}/{OVERRIDE_FILE}: k1: the sequence's own camera has a lens distortion already")
        camera = replace(camera, distortion=(overrides.k1, 0.0, 0.0, 0.0))
    return camera


def with_pose_times_moved(infos: tuple[FrameInfo, ...], seconds: float) -> tuple[FrameInfo, ...]:
    """The frames with poses `seconds` later, interpolated between those of the frames; beyond the first or last there is none."""
    if seconds == 0:
        return infos
    known = [info for info in infos if info.used and info.T_world_camera is not None]
    times = np.array([info.timestamp for info in known])
    poses = np.array([info.T_world_camera for info in known]).reshape(-1, 4, 4)
    moved = []
    for info in infos:
        pose = interpolate_at(times, poses, info.timestamp + seconds, max_gap=math.inf) if info.used else None
        if info.used and pose is None:
            info = replace(info, used=False, reason="no pose at its corrected time")
        moved.append(replace(info, T_world_camera=pose))
    return tuple(moved)
