"""Numba kernels: light-map grids on planes. A chart is one plane of one body; its nodes lie on a grid of the world's axes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import BoolArray, Float32Array, Float64Array, Int32Array
from mapping.compiling import kernel


class Charts(NamedTuple):
    """Storage of the light of each face.

    face_chart (F,); per chart: axes (C, 2) the world axes its grid runs along, origin (C, 2) and size (C, 2) in grid steps,
    offset (C,) its first node; step in metres. Node (i, j) of a chart lies at ((origin + (i, j)) * step) on those axes.
    """

    face_chart: NDArray[np.int32]
    axes: NDArray[np.int32]
    origin: NDArray[np.int32]
    size: NDArray[np.int32]
    offset: NDArray[np.int64]
    step: float


@kernel()
def _closest_on_triangle(
    p: Float64Array, a: Float64Array, b: Float64Array, c: Float64Array
) -> tuple[float, float, float]:
    """(squared distance, weight of b, weight of c) of the point of a plane triangle next to p."""
    best, best_v, best_w = 1e30, 0.0, 0.0
    ab, ac, ap = b - a, c - a, p - a
    area = ab[0] * ac[1] - ab[1] * ac[0]
    if abs(area) > 1e-14:
        v = (ap[0] * ac[1] - ap[1] * ac[0]) / area
        w = (ab[0] * ap[1] - ab[1] * ap[0]) / area
        if v >= 0.0 and w >= 0.0 and v + w <= 1.0:
            return 0.0, v, w
    for k in range(3):
        start = a if k == 0 else (b if k == 1 else c)
        end = b if k == 0 else (c if k == 1 else a)
        edge = end - start
        length = edge[0] * edge[0] + edge[1] * edge[1]
        t = 0.0
        if length > 0.0:
            t = min(1.0, max(0.0, ((p[0] - start[0]) * edge[0] + (p[1] - start[1]) * edge[1]) / length))
        dx, dy = start[0] + t * edge[0] - p[0], start[1] + t * edge[1] - p[1]
        distance = dx * dx + dy * dy
        if distance < best:
            best = distance
            best_v = (1.0 - t) if k == 1 else (t if k == 0 else 0.0)
            best_w = t if k == 1 else (1.0 - t if k == 2 else 0.0)
    return best, best_v, best_w


@kernel()
def assign_nodes(
    vertices: Float64Array, faces: Int32Array, charts: Charts, count: int
) -> tuple[Int32Array, Float32Array]:
    """(face, weights of its second and third corner) of each node: the nearest face of its chart, -1 if none is near."""
    node_face = np.full(count, -1, np.int32)
    node_weights = np.zeros((count, 2), np.float32)
    nearest = np.full(count, (1.5 * charts.step) ** 2)
    corners = np.zeros((3, 2))
    for f in range(len(faces)):
        chart = charts.face_chart[f]
        for k in range(3):
            for axis in range(2):
                corners[k, axis] = (
                    vertices[faces[f, k], charts.axes[chart, axis]] / charts.step - charts.origin[chart, axis]
                )
        i0 = max(0, math.floor(corners[:, 0].min()))
        i1 = min(charts.size[chart, 0] - 1, math.ceil(corners[:, 0].max()))
        j0 = max(0, math.floor(corners[:, 1].min()))
        j1 = min(charts.size[chart, 1] - 1, math.ceil(corners[:, 1].max()))
        for i in range(i0, i1 + 1):
            for j in range(j0, j1 + 1):
                p = np.array([float(i), float(j)])
                distance, v, w = _closest_on_triangle(p, corners[0], corners[1], corners[2])
                distance *= charts.step * charts.step
                node = charts.offset[chart] + i * charts.size[chart, 1] + j
                if distance < nearest[node]:
                    nearest[node] = distance
                    node_face[node] = f
                    node_weights[node, 0], node_weights[node, 1] = v, w
    return node_face, node_weights


@kernel()
def node_points(
    vertices: Float64Array,
    faces: Int32Array,
    corner_normals: Float32Array,
    node_face: Int32Array,
    node_weights: Float32Array,
) -> tuple[Float64Array, Float64Array]:
    """World points (N, 3) just inside each node's face and shading normals (N, 3); zero for nodes without a face."""
    points = np.zeros((len(node_face), 3))
    normals = np.zeros((len(node_face), 3))
    for node in range(len(node_face)):
        f = node_face[node]
        if f < 0:
            continue
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        v, w = float(node_weights[node, 0]), float(node_weights[node, 1])
        if (
            min(v, w, 1.0 - v - w) <= 1e-6
        ):  # on the border: a centimetre towards the centre, out of the neighbouring wall
            middle = (a + b + c) / 3.0
            p = a + v * (b - a) + w * (c - a)
            inward = middle - p
            share = min(0.3, 0.01 / max(1e-9, math.sqrt(np.sum(inward * inward))))
            points[node] = p + share * inward
        else:
            points[node] = a + v * (b - a) + w * (c - a)
        normal = (1.0 - v - w) * corner_normals[f, 0] + v * corner_normals[f, 1] + w * corner_normals[f, 2]
        normals[node] = normal / max(1e-9, math.sqrt(np.sum(normal * normal)))
    return points, normals


