"""Changes between visits, presence within one recording, and maps merged from parts, on synthetic worlds.

python benchmarks/bench_visits.py --out benchmarks/results/visits.json

Each world has two visits with five changes between them. `diff` compares the maps of the visits. `presence` maps both visits as
one recording and asks for the objects that appear and leave halfway. `merge` maps three overlapping parts of the first visit,
merges them, and compares the result with the map of the whole visit. Depth and labels are recorded ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, table, write_json
from scipy.optimize import linear_sum_assignment

from mapping.se3 import transform_points
from pipelines.config import config_from_mapping
from pipelines.evaluate import evaluate
from pipelines.merging import merge_runs
from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.settings import PipelineConfig
from pipelines.synth.simulate import SynthConfig, simulate
from pipelines.visits import compare_runs
from pipelines.workspace import load_graph
from scenegraph import SceneGraph, load_scene_graph
from scenegraph.files.json_io import save_scene_graph

COUNTS = ((2, 2, 1), (2, 1, 2), (3, 1, 1), (1, 2, 2))
"""Objects moved, added and removed between the visits, by the seed modulo four."""
NEAR = 0.5
"""Metres by which a reported position may differ from the true one."""
RIGHT_DISTANCE = 0.25
"""Metres by which a distance moved may differ from the true one."""
LEAST_DIAGONAL = 0.35
"""Metres; smaller objects, which stand on others that moved, are not asked for. A report of one is right all the same."""
LEAST_VIEWS = 3
"""Frames that must show an object for it to be asked for."""
PARTS = ((0.0, 0.42), (0.3, 0.75), (0.62, 1.0))
"""Shares of the recording in each of the three parts."""
LEAST_PAUSE = 5.0
"""Seconds between two visits that are read as one recording."""


def world_of(seed: int, options: argparse.Namespace, folder: Path) -> Path:
    """The folder of a rendered world, rendered unless it is there."""
    moved, added, removed = COUNTS[seed % len(COUNTS)]
    width, height = (int(text) for text in options.size.split("x"))
    world = {"rooms": options.rooms, "visits": 2, "moved": moved, "added": added, "removed": removed}
    lighting = {"step": 0.25, "rays": 4, "bounces": 1}  # what light does is not measured here
    values = {"seed": seed, "width": width, "height": height, "frames": options.frames, "lighting": lighting}
    sequence = folder / f"p{seed}"
    simulate(sequence, config_from_mapping(SynthConfig, {**values, "world": world}, "options"))
    return sequence


def mapped(sequence: Path, run_folder: Path, settings: dict[str, Any] | None = None) -> Path:
    """The run folder of a sequence."""
    config = config_from_mapping(PipelineConfig, settings or {}, "options")
    run(open_sequence(sequence), run_folder, config=config, until="graph")
    return run_folder


def true_changes(sequence: Path) -> list[dict[str, Any]]:
    """The changes between the visits of a world with the diagonals and views of the objects, in the sequence's world."""
    graphs = [load_scene_graph(sequence / f"visit_{k}" / "ground_truth" / "scene_graph.json") for k in (0, 1)]
    nodes = [{node.number: node for _, node in graph.nodes("object")} for graph in graphs]
    changes = []
    for change in graphs[1].metadata["changes"]:
        there = [known[change["number"]] for known in nodes if change["number"] in known]
        diagonal = float(np.linalg.norm(there[0].box.size))
        seen = [change["number"] in known and known[change["number"]].views >= LEAST_VIEWS for known in nodes]
        wanted = diagonal >= LEAST_DIAGONAL and sum(seen) == len(there)
        changes.append({**change, "wanted": wanted, "seen": seen})
    return changes


