"""Bodies as flat triangle tables for ray casting and the shading kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.synth.base.world import Body, Material
from pipelines.synth.rendering.kernels.corner_normals import smooth_corner_normals
from pipelines.synth.rendering.kernels.posing import moved_faces, moved_points

Array = NDArray[np.float64]

SMOOTH_ANGLE_DEG = 40.0
"""Faces that meet at less than this are shaded as one round surface (the true normals stay those of the faces)."""


@dataclass(frozen=True, eq=False)
class Surfaces:
    """The triangles of some bodies at their poses, in the world.

    vertices (V, 3) and vertex_body (V,); faces (F, 3) counter-clockwise from outside; planes (F, 4) unit outward normal and
    offset with normal . x = offset; corner_normals (F, 3, 3) for shading; face_body and face_material (F,) indices.
    Per body: numbers (B,) instance values, labels (B,) NYU40, T_body_world (B, 3, 4). materials: every distinct material.
    """

    vertices: Array
    vertex_body: NDArray[np.int32]
    faces: NDArray[np.int32]
    planes: Array
    corner_normals: NDArray[np.float32]
    face_body: NDArray[np.int32]
    face_material: NDArray[np.int32]
    numbers: NDArray[np.uint16]
    labels: NDArray[np.uint8]
    is_object: NDArray[np.bool_]
    T_body_world: Array
    materials: tuple[Material, ...]

    def posed(self, T_world_body: Array) -> Surfaces:
        """The same bodies moved from identity poses to (B, 4, 4) poses; only for surfaces made with `local_surfaces`."""
        R, t = T_world_body[:, :3, :3], T_world_body[:, :3, 3]
        poses = np.ascontiguousarray(T_world_body)
        vertices = moved_points(self.vertices, self.vertex_body, poses)
        planes, corner_normals = moved_faces(self.planes, self.corner_normals, self.face_body, poses)
        R_inverse = R.transpose(0, 2, 1)
        T_body_world = np.concatenate([R_inverse, -R_inverse @ t[:, :, None]], axis=2)
        return Surfaces(
            vertices,
            self.vertex_body,
            self.faces,
            planes,
            corner_normals,
            self.face_body,
            self.face_material,
            self.numbers,
            self.labels,
            self.is_object,
            T_body_world,
            self.materials,
        )


def _concatenate(arrays: Sequence[NDArray[Any]], empty: tuple[int, ...], dtype: type) -> NDArray[Any]:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(empty, dtype)


def local_surfaces(bodies: Sequence[Body]) -> Surfaces:
    """The triangles of bodies in their own frames (identity poses); faces without area are dropped."""
    materials: dict[Material, int] = {}
    vertices: list[Array] = []
    faces: list[NDArray[np.int32]] = []
    corner_normals: list[NDArray[np.float32]] = []
    vertex_body: list[NDArray[np.int32]] = []
    face_body: list[NDArray[np.int32]] = []
    face_material: list[NDArray[np.int32]] = []
    count = 0
    for index, body in enumerate(bodies):
        for part in body.parts:
            points = np.asarray(part.vertices, dtype=np.float64)
            corners = points[part.faces]
            cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            triangles = np.asarray(part.faces, dtype=np.int32)[np.linalg.norm(cross, axis=1) > 1e-10]
            vertices.append(points)
            faces.append(triangles + np.int32(count))
            corner_normals.append(smooth_corner_normals(points, triangles, float(np.cos(np.deg2rad(SMOOTH_ANGLE_DEG)))))
            vertex_body.append(np.full(len(points), index, np.int32))
            face_body.append(np.full(len(triangles), index, np.int32))
            number = materials.setdefault(part.material, len(materials))
            face_material.append(np.full(len(triangles), number, np.int32))
            count += len(points)
    all_vertices = _concatenate(vertices, (0, 3), np.float64)
    all_faces = _concatenate(faces, (0, 3), np.int32)
    a, b, c = (all_vertices[all_faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    offsets = np.einsum("ni,ni->n", normals, a)
    return Surfaces(
        all_vertices,
        _concatenate(vertex_body, (0,), np.int32),
        all_faces,
        np.concatenate([normals, offsets[:, None]], axis=1),
        _concatenate(corner_normals, (0, 3, 3), np.float32),
        _concatenate(face_body, (0,), np.int32),
        _concatenate(face_material, (0,), np.int32),
        np.array([body.number for body in bodies], np.uint16),
        np.array([body.label_id for body in bodies], np.uint8),
        np.array([body.is_object for body in bodies], np.bool_),
        np.tile(np.eye(4)[:3], (len(bodies), 1, 1)),
        tuple(materials),
    )


def world_surfaces(bodies: Sequence[Body], visit: int) -> Surfaces:
    """The triangles, in the world, of the bodies that are present at a visit."""
    present = [(body, body.poses[visit]) for body in bodies]
    poses = [pose for _, pose in present if pose is not None]
    local = local_surfaces([body for body, pose in present if pose is not None])
    return local.posed(np.stack(poses) if poses else np.zeros((0, 4, 4)))
