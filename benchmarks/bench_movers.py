"""Tracks and ghosts of people in synthetic worlds: `m2h run` with labels, with people unlabelled, and in noisy depth.

python benchmarks/bench_movers.py --seeds 1 2 3 --still 4 5 --out benchmarks/results/movers.json

Worlds have plain colours (`plain_worlds.py`). Seeds after --still have no people: every track there is a false one.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json
from plain_worlds import measured_depth, without_people, write_plain_world

from pipelines.config import config_from_mapping
from pipelines.evaluate import evaluate
from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.sequences.ingest import CanonicalWriter
from pipelines.synth.simulate import SynthConfig
from scenegraph.labels import nyu40

KINDS = {"labelled": (True, False), "unlabelled": (False, False), "unlabelled, noisy": (False, True)}
"""Whether people have their labels and whether depth is degraded."""
COLUMNS = ("precision", "recall", "recall_visible", "id_f1", "id_switches", "count", "ghost_share")


def variant(sequence: Path, out: Path, *, labelled: bool, noisy: bool, seed: int) -> Path:
    """A copy of a sequence in which people may have no label and depth may be that of a sensor."""
    opened, rng = open_sequence(sequence), np.random.default_rng(seed)
    camera = opened.infos[0].intrinsics
    with CanonicalWriter(out, camera, world_up=(0.0, 0.0, 1.0), label_space=nyu40()) as writer:
        for position in range(len(opened)):
            frame = opened[position]
            seen = frame.recorded if labelled else without_people(frame.recorded)
            if noisy and seen.depth is not None:
                seen = replace(seen, depth=measured_depth(seen.depth, rng))
            writer.add(replace(frame, recorded=seen))
    shutil.copytree(sequence / "ground_truth", out / "ground_truth")
    return out


def measure(seed: int, people: int, kind: str, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Map one world with one configuration and evaluate its tracks."""
    world = {"rooms": 1 + seed % 3, "storeys": 1 + (seed % 4 == 3)}
    size = {"width": options.width, "height": options.width * 3 // 4}
    config = config_from_mapping(SynthConfig, {"seed": seed, "people": people, **size, "world": world}, "options")
    exact = write_plain_world(work / f"{seed}", config)
    labelled, noisy = KINDS[kind]
    sequence = variant(exact, work / f"{seed}_variant", labelled=labelled, noisy=noisy, seed=seed)
    start = time.perf_counter()
    manifest = run(open_sequence(sequence), work / f"{seed}_run", until="graph")
    seconds = time.perf_counter() - start
    tracks = evaluate(work / f"{seed}_run", sequence, samples=20_000).get("tracks", {"count": 0})
    shutil.rmtree(work / f"{seed}_run")
    shutil.rmtree(sequence)
    frames = manifest["stages"]["fuse"]["summary"]["frames"]
    motion = 1e3 * manifest["stages"]["motion"]["seconds"] / frames
    result = {"seed": seed, **world, "people": people, "kind": kind, "frames": frames, "tracks": tracks}
    return {**result, "motion_ms_per_frame": round(motion, 1), "run_seconds": round(seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3], help="worlds with people")
    parser.add_argument("--still", type=int, nargs="*", default=[4, 5], help="worlds without")
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--width", type=int, default=160, help="pixels across an image")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        print(f"{'seed':>5} {'kind':<18} {'frames':>6} " + " ".join(f"{name:>14}" for name in COLUMNS) + "   motion ms")
        for seed, people in [*((s, options.people) for s in options.seeds), *((s, 0) for s in options.still)]:
            for kind in options.kinds:
                result = measure(seed, people, kind, options, Path(temporary))
                results.append(result)
                numbers = " ".join(f"{result['tracks'].get(name) or 0:14.3f}" for name in COLUMNS)
                milliseconds = result["motion_ms_per_frame"]
                print(f"{seed:5d} {kind:<18} {result['frames']:6d} {numbers} {milliseconds:11.1f}", flush=True)
    if options.out:
        write_json(options.out, {"machine": machine(), "results": results})


if __name__ == "__main__":
    main()
