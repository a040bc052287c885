"""One frame into a store, by compiled kernels on a few threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.threads import run_parts, split, thread_count
from mapping.tsdf.config import TSDFConfig
from mapping.tsdf.grid import CELL_VOXELS, SIDE, band_offsets, sample_stride
from mapping.tsdf.kernels import carving
from mapping.tsdf.kernels import fuse as kernels
from mapping.tsdf.kernels import rays as casting
from mapping.tsdf.kernels.measure import Limits, Pixels
from mapping.tsdf.observation import FusionError, Observation
from mapping.tsdf.store import VOXELS, SumStore

NO_VALUES, NO_COLORS, NO_LABELS = np.zeros(0, np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8)
FEWEST_BLOCKS_A_THREAD, FEWEST_RAYS_A_THREAD = 2 * kernels.GROUP, 1 << 13
MOST_CELLS = 1 << 30
"""Of a grid on which rays mark blocks: a byte each."""
RECORDS_A_BLOCK = 128
"""Records that a new block is likely to need; where it needs more, room is made in between."""


class Fuser:
    """Adds frames to a store or takes them out; keeps the grids on which rays mark blocks from frame to frame."""

    def __init__(self, config: TSDFConfig, store: SumStore) -> None:
        self._config, self._store = config, store
        self._threads = thread_count(config.threads)
        size = SIDE * config.voxel_size
        self._band, self._free = Marks(size), Marks(CELL_VOXELS * size)
        self._samples = np.zeros((0, 0), np.float32)
        self._offsets = band_offsets(config)
        meters = (
            config.truncation_distance,
            config.behind_distance,
            config.surface_distance,
            config.min_depth,
            config.max_depth,
            config.behind_per_meter,
        )
        self._limits = Limits(np.float64(config.voxel_size), *(np.float32(m) for m in meters))

    def fuse(self, observation: Observation, sign: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Add (sign 1) or subtract (-1) what the frame says: find the blocks that it tells of, make rows for them, sum.

        Returns the rows of measured and of free-space blocks that it changed.
        """
        pixels, store = flatten(observation), self._store
        self._mark(pixels)
        coords, free_coords = self._band.take(), self._free.take() if self._config.carve else np.zeros((0, 3), np.int32)
        known = store.blocks.count
        rows, free_rows = store.insert(coords), store.insert_free(free_coords)
        if observation.rgb is not None or observation.labels is not None:
            self._make_room(store.blocks.count - known)
        self._sum(pixels, (coords, rows), (free_coords, free_rows), sign)
        store.used(rows, free_rows)
        return rows, free_rows

    def _mark(self, pixels: Pixels) -> None:
        """Cast rays: mark the blocks to measure and, when carving, those of free space."""
        config, shape, camera, T = self._config, pixels.shape, pixels.camera, pixels.T_camera_world
        stride = sample_stride(config, float(camera[0]), shape)
        size = (len(range(stride // 2, shape[0], stride)), len(range(stride // 2, shape[1], stride)))
        if self._samples.shape != size:
            self._samples = np.zeros(size, np.float32)
        rays = casting.Rays(self._samples, stride, camera, T)
        deepest = casting.sample_depth(pixels.depth, shape, stride, config.min_depth, rays)
        depth = min(deepest, config.max_depth) + max(config.truncation_distance, config.farthest_behind)
        grid = self._band.clear(rays, shape, depth)
        behind = (config.behind_distance, config.behind_per_meter)
        spans = split(size[0], self._threads if self._samples.size > FEWEST_RAYS_A_THREAD else 1)

        def mark(part: int) -> None:
            casting.mark_band(rays, spans[part], grid, self._band.size, config.max_depth, self._offsets, behind)

        run_parts(mark, len(spans))
        if config.carve:
            grid = self._free.clear(rays, shape, depth)
            casting.mark_free(rays, grid, self._free.size, config.max_depth, config.truncation_distance)

    def _sum(self, pixels: Pixels, blocks: Any, free_blocks: Any, sign: int) -> None:
        """Add to or subtract from the (coords, rows) of measured and free-space blocks, each thread to a part of them."""
        store, limits, count, free_count = self._store, self._limits, len(blocks[0]), len(free_blocks[0])
        threads = max(1, min(self._threads, (count + free_count) // FEWEST_BLOCKS_A_THREAD))
        free_spans = split(free_count, threads)
        surface, geometry, counter = store.surface.for_kernels(), _without_images(pixels), np.zeros(1, np.int64)

        def fuse_from(first: int, part: int) -> int:
            groups, stores = (first, counter), (store.surface.rooms[part], store.surface.spares[part])
            return kernels.fuse_blocks(store.tsdf, surface, blocks, groups, pixels, limits, sign, stores)

        def work(part: int) -> int:
            if free_count:
                carving.fuse_free(store.free, free_blocks, free_spans[part], geometry, limits, sign, self._band.grid)
            return fuse_from(-1, part)

        for part, done in enumerate(run_parts(work, threads)):
            while done * kernels.GROUP < count:  # it ran out of room for records
                self._make_room(0)
                surface = store.surface.for_kernels()
                done = fuse_from(done, part)

    def _make_room(self, new_blocks: int) -> None:
        """Make room for the records of so many new blocks, and for a few of known ones, in every thread's share."""
        enough = 2 * kernels.GROUP * VOXELS
        for thread in range(self._threads):
            self._store.surface.reserve(thread, RECORDS_A_BLOCK * new_blocks // self._threads + enough, enough)


class Marks:
    """A grid of cells of edge `size` metres that rays mark, kept from frame to frame."""

    def __init__(self, size: float) -> None:
        self.size = size
        self._low, self._extent = np.zeros(3, np.int64), np.zeros(3, np.int64)
        self._words = np.zeros(1, np.uint64)
        self._coords = np.zeros((1, 3), np.int32)

    @property
    def grid(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """First cell (3,), extent (3,) and marks, one more than there are cells."""
        return self._low, self._extent, self._words.view(np.uint8)

    def clear(
        self, rays: casting.Rays, shape: tuple[int, int], depth: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
        """An empty grid over the view of a camera up to `depth`."""
        cells = casting.view_bounds(rays, shape, depth, self.size, self._low, self._extent)
        if cells > MOST_CELLS:
            raise FusionError(
                f"a view of {depth:.1f} m takes {cells} blocks of {self.size:g} m, more than {MOST_CELLS}: "
                "use larger voxels or a smaller max_depth"
            )
        words = cells // 8 + 1
        if len(self._words) < words:
            self._words = np.zeros(2 * words, np.uint64)
        self._words[:words] = 0
        return self.grid

    def take(self) -> NDArray[np.int32]:
        """The marked cells (B, 3), in order; valid until the next call."""
        found = casting.take_marked(*self.grid, self._words, self._coords)
        if found > len(self._coords):
            self._coords = np.zeros((2 * found, 3), np.int32)
            casting.take_marked(*self.grid, self._words, self._coords)
        return self._coords[:found]


def flatten(observation: Observation) -> Pixels:
    """The frame as compiled code takes it, all images read-only so that one compiled version fits all callers."""

    def flat(image: NDArray[Any] | None, missing: NDArray[Any]) -> NDArray[Any]:
        view = (missing if image is None else image).reshape(-1, *missing.shape[1:])
        view.setflags(write=False)
        return view

    height, width = observation.depth.shape
    return Pixels(
        depth=flat(observation.depth, NO_VALUES),
        weight=flat(observation.weight, NO_VALUES),
        rgb=flat(observation.rgb, NO_COLORS),
        labels=flat(observation.labels, NO_LABELS),
        shape=(height, width),
        camera=observation.camera,
        T_camera_world=observation.T_camera_world,
    )


def _without_images(pixels: Pixels) -> Pixels:
    """Only what geometry needs, so that kernels for it are compiled once for all kinds of labels."""
    return pixels._replace(rgb=NO_COLORS, labels=NO_LABELS)
