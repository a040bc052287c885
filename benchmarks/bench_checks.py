"""What the check of the input finds: sequences as they are, and with one thing wrong.

    python benchmarks/bench_checks.py DATA [--worlds FOLDER] [--seeds SEED...] [--noisy-seeds SEED...]

takes the recordings of DATA and synthetic worlds as they are, rendered into FOLDER where they are not there, which must raise
no alarm, and each world, with and without its depth, with a wrong focal length or principal point, inverted poses, swapped axes,
poses of another time, depth in another unit, off by some per cent and along the ray. An error is *found* where `m2h run` would
stop or warn of it. Of some worlds the poses are also off as those of hand-held trackers are, at two levels. Writes
benchmarks/results/checks.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_refine_poses import LEVELS, Level, off
from common import machine, write_json

from mapping.se3 import interpolate_at
from pipelines import open_sequence
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.sequence_check import SequenceCheck, check_sequence
from pipelines.features import FrameFeatures
from pipelines.images import read_depth, write_png
from pipelines.sources.network import shipped_depth_alone
from pipelines.synth.generate import WorldConfig
from pipelines.synth.simulate import SynthConfig, simulate

RECORDINGS = ("hololens_office", "redkitchen", "tum_fr1_desk")
HEADER = "transforms.json"
FRAMES = 120
TRUE_POSES, *NOISY = [level for level in LEVELS if not level.focal_error]
Edit = Callable[[Path, dict[str, Any]], None]


@dataclass(frozen=True)
class Fault:
    """Something wrong: `make` changes the header of a copy, and its depth images where it `needs_depth`; it is tried without
    depth only where that is False."""

    name: str
    make: Edit
    needs_depth: bool | None = None


def focal(factor: float, keys: Sequence[str] = ("fl_x", "fl_y")) -> Edit:
    def make(folder: Path, header: dict[str, Any]) -> None:
        for key in keys:
            header[key] *= factor

    return make


def principal_point(share: float) -> Edit:
    """Off to the right by a share of the width."""

    def make(folder: Path, header: dict[str, Any]) -> None:
        header["cx"] += share * header["w"]

    return make


def poses(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def make(folder: Path, header: dict[str, Any]) -> None:
        for frame in header["frames"]:
            frame["transform_matrix"] = change(np.array(frame["transform_matrix"])).tolist()

    return make


def late(seconds: float) -> Edit:
    """Each image gets the pose of another time; those at the ends keep the last known one out."""

    def make(folder: Path, header: dict[str, Any]) -> None:
        frames = sorted(header["frames"], key=lambda frame: float(frame["timestamp"]))
        times = np.array([frame["timestamp"] for frame in frames])
        matrices = np.array([frame["transform_matrix"] for frame in frames])
        kept = []
        for frame in frames:
            T = interpolate_at(times, matrices, frame["timestamp"] - seconds, max_gap=np.inf)
            if T is not None:
                kept.append(frame | {"transform_matrix": T.tolist()})
        header["frames"] = kept

    return make


def depth_unit(header_scale: float) -> Edit:
    def make(folder: Path, header: dict[str, Any]) -> None:
        header["depth_unit_scale_factor"] = header_scale

    return make


def other_depth(change: Callable[[np.ndarray, dict[str, Any]], np.ndarray]) -> Edit:
    """Depth (H, W) in metres is stored as `change` makes it of the depth and the header."""

    def make(folder: Path, header: dict[str, Any]) -> None:
        (folder / "changed").mkdir()
        for frame in header["frames"]:
            depth = read_depth(folder / frame["depth_file_path"], 1000.0)
            path = f"changed/{Path(frame['depth_file_path']).name}"
            write_png(folder / path, np.rint(1000 * change(depth, header)).clip(0, 65534).astype(np.uint16))
            frame["depth_file_path"] = path

    return make


def along_the_ray(depth: np.ndarray, header: dict[str, Any]) -> np.ndarray:
    u, v = np.meshgrid(np.arange(header["w"]) + 0.5 - header["cx"], np.arange(header["h"]) + 0.5 - header["cy"])
    return depth * np.sqrt(1 + (u / header["fl_x"]) ** 2 + (v / header["fl_y"]) ** 2)


def scaled(factor: float) -> Edit:
    return other_depth(lambda depth, header: factor * depth)


OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
AS_IT_IS = Fault("as it is", lambda folder, header: None)
FAULTS = (
    *(Fault(f"focal length {100 * (f - 1):+.0f} %", focal(f)) for f in (0.85, 0.9, 0.95, 1.05, 1.1, 1.15)),
    Fault("focal length along y +10 %", focal(1.1, ["fl_y"])),
    Fault("principal point off by 5 %", principal_point(0.05)),
    Fault("poses inverted", poses(np.linalg.inv)),
    Fault("OpenCV axes read as OpenGL", poses(lambda T: T @ OPENCV)),
    Fault("poses 0.2 s late", late(0.2)),
    Fault("poses 0.2 s early", late(-0.2)),
    Fault("depth unit 1/5000 m, read as mm", depth_unit(1 / 5000), needs_depth=True),
    Fault("depth along the ray", other_depth(along_the_ray), needs_depth=True),
    *(Fault(f"depth {100 * (f - 1):+.0f} %", scaled(f), needs_depth=True) for f in (0.85, 0.9, 0.95, 1.05, 1.1, 1.15)),
)


def variant(world: Path, out: Path, fault: Fault, level: Level, *, depth: bool) -> None:
    """A copy of a world's header with the fault and with poses that are off by `level`, whose images are the world's."""
    header = json.loads((world / HEADER).read_text(encoding="utf-8"))
    out.mkdir()
    for folder in ("images", "depth"):
        (out / folder).symlink_to((world / folder).resolve())
    wanted = ("file_path", "timestamp", "transform_matrix", *(["depth_file_path"] if depth else []))
    header |= {"label_space": None, "frames": [{key: frame[key] for key in wanted} for frame in header["frames"]]}
    header["frames"] = off(sorted(header["frames"], key=lambda frame: float(frame["timestamp"])), level)
    fault.make(out, header)
    (out / HEADER).write_text(json.dumps(header), encoding="utf-8")


def checked(path: Path, features: FrameFeatures | None = None) -> SequenceCheck:
    """What a run says of a sequence; `features` are those of its images where they are known."""
    sequence = open_sequence(str(path))
    sampler = FrameSampler(sequence, [i for i, info in enumerate(sequence.infos) if info.used], features)
    return check_sequence(sequence, sampler, depth_alone=shipped_depth_alone(sequence))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the recorded sequences")
    parser.add_argument("--worlds", type=Path, help="folder for the synthetic worlds, which is kept")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(81, 91)))
    parser.add_argument(
        "--noisy-seeds", type=int, nargs="*", default=[81, 82, 83], help="worlds with poses that are off"
    )
    parser.add_argument(
        "--only", nargs="*", default=[], help="beginnings of the names of the faults to try; other rows are kept"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "checks.json")
    arguments = parser.parse_args()
    is_kept = bool(arguments.only) and arguments.out.is_file()
    before = json.loads(arguments.out.read_text(encoding="utf-8")) if is_kept else {}
    faults = [fault for fault in (AS_IT_IS, *FAULTS) if fault.name.startswith(tuple(arguments.only) or "")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.worlds or Path(temporary)
        results = {
            "recordings": recordings(arguments.data),
            "worlds": before.get("worlds", {}) | measure(folder, arguments.seeds, TRUE_POSES, faults),
        }
        results["noise"] = {
            level.name: before.get("noise", {}).get(level.name, {})
            | measure(folder, arguments.noisy_seeds, level, faults)
            for level in NOISY
        }
        write_json(arguments.out, {"machine": machine()} | results)


def recordings(data: Path) -> dict[str, Any]:
    """What is said of the recordings as they are."""
    said = {}
    for name in RECORDINGS:
        if (data / name).is_dir():
            found = checked(data / name)
            said[name] = {"stops": found.contradictions, "warns": found.doubts}
            print(name, said[name], flush=True)
    return said


def measure(folder: Path, seeds: Sequence[int], level: Level, faults: Sequence[Fault]) -> dict[str, dict[str, int]]:
    """How often runs of the worlds would stop or warn, by what is wrong with them besides poses that are off by `level`."""
    counts: dict[str, dict[str, int]] = {}
    for seed in seeds:
        world = folder / str(seed)
        simulate(world, SynthConfig(seed=seed, frames=FRAMES, world=WorldConfig(rooms=1)))
        features = FrameFeatures()
        for fault in faults:
            for depth in (True, False):
                if fault.needs_depth not in (None, depth):
                    continue
                with tempfile.TemporaryDirectory() as changed:
                    variant(world, Path(changed) / "seq", fault, level, depth=depth)
                    is_whole = len(open_sequence(str(Path(changed) / "seq"))) == FRAMES
                    found = checked(Path(changed) / "seq", features if is_whole else None)
                name = f"{fault.name}, {'depth' if depth else 'images'}"
                count = counts.setdefault(name, {"worlds": 0, "stops": 0, "warns": 0})
                count["worlds"] += 1
                count["stops"] += bool(found.contradictions)
                count["warns"] += bool(found.doubts) and not found.contradictions
                print(world.name, level.name, name, found.contradictions or found.doubts or "-", flush=True)
    return counts


if __name__ == "__main__":
    main()
