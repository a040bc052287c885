"""`camera.yaml`: the camera of a sequence whose format does not specify it, and the locations of its parts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from mapping.camera import Intrinsics
from pipelines.config import ConfigError, config_from_mapping, read_yaml_mapping
from pipelines.frame import SequenceError
from pipelines.sequences.conventions import CameraAxes, PoseDirection, is_direction

CAMERA_FILE = "camera.yaml"


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
    """File of one time stamp in seconds per image; else the file names are stamps, or `fps` counts."""
    depth: str | None = None
    """Folder of depth images with the names of the images."""
    labels: str | None = None
    """Folder of label images with the names of the images."""
    label_space: str = "nyu40"
    """What labels mean: a built-in name or a YAML file."""
    fps: float | None = None
    """Images per second, when there is no other source of times."""
    time_offset: float = 0.0
    """Seconds to add to an image's time to get the pose file's."""
    max_gap: float = 0.25
    """Longest stretch of seconds between two poses that is interpolated."""
    pose_convention: PoseDirection = "camera_to_world"
    """Direction of the stored poses."""
    camera_axes: CameraAxes = "opencv"
    """Axes of the stored camera frames."""
    depth_scale: float = 1000.0
    """Stored depth units per metre."""
    world_up: tuple[float, float, float] | None = None
    """Up in the world of the poses, when known."""

    def __post_init__(self) -> None:
        if (self.fx is None) == (self.hfov_deg is None):
            raise ValueError("needs either fx in pixels or hfov_deg")
        if self.hfov_deg is not None and not 0 < self.hfov_deg < 180:
            raise ValueError(f"hfov_deg must lie between 0 and 180, got {self.hfov_deg}")
        if self.world_up is not None and not is_direction(self.world_up):
            raise ValueError(f"world_up must be three finite numbers that are not all 0, got {self.world_up}")
        for name in ("fps", "max_gap", "depth_scale"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number, got {value}")

    def intrinsics(self, image_size: tuple[int, int], path: Path) -> Intrinsics:
        """The camera for images of (width, height) that were not resampled; raises SequenceError naming the file."""
        width, height = self.width or image_size[0], self.height or image_size[1]
        fx = self.fx or 0.5 * width / math.tan(math.radians(self.hfov_deg or 0.0) / 2)
        cx = 0.5 * (width - 1) if self.cx is None else self.cx
        cy = 0.5 * (height - 1) if self.cy is None else self.cy
        try:
            return Intrinsics(fx, self.fy or fx, cx, cy, width, height, tuple(self.distortion), self.distortion_model)
        except ValueError as error:
            raise SequenceError(f"{path}: is not a valid camera: {error}") from error


def read_camera_file(path: Path) -> CameraFile:
    """A `camera.yaml`; raises SequenceError naming the file and the entry."""
    try:
        camera = config_from_mapping(CameraFile, read_yaml_mapping(path), str(path))
    except ConfigError as error:
        raise SequenceError(str(error)) from error
    assert isinstance(camera, CameraFile)
    return camera
