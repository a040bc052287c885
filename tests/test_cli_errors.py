"""Errors of the command line: each gives one line on standard error and exit code 1, and leaves nothing behind."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers import copy_sequence, m2h

from pipelines import PipelineConfig, open_sequence
from pipelines import run as run_pipeline
from pipelines.images import write_png
from pipelines.settings import FramesConfig
from pipelines.workspace import Workspace, WorkspaceError


def one_line(*arguments):
    result = m2h(*arguments, code=1)
    assert result.stderr.startswith("m2h: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    return result.stderr


def test_no_such_sequence(tmp_path):
    assert "no such file or folder" in one_line("run", tmp_path / "none", "--out", tmp_path / "run", "-q")
    assert not (tmp_path / "run").exists()


def test_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "transforms.json" in one_line("run", tmp_path / "empty", "--out", tmp_path / "run", "-q")


def test_unknown_setting(box_room, tmp_path):
    text = one_line("run", box_room, "--out", tmp_path / "run", "--set", "tsdf.voxelsize=1", "-q")
    assert "tsdf.voxelsize; did you mean voxel_size?" in text


def test_bad_values(box_room, tmp_path):
    out = tmp_path / "run"
    assert "voxel_size" in one_line("run", box_room, "--out", out, "--voxel", "-1", "-q")
    assert "--range 5: expected A:B" in one_line("run", box_room, "--out", out, "--range", "5", "-q")
    for up in ("north", "1,2", "0,0,0", "nan,0,1"):
        assert "expected X,Y,Z" in one_line("run", box_room, "--out", out, "--up", up, "-q")
    assert "known are" in one_line("run", box_room, "--out", out, "--source", "recoded", "-q")


def test_output_that_cannot_be_written(box_room, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be" in one_line("run", box_room, "--out", tmp_path / "file" / "run", "-q")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    assert "not empty" in one_line("run", box_room, "--out", tmp_path / "thesis", "-q")


def test_lost_poses(box_room, tmp_path):
    sequence = copy_sequence(box_room, tmp_path / "sequence")
    data = json.loads((sequence / "transforms.json").read_text())
    for frame in data["frames"]:
        frame["transform_matrix"] = [[float("nan")] * 4] * 4
    (sequence / "transforms.json").write_text(json.dumps(data))
    assert "none of 30 frames are usable" in one_line("run", sequence, "--out", tmp_path / "run", "-q")


def test_map_of_another_sequence(box_room, tmp_path):
    sequence, out = copy_sequence(box_room, tmp_path / "sequence"), tmp_path / "run"
    (sequence / "transforms.json").write_text((sequence / "transforms.json").read_text() + "\n")
    m2h("predict", box_room, "--out", out, "-q")
    text = one_line("predict", sequence, "--out", out, "-q")
    assert f"{out}: contains a map of sequence ({box_room.resolve()}), not of sequence" in text
    assert "--overwrite" in text
    assert "no such file" in one_line("predict", tmp_path / "missing", "--out", out, "-q", "--overwrite")
    assert json.loads((out / "manifest.json").read_text())["stages"]  # a wrong name costs nothing
    m2h("predict", sequence, "--out", out, "-q", "--overwrite")
    m2h("predict", sequence, "--out", out, "-q")


def test_input_that_changes_while_it_is_read(box_room, tmp_path):
    sequence = copy_sequence(box_room, tmp_path / "sequence")
    depth = sequence / "depth" / "000027.png"

    def change(what, done, total):
        if (what, done) == ("fuse", 5):
            write_png(depth, np.full((120, 160), 2000, np.uint16))

    opened, config = open_sequence(sequence), PipelineConfig(frames=FramesConfig(stride=3))
    with pytest.raises(WorkspaceError, match=r"depth/000027\.png: was changed or removed while the run read it"):
        run_pipeline(opened, tmp_path / "run", config=config, until="fuse", progress=change)
    assert "fuse" not in Workspace.open(tmp_path / "run").manifest["stages"]
    for name in ("run", "whole"):
        run_pipeline(open_sequence(sequence), tmp_path / name, config=config, until="fuse")
    volumes = [(tmp_path / name / "volume.npz").read_bytes() for name in ("run", "whole")]
    assert volumes[0] == volumes[1]


def test_control_characters_of_names_are_shown(tmp_path):
    assert r"none\x1b[2J: no such file" in one_line("inspect", tmp_path / "none\x1b[2J")


def test_truncated_images(box_room, tmp_path):
    sequence = copy_sequence(box_room, tmp_path / "sequence")
    for number in range(3):
        path = sequence / "depth" / f"{number:06d}.png"
        path.write_bytes(path.read_bytes()[:200])
    text = one_line("run", sequence, "--out", tmp_path / "run", "-q")
    assert "000000.png" in text
    assert "2 of 30 frames cannot be read, frames.max_broken=0.05 allows 1" in text
    lines = (tmp_path / "run" / "frames.csv").read_text().splitlines()
    assert [line.split(",")[3] for line in lines] == ["used", *"0" * 30]
    assert "truncated" in lines[2]
    assert "not read, the run stopped" in lines[3]
    m2h("fuse", sequence, "--out", tmp_path / "run", "--set", "frames.max_broken=0.1", "-q")
    lines = (tmp_path / "run" / "frames.csv").read_text().splitlines()
    assert sum(",0," in line and "truncated" in line for line in lines) == 3


def test_an_unknown_network_is_reported_before_torch_is_loaded(box_room, tmp_path):
    code = (
        "import sys; from pipelines.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "run", box_room, "--out", tmp_path / "run", "--source", "m2h:typo", "-q"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    assert result.stderr.startswith("m2h: typo: neither a file nor a checkpoint's name; names are ")
    assert result.stdout == "1 False\n"


def test_the_option_is_to_blame_not_what_it_stands_for(box_room, tmp_path):
    run, out = ("run", box_room, "--out", tmp_path / "run"), tmp_path / "run"
    assert one_line(*run, "--voxel", "0").startswith("m2h: --voxel 0: tsdf.voxel_size: ")
    assert one_line(*run, "--stride", "0").startswith("m2h: --stride 0: frames.stride: ")
    assert one_line(*run, "--set", "tsdf.voxel_size=0").startswith("m2h: --set tsdf.voxel_size=0: ")
    assert one_line("synth", out, "--size", "0x0").startswith("m2h: --size 0x0: width: ")
    assert one_line("synth", out, "--rooms", "99").startswith("m2h: --rooms 99: world.rooms: ")
    assert one_line("ingest", box_room, out, "--stride", "0").startswith("m2h: --stride 0: stride: ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            MemoryError("Unable to allocate 118. TiB"),
            "m2h: not enough memory (Unable to allocate 118. TiB); a larger --voxel",
        ),
        (OSError(28, "No space left on device", "/x/volume.npz"), "m2h: /x/volume.npz: No space left on device"),
        (OSError(36, "File name too long", "a" * 5000), "m2h: aaa"),
    ],
)
def test_what_the_machine_lacks(monkeypatch, box_room, tmp_path, error, text):
    def fail(*_):
        raise error

    monkeypatch.setattr("pipelines.sequences.detect.open_sequence", fail)
    line = one_line("run", box_room, "--out", tmp_path / "run", "-q")
    assert line.startswith(text)
    assert len(line) < 1010


def test_control_c(monkeypatch, box_room, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.sequences.detect.open_sequence", stop)
    result = m2h("run", box_room, "--out", tmp_path / "run", "-q", code=130)
    assert result.stderr == "m2h: stopped; the same command continues from here\n"
    assert m2h("ingest", box_room, tmp_path / "copy", "-q", code=130).stderr == "m2h: stopped\n"


def test_commands_on_what_is_no_run(tmp_path):
    for command in ("view", "query"):
        assert "no run folder" in one_line(command, tmp_path)
    assert "no run folder" in one_line("export", tmp_path, "--to", "ply")
    assert "mesh.ply: is missing" in one_line("eval", tmp_path, tmp_path)


def test_two_runs_at_once(box_room, tmp_path):
    with Workspace(tmp_path / "run").lock():
        assert "another run" in one_line("run", box_room, "--out", tmp_path / "run", "-q")
