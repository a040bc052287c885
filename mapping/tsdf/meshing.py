"""The surface of a store as a mesh with colour, label and confidence."""

from __future__ import annotations

import numpy as np

from mapping.mesh.mesh import Mesh
from mapping.threads import run_parts, split, thread_count
from mapping.tsdf.kernels import field as kernels
from mapping.tsdf.marching_cubes import isosurface
from mapping.tsdf.store import SumStore
from mapping.tsdf.tsdf_config import TSDFConfig

HALF_CONFIDENCE_WEIGHT = 3.0
"""The weight at which a vertex has confidence 1/2."""


def extract_mesh(config: TSDFConfig, store: SumStore, min_weight: float) -> Mesh:
    """The surface between voxels of at least `min_weight`; in blocks that no frame measured there is none."""
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
    return Mesh(vertices, surface.faces, colors=colors, labels=labels, confidence=confidence)
