"""Compiled fusion: the arithmetic of `_tsdf_numpy`, a block of 512 voxels at a time.

Each step runs over all voxels of a block in one flat loop on small arrays that stay in the first-level cache, so that the
compiler turns it into vector instructions; only voxels near the surface, about one in ten, then get colour and label one by one.
Threads work on disjoint rows and what a frame adds does not depend on what is in the map, so the sums are the same for any number
of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping import _kernel_cache as _kernel_cache
from mapping._rays_numba import is_marked
from mapping._store import FIRST_LABELS
from mapping._tsdf_numpy import CELL_VOXELS, COLOR_SHIFT, FAR, NEAR, SIDE, WEIGHT_UNIT

VOXELS = SIDE**3
LABEL, NEXT, ROW = 0, 1, 2  # columns of Sums.link
KNOWN_LABELS = 16  # a power of two
TURN = 8  # blocks that a thread takes at a time: neighbours share pixels, and far parts of the view cost less than near ones
BEHIND = np.float32(1e30)  # the depth of a voxel that falls on no pixel: behind everything
FAST = {"contract", "nsz", "arcp"}
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_UNIT, _NEAR, _FAR = np.float32(WEIGHT_UNIT), np.float32(NEAR), np.float32(FAR)


class Pixels(NamedTuple):
    """A frame with its images flattened; an image that is not there has length 0."""

    depth: NDArray[np.float32]
    weight: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    labels: NDArray[Any]
    shape: tuple[int, int]
    camera: NDArray[np.float32]
    T_camera_world: NDArray[np.float64]


class Limits(NamedTuple):
    """Metres: of `TSDFConfig`. Places are computed in float64, differences of depth in float32."""

    voxel_size: np.float64
    truncation: np.float32
    behind: np.float32
    surface: np.float32
    min_depth: np.float32
    max_depth: np.float32


class Sums(NamedTuple):
    """The arrays of a volume.

    Label channels of a block form a list: from head[row] through link[channel, NEXT] until 0; link also tells label and row.
    first[row] (4, 2) repeats the first of them as label and channel, so that most are found in one place.
    """

    tsdf: NDArray[np.int32]
    color: NDArray[np.int32]
    evidence: NDArray[np.int32]
    head: NDArray[np.int32]
    link: NDArray[np.int32]
    first: NDArray[np.int32]


class Scratch(NamedTuple):
    """What the steps of one block hand on, by voxel."""

    pixel: NDArray[np.int32]
    z: NDArray[np.float32]
    depth: NDArray[np.float32]
    weight: NDArray[np.int32]
    distance: NDArray[np.int32]
    near: NDArray[np.uint8]
    words: NDArray[np.uint64]
    surface: NDArray[np.int32]
    pixel_weight: NDArray[np.float32]
    label: NDArray[np.int32]
    known: NDArray[np.int64]


@numba.njit(nogil=True)
def make_scratch() -> Any:
    """Working memory of one thread; `words` is `near` eight at a time, `surface` has room for one number too many."""
    words = np.zeros(VOXELS // 8, np.uint64)
    return Scratch(
        np.zeros(VOXELS, np.int32),
        np.zeros(VOXELS, np.float32),
        np.zeros(VOXELS, np.float32),
        np.zeros(VOXELS, np.int32),
        np.zeros(VOXELS, np.int32),
        words.view(np.uint8),
        words,
        np.zeros(VOXELS + 1, np.int32),
        np.ones(VOXELS, np.float32),
        np.zeros(VOXELS, np.int32),
        np.zeros((1 + KNOWN_LABELS, 2), np.int64),
    )


@numba.njit(nogil=True)
def voxel_offsets(pixels: Any, spacing: Any) -> NDArray[np.float32]:
    """(3, 512) steps from the first voxel of a block to each in camera axes, x and y times the focal lengths."""
    offsets = np.zeros((3, VOXELS), np.float32)
    for axis in range(3):
        scale = pixels.camera[axis] if axis < 2 else _ONE
        for n in range(VOXELS):
            R = pixels.T_camera_world[axis]
            step = R[0] * (n >> 6) + R[1] * ((n >> 3) & 7) + R[2] * (n & 7)
            offsets[axis, n] = np.float32(step * spacing * scale)
    return offsets


@numba.njit(inline="always")
def first_sample(block: Any, spacing: Any) -> Any:
    """The world coordinate of a block's first sample point."""
    return (SIDE * np.float64(block) + 0.5) * spacing


