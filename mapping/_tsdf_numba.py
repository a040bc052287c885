"""Compiled fusion: the arithmetic of `_tsdf_numpy`, a group of blocks of 512 voxels at a time.

First it is found what the frame says to all voxels of a group, in flat loops that the compiler turns into vector
instructions; then that is added to the sums of the octets that are seen, and to colour and label of the voxels near the surface,
about one in eight. What the second step needs from memory is asked for in the first. Threads work on disjoint rows and what a
frame adds does not depend on what is in the map, so the sums are the same for any number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping._bits_numba import NONE, ONE, add_eight, draw, fetch, lowest_bit
from mapping._kernel_cache import INNER
from mapping._octets import OCTET, OCTETS, VOXEL_AT
from mapping._surface_numba import (
    BLUE,
    END,
    END_MORE,
    FIRST,
    GREEN,
    MORE,
    NAME,
    NAMES,
    NEXT,
    NEXT_MORE,
    PAINT,
    RED,
    SECOND,
    START,
    Surface,
    admit,
    support,
)
from mapping._tsdf_numpy import COLOR_SHIFT, FAR, NEAR, SIDE, WEIGHT_UNIT

VOXELS = SIDE**3
GROUP = 8  # blocks that a thread takes at a time: what is said to them fits into its second-level cache
BEHIND = np.float32(1e30)  # the depth of a voxel that falls on no pixel: behind everything
FAST = {"contract", "nsz", "arcp"}
NEAR_BITS, SEEN = np.uint64(0x0101010101010101), np.uint8(2)  # of eight voxels; of one
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_UNIT, _NEAR, _FAR, _TINY = np.float32(WEIGHT_UNIT), np.float32(NEAR), np.float32(FAR), np.float32(1e-9)


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
    behind_per_meter: np.float32


class Scratch(NamedTuple):
    """What the steps of one block hand on, by voxel in the order of octets.

    flags has bit 0 for a voxel near the surface and bit 1 for one that is seen; `words` is `flags` by octet. near (64,) lists
    octets.
    """

    pixel: NDArray[np.int32]
    z: NDArray[np.float32]
    depth: NDArray[np.float32]
    pixel_weight: NDArray[np.float32]
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]
    near: NDArray[np.uint8]


class Group(NamedTuple):
    """What a frame says to a group of blocks.

    weight, distance (GROUP * 512,) by block and voxel, in the order of octets. source (GROUP * 64,) lists the octets that are
    seen, and target where in the volume they are. record, pixel and near_weight (GROUP * 512,) are of the voxels near the
    surface; rare (GROUP * 512, 3), record, label and weight of those that are put aside, is working memory.
    """

    weight: NDArray[np.int32]
    distance: NDArray[np.int32]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    record: NDArray[np.int64]
    pixel: NDArray[np.int32]
    near_weight: NDArray[np.int32]
    rare: NDArray[np.int32]


@numba.njit(nogil=True)
def make_scratch() -> Any:
    """Working memory of one thread for one block."""
    words = np.zeros(VOXELS // 8, np.uint64)
    return Scratch(
        np.zeros(VOXELS, np.int32),
        np.zeros(VOXELS, np.float32),
        np.zeros(VOXELS, np.float32),
        np.ones(VOXELS, np.float32),
        words.view(np.uint8),
        words,
        np.zeros(OCTETS, np.uint8),
    )


@numba.njit(nogil=True)
def make_group() -> Any:
    """Working memory of one thread for a group of blocks."""
    most = GROUP * VOXELS
    return Group(
        np.zeros(most, np.int32),
        np.zeros(most, np.int32),
        np.zeros(GROUP * OCTETS, np.int64),
        np.zeros(GROUP * OCTETS, np.int64),
        np.zeros(most, np.int64),
        np.zeros(most, np.int32),
        np.zeros(most, np.int32),
        np.zeros((most, 3), np.int32),
    )


@numba.njit(nogil=True)
def voxel_offsets(pixels: Any, spacing: Any, order: Any) -> Any:
    """Three times (512,): steps from the first voxel of a block to each in camera axes, x and y times the focal lengths.

    `order` (512,) are the numbers of the voxels in the order in which they are wanted.
    """
    steps = np.zeros((3, VOXELS), np.float32)
    for axis in range(3):
        scale = pixels.camera[axis] if axis < 2 else _ONE
        R = pixels.T_camera_world[axis]
        for n in range(VOXELS):
            voxel = np.int64(order[n])
            step = R[0] * (voxel >> 6) + R[1] * ((voxel >> 3) & 7) + R[2] * (voxel & 7)
            steps[axis, n] = np.float32(step * spacing * scale)
    return steps[0], steps[1], steps[2]


@numba.njit(**INNER)
def first_sample(T: Any, camera: Any, x: Any, y: Any, z: Any, spacing: Any) -> Any:
    """The first sample point of block (x, y, z) in camera axes, x and y times the focal lengths."""
    wx, wy, wz = (SIDE * x + 0.5) * spacing, (SIDE * y + 0.5) * spacing, (SIDE * z + 0.5) * spacing
    return (
        np.float32((T[0, 0] * wx + T[0, 1] * wy + T[0, 2] * wz + T[0, 3]) * camera[0]),
        np.float32((T[1, 0] * wx + T[1, 1] * wy + T[1, 2] * wz + T[1, 3]) * camera[1]),
        np.float32(T[2, 0] * wx + T[2, 1] * wy + T[2, 2] * wz + T[2, 3]),
    )


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def project(start: Any, steps_x: Any, steps_y: Any, steps_z: Any, image: Any, pixel: Any, depth: Any) -> None:
    """The pixel that each voxel of a block falls on and its depth along camera z.

    `start` (x, y, z) is the first sample point in camera axes, x and y times the focal lengths, and steps (512,) are from
    there to each. image is (cx + 1/2, cy + 1/2, height, width).
    """
    x0, y0, z0 = start
    u0, v0, height, width = image
    stride = np.int32(width)
    for n in range(VOXELS):
        z = z0 + steps_z[n]
        over_z = _ONE / z
        u = (x0 + steps_x[n]) * over_z + u0
        v = (y0 + steps_y[n]) * over_z + v0
        inside = (z > _NEAR) & (u >= _ZERO) & (u < width) & (v >= _ZERO) & (v < height)
        pixel[n] = np.int32(v if inside else _ZERO) * stride + np.int32(u if inside else _ZERO)
        depth[n] = z if inside else BEHIND


@numba.njit(**INNER)
def look_up(image: Any, pixel: Any, out: Any) -> None:
    """The image's values at the pixels."""
    for n in range(VOXELS):
        out[n] = image[np.uint32(pixel[n])]


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def measure(limits: Any, z: Any, depth: Any, pixel_weight: Any, weight: Any, distance: Any, flags: Any) -> None:
    """Weight and weighted distance of every voxel of a block, which are seen and which are near the surface."""
    truncation, behind, surface, eps = limits.truncation, limits.behind, limits.surface, np.float32(limits.voxel_size)
    per_truncation, fall = _ONE / truncation, _ONE / max(behind - eps, np.float32(1e-9))
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
        near = np.uint8((sdf <= surface) & (sdf >= -surface) & (quanta > 0))
        flags[n] = near | (SEEN if quanta > 0 else np.uint8(0))


