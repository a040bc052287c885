"""Fusion and meshing of recorded RGB-D frames: `mapping.TSDFVolume` against Open3D's volumes on the CPU.

python benchmarks/bench_fusion.py ../shared/data/redkitchen --repeat 5

Same frames, poses, voxel sizes, truncation (4 voxels) and depth limit (5 m). Open3D fuses depth and colour; m2h depth, colour and
labels. `m2h` measures the blocks around surfaces, as Open3D does; `m2h carve` also records the free space in front of them.
Open3D's VoxelBlockGrid runs with blocks of 8 and of 16 voxels (its default) and room for 25.6 million voxels; `open3d legacy` is
ScalableTSDFVolume. It fuses nothing in Open3D 0.20, because depth is divided by 1000 twice; the file then
has the reason. `--legacy-open3d FOLDER` runs it in an older Open3D installed in FOLDER:

    pip install --no-deps --target FOLDER open3d-cpu==0.19.0 addict

The second pass over the sequence, into a new volume, is timed frame by frame; the first pass is the warm-up. With
`--repeat n` all systems run in turn, n times, and for each the process with the median time of fusion is reported.
Bytes per voxel are those of the blocks in use over the voxels that were observed (unknown for the older volume); the
peak is that of the process, including the frames and, for VoxelBlockGrid, its preallocated blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from common import add_speed_ups, cores, machine, noise, run_worker, summarise, table, time_calls, write_json
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
SYSTEMS = ("open3d 8", "open3d 16", "open3d legacy", "m2h", "m2h carve", "m2h 1 thread")
OPEN3D_VOXEL_BYTES = 20  # distance, weight and three colours as float32
OPEN3D_ROOM = 50_000 * 8**3  # initial capacity in voxels: more than 100 frames need
DEPTH_SCALE = 1000.0  # depth in 16 bits of a millimetre, as Open3D expects it
VOXEL_SIZES = (0.01, 0.02, 0.05)
MAX_DEPTH, TRUNCATION_VOXELS = 5.0, 4.0


class RecordedFrame(NamedTuple):
    """Depth in metres, colour, labels and pose."""

    depth: NDArray[np.float32]
    rgb: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    T_world_camera: NDArray[np.float64]


def load(path: str, count: int) -> tuple[Any, list[RecordedFrame]]:
    """The camera and the first `count` frames of a sequence. Labels are blobs of similar colour, as a network would
    predict them."""
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
    """Measure m2h."""
    from mapping import TSDFConfig, TSDFVolume

    threads = 1 if kind == "1 thread" else min(cores(), 4)  # its own time
    band = {"truncation": TRUNCATION_VOXELS * voxel_size, "behind": TRUNCATION_VOXELS * voxel_size}
    config = TSDFConfig(voxel_size=voxel_size, **band, max_depth=MAX_DEPTH, carve=kind == "carve", threads=threads)

    def fuse(volume: TSDFVolume, frame: RecordedFrame) -> None:
        volume.integrate(frame.depth, camera, frame.T_world_camera, rgb=frame.rgb, labels=frame.labels)

    volume, result = time_passes(lambda: TSDFVolume(config), fuse, frames)
    meshes = time_calls(lambda: volume.extract_mesh(min_weight=1.0), repeat=20, warmup=1)
    vertices = len(volume.extract_mesh(min_weight=1.0).vertices)
    observed = int((volume.blocks(carved=False).weight > 0).sum())
    result |= {"threads": threads, "mesh": summarise(meshes), "vertices": vertices, "peak_rss_bytes": peak_rss_bytes()}
    return result | memory(volume.memory_bytes, observed)


def open3d_grid(camera: Any, frames: list[RecordedFrame], voxel_size: float, kind: str) -> dict[str, Any]:
    """Measure Open3D with blocks of `kind` voxels."""
    import open3d as o3d
    from open3d import core

    device, room = core.Device("CPU:0"), OPEN3D_ROOM // int(kind) ** 3
    K = core.Tensor(np.ascontiguousarray(camera.matrix))
    names, types = ("tsdf", "weight", "color"), (core.float32, core.float32, core.float32)

    def prepare(frame: RecordedFrame) -> tuple[Any, Any, Any]:
        images = (o3d.t.geometry.Image(core.Tensor(image)) for image in (millimetres(frame.depth), frame.rgb))
        return *images, core.Tensor(np.linalg.inv(frame.T_world_camera))

    def fuse(grid: Any, frame: tuple[Any, Any, Any]) -> None:
        depth, color, T_camera_world = frame
        arguments = (DEPTH_SCALE, MAX_DEPTH, TRUNCATION_VOXELS)
        blocks = grid.compute_unique_block_coordinates(depth, K, T_camera_world, *arguments)
        grid.integrate(blocks, depth, color, K, K, T_camera_world, *arguments)

    def grid() -> Any:
        return o3d.t.geometry.VoxelBlockGrid(names, types, ((1), (1), (3)), voxel_size, int(kind), room, device)

    volume, result = time_passes(grid, fuse, converted(frames, prepare))
    meshes = time_calls(lambda: volume.extract_triangle_mesh(1.0), repeat=20, warmup=1)
    result |= open3d_setting() | {"mesh": summarise(meshes)}
    result["vertices"] = len(volume.extract_triangle_mesh(1.0).vertex.positions)
    rows = volume.hashmap().active_buf_indices().numpy()
    observed = int((volume.attribute("weight").numpy()[rows] > 0).sum())
    return result | memory(len(rows) * int(kind) ** 3 * OPEN3D_VOXEL_BYTES, observed)


def open3d_legacy(camera: Any, frames: list[RecordedFrame], voxel_size: float, _: str) -> dict[str, Any]:
    """Measure ScalableTSDFVolume, or report that it fuses nothing."""
    import open3d as o3d

    legacy = o3d.pipelines.integration
    pinhole = o3d.camera.PinholeCameraIntrinsic(camera.width, camera.height, np.ascontiguousarray(camera.matrix))

    def prepare(frame: RecordedFrame) -> tuple[Any, Any]:
        images = (o3d.geometry.Image(np.ascontiguousarray(image)) for image in (frame.rgb, millimetres(frame.depth)))
        settings = {"depth_scale": DEPTH_SCALE, "depth_trunc": MAX_DEPTH, "convert_rgb_to_intensity": False}
        rgbd = o3d.geometry.RGBDImage.create_from_color_and_depth(*images, **settings)
        return rgbd, np.linalg.inv(frame.T_world_camera)

    def fuse(volume: Any, frame: tuple[Any, Any]) -> None:
        volume.integrate(frame[0], pinhole, frame[1])

    def empty() -> Any:
        colors = legacy.TSDFVolumeColorType.RGB8
        return legacy.ScalableTSDFVolume(voxel_size, TRUNCATION_VOXELS * voxel_size, colors)

    ready = converted(frames, prepare)
    trial = empty()
    fuse(trial, ready[0])
    if not len(trial.extract_triangle_mesh().vertices):
        return open3d_setting() | {"reason": nothing_fused(ready[0][0].depth, pinhole)}
    volume, result = time_passes(empty, fuse, ready)
    meshes = time_calls(volume.extract_triangle_mesh, repeat=20, warmup=1)
    vertices = len(volume.extract_triangle_mesh().vertices)
    return result | open3d_setting() | {"mesh": summarise(meshes), "vertices": vertices}


def nothing_fused(depth: Any, pinhole: Any) -> str:
    """The reason why ScalableTSDFVolume stays empty: it allocates around the points of the depth image in metres, at a
    scale of 1000."""
    import open3d as o3d

    points = o3d.geometry.PointCloud.create_from_depth_image(depth, pinhole, np.eye(4), 1000.0, 1000.0, 4).points
    farthest, true = np.asarray(points)[:, 2].max(), np.asarray(depth).max()
    return (
        f"ScalableTSDFVolume of Open3D {o3d.__version__} fuses nothing: it looks for surface at up to {farthest:.4f} m "
        f"where the depth image, in metres, has up to {true:.1f} m"
    )


def open3d_setting() -> dict[str, Any]:
    """Version and threads: those of OpenMP, one per core unless OMP_NUM_THREADS is set."""
    import open3d as o3d

    return {"version": o3d.__version__, "threads": int(os.environ.get("OMP_NUM_THREADS") or cores())}


def millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.round(depth * DEPTH_SCALE).astype(np.uint16)


def converted(frames: list[RecordedFrame], prepare: Callable[[RecordedFrame], Any]) -> list[Any]:
    """The frames in the form of a system. Empties the list, so that no frame is in memory twice."""
    return [prepare(frames.pop(0)) for _ in range(len(frames))]


def memory(volume_bytes: int, observed: int) -> dict[str, Any]:
    """Bytes of the blocks in use, in total and per observed voxel."""
    per_voxel = round(volume_bytes / max(observed, 1), 1)
    return {"volume_bytes": volume_bytes, "observed_voxels": observed, "bytes_per_observed_voxel": per_voxel}


def time_passes(
    make: Callable[[], Any], fuse: Callable[[Any, Any], None], frames: list[Any]
) -> tuple[Any, dict[str, Any]]:
    """The volume of the timed pass, and seconds: of a first frame including one-time costs, and of each later one."""
    start = time.perf_counter()
    volume = make()
    fuse(volume, frames[0])
    first = time.perf_counter() - start
    for frame in frames[1:]:
        fuse(volume, frame)
    del volume  # two volumes at a time would count in the peak
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
    sizes = {"frames": len(frames), "image": [camera.width, camera.height]}
    measure = ours if name == "m2h" else open3d_legacy if kind == "legacy" else open3d_grid
    result = measure(camera, frames, options.voxel, kind)
    if "reason" in result:
        return result
    return {"peak_rss_bytes": peak_rss_bytes()} | result | sizes


def peak_rss_bytes() -> int:
    """The peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def compare(options: argparse.Namespace) -> None:
    """Measure all systems, each in its own process, print a table and write the file; results of other voxel sizes
    are kept."""
    results = {f"{voxel:g}": measure_in_turn(voxel, options) for voxel in options.voxels}
    header = ["voxel  system", "threads", "fuse ms", "iqr", "mean", "speed-up", "mesh ms", "speed-up", "vertices"]
    rows = [
        [f"{voxel} m  {system}", result["threads"], *cells(result)]
        for voxel, by_system in results.items()
        for system, result in by_system.items()
    ]
    print(table([*header, "B/voxel", "peak MB", ""], rows))
    sequence, known = Path(options.sequence).name, json.loads(options.out.read_text()) if options.out.exists() else {}
    kept = known["results"] if known.get("sequence") == sequence else {}
    both = dict(sorted((kept | results).items(), key=lambda pair: float(pair[0])))
    write_json(options.out, {"machine": machine(), "sequence": sequence, "results": both})