@numba.njit(nogil=True, error_model="numpy", fastmath=FAST)
def project(pixels: Any, offsets: Any, coords: Any, spacing: Any, scratch: Any) -> None:
    """The pixel that each voxel of the block at `coords` falls on, and its depth."""
    T, camera = pixels.T_camera_world, pixels.camera
    wx, wy, wz = first_sample(coords[0], spacing), first_sample(coords[1], spacing), first_sample(coords[2], spacing)
    x0 = np.float32((T[0, 0] * wx + T[0, 1] * wy + T[0, 2] * wz + T[0, 3]) * camera[0])
    y0 = np.float32((T[1, 0] * wx + T[1, 1] * wy + T[1, 2] * wz + T[1, 3]) * camera[1])
    z0 = np.float32(T[2, 0] * wx + T[2, 1] * wy + T[2, 2] * wz + T[2, 3])
    u0, v0 = camera[2] + _HALF, camera[3] + _HALF
    height, width, stride = np.float32(pixels.shape[0]), np.float32(pixels.shape[1]), np.int32(pixels.shape[1])
    pixel, depth = scratch.pixel, scratch.z
    for n in range(VOXELS):
        z = z0 + offsets[2, n]
        over_z = _ONE / z
        u = (x0 + offsets[0, n]) * over_z + u0
        v = (y0 + offsets[1, n]) * over_z + v0
        inside = (z > _NEAR) & (u >= _ZERO) & (u < width) & (v >= _ZERO) & (v < height)
        pixel[n] = np.int32(v if inside else _ZERO) * stride + np.int32(u if inside else _ZERO)
        depth[n] = z if inside else BEHIND


@numba.njit(nogil=True)
def look_up(image: Any, pixel: Any, out: Any) -> None:
    """The image's values at the pixels."""
    for n in range(VOXELS):
        out[n] = image[np.uint32(pixel[n])]


@numba.njit(nogil=True, error_model="numpy", fastmath=FAST)
def measure(limits: Any, scratch: Any) -> None:
    """Weight and weighted distance of every voxel and which are near the surface."""
    truncation, behind, surface, eps = limits.truncation, limits.behind, limits.surface, np.float32(limits.voxel_size)
    per_truncation, fall = _ONE / truncation, _ONE / max(behind - eps, np.float32(1e-9))
    z, depth, pixel_weight = scratch.z, scratch.depth, scratch.pixel_weight
    weight, distance, near = scratch.weight, scratch.distance, scratch.near
    for n in range(VOXELS):
        sdf = depth[n] - z[n]
        seen = (sdf >= -behind) & (depth[n] >= limits.min_depth) & (depth[n] <= _FAR)
        seen &= (depth[n] <= limits.max_depth) | (sdf >= truncation)
        drop = (behind + sdf) * fall
        scale = pixel_weight[n] * (drop if drop < _ONE else _ONE) * _UNIT + _HALF
        quanta = np.int32(scale if seen else _ZERO)
        part = (sdf if sdf < truncation else truncation) * per_truncation * np.float32(quanta)
        weight[n] = quanta
        distance[n] = np.int32((part if seen else _ZERO) + (_HALF if part >= _ZERO else -_HALF))
        near[n] = np.uint8((sdf <= surface) & (sdf >= -surface) & (quanta > 0))


@numba.njit(nogil=True)
def accumulate(sums: NDArray[np.int32], values: NDArray[np.int32], sign: int) -> None:
    """sums += sign * values."""
    for n in range(VOXELS):
        sums[n] += sign * values[n]


