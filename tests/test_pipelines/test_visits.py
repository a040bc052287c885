"""Two recordings of one room: compared, merged, and corrected."""

import json
import shutil

import numpy as np
import pytest
from box_room import FURNITURE, write_box_room
from helpers import m2h

from mapping.se3 import from_rotation_translation
from mapping.tsdf.tsdf_config import TSDFConfig
from pipelines import PipelineConfig
from pipelines.merging import MergeError, merge_runs
from pipelines.pipeline import run
from pipelines.sequences.detect import open_sequence
from pipelines.workspace import load_graph, load_run

CABINET_LATER = ((0.5, 1.0, 1.8), (-1.7, -0.7, 0.9))
CONFIG = PipelineConfig(tsdf=TSDFConfig(voxel_size=0.06))
SHIFT = (0.08, -0.05, 0.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The room, and the room after its cabinet was moved, whose poses are off by some centimetres."""
    folder = tmp_path_factory.mktemp("visits")
    later = {**FURNITURE, "cabinet": CABINET_LATER}
    write_box_room(folder / "monday")
    write_box_room(folder / "tuesday", furniture=later, T_input_room=from_rotation_translation(np.eye(3), SHIFT))
    for name in ("monday", "tuesday"):
        run(open_sequence(folder / name), folder / f"run_{name}", config=CONFIG, until="graph")
    return folder / "run_monday", folder / "run_tuesday"


@pytest.fixture(scope="module")
def merged(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("merged") / "both"
    m2h("merge", *runs, "--out", out, "-q")
    return out


def test_what_moved_is_found_although_the_maps_are_offset(runs):
    data = json.loads(m2h("diff", *runs, "--json").output)
    (change,) = data["changes"]
    assert (change["kind"], change["label"]) == ("moved", "cabinet")
    assert change["distance"] == pytest.approx(3.35, abs=0.12)
    assert change["confidence"] > 0.5
    assert len(data["unchanged"]) == 1


def test_the_merged_map_has_both_visits(runs, merged):
    mesh, graph = load_run(merged)
    times = {visit["run"]: visit["times"] for visit in graph.metadata["visits"]}
    assert times["run_monday"] == [0.0, 2.9]
    assert times["run_tuesday"] == [3.9, 6.8]  # its clock overlaps, so it follows
    found = {node.label: node.presence for _, node in graph.nodes("object") if node.label == "bed"}
    assert found == {"bed": ((0.0, 6.8),)}
    cabinets = sorted(
        (node.presence, round(float(node.box.center[0]), 1))
        for _, node in graph.nodes("object")
        if node.label == "cabinet"
    )
    assert [presence for presence, _ in cabinets] == [((0.0, 3.4),), ((3.4, 6.8),)]
    assert cabinets[0][1] > 1.0 > -1.0 > cabinets[1][1]
    assert len(graph.nodes("room")) == 1
    assert mesh.objects.max() >= 3
    assert (merged / "report.html").read_text().count("run_tuesday") == 1


def test_a_merge_states_what_is_known_of_the_world_of_its_first_run(runs, merged):
    """And in its sentences on trust those of all runs."""
    first, both = (json.loads((folder / "manifest.json").read_text()) for folder in (runs[0], merged))
    found = both["stages"]["register"]["summary"]
    assert (found["scale_state"], found["up_state"]) == ("metres", "given")
    assert found["up_state"] == first["stages"]["level"]["summary"]["up_state"]
    assert both["trust"] == first["trust"]


def test_a_merge_is_resumed_and_guarded(runs, merged, tmp_path):
    manifest = merge_runs(runs, merged)
    assert all(stage["up_to_date"] for stage in manifest["stages"].values())
    for bad, message in (
        ([runs[0]], "at least two"),
        ([runs[0], runs[0]], "given twice"),
        ([*runs, merged], "is one of the runs"),
    ):
        with pytest.raises(MergeError, match=message):
            merge_runs(bad, merged)
    assert "contains a map of monday" in m2h("merge", runs[1], merged, "--out", runs[0], code=1).stderr
    assert "is no run folder" in m2h("merge", *runs, tmp_path, "--out", tmp_path / "out", code=1).stderr


def test_corrections_survive_a_rebuild(runs, merged, tmp_path):
    folder = tmp_path / "both"
    shutil.copytree(merged, folder)
    bed = next(key for key, node in load_graph(folder).nodes("object") if node.label == "bed")
    cabinet = next(key for key, node in load_graph(folder).nodes("object") if node.label == "cabinet")
    text = m2h("correct", folder, "rename", bed, "couch", code=1).stderr
    assert "has no class 'couch'" in text
    m2h("correct", folder, "rename", bed, "sofa")
    m2h("correct", folder, "delete", cabinet)
    assert "rename bed at" in m2h("correct", folder, "list").output
    for _ in range(2):
        manifest = merge_runs(runs, folder)
        labels = sorted(node.label for _, node in load_graph(folder).nodes("object"))
        assert labels == ["cabinet", "sofa"]
    assert manifest["stages"]["graph"]["up_to_date"]
    m2h("correct", folder, "undo", 2)
    merge_runs(runs, folder)
    assert sorted(node.label for _, node in load_graph(folder).nodes("object")) == ["cabinet", "cabinet", "sofa"]
    assert "has no O99" in m2h("correct", folder, "delete", "O99", code=1).stderr
    (folder / "corrections.yaml").write_text("corrections:\n- renam: {}\n")
    assert "did you mean rename?" in m2h("correct", folder, "list", code=1).stderr
