"""Frames and predictions turned by quarters: what a camera sees that is turned about its optical axis, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from pipelines.frame import DerivedSequence, Frame, FrameSequence

Array = NDArray[np.float64]
LEAST_ALONG_IMAGE = np.sin(np.deg2rad(20.0))
"""Length of the up direction along the image below which a camera looks up or down, so that its image has no upper side."""
_TURN = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""From the axes of a camera to those of the camera whose image is turned by a quarter, counter-clockwise."""


def turns_to_upright(poses: Array, up: Sequence[float] | Array) -> NDArray[np.int64]:
    """How many quarter turns counter-clockwise (N,) bring the images of cameras nearest to upright.

    poses (N, 4, 4) are `T_world_camera`, `up` (3,) is a direction of their world. An image without an upper side is turned as
    the nearest in order that has one; frames without a finite pose, and all where none has an upper side, are not turned.
    """
    if not len(poses):
        return np.zeros(0, dtype=np.int64)
    direction = np.asarray(up, dtype=np.float64)
    along = poses[:, :3, :2].swapaxes(1, 2) @ (direction / np.linalg.norm(direction))
    with np.errstate(invalid="ignore"):
        clear = np.flatnonzero(np.linalg.norm(along, axis=1) >= LEAST_ALONG_IMAGE)
    if not len(clear):
        return np.zeros(len(poses), dtype=np.int64)
    turns = np.rint(np.arctan2(along[clear, 0], -along[clear, 1]) / (np.pi / 2)).astype(np.int64) % 4
    positions = np.arange(len(poses))
    after = np.clip(np.searchsorted(clear, positions), 0, len(clear) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(positions - clear[before] <= clear[after] - positions, before, after)
    nearest = np.where(clear[after] == positions, after, nearest)
    return np.where(np.isfinite(poses).all(axis=(1, 2)), turns[nearest], 0)


def turned_pose(T_world_camera: Array, turns: int) -> Array:
    """The pose (4, 4) of the camera whose image is turned."""
    turned = np.asarray(T_world_camera, dtype=np.float64).copy()
    turned[:3, :3] = turned[:3, :3] @ np.linalg.matrix_power(_TURN, turns % 4).T
    return turned


def turned_camera(camera: Intrinsics, turns: int) -> Intrinsics:
    """The camera, without lens distortion, of the turned image."""
    for _ in range(turns % 4):
        camera = replace(
            camera,
            fx=camera.fy,
            fy=camera.fx,
            cx=camera.cy,
            cy=camera.width - 1 - camera.cx,
            width=camera.height,
            height=camera.width,
        )
    return camera


def turned_array(array: NDArray[Any], turns: int) -> NDArray[Any]:
    """A map (H, W, ...) of an image as that of the turned image."""
    return np.ascontiguousarray(np.rot90(array, turns % 4))


def like_shown(array: NDArray[Any], turns: int, size: tuple[int, int]) -> NDArray[Any]:
    """A map (H, W, ...) that belongs to an image of (width, height) which its file stores turned: turned as well, unless it has
    the shape of the shown image and not that of the stored one."""
    is_shown = turns % 2 == 1 and size[0] != size[1] and (array.shape[1] > array.shape[0]) == (size[0] > size[1])
    return array if is_shown else turned_array(array, turns)


def turned_predictions(predictions: Predictions, turns: int) -> Predictions:
    """Predictions of an image as those of the turned image; normals are in the axes of its camera."""
    if turns % 4 == 0:
        return predictions
    fields = {name: turned_array(array, turns) for name, array in vars(predictions).items() if array is not None}
    if "normals" in fields:
        fields["normals"] = fields["normals"] @ np.linalg.matrix_power(_TURN, turns % 4).T.astype(np.float32)
    return replace(predictions, **fields)


def turned_frame(frame: Frame, turns: int) -> Frame:
    """The frame as the turned camera sees it."""
    if turns % 4 == 0:
        return frame
    return replace(
        frame,
        rgb=turned_array(frame.rgb, turns),
        intrinsics=turned_camera(frame.intrinsics, turns),
        T_world_camera=turned_pose(frame.T_world_camera, turns),
        recorded=turned_predictions(frame.recorded, turns),
        mask=None if frame.mask is None else turned_array(frame.mask, turns),
    )


class TurnedSequence(DerivedSequence):
    """A FrameSequence whose frames are turned by quarters: `turns` (N,) by position in the sequence."""

    def __init__(self, sequence: FrameSequence, turns: NDArray[np.int64]) -> None:
        super().__init__(
            sequence,
            (
                replace(
                    info,
                    intrinsics=turned_camera(info.intrinsics, k),
                    T_world_camera=None if info.T_world_camera is None else turned_pose(info.T_world_camera, k),
                )
                for info, k in zip(sequence.infos, turns.tolist(), strict=True)
            ),
        )
        self._turns = turns

    def __getitem__(self, index: int) -> Frame:
        """The turned frame; raises SequenceError as the sequence does."""
        return turned_frame(self._sequence[index], int(self._turns[index]))
