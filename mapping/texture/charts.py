"""Charts: connected faces that one view shows, cut out of its image, and their places on the pages of an atlas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mapping.mesh.mesh import Mesh
from mapping.texture.views import TextureView

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

PAGE = 4096
"""Pixels along a side of the largest page of an atlas."""
PADDING = 4
"""Pixels of image around a chart, so that reduced copies of the atlas do not mix charts."""
CORRECTION_BLUR = 4.0
"""Pixels over which corrections of single faces are spread."""
SHARE_OF_PAGE = 0.8
"""Of a page that charts fill when they are packed."""


@dataclass(frozen=True, eq=False)
class Chart:
    """Faces (N,) in one view, and their rectangle (left, top, width, height) in its image."""

    view: int
    faces: Ints
    rectangle: tuple[int, int, int, int]


@dataclass(frozen=True)
class Spot2D:
    """Where a chart lies: its page, and the pixel of its top left corner."""

    page: int
    left: int
    top: int


def edge_neighbours(mesh: Mesh) -> Ints:
    """(E, 2) pairs of faces that share an edge."""
    edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(mesh.faces)), 3)
    keys = edges[:, 0].astype(np.int64) * len(mesh.vertices) + edges[:, 1]
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    return np.column_stack([owner[order][same], owner[order][same + 1]])


def charts_of(mesh: Mesh, views: Sequence[TextureView], chosen: Ints, neighbours: Ints) -> list[Chart]:
    """The charts of faces (F,) with their chosen views, -1 for none; every face with a view is in one."""
    a, b = neighbours[chosen[neighbours[:, 0]] == chosen[neighbours[:, 1]]].T
    graph = coo_matrix((np.ones(len(a)), (a, b)), (len(chosen), len(chosen)))
    _, parts = connected_components(graph, directed=False)
    order = np.argsort(parts, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(parts[order])) + 1)
    charts = []
    for faces in groups:
        number = int(chosen[faces[0]]) if len(faces) else -1
        if number >= 0:
            camera = views[number].camera
            uv = views[number].pixels(mesh.vertices[np.unique(mesh.faces[faces])])
            low = np.maximum(np.floor(uv.min(axis=0)).astype(int) - PADDING, 0)
            high = np.minimum(np.ceil(uv.max(axis=0)).astype(int) + PADDING + 1, [camera.width, camera.height])
            left, top = low.tolist()
            width, height = (high - low).tolist()
            charts.append(Chart(number, faces, (left, top, width, height)))
    return charts


def packed(sizes: Sequence[tuple[int, int]], page: int) -> tuple[list[Spot2D], list[tuple[int, int]]]:
    """Where rectangles (width, height), none larger than a page, lie on pages, row by row, the highest first; and the size of
    each page."""
    order = sorted(range(len(sizes)), key=lambda k: (-sizes[k][1], -sizes[k][0], k))
    spots = [Spot2D(0, 0, 0)] * len(sizes)
    used: list[tuple[int, int]] = [(0, 0)]
    left = top = row = 0
    for k in order:
        width, height = sizes[k]
        if left + width > page:
            left, top, row = 0, top + row, 0
        if top + height > page:
            used.append((0, 0))
            left = top = row = 0
        spots[k] = Spot2D(len(used) - 1, left, top)
        used[-1] = max(used[-1][0], left + width), max(used[-1][1], top + height)
        left, row = left + width, max(row, height)
    return spots, used


def patch(
    chart: Chart, view: TextureView, gain: Array, pixels: Array, corrections: Array, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The image of a chart, resampled to a size (width, height): exposure corrected, with the corrections of its faces added.

    pixels (N, 3, 2) are the corners of its faces in the view's image and corrections (N, 3, 3) what is to be added there.
    """
    left, top, width, height = chart.rectangle
    image = view.rgb[top : top + height, left : left + width].astype(np.float32) * gain.astype(np.float32)
    added, weight = np.zeros_like(image), np.zeros((height, width), np.float32)
    shapes = np.rint((pixels - [left, top]) * 16).astype(np.int32)
    means = corrections.mean(axis=1)
    for shape, mean in zip(shapes, means.tolist(), strict=True):
        cv2.fillConvexPoly(added, shape, mean, shift=4)
        cv2.fillConvexPoly(weight, shape, 1.0, shift=4)
    spread = cv2.GaussianBlur(weight, (0, 0), CORRECTION_BLUR)
    smooth = cv2.GaussianBlur(added * weight[..., None], (0, 0), CORRECTION_BLUR) / np.maximum(spread, 1e-3)[..., None]
    image = np.clip(image + np.where(spread[..., None] > 1e-3, smooth, 0), 0, 255)
    if size != (width, height):
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.rint(image).astype(np.uint8)
