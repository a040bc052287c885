"""Cameras of `transforms.json`: the lens models of nerfstudio and instant-ngp, and the keys that no reader may ignore."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Set
from typing import Any

from mapping.camera import Intrinsics
from mapping.reading.files import shown
from pipelines.frame import SequenceError
from pipelines.sequences.cameras import Lens, camera_for_images
from pipelines.sequences.ignored_keys import ignored_key, not_supported
from pipelines.sequences.same_camera import ANGLE_KEYS, OTHER_KEYS, check_same_camera

LENS_KEYS: dict[str, tuple[str, ...]] = {
    "OPENCV": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "RADIAL": ("k1", "k2"),
    "SIMPLE_RADIAL": ("k1",),
    "PINHOLE": (),
    "SIMPLE_PINHOLE": (),
}
"""By `camera_model` the keys of its coefficients, in OpenCV's order."""
CAMERA_KEYS = frozenset({*(key for keys in LENS_KEYS.values() for key in keys), "is_fisheye", "camera_model"})
HEADER_KEYS = CAMERA_KEYS | {
    "depth_unit_scale_factor",
    "integer_depth_scale",
    "enable_depth_loading",
    "applied_scale",
    "aabb_scale",
    "timestamp_unit",
    "has_mask",
}
FRAME_KEYS = CAMERA_KEYS | {"depth_file_path", "depth_path", "mask_path"}
"""Keys about lenses, depth, masks and scale that are read there, or (`aabb_scale`) do not change what is recorded."""
INSTEAD = {
    "left_handed": "is not read; give camera_axes: left_handed in m2h.yaml",
    "up": "is not read; give the direction as world_up",
    "from_na": "says that cameras have OpenCV's axes; remove it and give camera_axes: opencv in m2h.yaml",
}
"""What to write instead of a key that is not read."""


def check_keys(keys: Mapping[str, Any], known: Set[str], where: str) -> None:
    """Raises SequenceError for a key about lens, depth, mask, poses or times that would have no effect; false, null and zeros
    are harmless."""
    key = ignored_key(keys, known)
    if key is not None:
        other = "a frame" if key in FRAME_KEYS else "the header" if key in HEADER_KEYS else ""
        place = f"has no effect here but in {other}" if other else INSTEAD.get(key) or not_supported(keys[key])
        raise SequenceError(f"{where}: {key} {place}")


def frame_keys(header: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a frame: the header's and its own, without an angle of the header where it has a focal length of its own."""
    replaced = [angle for angle, focal in ANGLE_KEYS.items() if focal in entry]
    return {**{key: value for key, value in header.items() if key not in replaced}, **entry}


def read_intrinsics(keys: Mapping[str, Any], size: tuple[int, int], where: str) -> Intrinsics:
    """The camera of a frame from the header's keys and its own; (width, height) is used where they state none.

    Pixel centres lie at +0.5 there. Raises SequenceError that begins with `where`.
    """
    lens = _lens(keys, where)
    width, height = (int(read_number(keys, key, size[i], where)) for i, key in enumerate("wh"))
    fx = read_number(keys, "fl_x", _focal(keys, "camera_angle_x", width, where), where)
    fy = read_number(keys, "fl_y", _focal(keys, "camera_angle_y", height, where) or fx, where)
    if not fx:
        others = [key for key in OTHER_KEYS if keys.get(key)]
        raise SequenceError(f"{where}: needs fl_x or camera_angle_x" + (f"; {others[0]} is not read" if others else ""))
    if lens[1] == "fisheye" and "fl_x" not in keys:
        raise SequenceError(f"{where}: camera_angle_x is that of a pinhole camera; a fisheye needs fl_x")
    cx, cy = read_number(keys, "cx", width / 2, where) - 0.5, read_number(keys, "cy", height / 2, where) - 0.5
    states_size = "w" in keys and "h" in keys
    camera = camera_for_images((fx, fy, cx, cy), (width, height), where, lens=lens, states_size=states_size)
    check_same_camera(keys, camera, where)
    return camera


def read_number(keys: Mapping[str, Any], key: str, default: float, where: str) -> float:
    """A number of the file; raises SequenceError naming the key for another value."""
    value = keys.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SequenceError(f"{where}: {key} must be a number, got {shown(value)}")
    return float(value)


def _lens(keys: Mapping[str, Any], where: str) -> Lens:
    """Coefficients and model; `is_fisheye` without `camera_model` is instant-ngp's OpenCV fisheye."""
    is_fisheye = keys.get("is_fisheye", False)
    if not isinstance(is_fisheye, bool):
        raise SequenceError(f"{where}: is_fisheye must be true or false, got {shown(is_fisheye)}")
    model = keys.get("camera_model", "OPENCV_FISHEYE" if is_fisheye else "OPENCV")
    if model not in LENS_KEYS:
        raise SequenceError(f"{where}: camera_model {model!r} is not known; known are {', '.join(LENS_KEYS)}")
    if is_fisheye and model != "OPENCV_FISHEYE":
        raise SequenceError(f"{where}: is_fisheye contradicts camera_model {model}")
    used = LENS_KEYS[model]
    for key in CAMERA_KEYS & keys.keys():
        if re.fullmatch(r"[kp]\d", key) and key not in used and read_number(keys, key, 0.0, where):
            raise SequenceError(
                f"{where}: {key} is not a coefficient of camera_model {model}, which has {', '.join(used) or 'none'}"
            )
    values = [read_number(keys, key, 0.0, where) for key in used]
    if model == "OPENCV_FISHEYE":
        return tuple(values), "fisheye"
    values += [0.0] * (4 - len(values))
    if not any(values):
        return (), "opencv"
    count = 8 if any(values[5:]) else 5 if any(values[4:]) else 4
    return tuple(values[:count]), "opencv"


def _focal(keys: Mapping[str, Any], key: str, size: int, where: str) -> float:
    angle = read_number(keys, key, 0.0, where)
    return 0.5 * size / math.tan(0.5 * angle) if angle else 0.0
