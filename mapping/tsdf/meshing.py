"""The surface of a store as a mesh with colour, label and confidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from mapping.threads import run_parts, split, thread_count
from mapping.tsdf.grid import HALF_CONFIDENCE_WEIGHT
from mapping.tsdf.kernels import field as kernels
from mapping.tsdf.marching_cubes import isosurface
from mapping.tsdf.store import SumStore
from mapping.tsdf.tsdf_config import TSDFConfig

WELL_SEEN = 0.9
"""Quantile of the weights around a vertex that counts as well seen."""
AROUND = 5.0
"""Metres across the cells within which weights are compared."""


def extract_mesh(config: TSDFConfig, store: SumStore, min_weight: float, min_share: float) -> Mesh:
    """The surface between voxels of at least `min_weight`; in blocks that no frame measured there is none. Without the faces at
    vertices whose weight is below `min_share` of that of well seen surface around them."""
    threads = thread_count(config.threads)
    rows = store.blocks.order().astype(np.int32)
    rows = rows[store.is_measured(rows)]
    distance, weight = store.read_blocks(store.blocks.coords[rows], config.truncation_distance, threads)
    surface = isosurface(store.blocks, rows, distance, weight, min_weight, threads=threads)
    ends, fraction = surface.ends, surface.fraction
    colors, labels = np.zeros((len(ends), 3), np.uint8), np.zeros(len(ends), np.uint16)
    sums, spans = store.surface.for_kernels(), split(len(ends), threads)
    run_parts(lambda part: kernels.shade_vertices(sums, ends, fraction, spans[part], colors, labels), threads)
    confidence = (surface.weight / (surface.weight + HALF_CONFIDENCE_WEIGHT)).astype(np.float32)
    vertices = surface.vertices * config.voxel_size
    mesh = Mesh(vertices, surface.faces, colors=colors, labels=labels, confidence=confidence)
    if min_share <= 0 or not len(vertices):
        return mesh
    kept = surface.weight >= min_share * weight_around(vertices, surface.weight)
    return mesh.submesh(kept[surface.faces].all(axis=1))


def weight_around(vertices: NDArray[np.float64], weight: NDArray[np.floating]) -> NDArray[np.float64]:
    """For each vertex (V, 3) the weight of the well seen ones in its cell of space, given the weight (V,) of each."""
    _, cell = np.unique(np.floor(vertices / AROUND).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.ravel()
    order = np.lexsort((weight, cell))
    counts = np.bincount(cell)
    first = np.cumsum(counts) - counts
    chosen = first + np.floor(WELL_SEEN * (counts - 1)).astype(np.int64)
    return np.asarray(weight[order][chosen][cell], dtype=np.float64)
