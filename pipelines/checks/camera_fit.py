"""Whether another camera than the given one fits a sequence's own images, or its depth: not the focal length alone, but both
focal lengths and the principal point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from mapping.camera import Intrinsics
from pipelines.checks.focal import FocalLength
from pipelines.checks.matches import (
    ComparedPair,
    Kind,
    Lens,
    count_apart,
    errors_shown,
    is_clear_gain,
    with_focal_factor,
)

LEAST_APART = 3
"""Pairs of which no two share a stretch of the path: with fewer, four numbers fit their errors."""
GAIN = 0.3
"""Share by which the error must fall at least, against that with the focal length that fits best."""
GAIN_WITH_WRONG_FOCAL = 0.1
"""The same where that focal length is not the given one: something is off, and only what remains to be told."""
LARGEST_FACTOR = 2.0
"""By which focal lengths may be off; farther off, what fits is not taken for the camera."""
ITERATIONS = 200

Array = NDArray[np.float64]
Camera = tuple[float, float, float, float]
"""Focal lengths along the width and the height and the principal point, in pixels."""


@dataclass(frozen=True)
class CameraFit:
    """The camera that fits clearly better than the given one with any focal length.

    Both are in pixels (of the median frame, where frames have cameras of their own); error_given and error_found are the mean
    errors with each: epipolar ones in pixels, or relative ones of depth.
    """

    given: Camera
    found: Camera
    error_given: float
    error_found: float
    pairs: int
    by: Kind

    def describe(self) -> str:
        """As a sentence for users."""
        return (
            f"the camera is given as {_shown(self.given)}, but {_shown(self.found)} fit the {self.by} "
            f"({errors_shown(self.by, self.error_found, self.error_given)}); another focal length alone does not: "
            "correct the calibration in the files"
        )


@dataclass(frozen=True)
class CameraChange:
    """What another camera is relative to the given one: factors of the focal lengths, and the shift of the principal point as
    shares of the width."""

    factor_x: float
    factor_y: float
    shift_x: float
    shift_y: float

    def __call__(self, camera: Intrinsics) -> Intrinsics:
        """The other camera."""
        return replace(
            camera,
            fx=camera.fx * self.factor_x,
            fy=camera.fy * self.factor_y,
            cx=camera.cx + self.shift_x * camera.width,
            cy=camera.cy + self.shift_y * camera.width,
        )

    def is_likely(self, camera: Intrinsics) -> bool:
        """Whether the other camera may be one: focal lengths of about that size, the principal point in the image."""
        other = self(camera)
        sizes = (self.factor_x, self.factor_y)
        is_inside = 0 < other.cx < camera.width and 0 < other.cy < camera.height
        return is_inside and all(1 / LARGEST_FACTOR < size < LARGEST_FACTOR for size in sizes)


def measure_camera(
    pairs: Sequence[ComparedPair], focal: FocalLength | None
) -> tuple[CameraFit, CameraChange] | tuple[None, None]:
    """The camera at which all pairs, of one kind, have the least error, and what it is relative to the given one.

    `focal` is the focal length that the pairs say, None where any fits, or none. None where no other camera is clearly better
    than that, and where the pairs are too few.
    """
    if count_apart([(pair.a.index, pair.b.index) for pair in pairs]) < LEAST_APART:
        return None, None
    factor = 1.0 if focal is None else focal.found / focal.given
    before = _errors(pairs, lambda camera: with_focal_factor(camera, factor))
    change = _best_change(pairs, factor)
    after = _errors(pairs, change)
    least = GAIN_WITH_WRONG_FOCAL if focal is not None and focal.is_wrong else GAIN
    camera = _median_camera([pair.a.intrinsics for pair in pairs])
    if not (is_clear_gain(before, after, least) and change.is_likely(camera)):
        return None, None
    given = float(np.mean([pair.error() for pair in pairs]))
    fit = CameraFit(_numbers(camera), _numbers(change(camera)), given, float(np.mean(after)), len(pairs), pairs[0].kind)
    return fit, change


def _best_change(pairs: Sequence[ComparedPair], factor: float) -> CameraChange:
    """By the simplex method, from the given camera with focal lengths times a factor."""

    def change(values: Array) -> CameraChange:
        factors = np.exp(np.clip(values[:2], -2, 2))
        return CameraChange(float(factors[0]), float(factors[1]), float(values[2]), float(values[3]))

    start = np.array([np.log(factor), np.log(factor), 0.0, 0.0])
    first = float(np.mean(_errors(pairs, change(start))))
    best = minimize(
        lambda values: float(np.mean(_errors(pairs, change(values)))),
        start,
        method="Nelder-Mead",
        options={
            "maxfev": ITERATIONS,
            "initial_simplex": np.vstack([start, start + 0.02 * np.eye(4)]),
            "xatol": 1e-3,
            "fatol": 1e-3 * first,
        },
    )
    return change(best.x)


def _errors(pairs: Sequence[ComparedPair], lens: Lens) -> list[float]:
    return [pair.error(lens=lens) for pair in pairs]


def _median_camera(cameras: Sequence[Intrinsics]) -> Intrinsics:
    return sorted(cameras, key=lambda camera: camera.fx)[len(cameras) // 2]


def _numbers(camera: Intrinsics) -> Camera:
    return camera.fx, camera.fy, camera.cx, camera.cy


def _shown(numbers: Camera) -> str:
    fx, fy, cx, cy = numbers
    return f"fx {fx:.0f} fy {fy:.0f} cx {cx:.0f} cy {cy:.0f}"
