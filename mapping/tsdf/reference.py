"""The definition of fusion in plain numpy: what a frame adds to which voxels. The compiled kernels are tested against it.

Every sum is an integer. A weight of 1 is `WEIGHT_UNIT`, so the sum over frames is exact in any order and for any
splitting and merging, and what was added can be subtracted exactly. Voxel (i, j, k) of block b has the integer coordinate
`8 b + (i, j, k)` and its sample point at `(8 b + (i, j, k) + 0.5) * voxel_size`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.tsdf.grid import CELL_VOXELS, COLOR_SHIFT, FAR, NEAR, SIDE, WEIGHT_UNIT, band_offsets, sample_stride
from mapping.tsdf.observation import Observation
from mapping.tsdf.tsdf_config import TSDFConfig


@dataclass(frozen=True, eq=False)
class Contribution:
    """What one frame adds to blocks (B, 3): int32 sums (B, 512) and, where there are colours and labels, more of them.

    distance: sum of weight times signed distance over truncation. color: (B, 512, 4) red, green, blue and their weight. label:
    (B, 512) uint16 label of the pixel, 0 for no label; its evidence is `weight`.
    """

    weight: NDArray[np.int32]
    distance: NDArray[np.int32]
    color: NDArray[np.int32]
    label: NDArray[np.uint16]


def band_blocks(observation: Observation, config: TSDFConfig) -> NDArray[np.int32]:
    """Blocks (B, 3), sorted, that contain a sample of the truncation band of a grid of rays."""
    stride = sample_stride(config, float(observation.camera[0]), observation.depth.shape)
    depth = observation.depth[stride // 2 :: stride, stride // 2 :: stride].astype(np.float64)
    v, u = np.nonzero((depth >= config.min_depth) & (depth <= config.max_depth))
    behind = np.maximum(config.behind_distance, config.behind_per_meter * depth[v, u, None])
    z = np.maximum(depth[v, u, None] + np.minimum(band_offsets(config), behind), NEAR)
    start, rays = _rays(observation, np.stack([u, v], axis=1) * stride + stride // 2, config.voxel_size * SIDE)
    samples = start + rays[:, None] * z[:, :, None]
    return np.unique(np.floor(samples.reshape(-1, 3)).astype(np.int32), axis=0)


def free_blocks(observation: Observation, config: TSDFConfig) -> NDArray[np.int32]:
    """Blocks (B, 3), sorted, of the free-space grid that a grid of rays passes through in front of the truncation band."""
    every = sample_stride(config, float(observation.camera[0]), observation.depth.shape)
    first, stride = every // 2, 2 * every
    depth = observation.depth[first::stride, first::stride].astype(np.float64)
    far = np.minimum(depth, config.max_depth) - config.truncation_distance
    v, u = np.nonzero((depth >= config.min_depth) & (depth <= FAR) & (far > NEAR))
    pixels = np.stack([u, v], axis=1) * stride + first
    near = np.full(len(u), float(NEAR))
    return _crossed(observation, pixels, near, far[v, u], config.voxel_size * SIDE * CELL_VOXELS)


def _rays(
    observation: Observation, pixels: NDArray[np.int64], size: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The camera's centre (3,) and the rays of `pixels` (N, 2) per metre of depth (N, 3), in cubes of edge `size`."""
    focal, center = np.split(observation.camera.astype(np.float64), 2)
    rays = np.concatenate([(pixels - center) / focal, np.ones((len(pixels), 1))], axis=1)
    T_world_camera = observation.T_world_camera
    return T_world_camera[:3, 3] / size, rays @ T_world_camera[:3, :3].T / size


