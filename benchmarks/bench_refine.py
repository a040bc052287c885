"""The gain from neighbouring images for depth that was predicted frame by frame, with and without alignment of scales.

python benchmarks/bench_refine.py --seeds 71 72 --office /path/to/hololens_office

Three predictors: the shipped network, and `simulated_network.py`, which degrades true depth, like a `good` and a `fair`
network. `m2h run` maps worlds of `m2h synth` and the recorded office from the unchanged prediction (`--refine none`), refined
(`multiview`), refined where the error is large (`auto`), and from images and poses alone; each with alignment (`aligned`) and
without. Meshes are compared with the true surface, in the office with that of the sensor's depth, which is otherwise only used to
simulate predictions. Results are kept by sequence and method in benchmarks/results/refine.json; with `--keep` existing
ones are not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import machine, table, write_json
from numpy.typing import NDArray
from pydantic import TypeAdapter
from simulated_network import MonocularConfig, MonocularNetwork

from m2h import Predictions
from mapping import TSDFVolume
from mapping.mesh.io import read_mesh
from mapping.mesh.mesh_metrics import mesh_metrics
from mapping.mesh.raycast import MeshCaster
from pipelines.config import config_from_mapping
from pipelines.frame import Frame, FrameSequence
from pipelines.loading import chosen_positions
from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.sources.predictions import prediction_path, read_predictions, write_predictions
from pipelines.sources.refinement import Refine, spread_of
from pipelines.stages.alignment_file import read_alignment
from pipelines.synth.simulate import SynthConfig, simulate

MAX_DEPTH = 10.0  # metres; farther points are ignored
STEP = 0.05  # relative step of depth next to an edge pixel of the office's surface
FEWEST = 1000  # pixels of a frame that are compared
DEGRADED = {
    "good": (7, MonocularConfig()),
    "fair": (8, MonocularConfig(scale=0.1, bias=0.08, bias_length=0.2, bleeding_px=4.0, normal_lean_deg=6.0)),
}
"""The errors of simulated networks, and the stream from which they are drawn."""
VARIANTS: dict[str, tuple[tuple[Refine, str], ...]] = {
    "shipped": (("none", "off"), ("none", "on"), ("auto", "off"), ("auto", "on")),
    "fair": (("none", "on"), ("auto", "on")),
    "good": (("none", "off"), ("none", "on"), ("multiview", "on"), ("auto", "on")),
}
"""Settings measured for each predictor: `--refine` and `align.mode`. Where auto refines, it equals multiview."""
COLUMNS = ("abs_rel", "delta_1", "fused_abs_rel", "fused_delta_1", "known", "f_5cm", "f_10cm")


@dataclass(frozen=True, eq=False)
class Scene:
    """A sequence, its settings, the folder of its runs, and its true surface."""

    sequence: FrameSequence
    settings: dict[str, Any]
    folder: Path
    seed: int

    @property
    def is_rendered(self) -> bool:
        return self.truth_file.exists()

    @property
    def truth_file(self) -> Path:
        return self.sequence.path / "ground_truth" / "mesh.ply"

    @cached_property
    def config(self) -> PipelineConfig:
        return config_from_mapping(PipelineConfig, self.settings, "scene")

    @cached_property
    def positions(self) -> list[int]:
        return chosen_positions(self.sequence, self.config.frames)

    @cached_property
    def truth(self) -> MeshCaster:
        """The true surface in the sequence's world; that of all the sensor's depth where there is no other."""
        if self.is_rendered:
            return MeshCaster(read_mesh(self.truth_file))
        volume = TSDFVolume(self.config.tsdf)
        for position in range(len(self.sequence)):
            frame = self.sequence[position]
            assert frame.recorded.depth is not None
            volume.integrate(frame.recorded.depth, frame.intrinsics, frame.T_world_camera)
        return MeshCaster(volume.extract_mesh(min_weight=1.0))

    def is_visible(self, points: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.bool_]:
        frames = [self.sequence.infos[position].T_world_camera for position in self.positions]
        poses = np.array(frames)[np.random.default_rng(0).permutation(len(frames))]
        return self.truth.visible_points(points, normals, poses, self.sequence[0].intrinsics, max_depth=MAX_DEPTH)

    def exact(self, frame: Frame) -> Predictions:
        """Depth, normals and edges without error: the recorded ones, in the office those of the sensor's map."""
        if self.is_rendered:
            return frame.recorded
        depth, faces = self.truth.cast(frame.intrinsics, frame.T_world_camera)
        normals = self.truth.mesh.face_normals()[faces] @ frame.T_world_camera[:3, :3]
        facing = np.sign((normals * frame.intrinsics.rays()).sum(axis=-1, keepdims=True))
        normals = np.where((faces >= 0)[..., None], -facing * normals, 0).astype(np.float32)
        logs = np.log(np.maximum(depth, 0.01))
        steps = np.maximum(*(np.abs(np.diff(logs, axis=axis, append=logs.take([-1], axis))) for axis in (0, 1)))
        return Predictions(depth=depth, normals=normals, edges=(steps > STEP).astype(np.float32))


