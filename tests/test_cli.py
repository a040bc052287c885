"""The command line in use: results, exit codes, warnings, resume."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from box_room import FURNITURE, ROOM_SIZE
from helpers import copy_sequence, m2h

from mapping.camera import Intrinsics
from mapping.mesh.io import read_mesh
from mapping.se3 import from_rotation_translation, inverse, rotation_from_quat_xyzw, transform_points
from pipelines.cli import COMMANDS
from pipelines.cli.diff import print_changes
from pipelines.cli.run import print_summary
from pipelines.evaluate import foreign_input
from pipelines.exports.exporters import EXPORTERS
from pipelines.images import read_labels, write_png
from pipelines.pipeline import STAGE_NAMES
from pipelines.views.keyframes import load_keyframes
from pipelines.workspace import Workspace
from scenegraph import load_scene_graph

RUN_FILES = {
    "alignment.json",
    "check.json",
    "poses.json",
    "config.yaml",
    "detections.json",
    "dsg.json",
    "floorplan.dxf",
    "floorplan.geojson",
    "floorplan.pdf",
    "floorplan.svg",
    "frames.csv",
    "ground.npz",
    "keyframes.json",
    "levelling.json",
    "manifest.json",
    "mesh.glb",
    "mesh.ply",
    "motion.json",
    "objects.csv",
    "planes.json",
    "predictions",
    "report.html",
    "scene.html",
    "scene_graph.json",
    "trajectory.tum",
    "volume.npz",
}


@pytest.fixture(scope="module")
def run_folder(box_run, tmp_path_factory):
    """A copy of the finished run, in which a command may write."""
    return shutil.copytree(box_run, tmp_path_factory.mktemp("run") / "run")


def files_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_help_names_every_command():
    text = m2h("--help").output
    assert all(f"  {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    subcommand = {"weights": ["list"], "batch": ["run"], "correct": ["run", "list"]}.get(command, [])
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
        changing = {"manifest.json", "report.html"}
        assert [str(p) for p in first if p.name not in changing and first[p] != second[p]] == []

    def test_a_changed_setting_redoes_what_depends_on_it(self, run_folder, box_room, tmp_path):
        folder = tmp_path / "run"
        shutil.copytree(run_folder, folder)
        volume = (folder / "volume.npz").stat().st_mtime_ns
        m2h("run", box_room, "--out", folder, "--set", "graph.places.compression=1.2")
        assert (folder / "volume.npz").stat().st_mtime_ns == volume
        m2h("fuse", box_room, "--out", folder, "--voxel", "0.2")
        assert (folder / "volume.npz").stat().st_mtime_ns > volume

    def test_json_ends_with_the_manifest(self, run_folder, box_room):
        result = m2h("run", box_room, "--out", run_folder, "--json")
        manifest = json.loads(result.stdout)
        assert manifest["format"] == "m2h-run"
        assert manifest["input"]["fingerprint"]
        assert manifest["stages"]["graph"]["summary"]["counts"]["object"] == len(FURNITURE)

    @pytest.mark.parametrize(
        "form", ["ply", "obj", "glb", "html", "spark_dsg", "graphml", "csv", "geojson", "svg", "dxf", "pdf"]
    )
    def test_exports(self, run_folder, tmp_path, form):
        out = tmp_path / "sub" / f"map.{form}"
        if form == "spark_dsg":
            out = out.with_suffix(".json")
        m2h("export", run_folder, out, "--to", form)
        assert out.stat().st_size > 100

    def test_help_names_every_format(self):
        text = m2h("export", "--help").output
        assert [form for form in EXPORTERS if not re.search(rf"\b{form}\b", text)] == []

    @pytest.mark.parametrize("name", ["scene.html", "floorplan.svg", "floorplan.dxf", "floorplan.pdf"])
    def test_what_is_in_the_run_can_be_exported_again(self, run_folder, tmp_path, name):
        m2h("export", run_folder, tmp_path, "--to", name.partition(".")[2])
        assert (tmp_path / name).read_bytes() == (run_folder / name).read_bytes()

    def test_images_of_an_older_graph_are_not_shown(self, run_folder, tmp_path):
        assert load_keyframes(run_folder)["frames"]
        folder = tmp_path / "run"
        shutil.copytree(run_folder, folder)
        text = (folder / "scene_graph.json").read_text()
        (folder / "scene_graph.json").write_text(text.replace('"label": "bed"', '"label": "sofa"'))
        assert load_keyframes(folder) == {"frames": [], "objects": {}}

    def test_outlines_are_where_the_objects_are_in_the_images(self, run_folder):
        graph, found = load_scene_graph(run_folder / "scene_graph.json"), load_keyframes(run_folder)
        assert set(found["objects"]) == {key for key, _ in graph.nodes("object")}
        for key, images in found["objects"].items():
            for image in images:
                frame = found["frames"][image["frame"]]
                assert key in frame["shows"]
                camera = Intrinsics(*(frame[name] for name in ("fx", "fy", "cx", "cy", "width", "height")))
                T = from_rotation_translation(rotation_from_quat_xyzw(frame["rotation"]), np.array(frame["position"]))
                local = transform_points(inverse(T), graph[key].box.corners())
                size = (camera.width, camera.height)
                outline = np.concatenate(image["outline"])
                assert ((outline >= 0) & (outline <= 1)).all()
                if (local[:, 2] > 0.1).all():
                    corners = (camera.project(local) + 0.5) / size
                    assert (outline > corners.min(axis=0) - 0.05).all()
                    assert (outline < corners.max(axis=0) + 0.05).all()

    def test_the_view_is_served_with_what_changed(self, run_folder, monkeypatch):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        pages = []

        def look(_):
            pages.append(urllib.request.urlopen(f"http://127.0.0.1:{port}/").read())
            raise KeyboardInterrupt

        monkeypatch.setattr("pipelines.cli.results.time", SimpleNamespace(sleep=look))
        result = m2h("view", run_folder, "--port", port, "--diff", run_folder, "--json")
        assert json.loads(result.stdout) == {"address": f"http://127.0.0.1:{port}"}
        assert pages == [(run_folder / "scene.html").read_bytes()]  # nothing changed since this very run

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
        how = {"position_a": None, "position_b": None, "carrier": None, "confidence": 0.9}
        found = {"changes": [SimpleNamespace(**change, **how)]}
        rest = {key: [] for key in ("unchanged", "unseen_a", "unseen_b", "confirmed_a", "confirmed_b")}
        print_changes(SimpleNamespace(**found, **rest))
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
        text = m2h("query", run_folder, "--label", "night stand").stderr  # as spelled in reports
        assert text == "nothing found: no night stand; there are cabinet 1, bed 1; rooms are R0 bedroom\n"

    def test_paths_between_what_people_call_by_name(self, run_folder):
        answer = json.loads(m2h("query", run_folder, "--path", "bed", "the cabinet", "--json").stdout)
        assert answer["rooms"] == ["R0"]
        assert answer["places"]
        body = ("--ground", "--height", 1.2, "--radius", 0.2)
        answer = json.loads(m2h("query", run_folder, "--path", "bed", "cabinet", *body, "--json").stdout)
        assert answer["clearance"] >= 0.2
        assert all(abs(point[2]) < 0.01 for point in answer["points"])
        assert "narrowest clearance" in m2h("query", run_folder, "--path", "bed", "R0").stdout

    def test_queries_near_things_and_at_times(self, run_folder):
        (hit,) = json.loads(m2h("query", run_folder, "--near", "bed", "--json").stdout)["hits"]
        assert (hit["label"], hit["distance"] > 0) == ("cabinet", True)
        text = m2h("query", run_folder, "--label", "person", "--time", "1").stderr
        assert text.startswith("nothing found: no person at 1 s; there are cabinet 1, bed 1")

    def test_questions(self, run_folder):
        found = json.loads(m2h("ask", run_folder, "how many beds are in the bedroom?", "--json").stdout)
        assert (found["understood"], found["value"]) == ("count bed in bedroom", 1.0)
        assert "R0 bedroom" in m2h("ask", run_folder, "where", "is", "the", "bed").stdout
        assert "is not understood; ask, for example" in m2h("ask", run_folder, "why?", code=1).stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--ground",), "--ground: expected together with --path"),
            (("--height", 1), "--height: expected metres above 0, together with --ground"),
            (("--path", "bed", "cabinet", "--radius", 1), "--radius: with --path, expected"),
            (("--path", "bed", "sofa"), "no room, object or door 'sofa'"),
            (("--path", "bed", "cabinet", "--ground", "--radius", 2), "on which something 1.8 m high and 4 m wide"),
        ],
    )
    def test_paths_that_make_no_sense(self, run_folder, arguments, message):
        assert message in m2h("query", run_folder, *arguments, code=1).stderr


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
        "save = fusion.save_checkpoint\n"
        "def slow(*arguments): save(*arguments); print('saved', flush=True); time.sleep(0.2)\n"
        "fusion.save_checkpoint = slow\n"
        "from pipelines.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "run", str(box_room), "--out", str(folder), "--range", "0:12", "-q"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    state = json.loads((folder / "fusing.json").read_text()) if (folder / "fusing.json").exists() else {"done": 0}
    assert state["done"] >= 4
    assert not (folder / "volume.npz").exists()
    m2h("fuse", box_room, "--out", folder, "--range", "0:12")
    m2h("fuse", box_room, "--out", tmp_path / "whole", "--range", "0:12")
    assert (folder / "volume.npz").read_bytes() == (tmp_path / "whole" / "volume.npz").read_bytes()
    assert not (folder / "fusing.npz").exists()
    assert not (folder / ".lock").exists()


def test_doctor_says_that_all_is_well():
    facts = json.loads(m2h("doctor", "--json").stdout)
    assert facts["problems"] == []
    assert facts["versions"]["numpy"] == np.__version__
