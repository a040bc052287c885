"""Whether a change of the code changes the results: SHA-256 of the map and the scene graph of two fixed runs.

    python tools/identity.py --record before.json     # on the tree before the change
    python tools/identity.py --expect before.json     # on the tree after it: exits with 1 when a byte differs

The runs are a synthetic apartment, rendered anew (two rooms, two people, recorded depth and labels), and the recorded
sequence `tum_fr1_desk` where it lies in ../shared/data. `--tree` takes the packages of another checkout. The sums depend on the
machine and on the versions of numpy and numba, so they are compared on one machine and not kept in the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = ("mesh.ply", "scene_graph.json", "volume.npz")
SYNTHETIC = ("--seed", "3", "--rooms", "2", "--people", "2", "--frames", "60", "--size", "160x120")
RECORDED = "tum_fr1_desk"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the sums to FILE (JSON)")
    parser.add_argument("--expect", type=Path, metavar="FILE", help="compare with the sums in FILE")
    parser.add_argument("--tree", type=Path, default=ROOT, metavar="DIR", help="checkout whose packages run [this one]")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", metavar="DIR", help="sequences")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="identity-") as folder:
        sums = measure(options.tree.resolve(), options.data.resolve(), Path(folder))
    for name, files in sums.items():
        for file, value in files.items():
            print(f"{name:<14} {file:<18} {value}")
    if options.record:
        options.record.write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    if options.expect:
        sys.exit(compare(json.loads(options.expect.read_text(encoding="utf-8")), sums))


def measure(tree: Path, data: Path, folder: Path) -> dict[str, dict[str, str]]:
    """Sums by sequence and file; `folder` is where the sequence and the runs go."""
    m2h(tree, "synth", folder / "synthetic", *SYNTHETIC)
    sums = {"synthetic": {"(sequence)": folder_sum(folder / "synthetic")}}
    sums["synthetic"] |= run_sums(tree, folder / "synthetic", folder / "run")
    if (data / RECORDED).is_dir():
        sums[RECORDED] = run_sums(tree, data / RECORDED, folder / "recorded")
    return sums


def run_sums(tree: Path, sequence: Path, out: Path) -> dict[str, str]:
    """Map `sequence` into the run folder `out`; the sums of its files."""
    m2h(tree, "graph", sequence, "--out", out, "--source", "recorded")
    return {name: file_sum(out / name) for name in FILES}


def m2h(tree: Path, *arguments: str | Path) -> None:
    """The command line of the packages in `tree`."""
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    subprocess.run([sys.executable, "-m", "pipelines", *map(str, arguments), "-q"], env=environment, check=True)


def file_sum(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_sum(folder: Path) -> str:
    """SHA-256 of the names and contents of all files below `folder`."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{path.relative_to(folder).as_posix()} {file_sum(path)}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compare(expected: dict[str, dict[str, str]], sums: dict[str, dict[str, str]]) -> int:
    """Say what differs from `expected`; the exit code: 0 when nothing does."""
    differing = [
        f"{name}: {file}"
        for name in sorted(expected.keys() | sums.keys())
        for file in sorted(expected.get(name, {}).keys() | sums.get(name, {}).keys())
        if expected.get(name, {}).get(file) != sums.get(name, {}).get(file)
    ]
    print("\n".join(f"differs: {what}" for what in differing) or "identical")
    return int(bool(differing))


if __name__ == "__main__":
    main()
