"""Quality of maps of synthetic worlds: `m2h run` with recorded depth and labels, measured by `m2h eval`.

python benchmarks/bench_quality.py --seeds 1 2 3 --out benchmarks/results/quality.json

--source m2h maps from images and poses alone.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from common import machine, write_json

from pipelines.config import config_from_mapping
from pipelines.evaluate import evaluate
from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.synth.simulate import SynthConfig, simulate

COLUMNS = {
    "mesh F 5cm": ("mesh", "f_5cm"),
    "label acc": ("mesh", "label_accuracy"),
    "double": ("mesh", "double_wall_rate"),
    "obj F1 25": ("objects", "f1_25"),
    "obj F1 50": ("objects", "f1_50"),
    "room F1": ("rooms", "f1"),
    "room names": ("rooms", "label_accuracy"),
    "track P": ("tracks", "precision"),
    "track R": ("tracks", "recall"),
    "ghosts": ("tracks", "ghost_share"),
}


def measure(seed: int, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Render one world, map it, evaluate the map; the folders are kept with --keep."""
    world = {"rooms": options.rooms or 1 + seed % 8, "storeys": options.storeys}
    config = config_from_mapping(SynthConfig, {"seed": seed, "people": options.people, "world": world}, "options")
    sequence, run_folder = work / f"sequence_{seed}", work / f"run_{seed}"
    start = time.perf_counter()
    simulate(sequence, config)
    rendered = time.perf_counter()
    pipeline = config_from_mapping(PipelineConfig, {"tsdf": {"voxel_size": options.voxel}}, "options")
    manifest = run(
        open_sequence(sequence), run_folder, source=options.source, refine="auto", config=pipeline, until="graph"
    )
    mapped = time.perf_counter()
    metrics = evaluate(run_folder, sequence)
    if not options.keep:
        shutil.rmtree(sequence)
        shutil.rmtree(run_folder)
    seconds = {"synth": rendered - start, "run": mapped - rendered, "eval": time.perf_counter() - mapped}
    frames = manifest["stages"]["fuse"]["summary"]["frames"]
    return {"seed": seed, **world, "people": options.people, "frames": frames, "seconds": seconds, "metrics": metrics}


def row(result: dict[str, Any]) -> list[float]:
    """The table's numbers of one world; not-a-number where a section is absent."""
    values = [result["metrics"].get(section, {}).get(name) for section, name in COLUMNS.values()]
    return [float("nan") if value is None else float(value) for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--rooms", type=int, help="rooms of every world (default: 1 + seed %% 8)")
    parser.add_argument("--storeys", type=int, default=1)
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--voxel", type=float, default=0.04)
    parser.add_argument("--source", default="auto", help="where depth and labels come from, as that of m2h run")
    parser.add_argument("--keep", type=Path, help="folder in which sequences and runs are kept")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        work = options.keep or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        print(f"{'seed':>5} {'rooms':>5} {'frames':>6} " + " ".join(f"{name:>10}" for name in COLUMNS))
        for seed in options.seeds:
            result = measure(seed, options, work)
            results.append(result)
            numbers = " ".join(f"{value:10.3f}" for value in row(result))
            print(f"{seed:5d} {result['rooms']:5d} {result['frames']:6d} {numbers}", flush=True)
    columns = list(zip(*map(row, results), strict=True))
    means = [mean([v for v in column if v == v] or [float("nan")]) for column in columns]
    print(f"{'mean':>5} {'':>5} {'':>6} " + " ".join(f"{value:10.3f}" for value in means))
    if options.out:
        write_json(
            options.out, {"machine": machine(), "results": results, "means": dict(zip(COLUMNS, means, strict=True))}
        )


if __name__ == "__main__":
    main()