def is_found(true: dict[str, Any], said: dict[str, Any], T_input_world: np.ndarray) -> bool:
    """Whether a reported change is the true one: its kind, its label and where it happened.

    Of a move of which one visit shows nothing, the other can only tell that the object appeared or disappeared.
    """
    kind, ends = true["kind"], [name for name in ("from", "to") if true[name] is not None]
    if kind == "moved" and sum(true["seen"]) == 1:
        kind, ends = ("disappeared", ["from"]) if true["seen"][0] else ("appeared", ["to"])
    if kind != said["kind"] or true["label"] != said["label"]:
        return False
    for name in ends:
        at = transform_points(T_input_world, np.array(said[name]))
        if np.linalg.norm(at - np.array(true[name])) > NEAR:
            return False
    return True


def measure_diff(sequence: Path, runs: tuple[Path, Path], *, details: bool) -> dict[str, int]:
    """Counts of true, reported and right changes, and of moves with the right distance."""
    T = load_graph(runs[0]).T_input_world
    said = [change.to_json() for change in compare_runs(*runs).changes]
    true = true_changes(sequence)
    possible = np.array([[is_found(t, s, T) for s in said] for t in true], bool).reshape(len(true), len(said))
    rows, columns = linear_sum_assignment(possible, maximize=True)
    pairs = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if possible[i, j]}
    moves = [i for i, change in enumerate(true) if change["wanted"] and change["kind"] == "moved"]
    right = [
        i
        for i in moves
        if i in pairs
        and abs(said[pairs[i]]["distance"] - np.linalg.norm(np.subtract(true[i]["to"], true[i]["from"])))
        <= RIGHT_DISTANCE
    ]
    wanted = [i for i, change in enumerate(true) if change["wanted"]]
    if details:
        for i, change in enumerate(true):
            print("  true", "found " if i in pairs else "MISSED" if change["wanted"] else "missed", json.dumps(change))
        for j, change in enumerate(said):
            print("  said", "right" if j in pairs.values() else "WRONG", json.dumps(change))
    found = sum(i in pairs for i in wanted)
    counts = {"wanted": len(wanted), "found": found, "said": len(said), "right": len(pairs)}
    return {**counts, "moves": len(moves), "moves_right": len(right)}


def joined(sequence: Path, folder: Path) -> Path:
    """Both visits as one recording, with the true presence of every object."""
    if (folder / "ground_truth" / "scene_graph.json").is_file():
        return folder
    (folder / "ground_truth").mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {}
    ends = []
    for number in (0, 1):
        visit = json.loads((sequence / f"visit_{number}" / "transforms.json").read_text())
        start = ends[-1] + LEAST_PAUSE if ends else 0.0
        first = visit["frames"][0]["timestamp"]
        for frame in visit["frames"]:
            for name in [name for name in frame if name.endswith("_path")]:
                frame[name] = f"visit_{number}/{frame[name]}"
            frame["timestamp"] = round(frame["timestamp"] - first + start, 6)
        ends.append(visit["frames"][-1]["timestamp"])
        link = folder / f"visit_{number}"
        if not link.exists():
            link.symlink_to((sequence / link.name).resolve(), target_is_directory=True)
        data = data or {**visit, "frames": []}
        data["frames"] += visit["frames"]
    (folder / "transforms.json").write_text(json.dumps(data))
    save_scene_graph(_joined_truth(sequence, ends), folder / "ground_truth" / "scene_graph.json")
    return folder


def _joined_truth(sequence: Path, ends: list[float]) -> SceneGraph:
    """The objects of both visits with their presence; only those that frames show."""
    from dataclasses import replace

    half = ends[0] + LEAST_PAUSE / 2
    graphs = [load_scene_graph(sequence / f"visit_{k}" / "ground_truth" / "scene_graph.json") for k in (0, 1)]
    changed = {change["number"] for change in graphs[1].metadata["changes"]}
    truth = SceneGraph(graphs[0].label_space)
    for number, graph in enumerate(graphs):
        for _, node in graph.nodes("object"):
            if node.number not in changed:
                if number == 0:
                    truth.add(replace(node, presence=((0.0, ends[1]),)))
            elif node.views >= LEAST_VIEWS and np.linalg.norm(node.box.size) >= LEAST_DIAGONAL:
                truth.add(replace(node, presence=((0.0, half),) if number == 0 else ((half, ends[1]),)))
    return truth


