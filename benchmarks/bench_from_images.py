"""How good the network is from images and poses alone: depth, labels, normals and edges, on renderings and on real recordings.

    python benchmarks/bench_from_images.py DATA --worlds FOLDER [--checkpoint NAME_OR_FILE]

measures on synthetic worlds (canonical sequences below FOLDER, made by `m2h synth` with seeds that were not trained on), on the
second half of DATA/hololens_office, on DATA/redkitchen (7-Scenes) and on the labelled photographs of DATA/nyu13_photos,
prints the figures and writes benchmarks/results/from_images.json. What is missing is omitted. Depth and labels of the
recordings are read only to be compared with. Labels of single images are measured as a run gets them, with the evidence of the
detector, and without.

The kitchen's images are taken with the 525 pixels of its colour camera's focal length; its truth is the map of the recorded depth
as it looks from there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from bench_multiview import sensor_mesh
from common import machine, noise, summarise, write_json
from numpy.typing import NDArray
from nyu13 import NYU13_OF_NYU40

from m2h import Predictions
from m2h.calibration import expected_calibration_error
from m2h.data import Camera, open_dataset
from m2h.detection.detector import Detector
from m2h.evaluate import evaluate_checkpoint
from m2h.infer import DETECTED_SPACE, Predictor
from m2h.views import View
from m2h.weights import DEFAULT_NAME
from mapping import Intrinsics
from mapping.mesh.mesh_metrics import mesh_metrics
from mapping.mesh.raycast import MeshCaster
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.frame import Frame, FrameSequence
from pipelines.settings import NetworkConfig, PipelineConfig
from pipelines.sources.network import network_neighbours
from pipelines.sources.predictions import prediction_path, read_predictions
from pipelines.stages.context import PREDICTIONS_FOLDER
from pipelines.turning import turned_array
from pipelines.workspace import load_run

KITCHEN_FOCAL = 525.0
PARTS = ("worlds", "office", "kitchen", "photos", "speed")
FOLDERS = {"office": "hololens_office", "kitchen": "redkitchen"}
VOXEL = 0.05
"""Metres, of the maps and of the map of the sensor's depth that they are compared with."""
SAMPLES = 100_000
NEIGHBOURS = NetworkConfig().neighbours.count + NetworkConfig().wide_neighbours.count
"""Those that a run gives the network."""
CONFIDENT = 0.75
"""Share of the pixels, the most confident of all frames, that are measured by themselves."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the recorded sequences and the photographs")
    parser.add_argument("--worlds", type=Path, help="folder of synthetic sequences")
    parser.add_argument("--world-frames", type=int, default=60, help="frames of the worlds that are measured")
    parser.add_argument("--checkpoint", default=DEFAULT_NAME, help="network to measure")
    parser.add_argument("--every", type=int, default=5, help="measure every n-th frame of the recordings")
    parser.add_argument("--no-maps", action="store_true", help="omit the maps of the recordings")
    parser.add_argument("--source", help="what the maps are made from, instead of the checkpoint")
    parser.add_argument("--refine", default="auto", help="as that of m2h run, for the maps")
    parser.add_argument("--keep", type=Path, help="folder for the runs of the maps")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, help="what to measure; all else in --out is kept"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "from_images.json")
    arguments = parser.parse_args()
    predictor = Predictor.from_checkpoint(arguments.checkpoint)
    detector = Detector.shipped(predictor.device) if predictor.record.label_space == DETECTED_SPACE else None
    detecting = Predictor(predictor.network, predictor.record, predictor.config, detector)
    results: dict[str, Any] = {}
    if len(arguments.only) < len(PARTS) and arguments.out.is_file():
        results = json.loads(arguments.out.read_text(encoding="utf-8"))
    results |= {"machine": machine(), "checkpoint": Path(arguments.checkpoint).name}
    with noise(results):
        for measured in measure(arguments, predictor, detecting):
            for key, scores in measured.items():
                print_scores(key, scores)
            results |= measured
            write_json(arguments.out, results)
    write_json(arguments.out, results)


def measure(arguments: argparse.Namespace, predictor: Predictor, detecting: Predictor) -> Iterator[dict[str, Any]]:
    """Figures by name, as they are found, by the network alone and with the detector."""
    if arguments.worlds and "worlds" in arguments.only:
        for key, asked in (("world labels", detecting), ("world labels without detector", predictor)):
            yield {key: measure_world_labels(asked, arguments.worlds, arguments.world_frames)}
        yield {"worlds": measure_worlds(arguments.checkpoint, arguments.worlds, arguments.world_frames)}
    for name, frames, caster in recordings(arguments.data, arguments.only):
        truths = truths_of(frames, caster, arguments.every)
        yield {name: measure_recording(predictor, frames, truths)}
        if not arguments.no_maps:
            yield {f"{name} map": measure_map(arguments.data / FOLDERS[name], frames, truths, arguments)}
    photos = arguments.data / "nyu13_photos"
    if photos.is_dir() and "photos" in arguments.only:
        yield {"photos": measure_photos(detecting, photos)}
        yield {"photos without detector": measure_photos(predictor, photos)}
    if "speed" in arguments.only:
        yield {"speed": measure_speed(detecting)}


def measure_worlds(checkpoint: str, folder: Path, frames: int) -> dict[str, Any]:
    """All tasks on synthetic worlds, with neighbours and without."""
    return {
        name: evaluate_checkpoint(checkpoint, f"folder:{folder}", limit=frames, neighbours=count)
        for name, count in (("neighbours", NEIGHBOURS), ("alone", 0))
    }


def measure_world_labels(predictor: Predictor, folder: Path, frames: int) -> dict[str, float]:
    """Labels of single images of synthetic worlds in NYU13."""
    dataset, scores = open_dataset(f"folder:{folder}"), LabelScores(predictor)
    for index in np.linspace(0, len(dataset) - 1, min(frames, len(dataset))).round().astype(int):
        sample = dataset[int(index)]
        if sample.labels is not None:
            scores.add(sample.rgb, np.array(NYU13_OF_NYU40)[sample.labels])
    return scores.summary()


def recordings(
    data: Path, wanted: Collection[str] = ("office", "kitchen")
) -> Iterator[tuple[str, list[Frame], MeshCaster | None]]:
    """The recorded sequences that are there: name, frames, and the map that is the truth where the sensor's camera is another."""
    if "office" in wanted and (data / "hololens_office").is_dir():
        sequence = open_sequence(str(data / "hololens_office"))
        yield "office", [sequence[i] for i in range(len(sequence) // 2, len(sequence))], None
    if "kitchen" in wanted and (data / "redkitchen").is_dir():
        sequence = open_sequence(str(data / "redkitchen"))
        frames = [sequence[i] for i, info in enumerate(sequence.infos) if info.used]
        caster = MeshCaster(sensor_mesh(frames, 0.03))
        focal = {"fx": KITCHEN_FOCAL, "fy": KITCHEN_FOCAL}
        yield "kitchen", [replace(frame, intrinsics=replace(frame.intrinsics, **focal)) for frame in frames], caster


def truths_of(frames: list[Frame], caster: MeshCaster | None, every: int) -> dict[int, NDArray[np.float32]]:
    """True depth of every n-th frame, 0 unknown, by its number in the list."""
    truths = {}
    for i in range(0, len(frames), every):
        truth = frames[i].recorded.depth
        if caster is not None:
            truth = caster.cast(frames[i].intrinsics, frames[i].T_world_camera)[0]
        assert truth is not None
        truths[i] = truth
    return truths


def measure_recording(
    predictor: Predictor, frames: list[Frame], truths: dict[int, NDArray[np.float32]]
) -> dict[str, dict[str, float]]:
    """Depth with neighbours and from the single image."""
    poses = np.stack([frame.T_world_camera for frame in frames])
    matched = [predictor.match(view_of(frame)) for frame in frames]
    errors = {"neighbours": DepthErrors(), "alone": DepthErrors()}
    for i, truth in truths.items():
        frame = frames[i]
        chosen = network_neighbours(poses, frame.intrinsics, i, NetworkConfig())
        errors["neighbours"].add(predictor.predict_view(view_of(frame), [matched[j] for j in chosen]), truth)
        errors["alone"].add(predictor.predict_view(view_of(frame)), truth)
    return {name: found.summary() for name, found in errors.items()}


def measure_map(
    folder: Path, frames: list[Frame], truths: dict[int, NDArray[np.float32]], arguments: argparse.Namespace
) -> dict[str, float]:
    """`m2h run --source m2h` as by default: its mesh against the map of the recorded depth, and the depth that it fused against
    the truth of those of the frames that it used.

    The run reads the recording with the camera of `frames`, and maps those frames alone. Seconds are those of all stages.
    """
    with tempfile.TemporaryDirectory() as name:
        sequence = with_camera(folder, frames[0].intrinsics, Path(name) / "sequence")
        first = sequence.infos[-1].index + 1 - len(frames)
        config = config_from_mapping(
            PipelineConfig, {"tsdf": {"voxel_size": VOXEL}, "frames": {"start": first}}, "here"
        )
        out = Path(name) / "run"
        source = arguments.source or f"m2h:{arguments.checkpoint}"
        manifest = run(sequence, out, source=source, refine=arguments.refine, config=config)
        mesh, graph = load_run(out)
        errors = DepthErrors()
        stored = {i: prediction_path(out / PREDICTIONS_FOLDER, frames[i].index) for i in truths}
        for i, path in stored.items():
            if path.is_file():  # not of frames at which the camera had hardly moved
                errors.add(read_predictions(path), truths[i])
        if arguments.keep:
            shutil.copytree(out, arguments.keep / folder.name, dirs_exist_ok=True)
    mesh = mesh.transformed(graph.T_input_world)
    truth_mesh = sensor_mesh([open_sequence(str(folder))[frame.index] for frame in frames], VOXEL)
    scores = mesh_metrics(mesh, truth_mesh, np.random.default_rng(0), samples=SAMPLES)
    seconds = sum(stage["seconds"] for stage in manifest["stages"].values())
    wanted = (
        "f_5cm",
        "f_10cm",
        "precision_5cm",
        "recall_5cm",
        "accuracy_m",
        "completeness_m",
        "recall_10cm",
        "double_wall_rate",
        "normal_consistency",
    )
    depth = {f"depth {key}": value for key, value in errors.summary().items() if key != "calibration_error"}
    return {key: scores[key] for key in wanted if key in scores} | depth | {"seconds_per_frame": seconds / len(frames)}


def with_camera(folder: Path, camera: Intrinsics, out: Path) -> FrameSequence:
    """The sequence in a folder, seen through another focal length where 7-Scenes' file states the depth camera's."""
    if not (folder / "camera-intrinsics.txt").is_file():
        return open_sequence(str(folder))
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).symlink_to(path.resolve())
    (out / "camera-intrinsics.txt").unlink()
    rows = [[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]]
    (out / "camera-intrinsics.txt").write_text("\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    return open_sequence(str(out))


def view_of(frame: Frame) -> View:
    camera = frame.intrinsics
    return View(frame.rgb, Camera(camera.fx, camera.fy, camera.cx, camera.cy), frame.T_world_camera)


class DepthErrors:
    """Relative errors of depth over all frames where it is known, with the confidence of each."""

    def __init__(self) -> None:
        self.ratios: list[NDArray[np.float32]] = []
        self.confidences: list[NDArray[np.float32]] = []
        self.shares: list[float] = []

    def add(self, predictions: Predictions, truth: NDArray[np.float32]) -> None:
        assert predictions.depth is not None
        assert predictions.confidence is not None
        known = (truth > 0) & (predictions.depth > 0)
        self.shares.append(float(known.sum() / max((truth > 0).sum(), 1)))
        self.ratios.append(predictions.depth[known] / truth[known])
        self.confidences.append(predictions.confidence[known])

    def summary(self) -> dict[str, float]:
        """AbsRel, shares within 5, 10 and 25 %, AbsRel of the most confident share, and how far confidence is from the truth."""
        ratio, confidence = np.concatenate(self.ratios), np.concatenate(self.confidences)
        error, right = np.abs(ratio - 1), np.abs(np.log(np.maximum(ratio, 1e-6))) < np.log(1.05)
        order = np.argsort(-confidence, kind="stable")[: round(CONFIDENT * len(confidence))]
        return {
            "abs_rel": float(error.mean()),
            "known": float(np.mean(self.shares)),
            "median_ratio": float(np.median(ratio)),
            "within_5": float(right.mean()),
            "within_10": float((error < 0.1).mean()),
            "delta_1": float((np.maximum(ratio, 1 / np.maximum(ratio, 1e-6)) < 1.25).mean()),
            "abs_rel_confident": float(error[order].mean()),
            "calibration_error": expected_calibration_error(confidence, right),
        }


def measure_photos(predictor: Predictor, folder: Path, turns: int = 0) -> dict[str, float]:
    """Labels in NYU13 of photographs that are turned by quarters."""
    scores = LabelScores(predictor)
    for path in sorted(folder.glob("*_label13.png")):
        truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        rgb = cv2.cvtColor(cv2.imread(str(path).replace("_label13", "")), cv2.COLOR_BGR2RGB)
        scores.add(turned_array(np.asarray(rgb, dtype=np.uint8), turns), turned_array(np.asarray(truth), turns))
    return scores.summary()


class LabelScores:
    """How often labels of single images are right in NYU13: over all labelled pixels the most probable class, and over those
    that are named the name."""

    def __init__(self, predictor: Predictor) -> None:
        self.cautious = predictor
        self.sure = replace_threshold(predictor, 0.0)
        self.counts = np.zeros((14, 14), np.int64)
        self.named = self.right = 0
        self.confidences: list[NDArray[np.float32]] = []
        self.rights: list[NDArray[np.bool_]] = []

    def add(self, rgb: NDArray[np.uint8], truth: NDArray[np.integer]) -> None:
        """An image and its NYU13 labels, 0 unknown."""
        merged, known = np.array(NYU13_OF_NYU40), truth > 0
        best, cautious = self.sure(rgb), self.cautious(rgb)
        assert best.labels is not None
        assert best.label_confidence is not None
        assert cautious.labels is not None
        found, names = merged[best.labels[known]], merged[cautious.labels[known]]
        pairs = truth[known].astype(np.int64) * 14 + found
        self.counts += np.bincount(pairs, minlength=196).reshape(14, 14)
        self.confidences.append(best.label_confidence[known])
        self.rights.append(found == truth[known])
        self.named += int((names > 0).sum())
        self.right += int(((names > 0) & (names == truth[known])).sum())

    def summary(self) -> dict[str, float]:
        hit, union = np.diag(self.counts), self.counts.sum(0) + self.counts.sum(1) - np.diag(self.counts)
        present = self.counts.sum(1)[1:] > 0
        return {
            "accuracy": float(hit.sum() / self.counts.sum()),
            "miou_present": float((hit[1:] / np.maximum(union[1:], 1))[present].mean()),
            "named_share": self.named / int(self.counts.sum()),
            "named_accuracy": self.right / max(self.named, 1),
            "calibration_error": expected_calibration_error(
                np.concatenate(self.confidences), np.concatenate(self.rights)
            ),
        }


def replace_threshold(predictor: Predictor, threshold: float) -> Predictor:
    """The predictor with another probability from which it names a class."""
    record = replace(predictor.record, label_threshold=threshold)
    return Predictor(predictor.network, record, predictor.config, predictor.detector)


def measure_speed(predictor: Predictor) -> dict[str, float]:
    """Milliseconds of a whole prediction of an image of 320x240 with eight neighbours, its own matching features and what is
    detected in it included."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
    poses = np.tile(np.eye(4), (NEIGHBOURS + 1, 1, 1))
    poses[:, 0, 3] = 0.1 * np.arange(NEIGHBOURS + 1)
    views = [View(rgb, Camera(260.0, 260.0, 159.5, 119.5), pose) for pose in poses]
    matched = [predictor.match(view) for view in views[1:]]
    seconds = []
    for _ in range(13):
        start = time.perf_counter()
        predictor.match(views[0])
        predictor.predict_view(views[0], matched)
        seconds.append(time.perf_counter() - start)
    return summarise(seconds[3:])


def print_scores(name: str, scores: dict[str, Any]) -> None:
    for part, values in scores.items() if all(isinstance(v, dict) for v in scores.values()) else [("", scores)]:
        shown = "  ".join(f"{key} {value:.3f}" for key, value in values.items() if value is not None)
        print(f"{name} {part}: {shown}", flush=True)


if __name__ == "__main__":
    main()
