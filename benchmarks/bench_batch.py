"""Fifty short sequences through `m2h batch`, five of them broken, by a Dask cluster and by shards; one in pieces with kills.

    python benchmarks/bench_batch.py [--sequences N] [--pieces 1 4 16]

A synthetic world of one room is rendered and cut into sequences of six frames of 64x48 with recorded depth and labels. Five are
broken, each otherwise. All are mapped twice: by a Dask LocalCluster, and by two shards that know of each other only by the
folder. Reported are maps, failed sequences with their lines, and whether both ways made the same files. Then the frames of all
are fused as one sequence in pieces, by one, two and four workers of which a random one is killed again and again, and compared
with the map by `m2h run`. Exits with 1 where a map, a line or a byte is not as it should be. Nothing here is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, write_json

from mapping.files import scratch_folder
from mapping.reading.files import file_sha256
from pipelines.batch.leases import read_leases
from pipelines.config import config_from_mapping
from pipelines.images import write_png
from pipelines.sequences.detect import open_sequence
from pipelines.sequences.ingest import ingest
from pipelines.settings import FramesConfig
from pipelines.synth.simulate import SynthConfig, simulate

ROOT = Path(__file__).parents[1]
FRAMES, SIZE = 6, (64, 48)
BROKEN = ("folder missing", "no pose", "depth cut off", "header cut off", "no depth in reach")
SETTINGS = ["tsdf.voxel_size=0.12"]
TIMED = ("report.html", "manifest.json")
"""Files with seconds in them."""
KILL_EVERY = 6.0
"""Seconds between two kills, on average."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=50)
    parser.add_argument("--pieces", type=int, nargs="*", default=[1, 4, 16])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "batch.json")
    options = parser.parse_args()
    with scratch_folder() as folder:
        world = render(folder / "world", options.sequences * FRAMES)
        broken = write_sequences(world, folder / "recordings", options.sequences)
        by_dask = in_dask(folder)
        by_shards = in_shards(folder)
        is_same = maps_of(folder / "dask") == maps_of(folder / "shards")
        pieces = in_pieces(world, folder, options)
    data = {
        "machine": machine(),
        "sequences": options.sequences,
        "broken": broken,
        "dask": by_dask,
        "shards": by_shards,
        "same_files": is_same,
        "pieces": pieces,
    }
    write_json(options.out, data)
    print(json.dumps(data, indent=1))
    expected = options.sequences - len(BROKEN)
    is_right = all(way["done"] == expected and len(way["failed"]) == len(BROKEN) for way in (by_dask, by_shards))
    sys.exit(not (is_right and is_same and all(row["same_bytes"] for row in pieces)))


def render(folder: Path, frames: int) -> Path:
    """A world of one room."""
    lighting = {"step": 0.5, "rays": 2, "bounces": 1}  # what light does does not matter here
    width, height = SIZE
    values = {
        "seed": 3,
        "width": width,
        "height": height,
        "frames": frames,
        "lighting": lighting,
        "world": {"rooms": 1},
    }
    simulate(folder, config_from_mapping(SynthConfig, values, "bench_batch"))
    return folder