def measure_merge(sequence: Path, whole: Path, folder: Path) -> dict[str, Any]:
    """F at 5 cm and objects of the merged map of three parts and of the map of the whole."""
    first = sequence / "visit_0"
    count = len(open_sequence(first).infos)
    parts = []
    for number, (start, stop) in enumerate(PARTS):
        frames = {"start": round(start * count), "stop": round(stop * count)}
        parts.append(mapped(first, folder.with_name(f"{folder.name}_part{number}"), {"frames": frames}))
    merge_runs(parts, folder)
    result = {}
    for name, run_folder in (("whole", whole), ("merged", folder)):
        found = evaluate(run_folder, first)
        result[name] = {"f_5cm": found["mesh"]["f_5cm"], **found["objects"], "rooms_f1": found["rooms"]["f1"]}
    return result


def totals(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Precision and recall over all worlds."""

    def ratio(part: str, whole: str, section: str) -> float | None:
        counts = [result[section] for result in results if section in result]
        total = sum(count[whole] for count in counts)
        return round(sum(count[part] for count in counts) / total, 4) if total else None

    summary: dict[str, Any] = {}
    if any("diff" in result for result in results):
        summary["diff"] = {
            "precision": ratio("right", "said", "diff"),
            "recall": ratio("found", "wanted", "diff"),
            "moved_at_right_distance": ratio("moves_right", "moves", "diff"),
        }
    if any("presence" in result for result in results):
        summary["presence"] = {
            "precision": ratio("right", "count", "presence"),
            "recall": ratio("right", "count_true", "presence"),
        }
    merges = [result["merge"] for result in results if "merge" in result]
    if merges:
        summary["merge"] = {
            f"{which}_{name}": round(float(np.mean([merge[which][name] for merge in merges])), 4)
            for which in ("whole", "merged")
            for name in ("f_5cm", "f1_25", "f1_50", "rooms_f1")
        }
    return summary


def measure(seed: int, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All that was asked for of one world."""
    sequence, result = world_of(seed, options, folder), {"seed": seed}
    runs = (folder / f"r{seed}_0", folder / f"r{seed}_1")
    if "diff" in options.parts:
        for number, run_folder in enumerate(runs):
            mapped(sequence / f"visit_{number}", run_folder)
        result["diff"] = measure_diff(sequence, runs, details=options.details)
    if "presence" in options.parts:
        both = joined(sequence, folder / f"b{seed}")
        found = evaluate(mapped(both, folder / f"rb{seed}"), both).get("changes", {})
        if found:
            right = round(found["precision"] * found["count"])
            result["presence"] = {"count": found["count"], "count_true": found["count_true"], "right": right}
    if "merge" in options.parts:
        mapped(sequence / "visit_0", runs[0])
        result["merge"] = measure_merge(sequence, runs[0], folder / f"m{seed}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7, 8, 9, 10, 21, 22, 23, 24])
    parser.add_argument("--parts", nargs="+", default=["diff", "presence", "merge"], help="what to measure")
    parser.add_argument("--rooms", type=int, default=2)
    parser.add_argument("--frames", type=int, default=150, help="frames of each visit")
    parser.add_argument("--size", default="160x120")
    parser.add_argument("--details", action="store_true", help="print every change")
    parser.add_argument("--keep", type=Path, help="folder in which worlds and runs are kept")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for seed in options.seeds:
            results.append(measure(seed, options, folder))
            print(json.dumps(results[-1]), flush=True)
    summary = totals(results)
    rows = [(section, name, value) for section, values in summary.items() for name, value in values.items()]
    print(table(("", "", ""), rows))
    if options.out:
        settings = {name: getattr(options, name) for name in ("rooms", "frames", "size")}
        write_json(options.out, {"machine": machine(), "settings": settings, "results": results, "totals": summary})


if __name__ == "__main__":
    main()
