"""Kills runs at random moments and continues them: each must end in the files and warnings of a run that was never killed.

`python tools/kill_runs.py SEQUENCE --kills 60 --seed 1` prints one line per kill and exits with 1 when one run differed or left
an unfinished file.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mapping.files import is_temporary, scratch_folder
from mapping.reading.files import file_sha256

TIMED = ("report.html", "manifest.json")
"""Files with seconds in them."""


def main() -> None:
    """Kill, continue and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequence", type=Path)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*", help="more options of `m2h run`, after --")
    options = parser.parse_args()
    rng, failed = random.Random(options.seed), 0
    with scratch_folder() as folder:
        start = time.monotonic()
        start_run(options, folder / "whole").wait()
        seconds = time.monotonic() - start
        expected = state_of(folder / "whole")
        for number in range(options.kills):
            out, moment = folder / "killed", rng.uniform(0, seconds)
            process = start_run(options, out)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
            code = start_run(options, out).wait()
            left = [path.name for path in out.rglob("*") if is_temporary(path.name)]
            is_same = code == 0 and not left and state_of(out) == expected
            failed += not is_same
            print(
                f"{number + 1:>3}  killed after {moment:6.2f} s  {'same' if is_same else f'DIFFERS {code} {left}'}",
                flush=True,
            )
            shutil.rmtree(out)
    print(f"{options.kills - failed} of {options.kills} runs killed at a random moment ended in the same files")
    sys.exit(bool(failed))


def start_run(options: argparse.Namespace, out: Path) -> subprocess.Popen[bytes]:
    """`m2h run` as another process."""
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "run",
        str(options.sequence),
        "--out",
        str(out),
        "-q",
        *options.options,
    ]
    return subprocess.Popen(command)


def state_of(run_folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The hashes of all files without times, and the warnings of each stage."""
    paths = [path for path in sorted(run_folder.rglob("*")) if path.is_file() and path.name not in TIMED]
    manifest = json.loads((run_folder / "manifest.json").read_text(encoding="utf-8"))
    warnings = {name: stage["warnings"] for name, stage in manifest["stages"].items()}
    return {str(path.relative_to(run_folder)): file_sha256(path, ValueError) for path in paths}, warnings


if __name__ == "__main__":
    main()
