"""Maps of depth with a network's errors, with each measure against them on and off.

python benchmarks/bench_monocular.py --seeds 31 32 --ablate 31

Worlds of `m2h synth` are rendered and degraded by `simulated_network.py` (scale 5 % per frame, smooth bias, bleeding
edges, tilted normals), fused with every chosen combination of measures and compared with the true surface. `plain`
fuses the predictions with equal weights; `full` is the default of `m2h run`. Results are kept by seed in
benchmarks/results/monocular.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, table, write_json
from numpy.typing import NDArray
from pydantic import TypeAdapter
from simulated_network import MonocularConfig, MonocularNetwork

from m2h import Predictions
from mapping import TSDFConfig, TSDFVolume
from mapping.depth.depth_config import AlignmentConfig, DepthWeightConfig
from mapping.depth.depth_weights import depth_weight
from mapping.depth.joint_alignment import SequenceAlignment, align_sequence
from mapping.depth.samples import sample_frame
from mapping.mesh.io import read_mesh
from mapping.mesh.mesh_metrics import doubled_share, mesh_metrics, rim_per_area
from mapping.mesh.raycast import MeshCaster
from pipelines.config import config_from_mapping
from pipelines.frame import Frame
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.synth.simulate import SynthConfig, simulate

NETWORK_STREAM = 7
MAX_DEPTH = 10.0
NO_WEIGHTS = DepthWeightConfig(
    noise_power=0, grazing=False, flying=False, edge_strength=0, agreement=False, confidence=False
)
WEIGHTS: dict[str, dict[str, Any]] = {
    "noise": {"noise_power": 1.0},
    "grazing": {"grazing": True},
    "flying": {"flying": True},
    "edges": {"edge_strength": DepthWeightConfig().edge_strength},
    "agreement": {"agreement": True},
    "confidence": {"confidence": True},
}
SCALE = AlignmentConfig(rows=1, columns=1)
FIELD = AlignmentConfig()
GROWTHS = (0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Care:
    """A combination: the weights of pixels, the alignment or None, and `TSDFConfig.behind_per_meter`."""

    weights: DepthWeightConfig
    alignment: AlignmentConfig | None
    behind_per_meter: float = 0.0


def cares() -> dict[str, Care]:
    """All combinations by name, the main ones first."""
    every = DepthWeightConfig()
    found = {
        "exact depth": Care(every, None),
        "plain": Care(NO_WEIGHTS, None),
        "full": Care(every, FIELD),
        "only weights": Care(every, None),
        "only scales": Care(NO_WEIGHTS, SCALE),
        "only fields": Care(NO_WEIGHTS, FIELD),
        "full, scales for fields": Care(every, SCALE),
        "full, no normals in fields": Care(every, replace(FIELD, normals=False)),
    }
    for growth in GROWTHS:
        found[f"only behind {growth:g} m/m"] = Care(NO_WEIGHTS, None, behind_per_meter=growth)
        found[f"full, behind {growth:g} m/m"] = Care(every, FIELD, behind_per_meter=growth)
    off: dict[str, dict[str, Any]] = {"noise": {"noise_power": 0.0}, "edges": {"edge_strength": 0.0}}
    for name, on in WEIGHTS.items():
        found[f"only {name}"] = Care(replace(NO_WEIGHTS, **on), None)
        found[f"full, no {name}"] = Care(replace(every, **off.get(name, {name: False})), FIELD)
    return found


MAIN = ("exact depth", "plain", "only weights", "only fields", "full")


@dataclass(frozen=True, eq=False)
class RenderedWorld:
    """A rendered world: its frames, their predictions, the truth, and its visible part."""

    frames: list[Frame]
    seen: list[Predictions]
    truth: MeshCaster

    def is_visible(self, points: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.bool_]:
        poses = np.array([frame.T_world_camera for frame in self.frames])
        chosen = poses[np.random.default_rng(0).permutation(len(poses))]
        return self.truth.visible_points(points, normals, chosen, self.frames[0].intrinsics, max_depth=MAX_DEPTH)


def open_world(folder: Path, seed: int, options: argparse.Namespace) -> RenderedWorld:
    """Render a world if it does not exist, and predict its frames."""
    settings = {"seed": seed, "frames": options.frames, "image_format": "jpg", "world": {"rooms": options.rooms}}
    simulate(folder, config_from_mapping(SynthConfig, settings, "options"))
    sequence = open_sequence(folder)
    frames = [sequence[i] for i in range(len(sequence))]
    network = MonocularNetwork(MonocularConfig(), np.random.default_rng([seed, NETWORK_STREAM]))
    seen = [network(frame.recorded) for frame in frames]
    return RenderedWorld(frames, seen, MeshCaster(read_mesh(folder / "ground_truth" / "mesh.ply")))


def aligned_depths(
    world: RenderedWorld, care: Care, options: argparse.Namespace
) -> tuple[list[NDArray[np.float32]], SequenceAlignment | None]:
    """The depth of all frames after a combination of measures."""
    raw = [seen.depth for seen in world.seen if seen.depth is not None]
    if care.alignment is None:
        return raw, None
    samples = [
        sample_frame(
            depth,
            frame.intrinsics,
            frame.T_world_camera,
            normals=seen.normals,
            weight=weights(frame, seen, depth, care.weights),
        )
        for frame, seen, depth in zip(world.frames, world.seen, raw, strict=True)
    ]
    found = align_sequence(samples, care.alignment)
    return [field(depth) for field, depth in zip(found.fields, raw, strict=True)], found


def weights(
    frame: Frame, seen: Predictions, depth: NDArray[np.float32], config: DepthWeightConfig
) -> NDArray[np.float32]:
    return depth_weight(
        depth, frame.intrinsics, normals=seen.normals, edges=seen.edges, confidence=seen.confidence, config=config
    )


def fused(world: RenderedWorld, depths: list[NDArray[np.float32]], care: Care, voxel: float) -> TSDFVolume:
    volume = TSDFVolume(TSDFConfig(voxel_size=voxel, behind_per_meter=care.behind_per_meter))
    for frame, seen, depth in zip(world.frames, world.seen, depths, strict=True):
        weight = weights(frame, seen, depth, care.weights)
        volume.integrate(depth, frame.intrinsics, frame.T_world_camera, weight=weight)
    return volume


def measure(world: RenderedWorld, name: str, care: Care, options: argparse.Namespace) -> dict[str, Any]:
    """The scores of one combination."""
    start = time.process_time()
    if name == "exact depth":
        world = replace(world, seen=[frame.recorded for frame in world.frames])
    depths, found = aligned_depths(world, care, options)
    aligned = time.process_time() - start
    mesh = fused(world, depths, care, options.voxel).extract_mesh(min_weight=PipelineConfig().mesh.min_weight)
    rng = np.random.default_rng(0)
    scores = mesh_metrics(mesh, world.truth.mesh, rng, is_visible=world.is_visible, samples=options.samples)
    result = {key: value for key, value in scores.items() if not key.startswith("label")}
    doubled = doubled_share(mesh, np.random.default_rng(0), samples=options.samples)
    result |= {"doubled_share": doubled, "rim_per_area": rim_per_area(mesh), **depth_errors(world, depths)}
    if found is not None:
        result |= {"align_processor_seconds": aligned, "scale_spread": float(np.log(found.scales).std())}
    return {key: None if value is None else round(float(value), 5) for key, value in result.items()}


def depth_errors(world: RenderedWorld, depths: list[NDArray[np.float32]]) -> dict[str, float]:
    """Robust deviation of log depth over all pixels, and the standard deviation of the frames' medians."""
    medians, spreads = [], []
    for frame, depth in zip(world.frames, depths, strict=True):
        true = frame.recorded.depth
        assert true is not None
        known = (true > 0) & (depth > 0)
        error = np.log(depth[known] / true[known])
        medians.append(np.median(error))
        spreads.append(np.median(np.abs(error)))
    return {"depth_error": 1.4826 * float(np.median(spreads)), "scale_error": float(np.std(medians))}