def open_scenes(options: argparse.Namespace) -> dict[str, Scene]:
    """The scenes by name; worlds are rendered if they do not exist."""
    scenes = {}
    for seed in options.seeds:
        folder = options.work / f"world_{seed}_{options.rooms}_{options.frames}"
        world = {"seed": seed, "frames": options.frames, "world": {"rooms": options.rooms}}
        simulate(folder, config_from_mapping(SynthConfig, world, "options"))
        name = f"synth, {options.rooms} rooms, {options.frames} frames, seed {seed}"
        settings: dict[str, Any] = {"tsdf": {"voxel_size": 0.04}}
        scenes[name] = Scene(open_sequence(folder), settings, options.work / f"runs_{folder.name}", seed)
    if options.office is not None:
        settings = {"frames": {"stride": options.stride}, "tsdf": {"voxel_size": 0.05}}
        folder = options.work / f"runs_office_{options.stride}"
        scenes[f"{options.office.name}, every {options.stride}th"] = Scene(
            open_sequence(options.office), settings, folder, 0
        )
    return scenes


def write_prior(scene: Scene, prior: str) -> Path:
    """A folder with the predictions of all frames, since neighbours that are not mapped are used too."""
    folder = scene.folder / f"prior_{prior}"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "done"
    if done.exists():
        return folder
    predict = predictor(scene, prior)
    for position in range(len(scene.sequence)):
        frame = scene.sequence[position]
        write_predictions(folder, frame.index, predict(frame))
    done.touch()
    return folder


def predictor(scene: Scene, prior: str) -> Callable[[Frame], Predictions]:
    if prior in DEGRADED:
        stream, errors = DEGRADED[prior]
        network = MonocularNetwork(errors, np.random.default_rng([scene.seed, stream]))
        return lambda frame: network(scene.exact(frame))
    from m2h.infer import Predictor
    from m2h.weights import DEFAULT_NAME

    shipped = Predictor.from_checkpoint(DEFAULT_NAME)
    return lambda frame: shipped(frame.rgb, frame.intrinsics)


class Variant(NamedTuple):
    """One configuration of a map: its title, the folder of its run, the source, `--refine` and `align.mode`."""

    title: str
    folder: str
    source: str
    refine: Refine
    mode: str


def measure(scene: Scene, variant: Variant) -> dict[str, float]:
    """The scores of one method; the predictions of an earlier method with the same source are reused."""
    folder = scene.folder / variant.folder
    config = config_from_mapping(PipelineConfig, {**scene.settings, "align": {"mode": variant.mode}}, "scene")
    run(scene.sequence, folder, source=variant.source, refine=variant.refine, config=config, until="fuse")
    T_input_world = np.array(json.loads((folder / "levelling.json").read_text())["T_input_world"])
    mesh = TSDFVolume.load(folder / "volume.npz").extract_mesh(min_weight=config.mesh.min_weight)
    scores = mesh_metrics(
        mesh.transformed(T_input_world),
        scene.truth.mesh,
        np.random.default_rng(0),
        is_visible=scene.is_visible if scene.is_rendered else None,
    )
    kept = ("f_5cm", "f_10cm", "precision_5cm", "recall_5cm", "double_wall_rate")
    result = {key: scores[key] for key in kept} | depth_scores(scene, folder, variant)
    return {key: round(float(value), 4) for key, value in result.items() if value is not None}


