"""The examples run unchanged."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run_example(name, *arguments, cwd):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout


@pytest.mark.slow
def test_fuse_arrays(tmp_path):
    assert "(true 0.5)" in run_example("01_fuse_arrays.py", cwd=tmp_path)
    assert (tmp_path / "ball.ply").stat().st_size > 1000


@pytest.mark.slow
def test_map_a_sequence_and_query_it(box_room, tmp_path):
    assert "R0 bedroom" in run_example("02_map_a_sequence.py", box_room, tmp_path / "run", cwd=tmp_path)
    text = run_example("03_query_a_graph.py", tmp_path / "run" / "scene_graph.json", cwd=tmp_path)
    assert "R0 bedroom: 2 objects" in text
