"""Rays and points against triangles in a tree of boxes, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mapping.arrays import Float32Array, Float64Array, Int32Array, Int64Array, Span
from mapping.compiling import INNER, kernel

LEAF = 4
"""Most triangles of a leaf."""
DEEPEST = 64
"""Levels of the tree: halves of 2^31 triangles end after fewer."""
EDGE = 1e-9
"""By how much a hit may lie outside of a triangle, in its own lengths: no ray passes between two that share an edge."""
LEAST_STEP = 1e-30
"""A component of a direction that is smaller counts as this, so that its inverse is finite."""


class BoxTree(NamedTuple):
    """Triangles in a binary tree of boxes. Node 0 is the root; a node's box contains those of its children."""

    boxes: Float64Array
    """(N, 2, 3) least and greatest corner of each node."""
    links: Int32Array
    """(N, 2) the two children of a node; of a leaf -1 - the first of its triangles, and their number."""
    corners: Float64Array
    """(F, 3, 3) corners of the triangles in the order of the leaves."""
    faces: Int32Array
    """(F,) the number of each of them in the mesh."""


class RayHits(NamedTuple):
    """First hits of K rays: distance (K,) in lengths of the direction, inf for none; face (K,), -1 for none; uv (K, 2), the
    weights of the second and third corner."""

    distance: Float32Array
    face: Int32Array
    uv: Float32Array


class NearestHits(NamedTuple):
    """The nearest surface of K points: distance (K,), face (K,) and uv (K, 2) as of `RayHits`."""

    distance: Float64Array
    face: Int32Array
    uv: Float32Array


