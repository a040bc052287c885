"""The surface of a store as a mesh: made anew where the store has changed, put together with what is known of the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.mesh.mesh import Mesh
from mapping.threads import run_parts, split, thread_count
from mapping.tsdf.config import TSDFConfig
from mapping.tsdf.marching_cubes import (
    Field,
    Grid,
    Pieces,
    Vertices,
    find_cells,
    find_vertices,
    make_faces,
    spliced,
    with_zeros,
)
from mapping.tsdf.store import SumStore

HALF_CONFIDENCE_WEIGHT = 3.0
"""The weight at which a vertex has confidence 1/2."""
NOTHING = np.zeros(0, np.int64)


class Mesher:
    """Makes the mesh of a store; keeps cells and vertices by block from mesh to mesh, with the time for which they are right.

    The columns of vertices are their edge, place in metres, colour, label and confidence; the last four are those of the mesh.
    """

    def __init__(self, config: TSDFConfig, store: SumStore) -> None:
        self._config, self._store = config, store
        self._threads = thread_count(config.threads)
        self._min_weight, self._time = 0.0, -1
        self._measured = np.zeros(0, bool)
        self._grid: Grid | None = None
        self._cells, self._vertices = Pieces(NOTHING, NOTHING, ()), Pieces(NOTHING, NOTHING, ())
        self.recomputed = 0
        """How many blocks were made anew for the last mesh."""

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        links = self._grid[1:] if self._grid else ()  # the coordinates are the store's
        pieces = [array for kept in (self._cells, self._vertices) for array in (*kept[:2], *kept.columns)]
        return sum(array.nbytes for array in (self._measured, *links, *pieces))

    def mesh(self, min_weight: float) -> Mesh:
        """The surface between voxels of at least `min_weight`."""
        if min_weight != self._min_weight:
            self._min_weight, self._time = min_weight, -1
        store, threads, time = self._store, self._threads, self._store.time
        changed = store.changed_since(self._time)
        self._measured = with_zeros(self._measured, len(changed))
        self._measured[changed] = store.is_measured(np.flatnonzero(changed).astype(np.int32))
        grid, order = Grid.of(store.blocks, self._grid), store.blocks.order().astype(np.int32)
        order = order[self._measured[order]]
        cell_rows, vertex_rows = stale(grid, changed, order)
        field = self._read(grid, vertex_rows)
        cells = find_cells(grid, field, cell_rows, min_weight, threads=threads)
        self._cells = spliced(self._cells, cells, cell_rows, order)
        found = find_vertices(grid, field, self._cells, vertex_rows, threads=threads)
        self._vertices = spliced(self._vertices, self._shaded(found), vertex_rows, order)
        faces = make_faces(grid, self._cells, self._vertices, order, threads=threads)
        self._grid, self._time, self.recomputed = grid, time, len(vertex_rows)
        _, vertices, colors, labels, confidence = self._vertices.columns
        return Mesh(vertices, faces, colors=colors, labels=labels, confidence=confidence)

    def _read(self, grid: Grid, vertex_rows: NDArray[np.int32]) -> Field:
        """The field where these blocks depend on it: what was not measured counts as never seen."""
        near = np.zeros(len(grid.coords) + 1, bool)
        near[grid.after[vertex_rows]] = True
        rows = np.flatnonzero(near[:-1] & self._measured)
        slot = np.full(len(grid.coords), -1, np.int32)
        slot[rows] = np.arange(len(rows))
        distance, weight = self._store.read_blocks(grid.coords[rows], self._config.truncation_distance, self._threads)
        return Field(distance, weight, slot)

    def _shaded(self, found: Pieces) -> Pieces:
        """Vertices in metres with colour, label and confidence."""
        from mapping.tsdf.kernels import field as kernels

        edge, places, weight, ends, fraction = Vertices(*found.columns)
        colors, labels = np.zeros((len(ends), 3), np.uint8), np.zeros(len(ends), np.uint16)
        sums, spans = self._store.surface.for_kernels(), split(len(ends), self._threads)
        run_parts(lambda part: kernels.shade_vertices(sums, ends, fraction, spans[part], colors, labels), self._threads)
        places *= self._config.voxel_size
        confidence = (weight / (weight + HALF_CONFIDENCE_WEIGHT)).astype(np.float32)
        return found._replace(columns=(edge, places, colors, labels, confidence))


def stale(
    grid: Grid, changed: NDArray[np.bool_], order: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Those of the blocks in `order` whose cells and those whose vertices may differ where blocks `changed` (R,) have.

    Blocks that are no longer there count too: they are changed, and `grid` still has them.
    """
    cells = np.any(np.append(changed, False)[grid.after], axis=1)
    vertices = np.zeros(len(changed) + 1, bool)
    vertices[grid.after[cells]] = True
    return order[cells[order]], order[vertices[order]]
