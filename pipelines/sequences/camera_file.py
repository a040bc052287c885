"""`camera.yaml`: the camera of a sequence whose format does not specify it, and the locations of its parts."""

from __future__ import annotations

import math
from collections.abc import Set
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from mapping.camera import Intrinsics
from pipelines.config import ConfigError, config_from_mapping, read_yaml_mapping
from pipelines.frame import SequenceError
from pipelines.sequences.cameras import NEGATIVE_FOCAL_LENGTH, camera_for_images
from pipelines.sequences.conventions import CameraAxes, Convention, PoseDirection, is_direction

CAMERA_ENTRIES = frozenset({"fx", "fy", "cx", "cy", "hfov_deg", "width", "height", "distortion", "distortion_model"})
"""The entries that describe the camera itself."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CameraFile:
    """The entries of `camera.yaml`; only the focal length (`fx` or `hfov_deg`) has no default. Paths are relative to it."""

    fx: float | None = None
    """Focal length in pixels."""
    fy: float | None = None
    """Vertical focal length in pixels; fx when omitted."""
    cx: float | None = None
    """Principal point in pixels, the centre of the top-left pixel being 0; the image's centre when omitted."""
    cy: float | None = None
    """As cx, downwards."""
    hfov_deg: float | None = None
    """Horizontal field of view in degrees, instead of fx."""
    width: int | None = None
    """Width in pixels of the images for which the numbers hold; that of the first image when omitted."""
    height: int | None = None
    """Height in pixels, as width."""
    distortion: tuple[float, ...] = ()
    """Lens coefficients in OpenCV's order."""
    distortion_model: Literal["opencv", "fisheye"] = "opencv"
    """Lens model of the coefficients."""
    images: str | None = None
    """Folder of images; images, rgb, color or frames when omitted."""
    video: str | None = None
    """Video file instead of images."""
    poses: str | None = None
    """Pose file: TUM lines `stamp tx ty tz qx qy qz qw`, or KITTI lines of 12 (or 16) matrix elements, one line per image."""
    times: str | None = None
    """File of one time stamp in seconds per image; else the file names are stamps, or `fps` divides their numbers."""
    depth: str | None = None
    """Folder of depth images with the names of the images."""
    masks: str | None = None
    """Folder of masks with the names of the images, black where an image must not be used; masks/ is used when there is one."""
    labels: str | None = None
    """Folder of label images with the names of the images."""
    label_space: str | None = None
    """What labels mean: a built-in name, nyu40 when omitted, or a YAML file."""
    fps: float | None = None
    """Images per second: the time of an image is its number over it; an error when there is another source of times."""
    time_offset: float = 0.0
    """Seconds to add to an image's time to get the pose file's."""
    max_gap: float | None = None
    """Longest stretch of seconds between two poses that is interpolated; the format's when omitted."""
    pose_convention: PoseDirection = "camera_to_world"
    """Direction of the stored poses."""
    camera_axes: CameraAxes = "opencv"
    """Axes of the stored camera frames."""
    depth_scale: float | None = None
    """Stored depth units per metre; the format's when omitted."""
    world_up: tuple[float, float, float] | None = None
    """Up in the world of the poses, when known."""

    def __post_init__(self) -> None:
        if (self.fx is None) == (self.hfov_deg is None):
            raise ValueError("needs either fx in pixels or hfov_deg")
        if (self.width is None) != (self.height is None):
            raise ValueError("width and height belong together: needs both or none")
        if self.hfov_deg is not None and self.distortion_model == "fisheye":
            raise ValueError("hfov_deg is that of a pinhole camera; a fisheye needs fx in pixels")
        for name in ("fx", "fy"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must be positive, got {value}; {NEGATIVE_FOCAL_LENGTH}")
        if not math.isfinite(self.time_offset):
            raise ValueError(f"time_offset must be a number of seconds, got {self.time_offset}")
        if self.hfov_deg is not None and not 0 < self.hfov_deg < 180:
            raise ValueError(f"hfov_deg must lie between 0 and 180, got {self.hfov_deg}")
        if self.world_up is not None and not is_direction(self.world_up):
            raise ValueError(f"world_up must be three finite numbers that are not all 0, got {self.world_up}")
        for name in ("fps", "max_gap", "depth_scale"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value}")

    def intrinsics(self, image_size: tuple[int, int], path: Path) -> Intrinsics:
        """The camera for images of (width, height); raises SequenceError naming the file for an invalid one, and for one of
        images of another size."""
        width, height = self.width or image_size[0], self.height or image_size[1]
        fx = 0.5 * width / math.tan(math.radians(self.hfov_deg) / 2) if self.hfov_deg is not None else self.fx
        assert fx is not None
        values = (
            fx,
            fx if self.fy is None else self.fy,
            0.5 * (width - 1) if self.cx is None else self.cx,
            0.5 * (height - 1) if self.cy is None else self.cy,
        )
        stated = self.width is not None
        lens = (tuple(self.distortion), self.distortion_model)
        return camera_for_images(values, (width, height), str(path), lens=lens, states_size=stated)

    def convention(self, depth_scale: float) -> Convention:
        """The conventions that the entries give, with the format's depth scale where they give none."""
        return Convention(self.pose_convention, self.camera_axes, self.depth_scale or depth_scale)


def read_camera_file(path: Path, entries: Set[str] | None = None, what: str = "") -> CameraFile:
    """A `camera.yaml`; raises SequenceError naming the file and the entry.

    `entries` are those that have an effect in `what`, all when omitted: another one is an error.
    """
    try:
        data = read_yaml_mapping(path)
        camera = config_from_mapping(CameraFile, data, str(path))
    except ConfigError as error:
        raise SequenceError(str(error)) from error
    assert isinstance(camera, CameraFile)
    for entry in data:
        if entries is not None and entry not in entries:
            raise SequenceError(f"{path}: {entry} has no effect in {what}; known are {', '.join(sorted(entries))}")
    return camera
