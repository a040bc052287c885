"""Run the benchmarks one after the other, each in a process of its own; results go to benchmarks/results/.

python benchmarks/run_all.py --sequence ../shared/data/redkitchen
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequence", type=Path, required=True, help="a sequence with depth, for the fusion benchmark")
    options = parser.parse_args()
    runs = [
        ["bench_fusion.py", str(options.sequence), "--repeat", "5"],
        ["bench_long_walk.py"],
        ["bench_synth.py"],
        ["bench_quality.py", "--out", str(HERE / "results" / "quality.json")],
        ["bench_network.py"],
        ["bench_monocular.py"],
    ]
    failed = []
    for name, *arguments in runs:
        print(f"== {name} {' '.join(arguments)}", flush=True)
        if subprocess.run([sys.executable, str(HERE / name), *arguments]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