@kernel(inline="always")
def nearest_node(x: float, y: float, z: float, face: int, charts: Charts) -> int:
    """The node of a face's chart that is next to a world point on it."""
    chart = charts.face_chart[face]
    a = x if charts.axes[chart, 0] == 0 else y  # axes are (1, 2), (0, 2) or (0, 1)
    b = y if charts.axes[chart, 1] == 1 else z
    i = math.floor(a / charts.step + 0.5) - charts.origin[chart, 0]
    j = math.floor(b / charts.step + 0.5) - charts.origin[chart, 1]
    i = min(charts.size[chart, 0] - 1, max(0, i))
    j = min(charts.size[chart, 1] - 1, max(0, j))
    return int(charts.offset[chart] + i * charts.size[chart, 1] + j)


@kernel()
def fill_invalid(values: Float32Array, valid: BoolArray, charts: Charts, rounds: int) -> None:
    """Set nodes inside a solid to the mean of their valid neighbours, in place, one ring per round."""
    for _ in range(rounds):
        before = valid.copy()
        for chart in range(len(charts.offset)):
            n, m = charts.size[chart, 0], charts.size[chart, 1]
            for i in range(n):
                for j in range(m):
                    node = charts.offset[chart] + i * m + j
                    if before[node]:
                        continue
                    total, count = np.zeros(values.shape[1]), 0
                    for di in range(-1, 2):
                        for dj in range(-1, 2):
                            if 0 <= i + di < n and 0 <= j + dj < m and before[node + di * m + dj]:
                                total += values[node + di * m + dj]
                                count += 1
                    if count > 0:
                        values[node] = total / count
                        valid[node] = True


@kernel(nogil=True)
def blur(first: int, last: int, values: Float32Array, valid: BoolArray, charts: Charts, out: Float32Array) -> None:
    """Fill out with a 5 x 5 binomial mean over the valid nodes of each chart."""
    kernel = np.array([1.0, 4.0, 6.0, 4.0, 1.0])
    for chart in range(first, last):
        n, m = charts.size[chart, 0], charts.size[chart, 1]
        for i in range(n):
            for j in range(m):
                node = charts.offset[chart] + i * m + j
                out[node] = values[node]
                if not valid[node]:
                    continue
                total0, total1, total2 = 0.0, 0.0, 0.0
                weight = 0.0
                for di in range(-2, 3):
                    for dj in range(-2, 3):
                        if 0 <= i + di < n and 0 <= j + dj < m and valid[node + di * m + dj]:
                            w = kernel[di + 2] * kernel[dj + 2]
                            other = values[node + di * m + dj]
                            total0 += w * other[0]
                            total1 += w * other[1]
                            total2 += w * other[2]
                            weight += w
                out[node, 0], out[node, 1], out[node, 2] = total0 / weight, total1 / weight, total2 / weight
