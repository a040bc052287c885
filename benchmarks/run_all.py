"""Run the benchmarks one after the other, each in its own process, and write docs/benchmarks.md from their results.

python benchmarks/run_all.py --sequence ../shared/data/redkitchen

Results go to benchmarks/results/. Benchmarks with missing recordings are skipped. Training is not run (`train_rooms.py`): it
takes hours, and a folder for its worlds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORDINGS = ("hololens_office", "redkitchen")
"""Folders needed by bench_multiview.py."""


def commands(sequence: str, data: str) -> dict[str, list[str]]:
    """Script and arguments by the name of the result, in the order in which they run."""
    return {
        "fusion": ["bench_fusion.py", sequence, "--repeat", "5"],
        "long_walk": ["bench_long_walk.py"],
        "large_run": ["bench_large_run.py"],
        "batch": ["bench_batch.py"],
        "synth": ["bench_synth.py"],
        "quality": [
            *("bench_quality.py", "--seeds", "25", "26", "27", "21", "22"),
            *("--out", "benchmarks/results/quality.json"),
        ],
        "visits": ["bench_visits.py", "--out", "benchmarks/results/visits.json"],
        "network": ["bench_network.py"],
        "monocular": ["bench_monocular.py", "--ablate", "31", "33", "42"],
        "multiview": ["bench_multiview.py", data],
        "from_images": ["bench_from_images.py", data],
        "upright": ["bench_upright.py", data],
        "poses": ["bench_poses.py", data, "--maps"],
        "checks": ["bench_checks.py", data],
        "refine_poses": ["bench_refine_poses.py", data],
        "refine": ["bench_refine.py", "--seeds", "71", "72", "--office", f"{data}/hololens_office"],
    }


def missing(sequence: Path, data: Path) -> dict[str, str]:
    """The missing recordings, by the name of the result that needs them."""
    needed = {"fusion": [sequence], "multiview": [data / name for name in RECORDINGS]}
    for name in ("from_images", "upright", "poses", "checks", "refine_poses"):
        needed[name] = needed["multiview"]
    needed["refine"] = [data / RECORDINGS[0]]
    absent = {name: [str(path) for path in paths if not path.exists()] for name, paths in needed.items()}
    return {name: ", ".join(paths) for name, paths in absent.items() if paths}


def start(name: str, *arguments: str) -> bool:
    """Run a script of this folder, from the repository's root. Returns whether it succeeded."""
    print(f"== {name} {' '.join(arguments)}", flush=True)
    return subprocess.run([sys.executable, str(ROOT / "benchmarks" / name), *arguments], cwd=ROOT).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequence", type=Path, required=True, help="a sequence with depth, for the fusion benchmark")
    parser.add_argument("--data", type=Path, help=f"folder of {' and '.join(RECORDINGS)} (default: the sequence's)")
    parser.add_argument("--legacy-open3d", type=Path, metavar="FOLDER", help="an older Open3D, see bench_fusion.py")
    options = parser.parse_args()
    sequence = options.sequence.resolve()
    data = options.data.resolve() if options.data else sequence.parent
    absent, failed = missing(sequence, data), []
    for result, command in commands(str(sequence), str(data)).items():
        if result in absent:
            print(f"== {command[0]} skipped: {absent[result]} not found", flush=True)
            continue
        if result == "fusion" and options.legacy_open3d:
            command += ["--legacy-open3d", str(options.legacy_open3d.resolve())]
        if not start(*command):
            failed.append(command[0])
    if not start("write_tables.py"):
        failed.append("write_tables.py")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
