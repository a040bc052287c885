"""The command line in use: results, exit codes, one-line errors, resume."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from box_room import FURNITURE, ROOM_SIZE
from click.testing import CliRunner

from mapping.mesh.io import read_mesh
from pipelines import open_sequence
from pipelines import run as run_pipeline
from pipelines.cli import COMMANDS, main
from pipelines.cli.diff import print_changes
from pipelines.cli.run import print_summary
from pipelines.evaluate import foreign_input
from pipelines.images import read_labels, write_png
from pipelines.pipeline import STAGE_NAMES
from pipelines.workspace import Workspace, WorkspaceError
from scenegraph import load_scene_graph

RUN_FILES = {
    "alignment.json",
    "check.json",
    "poses.json",
    "config.yaml",
    "detections.json",
    "dsg.json",
    "floorplan.geojson",
    "frames.csv",
    "levelling.json",
    "manifest.json",
    "mesh.glb",
    "mesh.ply",
    "objects.csv",
    "predictions",
    "report.html",
    "scene.html",
    "scene_graph.json",
    "trajectory.tum",
    "volume.npz",
}


def m2h(*arguments, code=0):
    """Run a command in this process; its standard output."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def run_folder(box_room, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    m2h("run", box_room, "--out", folder)
    return folder


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_help_names_every_command():
    text = m2h("--help").output
    assert all(f"  {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    subcommand = ["list"] if command == "weights" else []
    assert "--json" in m2h(command, *subcommand, "--help").output


@pytest.mark.slow
class TestRun:
    def test_the_room_comes_out_right(self, run_folder):
        assert {p.name for p in run_folder.iterdir()} == RUN_FILES
        graph = load_scene_graph(run_folder / "scene_graph.json")
        assert sorted(node.label for _, node in graph.nodes("object")) == sorted(FURNITURE)
        ((_, room),) = graph.nodes("room")
        assert room.label == "bedroom"
        assert room.area == pytest.approx(ROOM_SIZE[0] * ROOM_SIZE[1], rel=0.1)
        for _, node in graph.nodes("object"):
            size, center = FURNITURE[node.label]
            np.testing.assert_allclose(node.box.center, center, atol=0.1)
            np.testing.assert_allclose(sorted(node.box.size), sorted(size), atol=0.15)
        mesh = read_mesh(run_folder / "mesh.ply")
        assert abs(mesh.vertices[:, 2].min()) < 0.02
        assert mesh.vertices[:, 2].max() == pytest.approx(ROOM_SIZE[2], abs=0.03)

    def test_a_second_run_does_nothing(self, run_folder, box_room):
        before = {p: p.stat().st_mtime_ns for p in run_folder.rglob("*") if p.name != "manifest.json"}
        result = m2h("run", box_room, "--out", run_folder)
        assert result.stderr.splitlines() == [f"{name}: up to date" for name in STAGE_NAMES]
        assert "everything was up to date" in result.stdout
        assert {p: p.stat().st_mtime_ns for p in run_folder.rglob("*") if p.name != "manifest.json"} == before

    def test_the_same_input_gives_the_same_files(self, run_folder, box_room, tmp_path):
        m2h("run", box_room, "--out", tmp_path / "again")
        first, second = files_of(run_folder), files_of(tmp_path / "again")
        changing = {"manifest.json", "report.html", "scene.html"}
        assert [str(p) for p in first if p.name not in changing and first[p] != second[p]] == []

    def test_a_changed_setting_redoes_what_depends_on_it(self, run_folder, box_room, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(run_folder, folder)
        volume = (folder / "volume.npz").stat().st_mtime_ns
        m2h("run", box_room, "--out", folder, "--set", "graph.places.compression=1.2")
        assert (folder / "volume.npz").stat().st_mtime_ns == volume
        m2h("run", box_room, "--out", folder, "--voxel", "0.06")
        assert (folder / "volume.npz").stat().st_mtime_ns > volume

    def test_json_ends_with_the_manifest(self, run_folder, box_room):
        result = m2h("run", box_room, "--out", run_folder, "--json")
        manifest = json.loads(result.stdout)
        assert manifest["format"] == "m2h-run"
        assert manifest["input"]["fingerprint"]
        assert manifest["stages"]["graph"]["summary"]["counts"]["object"] == len(FURNITURE)

    @pytest.mark.parametrize("form", ["ply", "obj", "glb", "html", "spark_dsg", "graphml", "csv", "geojson"])
    def test_exports(self, run_folder, tmp_path, form):
        out = tmp_path / "sub" / f"map.{form}"
        if form == "spark_dsg":
            out = out.with_suffix(".json")
        m2h("export", run_folder, out, "--to", form)
        assert out.stat().st_size > 100

    def test_obj_names_its_objects(self, run_folder, tmp_path):
        m2h("export", run_folder, tmp_path / "map.obj", "--to", "obj")
        graph = load_scene_graph(run_folder / "scene_graph.json")
        names = [line[2:].strip() for line in (tmp_path / "map.obj").open() if line.startswith("o ")]
        assert names[0] == "structure"
        assert set(names[1:]) == {f"{key}_{node.label}" for key, node in graph.nodes("object")}
        faces = sum(line.startswith("f ") for line in (tmp_path / "map.obj").open())
        assert faces == len(read_mesh(run_folder / "mesh.ply").faces)

    def test_exports_are_named_by_their_format(self, run_folder, tmp_path):
        assert "wrote" in m2h("export", run_folder, tmp_path, "--to", "csv").stdout
        assert [p.name for p in tmp_path.iterdir()] == ["objects.csv"]
        text = m2h("export", run_folder, tmp_path / "map.ply", "--to", "obj", code=1).stderr
        assert text == f"m2h: {tmp_path / 'map.ply'}: --to obj writes a .obj file\n"

    def test_an_address_that_is_not_ours_is_said(self, run_folder):
        text = m2h("view", run_folder, "--host", "192.0.2.1", code=1).stderr
        assert text.startswith("m2h: --host 192.0.2.1: this machine cannot listen there")
        m2h("view", run_folder, "--port", "99999999", code=2)

    def test_a_port_in_use_is_said(self, run_folder):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            text = m2h("view", run_folder, "--port", port, code=1).stderr
        assert text == f"m2h: --port {port}: cannot be used on 127.0.0.1 (Address already in use); choose another\n"

    def test_nothing_is_exported_through_a_link(self, run_folder, tmp_path):
        received = tmp_path / "received"
        shutil.copytree(run_folder, received)
        (tmp_path / "outside").mkdir()
        (received / "export").symlink_to(tmp_path / "outside")
        text = m2h("export", received, "--to", "csv", code=1).stderr
        assert text == f"m2h: {received / 'export'}: is a link, and a run folder has none; remove it\n"
        assert list((tmp_path / "outside").iterdir()) == []

    def test_names_are_no_markup(self, run_folder, capsys):
        manifest = Workspace.open(run_folder).manifest
        manifest["input"]["name"] = "[/b]"
        manifest["stages"]["graph"]["summary"]["text"] = "[red]:smile:\x1b[2J"
        manifest["stages"]["fuse"]["warnings"] = ["[/x] \x1b[2J"]
        print_summary(manifest, Path("runs[/x]"))
        change = {"kind": "moved", "label": "[/b]", "key_a": "O1", "key_b": "O2", "distance": None}
        found = {"changes": [SimpleNamespace(**change, position_a=None, position_b=None)]}
        print_changes(SimpleNamespace(**found, unchanged=[], unseen_a=[], unseen_b=[]))
        shown = capsys.readouterr().out
        for text in ("[/b] (", "[red]:smile:", "[/x] \\x1b[2J", "runs[/x]/report.html", "│ [/b] "):
            assert text in shown
        assert "\x1b" not in shown

    def test_queries_that_make_no_sense(self, run_folder):
        for arguments in (("--near", "1,2"), ("--near", "nan,0,0"), ("--radius", "1"), ("--time", "nan")):
            assert m2h("query", run_folder, *arguments, code=1).stderr.count("\n") == 1

    def test_queries(self, run_folder):
        hits = json.loads(m2h("query", run_folder, "--label", "bed", "--json").stdout)["hits"]
        assert [hit["label"] for hit in hits] == ["bed"]
        assert hits[0]["room"] == "R0"
        assert "no class" in m2h("query", run_folder, "--label", "bedd", code=1).stderr
        assert m2h("query", run_folder, "--label", "night stand").stderr == "nothing found\n"  # as spelled in reports


def copy_sequence(box_room, folder):
    """A copy of the sequence that a test may corrupt."""
    shutil.copytree(box_room, folder)
    return folder


class TestWarnings:
    """Unused input of a run is reported once, with counts."""

    def test_labels_that_the_label_space_lacks(self, box_room, tmp_path):
        sequence = copy_sequence(box_room, tmp_path / "sequence")
        for number, label in ((3, 255), (4, 77)):
            path = sequence / "semantics" / f"{number:06d}.png"
            labels = read_labels(path)
            labels[:10, :20] = label
            write_png(path, labels)
        manifest = json.loads(m2h("fuse", sequence, "--out", tmp_path / "run", "--json").stdout)
        assert manifest["stages"]["fuse"]["warnings"] == [
            "400 pixels in 2 frames have labels that label space nyu40 lacks (77, 255); they count as unknown"
        ]

    def test_frames_without_depth_are_ignored_and_listed(self, box_room, tmp_path):
        sequence = copy_sequence(box_room, tmp_path / "sequence")
        path = sequence / "transforms.json"
        data = json.loads(path.read_text())
        for number in (0, 7):
            del data["frames"][number]["depth_file_path"]
        path.write_text(json.dumps(data))
        manifest = json.loads(m2h("fuse", sequence, "--out", tmp_path / "run", "--json").stdout)
        assert manifest["source"] == "recorded"
        assert manifest["stages"]["sequence"]["summary"]["unused"] == {"no depth image": 2}
        assert manifest["stages"]["fuse"]["summary"]["frames"] == 28
        assert "2 of 30 frames have no depth image" in m2h("inspect", sequence).stdout
        lines = (tmp_path / "run" / "frames.csv").read_text().splitlines()
        assert ["no depth image" in line for line in lines[1:]] == [n in (0, 7) for n in range(30)]

    def test_a_run_of_another_sequence_is_not_measured_in_silence(self, run_folder, box_room, tmp_path):
        other = copy_sequence(box_room, tmp_path / "other")
        (other / "note.txt").write_text("changed")
        assert foreign_input(run_folder, other) == "sequence"
        assert foreign_input(run_folder, box_room) is None

    def test_frames_that_are_missing(self, box_room, tmp_path):
        sequence = copy_sequence(box_room, tmp_path / "sequence")
        for number in range(20):
            (sequence / "images" / f"{number:06d}.png").unlink()
        result = m2h("predict", sequence, "--out", tmp_path / "run", "--set", "frames.max_broken=0.5")
        warning = "20 of 30 frames cannot be used: 20 image file is missing; frames.csv lists them"
        assert warning in " ".join(result.stdout.split())


@pytest.mark.slow
def test_a_killed_run_continues(box_room, tmp_path):
    """Killed without warning in the middle of fusion, the next run ends with the same map."""
    folder = tmp_path / "run"
    code = (
        "import sys, time, pipelines.stages.fuse as fusion\n"
        "fusion.CHECKPOINT_SECONDS = 0\n"
        "save = fusion._save_checkpoint\n"
        "def slow(*arguments): save(*arguments); print('saved', flush=True); time.sleep(0.2)\n"
        "fusion._save_checkpoint = slow\n"
        "from pipelines.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "run", str(box_room), "--out", str(folder), "-q"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    state = json.loads((folder / "fusing.json").read_text()) if (folder / "fusing.json").exists() else {"done": 0}
    assert state["done"] >= 4
    assert not (folder / "volume.npz").exists()
    m2h("fuse", box_room, "--out", folder)
    m2h("fuse", box_room, "--out", tmp_path / "whole")
    assert (folder / "volume.npz").read_bytes() == (tmp_path / "whole" / "volume.npz").read_bytes()
    assert not (folder / "fusing.npz").exists()
    assert not (folder / ".lock").exists()


class TestErrors:
    """Each gives one line on standard error and exit code 1, and leaves nothing behind."""

    def one_line(self, *arguments):
        result = m2h(*arguments, code=1)
        assert result.stderr.startswith("m2h: ")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
        return result.stderr

    def test_no_such_sequence(self, tmp_path):
        assert "no such file or folder" in self.one_line("run", tmp_path / "none", "--out", tmp_path / "run", "-q")
        assert not (tmp_path / "run").exists()

    def test_empty_folder(self, tmp_path):
        (tmp_path / "empty").mkdir()
        assert "transforms.json" in self.one_line("run", tmp_path / "empty", "--out", tmp_path / "run", "-q")

    def test_unknown_setting(self, box_room, tmp_path):
        text = self.one_line("run", box_room, "--out", tmp_path / "run", "--set", "tsdf.voxelsize=1", "-q")
        assert "tsdf.voxelsize; did you mean voxel_size?" in text

    def test_bad_values(self, box_room, tmp_path):
        out = tmp_path / "run"
        assert "voxel_size" in self.one_line("run", box_room, "--out", out, "--voxel", "-1", "-q")
        assert "--range 5: expected A:B" in self.one_line("run", box_room, "--out", out, "--range", "5", "-q")
        for up in ("north", "1,2", "0,0,0", "nan,0,1"):
            assert "expected X,Y,Z" in self.one_line("run", box_room, "--out", out, "--up", up, "-q")
        assert "known are" in self.one_line("run", box_room, "--out", out, "--source", "recoded", "-q")

    def test_output_that_cannot_be_written(self, box_room, tmp_path):
        (tmp_path / "file").write_text("")
        assert "cannot be" in self.one_line("run", box_room, "--out", tmp_path / "file" / "run", "-q")
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.tex").write_text("")
        assert "not empty" in self.one_line("run", box_room, "--out", tmp_path / "thesis", "-q")

    def test_lost_poses(self, box_room, tmp_path):
        sequence = tmp_path / "sequence"
        shutil.copytree(box_room, sequence)
        data = json.loads((sequence / "transforms.json").read_text())
        for frame in data["frames"]:
            frame["transform_matrix"] = [[float("nan")] * 4] * 4
        (sequence / "transforms.json").write_text(json.dumps(data))
        assert "none of 30 frames are usable" in self.one_line("run", sequence, "--out", tmp_path / "run", "-q")

    def test_map_of_another_sequence(self, box_room, tmp_path):
        sequence, out = tmp_path / "sequence", tmp_path / "run"
        shutil.copytree(box_room, sequence)
        (sequence / "transforms.json").write_text((sequence / "transforms.json").read_text() + "\n")
        m2h("predict", box_room, "--out", out, "-q")
        text = self.one_line("predict", sequence, "--out", out, "-q")
        assert f"{out}: holds a map of sequence ({box_room.resolve()}), not of sequence" in text
        assert "--overwrite" in text
        m2h("predict", sequence, "--out", out, "-q", "--overwrite")
        m2h("predict", sequence, "--out", out, "-q")

    def test_input_that_changes_while_it_is_read(self, box_room, tmp_path):
        sequence = copy_sequence(box_room, tmp_path / "sequence")
        depth = sequence / "depth" / "000029.png"

        def change(what, done, total):
            if (what, done) == ("fuse", 5):
                write_png(depth, np.full((120, 160), 2000, np.uint16))

        opened = open_sequence(sequence)
        with pytest.raises(WorkspaceError, match=r"depth/000029\.png: was changed or removed while the run read it"):
            run_pipeline(opened, tmp_path / "run", until="fuse", progress=change)
        assert "fuse" not in Workspace.open(tmp_path / "run").manifest["stages"]
        run_pipeline(open_sequence(sequence), tmp_path / "run", until="fuse")
        run_pipeline(open_sequence(sequence), tmp_path / "whole", until="fuse")
        volumes = [(tmp_path / name / "volume.npz").read_bytes() for name in ("run", "whole")]
        assert volumes[0] == volumes[1]

    def test_control_characters_of_names_are_shown(self, tmp_path):
        assert r"none\x1b[2J: no such file" in self.one_line("inspect", tmp_path / "none\x1b[2J")

    def test_truncated_images(self, box_room, tmp_path):
        sequence = tmp_path / "sequence"
        shutil.copytree(box_room, sequence)
        for number in range(3):
            path = sequence / "depth" / f"{number:06d}.png"
            path.write_bytes(path.read_bytes()[:200])
        text = self.one_line("run", sequence, "--out", tmp_path / "run", "-q")
        assert "000000.png" in text
        assert "2 of 30 frames cannot be read, frames.max_broken=0.05 allows 1" in text
        lines = (tmp_path / "run" / "frames.csv").read_text().splitlines()
        assert [line.split(",")[3] for line in lines] == ["used", *"0" * 30]
        assert "truncated" in lines[2]
        assert "not read, the run stopped" in lines[3]
        m2h("fuse", sequence, "--out", tmp_path / "run", "--set", "frames.max_broken=0.1", "-q")
        lines = (tmp_path / "run" / "frames.csv").read_text().splitlines()
        assert sum(",0," in line and "truncated" in line for line in lines) == 3

    def test_an_unknown_network_is_reported_before_torch_is_loaded(self, box_room, tmp_path):
        code = (
            "import sys; from pipelines.cli import main\n"
            "try: main(sys.argv[1:])\n"
            "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
        )
        command = [sys.executable, "-c", code, "run", box_room, "--out", tmp_path / "run", "--source", "m2h:typo", "-q"]
        result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
        assert result.stderr.startswith("m2h: typo: neither a file nor a checkpoint's name; names are ")
        assert result.stdout == "1 False\n"

    def test_the_option_is_to_blame_not_what_it_stands_for(self, box_room, tmp_path):
        run, out = ("run", box_room, "--out", tmp_path / "run"), tmp_path / "run"
        assert self.one_line(*run, "--voxel", "0").startswith("m2h: --voxel 0: tsdf.voxel_size: ")
        assert self.one_line(*run, "--stride", "0").startswith("m2h: --stride 0: frames.stride: ")
        assert self.one_line(*run, "--set", "tsdf.voxel_size=0").startswith("m2h: --set tsdf.voxel_size=0: ")
        assert self.one_line("synth", out, "--size", "0x0").startswith("m2h: --size 0x0: width: ")
        assert self.one_line("synth", out, "--rooms", "99").startswith("m2h: --rooms 99: world.rooms: ")
        assert self.one_line("ingest", box_room, out, "--stride", "0").startswith("m2h: --stride 0: stride: ")
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
    def test_what_the_machine_lacks(self, monkeypatch, box_room, tmp_path, error, text):
        def fail(*_):
            raise error

        monkeypatch.setattr("pipelines.sequences.detect.open_sequence", fail)
        line = self.one_line("run", box_room, "--out", tmp_path / "run", "-q")
        assert line.startswith(text)
        assert len(line) < 1010

    def test_control_c(self, monkeypatch, box_room, tmp_path):
        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("pipelines.sequences.detect.open_sequence", stop)
        result = m2h("run", box_room, "--out", tmp_path / "run", "-q", code=130)
        assert result.stderr == "m2h: stopped; the same command continues from here\n"
        assert m2h("ingest", box_room, tmp_path / "copy", "-q", code=130).stderr == "m2h: stopped\n"

    def test_commands_on_what_is_no_run(self, tmp_path):
        for command in ("view", "query"):
            assert "no run folder" in self.one_line(command, tmp_path)
        assert "no run folder" in self.one_line("export", tmp_path, "--to", "ply")
        assert "mesh.ply: is missing" in self.one_line("eval", tmp_path, tmp_path)

    def test_two_runs_at_once(self, box_room, tmp_path):
        with Workspace(tmp_path / "run").lock():
            assert "another run" in self.one_line("run", box_room, "--out", tmp_path / "run", "-q")


def test_doctor_says_that_all_is_well():
    facts = json.loads(m2h("doctor", "--json").stdout)
    assert facts["problems"] == []
    assert facts["versions"]["numpy"] == np.__version__
