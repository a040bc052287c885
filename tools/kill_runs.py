"""Kills runs at random moments and continues them: each must end in the files and warnings of a run that was never killed.

`python tools/kill_runs.py SEQUENCE --kills 60 --seed 1` prints one line per kill and exits with 1 when one run differed or left
an unfinished file. A run is a fork of this process, which has imported the libraries: so all kills hit work, none the imports.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import sys
import time
from multiprocessing.context import ForkProcess
from pathlib import Path

import open3d  # noqa: F401  imported once, before the forks

from mapping.files import is_temporary, scratch_folder
from mapping.reading.files import file_sha256
from pipelines import pipeline  # noqa: F401
from pipelines.cli import main as m2h

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
        if code_of(start_run(options, folder / "whole")):
            sys.exit("the run fails without being killed")
        seconds = time.monotonic() - start
        expected = state_of(folder / "whole")
        for number in range(options.kills):
            out, moment = folder / "killed", rng.uniform(0, seconds)
            process = start_run(options, out)
            process.join(moment)
            process.kill()
            process.join()
            code = code_of(start_run(options, out))
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


def start_run(options: argparse.Namespace, out: Path) -> ForkProcess:
    """`m2h run` as another process."""
    arguments = ["run", str(options.sequence), "--out", str(out), "-q", *options.options]
    process = multiprocessing.get_context("fork").Process(target=m2h, args=(arguments,))
    process.start()
    return process


def code_of(process: ForkProcess) -> int | None:
    """The exit code of a process when it has ended."""
    process.join()
    return process.exitcode


def state_of(run_folder: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The hashes of all files without times, and the warnings of each stage."""
    paths = [path for path in sorted(run_folder.rglob("*")) if path.is_file() and path.name not in TIMED]
    manifest = json.loads((run_folder / "manifest.json").read_text(encoding="utf-8"))
    warnings = {name: stage["warnings"] for name, stage in manifest["stages"].items()}
    return {str(path.relative_to(run_folder)): file_sha256(path, ValueError) for path in paths}, warnings


if __name__ == "__main__":
    main()
