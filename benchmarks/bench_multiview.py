"""Depth and maps from images and poses alone, against the recorded depth of a sensor.

`python benchmarks/bench_multiview.py DATA` measures DATA/hololens_office and DATA/redkitchen, prints a table and writes
benchmarks/results/multiview.json. The recorded depth is read only for the comparison.

The kitchen (7-Scenes) publishes the focal length of its depth camera, 585 pixels. It is measured with that
(`redkitchen_as_published`) and with the 525 of its colour camera, whose images are compared here.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, noise, write_json
from numpy.typing import NDArray

from mapping import Intrinsics, Mesh, TSDFConfig, TSDFVolume
from mapping.depth.depth_config import DepthWeightConfig
from mapping.depth.depth_weights import depth_weight
from mapping.mesh.mesh_metrics import mesh_metrics
from mapping.mesh.raycast import MeshCaster
from mapping.multiview.multiview import MultiviewDepth, sweep_depth
from mapping.multiview.multiview_config import MultiviewConfig
from pipelines import open_sequence
from pipelines.frame import Frame
from pipelines.settings import MeshConfig

SEQUENCES: dict[str, tuple[str, float | None]] = {
    "hololens_office": ("hololens_office", None),
    "redkitchen": ("redkitchen", 525.0),
    "redkitchen_as_published": ("redkitchen", None),
}
"""Folder, and pixels of the colour camera's focal length where the folder states the depth camera's."""
MIN_WEIGHT = MeshConfig().min_weight  # the threshold of `m2h run` for a voxel
SAMPLES = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the recorded sequences")
    parser.add_argument("--only", choices=sorted(SEQUENCES), action="append", help="measure these sequences")
    parser.add_argument("--every", type=int, default=1, help="fuse every n-th frame; neighbours come from all")
    parser.add_argument("--voxel", type=float, default=0.05, help="voxel size in metres")
    parser.add_argument("--threads", type=int, default=None, help="threads of PyTorch and of the fusion")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "multiview.json")
    arguments = parser.parse_args()
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    results = json.loads(arguments.out.read_text()) if arguments.only and arguments.out.exists() else {}
    results["machine"] = machine() | {"torch_threads": torch.get_num_threads()}
    for name in arguments.only or SEQUENCES:
        folder, focal = SEQUENCES[name]
        quiet: dict[str, Any] = {}
        with noise(quiet):
            results[name] = measure(arguments.data / folder, arguments.every, arguments.voxel, focal)
        results[name] |= quiet
        print_result(name, results[name])
    write_json(arguments.out, results)


def measure(folder: Path, every: int, voxel: float, focal: float | None) -> dict[str, Any]:
    """All figures of one sequence, with another focal length of its images where one is given."""
    sequence = open_sequence(str(folder))
    frames = [sequence[i] for i, info in enumerate(sequence.infos) if info.used]
    truth_mesh = sensor_mesh(frames, voxel)
    caster = None if focal is None else MeshCaster(truth_mesh)
    if focal is not None:
        frames = [replace(frame, intrinsics=replace(frame.intrinsics, fx=focal, fy=focal)) for frame in frames]
    camera, width = frames[0].intrinsics, MultiviewConfig().width
    small = camera.resized(width, round(width * camera.height / camera.width))
    poses = np.stack([frame.T_world_camera for frame in frames])
    started = time.perf_counter(), time.process_time()
    wanted = np.arange(len(frames)) % every == 0
    depths = MultiviewDepth(frames.__getitem__, poses, small, wanted=wanted)
    volume = TSDFVolume(TSDFConfig(voxel_size=voxel))
    swept, proved = DepthFigures(), DepthFigures()
    chosen = range(0, len(frames), every)
    for i in chosen:
        depth, confidence = depths(i)
        weight = depth_weight(depth, small, confidence=confidence, config=DepthWeightConfig())
        volume.integrate(depth, small, poses[i], weight=weight)
        if i % 10 == 0:
            proved.add(depth, confidence, true_depth(frames[i], small, caster))
    taken = time.perf_counter() - started[0], time.process_time() - started[1]
    for i in chosen[:: max(10 // every, 1)]:
        raw, raw_confidence = sweep_depth(frames[i], [frames[j] for j in depths.neighbours(i)], depths.config)
        swept.add(nearest(raw, small), nearest(raw_confidence, small), true_depth(frames[i], small, caster))
    mesh = volume.extract_mesh(min_weight=MIN_WEIGHT)
    scores = mesh_metrics(mesh, truth_mesh, np.random.default_rng(0), samples=SAMPLES)
    return {
        "frames": len(chosen),
        "image": [small.width, small.height],
        "focal": frames[0].intrinsics.fx,
        "depth_range": [depths.config.min_depth, depths.config.max_depth],
        "sweep": swept.summary(),
        "proved": proved.summary(),
        "mesh": {key: value for key, value in scores.items() if not key.startswith("label")},
        "frames_per_second": len(chosen) / taken[0],
        "processor_seconds_per_frame": taken[1] / len(chosen),
        **sweep_cost(frames, depths),
    }


def true_depth(frame: Frame, camera: Intrinsics, caster: MeshCaster | None) -> NDArray[np.float32]:
    """The sensor's depth at the size of a camera; rendered from its map where the sensor was another camera."""
    if caster is not None:
        return caster.cast(camera, frame.T_world_camera)[0]
    return nearest(frame.recorded.depth, camera)


