"""A mesh with the images that it was made of on its surface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from mapping.mesh.raycast import MeshCaster
from mapping.texture.charts import PAGE, SHARE_OF_PAGE, Chart, Spot2D, charts_of, edge_neighbours, packed, patch
from mapping.texture.choice import agreeing, chosen_views, exposures
from mapping.texture.seams import seam_corrections
from mapping.texture.views import TextureView, sightings

MOST_PAGES = 4
SHRINK = 0.9


@dataclass(frozen=True, eq=False)
class AtlasPage:
    """Faces (F, 3) of vertices (V, 3) with texture coordinates (V, 2) in pixels of an image (H, W, 3), whose pixel centres are
    at integers."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    pixels: NDArray[np.float64]
    image: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class TexturedMap:
    """The pages of a textured mesh, and the faces that no view shows as a mesh with vertex colours."""

    pages: tuple[AtlasPage, ...]
    rest: Mesh


def textured(
    mesh: Mesh, views: Sequence[TextureView], *, progress: Callable[[int, int], None] = lambda done, total: None
) -> TexturedMap:
    """The mesh with each face shown by the best of some views; `progress` is called with (done, total) views."""
    caster = MeshCaster(mesh)
    seen = []
    for view in views:
        seen.append(sightings(caster, view))
        progress(len(seen), len(views))
    if not sum(len(s.faces) for s in seen):
        return TexturedMap((), mesh)
    gains = exposures(mesh, seen)
    neighbours = edge_neighbours(mesh)
    chosen = chosen_views(mesh, seen, agreeing(mesh, seen, gains, neighbours), neighbours)
    corrections = seam_corrections(mesh, views, gains, chosen)
    charts = charts_of(mesh, views, chosen, neighbours)
    scale, (spots, sizes) = _fitted(charts)
    images = [np.zeros((height, width, 3), np.uint8) for width, height in sizes]
    uv = np.zeros((len(mesh.faces), 3, 2))
    page_of = np.full(len(mesh.faces), -1)
    for chart, spot in zip(charts, spots, strict=True):
        view = views[chart.view]
        pixels = view.pixels(mesh.vertices[mesh.faces[chart.faces]].reshape(-1, 3)).reshape(-1, 3, 2)
        width, height = _size(chart, scale)
        cut = patch(chart, view, gains[chart.view], pixels, corrections[chart.faces], (width, height))
        images[spot.page][spot.top : spot.top + height, spot.left : spot.left + width] = cut
        factor = np.array([width, height]) / chart.rectangle[2:]
        uv[chart.faces] = (pixels - chart.rectangle[:2] + 0.5) * factor - 0.5 + [spot.left, spot.top]
        page_of[chart.faces] = spot.page
    pages = tuple(_page(mesh, np.flatnonzero(page_of == number), uv, image) for number, image in enumerate(images))
    return TexturedMap(pages, mesh.submesh(page_of < 0))


def _size(chart: Chart, scale: float) -> tuple[int, int]:
    _, _, width, height = chart.rectangle
    return max(1, round(width * scale)), max(1, round(height * scale))


def _fitted(charts: Sequence[Chart]) -> tuple[float, tuple[list[Spot2D], list[tuple[int, int]]]]:
    """The scale of the charts, at most 1, at which they fit onto `MOST_PAGES` pages, and their places there."""
    longest = max(max(chart.rectangle[2:]) for chart in charts)
    area = sum(chart.rectangle[2] * chart.rectangle[3] for chart in charts)
    scale = min(1.0, PAGE / longest)
    while True:
        side = min(PAGE, max(longest, int(scale * (area / SHARE_OF_PAGE) ** 0.5)))
        result = packed([_size(chart, scale) for chart in charts], side)
        if len(result[1]) <= MOST_PAGES:
            return scale, result
        scale *= SHRINK


def _page(mesh: Mesh, faces: NDArray[np.int64], uv: NDArray[np.float64], image: NDArray[np.uint8]) -> AtlasPage:
    """One page with its faces; corners at the same vertex and the same place of the page are one."""
    corners = uv[faces].reshape(-1, 2)
    keys = np.column_stack([mesh.faces[faces].ravel().astype(np.int64), np.rint(corners * 16).astype(np.int64)])
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return AtlasPage(mesh.vertices[keys[first, 0]], index.reshape(-1, 3).astype(np.int32), corners[first], image)
