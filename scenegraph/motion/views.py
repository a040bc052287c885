"""The depth of all frames of a sequence, reduced so that it stays in memory, and how exact it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from mapping.camera import Intrinsics
from mapping.se3 import inverse, transform_points

Array = NDArray[np.float64]

WIDTH = 180
"""Greatest width in pixels of reduced depth."""
MOST_BYTES = 256 << 20
"""Of the depth of all frames."""
MOST_COMPARED = 1000
"""Frames that others are compared with, evenly over the sequence."""
LARGEST = 65534
KNOWN_SHARE = 0.5
"""Share of the pixels around one that must be known for a statement on it."""


def reduction(intrinsics: Intrinsics, frames: int) -> int:
    """Every how-manieth pixel of a sequence's images is kept."""
    stride = max(1, -(-intrinsics.width // WIDTH))
    while 2 * frames * (intrinsics.width // stride) * (intrinsics.height // stride) > MOST_BYTES:
        stride += 1
    return stride


@dataclass(frozen=True, eq=False)
class ReducedDepth:
    """Depth of one frame at every `stride`-th pixel in units of `unit` metres: at the pixel, and the least and the greatest
    around it; (H, W) uint16 each, 0 unknown."""

    at: NDArray[np.uint16]
    near: NDArray[np.uint16]
    far: NDArray[np.uint16]

    @staticmethod
    def of(depth: NDArray[np.float32], stride: int, unit: float) -> ReducedDepth:
        """Reduce depth (H, W) in metres, 0 unknown."""
        height, width = (size // stride * stride for size in depth.shape)
        whole = np.clip(np.rint(depth[:height, :width] / unit), 0, LARGEST).astype(np.uint16)
        blocks = whole.reshape(height // stride, stride, width // stride, stride)
        near = np.where(blocks == 0, LARGEST + 1, blocks).min(axis=(1, 3))
        far = blocks.max(axis=(1, 3))
        known = uniform_filter((far > 0).astype(np.float32), 3, mode="nearest") >= KNOWN_SHARE
        around = np.where(known, minimum_filter(near, 3, mode="nearest"), 0)
        start = stride // 2
        return ReducedDepth(
            whole[start::stride, start::stride],
            around.astype(np.uint16),
            maximum_filter(far, 3, mode="nearest"),
        )


@dataclass(frozen=True, eq=False)
class Views:
    """Reduced depth (N, H, W) of the frames at `times` (N,) with their cameras (N, 4) and `T_world_camera` (N, 4, 4).

    `compared` (R,) are the frames that others are compared with, in order of time, `near` and `far` (R, H, W) what these
    show around each pixel. Depth is in units of `unit` metres.
    """

    times: Array
    at: NDArray[np.uint16]
    cameras: NDArray[np.float32]
    T_world_camera: Array
    compared: NDArray[np.int64]
    near: NDArray[np.uint16]
    far: NDArray[np.uint16]
    unit: float
    stride: int

    def points(self, frame: int) -> tuple[NDArray[np.int64], NDArray[np.float32], Array]:
        """The pixels (N,) of known depth, row by row, their depth (N,) in metres and their points (N, 3) in the world."""
        depth = self.at[frame].ravel()
        pixels = np.flatnonzero(depth)
        z = depth[pixels].astype(np.float64) * self.unit
        fx, fy, cx, cy = self.cameras[frame].astype(np.float64).tolist()
        v, u = np.divmod(pixels, self.at.shape[2])
        local = np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], axis=1)
        return pixels, z.astype(np.float32), np.ascontiguousarray(transform_points(self.T_world_camera[frame], local))

    def camera(self, frame: int) -> Intrinsics:
        """The camera of the reduced image of a frame."""
        fx, fy, cx, cy = self.cameras[frame].astype(np.float64).tolist()
        return Intrinsics(fx, fy, cx, cy, self.at.shape[2], self.at.shape[1])


@dataclass(eq=False)
class ViewsBuilder:
    """Collects frames of one size; `expected` is their number, `deepest` the depth in metres beyond which none is stored."""

    intrinsics: Intrinsics
    expected: int
    deepest: float
    frames: list[int] = field(default_factory=list)
    _times: list[float] = field(default_factory=list)
    _cameras: list[list[float]] = field(default_factory=list)
    _poses: list[Array] = field(default_factory=list)
    _at: list[NDArray[np.uint16]] = field(default_factory=list)
    _around: list[tuple[NDArray[np.uint16], NDArray[np.uint16]]] = field(default_factory=list)
    _compared: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stride = reduction(self.intrinsics, self.expected)
        self.unit = self.deepest / LARGEST
        self._step = max(1, -(-self.expected // MOST_COMPARED))

    def add(
        self, frame: int, time: float, depth: NDArray[np.float32], intrinsics: Intrinsics, T_world_camera: Array
    ) -> bool:
        """Add a frame by its number; False, and nothing is done, when its image has another size than the first."""
        if depth.shape != (self.intrinsics.height, self.intrinsics.width):
            return False
        reduced = ReducedDepth.of(depth, self.stride, self.unit)
        if len(self.frames) % self._step == 0:
            self._compared.append(len(self.frames))
            self._around.append((reduced.near, reduced.far))
        start, stride = self.stride // 2, self.stride
        self._cameras.append(
            [
                intrinsics.fx / stride,
                intrinsics.fy / stride,
                (intrinsics.cx - start) / stride,
                (intrinsics.cy - start) / stride,
            ]
        )
        self.frames.append(frame)
        self._times.append(time)
        self._poses.append(np.asarray(T_world_camera, dtype=np.float64))
        self._at.append(reduced.at)
        return True

    def build(self) -> Views:
        """All frames added, in order of time; the builder is used up."""
        order = np.argsort(self._times, kind="stable")
        self.frames = [self.frames[k] for k in order]
        place = np.zeros(len(order), np.int64)
        place[order] = np.arange(len(order))
        compared = place[self._compared]
        by_time = np.argsort(compared, kind="stable")
        at = np.stack([self._at[k] for k in order])
        self._at.clear()
        near, far = (np.stack([self._around[k][side] for k in by_time]) for side in (0, 1))
        self._around.clear()
        cameras, poses = np.array(self._cameras, np.float32)[order], np.stack(self._poses)[order]
        times = np.array(self._times)[order]
        return Views(times, at, cameras, poses, compared[by_time], near, far, self.unit, self.stride)


def inverse_poses(T_world_camera: Array) -> Array:
    """(N, 3, 4) T_camera_world of poses (N, 4, 4)."""
    return np.ascontiguousarray(np.stack([inverse(T) for T in T_world_camera])[:, :3])