@kernel(**INNER)
def _select(order: Int32Array, keys: Float64Array, axis: int, begin: int, end: int) -> None:
    """Sort order[begin:end] so far that the half with the smaller keys[:, axis] comes first (Hoare's selection)."""
    middle = (begin + end) // 2
    low, high = begin, end - 1
    while low < high:
        pivot = keys[order[(low + high) // 2], axis]
        i, j = low, high
        while i <= j:
            while keys[order[i], axis] < pivot:
                i += 1
            while keys[order[j], axis] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            return


@kernel(nogil=True)
def build(bounds: Float64Array, order: Int32Array, boxes: Float64Array, links: Int32Array) -> int:
    """Build the tree over triangles with `bounds` (F, 2, 3), halving them across the longest side of their centres.

    Puts their numbers in the order of the leaves into `order` (F,), which has all of them, and the nodes into `boxes` (2F, 2, 3)
    and `links` (2F, 2). Returns the number of nodes.
    """
    centres = bounds[:, 0] + bounds[:, 1]
    ranges = np.zeros((DEEPEST, 3), np.int64)  # node, begin, end of what is still to be split
    ranges[0, 2] = len(order)
    waiting, count = 1, 1
    while waiting:
        waiting -= 1
        node, begin, end = ranges[waiting, 0], ranges[waiting, 1], ranges[waiting, 2]
        least, greatest = np.full(3, np.inf), np.full(3, -np.inf)
        boxes[node, 0], boxes[node, 1] = np.inf, -np.inf
        for i in range(begin, end):
            face = order[i]
            for k in range(3):
                boxes[node, 0, k] = min(boxes[node, 0, k], bounds[face, 0, k])
                boxes[node, 1, k] = max(boxes[node, 1, k], bounds[face, 1, k])
                least[k], greatest[k] = min(least[k], centres[face, k]), max(greatest[k], centres[face, k])
        if end - begin <= LEAF:
            links[node, 0], links[node, 1] = -1 - begin, end - begin
            continue
        _select(order, centres, int(np.argmax(greatest - least)), begin, end)
        links[node, 0], links[node, 1] = count, count + 1
        middle = (begin + end) // 2
        for k in range(2):
            ranges[waiting + k, 0] = count + k
            ranges[waiting + k, 1], ranges[waiting + k, 2] = (middle, end) if k else (begin, middle)
        waiting += 2
        count += 2
    return count


@kernel(**INNER)
def _entry(boxes: Float64Array, node: int, origin: Float64Array, inverse: Float64Array, farthest: float) -> float:
    """Where a ray enters a node's box, in lengths of its direction, at least 0; inf where it misses it before `farthest`."""
    near, far = 0.0, farthest
    for k in range(3):
        a = (boxes[node, 0, k] - origin[k]) * inverse[k]
        b = (boxes[node, 1, k] - origin[k]) * inverse[k]
        near, far = max(near, min(a, b)), min(far, max(a, b))
    # The widest error of the products, so that a ray along the side of a flat box does not miss it.
    return near if near <= far * (1 + 1e-12) + 1e-12 else np.inf


@kernel(**INNER, error_model="numpy")
def _crossing(
    corners: Float64Array, i: int, origin: Float64Array, direction: Float64Array, slack: float
) -> tuple[float, float, float]:
    """Distance and weights of the second and third corner of triangle i on a ray (Möller and Trumbore, 1997); inf for a miss."""
    a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
    e0, e1, e2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    f0, f1, f2 = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    p0 = direction[1] * f2 - direction[2] * f1
    p1 = direction[2] * f0 - direction[0] * f2
    p2 = direction[0] * f1 - direction[1] * f0
    determinant = e0 * p0 + e1 * p1 + e2 * p2
    if determinant == 0:
        return np.inf, 0.0, 0.0
    s0, s1, s2 = origin[0] - a[0], origin[1] - a[1], origin[2] - a[2]
    u = (s0 * p0 + s1 * p1 + s2 * p2) / determinant
    q0, q1, q2 = s1 * e2 - s2 * e1, s2 * e0 - s0 * e2, s0 * e1 - s1 * e0
    v = (direction[0] * q0 + direction[1] * q1 + direction[2] * q2) / determinant
    t = (f0 * q0 + f1 * q1 + f2 * q2) / determinant
    if not (u >= -slack and v >= -slack and u + v <= 1 + slack and t >= 0):
        return np.inf, 0.0, 0.0
    return t, u, v


@kernel(nogil=True, error_model="numpy")
def first_hits(tree: BoxTree, rays: Float64Array, rows: Span, found: RayHits) -> None:
    """The first hits of the rays (K, 6), origin and direction, from rows[0] to before rows[1]; of equal ones the lowest face."""
    stack, entries = np.zeros(DEEPEST, np.int32), np.zeros(DEEPEST, np.float64)
    inverse = np.zeros(3, np.float64)
    for row in range(rows[0], rows[1]):
        origin, direction = rays[row, :3], rays[row, 3:]
        for k in range(3):
            step = direction[k]
            inverse[k] = 1 / (step if abs(step) > LEAST_STEP else LEAST_STEP)
        best, face, best_u, best_v = np.inf, -1, 0.0, 0.0
        stack[0], entries[0], waiting = 0, _entry(tree.boxes, 0, origin, inverse, np.inf), 1
        while waiting:
            waiting -= 1
            if not entries[waiting] <= best or entries[waiting] == np.inf:
                continue
            left, right = tree.links[stack[waiting], 0], tree.links[stack[waiting], 1]
            if left < 0:
                for i in range(-1 - left, right - 1 - left):
                    t, u, v = _crossing(tree.corners, i, origin, direction, EDGE)
                    if t < best or (t == best and t < np.inf and tree.faces[i] < face):
                        best, face, best_u, best_v = t, tree.faces[i], u, v
                continue
            near_left = _entry(tree.boxes, left, origin, inverse, best)
            near_right = _entry(tree.boxes, right, origin, inverse, best)
            is_left = near_left <= near_right  # the nearer one is looked at first
            stack[waiting], entries[waiting] = (right, near_right) if is_left else (left, near_left)
            stack[waiting + 1], entries[waiting + 1] = (left, near_left) if is_left else (right, near_right)
            waiting += 2
        found.distance[row], found.face[row] = best, face
        found.uv[row, 0], found.uv[row, 1] = min(max(best_u, 0.0), 1.0), min(max(best_v, 0.0), 1.0)


@kernel(nogil=True, error_model="numpy")
def crossings(
    tree: BoxTree, rays: Float64Array, rows: Span, ends: Int64Array, distance: Float32Array, face: Int32Array
) -> None:
    """Every crossing of the rays (K, 6) with the mesh, from rows[0] to before rows[1]. Without room in `distance` their number
    is put into `ends` (K,); with room each is put before the ray's end there, in the order in which the tree has them."""
    stack, inverse = np.zeros(DEEPEST, np.int32), np.zeros(3, np.float64)
    for row in range(rows[0], rows[1]):
        origin, direction = rays[row, :3], rays[row, 3:]
        for k in range(3):
            step = direction[k]
            inverse[k] = 1 / (step if abs(step) > LEAST_STEP else LEAST_STEP)
        count, waiting = 0, 1
        stack[0] = 0
        while waiting:
            waiting -= 1
            if _entry(tree.boxes, stack[waiting], origin, inverse, np.inf) == np.inf:
                continue
            left, right = tree.links[stack[waiting], 0], tree.links[stack[waiting], 1]
            if left >= 0:
                stack[waiting], stack[waiting + 1] = left, right
                waiting += 2
                continue
            for i in range(-1 - left, right - 1 - left):
                t, _, _ = _crossing(tree.corners, i, origin, direction, 0.0)
                if t < np.inf:
                    count += 1
                    if len(distance):
                        distance[ends[row] - count], face[ends[row] - count] = t, tree.faces[i]
        if not len(distance):
            ends[row] = count


@kernel(**INNER)
def _dot(a: Float64Array, b: Float64Array, p: Float64Array, q: Float64Array) -> float:
    """(b - a) . (q - p)"""
    return (b[0] - a[0]) * (q[0] - p[0]) + (b[1] - a[1]) * (q[1] - p[1]) + (b[2] - a[2]) * (q[2] - p[2])


@kernel(**INNER)
def _share(part: float, rest: float) -> float:
    """part / (part + rest), 0 where both are."""
    return part / (part + rest) if part + rest > 0 else 0.0


@kernel(**INNER, error_model="numpy")
def _nearest_weights(a: Float64Array, b: Float64Array, c: Float64Array, p: Float64Array) -> tuple[float, float]:
    """Weights of b and c in the point of the triangle a b c that is nearest to p (Ericson, Real-Time Collision Detection, 5.1.5:
    by which corner, side or inside the point is nearest to)."""
    b_a, c_a = _dot(a, b, a, p), _dot(a, c, a, p)
    if b_a <= 0 and c_a <= 0:
        return 0.0, 0.0
    b_b, c_b = _dot(a, b, b, p), _dot(a, c, b, p)
    if b_b >= 0 and c_b <= b_b:
        return 1.0, 0.0
    beyond_c = b_a * c_b - b_b * c_a
    if beyond_c <= 0 and b_a >= 0 and b_b <= 0:
        return _share(b_a, -b_b), 0.0
    b_c, c_c = _dot(a, b, c, p), _dot(a, c, c, p)
    if c_c >= 0 and b_c <= c_c:
        return 0.0, 1.0
    beyond_b = b_c * c_a - b_a * c_c
    if beyond_b <= 0 and c_a >= 0 and c_c <= 0:
        return 0.0, _share(c_a, -c_c)
    beyond_a = b_b * c_c - b_c * c_b
    if beyond_a <= 0 and c_b >= b_b and b_c >= c_c:
        weight = _share(c_b - b_b, b_c - c_c)
        return 1 - weight, weight
    whole = beyond_a + beyond_b + beyond_c
    return beyond_b / whole, beyond_c / whole


@kernel(**INNER)
def _box_distance(boxes: Float64Array, node: int, p: Float64Array) -> float:
    """The square of the distance of a point from a node's box."""
    total = 0.0
    for k in range(3):
        outside = max(boxes[node, 0, k] - p[k], p[k] - boxes[node, 1, k], 0.0)
        total += outside * outside
    return total


@kernel(nogil=True, error_model="numpy")
def nearest_hits(tree: BoxTree, points: Float64Array, rows: Span, found: NearestHits) -> None:
    """The nearest surface of the points (K, 3) from rows[0] to before rows[1]; of equal ones the lowest face."""
    stack, entries = np.zeros(DEEPEST, np.int32), np.zeros(DEEPEST, np.float64)
    for row in range(rows[0], rows[1]):
        p = points[row]
        best, face, best_u, best_v = np.inf, -1, 0.0, 0.0
        stack[0], entries[0], waiting = 0, 0.0, 1
        while waiting:
            waiting -= 1
            if entries[waiting] > best:
                continue
            left, right = tree.links[stack[waiting], 0], tree.links[stack[waiting], 1]
            if left >= 0:
                near_left, near_right = _box_distance(tree.boxes, left, p), _box_distance(tree.boxes, right, p)
                is_left = near_left <= near_right
                stack[waiting], entries[waiting] = (right, near_right) if is_left else (left, near_left)
                stack[waiting + 1], entries[waiting + 1] = (left, near_left) if is_left else (right, near_right)
                waiting += 2
                continue
            for i in range(-1 - left, right - 1 - left):
                a, b, c = tree.corners[i, 0], tree.corners[i, 1], tree.corners[i, 2]
                u, v = _nearest_weights(a, b, c, p)
                square = 0.0
                for k in range(3):
                    apart = a[k] + u * (b[k] - a[k]) + v * (c[k] - a[k]) - p[k]
                    square += apart * apart
                if square < best or (square == best and tree.faces[i] < face):
                    best, face, best_u, best_v = square, tree.faces[i], u, v
        found.distance[row], found.face[row] = np.sqrt(best), face
        found.uv[row, 0], found.uv[row, 1] = best_u, best_v
