"""Images and layers of a camera brought to the pixels of its undistorted image."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from pipelines.frame import SequenceError

ASPECT_TOLERANCE = 0.02
"""Relative difference of aspect ratios up to which an image counts as resampled (ScanNet's differ by 0.4 %)."""


@lru_cache(maxsize=8)
def ray_lengths(camera: Intrinsics) -> NDArray[np.float32]:
    """(H, W): distance along the ray per z, for each pixel."""
    return np.asarray(np.linalg.norm(camera.rays(), axis=-1), dtype=np.float32)


def fitted(intrinsics: Intrinsics, size: tuple[int, int], where: str) -> Intrinsics:
    """The camera at the image's real size; raises SequenceError when the image has another shape than the camera."""
    if size == (intrinsics.width, intrinsics.height):
        return intrinsics
    aspect = size[0] * intrinsics.height / (size[1] * intrinsics.width)
    if abs(aspect - 1) > ASPECT_TOLERANCE:
        raise SequenceError(
            f"{where}: is {size[0]}x{size[1]} pixels, but its camera is {intrinsics.width}x{intrinsics.height}"
        )
    return intrinsics.resized(*size)


def checked(array: NDArray[Any], lens: Intrinsics, path: Path) -> NDArray[Any]:
    """The array; raises SequenceError when it has another shape than the image, which excludes the same view."""
    fitted(lens, (array.shape[1], array.shape[0]), str(path))
    return array


def layer(path: Path, read: Callable[[Path], NDArray[Any]], lens: Intrinsics, *, blend: bool = False) -> NDArray[Any]:
    """A file of the image's view, resampled to the undistorted image's pixels; raises SequenceError for another shape."""
    return like_image(checked(read(path), lens, path), lens, blend=blend)


def like_image(array: NDArray[Any], lens: Intrinsics, *, blend: bool = False) -> NDArray[Any]:
    """An image of the lens's view, of any size, resampled to the undistorted image's pixels; `blend` interpolates, else
    nearest."""
    size = (lens.width, lens.height)
    if not lens.is_distorted:
        if array.shape[1::-1] == size:
            return array
        mode = cv2.INTER_LINEAR if blend else cv2.INTER_NEAREST_EXACT
        return np.asarray(cv2.resize(array, size, interpolation=mode))
    source = lens.resized(array.shape[1], array.shape[0])
    return resampled(array, lens.undistorted(), source, blend=blend)


def resampled(array: NDArray[Any], target: Intrinsics, source: Intrinsics, *, blend: bool = False) -> NDArray[Any]:
    """An image of camera `source` resampled to `target` at the same position; 0 outside of it."""
    mode = cv2.INTER_LINEAR if blend else cv2.INTER_NEAREST
    uv = _sample_map(target, source)
    return np.asarray(cv2.remap(array, uv, None, mode, borderMode=cv2.BORDER_CONSTANT, borderValue=0))


@lru_cache(maxsize=8)
def _sample_map(target: Intrinsics, source: Intrinsics) -> NDArray[np.float32]:
    """(H, W, 2): where `source` has each pixel of `target`. Computed once per camera, since it costs more than a frame."""
    rays = target.rays().reshape(-1, 3)
    return source.project(rays).reshape(target.height, target.width, 2).astype(np.float32)
