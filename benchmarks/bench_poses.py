"""Poses in metres of plain images: how many frames get one, how far off they are, and what the map loses by it.

    python benchmarks/bench_poses.py DATA --walks FOLDER... [--maps]

takes the images alone of DATA/hololens_office and DATA/redkitchen, and of synthetic walks (canonical folders, as by
`m2h synth FOLDER --seed 61 --rooms 1 --frames 160 --size 640x480`), lets `m2h poses` find their poses, and compares these with
the recorded or true ones. With --maps the office and the walks are mapped from their images, once with the poses found and once
with the recorded or true ones. All meshes are compared with the map of the recorded depth of the same images, which of a walk is
rendered without error: a walk's whole mesh also has what no image shows, of which no map from images can be expected. With
--scale alone the metres are measured: how a run finds them of images with true poses in an unknown unit, as of COLMAP.
Writes benchmarks/results/poses.json, where those of other sequences are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_from_images import SAMPLES, VOXEL
from bench_multiview import sensor_mesh
from common import machine, noise, write_json
from numpy.typing import NDArray

from m2h import Predictions
from mapping import Mesh
from mapping.mesh.mesh_metrics import mesh_metrics
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import DerivedSequence, Frame, FrameSequence, only_range
from pipelines.images import write_png
from pipelines.posing.pose_recording import pose_recording
from pipelines.sequences.ingest import ingest
from pipelines.settings import FramesConfig, PipelineConfig, PosingConfig
from pipelines.sources.network import open_network, shipped_views
from pipelines.workspace import load_run

Array = NDArray[np.float64]
RECORDINGS = ("hololens_office", "redkitchen")
MAPPED = "hololens_office"


@dataclass(frozen=True, eq=False)
class TrajectoryError:
    """Camera positions against the truth: the similarity `scale * R @ x + t` that brings them nearest to it, and the distances
    (N,) in metres that are left."""

    scale: float
    R: Array
    t: Array
    distances: Array

    @property
    def rmse(self) -> float:
        return float(np.sqrt((self.distances**2).mean()))


def trajectory_error(positions: Array, true: Array) -> TrajectoryError:
    """Positions (N, 3) against true ones (N, 3), aligned as by Umeyama (PAMI 1991), equations 40 to 43."""
    a, b = positions - positions.mean(axis=0), true - true.mean(axis=0)
    U, S, Vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    R = U @ np.diag(signs) @ Vt
    scale = float((S * signs).sum() / (a**2).sum())
    t = true.mean(axis=0) - scale * R @ positions.mean(axis=0)
    return TrajectoryError(scale, R, t, np.linalg.norm(scale * positions @ R.T + t - true, axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the recorded sequences")
    parser.add_argument("--walks", type=Path, nargs="*", default=[], help="synthetic walks")
    parser.add_argument("--only", nargs="*", help="names of the recordings to measure")
    parser.add_argument("--scale", action="store_true", help="only the metres found of images with true poses")
    parser.add_argument("--halves", action="store_true", help="with --scale, of each half of the recordings apart")
    parser.add_argument("--stride", type=int, default=1, help="every n-th image of the recordings")
    parser.add_argument(
        "--maps",
        action="store_true",
        help="map the office and the walks with the poses found and with the recorded ones",
    )
    parser.add_argument(
        "--keep", type=Path, help="folder for the posed folders and the runs, where they are found again"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "poses.json")
    options = parser.parse_args()
    folders = [options.data / name for name in RECORDINGS] + options.walks
    chosen = [path for path in folders if path.is_dir() and (not options.only or path.name in options.only)]
    stored = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
    before = stored.get("results", {})
    report: dict[str, Any] = {"machine": machine(), "results": before}
    if options.scale:
        rows = stored.get("scale", {}) | scales_of(chosen, halves=options.halves)
        write_json(options.out, stored | {"scale": rows})
        return
    report["scale"] = stored.get("scale", {})
    with tempfile.TemporaryDirectory() as name, noise(report):
        work = options.keep or Path(name)
        for folder in chosen:
            stride = options.stride if folder.name in RECORDINGS else 1
            figures = measure(
                open_sequence(folder),
                work / folder.name,
                stride=stride,
                is_mapped=options.maps and (folder.name == MAPPED or folder in options.walks),
            )
            if figures["minutes"] is None:  # the posed folder was kept
                figures["minutes"] = before.get(folder.name, {}).get("minutes")
            report["results"][folder.name] = figures
            print(folder.name, report["results"][folder.name], flush=True)
    write_json(options.out, report)


def measure(sequence: FrameSequence, work: Path, *, stride: int, is_mapped: bool) -> dict[str, Any]:
    """The figures of one sequence, of every n-th of its images."""
    plain, numbers = write_plain(sequence, work / "plain", stride)
    start = time.perf_counter()
    report = pose_recording(plain, work / "posed", PosingConfig(), command="", views=shipped_views)
    minutes = (time.perf_counter() - start) / 60
    posed = open_sequence(work / "posed")
    frames = [numbers[int(Path(info.image).stem)] for info in posed.infos]
    positions = positions_of(posed, range(len(posed.infos)))
    error = trajectory_error(positions, positions_of(sequence, frames))
    path = np.linalg.norm(np.diff(positions_of(sequence, frames), axis=0), axis=1).sum()
    figures = {
        "images": len(numbers),
        "picked": report.picked,
        "posed": report.posed,
        "share": report.posed / report.picked,
        "joined": [part.images for part in report.parts if not part.reason],
        "left_out": [part.images for part in report.parts if part.reason],
        "path_m": float(path),
        "ate_cm": 100 * error.rmse,
        "scale_error": 1 / error.scale - 1,
        "scale_deviation": report.scale_deviation,
        "focal_error": posed.infos[0].intrinsics.fx / sequence.infos[frames[0]].intrinsics.fx - 1,
        "minutes": None if report.up_to_date else minutes,
    }
    return figures | (measure_maps(sequence, posed, frames, error, work) if is_mapped else {})


def scales_of(folders: Sequence[Path], *, halves: bool) -> dict[str, dict[str, Any]]:
    """How far the metres are off that a run finds of images with true poses, by recording, or half of one."""
    rows = {}
    for folder in folders:
        sequence = WithoutUnit(open_sequence(folder))
        used = [info.index for info in sequence.infos if info.used]
        middle = used[len(used) // 2]
        parts = {"first half": (0, middle), "second half": (middle, None)} if halves else {"": (0, None)}
        for name, (start, stop) in parts.items():
            title = f"{folder.name}, {name}" if name else folder.name
            rows[title] = unit_error(only_range(sequence, start, stop))
            print(title, rows[title], flush=True)
    return rows


class WithoutUnit(DerivedSequence):
    """A sequence with poses in metres of which nothing says so."""

    def __init__(self, sequence: FrameSequence) -> None:
        super().__init__(sequence, sequence.infos)
        self.is_metric = False

    def __getitem__(self, index: int) -> Frame:
        return self._sequence[index]


def unit_error(sequence: FrameSequence) -> dict[str, Any]:
    """How far the unit is off that the shipped network finds, which is a metre; what by, and how far it says it may be."""
    found = open_network("", sequence, PipelineConfig()).pose_scale()
    if found is None:
        return {"evidence": None}
    return {
        "evidence": ", ".join(found.evidence),
        "frames_differ": found.spread,
        "scale_error": found.scale - 1,
        "scale_deviation": found.deviation,
    }


def write_plain(sequence: FrameSequence, folder: Path, stride: int) -> tuple[Path, list[int]]:
    """The usable images as a bare folder, and the position in the sequence of each."""
    chosen = [i for i, info in enumerate(sequence.infos) if info.used][::stride]
    folder.mkdir(parents=True, exist_ok=True)
    for i in chosen:
        target = folder / f"{i:06d}.png"
        if not target.exists():
            write_png(target, sequence[i].rgb)
    return folder, chosen


def positions_of(sequence: FrameSequence, chosen: Sequence[int]) -> Array:
    """(N, 3) camera positions."""
    poses = [sequence.infos[i].T_world_camera for i in chosen]
    return np.stack([T[:3, 3] for T in poses if T is not None])


def measure_maps(
    sequence: FrameSequence, posed: FrameSequence, frames: list[int], error: TrajectoryError, work: Path
) -> dict[str, float]:
    """F of the maps of the same images with the poses found, as they are and with the true scale, and with the recorded poses."""
    truth = sensor_mesh([sequence[i] for i in frames], VOXEL)
    given = work / "given"
    if not (given / "transforms.json").is_file():
        only = Chosen(sequence, frames)
        ingest(only, given, frames=FramesConfig(), image_format="jpg", overwrite=True)
    found_mesh = mapped(posed, work / "run_found")
    rigid = (error.R, error.t + (error.scale - 1) * error.R @ positions_of(posed, range(len(frames))).mean(axis=0))
    meshes = {
        "found": moved(found_mesh, 1.0, *rigid),
        "found_true_scale": moved(found_mesh, error.scale, error.R, error.t),
        "given": mapped(open_sequence(given), work / "run_given"),
    }
    scores = {
        name: mesh_metrics(mesh, truth, np.random.default_rng(0), samples=SAMPLES) for name, mesh in meshes.items()
    }
    return {f"{key}_{name}": score[key] for name, score in scores.items() for key in ("f_5cm", "f_10cm")}


class Chosen:
    """Some frames of a sequence, without what it recorded besides images."""

    def __init__(self, sequence: FrameSequence, frames: list[int]) -> None:
        self.name, self.path, self.format = sequence.name, sequence.path, sequence.format
        self.world_up, self.is_metric, self.label_space = sequence.world_up, True, None
        self._sequence, self._frames = sequence, frames
        self.infos = tuple(sequence.infos[i] for i in frames)

    def __len__(self) -> int:
        return len(self.infos)

    def __getitem__(self, index: int) -> Frame:
        return replace(self._sequence[self._frames[index]], recorded=Predictions())


def mapped(sequence: FrameSequence, out: Path) -> Mesh:
    """The mesh of `m2h run` on images as by default, in the sequence's world."""
    config = config_from_mapping(PipelineConfig, {"tsdf": {"voxel_size": VOXEL}}, "here")
    run(sequence, out, refine="auto", config=config, until="graph")
    mesh, graph = load_run(out)
    return mesh.transformed(graph.T_input_world)


def moved(mesh: Mesh, scale: float, R: Array, t: Array) -> Mesh:
    """The mesh with its vertices at `scale * R @ x + t`."""
    return replace(mesh, vertices=scale * mesh.vertices @ R.T + t)


if __name__ == "__main__":
    main()
