"""Marching cubes over sparse blocks (Lorensen and Cline 1987) with faces that always agree.

The surface is made in pieces, one a block: the cells of the block that it passes, and the vertices on the edges that start in it.
Cells depend on the block and the seven after it, whether an edge has a vertex on the cells of the block and the seven before it.
So a surface can be made anew where the field has changed, and the faces are those of all pieces together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.threads import run_parts, split
from mapping.tsdf.blocks import BlockMap
from mapping.tsdf.marching_cubes_table import CORNERS, cut_edges, grid_edges

SIDE = 8
LEAST_WEIGHT = 1e-9
"""What was seen at all weighs more."""
VERTEX_MARGIN = 1e-3
"""A vertex stays this share of the edge away from its ends."""


@dataclass(frozen=True, eq=False)
class Isosurface:
    """The zero level of a field as triangles.

    vertices (V, 3) float64 in voxels; faces (F, 3) int32, counter-clockwise seen from positive distance; ends (V, 2) int64 the
    voxels `512 * row + voxel` between which a vertex lies; fraction (V,) float64 of the way from the first to the second.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int32]
    ends: NDArray[np.int64]
    fraction: NDArray[np.float64]


class Grid(NamedTuple):
    """Blocks by row: coords (R, 3) int32; after and before (R, 8) int32 the rows of the blocks at offset c and -c, bits x y z of
    c, where -1 stands for none.
    """

    coords: NDArray[np.int32]
    after: NDArray[np.int32]
    before: NDArray[np.int32]

    @staticmethod
    def of(blocks: BlockMap, known: Grid | None = None) -> Grid:
        """All blocks of a map; `known` is the grid of those that it had earlier, which makes this faster."""
        start = len(known.coords) if known else 0
        after, before = np.full((2, blocks.count, len(CORNERS)), -1, np.int32)
        if known:
            after[:start], before[:start] = known.after, known.before
        new = blocks.coords[start:]
        for c, offset in enumerate(CORNERS):
            _link(after[:, c], before[:, c], start, blocks.find(new + offset))
            if start:  # else these have been found from the other end
                _link(before[:, c], after[:, c], start, blocks.find(new - offset))
        return Grid(blocks.coords, after, before)


class Field(NamedTuple):
    """distance and weight (N, 512) float32 of some blocks, and slot (R,) int32: by row where in them it is, -1 where it isn't."""

    distance: NDArray[np.float32]
    weight: NDArray[np.float32]
    slot: NDArray[np.int32]


class Pieces(NamedTuple):
    """Items by block, those of one block together: by row the number of its first item and how many there are, both (R,)
    int64, and columns that have one value for each item.
    """

    first: NDArray[np.int64]
    length: NDArray[np.int64]
    columns: tuple[NDArray[Any], ...]


class Vertices(NamedTuple):
    """Vertices in the order of their blocks. edge (V,) uint16 is four times the voxel at which it starts plus its axis; places
    (V, 3) float64 in voxels; weight (V,) float64; ends and fraction as in `Isosurface`.
    """

    edge: NDArray[np.uint16]
    places: NDArray[np.float64]
    weight: NDArray[np.float64]
    ends: NDArray[np.int64]
    fraction: NDArray[np.float64]


def isosurface(
    coords: NDArray[np.int32],
    distance: NDArray[np.float32],
    weight: NDArray[np.float32],
    min_weight: float,
    *,
    threads: int = 1,
) -> Isosurface:
    """The surface between blocks' voxels that were all seen with at least `min_weight`.

    coords (B, 3) block coordinates, each once; distance and weight (B, 8, 8, 8). A vertex belongs to an edge between two voxels
    and is shared by all cells around it, across block borders too.
    """
    count = len(coords)
    distance, weight = (np.ascontiguousarray(a, np.float32).reshape(count, SIDE**3) for a in (distance, weight))
    blocks = BlockMap()
    rows = blocks.insert(np.ascontiguousarray(coords))
    grid, field = Grid.of(blocks), Field(distance, weight, rows)
    cells = find_cells(grid, field, rows, min_weight, threads=threads)
    vertices = find_vertices(grid, field, cells, rows, threads=threads)
    faces = make_faces(grid, cells, vertices, rows, threads=threads)
    _, places, _, ends, fraction = vertices.columns
    return Isosurface(places, faces, ends, fraction)


def find_cells(grid: Grid, field: Field, rows: NDArray[np.int32], min_weight: float, *, threads: int = 1) -> Pieces:
    """The cells of the blocks `rows` (N,) that the surface passes: voxel uint16 and case uint8.

    The field has to be known in these blocks and those after them.
    """
    from mapping.tsdf.kernels import marching_cubes as kernels

    cases, count = np.zeros((len(rows), SIDE**3), np.uint8), np.zeros(len(rows), np.int64)
    least, spans = np.float32(max(min_weight, LEAST_WEIGHT)), split(len(rows), threads)
    run_parts(
        lambda part: kernels.find_cases(tuple(field), grid.after, rows, least, spans[part], cases, count), threads
    )
    first, total = _first(count)
    voxel, case = np.zeros(total, np.uint16), np.zeros(total, np.uint8)
    run_parts(lambda part: kernels.pack_cells(cases, first, spans[part], voxel, case), threads)
    return _by_row(len(grid.coords), rows, first, count, (voxel, case))


