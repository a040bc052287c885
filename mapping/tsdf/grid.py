"""The units of a volume: blocks, cells, the unit of weight, and the grid of rays that finds blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.tsdf.tsdf_config import TSDFConfig

SIDE = 8
"""Voxels along the edge of a block, and cells along the edge of a block of the free-space grid."""
CELL_VOXELS = 2
"""Voxels along the edge of a free-space cell."""
WEIGHT_UNIT = 1 << 14
"""The integer that stands for a weight of 1."""
COLOR_SHIFT = 8
"""Colour is weighted by weight >> COLOR_SHIFT (at least 1), so that its sums fit into int32 as long as the weights do."""
NEAR = np.float32(0.01)
"""Metres; voxels closer to the camera plane are not projected."""
FAR = np.float32(1e6)
"""Metres; depth beyond is not a measurement."""
HALF_CONFIDENCE_WEIGHT = 3.0
"""The weight at which a vertex of the mesh has confidence 1/2."""
MAX_STRIDE = 16
BAND_SAMPLES = 2
"""Samples along a ray per edge of a block. Twice as many find 0.5 % more blocks, whose corners the band only touches; they
increase the weight of voxels near surfaces by 0.01 %."""


def sample_stride(config: TSDFConfig, focal_length_px: float, shape: tuple[int, int]) -> int:
    """Pixels between the rays that find blocks: at half the greatest depth they are two voxels apart.

    `shape` is that of the image, which gets at least eight rays along its shorter side, or one per pixel.
    """
    pixels = 2 * config.voxel_size * focal_length_px / (0.5 * config.max_depth)
    return int(max(min(pixels, MAX_STRIDE, min(shape) / 8), 1))


def band_offsets(config: TSDFConfig) -> NDArray[np.float64]:
    """Metres behind the surface of the samples of a ray's band: both ends, the surface, at most half a block apart.

    They are those of the farthest surface; where the band ends earlier, samples beyond are moved to its end.
    """
    step = config.voxel_size * SIDE / BAND_SAMPLES
    front, back = (int(np.ceil(d / step)) for d in (config.truncation_distance, config.farthest_behind))
    before = np.linspace(-config.truncation_distance, 0, front + 1)
    return np.concatenate([before, np.linspace(0, config.farthest_behind, back + 1)[1:]])
