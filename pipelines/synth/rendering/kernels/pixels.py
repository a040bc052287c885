"""Numba kernels: from visible faces to depth, normals, labels and borders, and similar pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mapping.arrays import BoolArray, Float32Array, Float64Array, Int64Array, UInt8Array
from mapping.compiling import kernel
from pipelines.synth.rendering.kernels.compiling import pixel_kernel
from pipelines.synth.rendering.kernels.shade import EyeRays, FaceTable, Found

Array = NDArray[np.float64]

TURN = 0.98
"""Cosine of the angle between neighbouring normals below which there is a border."""
ALIKE_TURN = 0.9
"""The same for a sample that may take the colour of a pixel of the same body and material."""
ALIKE_DEPTH = 0.03
"""Greatest relative difference of their depths."""


BRIGHTEST = 4.0
"""Upper limit of linear light in an antialiased pixel."""


class Drawn(NamedTuple):
    """Inverse depth (S, H, W), 0 for nothing, and face (S, H, W), -1 for none; layers after the first continue the numbering."""

    nearness: Array
    face: NDArray[np.int32]


class Layers(NamedTuple):
    """The static and the moving faces: face f of the latter is numbered number + f."""

    static: FaceTable
    moving: FaceTable
    number: int


class Truth(NamedTuple):
    """Output of the kernels for each of K pixels: `seen` (K, 5) depth and the plane seen in camera axes (unit normal towards
    the camera, offset), then the returned arrays."""

    seen: Array
    depth: NDArray[np.float32]
    normals: NDArray[np.float32]
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    is_object: NDArray[np.bool_]
    material: NDArray[np.int32]


class Bodies(NamedTuple):
    """Of each body (B,): instance number, label and whether it is an object; `first_material` is the offset of a
    layer's materials."""

    numbers: NDArray[np.uint16]
    labels: NDArray[np.uint8]
    is_object: NDArray[np.bool_]
    first_material: int


class LayerFaces(NamedTuple):
    """The faces of a layer and the bodies they belong to."""

    table: FaceTable
    bodies: Bodies


@pixel_kernel
def world_directions(
    first: int, last: int, R_world_camera: Float64Array, directions: Float64Array, out: Float64Array
) -> None:
    """Turn camera directions (K, 3) into the world."""
    for k in range(first, last):
        x, y, z = directions[k, 0], directions[k, 1], directions[k, 2]
        for axis in range(3):
            out[k, axis] = R_world_camera[axis, 0] * x + R_world_camera[axis, 1] * y + R_world_camera[axis, 2] * z


@pixel_kernel
def measure(
    first: int, last: int, rays: EyeRays, found: Found, part: LayerFaces, R_camera_world: Float64Array, out: Truth
) -> None:
    """The truth of the chosen rays."""
    eye, dirs, _ = rays
    chosen, t, face = found.chosen, found.t, found.face
    table, bodies = part
    planes, R = table.planes, R_camera_world
    for k in range(first, last):
        if not chosen[k]:
            continue
        f = face[k]
        nx, ny, nz = planes[f, 0], planes[f, 1], planes[f, 2]
        slope = nx * dirs[k, 0] + ny * dirs[k, 1] + nz * dirs[k, 2]
        distance = planes[f, 3] - nx * eye[0] - ny * eye[1] - nz * eye[2]
        depth = float(t[k])
        # From the plane, whose normal is that given out, except where ray and plane are nearly parallel.
        if abs(slope) > 1e-7 and abs(distance / slope - depth) < 1e-3 * (1.0 + depth):
            depth = distance / slope
        sign = -1.0 if slope > 0.0 else 1.0
        out.seen[k, 0] = depth
        out.depth[k] = depth
        for axis in range(3):
            component = sign * (R[axis, 0] * nx + R[axis, 1] * ny + R[axis, 2] * nz)
            out.seen[k, 1 + axis] = component
            out.normals[k, axis] = component
        out.seen[k, 4] = sign * distance
        b = table.face_body[f]
        out.labels[k], out.instances[k], out.is_object[k] = bodies.labels[b], bodies.numbers[b], bodies.is_object[b]
        out.material[k] = bodies.first_material + table.face_material[f]


@kernel(nogil=True)
def borders(edge_kinds: UInt8Array, truth: Truth) -> BoolArray:
    """(H, W) pixels on an edge or at a change of instance, material or normal, where one sample is not enough."""
    height, width = edge_kinds.shape
    out = edge_kinds > 0
    seen, instances, material = truth.seen, truth.instances, truth.material
    for i in range(height):
        for j in range(width):
            p = i * width + j
            for k in range(2):
                if (k == 0 and j + 1 == width) or (k == 1 and i + 1 == height):
                    continue
                q = p + 1 if k == 0 else p + width
                if instances[p] == instances[q] and material[p] == material[q]:
                    turn = seen[p, 1] * seen[q, 1] + seen[p, 2] * seen[q, 2] + seen[p, 3] * seen[q, 3]
                    if turn >= TURN:
                        continue
                out[i, j] = True
                out[i + k, j + 1 - k] = True
    return out


@kernel(inline="always")
def _alike(f: int, g: int, table: FaceTable) -> bool:
    planes, body, material = table.planes, table.face_body, table.face_material
    if body[f] != body[g] or material[f] != material[g]:
        return False
    turn = planes[f, 0] * planes[g, 0] + planes[f, 1] * planes[g, 1] + planes[f, 2] * planes[g, 2]
    return bool(turn > ALIKE_TURN)


@kernel(inline="always")
def _same_surface(f: int, g: int, layers: Layers) -> bool:
    """Whether two faces, counted over both layers, belong to one surface; -1 is the sky."""
    if f == g:
        return True
    if f < 0 or g < 0 or (f < layers.number) != (g < layers.number):
        return False
    if f < layers.number:
        return _alike(f, g, layers.static)
    return _alike(f - layers.number, g - layers.number, layers.moving)


@pixel_kernel
def share_colors(
    places: Int64Array,
    samples: Drawn,
    drawn: Drawn,
    layers: Layers,
    linear: Float32Array,
    total: Float32Array,
    missing: BoolArray,
) -> None:
    """Add to `total` (N, 3) the colours of further samples within pixels `places` (N,) that show the same surface as a
    nearby pixel.

    Parameters
    ----------
    samples, drawn : the faces at the samples (S, H, W), and at the centres of the pixels (1, H, W).
    linear : (H * W, 3) colours of the pixels; each is limited to BRIGHTEST.
    missing : (S, N) set where a sample found none and must be shaded itself.
    """
    height, width = drawn.face.shape[1], drawn.face.shape[2]
    for n in range(len(places)):
        v, u = places[n] // width, places[n] % width
        for s in range(len(samples.face)):
            face, near = samples.face[s, v, u], samples.nearness[s, v, u]
            pixel = -1
            for ring in range(9):  # the pixel itself, then those around it
                place = (ring + 4) % 9
                y, x = v + place // 3 - 1, u + place % 3 - 1
                if y < 0 or x < 0 or y >= height or x >= width:
                    continue
                apart = abs(drawn.nearness[0, y, x] - near)
                if apart <= ALIKE_DEPTH * near and _same_surface(face, drawn.face[0, y, x], layers):
                    pixel = y * width + x
                    break
            missing[s, n] = pixel < 0
            if pixel >= 0:
                for axis in range(3):
                    total[n, axis] += min(linear[pixel, axis], BRIGHTEST)
