"""Local features of images, their matches, and how far matches are from what two poses allow."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEAST_CONTRAST = 0.01
"""Of SIFT, a quarter of its usual value: walls and furniture have little contrast."""
LARGEST_SIDE = 640
LARGEST_RATIO = 0.8
"""Lowe's ratio (2004) of the distances of the best and the second-best match."""
BLACK_PX, RIM_PX = 5, 12
"""Side of the smallest black area that is outside of the image, and how far its border shows in features."""


class Features(NamedTuple):
    """Positions (N, 2) in pixels, integers at pixel centres, and descriptors (N, 128) float32 of unit length."""

    pixels: Array
    descriptors: NDArray[np.float32]


def find_features(rgb: NDArray[np.uint8], most: int) -> Features:
    """At most `most` SIFT features (Lowe, 2004) of an image, one per position, with RootSIFT descriptors (Arandjelovic and
    Zisserman, 2012).

    They are found in an image of at most `LARGEST_SIDE` pixels: more make them hardly better, and take far longer. None is near
    areas of pure black (`inside_image`).
    """
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    factor = max(1.0, max(gray.shape) / LARGEST_SIDE)
    if factor > 1:
        size = (round(gray.shape[1] / factor), round(gray.shape[0] / factor))
        gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    sift = cv2.SIFT.create(nfeatures=most, contrastThreshold=LEAST_CONTRAST)
    keypoints, found = sift.detectAndCompute(gray, inside_image(gray))
    if found is None or not len(keypoints):
        return Features(np.zeros((0, 2)), np.zeros((0, 128), np.float32))
    pixels = np.array([keypoint.pt for keypoint in keypoints], dtype=np.float64)
    pixels = (pixels + 0.5) * [rgb.shape[1] / gray.shape[1], rgb.shape[0] / gray.shape[0]] - 0.5
    descriptors = np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)
    _, first = np.unique(pixels.round(1), axis=0, return_index=True)
    return Features(pixels[first], descriptors[first])


def inside_image(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) 255, but 0 in and around areas of pure black of an image (H, W): they are masked, or outside of an undistorted
    image. Their border moves with the camera and would match itself."""
    black = cv2.morphologyEx((gray == 0).astype(np.uint8), cv2.MORPH_OPEN, np.ones((BLACK_PX, BLACK_PX), np.uint8))
    rim = np.ones((2 * RIM_PX + 1, 2 * RIM_PX + 1), np.uint8)
    return np.where(cv2.dilate(black, rim) > 0, np.uint8(0), np.uint8(255))


def match_features(a: Features, b: Features, ratio: float = LARGEST_RATIO) -> NDArray[np.int64]:
    """(M, 2) indices of features of a and b that are each other's best match, clearly better than the second best."""
    if min(len(a.pixels), len(b.pixels)) < 2:
        return np.zeros((0, 2), np.int64)
    similarity = a.descriptors @ b.descriptors.T
    forth, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
    best = similarity[np.arange(len(forth)), forth]
    similarity[np.arange(len(forth)), forth] = -1
    second = similarity.max(axis=1)
    squared, others = (np.maximum(2 - 2 * cosines, 1e-6) for cosines in (best, second))  # distances of unit vectors
    clear = squared < ratio**2 * others
    chosen = np.flatnonzero(clear & (back[forth] == np.arange(len(forth))))
    return np.stack([chosen, forth[chosen]], axis=1)


def epipolar_distance(T_b_a: Array, rays_a: Array, rays_b: Array) -> Array:
    """(N,) distances of matched rays (N, 3; z = 1) from a's and b's epipolar lines at z = 1: Sampson's approximation.

    Without motion between the two every match would fit: the distance is then nan.
    """
    R, t = T_b_a[:3, :3], T_b_a[:3, 3]
    length = float(np.linalg.norm(t))
    if length < 1e-12:
        return np.full(len(rays_a), np.nan)
    x, y, z = t / length
    E = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) @ R
    lines_b, lines_a = rays_a @ E.T, rays_b @ E
    gradient = (lines_b[:, :2] ** 2).sum(axis=1) + (lines_a[:, :2] ** 2).sum(axis=1)
    return np.asarray(np.abs(np.einsum("nc,nc->n", rays_b, lines_b)) / np.sqrt(np.maximum(gradient, 1e-18)))