def depth_scores(scene: Scene, run_folder: Path, variant: Variant) -> dict[str, float]:
    """Means over frames: depth of the source, depth fused after the alignment, and the share of pixels with depth."""
    kind, _, argument = variant.source.partition(":")
    stored = Path(argument) if kind == "precomputed" and variant.refine == "none" else run_folder / "predictions"
    alignment = read_alignment(run_folder / "alignment.json")
    rows = []
    for position in scene.positions:
        frame = scene.sequence[position]
        truth = frame.recorded.depth
        seen = read_predictions(prediction_path(stored, frame.index))
        fused = alignment.corrected(frame.index, seen)
        assert truth is not None
        assert seen.depth is not None
        assert fused.depth is not None
        measured = (truth > 0) & (truth < MAX_DEPTH)
        known = measured & (seen.depth > 0)
        if known.sum() < FEWEST:
            continue
        row = {"known": float(known.sum() / measured.sum())}
        for prefix, depth in (("", seen.depth), ("fused_", fused.depth)):
            ratio = depth[known] / truth[known]
            row[f"{prefix}abs_rel"] = float(np.mean(np.abs(ratio - 1)))
            row[f"{prefix}delta_1"] = float(np.mean(np.maximum(ratio, 1 / ratio) < 1.25))
        rows.append(row)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def spread(scene: Scene, prior: str) -> float:
    """The criterion of `--refine auto`, here for all frames instead of eight; needs the run from images alone."""
    folders = scene.folder / "images" / "predictions", write_prior(scene, prior)
    found = []
    for position in scene.positions:
        index = scene.sequence.infos[position].index
        proved, seen = (read_predictions(prediction_path(folder, index)).depth for folder in folders)
        assert proved is not None
        assert seen is not None
        found.append(spread_of(proved, seen))
    return round(float(np.median([value for value in found if value is not None])), 4)


def variants(scene: Scene, priors: list[str]) -> Iterator[Variant]:
    """All that is measured."""
    for prior in priors:
        folder = write_prior(scene, prior)
        for refine, mode in VARIANTS[prior]:
            name = f"{prior}, {refine}"
            yield Variant(name + ", aligned" * (mode == "on"), name, f"precomputed:{folder}", refine, mode)
    for mode in ("off", "on"):
        yield Variant("images alone" + ", aligned" * (mode == "on"), "images", "multiview", "none", mode)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[71, 72, 73, 74])
    parser.add_argument("--rooms", type=int, default=2)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--office", type=Path, help="the recorded sequence hololens_office")
    parser.add_argument("--stride", type=int, default=4, help="of the office")
    parser.add_argument("--priors", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--work", type=Path, help="folder in which worlds and runs are kept")
    parser.add_argument("--keep", action="store_true", help="existing results are not measured again")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "refine.json")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or Path(temporary)
        measure_all(options)


def measure_all(options: argparse.Namespace) -> None:
    """Every method on every scene, written after each."""
    known = json.loads(options.out.read_text())["results"] if options.out.exists() else {}
    results = dict(known)
    networks = {name: TypeAdapter(MonocularConfig).dump_python(errors) for name, (_, errors) in DEGRADED.items()}
    for scene_name, scene in open_scenes(options).items():
        rows = results[scene_name] = dict(known.get(scene_name, {})) if options.keep else {}
        for variant in variants(scene, options.priors):
            if variant.title in rows:
                continue
            rows[variant.title] = measure(scene, variant)
            write_json(options.out, {"machine": machine(), "networks": networks, "results": results})
            print(
                scene_name,
                "|",
                variant.title,
                *(f"{key} {rows[variant.title][key]:.3f}" for key in COLUMNS),
                flush=True,
            )
        for prior in options.priors:
            unaligned = rows[f"{prior}, none, aligned"]
            unaligned["spread"] = unaligned.get("spread") or spread(scene, prior)
        write_json(options.out, {"machine": machine(), "networks": networks, "results": results})
        shown = [(title, *(f"{scores[key]:.3f}" for key in COLUMNS)) for title, scores in rows.items()]
        print(table((scene_name, *COLUMNS), shown), flush=True)


if __name__ == "__main__":
    main()