@numba.njit(nogil=True)
def list_near(scratch: Any) -> int:
    """Collect the numbers of the voxels near the surface, without a branch on each; returns how many."""
    count: Any = 0
    for word in range(VOXELS // 8):
        if scratch.words[word] != 0:
            for n in range(8 * word, 8 * word + 8):
                scratch.surface[count] = n
                count += np.int64(scratch.near[n])
    return count


@numba.njit(nogil=True)
def paint(color: NDArray[np.int32], rgb: NDArray[np.uint8], scratch: Any, count: int, sign: int) -> None:
    """Add the pixels' colours to the voxels near the surface, (512, 4)."""
    surface, pixels, weights = scratch.surface, scratch.pixel, scratch.weight
    for m in range(count):
        n = np.uint32(surface[m])
        pixel = np.uint32(pixels[n])
        weight = np.int32(sign) * max(weights[n] >> COLOR_SHIFT, np.int32(1))
        # All reads before all writes: the four sums then take one vector addition.
        red, green, blue = np.int32(rgb[pixel, 0]), np.int32(rgb[pixel, 1]), np.int32(rgb[pixel, 2])
        sum_red, sum_green, sum_blue, total = color[n, 0], color[n, 1], color[n, 2], color[n, 3]
        color[n, 0] = sum_red + weight * red
        color[n, 1] = sum_green + weight * green
        color[n, 2] = sum_blue + weight * blue
        color[n, 3] = total + weight


@numba.njit(nogil=True)
def channel_of(sums: Any, row: Any, label: Any, arena: NDArray[np.int64]) -> Any:
    """The channel of a label in a block; a new one is taken from `arena` [next, end)."""
    channel = sums.head[row]
    while channel != 0 and sums.link[channel, LABEL] != label:
        channel = sums.link[channel, NEXT]
    if channel == 0:
        channel = np.int32(arena[0])
        arena[0] += 1
        link = sums.link[channel]
        link[LABEL], link[NEXT], link[ROW] = label, sums.head[row], row
        sums.head[row] = channel
        first = sums.first[row]
        for m in range(FIRST_LABELS):
            if first[m, 0] == 0:
                first[m, 0], first[m, 1] = label, channel
                break
    return channel


@numba.njit(nogil=True)
def recall_labels(first: NDArray[np.int32], known: NDArray[np.int64]) -> None:
    """Set `known` (17, 2) to the first labels of a block and where their evidence begins, placed by their last bits."""
    known[:] = 0
    for m in range(FIRST_LABELS):
        label = np.int64(first[m, 0])
        if label != 0:
            slot = 1 + (label & (KNOWN_LABELS - 1))
            known[slot, 0], known[slot, 1] = label, np.int64(VOXELS) * first[m, 1]


@numba.njit(nogil=True)
def vote(
    sums: Any, row: Any, labels: NDArray[Any], scratch: Any, count: int, sign: int, arena: NDArray[np.int64]
) -> None:
    """Add the weight of the voxels near the surface to the evidence for their pixel's label.

    Labels alternate along a border between two of them, so where the evidence for each begins is kept at hand. They are read
    first, all together: reads from memory that do not wait for each other overlap.
    """
    if count == 0:
        return
    known, surface, pixels, weights, seen = scratch.known, scratch.surface, scratch.pixel, scratch.weight, scratch.label
    evidence = sums.evidence.reshape(-1)
    recall_labels(sums.first[row], known)
    for m in range(count):
        seen[m] = labels[np.uint32(pixels[np.uint32(surface[m])])]
    for m in range(count):
        n, label = np.uint32(surface[m]), np.int64(seen[m])
        if label != 0:
            slot = np.uint64(1 + (label & (KNOWN_LABELS - 1)))
            if known[slot, 0] != label:
                known[slot, 0], known[slot, 1] = label, np.int64(VOXELS) * channel_of(sums, row, label, arena)
            evidence[np.uint64(known[slot, 1]) + np.uint64(n)] += np.int32(sign) * weights[n]


@numba.njit(nogil=True, cache=True)
def fuse_blocks(
    sums: Sums,
    blocks: tuple[NDArray[np.int32], NDArray[np.int32]],
    share: tuple[int, int, int],
    pixels: Pixels,
    limits: Limits,
    sign: int,
    arena: NDArray[np.int64],
) -> int:
    """Add (sign 1) or subtract (-1) what a frame says to the blocks `coords` (B, 3) in `rows` (B,) of the sums.

    `share` is (start, part, parts): from block `start` on, thread `part` of `parts` takes turns of a few blocks. Stops before a
    block that could need more label channels than `arena` has left; returns where it stopped.
    """
    coords, rows = blocks
    spacing = limits.voxel_size
    offsets, scratch = voxel_offsets(pixels, spacing), make_scratch()
    start, part, parts = share
    for b in range(start, len(rows)):
        if (b // TURN) % parts != part:
            continue
        if len(pixels.labels) and arena[1] - arena[0] < VOXELS:
            return b
        row = rows[b]
        project(pixels, offsets, coords[b], spacing, scratch)
        look_up(pixels.depth, scratch.pixel, scratch.depth)
        if len(pixels.weight):
            look_up(pixels.weight, scratch.pixel, scratch.pixel_weight)
        measure(limits, scratch)
        accumulate(sums.tsdf[row, 0], scratch.distance, sign)
        accumulate(sums.tsdf[row, 1], scratch.weight, sign)
        near = list_near(scratch)
        if len(pixels.rgb):
            paint(sums.color[row], pixels.rgb, scratch, near, sign)
        if len(pixels.labels):
            vote(sums, row, pixels.labels, scratch, near, sign, arena)
    return len(rows)


@numba.njit(nogil=True, error_model="numpy", fastmath=FAST)
def measure_free(limits: Any, margin: Any, scratch: Any) -> None:
    """The weight of every cell that lies in front of the band."""
    z, depth, pixel_weight, weight = scratch.z, scratch.depth, scratch.pixel_weight, scratch.weight
    for n in range(VOXELS):
        limit = (depth[n] if depth[n] < limits.max_depth else limits.max_depth) - margin
        free = (depth[n] >= limits.min_depth) & (depth[n] <= _FAR) & (z[n] <= limit)
        weight[n] = np.int32(pixel_weight[n] * _UNIT + _HALF if free else _ZERO)


@numba.njit(nogil=True)
def clear_measured(weight: NDArray[np.int32], coords: Any, grid: Any) -> None:
    """Set to 0 the cells of a free-space block that lie in blocks marked in `grid`: those are measured voxel by voxel."""
    half = SIDE // CELL_VOXELS
    for i in range(CELL_VOXELS):
        for j in range(CELL_VOXELS):
            for k in range(CELL_VOXELS):
                x, y, z = (CELL_VOXELS * coords[0] + i, CELL_VOXELS * coords[1] + j, CELL_VOXELS * coords[2] + k)
                if is_marked(grid, x, y, z):
                    for a in range(half * i, half * i + half):
                        for b in range(half * j, half * j + half):
                            for c in range(half * k, half * k + half):
                                weight[64 * a + 8 * b + c] = 0


@numba.njit(nogil=True, cache=True)
def fuse_free(
    free: NDArray[np.int32],
    blocks: tuple[NDArray[np.int32], NDArray[np.int32]],
    span: tuple[int, int],
    pixels: Pixels,
    limits: Limits,
    sign: int,
    band: Any,
) -> None:
    """Add or subtract the free space that a frame sees to the free-space blocks; `band` marks the blocks that it measures."""
    coords, rows = blocks
    spacing = limits.voxel_size * CELL_VOXELS
    margin = np.float32(limits.truncation + np.float32(0.87 * spacing))
    offsets, scratch = voxel_offsets(pixels, spacing), make_scratch()
    for b in range(span[0], span[1]):
        project(pixels, offsets, coords[b], spacing, scratch)
        look_up(pixels.depth, scratch.pixel, scratch.depth)
        if len(pixels.weight):
            look_up(pixels.weight, scratch.pixel, scratch.pixel_weight)
        measure_free(limits, margin, scratch)
        clear_measured(scratch.weight, coords[b], band)
        accumulate(free[rows[b]], scratch.weight, sign)


@numba.njit(nogil=True, cache=True)
def add_evidence(
    sums: Sums,
    rows: NDArray[np.int32],
    labels: NDArray[np.uint16],
    evidence: NDArray[np.int32],
    arena: NDArray[np.int64],
) -> None:
    """Add evidence (L, 512) for `labels` (L,) to the blocks `rows` (L,)."""
    for i in range(len(rows)):
        accumulate(sums.evidence[channel_of(sums, rows[i], labels[i], arena)], evidence[i], 1)