@numba.njit(error_model="numpy", fastmath=FAST, **INNER)
def measure_growing(limits: Any, z: Any, depth: Any, pixel_weight: Any, weight: Any, distance: Any, flags: Any) -> None:
    """`measure` with a band that is deeper behind what is farther away; apart, so that who does without does not pay for it."""
    truncation, surface, eps = limits.truncation, limits.surface, np.float32(limits.voxel_size)
    least, per_meter, per_truncation = limits.behind, limits.behind_per_meter, _ONE / truncation
    for n in range(VOXELS):
        sdf = depth[n] - z[n]
        grown = per_meter * depth[n]
        behind = grown if grown > least else least
        seen = (sdf >= -behind) & (depth[n] >= limits.min_depth) & (depth[n] <= _FAR)
        seen &= (depth[n] <= limits.max_depth) | (sdf >= truncation)
        width = behind - eps
        drop = (behind + sdf) / (width if width > _TINY else _TINY)
        scale = pixel_weight[n] * (drop if drop < _ONE else _ONE) * _UNIT + _HALF
        quanta = np.int32(scale if seen else _ZERO)
        cut = sdf if sdf < truncation else truncation
        part = (cut if cut > -truncation else -truncation) * per_truncation * np.float32(quanta)
        weight[n] = quanta
        distance[n] = np.int32((part if seen else _ZERO) + (_HALF if part >= _ZERO else -_HALF))
        near = np.uint8((sdf <= surface) & (sdf >= -surface) & (quanta > 0))
        flags[n] = near | (SEEN if quanta > 0 else np.uint8(0))


@numba.njit(**INNER)
def list_seen(words: Any, block: Any, row: Any, count: Any, source: Any, target: Any) -> Any:
    """Add the octets of block number `block` of the group, in `row` of the volume, that are seen to the list of `count` so far.

    Returns how many there are then.
    """
    for octet in range(OCTETS):
        source[count], target[count] = OCTETS * block + octet, OCTETS * row + octet
        count += words[octet] != NONE
    return count


