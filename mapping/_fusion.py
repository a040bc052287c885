"""One frame into a store, by compiled kernels on a few threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping import _rays_numba as rays
from mapping import _tsdf_numba as kernels
from mapping._observation import Observation
from mapping._store import VOXELS, SumStore
from mapping._threads import run_parts, split, thread_count
from mapping._tsdf_numpy import CELL_VOXELS, SIDE, band_offsets, sample_stride
from mapping.config import TSDFConfig

NO_VALUES, NO_COLORS, NO_LABELS = np.zeros(0, np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8)
FEWEST_BLOCKS_A_THREAD = 64
FEWEST_RAYS_A_THREAD = 4000
CHANNELS_A_BLOCK = 2


class Fuser:
    """Adds frames to a store or takes them out; keeps the grids on which rays mark blocks from frame to frame."""

    def __init__(self, config: TSDFConfig, store: SumStore) -> None:
        self._config, self._store = config, store
        self._threads = thread_count(config.threads)
        self._words = {SIDE: np.zeros(0, np.uint64), SIDE * CELL_VOXELS: np.zeros(0, np.uint64)}
        self._room: dict[int, int] = {}
        self._offsets = band_offsets(config)
        meters = (
            config.truncation_distance,
            config.behind_distance,
            config.surface_distance,
            config.min_depth,
            config.max_depth,
        )
        self._limits = kernels.Limits(np.float64(config.voxel_size), *(np.float32(m) for m in meters))

    def fuse(self, observation: Observation, sign: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Add (sign 1) or subtract (-1) what the frame says: find the blocks that it tells of, make rows for them, sum.

        Returns the rows of measured and of free-space blocks that it changed.
        """
        pixels = flatten(observation)
        band, free = self._mark(pixels)
        coords, free_coords = self._marked(band, SIDE), self._marked(free, SIDE * CELL_VOXELS)
        rows = self._store.insert(coords, color=observation.rgb is not None)
        free_rows = self._store.insert_free(free_coords)
        self._sum(pixels, (coords, rows), (free_coords, free_rows), band, sign)
        self._store.used(rows, free_rows)
        return rows, free_rows

    def _mark(self, pixels: kernels.Pixels) -> tuple[rays.Grid, rays.Grid]:
        """Cast rays: the grid of blocks to measure and that of free-space blocks, which has no cells unless carving."""
        config, geometry = self._config, _without_images(pixels)
        stride = sample_stride(config, float(pixels.camera[0]), pixels.shape)
        observed = pixels.depth.reshape(pixels.shape)[stride // 2 :: stride, stride // 2 :: stride]
        deepest = float(observed.max(initial=0))
        depth = (deepest if deepest <= config.max_depth else config.max_depth) + config.truncation_distance
        band, free = (
            self._grid(pixels, SIDE, depth),
            self._grid(pixels, SIDE * CELL_VOXELS, depth if config.carve else 0),
        )
        rows, free_rows = (len(range(s // 2, pixels.shape[0], s)) for s in (stride, 2 * stride))
        threads = self._threads if rows * pixels.shape[1] > FEWEST_RAYS_A_THREAD * stride else 1
        spans, free_spans, size = split(rows, threads), split(free_rows, threads), config.voxel_size * SIDE
        pixel_spans = split(len(pixels.depth), threads)

        def mark(part: int) -> None:
            fetch(pixels, pixel_spans[part])
            rays.mark_band(band, geometry, self._limits, size, stride, spans[part], self._offsets)
            if config.carve:
                rays.mark_free(free, geometry, self._limits, size * CELL_VOXELS, 2 * stride, free_spans[part])

        run_parts(mark, threads)
        return band, free

    def _grid(self, pixels: kernels.Pixels, voxels: int, depth: float) -> rays.Grid:
        """An empty grid of cells of `voxels` voxels over the view up to `depth`; without cells if that is 0."""
        if depth == 0:
            return rays.Grid(np.zeros(3, np.int64), np.zeros(3, np.int64), self._words[voxels].view(np.uint8))
        low, high = view_bounds(pixels, depth, voxels * self._config.voxel_size)
        shape = high - low
        words = (int(shape.prod()) + 7) // 8
        if len(self._words[voxels]) < words:
            self._words[voxels] = np.zeros(2 * words, np.uint64)
        self._words[voxels][:words] = 0
        return rays.Grid(low, shape, self._words[voxels].view(np.uint8))

    def _marked(self, grid: rays.Grid, voxels: int) -> NDArray[np.int32]:
        """The marked cells (B, 3) in order."""
        room = self._room.get(voxels, 0)
        coords = np.zeros((room, 3), np.int32)
        found = rays.take_marked(grid, self._words[voxels], coords)
        if found > room:
            self._room[voxels] = 2 * found
            coords = np.zeros((found, 3), np.int32)
            rays.take_marked(grid, self._words[voxels], coords)
        return coords[:found]

    def _sum(self, pixels: kernels.Pixels, blocks: Any, free_blocks: Any, band: rays.Grid, sign: int) -> None:
        """Add to or subtract from the (coords, rows) of measured and free-space blocks, each thread to a part of them."""
        store, limits, geometry = self._store, self._limits, _without_images(pixels)
        count, free_count = len(blocks[0]), len(free_blocks[0])
        threads = max(1, min(self._threads, (count + free_count) // FEWEST_BLOCKS_A_THREAD))
        free_spans = split(free_count, threads)
        if len(pixels.labels):
            for part in range(threads):
                store.reserve_channels(part, CHANNELS_A_BLOCK * count // threads + VOXELS)
        sums = store.for_kernels()

        def work(part: int) -> int:
            if free_count:
                kernels.fuse_free(store.free, free_blocks, free_spans[part], geometry, limits, sign, band)
            return kernels.fuse_blocks(sums, blocks, (0, part, threads), pixels, limits, sign, store.arenas[part])

        for part, done in enumerate(run_parts(work, threads)):
            while done < count:  # it ran out of label channels
                store.reserve_channels(part, 2 * VOXELS)
                sums, share = store.for_kernels(), (done, part, threads)
                done = kernels.fuse_blocks(sums, blocks, share, pixels, limits, sign, store.arenas[part])


def flatten(observation: Observation) -> kernels.Pixels:
    """The frame as compiled code takes it, all images read-only so that one compiled version fits all callers."""

    def flat(image: NDArray[Any] | None, missing: NDArray[Any]) -> NDArray[Any]:
        view = (missing if image is None else image).reshape(-1, *missing.shape[1:])
        view.setflags(write=False)
        return view

    height, width = observation.depth.shape
    return kernels.Pixels(
        depth=flat(observation.depth, NO_VALUES),
        weight=flat(observation.weight, NO_VALUES),
        rgb=flat(observation.rgb, NO_COLORS),
        labels=flat(observation.labels, NO_LABELS),
        shape=(height, width),
        camera=observation.camera,
        T_camera_world=observation.T_camera_world,
    )


def _without_images(pixels: kernels.Pixels) -> kernels.Pixels:
    """Only what geometry needs, so that kernels for it are compiled once for all kinds of labels."""
    return pixels._replace(rgb=NO_COLORS, labels=NO_LABELS)


def fetch(pixels: kernels.Pixels, span: tuple[int, int]) -> None:
    """Read images in one go: later they are read here and there, which takes twice the time if they are not in a cache."""
    for image in (pixels.depth, pixels.rgb, pixels.labels):
        image[slice(*span)].max(initial=0)


def view_bounds(pixels: kernels.Pixels, depth: float, size: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last but one cell (3,) of edge `size` around all that the camera sees up to `depth`, with a cell to spare."""
    height, width = pixels.shape
    fx, fy, cx, cy = pixels.camera.tolist()
    x, y = ((-0.5 - cx) / fx, (width - 0.5 - cx) / fx), ((-0.5 - cy) / fy, (height - 0.5 - cy) / fy)
    corners = depth * np.array([(x[0], y[0], 1), (x[0], y[1], 1), (x[1], y[0], 1), (x[1], y[1], 1), (0, 0, 0)])
    T = pixels.T_camera_world
    world = (corners - T[:3, 3]) @ T[:3, :3] / size
    return np.floor(world.min(axis=0)).astype(np.int64) - 1, np.floor(world.max(axis=0)).astype(np.int64) + 2