def print_means(results: dict[str, dict[str, dict[str, float]]]) -> None:
    """A table of means over seeds."""
    columns = ("f_5cm", "f_10cm", "double_wall_rate", "doubled_share", "accuracy_m", "depth_error", "scale_error")
    rows = []
    for name in cares():
        measured = [result[name] for result in results.values() if name in result]
        if measured:
            means = (float(np.mean([scores[column] for scores in measured])) for column in columns)
            rows.append((name, len(measured), *(f"{mean:.3f}" for mean in means)))
    print(table(("care", "worlds", *columns), rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[31, 32, 33, 34, 35, 41, 42, 43])
    parser.add_argument("--ablate", type=int, nargs="*", default=[31, 33, 42], help="seeds with all combinations")
    parser.add_argument("--only", nargs="+", choices=list(cares()), help="only these combinations")
    parser.add_argument("--rooms", type=int, default=2)
    parser.add_argument("--frames", type=int, default=130)
    parser.add_argument("--voxel", type=float, default=0.04)
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--worlds", type=Path, help="folder in which rendered worlds are kept")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "monocular.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        options.worlds = options.worlds or Path(temporary)
        measure_all(options)


def measure_all(options: argparse.Namespace) -> None:
    """Every chosen combination on every world, written after each."""
    results = json.loads(options.out.read_text())["results"] if options.out.exists() else {}
    for seed in options.seeds:
        world = open_world(options.worlds / f"s{seed}", seed, options)
        names = options.only or (list(cares()) if seed in options.ablate else MAIN)
        for name in names:
            scores = measure(world, name, cares()[name], options)
            results.setdefault(str(seed), {})[name] = scores
            shown = " ".join(f"{key} {scores[key]:.3f}" for key in ("f_5cm", "double_wall_rate", "depth_error"))
            print(f"{seed} {name:28} {shown}", flush=True)
            settings = {"rooms": options.rooms, "frames": options.frames, "voxel": options.voxel}
            settings |= {"samples": options.samples}
            settings |= {"network": TypeAdapter(MonocularConfig).dump_python(MonocularConfig())}
            write_json(options.out, {"machine": machine(), "settings": settings, "results": results})
    print_means(results)


if __name__ == "__main__":
    main()
