"""One annotated training image, and reading its files. Plain numpy; nothing here knows a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from m2h.camera import Camera
from mapping.reading.arrays import read_npy
from mapping.reading.pictures import read_image as stored_image

UNKNOWN_EDGE = -1.0
SIGNS: NDArray[np.float32] = np.array(list(product((1, -1), repeat=3)), np.float32)
"""All ways to turn axes round."""


class DatasetError(ValueError):
    """Training data that cannot be read; the message names the file, the field and what was expected."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An image and what is known about it; None for what the data does not have.

    rgb (H, W, 3) uint8; depth (H, W) float32 metres along camera z, 0 unknown; labels (H, W) uint8, 0 unknown; normals
    (H, W, 3) float32 unit in camera axes towards the camera, 0 unknown; edges (H, W) float32 in [0, 1], negative unknown; the
    pose (4, 4) in metres, camera axes x right, y down, z forward; hint (H, W, 2) float32, the depth in metres that was found
    without the network, 0 unknown, and its confidence in [0, 1].

    Raises DatasetError naming the sample and the field whose shape or type is wrong.
    """

    name: str
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32] | None = None
    labels: NDArray[np.uint8] | None = None
    normals: NDArray[np.float32] | None = None
    edges: NDArray[np.float32] | None = None
    camera: Camera | None = field(default=None)
    T_world_camera: NDArray[np.float64] | None = None
    hint: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape = self.rgb.shape[:2]
        wanted: dict[str, tuple[tuple[int, ...], Any]] = {
            "rgb": ((*shape, 3), np.uint8),
            "depth": (shape, np.float32),
            "labels": (shape, np.uint8),
            "normals": ((*shape, 3), np.float32),
            "edges": (shape, np.float32),
            "hint": ((*shape, 2), np.float32),
        }
        for name, (expected, dtype) in wanted.items():
            array = getattr(self, name)
            if array is not None and (array.shape != expected or array.dtype != dtype):
                raise DatasetError(
                    f"{self.name}: {name} must be {np.dtype(dtype)} {expected}, got {array.dtype} {array.shape}"
                )


class Dataset(Protocol):
    """Annotated images in a fixed order, decoded when asked for."""

    name: str
    label_space: str
    classes: int
    """Channels of a semantic head for it, unknown included."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what the system or a decoder says about a file into a DatasetError with its name."""
    try:
        yield
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: file is missing") from error
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{path}: cannot be read: {error}") from error


def read_image(path: Path, flags: int = cv2.IMREAD_UNCHANGED) -> NDArray[Any]:
    """An image file as it is stored (colour as RGB); raises DatasetError naming it."""
    image = stored_image(path, flags, DatasetError)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 and image.shape[2] == 3 else image)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """A colour image (H, W, 3) uint8 RGB; grey is repeated."""
    return np.asarray(read_image(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), dtype=np.uint8)


def read_plane(path: Path) -> NDArray[Any]:
    """A single-channel image or `.npy` array (H, W) as it is stored."""
    if path.suffix == ".npy":
        return read_array(path, 2)
    plane = read_image(path)
    if plane.ndim != 2:
        raise DatasetError(f"{path}: expected one channel, found shape {plane.shape}")
    return plane


def read_array(path: Path, dimensions: int) -> NDArray[Any]:
    """A `.npy` array of so many dimensions; a trailing dimension of 1 is dropped."""
    array = read_npy(path, DatasetError)
    if array.ndim == dimensions + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != dimensions:
        raise DatasetError(f"{path}: expected {dimensions} dimensions, found shape {array.shape}")
    return np.asarray(array)


def read_labels(path: Path, classes: int) -> NDArray[np.uint8]:
    """A label image (H, W) with values below `classes`."""
    labels = read_plane(path)
    if labels.dtype.kind != "u" or (labels.size and int(labels.max()) >= classes):
        raise DatasetError(
            f"{path}: expected labels 0-{classes - 1}, found {labels.dtype} up to {labels.max(initial=0)}"
        )
    return labels.astype(np.uint8)


def unit_vectors(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W, 3) vectors scaled to unit length; those shorter than 0.5 (or not finite) are unknown and become 0."""
    vectors = np.nan_to_num(vectors.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0.5)


def decode_normals(encoded: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 of `(n + 1) * 127.5` to unit vectors, 0 where unknown."""
    return unit_vectors(encoded.astype(np.float32) / np.float32(127.5) - 1)


def clean_depth(depth: NDArray[Any]) -> NDArray[np.float32]:
    """Depth as float32 with 0 for what is not finite or not positive."""
    depth = depth.astype(np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def sign_scores(normals: NDArray[np.float32], depth: NDArray[np.float32], camera: Camera | None) -> NDArray[np.float64]:
    """Mean cosine (8,) between the normals, turned by each of SIGNS, and those of the depth map, over pixels that have both."""
    if camera is None:
        return np.zeros(len(SIGNS))
    height, width = depth.shape
    x = (np.arange(width) - camera.cx)[None] / camera.fx * depth
    y = (np.arange(height) - camera.cy)[:, None] / camera.fy * depth
    points = np.stack([x, y, depth], axis=-1)
    along_u, along_v = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
    of_depth = np.cross(along_v, along_u)
    length = np.linalg.norm(of_depth, axis=-1)
    known = depth > 0
    whole = known[1:-1, 2:] & known[1:-1, :-2] & known[2:, 1:-1] & known[:-2, 1:-1] & (length > 0)
    products = of_depth[whole] / length[whole][:, None] * normals[1:-1, 1:-1][whole]
    return np.asarray(SIGNS @ products.mean(axis=0), dtype=np.float64) if whole.any() else np.zeros(len(SIGNS))


def face_camera(normals: NDArray[np.float32], camera: Camera) -> NDArray[np.float32]:
    """The same normals (H, W, 3), turned round where they point away from the camera along the pixel's ray."""
    height, width = normals.shape[:2]
    x = (np.arange(width, dtype=np.float32) - camera.cx) / camera.fx
    y = (np.arange(height, dtype=np.float32) - camera.cy) / camera.fy
    along = normals[..., 0] * x[None] + normals[..., 1] * y[:, None] + normals[..., 2]
    return np.where(along[..., None] > 0, -normals, normals).astype(np.float32)
