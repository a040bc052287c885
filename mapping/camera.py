"""Pinhole cameras with OpenCV's lens models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mapping.reading.pictures import MOST_PIXELS

MOST_SIZES, LARGEST_COEFFICIENT = 1000.0, 1e6
"""How many image sizes a focal length or the distance of the principal point may be, and the largest lens coefficient."""
DISTORTION_COUNTS = {"opencv": (0, 4, 5, 8, 12, 14), "fisheye": (4,)}


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera; pixel (0, 0) is the centre of the top-left pixel.

    fx, fy, cx, cy are in pixels of a width x height image. `distortion` are OpenCV's coefficients in OpenCV's order
    (k1 k2 p1 p2 [k3 ...], or k1 k2 k3 k4 of the fisheye model); empty means none, as in all code after the readers. A fisheye
    without coefficients, or with zeros, is the equidistant lens: a pixel's distance from the centre is f times the ray's angle.

    Raises ValueError that names the field for focal lengths, sizes or coefficient counts that are invalid.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    distortion_model: Literal["opencv", "fisheye"] = "opencv"

    def __post_init__(self) -> None:
        for name in ("fx", "fy"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"Intrinsics.{name} must be a positive number of pixels, got {getattr(self, name)}")
        for name in ("cx", "cy"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"Intrinsics.{name} must be finite, got {getattr(self, name)}")
        for name in ("width", "height"):
            value = getattr(self, name)
            if not 1 <= value <= MOST_PIXELS or int(value) != value:
                raise ValueError(
                    f"Intrinsics.{name} must be a whole number of pixels from 1 to {MOST_PIXELS}, got {value}"
                )
        if self.width * self.height > MOST_PIXELS:
            raise ValueError(
                f"Intrinsics: {self.width}x{self.height} pixels are too many, at most {MOST_PIXELS} are taken"
            )
        self._check_lens()
        if self.distortion_model not in DISTORTION_COUNTS:
            raise ValueError(f"Intrinsics.distortion_model must be opencv or fisheye, got {self.distortion_model!r}")
        counts = (0, *DISTORTION_COUNTS[self.distortion_model])
        if len(self.distortion) not in counts:
            raise ValueError(f"Intrinsics.distortion must have {counts} coefficients, got {len(self.distortion)}")

    def is_like(self, other: Intrinsics, tolerance: float = 0.01) -> bool:
        """Whether another camera is the same but for focal lengths and a centre that differ by a small share, as those do that
        phones report of every frame."""
        mine, others = ((c.width, c.height, c.distortion, c.distortion_model) for c in (self, other))
        off = (self.fx / other.fx - 1, self.fy / other.fy - 1, (self.cx - other.cx) / self.width)
        return mine == others and max(map(abs, (*off, (self.cy - other.cy) / self.height))) <= tolerance

    def _check_lens(self) -> None:
        """No lens is as long or as short, or as far from its image, as numbers of files can be; kernels rely on it."""
        size = max(self.width, self.height)
        for name in ("fx", "fy"):
            if not size / MOST_SIZES <= getattr(self, name) <= size * MOST_SIZES:
                raise ValueError(
                    f"Intrinsics.{name} is {getattr(self, name):g} pixels, which is no lens of a {size} pixels wide image"
                )
        for name in ("cx", "cy"):
            if abs(getattr(self, name)) > size * MOST_SIZES:
                raise ValueError(
                    f"Intrinsics.{name} is {getattr(self, name):g} pixels, far from the {size} pixels wide image"
                )
        if not all(abs(coefficient) <= LARGEST_COEFFICIENT for coefficient in self.distortion):
            raise ValueError(
                f"Intrinsics.distortion must be numbers up to {LARGEST_COEFFICIENT:g}, got {self.distortion}"
            )

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The (3, 3) camera matrix K."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    @property
    def is_distorted(self) -> bool:
        """Whether this is a fisheye, or any lens coefficient differs from zero."""
        return self.distortion_model == "fisheye" or any(self.distortion)

    def project(self, points_camera: ArrayLike) -> NDArray[np.float64]:
        """Points (..., 3) in camera axes to pixels (..., 2) as (u, v); not finite behind the camera (z <= 0)."""
        points = np.asarray(points_camera, dtype=np.float64)
        z = points[..., 2:]
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = np.where(z > 0, points[..., :2] / z, np.nan)
        if self.is_distorted and xy.size:
            flat = np.concatenate([np.nan_to_num(xy.reshape(-1, 2)), np.ones((xy.size // 2, 1))], axis=1)
            uv = self._distort(flat).reshape(xy.shape)
            return np.where(np.isfinite(xy), uv, np.nan)
        return xy * [self.fx, self.fy] + [self.cx, self.cy]

    def contains(self, uv: ArrayLike) -> NDArray[np.bool_]:
        """Which pixels (..., 2) lie in the image, up to the outer borders of its pixels; False where not finite."""
        uv = np.asarray(uv, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            return np.asarray(((uv >= -0.5) & (uv <= [self.width - 0.5, self.height - 0.5])).all(axis=-1))

    def rays(self) -> NDArray[np.float64]:
        """Directions (height, width, 3) in camera axes with z = 1 through the pixel centres: points where times depth."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        if self.is_distorted:
            pixels = np.stack([u, v], axis=-1).reshape(-1, 1, 2).astype(np.float64)
            xy = self._undistort(pixels).reshape(self.height, self.width, 2)
        else:
            xy = np.stack([(u - self.cx) / self.fx, (v - self.cy) / self.fy], axis=-1)
        return np.concatenate([xy, np.ones((self.height, self.width, 1))], axis=-1)

    def pixel_rays(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """Directions (N, 3) in camera axes with z = 1 through pixels (N, 2), which need not be whole."""
        uv = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        if self.is_distorted and len(uv):
            xy = self._undistort(uv[:, None]).reshape(-1, 2)
        else:
            xy = (uv - [self.cx, self.cy]) / [self.fx, self.fy]
        return np.concatenate([xy, np.ones((len(xy), 1))], axis=1)

    def resized(self, width: int, height: int) -> Intrinsics:
        """The camera of the same image resampled to width x height: `u' = (u + 0.5) s - 0.5`."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            width=width,
            height=height,
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> Intrinsics:
        """The camera of the window whose top-left pixel is (left, top) of this image."""
        return replace(self, cx=self.cx - left, cy=self.cy - top, width=width, height=height)

    def undistorted(self) -> Intrinsics:
        """The same camera without lens distortion: that of the images which `undistort` returns."""
        return replace(self, distortion=(), distortion_model="opencv")

    @property
    def _coefficients(self) -> NDArray[np.float64]:
        return np.asarray(self.distortion or (0.0,) * 4, dtype=np.float64)

    def _distort(self, rays: NDArray[np.float64]) -> NDArray[np.float64]:
        zero = np.zeros(3)
        coefficients = self._coefficients
        if self.distortion_model == "fisheye":
            uv, _ = cv2.fisheye.projectPoints(rays[:, None], zero, zero, self.matrix, coefficients)
        else:
            uv, _ = cv2.projectPoints(rays[:, None], zero, zero, self.matrix, coefficients)
        return np.asarray(uv)

    def _undistort(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        coefficients = self._coefficients
        if self.distortion_model == "fisheye":
            return np.asarray(cv2.fisheye.undistortPoints(pixels, self.matrix, coefficients))
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
        return np.asarray(cv2.undistortPoints(pixels, self.matrix, coefficients, criteria=criteria))


def undistort(image: NDArray[Any], intrinsics: Intrinsics, *, nearest: bool = False) -> NDArray[Any]:
    """The image (H, W[, 3]) as the camera without lens distortion sees it, same K and size; 0 outside of the given image.

    Use `nearest` for depth, labels and instances, which must not be interpolated.
    """
    if not intrinsics.is_distorted:
        return image
    if image.shape[:2] != (intrinsics.height, intrinsics.width):
        raise ValueError(f"image must have shape {(intrinsics.height, intrinsics.width)}, got {image.shape[:2]}")
    pinhole = intrinsics.undistorted()
    rays = pinhole.rays().reshape(-1, 3)
    uv = intrinsics.project(rays).reshape(intrinsics.height, intrinsics.width, 2).astype(np.float32)
    mode = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.remap(image, uv[..., 0], uv[..., 1], mode, borderMode=cv2.BORDER_CONSTANT, borderValue=0))
