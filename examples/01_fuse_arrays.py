"""Fuse depth images into a mesh with arrays alone: no sequence, no pipeline. A camera circles a ball on a floor."""

import numpy as np

from mapping import Intrinsics, TSDFConfig, TSDFVolume
from mapping.mesh.io import write_mesh
from mapping.se3 import look_at

camera = Intrinsics(fx=200.0, fy=200.0, cx=159.5, cy=119.5, width=320, height=240)
volume = TSDFVolume(TSDFConfig(voxel_size=0.02))
center, radius = np.array([0.0, 0.0, 0.5]), 0.5

for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
    eye = np.array([2 * np.cos(angle), 2 * np.sin(angle), 1.5])
    T_world_camera = look_at(eye, center)
    rays = camera.rays() @ T_world_camera[:3, :3].T  # a step of 1 along a ray is 1 m of depth
    a, b = (rays**2).sum(-1), rays @ (eye - center)
    root = b**2 - a * ((eye - center) @ (eye - center) - radius**2)
    ball = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
    floor = np.where(rays[..., 2] < 0, -eye[2] / np.minimum(rays[..., 2], -1e-9), np.inf)
    depth = np.minimum(ball, floor)
    depth = np.where(np.isfinite(depth) & (depth < 5), depth, 0).astype(np.float32)
    labels = np.where(ball < floor, 40, 2).astype(np.uint8)  # NYU40: otherprop and floor
    volume.integrate(depth, camera, T_world_camera, labels=labels)

mesh = volume.extract_mesh()
on_ball = mesh.vertices[mesh.labels == 40]
print(
    f"{len(mesh.faces)} triangles, ball radius {np.linalg.norm(on_ball - center, axis=1).mean():.3f} m (true {radius})"
)
write_mesh(mesh, "ball.ply")
