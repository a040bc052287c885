"""Fusion and meshing of recorded RGB-D frames: `mapping.TSDFVolume` against Open3D's volumes on the CPU.

python benchmarks/bench_fusion.py ../shared/data/redkitchen

Same frames, poses, voxel sizes, truncation (4 voxels) and depth limit (5 m). Open3D fuses depth and colour; m2h depth, colour and
labels. `m2h` measures the blocks around surfaces, as Open3D does; `m2h carve` also records the free space in front of them.
Open3D's VoxelBlockGrid runs with blocks of 8 and of 16 voxels; the faster one is what m2h is compared with. (The older
ScalableTSDFVolume fuses nothing in Open3D 0.20: its mesh of a plane has no vertices.) Timed is a second pass over the sequence
into a new volume, frame by frame, the first pass being warm-up; with `--repeat n` the median of n processes counts. Bytes per
voxel are those of the blocks in use over the voxels that were observed; the peak is that of the process, which also holds the
frames.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from common import machine, noise, run_worker, summarise, table, time_calls, write_json
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
SYSTEMS = ("open3d 8", "open3d 16", "m2h", "m2h carve", "m2h 1 thread")
OPEN3D_VOXEL_BYTES = 20  # distance, weight and three colours as float32
VOXEL_SIZES = (0.01, 0.02, 0.05)
MAX_DEPTH, TRUNCATION_VOXELS = 5.0, 4.0


class RecordedFrame(NamedTuple):
    """Depth in metres, colour, labels and pose."""

    depth: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    T_world_camera: NDArray[np.float64]


def load(path: str, count: int) -> tuple[Any, list[RecordedFrame]]:
    """The camera and the first `count` frames of a sequence. Labels are blobs of like colour, as a network would draw them."""
    from pipelines import open_sequence

    sequence = open_sequence(path)
    frames: list[RecordedFrame] = []
    for index in [i for i, info in enumerate(sequence.infos) if info.used][:count]:
        frame = sequence[index]
        if frame.recorded.depth is None:
            raise SystemExit(f"{path}: frame {index} has no depth")
        blurred = cv2.medianBlur(frame.rgb, 31)
        labels = (1 + (blurred[..., 0] >> 6) + 4 * (blurred[..., 2] >> 6)).astype(np.uint8)
        frames.append(RecordedFrame(frame.recorded.depth, frame.rgb, labels, frame.T_world_camera))
    return frame.intrinsics, frames


def ours(camera: Any, frames: list[RecordedFrame], voxel_size: float, kind: str) -> dict[str, Any]:
    """Time m2h."""
    from mapping import TSDFConfig, TSDFVolume

    threads = 1 if kind == "1 thread" else None
    band = {"truncation": TRUNCATION_VOXELS * voxel_size, "behind": TRUNCATION_VOXELS * voxel_size}
    config = TSDFConfig(voxel_size=voxel_size, **band, max_depth=MAX_DEPTH, carve=kind == "carve", threads=threads)

    def fuse(volume: TSDFVolume, frame: RecordedFrame) -> None:
        volume.integrate(frame.depth, camera, frame.T_world_camera, rgb=frame.rgb, labels=frame.labels)

    volume, result = time_passes(lambda: TSDFVolume(config), fuse, frames)
    meshes = time_calls(lambda: volume.extract_mesh(min_weight=1.0), repeat=20, warmup=1)
    vertices = len(volume.extract_mesh(min_weight=1.0).vertices)
    observed = int((volume.blocks(carved=False).weight > 0).sum())
    return result | {"mesh": summarise(meshes), "vertices": vertices} | memory(volume.memory_bytes, observed)


def open3d_grid(camera: Any, frames: list[RecordedFrame], voxel_size: float, kind: str) -> dict[str, Any]:
    """Time Open3D with blocks of `kind` voxels."""
    import open3d as o3d
    from open3d import core

    device, scale = core.Device("CPU:0"), 1000.0
    K = core.Tensor(np.ascontiguousarray(camera.matrix))
    names, types = ("tsdf", "weight", "color"), (core.float32, core.float32, core.float32)
    ready = [
        (
            o3d.t.geometry.Image(core.Tensor(np.round(frame.depth * scale).astype(np.uint16))),
            o3d.t.geometry.Image(core.Tensor(frame.rgb)),
            core.Tensor(np.linalg.inv(frame.T_world_camera)),
        )
        for frame in frames
    ]

    def fuse(grid: Any, frame: tuple[Any, Any, Any]) -> None:
        depth, color, T_camera_world = frame
        arguments = (scale, MAX_DEPTH, TRUNCATION_VOXELS)
        blocks = grid.compute_unique_block_coordinates(depth, K, T_camera_world, *arguments)
        grid.integrate(blocks, depth, color, K, K, T_camera_world, *arguments)

    def grid() -> Any:
        return o3d.t.geometry.VoxelBlockGrid(names, types, ((1), (1), (3)), voxel_size, int(kind), 50000, device)

    volume, result = time_passes(grid, fuse, ready)
    meshes = time_calls(lambda: volume.extract_triangle_mesh(1.0), repeat=20, warmup=1)
    result |= {"mesh": summarise(meshes), "vertices": len(volume.extract_triangle_mesh(1.0).vertex.positions)}
    rows = volume.hashmap().active_buf_indices().numpy()
    observed = int((volume.attribute("weight").numpy()[rows] > 0).sum())
    return result | memory(len(rows) * int(kind) ** 3 * OPEN3D_VOXEL_BYTES, observed)


def memory(volume_bytes: int, observed: int) -> dict[str, Any]:
    """Bytes of the blocks in use, in all and by observed voxel."""
    per_voxel = round(volume_bytes / max(observed, 1), 1)
    return {"volume_bytes": volume_bytes, "observed_voxels": observed, "bytes_per_observed_voxel": per_voxel}


def time_passes(
    make: Callable[[], Any], fuse: Callable[[Any, Any], None], frames: list[Any]
) -> tuple[Any, dict[str, Any]]:
    """The volume of the timed pass, and seconds: of a first frame with all that happens only once, and of each later one."""
    start = time.perf_counter()
    volume = make()
    fuse(volume, frames[0])
    first = time.perf_counter() - start
    for frame in frames[1:]:
        fuse(volume, frame)
    volume, seconds = make(), []
    quiet: dict[str, Any] = {}
    with noise(quiet):
        for frame in frames:
            start = time.perf_counter()
            fuse(volume, frame)
            seconds.append(time.perf_counter() - start)
    return volume, {"first_frame_s": round(first, 3), "fuse": summarise(seconds), **quiet}


def worker(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one system at one voxel size."""
    name, _, kind = options.system.partition(" ")
    camera, frames = load(options.sequence, options.frames)
    measure = open3d_grid if name == "open3d" else ours
    result = measure(camera, frames, options.voxel, kind)
    return result | {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "frames": len(frames)}


