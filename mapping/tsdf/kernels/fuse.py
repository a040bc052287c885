"""Compiled fusion: what `measure` finds is added to a volume, a group of blocks of 512 voxels at a time.

First it is found what the frame says to all voxels of a group; then that is added to the sums of the octets that are seen, and to
colour and label of the voxels near the surface, about one in eight. What the second step needs from memory is asked for in the
first. Threads work on disjoint rows and what a frame adds does not depend on what is in the map, so the sums are the same for any
number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mapping.compiling import INNER, kernel
from mapping.tsdf.grid import COLOR_SHIFT
from mapping.tsdf.kernels.bits import NONE, ONE, add_eight, draw, fetch, lowest_bit
from mapping.tsdf.kernels.measure import (
    VOXELS,
    Limits,
    Pixels,
    first_sample,
    look_up,
    measure,
    measure_growing,
    project,
    view_of,
    voxel_offsets,
)
from mapping.tsdf.kernels.surface import admit, keep, support
from mapping.tsdf.layout import (
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
    OCTET,
    OCTETS,
    PAINT,
    RED,
    SECOND,
    START,
    VOXEL_AT,
    Surface,
)

GROUP = 8  # blocks that a thread takes at a time: what is said to them fits into its second-level cache
NEAR_BITS = np.uint64(0x0101010101010101)  # of an octet
_ZERO = np.float32(0)


class Group(NamedTuple):
    """What a frame says to a group of blocks.

    projected and z (GROUP, 512), the pixel and depth of every voxel, and weight and distance (GROUP * 512,) are by block and
    voxel, in the order of octets. source (GROUP * 64,) lists the octets that are seen, and target where in the volume they are.
    record, pixel and near_weight (GROUP * 512,) are of the voxels near the surface.

    The others are working memory: rare (GROUP * 512, 3), record, label and weight of votes that are put aside; and of one block
    depth and pixel_weight (512,) of the voxels' pixels, flags (512,) with bit 0 for a voxel near the surface and bit 1 for one
    that is seen, words (64,), which is flags by octet, and near (64,), a list of octets.
    """

    projected: NDArray[np.int32]
    z: NDArray[np.float32]
    weight: NDArray[np.int32]
    distance: NDArray[np.int32]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    record: NDArray[np.int64]
    pixel: NDArray[np.int32]
    near_weight: NDArray[np.int32]
    rare: NDArray[np.int32]
    depth: NDArray[np.float32]
    pixel_weight: NDArray[np.float32]
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]
    near: NDArray[np.uint8]


@numba.njit(nogil=True)
def make_group() -> Any:
    """Working memory of one thread for a group of blocks."""
    most, words = GROUP * VOXELS, np.zeros(OCTETS, np.uint64)
    return Group(
        np.zeros((GROUP, VOXELS), np.int32),
        np.zeros((GROUP, VOXELS), np.float32),
        np.zeros(most, np.int32),
        np.zeros(most, np.int32),
        np.zeros(GROUP * OCTETS, np.int64),
        np.zeros(GROUP * OCTETS, np.int64),
        np.zeros(most, np.int64),
        np.zeros(most, np.int32),
        np.zeros(most, np.int32),
        np.zeros((most, 3), np.int32),
        np.zeros(VOXELS, np.float32),
        np.ones(VOXELS, np.float32),
        words.view(np.uint8),
        words,
        np.zeros(OCTETS, np.uint8),
    )


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
                keep(records, record, more, 0, label, weight)
            elif (row == 0) & (second == 0):
                keep(records, record, more, 1, label, weight)
            else:
                rare[others, 0], rare[others, 1], rare[others, 2] = np.int32(record), label, weight
                fetch(flat_more, np.uint64(8) * np.uint64(row))
                others += 1
    for m in range(others):
        support(records, rare[m, 0], more, rare[m, 1], rare[m, 2], room)


@numba.njit(**INNER)
def gather(pixels: Any, blocks: Any, span: Any, steps: Any, limits: Any, group: Any, surface: Any, stores: Any) -> Any:
    """Collect what the frame says to blocks span[0] .. span[1].

    Returns how many of their octets are seen and how many of their voxels are near the surface.
    """
    (coords, rows), (room, spare), (steps_x, steps_y, steps_z), T = blocks, stores, steps, pixels.T_camera_world
    camera, image, weights, has_weights = pixels.camera, pixels.depth, pixels.weight, len(pixels.weight) > 0
    view = view_of(pixels)
    all_pixels, all_z, depth, pixel_weight = group.projected, group.z, group.depth, group.pixel_weight
    flags, words, near, weight, distance = group.flags, group.words, group.near, group.weight, group.distance
    place, slot, lists = surface.place, surface.slot, (group.record, group.pixel, group.near_weight)
    flat_slot, flat_place = slot.reshape(-1), place.reshape(-1)
    needed = (surface.records.reshape(-1), pixels.rgb.reshape(-1), pixels.labels)
    has_surface, seen, found = len(pixels.rgb) > 0 or len(pixels.labels) > 0, np.int64(0), np.int64(0)
    for b in range(span[1] - span[0]):
        x, y, w = coords[span[0] + b, 0], coords[span[0] + b, 1], coords[span[0] + b, 2]
        start = first_sample(T, camera, x, y, w, limits.voxel_size)
        project(start, steps_x, steps_y, steps_z, view, all_pixels[b], all_z[b])
        for n in range(0, VOXELS, OCTET):
            fetch(image, np.uint64(all_pixels[b, n]))
        if has_surface:
            fetch(flat_slot, np.uint64(OCTETS) * np.uint64(rows[span[0] + b]))
            fetch(flat_place, np.uint64(3) * np.uint64(rows[span[0] + b]))
    for b in range(span[1] - span[0]):
        row, pixel, z, first = np.int64(rows[span[0] + b]), all_pixels[b], all_z[b], VOXELS * b
        look_up(image, pixel, depth)
        if has_weights:
            look_up(weights, pixel, pixel_weight)
        block_weight, block_distance = weight[first : first + VOXELS], distance[first : first + VOXELS]
        if limits.behind_per_meter > _ZERO:
            measure_growing(limits, z, depth, pixel_weight, block_weight, block_distance, flags)
        else:
            measure(limits, z, depth, pixel_weight, block_weight, block_distance, flags)
        seen = list_seen(words, b, row, seen, group.source, group.target)
        if has_surface and admit_near(surface, row, words, near, room, spare):
            start_record = np.int64(place[row, START])
            found = list_near(words, pixel, weight, first, slot[row], start_record, found, lists, needed)
    return seen, found


@kernel(nogil=True)
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
    steps, group = voxel_offsets(pixels, limits.voxel_size, VOXEL_AT), make_group()
    last, has_surface = (len(rows) + GROUP - 1) // GROUP, len(pixels.rgb) > 0 or len(pixels.labels) > 0
    number = groups[0] if groups[0] >= 0 else draw(groups[1])
    while number < last:
        if has_surface and min(room[END] - room[NEXT], room[END_MORE] - room[NEXT_MORE]) < GROUP * VOXELS:
            return number
        span = (number * GROUP, min((number + 1) * GROUP, len(rows)))
        seen, near = gather(pixels, blocks, span, steps, limits, group, surface, stores)
        accumulate(sums, group, seen, np.int32(sign))
        if len(pixels.rgb):
            paint(surface.records, pixels.rgb, group, near, sign)
        if len(pixels.labels):
            vote(surface, pixels.labels, group, near, sign, room)
        number = draw(groups[1])
    return last