def write_sequences(world: Path, folder: Path, count: int) -> dict[str, str]:
    """The world's frames as `count` sequences, of which five are broken; returns how, by name, and writes the list."""
    whole = open_sequence(world)
    names = [f"walk_{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        ingest(whole, folder / name, frames=FramesConfig(start=number * FRAMES, stop=(number + 1) * FRAMES))
    broken = {names[(2 * at + 1) * count // (2 * len(BROKEN))]: how for at, how in enumerate(BROKEN)}
    for name, how in broken.items():
        break_sequence(folder / name, how)
    data = {"sequences": [f"recordings/{name}" for name in names], "source": "recorded", "set": SETTINGS}
    (folder.parent / "list.yaml").write_text(json.dumps(data), encoding="utf-8")
    return broken


def break_sequence(folder: Path, how: str) -> None:
    """Break a sequence in one of the five ways."""
    header = folder / "transforms.json"
    text = header.read_text(encoding="utf-8")
    if how == "folder missing":
        shutil.rmtree(folder)
    elif how == "no pose":
        data = json.loads(text)
        for frame in data["frames"]:
            frame["transform_matrix"] = [[0.0] * 4] * 4
        header.write_text(json.dumps(data), encoding="utf-8")
    elif how == "header cut off":
        header.write_text(text[:-300], encoding="utf-8")
    for path in (folder / "depth").glob("*.png"):
        if how == "depth cut off":
            path.write_bytes(path.read_bytes()[:60])
        elif how == "no depth in reach":
            write_png(path, np.zeros(SIZE[::-1], np.uint16))


def m2h(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pipelines", *map(str, arguments)]


def plan_in(folder: Path, name: str) -> Path:
    subprocess.run(m2h("batch", "plan", folder / "list.yaml", "--out", folder / name, "-q"), check=True)
    return folder / name


def in_dask(folder: Path) -> dict[str, Any]:
    """All sequences by a LocalCluster."""
    plan = plan_in(folder, "dask")
    subprocess.run(m2h("batch", "run", plan, "--executor", "dask", "--workers", 2), check=False)
    return status_of(plan)


def in_shards(folder: Path) -> dict[str, Any]:
    """All sequences by two processes that share the folder."""
    plan = plan_in(folder, "shards")
    shards = [subprocess.Popen(m2h("batch", "run", plan, "--shard", f"{i}/2", "--workers", 1, "-q")) for i in range(2)]
    for shard in shards:
        shard.wait()
    return status_of(plan)


def status_of(plan: Path) -> dict[str, Any]:
    """What `m2h batch status` says, printed and as data, without the folder's name."""
    subprocess.run(m2h("batch", "status", plan), check=True)
    result = subprocess.run(m2h("batch", "status", plan, "--json"), check=True, stdout=subprocess.PIPE, text=True)
    data = json.loads(result.stdout.replace(f"{plan.parent}/", ""))
    return {name: data[name] for name in ("sequences", "done", "failed", "frames")}


def maps_of(plan: Path) -> dict[str, str]:
    """The hashes of all files of all runs."""
    return hashes(plan / "runs")


def hashes(folder: Path) -> dict[str, str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in TIMED]
    return {str(path.relative_to(folder)): file_sha256(path, ValueError) for path in paths}


def in_pieces(world: Path, folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The whole world in pieces, by some workers, of which a random one is killed now and then."""
    whole, rng = folder / "whole", random.Random(options.seed)
    settings = [text for setting in SETTINGS for text in ("--set", setting)]
    subprocess.run(m2h("run", world, "--out", whole, "--source", "recorded", "-q", *settings), check=True)
    rows = []
    for pieces in options.pieces:
        for workers in options.workers if pieces > 1 else options.workers[:1]:
            entry = {"path": str(world), "name": "world", "pieces": pieces}
            data = {"sequences": [entry], "source": "recorded", "set": SETTINGS}
            (folder / "list.yaml").write_text(json.dumps(data), encoding="utf-8")
            plan = plan_in(folder, f"pieces_{pieces}_{workers}")
            kills = run_with_kills(plan, workers, rng)
            rows.append({"pieces": pieces, "workers": workers, "kills": kills})
            rows[-1]["same_bytes"] = hashes(plan / "runs" / "world") == hashes(whole)
            shutil.rmtree(plan)
    return rows


def run_with_kills(plan: Path, workers: int, rng: random.Random) -> int:
    """Run a plan while workers that have a lease are killed; no step is hit often enough to be given up."""
    process = subprocess.Popen(m2h("batch", "run", plan, "--workers", workers, "-q"))
    hit: set[str] = set()
    while process.poll() is None:
        time.sleep(rng.uniform(0, 2 * KILL_EVERY))
        at_work = [lease for lease in read_leases(plan / "leases").values() if lease.holder and lease.step not in hit]
        if at_work:
            chosen = rng.choice(at_work)
            assert chosen.holder is not None
            hit.add(chosen.step)
            kill(chosen.holder.pid)
    return len(hit)


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