def find_vertices(grid: Grid, field: Field, cells: Pieces, rows: NDArray[np.int32], *, threads: int = 1) -> Pieces:
    """The vertices on edges that start in the blocks `rows` (N,), with the columns of `Vertices`.

    The field has to be known in these blocks and those after them, the cells in these blocks and those before them.
    """
    from mapping.tsdf.kernels import marching_cubes as kernels

    used, count = np.zeros((len(rows), SIDE**3), np.uint8), np.zeros(len(rows), np.int64)
    spans, cut, lists = split(len(rows), threads), cut_edges(), (cells.first, cells.length, *cells.columns)
    run_parts(lambda part: kernels.find_edges(lists, grid.before, rows, cut, spans[part], used, count), threads)
    first, total = _first(count)
    edge, places, weight = np.zeros(total, np.uint16), np.zeros((total, 3)), np.zeros(total)
    ends, fraction = np.zeros((total, 2), np.int64), np.zeros(total)
    blocks, columns = (grid.coords, grid.after, rows), (edge, ends, places, fraction, weight)

    def place(part: int) -> None:
        kernels.place_vertices(tuple(field), blocks, used, first, VERTEX_MARGIN, spans[part], *columns)

    run_parts(place, threads)
    return _by_row(len(grid.coords), rows, first, count, Vertices(edge, places, weight, ends, fraction))


def make_faces(
    grid: Grid, cells: Pieces, vertices: Pieces, rows: NDArray[np.int32], *, threads: int = 1
) -> NDArray[np.int32]:
    """The triangles (F, 3) int32 of all cells, which are those of the blocks `rows` (B,) in this order, as are the vertices.

    The first column of `vertices` is that of `Vertices`.
    """
    from mapping.tsdf.kernels import marching_cubes as kernels

    table = grid_edges()
    first_face, total = _first(table[0][cells.columns[1]].astype(np.int64))
    faces, spans = np.zeros((total, 3), np.int32), split(len(rows), threads)
    cell_lists, vertex_lists = (cells.first, cells.length, *cells.columns), (*vertices[:2], vertices.columns[0])

    def make(part: int) -> None:
        kernels.make_faces(cell_lists, vertex_lists, (grid.after, rows), table, first_face, spans[part], faces)

    run_parts(make, threads)
    return faces


def spliced(old: Pieces, new: Pieces, rows: NDArray[np.int32], order: NDArray[np.int32]) -> Pieces:
    """The pieces of the blocks in `order` (B,): new ones for `rows`, which are in this order as well, old ones for the others."""
    if len(rows) == len(order):
        return new
    fresh = np.zeros(len(new.length), bool)
    fresh[rows] = True
    count = np.where(fresh, new.length, with_zeros(old.length, len(fresh)))[order]
    first = np.where(fresh, new.first, with_zeros(old.first, len(fresh)))[order]
    some = np.flatnonzero(count)
    start, stop, fresh = first[some], (first + count)[some], fresh[order[some]]
    joined = (start[1:] == stop[:-1]) & (fresh[1:] == fresh[:-1])  # neighbours that can be copied at once
    heads = np.flatnonzero(~np.append(False, joined)[: len(some)])
    tails = np.append(heads[1:], len(some))[: len(heads)] - 1
    runs = list(zip(fresh[heads].tolist(), start[heads].tolist(), stop[tails].tolist(), strict=True))
    columns = tuple(
        np.concatenate([was[:0], *((now if is_new else was)[begin:end] for is_new, begin, end in runs)])
        for was, now in zip(old.columns, new.columns, strict=True)
    )
    return _by_row(len(new.length), order, _first(count)[0], count, columns)


def with_zeros(array: NDArray[Any], length: int) -> NDArray[Any]:
    """An array (N,) with zeros behind it."""
    longer = np.zeros(length, array.dtype)
    longer[: len(array)] = array
    return longer


def _link(there: NDArray[np.int32], back: NDArray[np.int32], start: int, rows: NDArray[np.int32]) -> None:
    """Note that from blocks `start` on one comes to `rows` (N,), -1 for none, and from these back to them."""
    there[start:] = rows
    known = np.flatnonzero(rows >= 0)
    back[rows[known]] = start + known


def _first(count: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Where each of several stretches begins that follow one another, and where the last one ends."""
    end = np.cumsum(count)
    return end - count, int(end[-1]) if len(end) else 0


def _by_row(
    blocks: int,
    rows: NDArray[np.int32],
    first: NDArray[np.int64],
    count: NDArray[np.int64],
    columns: tuple[NDArray[Any], ...],
) -> Pieces:
    """Pieces of which the n-th block in the list is `rows[n]` of so many blocks."""
    first_of, count_of = np.zeros(blocks, np.int64), np.zeros(blocks, np.int64)
    first_of[rows], count_of[rows] = first, count
    return Pieces(first_of, count_of, columns)
