"""What refinement of given poses gains: maps from images with poses that are off, kept as they are and refined.

    python benchmarks/bench_refine_poses.py DATA [--walks FOLDER] [--seeds SEED...]

adds errors of hand-held trackers to the true poses of synthetic walks, rendered into FOLDER where they are not there: a slow
drift and a jitter of a fifth of it in every frame, and a focal length that is wrong. It maps their images with
`--source multiview`, with --refine-poses off and auto, and compares both meshes, moved so that their cameras are nearest to the
true ones, with the map of the true depth. DATA/redkitchen
is mapped likewise with the 585 pixels that its file states. Writes benchmarks/results/refine_poses.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_from_images import SAMPLES, VOXEL
from bench_multiview import sensor_mesh
from common import machine, noise, write_json
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from mapping.mesh.mesh_metrics import mesh_metrics
from mapping.se3 import from_rotation_translation
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import poses_of
from pipelines.settings import PipelineConfig
from pipelines.stages.refine_poses import POSES_FILE, with_refined_poses
from pipelines.synth.generate import WorldConfig
from pipelines.synth.simulate import SynthConfig, simulate
from pipelines.workspace import load_run

DRIFT_FRAMES = 20
"""Standard deviation, in frames, of the smoothing that makes a drift of noise."""
JITTER = 0.2


@dataclass(frozen=True)
class Level:
    """Standard deviations of the drift, and the error of the focal length."""

    name: str
    metres: float
    degrees: float
    focal_error: float


LEVELS = (
    Level("true poses", 0.0, 0.0, 0.0),
    Level("1 cm, 0.5 degrees", 0.01, 0.5, 0.0),
    Level("2 cm, 1 degree", 0.02, 1.0, 0.0),
    Level("2 cm, 1 degree, focal length 5 % off", 0.02, 1.0, 0.05),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the recorded sequences")
    parser.add_argument("--walks", type=Path, help="folder for the synthetic walks, which is kept")
    parser.add_argument("--seeds", type=int, nargs="*", default=[61])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "refine_poses.json")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    others: dict[str, Any] = {}
    with noise(others), tempfile.TemporaryDirectory() as temporary:
        for seed in arguments.seeds:
            walk = (arguments.walks or Path(temporary)) / f"walk{seed}"
            simulate(walk, SynthConfig(seed=seed, frames=160, width=640, height=480, world=WorldConfig(rooms=1)))
            for level in LEVELS:
                with tempfile.TemporaryDirectory() as name:
                    roughen(walk, Path(name) / "rough", level)
                    rows.append({"sequence": walk.name, "poses": level.name} | compare(Path(name) / "rough", walk))
                print(json.dumps(rows[-1]), flush=True)
        kitchen = arguments.data / "redkitchen"
        if kitchen.is_dir():
            rows.append({"sequence": kitchen.name, "poses": "as given, 585 pixels"} | compare(kitchen, kitchen))
            print(json.dumps(rows[-1]), flush=True)
    write_json(arguments.out, {"machine": machine(), "load": others, "rows": rows})


def roughen(walk: Path, out: Path, level: Level) -> None:
    """A canonical folder with the images of the walk alone, and poses and a focal length that are off."""
    header = json.loads((walk / "transforms.json").read_text(encoding="utf-8"))
    out.mkdir()
    (out / "images").symlink_to((walk / "images").resolve())
    frames = sorted(header["frames"], key=lambda frame: float(frame["timestamp"]))
    wanted = ("file_path", "timestamp", "transform_matrix")
    moved = off([{key: frame[key] for key in wanted} for frame in frames], level)
    header["fl_x"] *= 1 + level.focal_error
    header["fl_y"] *= 1 + level.focal_error
    header |= {"frames": moved, "label_space": None}
    (out / "transforms.json").write_text(json.dumps(header), encoding="utf-8")


def off(frames: list[dict[str, Any]], level: Level) -> list[dict[str, Any]]:
    """The frames of a header, in order, with poses that are off."""
    shifts, turns = (drift(len(frames), seed) for seed in (1, 2))
    moved = []
    for frame, shift, turn in zip(frames, shifts, turns, strict=True):
        T = np.array(frame["transform_matrix"])
        T[:3, :3] = Rotation.from_rotvec(np.deg2rad(level.degrees) * turn).as_matrix() @ T[:3, :3]
        T[:3, 3] += level.metres * shift
        moved.append(frame | {"transform_matrix": T.tolist()})
    return moved


def drift(frames: int, seed: int) -> np.ndarray:
    """(N, 3) of unit deviation along each axis, with a jitter of a fifth."""
    rng = np.random.default_rng(seed)
    slow = gaussian_filter1d(rng.normal(size=(frames, 3)), DRIFT_FRAMES, axis=0, mode="reflect")
    return slow / slow.std(axis=0) + JITTER * rng.normal(size=(frames, 3))


def compare(given: Path, true: Path) -> dict[str, Any]:
    """F of the maps with poses as given and refined, against the map of the true sequence's depth."""
    frames = [frame for frame in open_sequence(str(true)) if frame.recorded.depth is not None]
    truth = sensor_mesh(frames, VOXEL)
    row: dict[str, Any] = {}
    for mode in ("off", "auto"):
        config = config_from_mapping(
            PipelineConfig,
            {"tsdf": {"voxel_size": VOXEL}, "poses": {"refine": mode}, "check": {"trust": True}},
            "here",
        )
        with tempfile.TemporaryDirectory() as name:
            out = Path(name) / "run"
            manifest = run(open_sequence(str(given)), out, source="multiview", config=config)
            mesh, graph = load_run(out)
            refined = json.loads((out / POSES_FILE).read_text(encoding="utf-8"))
            mapped = poses_of(with_refined_poses(open_sequence(str(given)), out / POSES_FILE))
        T = nearest_rigid(mapped, poses_of(open_sequence(str(true)))) @ graph.T_input_world
        scores = mesh_metrics(mesh.transformed(T), truth, np.random.default_rng(0), samples=SAMPLES)
        row |= {f"f_5cm_{mode}": scores["f_5cm"], f"f_10cm_{mode}": scores["f_10cm"]}
        if mode == "auto":
            names = ("refined", "error_given", "error_refined", "focal_given", "focal_refined")
            row |= {key: refined[key] for key in names if key in refined}
            row["seconds_per_frame"] = manifest["stages"]["poses"]["seconds"] / len(frames)
    return row


def nearest_rigid(poses: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The rigid transform (4, 4) that brings poses (N, 4, 4) nearest to the true ones: the mean rotation between them (the one of
    least squares of matrices, by Kabsch) and then the mean of the positions. Where a map lies as a whole is no error of it."""
    used = np.isfinite(poses).all(axis=(1, 2)) & np.isfinite(true).all(axis=(1, 2))
    U, _, Vt = np.linalg.svd(np.einsum("nik,njk->ij", true[used, :3, :3], poses[used, :3, :3]))
    R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    shift = (true[used, :3, 3] - poses[used, :3, 3] @ R.T).mean(axis=0)
    return from_rotation_translation(R, shift)


if __name__ == "__main__":
    main()
