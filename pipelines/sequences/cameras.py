"""Cameras of images from the numbers and matrices that recordings state, checked so that none of them is dropped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError

Array = NDArray[np.float64]
OFF_CENTRE, SAME_FACTOR = 0.15, 0.05
"""A camera is that of larger or smaller images when its principal point lies off their centre by this share of half the size,
in both directions by the same factor to within the second share."""
LARGEST_SKEW = 0.5
"""Pixels by which rows of pixels may be sheared in a camera matrix that is read as one without skew."""
SAME_ELEMENT = 1e-6
"""Difference of an element of a camera matrix from the 0 or 1 that it must be."""

Lens = tuple[tuple[float, ...], Literal["opencv", "fisheye"]]
"""Coefficients and model of a lens, as in `Intrinsics`."""
NO_LENS: Lens = ((), "opencv")
NEGATIVE_FOCAL_LENGTH = (
    "a negative one means that the camera's y axis points up: give it without its sign, and the axes in camera_axes (opengl or "
    "left_handed; icl has its own)"
)


def camera_for_images(
    values: Sequence[float],
    size: tuple[float, float],
    where: str,
    *,
    lens: Lens = NO_LENS,
    states_size: bool = False,
) -> Intrinsics:
    """Intrinsics from (fx, fy, cx, cy) and (width, height); `states_size` says that the file gives the size itself.

    Raises SequenceError that begins with `where` when it is not a valid camera or is that of images of another size: its
    principal point is outside the image or, where no size is stated, off the centre by the same factor in both directions.
    """
    fx, fy, cx, cy = values
    if min(fx, fy) < 0:
        raise SequenceError(
            f"{where}: is not a valid camera: fx and fy must be positive, got {fx:g} and {fy:g}; {NEGATIVE_FOCAL_LENGTH}"
        )
    try:
        width, height = (int(n) if math.isfinite(n) else 0 for n in size)
        camera = Intrinsics(fx, fy, cx, cy, width, height, *lens)
    except ValueError as error:
        raise SequenceError(f"{where}: is not a valid camera: {error}") from error
    if not (0 <= cx <= width - 1 and 0 <= cy <= height - 1):
        raise SequenceError(
            f"{where}: principal point {cx:g}, {cy:g} lies outside of the {width}x{height} image: is it for another size?"
        )
    factors = (2 * cx + 1) / width, (2 * cy + 1) / height
    has_same_factor = abs(factors[0] / factors[1] - 1) < SAME_FACTOR
    if not states_size and has_same_factor and abs(factors[0] - 1) > OFF_CENTRE:
        raise SequenceError(
            f"{where}: principal point {cx:g}, {cy:g} is not near the centre of the {width}x{height} image but of one of "
            f"{factors[0] * width:.0f}x{factors[1] * height:.0f}: it is for another size; give the size it is for"
        )
    return camera


def camera_from_matrix(K: Array, size: tuple[int, int], where: str) -> Intrinsics:
    """Intrinsics from a camera matrix; raises as `check_camera_matrix` and `camera_for_images`."""
    check_camera_matrix(K, where)
    return camera_for_images((float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])), size, where)


def check_camera_matrix(K: Array, where: str) -> None:
    """Raises SequenceError that begins with `where` for a (3, 3) or (4, 4) camera matrix with more than a focal length and a
    principal point: one that is transposed, has a skew, or is a multiple of the usual one."""
    expected = np.eye(len(K))
    expected[:2, :3] = K[:2, :3]
    expected[1, 0] = 0
    if np.abs(K[2, :2]).max() > 1 and not np.any(K[:2, 2]):
        raise SequenceError(
            f"{where}: the camera matrix is transposed: expected cx and cy in its last column, found {_row(K[2])} in its last row"
        )
    for found, wanted in zip(K, expected, strict=True):
        if not np.allclose(found, wanted, rtol=0, atol=SAME_ELEMENT):
            raise SequenceError(
                f"{where}: expected rows fx 0 cx, 0 fy cy and 0 0 1 of a camera matrix, found the row {_row(found)}"
            )
    if not abs(skew := float(K[0, 1])) <= LARGEST_SKEW:
        raise SequenceError(f"{where}: the camera matrix has a skew of {skew:g} pixels, which is not supported")


def _row(numbers: Array) -> str:
    return " ".join(f"{number:g}" for number in numbers)