def measure_in_turn(voxel: float, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The figures of each system at a voxel size. All run once, then all again, so that a slow phase of the machine
    affects all."""
    runs: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
    for _ in range(options.repeat):
        for system in SYSTEMS:
            arguments = [options.sequence, "--frames", str(options.frames), "--system", system, "--voxel", str(voxel)]
            packages = options.legacy_open3d if system == "open3d legacy" else None
            runs[system].append(run_worker(__file__, arguments, packages=packages))
    results = {system: middle(measured) for system, measured in runs.items()}
    for key in ("fuse", "mesh"):
        add_speed_ups(results, key)
    return results


def cells(result: dict[str, Any]) -> list[str]:
    """A row of the printed table, starting with the time of fusion."""
    if "reason" in result:
        return [*["-"] * 9, "fuses nothing"]
    fuse, mesh = result["fuse"], result["mesh"]
    return [
        f"{fuse['median_ms']:.2f}",
        f"{fuse['iqr_ms']:.2f}",
        f"{fuse['mean_ms']:.2f}",
        f"{result['fuse_speed_up']:.2f}x",
        f"{mesh['median_ms']:.1f}",
        f"{result['mesh_speed_up']:.2f}x",
        str(result["vertices"]),
        str(result.get("bytes_per_observed_voxel", "-")),
        f"{result['peak_rss_bytes'] / 1e6:.0f}",
        "noisy" if result.get("noisy") else "",
    ]


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the median time of fusion, and the times of all."""
    if "reason" in runs[0]:
        return runs[0]
    by_time = sorted(runs, key=lambda run: run["fuse"]["median_ms"])
    return by_time[len(runs) // 2] | {"runs_ms": [run["fuse"]["median_ms"] for run in runs]}


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ROOT.parent / "shared" / "data" / "redkitchen"
    parser.add_argument("sequence", nargs="?", default=str(default), help="a readable sequence with depth")
    parser.add_argument("--frames", type=int, default=100, help="number of frames to fuse")
    parser.add_argument("--repeat", type=int, default=1, help="processes per system, in turn; the median is reported")
    parser.add_argument("--legacy-open3d", metavar="FOLDER", help="an older Open3D for `open3d legacy`, see above")
    parser.add_argument("--voxels", type=float, nargs="+", default=VOXEL_SIZES, help="voxel sizes in metres")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "fusion.json")
    parser.add_argument("--system", choices=SYSTEMS, help=argparse.SUPPRESS)
    parser.add_argument("--voxel", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.system:
        print(json.dumps(worker(options)))
    else:
        compare(options)


if __name__ == "__main__":
    main()
