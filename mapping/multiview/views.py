"""What multi-view depth needs of a frame, and the prior that it may be given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics


class PosedImage(Protocol):
    """What a sweep needs of a frame: rgb (H, W, 3) uint8, its camera without lens distortion, and T_world_camera (4, 4)."""

    @property
    def rgb(self) -> NDArray[np.uint8]: ...

    @property
    def intrinsics(self) -> Intrinsics: ...

    @property
    def T_world_camera(self) -> NDArray[np.float64]: ...


@dataclass(frozen=True, eq=False)
class CalibratedImage:
    """A `PosedImage` of plain data, for callers that have no frames."""

    rgb: NDArray[np.uint8]
    intrinsics: Intrinsics
    T_world_camera: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prior:
    """What a network predicts for a frame, at any size: depth (H, W) float32 metres, 0 unknown, or None; normals (H, W, 3)
    float32 in camera axes, 0 unknown, or None."""

    depth: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None