def _crossed(
    observation: Observation,
    pixels: NDArray[np.int64],
    near: NDArray[np.float64],
    far: NDArray[np.float64],
    size: float,
) -> NDArray[np.int32]:
    """Cubes of edge `size` that the rays of `pixels` (N, 2) pass through between depths `near` and `far` (N,)."""
    origin, rays = _rays(observation, pixels, size)
    start, end = (origin + rays * z[:, None] for z in (near, far))
    # Between two crossings of grid planes a ray is inside one cube: the one that contains the midpoint.
    steps = int(np.ceil(np.abs(end - start).max(initial=0))) + 1
    first = np.where(end > start, np.ceil(start), np.floor(start))
    planes = first[:, :, None] + np.sign(end - start)[:, :, None] * np.arange(steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.nan_to_num((planes - start[:, :, None]) / (end - start)[:, :, None], nan=1.0, posinf=1.0)
    fraction = np.sort(np.clip(fraction.reshape(len(pixels), -1), 0, 1), axis=1)
    fraction = np.concatenate([np.zeros((len(pixels), 1)), fraction, np.ones((len(pixels), 1))], axis=1)
    middle = 0.5 * (fraction[:, 1:] + fraction[:, :-1])
    cubes = np.floor(start[:, None] + middle[:, :, None] * (end - start)[:, None]).astype(np.int32)
    return np.unique(cubes[np.diff(fraction, axis=1) > 0], axis=0)


class Projection(NamedTuple):
    """Where voxels (B, 512) of blocks project to."""

    z: NDArray[np.float32]
    """Metres along camera z."""
    pixel: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Row and column of the nearest pixel, 0 outside of the image."""
    inside: NDArray[np.bool_]
    """Whether that is in the image."""


def project(observation: Observation, blocks: NDArray[np.int32], spacing: float) -> Projection:
    """The projection of the sample points of blocks (B, 3), which are `spacing` metres apart.

    The arithmetic is float32 from the corner of the block on.
    """
    R = observation.T_camera_world[:3, :3]
    corner = (blocks * SIDE + 0.5) * spacing @ R.T + observation.T_camera_world[:3, 3]
    grid = np.stack(np.meshgrid(*[np.arange(SIDE, dtype=np.float32)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    points = corner[:, None].astype(np.float32) + grid @ (R * spacing).astype(np.float32).T
    x, y, z = np.moveaxis(points, -1, 0)
    height, width = observation.depth.shape
    fx, fy = observation.camera[:2]
    cx, cy = observation.camera[2:]
    ahead = z > NEAR
    over_z = 1 / np.where(ahead, z, np.float32(1))
    u, v = x * over_z * fx + (cx + np.float32(0.5)), y * over_z * fy + (cy + np.float32(0.5))
    inside = ahead & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    pixel = np.where(inside, v, 0).astype(np.int64), np.where(inside, u, 0).astype(np.int64)
    return Projection(z, pixel, inside)


def contribution(observation: Observation, blocks: NDArray[np.int32], config: TSDFConfig) -> Contribution:
    """What the frame adds to the voxels of `blocks` (B, 3).

    The weight falls linearly from one voxel behind the surface to the end of the band (the drop-off of Voxblox and Hydra). Pixels
    beyond the maximum depth only mark space as free.

    With `behind_per_meter` the band behind a surface grows with its depth, as the noise of depth does, but distances are
    truncated equally for all pixels, so that sums over frames keep one unit. Apart from the falling weight, their zero crossing
    is then close to Huber's estimate of the surface (1964): the influence of a frame is its distance, up to the truncation. Where
    frames differ by more than the depth of the band, those that saw a nearer surface have no influence, and the free space of the
    others removes the wall or leaves two.
    """
    truncation, behind = np.float32(config.truncation_distance), np.float32(config.behind_distance)
    eps = np.float32(config.voxel_size)
    z, pixel, inside = project(observation, blocks, config.voxel_size)
    depth = observation.depth[pixel]
    behind = np.maximum(behind, np.float32(config.behind_per_meter) * depth)
    sdf = depth - z
    seen = inside & (depth >= np.float32(config.min_depth)) & (sdf >= -behind) & (depth <= FAR)
    seen &= (depth <= np.float32(config.max_depth)) | (sdf >= truncation)
    weight = np.ones_like(z) if observation.weight is None else observation.weight[pixel]
    fall = np.where(sdf < -eps, (behind + sdf) / np.maximum(behind - eps, np.float32(1e-9)), np.float32(1))
    quanta = np.where(seen, weight * fall * np.float32(WEIGHT_UNIT) + np.float32(0.5), 0).astype(np.int32)
    distance = np.where(seen, np.clip(sdf, -truncation, truncation) / truncation, 0) * quanta
    near = seen & (np.abs(sdf) <= np.float32(config.surface_distance)) & (quanta > 0)
    color = np.zeros((len(blocks), SIDE**3, 4), np.int32)
    if observation.rgb is not None:
        color[..., 3] = np.where(near, np.maximum(quanta >> COLOR_SHIFT, 1), 0)
        color[..., :3] = observation.rgb[pixel] * color[..., 3:]
    label = np.zeros(z.shape, np.uint16)
    if observation.labels is not None:
        label = np.where(near, observation.labels[pixel], 0).astype(np.uint16)
    return Contribution(quanta, np.rint(distance).astype(np.int32), color, label)


def free_weight(
    observation: Observation, blocks: NDArray[np.int32], band: NDArray[np.int32], config: TSDFConfig
) -> NDArray[np.int32]:
    """What the frame adds to the cells (B, 512) of `blocks` (B, 3) of the free-space grid.

    A cell is free when it lies in front of the band of the pixel it projects to, by half its diagonal, and not in one of the
    blocks `band` that the frame measures voxel by voxel: so each frame contributes once everywhere.
    """
    cell = config.voxel_size * CELL_VOXELS
    z, pixel, inside = project(observation, blocks, cell)
    depth = observation.depth[pixel]
    limit = np.minimum(depth, np.float32(config.max_depth)) - np.float32(config.truncation_distance + 0.87 * cell)
    free = inside & (depth >= np.float32(config.min_depth)) & (depth <= FAR) & (z <= limit)
    grid = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    block_of_cell = ((blocks[:, None] * SIDE + grid) * CELL_VOXELS) // SIDE
    in_band = {tuple(block) for block in band.tolist()}
    measured = np.array([tuple(b) in in_band for b in block_of_cell.reshape(-1, 3).tolist()], dtype=bool)
    free &= ~measured.reshape(free.shape)
    weight = np.ones_like(z) if observation.weight is None else observation.weight[pixel]
    return np.where(free, weight * np.float32(WEIGHT_UNIT) + np.float32(0.5), 0).astype(np.int32)