def sensor_mesh(frames: list[Frame], voxel: float) -> Mesh:
    """The map of the recorded depth."""
    volume = TSDFVolume(TSDFConfig(voxel_size=voxel))
    for frame in frames:
        assert frame.recorded.depth is not None
        volume.integrate(frame.recorded.depth, frame.intrinsics, frame.T_world_camera)
    return volume.extract_mesh(min_weight=1.0)


class DepthFigures:
    """Figures of depth against the truth, frame by frame."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def add(self, depth: NDArray[np.float32], confidence: NDArray[np.float32], truth: NDArray[np.float32]) -> None:
        """Where both are known; the certain half are the pixels whose confidence is at least the median of the frame's."""
        measured, known = truth > 0, (truth > 0) & (depth > 0)
        if known.sum() < 1000:
            return
        sure = known & (confidence >= np.median(confidence[known]))
        self.rows.append(
            {"known_share": float(known.sum() / measured.sum())}
            | {f"{name}_all": value for name, value in errors(depth[known], truth[known]).items()}
            | {f"{name}_certain_half": value for name, value in errors(depth[sure], truth[sure]).items()}
        )

    def summary(self) -> dict[str, float]:
        """Means over frames."""
        return {name: float(np.mean([row[name] for row in self.rows])) for name in self.rows[0]}


def errors(depth: NDArray[np.float32], truth: NDArray[np.float32]) -> dict[str, float]:
    ratio = np.maximum(depth / truth, truth / depth)
    return {"abs_rel": float(np.mean(np.abs(depth / truth - 1))), "delta_1": float(np.mean(ratio < 1.25))}


def sweep_cost(frames: list[Frame], depths: MultiviewDepth) -> dict[str, float]:
    """The cost of a sweep alone: the median of seven frames, after one that is ignored.

    The processor's seconds, over all threads, measure the work on a machine that is shared.
    """
    wall, processor = [], []
    for i in np.linspace(0, len(frames) - 1, 8).astype(int):
        neighbours = [frames[j] for j in depths.neighbours(int(i))]
        started = time.perf_counter(), time.process_time()
        sweep_depth(frames[i], neighbours, depths.config)
        wall.append(time.perf_counter() - started[0])
        processor.append(time.process_time() - started[1])
    return {
        "sweep_frames_per_second": float(1 / np.median(wall[1:])),
        "sweep_processor_seconds": float(np.median(processor[1:])),
    }


def nearest(image: NDArray[np.float32] | None, camera: Intrinsics) -> NDArray[np.float32]:
    """The image at the size of a camera, without interpolation."""
    assert image is not None
    rows = ((np.arange(camera.height) + 0.5) * image.shape[0] / camera.height).astype(int)
    columns = ((np.arange(camera.width) + 0.5) * image.shape[1] / camera.width).astype(int)
    return np.ascontiguousarray(image[rows[:, None], columns])


def print_result(name: str, result: dict[str, Any]) -> None:
    mesh = result["mesh"]
    print(f"{name}: {result['frames']} frames of {result['image'][0]} x {result['image'][1]}")
    for what in ("sweep", "proved"):
        row = result[what]
        print(
            f"  {what:7} AbsRel {row['abs_rel_all']:.3f} / {row['abs_rel_certain_half']:.3f}   "
            f"delta1 {row['delta_1_all']:.3f} / {row['delta_1_certain_half']:.3f} (all / certain half)   "
            f"known {row['known_share']:.2f}"
        )
    print(f"  mesh    F 5 cm {mesh['f_5cm']:.3f}   F 10 cm {mesh['f_10cm']:.3f}")
    print(
        f"  all     {result['frames_per_second']:.2f} frames/s, "
        f"{result['processor_seconds_per_frame']:.2f} s of processor per frame\n"
        f"  sweep   {result['sweep_frames_per_second']:.2f} frames/s, "
        f"{result['sweep_processor_seconds']:.2f} s of processor per frame",
        flush=True,
    )


if __name__ == "__main__":
    main()
