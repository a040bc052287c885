"""How well a small network learns all four tasks from rendered worlds alone, measured on unseen worlds.

    python benchmarks/train_synthetic.py FOLDER

renders 110 worlds for training and 10 for evaluation into FOLDER/worlds, trains with configs/training/synthetic.yaml into
FOLDER/run, evaluates the best checkpoint and a prior (for every image the pixelwise mean of the training images), and
writes benchmarks/results/training.json and docs/training_curves.svg. Existing parts are not repeated; --measure skips
to the evaluation. --recorded SEQUENCE measures depth also on 20 photographs of a recorded sequence.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from common import machine, write_json
from numpy.typing import NDArray

from m2h.data import Dataset, open_dataset
from m2h.evaluate import TRUTH, evaluate_checkpoint
from m2h.infer import Predictor
from m2h.metrics import DepthMetrics, NormalMetrics, Scores, SegmentationMetrics
from m2h.train import train
from m2h.train_config import load_train_config
from pipelines import open_sequence
from pipelines.synth.generate import WorldConfig
from pipelines.synth.rendering.lighting import LightingConfig
from pipelines.synth.simulate import SynthConfig, simulate

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs/training/synthetic.yaml"
SPLITS = {"train": (range(1000, 1110), 20), "unseen": (range(9000, 9010), 12)}
"""Seeds of the worlds and frames of each."""
CURVES = {
    "depth AbsRel": "abs_rel",
    "mIoU": "miou",
    "normals, mean / 60 degrees": "normal_mean_deg",
    "edges odsF": "edge_ods_f",
}
COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
WIDTH, HEIGHT, MARGIN = 640, 320, 40


def world_config(seed: int, frames: int) -> SynthConfig:
    """Two to four rooms, angles of view from 50 to 82 degrees, a person in every other world, coarse light."""
    return SynthConfig(
        seed=seed,
        people=seed % 2,
        frames=frames,
        width=224,
        height=168,
        fov_deg=50 + 8 * (seed % 5),
        world=WorldConfig(rooms=2 + seed % 3),
        lighting=LightingConfig(step=0.12, rays=16, bounces=2),
    )


def render(folder: Path) -> None:
    for split, (seeds, frames) in SPLITS.items():
        for seed in seeds:
            simulate(folder / "worlds" / split / str(seed), world_config(seed, frames))
            print(f"{split} {seed}", flush=True)


def prior(data: Dataset, focal: float) -> dict[str, NDArray[np.float64]]:
    """The mean training image: log depth at `focal` pixels, votes for labels, and the mean normal, pixel by pixel."""
    rows, columns = data[0].rgb.shape[:2]
    depth, seen = np.zeros((rows, columns)), np.zeros((rows, columns))
    votes, normals = np.zeros((rows, columns, data.classes)), np.zeros((rows, columns, 3))
    for index in range(0, len(data), 4):
        sample = data[index]
        assert sample.depth is not None
        assert sample.labels is not None
        assert sample.normals is not None
        assert sample.camera is not None
        known = sample.depth > 0
        depth[known] += np.log(sample.depth[known] * focal / sample.camera.fx)
        seen += known
        np.put_along_axis(
            votes,
            sample.labels[..., None].astype(np.int64),
            1.0 + np.take_along_axis(votes, sample.labels[..., None].astype(np.int64), axis=2),
            axis=2,
        )
        normals += sample.normals
    return {"depth": np.exp(depth / np.maximum(seen, 1)), "labels": votes[..., 1:].argmax(-1) + 1, "normals": normals}


def measure_prior(folder: Path) -> Scores:
    """The scores of the prior on the unseen worlds, computed like the network's."""
    train_set, unseen = (open_dataset(f"folder:{folder / 'worlds' / split}") for split in ("train", "unseen"))
    answer = prior(train_set, 100.0)
    meters = {"depth": DepthMetrics(), "semantics": SegmentationMetrics(unseen.classes - 1), "normals": NormalMetrics()}
    for index in range(len(unseen)):
        sample = unseen[index]
        assert sample.camera is not None
        fields = {**answer, "depth": answer["depth"] * sample.camera.fx / 100.0}
        for task, meter in meters.items():
            meter.update(fields[TRUTH[task]], getattr(sample, TRUTH[task]))  # type: ignore[attr-defined]
    return {name: value for meter in meters.values() for name, value in meter.compute().items()}  # type: ignore[attr-defined]


def measure_recorded(address: str, checkpoint: Path) -> Scores:
    """Depth scores on 20 frames, evenly over a sequence that has recorded depth."""
    sequence, predictor, metrics = open_sequence(address), Predictor.from_checkpoint(checkpoint), DepthMetrics()
    for index in range(0, len(sequence), max(1, len(sequence) // 20)):
        frame = sequence[index]
        predicted, truth = predictor(frame.rgb, frame.intrinsics).depth, frame.recorded.depth
        assert predicted is not None
        assert truth is not None
        metrics.update(predicted, truth)
    return metrics.compute()


def draw(log: Path, out: Path) -> None:
    """The validation scores of a run by step, as an SVG."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    points = [line for line in lines if "validation/miou" in line]
    last = max(line["step"] for line in points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">'
    ]
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>')
    inner = HEIGHT - 2 * MARGIN
    for tick in range(0, 9, 2):
        y = HEIGHT - MARGIN - inner * tick / 8
        parts.append(
            f'<path d="M{MARGIN} {y:.1f}H{WIDTH - 200}" stroke="#ddd"/><text x="14" y="{y + 4:.1f}">{tick / 10}</text>'
        )
    for number, (title, name) in enumerate(CURVES.items()):
        scale = 60.0 if name == "normal_mean_deg" else 1.0
        xy = [
            (
                MARGIN + (WIDTH - 200 - MARGIN) * line["step"] / last,
                HEIGHT - MARGIN - inner * min(line[f"validation/{name}"] / scale, 0.8) / 0.8,
            )
            for line in points
        ]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in xy)
        parts.append(f'<path d="{path}" fill="none" stroke="{COLORS[number]}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - 190}" y="{xy[-1][1] + 4:.1f}" fill="{COLORS[number]}">{title}</text>')
    parts.append(f'<text x="{MARGIN}" y="{HEIGHT - 12}">steps, 0 to {last}; measured on unseen worlds</text></svg>')
    out.write_text("\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--measure", action="store_true", help="Skip rendering and training.")
    parser.add_argument("--recorded", help="A sequence of photographs with depth.")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    if not arguments.measure:
        render(folder)
        start = time.perf_counter()
        train(load_train_config(CONFIG), folder / "run", base=folder)
        print(f"trained in {time.perf_counter() - start:.0f} s")
    draw(folder / "run/log.jsonl", ROOT / "docs/training_curves.svg")
    best = folder / "run/best.safetensors"
    network = evaluate_checkpoint(str(best), f"folder:{folder / 'worlds/unseen'}")
    result = {"machine": machine(), "network": network, "prior": measure_prior(folder)}
    if arguments.recorded:
        result["recorded"] = {"sequence": Path(arguments.recorded).name, **measure_recorded(arguments.recorded, best)}
    write_json(ROOT / "benchmarks/results/training.json", result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
