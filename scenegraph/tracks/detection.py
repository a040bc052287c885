"""The tracker's input from one view: the view itself, the detections in it, and their file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.se3 import yaw_rotation
from scenegraph.files import json_values as values
from scenegraph.files.json_io import plain
from scenegraph.tracks.appearance import NO_LOOK, Look

Array = NDArray[np.float64]

SIDES = ("right", "left", "below", "above")


@dataclass(frozen=True, eq=False)
class LabelledView:
    """One posed image with depth, and with labels or what was seen to move.

    time in seconds; depth (H, W) metres along z, 0 unknown; labels (H, W) ids, or None; T_world_camera (4, 4) into a world whose
    z is up; instances (H, W) numbers of individual things, 0 none, or None; rgb (H, W, 3) uint8 or None, which helps to
    distinguish people; moving (H, W) numbers of what was seen to move, whatever its label, 0 none, or None.

    Raises ValueError that names the field, the expected and the actual shape.
    """

    time: float
    depth: NDArray[np.float32]
    labels: NDArray[np.integer[Any]] | None
    intrinsics: Intrinsics
    T_world_camera: Array
    instances: NDArray[np.integer[Any]] | None = None
    rgb: NDArray[np.uint8] | None = None
    moving: NDArray[np.integer[Any]] | None = None

    def __post_init__(self) -> None:
        shape = (self.intrinsics.height, self.intrinsics.width)
        for name in ("depth", "labels", "instances", "rgb", "moving"):
            array = getattr(self, name)
            if array is not None and array.shape != ((*shape, 3) if name == "rgb" else shape):
                raise ValueError(f"LabelledView.{name} must have shape {shape}, got {array.shape}")
        if self.intrinsics.is_distorted:
            raise ValueError("LabelledView.intrinsics must be without distortion")


@dataclass(frozen=True, eq=False)
class Detection:
    """The visible part of one thing in one view.

    Its bounds `low` and `high` (3,) are taken along three axes: away from the camera (the horizontal direction at `bearing`
    radians from the world's x), to the left of that, and up. A point with these coordinates c lies at `axes @ c` in the world.
    `cut` are the sides of SIDES on which the image border or an occluder hides the rest; the far side is always hidden.
    distance is the horizontal distance from the camera, floor the height of the floor around it or None when not
    observed; metres. look is its colour above and below, where known (`scenegraph.tracks.appearance`).
    """

    time: float
    label_id: int
    pixels: int
    bearing: float
    distance: float
    low: Array
    high: Array
    cut: frozenset[str]
    floor: float | None
    look: Look = NO_LOOK

    @property
    def axes(self) -> Array:
        """(3, 3) world-from-detection rotation about z: columns point away from the camera, left and up."""
        return yaw_rotation(self.bearing)

    @property
    def center(self) -> Array:
        """(3,) centre in the world of what is visible."""
        return np.asarray(self.axes @ (self.low + self.high) / 2)


def detections_to_json(frames: Iterable[tuple[float, Iterable[Detection]]]) -> list[dict[str, Any]]:
    """Detections of every frame, also of those without any, as JSON-ready values; `detections_from_json` reads them back."""
    return [{"time": plain(float(time), "time"), "detections": [_to_json(d) for d in found]} for time, found in frames]


def detections_from_json(data: object, where: str) -> list[tuple[float, list[Detection]]]:
    """(time, detections) of every frame; raises GraphFormatError naming `where`, the entry and the field."""
    frames = []
    for number, entry in enumerate(values.sequence(data, where)):
        at = f"{where}: [{number}]"
        frame = values.mapping(entry, at)
        time = values.number(frame.get("time"), f"{at}.time")
        found = values.sequence(frame.get("detections"), f"{at}.detections")
        frames.append((time, [_from_json(each, time, f"{at}.detections[{i}]") for i, each in enumerate(found)]))
    return frames


def _to_json(detection: Detection) -> dict[str, Any]:
    names = ("label_id", "pixels", "bearing", "distance", "low", "high", "floor")
    fields = {name: plain(getattr(detection, name), name) for name in names}
    cut = [side for side in SIDES if side in detection.cut]
    return {**fields, "cut": cut, "look": plain(detection.look, "look")}


def _from_json(entry: object, time: float, where: str) -> Detection:
    data = values.mapping(entry, where)
    cut = values.sequence(data.get("cut"), f"{where}.cut")
    if not all(isinstance(side, str) and side in SIDES for side in cut):
        raise values.unexpected(f"{where}.cut", f"some of {', '.join(SIDES)}", cut)
    floor = data.get("floor")
    bands = values.sequence(data.get("look", [None, None]), f"{where}.look")
    if len(bands) != len(NO_LOOK):
        raise values.unexpected(f"{where}.look", "the upper and the lower colour", bands)
    upper, lower = (None if band is None else values.array(band, f"{where}.look", (3,)) for band in bands)
    found = Detection(
        time=time,
        label_id=values.whole(data.get("label_id"), f"{where}.label_id"),
        pixels=values.whole(data.get("pixels"), f"{where}.pixels"),
        bearing=values.number(data.get("bearing"), f"{where}.bearing"),
        distance=values.at_least_zero(data.get("distance"), f"{where}.distance"),
        low=values.array(data.get("low"), f"{where}.low", (3,)),
        high=values.array(data.get("high"), f"{where}.high", (3,)),
        cut=frozenset(cut),
        floor=None if floor is None else values.number(floor, f"{where}.floor"),
        look=(upper, lower),
    )
    lengths = (found.distance, *found.low, *found.high, 0.0 if found.floor is None else found.floor)
    if max(map(abs, lengths)) > values.FARTHEST or (found.low > found.high).any():
        raise values.unexpected(where, f"lengths up to {values.FARTHEST:g} m, and low below high", entry)
    return found
