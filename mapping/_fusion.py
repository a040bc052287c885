"""One frame into a store, by compiled kernels on a few threads."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapping import _rays_numba as rays
from mapping import _tsdf_numba as kernels
from mapping._observation import Observation
from mapping._store import VOXELS, SumStore
from mapping._threads import run_parts, split, thread_count
from mapping._tsdf_numpy import CELL_VOXELS, SIDE, sample_stride
from mapping.config import TSDFConfig

FEWEST_BLOCKS_A_THREAD = 64
FEWEST_RAYS_A_THREAD = 4000


class Fuser:
    """Adds frames to a store or takes them out; keeps the grids on which rays mark blocks from frame to frame."""

    def __init__(self, config: TSDFConfig, store: SumStore) -> None:
        self._config, self._store = config, store
        self._threads = thread_count(config.threads)
        self._marks = {SIDE: np.zeros(0, np.uint8), SIDE * CELL_VOXELS: np.zeros(0, np.uint8)}
        meters = (config.truncation_distance, config.surface_distance, config.min_depth, config.max_depth)
        self._limits = kernels.Limits(np.float64(config.voxel_size), *(np.float32(m) for m in meters))

    def fuse(self, observation: Observation, sign: int) -> None:
        """Add (sign 1) or subtract (-1) what the frame says."""
        pixels = flatten(observation)
        band, free = self._mark(pixels)
        coords = self._take(band)
        rows = self._store.insert(coords, color=observation.rgb is not None)
        free_coords = self._take(free) if free is not None else np.zeros((0, 3), np.int32)
        free_rows = self._store.insert_free(free_coords)
        self._fuse_band(pixels, coords, rows, sign)
        self._fuse_free(pixels, free_coords, free_rows, sign, band)

    def _mark(self, pixels: kernels.Pixels) -> tuple[rays.Grid, rays.Grid | None]:
        """Cast rays: the grid of blocks to measure and, when carving, that of free-space blocks."""
        config = self._config
        stride = sample_stride(config, float(pixels.camera[0]))
        deepest = float(pixels.depth.max(initial=0))
        depth = (deepest if deepest <= config.max_depth else config.max_depth) + config.truncation_distance
        band = self._grid(pixels, SIDE, depth)
        free = self._grid(pixels, SIDE * CELL_VOXELS, depth) if config.carve else None

        count, free_count = (len(range(s // 2, pixels.shape[0], s)) for s in (stride, 2 * stride))
        threads = self._threads if count * pixels.shape[1] > FEWEST_RAYS_A_THREAD * stride else 1
        spans, free_spans, size = split(count, threads), split(free_count, threads), config.voxel_size * SIDE
        pixel_spans = split(len(pixels.depth), threads)

        def mark(part: int) -> None:
            # Colours and labels will be read here and there; fetching them from memory in one go first takes half the time.
            for image in (pixels.rgb, pixels.labels):
                image[slice(*pixel_spans[part])].max(initial=0)
            rays.mark_rays(band, pixels, self._limits, size, stride, spans[part], 0)
            if free is not None:
                rays.mark_rays(free, pixels, self._limits, size * CELL_VOXELS, 2 * stride, free_spans[part], 1)

        run_parts(mark, threads)
        return band, free

    def _grid(self, pixels: kernels.Pixels, voxels: int, depth: float) -> rays.Grid:
        """An empty grid of cells of `voxels` voxels over the view up to `depth`."""
        height, width = pixels.shape
        fx, fy, cx, cy = pixels.camera.tolist()
        x, y = np.array([-0.5 - cx, width - 0.5 - cx]) / fx, np.array([-0.5 - cy, height - 0.5 - cy]) / fy
        corners = depth * np.array([[x[0], y[0], 1], [x[0], y[1], 1], [x[1], y[0], 1], [x[1], y[1], 1], [0, 0, 0]])
        T = pixels.T_camera_world
        world = (corners - T[:3, 3]) @ T[:3, :3] / (voxels * self._config.voxel_size)
        low = np.floor(world.min(axis=0)).astype(np.int64) - 1
        shape = np.floor(world.max(axis=0)).astype(np.int64) + 2 - low
        cells = int(shape.prod())
        if len(self._marks[voxels]) < cells:
            self._marks[voxels] = np.zeros(2 * cells, np.uint8)
        self._marks[voxels][:cells] = 0
        return rays.Grid(low, shape, self._marks[voxels])

    @staticmethod
    def _take(grid: rays.Grid) -> NDArray[np.int32]:
        count = int(np.count_nonzero(grid.marks[: int(grid.shape.prod())]))
        coords = np.zeros((count, 3), np.int32)
        rays.take_marked(grid, coords)
        return coords

    def _fuse_band(self, pixels: kernels.Pixels, coords: NDArray[np.int32], rows: NDArray[np.int32], sign: int) -> None:
        store = self._store
        threads = self._threads_for(rows)
        spans = split(len(rows), threads)
        while any(start < stop for start, stop in spans):
            work = partial(self._fuse_span, store.for_kernels(), (coords, rows), spans, pixels, sign)
            spans = [(done, stop) for done, (_, stop) in zip(run_parts(work, threads), spans, strict=True)]
            for part, (start, stop) in enumerate(spans):
                if start < stop:  # it ran out of label channels
                    store.take_channels(part, 2 * VOXELS)

    def _fuse_span(
        self, sums: Any, blocks: Any, spans: list[tuple[int, int]], pixels: Any, sign: int, part: int
    ) -> int:
        arena = self._store.arenas[part]
        return int(kernels.fuse_blocks(sums, blocks, spans[part], pixels, self._limits, sign, arena))

    def _fuse_free(
        self, pixels: kernels.Pixels, coords: NDArray[np.int32], rows: NDArray[np.int32], sign: int, band: rays.Grid
    ) -> None:
        spans = split(len(rows), self._threads_for(rows))

        def work(part: int) -> None:
            kernels.fuse_free(self._store.free, (coords, rows), spans[part], pixels, self._limits, sign, band)

        run_parts(work, len(spans))

    def _threads_for(self, rows: NDArray[np.int32]) -> int:
        return max(1, min(self._threads, len(rows) // FEWEST_BLOCKS_A_THREAD))


def flatten(observation: Observation) -> kernels.Pixels:
    """The frame as compiled code takes it."""

    def flat(image: NDArray[Any] | None, missing: NDArray[Any]) -> NDArray[Any]:
        return missing if image is None else image.reshape(-1, *image.shape[2:])

    height, width = observation.depth.shape
    return kernels.Pixels(
        depth=observation.depth.reshape(-1),
        weight=flat(observation.weight, np.zeros(0, np.float32)),
        rgb=flat(observation.rgb, np.zeros((0, 3), np.uint8)),
        labels=flat(observation.labels, np.zeros(0, np.uint8)),
        shape=(height, width),
        camera=observation.camera,
        T_camera_world=observation.T_camera_world,
    )
