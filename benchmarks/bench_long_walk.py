"""The cost of a frame as a map grows: `mapping.TSDFVolume` on a walk of ten thousand frames through a building of equal rooms.

python benchmarks/bench_long_walk.py

In each room the camera rotates a few times, so that every stretch of the walk needs the same work and only the map
grows. Depth is computed exactly: a ray hits the room's walls or one of its boxes. Reported per thousand frames: median
and mean milliseconds of processor and wall time; then the last stretch over the first, bytes per observed voxel, and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, noise, table, write_json
from numpy.typing import NDArray

from mapping import Intrinsics, TSDFConfig, TSDFVolume
from mapping.se3 import look_at

ROOT = Path(__file__).parents[1]
ROOM = np.array([5.0, 4.0, 2.7])
WALL = 0.2
BOXES = np.array([[[0.3, 0.3, 0], [1.8, 1.2, 0.8]], [[4.2, 2.5, 0], [4.9, 3.8, 1.9]], [[2.2, 1.7, 0], [2.9, 2.4, 0.5]]])
CAMERA = Intrinsics(150.0, 150.0, 79.5, 59.5, 160, 120)
EYE_HEIGHT, TURNS = 1.5, 3


def view(number: int, frames_a_room: int, rooms_a_row: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pose (4, 4) and the room's corner (3,) at a step of the walk."""
    room, step = divmod(number, frames_a_room)
    row, column = divmod(room, rooms_a_row)
    corner = np.array([column * (ROOM[0] + WALL), row * (ROOM[1] + WALL), 0.0])
    angle = 2 * np.pi * TURNS * step / frames_a_room
    eye = np.array([2.5 + 0.6 * np.cos(angle / TURNS), 3.0 + 0.3 * np.sin(angle / TURNS), EYE_HEIGHT])
    ahead = np.array([np.cos(angle), np.sin(angle), -0.25 + 0.25 * np.sin(angle / TURNS)])
    return look_at(corner + eye, corner + eye + ahead), corner


def render(
    T_world_camera: NDArray[np.float64], corner: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Depth (H, W) in metres and labels (H, W): 1 to 6 the sides of the room, from 7 on its boxes."""
    rays = CAMERA.rays() @ T_world_camera[:3, :3].T
    eye = T_world_camera[:3, 3] - corner
    with np.errstate(divide="ignore"):
        leave = np.where(rays > 0, ROOM - eye, -eye) / rays
    depth, label = leave.min(axis=-1), 1 + leave.argmin(axis=-1)
    label = label + 3 * (np.take_along_axis(rays, label[..., None] - 1, axis=-1)[..., 0] > 0)
    for number, (low, high) in enumerate(BOXES):
        with np.errstate(divide="ignore", invalid="ignore"):
            a, b = (low - eye) / rays, (high - eye) / rays
        enter, out = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
        hit = (enter > 0) & (enter < out) & (enter < depth)
        depth, label = np.where(hit, enter, depth), np.where(hit, 7 + number, label)
    return depth.astype(np.float32), label.astype(np.uint8)


def walk(options: argparse.Namespace) -> tuple[TSDFVolume, NDArray[np.float64], list[int]]:
    """Fuse the walk. Returns the volume, seconds of processor and wall time (N, 2), and the map's bytes after each stretch."""
    volume = TSDFVolume(TSDFConfig(voxel_size=options.voxel, threads=options.threads))
    rooms_a_row = int(np.ceil(np.sqrt(options.frames / options.frames_a_room)))
    seconds, sizes = np.zeros((options.frames, 2)), []
    for number in range(options.frames):
        T, corner = view(number, options.frames_a_room, rooms_a_row)
        depth, labels = render(T, corner)
        rgb = np.repeat((25 * labels)[..., None], 3, axis=-1)
        start = time.process_time(), time.perf_counter()
        volume.integrate(depth, CAMERA, T, rgb=rgb, labels=labels)
        seconds[number] = time.process_time() - start[0], time.perf_counter() - start[1]
        if (number + 1) % options.stretch == 0:
            sizes.append(volume.memory_bytes)
    return volume, seconds, sizes


def report(options: argparse.Namespace) -> dict[str, Any]:
    """Fuse the walk, print a table and return the figures."""
    quiet: dict[str, Any] = {}
    with noise(quiet):
        volume, seconds, sizes = walk(options)
    stretches, rows = [], []
    for number, size in enumerate(sizes):
        first = max(number * options.stretch, options.warm_up)
        part = 1e3 * seconds[first : (number + 1) * options.stretch]
        median, mean = np.median(part, axis=0), part.mean(axis=0)
        figures = {
            "frames": [first, (number + 1) * options.stretch],
            "processor_median_ms": round(float(median[0]), 4),
            "processor_mean_ms": round(float(mean[0]), 4),
            "wall_median_ms": round(float(median[1]), 4),
            "wall_mean_ms": round(float(mean[1]), 4),
            "volume_bytes": size,
        }
        stretches.append(figures)
        rows.append([f"{first} - {figures['frames'][1]}", *list(figures.values())[1:5], f"{size / 1e6:.0f}"])
    print(table(["frames", "cpu median", "cpu mean", "wall median", "wall mean", "MB"], rows))
    observed = int((volume.blocks(carved=False).weight > 0).sum())
    last_over_first = {
        key: round(stretches[-1][key] / stretches[0][key], 3) for key in stretches[0] if key.endswith("_ms")
    }
    summary = {
        "last_over_first": last_over_first,
        "observed_voxels": observed,
        "bytes_per_observed_voxel": round(volume.memory_bytes / observed, 1),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        **quiet,
    }
    print(summary)
    settings = {name: getattr(options, name) for name in ("frames", "frames_a_room", "voxel", "threads")}
    return {"machine": machine(), **settings, "stretches": stretches, **summary}


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--frames-a-room", type=int, default=200)
    parser.add_argument("--stretch", type=int, default=1000, help="frames that are summarised together")
    parser.add_argument("--warm-up", type=int, default=100, help="first frames that are ignored")
    parser.add_argument("--voxel", type=float, default=0.05, help="voxel size in metres")
    parser.add_argument("--threads", type=int, help="threads of fusion")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "long_walk.json"))
    options = parser.parse_args()
    write_json(options.out, report(options))


if __name__ == "__main__":
    main()