def compare(options: argparse.Namespace) -> None:
    """Measure all systems, each in a process of its own, print a table and write the file."""
    results: dict[str, dict[str, Any]] = {}
    rows = []
    for voxel in options.voxels:
        by_system = results.setdefault(f"{voxel:g}", {})
        for system in SYSTEMS:
            arguments = [options.sequence, "--frames", str(options.frames), "--system", system, "--voxel", str(voxel)]
            by_system[system] = middle([run_worker(__file__, arguments) for _ in range(options.repeat)])
        best = {key: min(by_system[s][key]["median_ms"] for s in SYSTEMS[:2]) for key in ("fuse", "mesh")}
        for system, result in by_system.items():
            for key in ("fuse", "mesh"):
                result[f"{key}_speed_up"] = round(best[key] / result[key]["median_ms"], 2)
            fuse, mesh = result["fuse"], result["mesh"]
            cells = [f"{fuse['median_ms']:.2f}", f"{fuse['iqr_ms']:.2f}", f"{result['fuse_speed_up']:.2f}x"]
            cells += [f"{mesh['median_ms']:.1f}", f"{result['mesh_speed_up']:.2f}x", result["vertices"]]
            cells += [result.get("bytes_per_observed_voxel", ""), f"{result['peak_rss_bytes'] / 1e6:.0f}"]
            rows.append([f"{100 * voxel:g} cm  {system}", *cells, "noisy" if result.get("noisy") else ""])
    header = [
        "voxel  system",
        "fuse ms",
        "iqr",
        "speed-up",
        "mesh ms",
        "speed-up",
        "vertices",
        "B/voxel",
        "peak MB",
        "",
    ]
    print(table(header, rows))
    data = {"machine": machine(), "sequence": Path(options.sequence).name, "results": results}
    write_json(options.out, data)


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the median time of fusion, and the times of all."""
    by_time = sorted(runs, key=lambda run: run["fuse"]["median_ms"])
    return by_time[len(runs) // 2] | {"runs_ms": [run["fuse"]["median_ms"] for run in runs]}


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT.parent / "shared" / "data" / "redkitchen"
    parser.add_argument("sequence", nargs="?", default=str(default), help="a sequence with depth that m2h can read")
    parser.add_argument("--frames", type=int, default=100, help="how many frames to fuse")
    parser.add_argument("--repeat", type=int, default=1, help="processes a system, of which the median counts")
    parser.add_argument("--voxels", type=float, nargs="+", default=VOXEL_SIZES, help="voxel sizes in metres")
    parser.add_argument("--out", default=str(ROOT / "benchmarks" / "results" / "fusion.json"))
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("--voxel", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.system:
        print(json.dumps(worker(options)))
    else:
        compare(options)


if __name__ == "__main__":
    main()
