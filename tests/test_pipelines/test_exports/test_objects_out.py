"""Objects as separate files and USD stages of a run, opened by trimesh and by USD itself."""

import json
import shutil
import sys

import numpy as np
import pytest
import trimesh
from box_room import FURNITURE
from helpers import m2h
from pxr import Usd, UsdGeom, UsdSemantics, UsdValidation

from mapping.mesh.io import read_mesh
from pipelines.exports.export_input import ExportError
from pipelines.exports.exporters import export_run
from scenegraph import load_scene_graph

Y_UP_FROM_Z_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])


@pytest.mark.parametrize("suffix", ["glb", "ply"])
def test_trimesh_reads_one_mesh_per_object(box_run, tmp_path, suffix):
    out = tmp_path / "objects"
    m2h("export", box_run, out, "--to", f"objects_{suffix}")
    listed = json.loads((out / "objects.json").read_text())["objects"]
    graph = load_scene_graph(box_run / "scene_graph.json")
    assert {entry["label"] for entry in listed} == set(FURNITURE)
    assert len(list(out.iterdir())) == 1 + len(listed)
    for entry in listed:
        assert entry["room"] == "R0"
        mesh = trimesh.load(out / entry["file"], force="mesh", process=False)
        vertices = mesh.vertices @ Y_UP_FROM_Z_UP if suffix == "glb" else mesh.vertices
        box = graph[entry["id"]].box
        local = (vertices - box.center) @ box.rotation
        assert np.abs(local).max(axis=0) == pytest.approx(box.size / 2, abs=0.06)
        assert len(mesh.faces) > 100


def test_an_object_without_surface_is_in_the_list_alone(box_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(box_run, run)
    text = (run / "scene_graph.json").read_text()
    (run / "scene_graph.json").write_text(text.replace('"number": 1', '"number": 99'))
    out = export_run(run, "objects_ply", tmp_path / "objects")
    listed = json.loads((out / "objects.json").read_text())["objects"]
    assert [entry["file"] is None for entry in listed].count(True) == 1
    assert len(list(out.glob("*.ply"))) == len(listed) - 1


def test_usd_opens_the_stage_and_its_own_validators_find_nothing(box_run, tmp_path):
    m2h("export", box_run, tmp_path / "map.usdc", "--to", "usd")
    stage = Usd.Stage.Open(str(tmp_path / "map.usdc"))
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    found = UsdValidation.ValidationContext(validators).Validate(stage)
    assert [error.GetErrorAsString() for error in found] == []
    graph, mesh = load_scene_graph(box_run / "scene_graph.json"), read_mesh(box_run / "mesh.ply")
    objects = stage.GetPrimAtPath("/Map/Objects").GetChildren()
    labels = {
        p.GetCustomData()["m2h"]["id"]: list(UsdSemantics.LabelsAPI(p, "class").GetLabelsAttr().Get()) for p in objects
    }
    assert labels == {key: [node.label] for key, node in graph.nodes("object")}
    faces = sum(len(UsdGeom.Mesh(p).GetFaceVertexCountsAttr().Get()) for p in stage.Traverse() if p.IsA(UsdGeom.Mesh))
    assert faces == len(mesh.faces)
    bed = next(p for p in objects if labels[p.GetCustomData()["m2h"]["id"]] == ["bed"])
    box = next(node.box for _, node in graph.nodes("object") if node.label == "bed")
    bounds = UsdGeom.BBoxCache(Usd.TimeCode.Default(), ["default"]).ComputeWorldBound(bed).ComputeAlignedRange()
    assert np.array(bounds.GetMax()) - np.array(bounds.GetMin()) == pytest.approx(box.size, abs=0.1)


def test_without_the_extra_one_line_says_what_to_do(box_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(ExportError, match=r"--to usd: .*pip install 'm2h-mapping\[usd\]'"):
        export_run(box_run, "usd", tmp_path / "map.usdc")
    assert list(tmp_path.iterdir()) == []