@numba.njit(**INNER)
def list_near(
    words: Any, pixels: Any, weights: Any, first: Any, slot: Any, start: Any, count: Any, lists: Any, needed: Any
) -> Any:
    """Add the voxels of a block that are near the surface to the `lists` of `count` so far; returns how many there are then.

    Weights of the block begin at `first`, its records at `start`; slot (64,) tells where there each octet is. What will be
    `needed` of records, colours and labels is asked for here: it comes from memory while the next blocks are computed.
    """
    (record, pixel, near_weight), (records, rgb, labels) = lists, needed
    end = np.int64(count)
    for part in range(0, OCTETS, 8):
        bits = NONE
        for m in range(8):
            # The product brings the lowest bits of eight bytes side by side into the highest byte.
            near = (words[part + m] & NEAR_BITS) * np.uint64(0x0102040810204080)
            bits |= (near >> np.uint64(56)) << np.uint64(8 * m)
        while bits != NONE:
            n = np.uint64(8 * part) + lowest_bit(bits)
            record[end] = start + 8 * np.int64(slot[n >> np.uint64(3)]) + np.int64(n & np.uint64(7))
            fetch(records, np.uint64(8) * np.uint64(record[end]))
            fetch(rgb, np.uint64(3) * np.uint64(pixels[n]))
            fetch(labels, np.uint64(pixels[n]))
            pixel[end], near_weight[end] = pixels[n], weights[np.uint64(first) + n]
            end += 1
            bits &= bits - ONE
    return end


@numba.njit(**INNER)
def accumulate(sums: Any, group: Any, count: Any, sign: Any) -> None:
    """Add to or subtract from the sums of the listed octets, (64 B, 2, 8) flat."""
    source, target, distance, weight, size = group.source, group.target, group.distance, group.weight, 2 * OCTET
    for m in range(count):
        add_eight(sums, size * target[m], distance, OCTET * source[m], sign)
        add_eight(sums, size * target[m] + OCTET, weight, OCTET * source[m], sign)


@numba.njit(**INNER)
def admit_near(surface: Any, row: Any, words: Any, octets: Any, room: Any, spare: Any) -> Any:
    """See that all voxels of a block that are near the surface have records; returns whether there are any."""
    count = 0
    for octet in range(OCTETS):
        octets[count & (OCTETS - 1)] = octet
        count += words[octet] & NEAR_BITS != NONE
    if count > 0:
        admit(surface.place, surface.slot, row, octets, count, surface.records, room, spare)
    return count > 0


@numba.njit(**INNER)
def paint(records: NDArray[np.int32], rgb: NDArray[np.uint8], group: Any, count: int, sign: int) -> None:
    """Add to or subtract from the colour of the listed voxels."""
    found, pixels, weights, plus = group.record, group.pixel, group.near_weight, np.int32(sign)
    for m in range(count):
        record, pixel, weight = np.uint64(found[m]), np.uint32(pixels[m]), max(weights[m] >> COLOR_SHIFT, np.int32(1))
        weight *= plus
        red, green, blue = np.int32(rgb[pixel, 0]), np.int32(rgb[pixel, 1]), np.int32(rgb[pixel, 2])
        sum_red, sum_green, sum_blue = records[record, RED], records[record, GREEN], records[record, BLUE]
        total = records[record, PAINT]
        records[record, RED] = sum_red + weight * red
        records[record, GREEN] = sum_green + weight * green
        records[record, BLUE] = sum_blue + weight * blue
        records[record, PAINT] = total + weight


@numba.njit(**INNER)
def vote(surface: Any, labels: NDArray[Any], group: Any, count: int, sign: int, room: NDArray[np.int64]) -> None:
    """Add to or subtract from the label evidence of the listed voxels.

    Most votes are for one of the two labels in the record; those for others are put aside until their rows have come from memory.
    """
    found, pixels, weights, plus = group.record, group.pixel, group.near_weight, np.int32(sign)
    records, more, rare, others = surface.records, surface.more, group.rare, 0
    flat_more = more.reshape(-1)
    for m in range(count):
        record, label, weight = np.uint64(found[m]), np.int32(labels[np.uint32(pixels[m])]), plus * weights[m]
        names, first, second = records[record, NAMES], records[record, FIRST], records[record, SECOND]
        if (names & NAME == label) & (first != 0):
            records[record, FIRST] = first + weight
        elif ((names >> np.int32(16)) & NAME == label) & (second != 0):
            records[record, SECOND] = second + weight
        elif label != 0:
            row = records[record, MORE]
            if (row == 0) & (first == 0):
                records[record, FIRST] = weight
                records[record, NAMES] = (names & ~NAME) | label
            elif (row == 0) & (second == 0):
                records[record, SECOND] = weight
                records[record, NAMES] = (names & NAME) | (label << np.int32(16))
            else:
                rare[others, 0], rare[others, 1], rare[others, 2] = np.int32(record), label, weight
                fetch(flat_more, np.uint64(8) * np.uint64(row))
                others += 1
    for m in range(others):
        support(records, rare[m, 0], more, rare[m, 1], rare[m, 2], room)


