"""Compiled fusion: the result of `measure` is added to a volume, a group of blocks of 512 voxels at a time.

First the contribution of the frame to all voxels of a group is computed; then it is added to the sums of the octets that are
seen, and to colour and label evidence of the voxels near the surface, about one in eight. The first step prefetches the memory
that the second one needs. Threads work on disjoint rows and the contribution of a frame does not depend on the map, so the sums
are the same for any number of threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from mapping.arrays import Float32Array, Int32Array, Int64Array, Span, UInt8Array, UInt16Array, UInt64Array
from mapping.compiling import INNER, kernel
from mapping.tsdf.grid import COLOR_SHIFT
from mapping.tsdf.kernels.bits import NONE, ONE, add_eight, draw, fetch, lowest_bit
from mapping.tsdf.kernels.blocks import BlockRows
from mapping.tsdf.kernels.measure import (
    VOXELS,
    DistanceLimits,
    Offsets,
    Pixels,
    first_sample,
    image_plane,
    look_up,
    measure,
    measure_growing,
    project,
    voxel_offsets,
)
from mapping.tsdf.kernels.surface import add_evidence, ensure_records, set_counter
from mapping.tsdf.layout import (
    BLUE,
    COLOR_WEIGHT,
    END,
    END_MORE,
    FIRST,
    GREEN,
    MORE,
    NAME,
    NAMES,
    NEXT,
    NEXT_MORE,
    OCTET,
    OCTETS,
    RED,
    SECOND,
    START,
    VOXEL_AT,
    Allocator,
    SurfaceRecords,
)

GROUP = 8  # blocks that a thread processes at a time: their contributions fit into its second-level cache
NEAR_BITS = np.uint64(0x0101010101010101)  # of an octet
_ZERO = np.float32(0)


class NearVoxels(NamedTuple):
    """A list of the voxels of a group near the surface; all (GROUP * 512,)."""

    record: Int64Array
    """Number of the record."""
    pixel: Int32Array
    """The pixel that the voxel projects to."""
    weight: Int32Array
    """The weight of the frame there, in `WEIGHT_UNIT`."""


class Group(NamedTuple):
    """The contribution of a frame to a group of blocks. Voxels are in the order of octets."""

    projected: Int32Array
    """(GROUP, 512) the pixel of every voxel."""
    z: Float32Array
    """(GROUP, 512) metres along camera z of every voxel."""
    weight: Int32Array
    """(GROUP * 512,) in `WEIGHT_UNIT`."""
    distance: Int32Array
    """(GROUP * 512,) weight times distance over truncation."""
    source: Int64Array
    """(GROUP * 64,) a list of the octets that are seen."""
    target: Int64Array
    """(GROUP * 64,) where in the volume they are."""
    near: NearVoxels
    rare: Int32Array
    """(GROUP * 512, 3) record, label and weight of label evidence that is added last."""


class BlockMemory(NamedTuple):
    """Working memory for one block, in the order of octets."""

    depth: Float32Array
    """(512,) depth in metres of the pixel of each voxel."""
    pixel_weight: Float32Array
    """(512,) weight of the pixel of each voxel."""
    flags: UInt8Array
    """(512,) bit 0 for a voxel near the surface, bit 1 for one that is seen."""
    words: UInt64Array
    """(64,) the same memory, by octet."""
    octets: UInt8Array
    """(64,) a list of octets."""


class SumArrays(NamedTuple):
    """What a frame is added to."""

    tsdf: Int32Array
    """(B, 64, 2, 8) by block and octet: sums of weighted distance, and of weight."""
    surface: SurfaceRecords


class FusedFrame(NamedTuple):
    """A frame with the settings of fusion, and the offsets of the voxels of a block in its camera axes."""

    pixels: Pixels
    limits: DistanceLimits
    offsets: Offsets


class Share(NamedTuple):
    """The groups of a thread: number `first`, unless that is -1, then those that it draws from the shared `counter` (1,)."""

    first: int
    counter: Int64Array


class Prefetched(NamedTuple):
    """Flat arrays whose elements are prefetched for the voxels near the surface."""

    records: Int32Array
    rgb: UInt8Array
    labels: UInt8Array | UInt16Array


@numba.njit(nogil=True)
def make_group() -> Group:
    """Working memory of one thread for a group of blocks."""
    size = GROUP * VOXELS
    near = NearVoxels(np.zeros(size, np.int64), np.zeros(size, np.int32), np.zeros(size, np.int32))
    return Group(
        np.zeros((GROUP, VOXELS), np.int32),
        np.zeros((GROUP, VOXELS), np.float32),
        np.zeros(size, np.int32),
        np.zeros(size, np.int32),
        np.zeros(GROUP * OCTETS, np.int64),
        np.zeros(GROUP * OCTETS, np.int64),
        near,
        np.zeros((size, 3), np.int32),
    )


@numba.njit(nogil=True)
def make_block_memory() -> BlockMemory:
    """Working memory of one thread for a block."""
    words = np.zeros(OCTETS, np.uint64)
    depth, weight = np.zeros(VOXELS, np.float32), np.ones(VOXELS, np.float32)
    return BlockMemory(depth, weight, words.view(np.uint8), words, np.zeros(OCTETS, np.uint8))


@numba.njit(**INNER)
def list_seen(words: UInt64Array, block: int, row: int, count: int, source: Int64Array, target: Int64Array) -> int:
    """Append the octets that are seen of block number `block` of the group, in `row` of the volume, to the list of `count`.

    Returns the new count.
    """
    for octet in range(OCTETS):
        source[count], target[count] = OCTETS * block + octet, OCTETS * row + octet
        count += words[octet] != NONE
    return count


@numba.njit(**INNER)
def list_near(
    words: UInt64Array,
    pixels: Int32Array,
    weights: Int32Array,
    segment: tuple[int, UInt8Array],
    count: int,
    near: NearVoxels,
    prefetched: Prefetched,
) -> np.int64:
    """Append the voxels of a block that are near the surface to the list of `count`; returns the new count.

    `pixels` and `weights` (512,) are those of the block, `segment` is its first record and the position (64,) of each octet after
    it. Memory is prefetched: it arrives while the next blocks are computed.
    """
    record, pixel, near_weight = near
    records, rgb, labels = prefetched
    start, slot = segment
    end = np.int64(count)
    for part in range(0, OCTETS, 8):
        bits = NONE
        for m in range(8):
            # The product gathers the lowest bits of eight bytes in the highest byte.
            marked = (words[part + m] & NEAR_BITS) * np.uint64(0x0102040810204080)
            bits |= (marked >> np.uint64(56)) << np.uint64(8 * m)
        while bits != NONE:
            n = np.uint64(8 * part) + lowest_bit(bits)
            record[end] = start + 8 * np.int64(slot[n >> np.uint64(3)]) + np.int64(n & np.uint64(7))
            fetch(records, np.uint64(8) * np.uint64(record[end]))
            fetch(rgb, np.uint64(3) * np.uint64(pixels[n]))
            fetch(labels, np.uint64(pixels[n]))
            pixel[end], near_weight[end] = pixels[n], weights[n]
            end += 1
            bits &= bits - ONE
    return end


@numba.njit(**INNER)
def accumulate(sums: Int32Array, group: Group, count: int, sign: np.int32) -> None:
    """Add (sign 1) or subtract (-1) the listed octets of a group to the flat sums."""
    source, target, size = group.source, group.target, 2 * OCTET
    distance, weight = group.distance, group.weight
    for m in range(count):
        add_eight(sums, size * target[m], distance, OCTET * source[m], sign)
        add_eight(sums, size * target[m] + OCTET, weight, OCTET * source[m], sign)


@numba.njit(**INNER)
def ensure_near(
    surface: SurfaceRecords, row: int, words: UInt64Array, octets: UInt8Array, allocator: Allocator
) -> bool:
    """Ensure that all voxels of a block that are near the surface have records; returns whether there are any."""
    count = 0
    for octet in range(OCTETS):
        octets[count & (OCTETS - 1)] = octet
        count += words[octet] & NEAR_BITS != NONE
    if count > 0:
        ensure_records(surface, row, octets, count, allocator)
    return count > 0


@numba.njit(**INNER)
def add_colors(records: Int32Array, rgb: UInt8Array, near: NearVoxels, count: int, sign: np.int32) -> None:
    """Add (sign 1) or subtract (-1) the colour of the listed voxels."""
    found, pixels, weights = near.record, near.pixel, near.weight
    for m in range(count):
        record, pixel = np.uint64(found[m]), np.uint32(pixels[m])
        weight = max(weights[m] >> COLOR_SHIFT, np.int32(1))
        weight *= sign
        red, green, blue = np.int32(rgb[pixel, 0]), np.int32(rgb[pixel, 1]), np.int32(rgb[pixel, 2])
        sum_red, sum_green, sum_blue = records[record, RED], records[record, GREEN], records[record, BLUE]
        total = records[record, COLOR_WEIGHT]
        records[record, RED] = sum_red + weight * red
        records[record, GREEN] = sum_green + weight * green
        records[record, BLUE] = sum_blue + weight * blue
        records[record, COLOR_WEIGHT] = total + weight


@numba.njit(**INNER)
def add_labels(
    surface: SurfaceRecords,
    labels: UInt8Array | UInt16Array,
    group: Group,
    count: int,
    sign: np.int32,
    arena: Int64Array,
) -> None:
    """Add (sign 1) or subtract (-1) the label evidence of the listed voxels.

    Most of it is for one of the two labels in the record; the rest is postponed until its rows have been prefetched.
    """
    found, pixels, weights = group.near.record, group.near.pixel, group.near.weight
    records, more = surface.records, surface.more
    rare, postponed = group.rare, 0
    flat_more = more.reshape(-1)
    for m in range(count):
        record, label = np.uint64(found[m]), np.int32(labels[np.uint32(pixels[m])])
        weight = sign * weights[m]
        names, first, second = records[record, NAMES], records[record, FIRST], records[record, SECOND]
        if (names & NAME == label) & (first != 0):
            records[record, FIRST] = first + weight
        elif ((names >> np.int32(16)) & NAME == label) & (second != 0):
            records[record, SECOND] = second + weight
        elif label != 0:
            row = records[record, MORE]
            if (row == 0) & (first == 0):
                set_counter(records, record, more, 0, label, weight)
            elif (row == 0) & (second == 0):
                set_counter(records, record, more, 1, label, weight)
            else:
                rare[postponed, 0], rare[postponed, 1], rare[postponed, 2] = np.int32(record), label, weight
                fetch(flat_more, np.uint64(8) * np.uint64(row))
                postponed += 1
    for m in range(postponed):
        add_evidence(records, rare[m, 0], more, rare[m, 1], rare[m, 2], arena)


@numba.njit(**INNER)
def project_blocks(frame: FusedFrame, blocks: BlockRows, span: Span, group: Group, surface: SurfaceRecords) -> None:
    """Project the voxels of blocks span[0] .. span[1] and prefetch what is read next."""
    pixels, spacing = frame.pixels, frame.limits.voxel_size
    T, camera, image = pixels.T_camera_world, pixels.camera, pixels.depth
    coords, rows = blocks.coords, blocks.rows
    projected, z = group.projected, group.z
    plane, has_surface = image_plane(pixels), len(pixels.rgb) > 0 or len(pixels.labels) > 0
    flat_slot, flat_place = surface.slot.reshape(-1), surface.place.reshape(-1)
    for b in range(span[1] - span[0]):
        i, j, k = coords[span[0] + b, 0], coords[span[0] + b, 1], coords[span[0] + b, 2]
        start = first_sample(T, camera, i, j, k, spacing)
        project(start, frame.offsets, plane, projected[b], z[b])
        for n in range(0, VOXELS, OCTET):
            fetch(image, np.uint64(projected[b, n]))
        if has_surface:
            fetch(flat_slot, np.uint64(OCTETS) * np.uint64(rows[span[0] + b]))
            fetch(flat_place, np.uint64(3) * np.uint64(rows[span[0] + b]))


@numba.njit(**INNER)
def measure_blocks(
    frame: FusedFrame,
    blocks: BlockRows,
    span: Span,
    group: Group,
    memory: BlockMemory,
    surface: SurfaceRecords,
    allocator: Allocator,
) -> tuple[np.int64, np.int64]:
    """Compute the contribution of a frame to the projected blocks span[0] .. span[1].

    Returns the number of their octets that are seen and of their voxels that are near the surface, both listed in the group.
    """
    pixels, limits, rows = frame.pixels, frame.limits, blocks.rows
    image, weights, has_weights = pixels.depth, pixels.weight, len(pixels.weight) > 0
    weight, distance = group.weight, group.distance
    depth, pixel_weight = memory.depth, memory.pixel_weight
    flags, words, octets = memory.flags, memory.words, memory.octets
    place, slot = surface.place, surface.slot
    prefetched = Prefetched(surface.records.reshape(-1), pixels.rgb.reshape(-1), pixels.labels)
    has_surface = len(pixels.rgb) > 0 or len(pixels.labels) > 0
    seen, found = np.int64(0), np.int64(0)
    for b in range(span[1] - span[0]):
        row, first = np.int64(rows[span[0] + b]), VOXELS * b
        pixel, z = group.projected[b], group.z[b]
        look_up(image, pixel, depth)
        if has_weights:
            look_up(weights, pixel, pixel_weight)
        block_weight, block_distance = weight[first : first + VOXELS], distance[first : first + VOXELS]
        if limits.behind_per_meter > _ZERO:
            measure_growing(limits, z, depth, pixel_weight, block_weight, block_distance, flags)
        else:
            measure(limits, z, depth, pixel_weight, block_weight, block_distance, flags)
        seen = list_seen(words, b, row, seen, group.source, group.target)
        if has_surface and ensure_near(surface, row, words, octets, allocator):
            segment = (np.int64(place[row, START]), slot[row])
            found = list_near(words, pixel, block_weight, segment, found, group.near, prefetched)
    return seen, found


@kernel(nogil=True)
def fuse_blocks(
    sums: SumArrays,
    blocks: BlockRows,
    share: Share,
    pixels: Pixels,
    limits: DistanceLimits,
    sign: int,
    allocator: Allocator,
) -> int:
    """Add (sign 1) or subtract (-1) the contribution of a frame to a thread's share of the blocks.

    Stops before a group that could need more records than the arena has; returns its number, or the number of groups.
    """
    surface, flat_sums, arena = sums.surface, sums.tsdf.reshape(-1), allocator.arena
    frame = FusedFrame(pixels, limits, voxel_offsets(pixels, limits.voxel_size, VOXEL_AT))
    group, memory, count = make_group(), make_block_memory(), len(blocks.rows)
    last, has_surface = (count + GROUP - 1) // GROUP, len(pixels.rgb) > 0 or len(pixels.labels) > 0
    number = share.first if share.first >= 0 else draw(share.counter)
    while number < last:
        if has_surface and min(arena[END] - arena[NEXT], arena[END_MORE] - arena[NEXT_MORE]) < GROUP * VOXELS:
            return number
        span = (number * GROUP, min((number + 1) * GROUP, count))
        project_blocks(frame, blocks, span, group, surface)
        seen, near = measure_blocks(frame, blocks, span, group, memory, surface, allocator)
        accumulate(flat_sums, group, seen, np.int32(sign))
        if len(pixels.rgb):
            add_colors(surface.records, pixels.rgb, group.near, near, np.int32(sign))
        if len(pixels.labels):
            add_labels(surface, pixels.labels, group, near, np.int32(sign), arena)
        number = draw(share.counter)
    return last
