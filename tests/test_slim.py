"""What works without the large packages: torch, timm and open3d cannot be imported in these processes."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
for name in {names}:
    sys.modules[name] = None  # importing it is an ImportError
from pipelines.cli import main
for words in {commands}:
    try:
        main(words)
    except SystemExit as end:
        if end.code:
            raise
    print({done!r})
"""
LARGE = ("torch", "timm", "open3d", "pycolmap", "transformers", "rerun", "onnxruntime", "openvino")


DONE = "the command is done"


def m2h_without(*commands, names=LARGE):
    """Commands one after the other in a process, which ends with the first that fails; each ends its output with `DONE`."""
    code = WITHOUT.format(names=names, commands=[[str(word) for word in words] for words in commands], done=DONE)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_recorded_depth_becomes_a_map_that_can_be_used(box_room, tmp_path):
    """All that a run does, with pictures and pages, and what is done with a run."""
    out = tmp_path / "run"
    made = ("run", box_room, "--out", out, "--range", "0:12", "--voxel", 0.1, "-q")
    used = [("query", out, "--label", "cabinet"), ("export", out, "--to", "glb"), ("inspect", box_room)]
    result = m2h_without(made, *used)
    assert (result.returncode, result.stderr) == (0, "")
    said = result.stdout.split(DONE)
    assert len(said) == 1 + len(used) + 1
    assert all(text.strip() for text in said[1:-1])


@pytest.mark.parametrize(
    ("words", "missing", "extra"),
    [
        (("run", "SEQUENCE", "--out", "OUT", "--source", "m2h"), "torch", "torch"),
        (("run", "SEQUENCE", "--out", "OUT", "--source", "multiview"), "torch", "torch"),
        (("test-model", "m2h-rooms", "folder:SEQUENCE"), "torch", "torch"),
        (("synth", "OUT", "--rooms", "1"), "open3d", "synth"),
    ],
)
def test_what_needs_more_says_what_to_install(words, missing, extra, box_room, tmp_path):
    known = {"SEQUENCE": str(box_room), "OUT": str(tmp_path / "out"), "folder:SEQUENCE": f"folder:{box_room}"}
    result = m2h_without([known.get(word, word) for word in words])
    assert result.returncode == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("m2h: ")]
    assert f"needs the package {missing}" in line
    assert line.endswith(f"pip install 'm2h-mapping[{extra}]'")
    assert "Traceback" not in result.stderr


def test_half_of_an_extra_is_not_enough(box_room, tmp_path):
    result = m2h_without(("run", box_room, "--out", tmp_path / "out", "--source", "m2h"), names=("timm",))
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("m2h: --source m2h:m2h-rooms needs the package timm")


def test_windows_is_told_what_to_do():
    code = "import sys; sys.modules['resource'] = None; import pipelines.cli"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "m2h: needs Linux or macOS; on Windows, install it in WSL 2\n")
