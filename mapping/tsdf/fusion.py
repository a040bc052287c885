"""Fusion of a frame into a store, by compiled kernels on a few threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping.threads import run_parts, split, thread_count
from mapping.tsdf.grid import CELL_VOXELS, SIDE, band_offsets, sample_stride
from mapping.tsdf.kernels import carving
from mapping.tsdf.kernels import fuse as kernels
from mapping.tsdf.kernels import rays as casting
from mapping.tsdf.kernels.blocks import BlockRows
from mapping.tsdf.kernels.measure import DistanceLimits, Pixels
from mapping.tsdf.limits import CHECKED_BYTES, require
from mapping.tsdf.observation import FusionError, Observation
from mapping.tsdf.store import VOXELS, SumStore
from mapping.tsdf.tsdf_config import TSDFConfig

NO_VALUES, NO_COLORS, NO_LABELS = np.zeros(0, np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8)
MIN_BLOCKS_PER_THREAD, MIN_RAYS_PER_THREAD = 2 * kernels.GROUP, 1 << 13
MAX_CELLS = 1 << 30
"""Of a grid on which rays mark blocks, one byte each."""
RECORDS_PER_BLOCK = 128
"""Records that a new block is likely to need; if blocks need more, fusion is interrupted to allocate them."""


BLOCK_BYTES, FREE_BYTES = 8 * VOXELS + 32 * RECORDS_PER_BLOCK, 4 * VOXELS
"""Of a new block of voxels with the records that it is likely to need, and of one of free space."""


class Fuser:
    """Adds frames to a store or removes them; reuses the grids on which rays mark blocks from frame to frame."""

    def __init__(self, config: TSDFConfig, store: SumStore) -> None:
        self._config, self._store, self._grown = config, store, 0
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
        self._limits = DistanceLimits(np.float64(config.voxel_size), *(np.float32(m) for m in meters))

    def fuse(self, observation: Observation, sign: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Add (sign 1) or subtract (-1) a frame: find the blocks that it observes, make rows for them, and sum.

        Returns the rows of measured and of free-space blocks that were changed.
        """
        pixels, store = flatten(observation), self._store
        self._mark(pixels)
        coords, free_coords = self._band.take(), self._free.take() if self._config.carve else np.zeros((0, 3), np.int32)
        known = store.blocks.count
        self._check_memory(coords, free_coords)
        rows, free_rows = store.insert(coords), store.insert_free(free_coords)
        if observation.rgb is not None or observation.labels is not None:
            self._reserve_records(store.blocks.count - known)
        self._grown += BLOCK_BYTES * (store.blocks.count - known)
        self._sum(pixels, BlockRows(coords, rows), BlockRows(free_coords, free_rows), sign)
        store.used(rows, free_rows)
        return rows, free_rows

    def _check_memory(self, coords: NDArray[np.int32], free_coords: NDArray[np.int32]) -> None:
        """Raise FusionError when the machine has not the memory for the new ones of these blocks.

        Blocks are counted only when all of them, with those that are new since the last time, may need much.
        """
        if self._grown + BLOCK_BYTES * len(coords) + FREE_BYTES * len(free_coords) < CHECKED_BYTES:
            return
        new = int((self._store.blocks.find(coords) < 0).sum())
        free = int((self._store.free_blocks.find(free_coords) < 0).sum())
        size = SIDE * self._config.voxel_size
        require(BLOCK_BYTES * new + FREE_BYTES * free, f"a frame that is seen in {new} new blocks of {size:g} m")
        self._grown = 0

    def _mark(self, pixels: Pixels) -> None:
        """Cast rays: mark the blocks to measure and, when carving, those of free space."""
        config, shape, camera = self._config, pixels.shape, pixels.camera
        stride = sample_stride(config, float(camera[0]), shape)
        size = (len(range(stride // 2, shape[0], stride)), len(range(stride // 2, shape[1], stride)))
        if self._samples.shape != size:
            self._samples = np.zeros(size, np.float32)
        rays = casting.Rays(self._samples, stride, camera, pixels.T_camera_world)
        deepest = casting.sample_depth(pixels.depth, shape, stride, config.min_depth, rays)
        depth = min(deepest, config.max_depth) + max(config.truncation_distance, config.farthest_behind)
        grid = self._band.clear(rays, shape, depth)
        end = casting.BandEnd(config.behind_distance, config.behind_per_meter)
        spans = split(size[0], self._threads if self._samples.size > MIN_RAYS_PER_THREAD else 1)

        def mark(part: int) -> None:
            casting.mark_band(rays, spans[part], grid, self._band.size, config.max_depth, self._offsets, end)

        run_parts(mark, len(spans))
        if config.carve:
            grid = self._free.clear(rays, shape, depth)
            casting.mark_free(rays, grid, self._free.size, config.max_depth, config.truncation_distance)

    def _sum(self, pixels: Pixels, blocks: BlockRows, free_blocks: BlockRows, sign: int) -> None:
        """Add (sign 1) or subtract (-1) the frame to measured and free-space blocks, each thread to a part of them."""
        store, limits = self._store, self._limits
        count, free_count = len(blocks.rows), len(free_blocks.rows)
        threads = max(1, min(self._threads, (count + free_count) // MIN_BLOCKS_PER_THREAD))
        free_spans = split(free_count, threads)
        geometry, counter = _without_images(pixels), np.zeros(1, np.int64)

        def fuse_from(first: int, part: int) -> int:
            sums = kernels.SumArrays(store.tsdf, store.surface.for_kernels())
            share, allocator = kernels.Share(first, counter), store.surface.allocator(part)
            return kernels.fuse_blocks(sums, blocks, share, pixels, limits, sign, allocator)

        def work(part: int) -> int:
            if free_count:
                carving.fuse_free(store.free, free_blocks, free_spans[part], geometry, limits, sign, self._band.grid)
            return fuse_from(-1, part)

        for part, done in enumerate(run_parts(work, threads)):
            while done * kernels.GROUP < count:  # it ran out of records
                self._reserve_records(0)
                done = fuse_from(done, part)

    def _reserve_records(self, new_blocks: int) -> None:
        """Reserve records for a number of new blocks, and a few for known ones, in the arena of every thread."""
        enough = 2 * kernels.GROUP * VOXELS
        for thread in range(self._threads):
            self._store.surface.reserve(thread, RECORDS_PER_BLOCK * new_blocks // self._threads + enough, enough)


class Marks:
    """A grid of cells of edge `size` metres that rays mark, reused from frame to frame."""

    def __init__(self, size: float) -> None:
        self.size = size
        self._low, self._extent = np.zeros(3, np.int64), np.zeros(3, np.int64)
        self._words = np.zeros(1, np.uint64)
        self._coords = np.zeros((1, 3), np.int32)

    @property
    def grid(self) -> casting.MarkGrid:
        """The grid as compiled code takes it; valid until the next call of `clear`."""
        return casting.MarkGrid(self._low, self._extent, self._words.view(np.uint8))

    def clear(self, rays: casting.Rays, shape: tuple[int, int], depth: float) -> casting.MarkGrid:
        """An empty grid over the view of a camera up to `depth`; FusionError when it would be too large."""
        cells = casting.view_bounds(rays, shape, depth, self.size, self._low, self._extent)
        if cells < 0:
            raise FusionError(
                f"the view of a camera reaches beyond {casting.FARTHEST_CELL * self.size:g} m from the origin, where blocks of "
                f"{self.size:g} m have no numbers"
            )
        if cells > MAX_CELLS:
            raise FusionError(
                f"a view of {depth:.1f} m takes {cells} blocks of {self.size:g} m, more than {MAX_CELLS}: "
                "use larger voxels or a smaller max_depth"
            )
        if cells > CHECKED_BYTES // 2:
            require(2 * cells, f"a view of {depth:.1f} m in blocks of {self.size:g} m")
        words = cells // 8 + 1
        if len(self._words) < words:
            self._words = np.zeros(2 * words, np.uint64)
        self._words[:words] = 0
        return self.grid

    def take(self) -> NDArray[np.int32]:
        """The marked cells (B, 3), in order; valid until the next call."""
        found = casting.take_marked(self.grid, self._words, self._coords)
        if found > len(self._coords):
            self._coords = np.zeros((2 * found, 3), np.int32)
            casting.take_marked(self.grid, self._words, self._coords)
        return self._coords[:found]


def flatten(observation: Observation) -> Pixels:
    """The frame as compiled code takes it, all images read-only so that one compiled version serves all callers."""

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
    """Only what geometry needs, so that its kernels are compiled once for all types of labels."""
    return pixels._replace(rgb=NO_COLORS, labels=NO_LABELS)