@numba.njit(**INNER)
def gather(
    pixels: Any, blocks: Any, span: Any, steps: Any, limits: Any, scratch: Any, group: Any, surface: Any, stores: Any
) -> Any:
    """Collect what the frame says to blocks span[0] .. span[1].

    Returns how many of their octets are seen and how many of their voxels are near the surface.
    """
    (coords, rows), (room, spare), (steps_x, steps_y, steps_z) = blocks, stores, steps
    T, camera, image, weights, has_weights = (
        pixels.T_camera_world,
        pixels.camera,
        pixels.depth,
        pixels.weight,
        len(pixels.weight) > 0,
    )
    view = (camera[2] + _HALF, camera[3] + _HALF, np.float32(pixels.shape[0]), np.float32(pixels.shape[1]))
    pixel, z, depth, pixel_weight = scratch.pixel, scratch.z, scratch.depth, scratch.pixel_weight
    flags, words, near, weight, distance = scratch.flags, scratch.words, scratch.near, group.weight, group.distance
    place, slot, lists = surface.place, surface.slot, (group.record, group.pixel, group.near_weight)
    flat_slot, flat_place = slot.reshape(-1), place.reshape(-1)
    needed = (surface.records.reshape(-1), pixels.rgb.reshape(-1), pixels.labels)
    has_surface, seen, found = len(pixels.rgb) > 0 or len(pixels.labels) > 0, np.int64(0), np.int64(0)
    for b in range(span[1] - span[0]):
        row = np.int64(rows[span[0] + b])
        if has_surface:
            fetch(flat_slot, np.uint64(OCTETS * row))
            fetch(flat_place, np.uint64(3 * row))
        x, y, w = coords[span[0] + b, 0], coords[span[0] + b, 1], coords[span[0] + b, 2]
        project(first_sample(T, camera, x, y, w, limits.voxel_size), steps_x, steps_y, steps_z, view, pixel, z)
        look_up(image, pixel, depth)
        if has_weights:
            look_up(weights, pixel, pixel_weight)
        first = VOXELS * b
        block_weight, block_distance = weight[first : first + VOXELS], distance[first : first + VOXELS]
        if limits.behind_per_meter > _ZERO:
            measure_growing(limits, z, depth, pixel_weight, block_weight, block_distance, flags)
        else:
            measure(limits, z, depth, pixel_weight, block_weight, block_distance, flags)
        seen = list_seen(words, b, row, seen, group.source, group.target)
        if has_surface and admit_near(surface, row, words, near, room, spare):
            start = np.int64(place[row, START])
            found = list_near(words, pixel, weight, first, slot[row], start, found, lists, needed)
    return seen, found


@numba.njit(nogil=True, cache=True)
def fuse_blocks(
    tsdf: NDArray[np.int32],
    surface: Surface,
    blocks: tuple[NDArray[np.int32], NDArray[np.int32]],
    groups: tuple[int, NDArray[np.int64]],
    pixels: Pixels,
    limits: Limits,
    sign: int,
    stores: tuple[NDArray[np.int64], NDArray[np.int32]],
) -> int:
    """Add (sign 1) or subtract (-1) what a frame says to the blocks `coords` (B, 3) in `rows` (B,) of the sums.

    `groups` is (first, counter): a thread begins with group `first`, unless that is -1, and draws the others from the counter;
    `stores` are its room for records and its spare stretches. Stops before a group that could need more room than there is;
    returns its number.
    """
    rows, (room, _), sums = blocks[1], stores, tsdf.reshape(-1)
    steps, scratch, group = voxel_offsets(pixels, limits.voxel_size, VOXEL_AT), make_scratch(), make_group()
    last, has_surface = (len(rows) + GROUP - 1) // GROUP, len(pixels.rgb) > 0 or len(pixels.labels) > 0
    number = groups[0] if groups[0] >= 0 else draw(groups[1])
    while number < last:
        if has_surface and min(room[END] - room[NEXT], room[END_MORE] - room[NEXT_MORE]) < GROUP * VOXELS:
            return number
        span = (number * GROUP, min((number + 1) * GROUP, len(rows)))
        seen, near = gather(pixels, blocks, span, steps, limits, scratch, group, surface, stores)
        accumulate(sums, group, seen, np.int32(sign))
        if len(pixels.rgb):
            paint(surface.records, pixels.rgb, group, near, sign)
        if len(pixels.labels):
            vote(surface, pixels.labels, group, near, sign, room)
        number = draw(groups[1])
    return last
