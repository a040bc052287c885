"""Damaged files of a run folder, of predictions and of checkpoints are refused in one line that names the file."""

import json
import re
import shutil
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from attacks import LONG, SHORT, counted, damage, make_special, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from run_files import READERS, context_of, read_record_of, write_all, write_checkpoint

from m2h import Predictions
from m2h.record import RECORD_KEY
from mapping.mesh.io import read_mesh
from mapping.mesh.mesh import Mesh
from pipelines.settings import PipelineConfig
from pipelines.sources.predictions import read_predictions
from pipelines.sources.stored import index_of
from pipelines.stages import fuse as fusion
from pipelines.stages import refine_poses
from pipelines.workspace import WorkspaceError, read_record


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_all(folder)
    return folder


def test_undamaged_files_are_read(whole):
    for name, read in READERS.items():
        assert refused(lambda name=name, read=read: read(whole / name)) == "", name


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket"])
@pytest.mark.parametrize("name", sorted(READERS.keys() - {"index.json", "fusing.json"}))
def test_what_is_no_file_is_refused(tmp_path, name, kind):
    make_special(tmp_path / name, kind)
    assert str(tmp_path) in refused(lambda: READERS[name](tmp_path / name))


def attack(data, whole, folder):
    name = data.draw(st.sampled_from(sorted(READERS)), label="file")
    damage(data, folder / name, whole / name)
    found = []
    line = counted(refused(lambda: found.append(READERS[name](folder / name))))
    assert not line or str(folder) in line
    assert line or not is_empty(found[0]), name


def is_empty(found):
    """Whether a mesh, the sums of a volume or a prediction has nothing in it, as none of the undamaged ones."""
    if isinstance(found, Mesh):
        return not len(found.vertices) or not len(found.faces)
    if isinstance(found, Predictions):
        return found.depth is None or not found.depth.size
    return isinstance(found, tuple) and not len(found[1].coords)


@settings(SHORT, max_examples=200)
@given(data=st.data())
def test_damaged_files(data, whole, tmp_path):
    attack(data, whole, tmp_path)


@pytest.mark.full
@settings(LONG)
@given(data=st.data())
def test_many_damaged_files(data, whole, tmp_path):
    attack(data, whole, tmp_path)


BAD_NUMBERS = ("NaN", "Infinity", "-Infinity", "-1", "1e30", "1e999", "9" * 400)


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize(
    ("name", "field"),
    [
        *(("alignment.json", field) for field in ("pose_scale", "depth_scale", "residual")),
        *(("manifest.json", field) for field in ("seconds", "peak_memory_mb")),
        ("detections.json", "distance"),
        *(("poses.json", field) for field in ("fx", "width")),
        ("planes.json", "area"),
    ],
)
def test_numbers_that_nothing_measures_are_refused(whole, tmp_path, name, field, number):
    text = re.sub(rf'"{field}": [\d.]+', f'"{field}": {number}', (whole / name).read_text(), count=1)
    (tmp_path / name).write_text(text)
    line = refused(lambda: READERS[name](tmp_path / name))
    assert line.startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("name", ["levelling.json", "poses.json"])
@pytest.mark.parametrize("place", ["0.0, 0.0, 0.0, 1.0]]", "1.0, 0.0, 0.0, 0.0]"])
def test_transforms_that_are_none_are_refused(whole, tmp_path, name, place, number):
    """In the last row, and the turn of the first."""
    text = (whole / name).read_text()
    assert place in text
    (tmp_path / name).write_text(text.replace(place, f"{number}{place[3:]}", 1))
    line = refused(lambda: READERS[name](tmp_path / name))
    assert line.startswith(f"{tmp_path / name}: ")
    assert line.isprintable()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e30", "-1e30", "9" * 400])
@pytest.mark.parametrize("name", ["levelling.json", "poses.json"])
def test_places_where_no_camera_is_are_refused(whole, tmp_path, name, number):
    text = (whole / name).read_text()
    (tmp_path / name).write_text(text.replace("1.0, 0.0, 0.0, 0.0]", f"1.0, 0.0, 0.0, {number}]", 1))
    assert refused(lambda: READERS[name](tmp_path / name)).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "1e30", "1e999", "9" * 400, '"1"', "true", "29"])
def test_an_error_of_poses_that_no_image_has_is_refused(tmp_path, number):
    """In check.json, in pixels of images of 16 x 12."""
    (tmp_path / "check.json").write_text(f'{{"epipolar_error": {number}}}')
    path = tmp_path / "check.json"
    assert refused(lambda: refine_poses.refine_poses(context_of(path))).startswith(f"{path}: ")


@pytest.mark.parametrize("done", ["NaN", "-1", "-2", "4", "1e30", "2.5", '"2"', "9" * 400])
def test_half_a_map_that_says_it_has_other_frames_is_made_again(whole, tmp_path, done):
    """Of the checkpoint of a killed run: three frames are to be fused, and two are."""
    shutil.copy(whole / "volume.npz", tmp_path / "fusing.npz")
    path = tmp_path / "fusing.json"
    rest = '"key": "k", "moving": [], "broken": [], "foreign_labels": [], "named": [[1, 0.5, 2]]'
    context = SimpleNamespace(path=tmp_path.joinpath, key="k", positions=[0, 1, 2], config=PipelineConfig())
    path.write_text(f'{{"done": 2, {rest}}}')
    assert fusion._load_checkpoint(context).done == 2
    path.write_text(f'{{"done": {done}, {rest}}}')
    assert fusion._load_checkpoint(context) is None
    for wrong in ("NaN", "-1", "1e400", '"2"', "3"):
        path.write_text(f'{{"done": 2, {rest.replace("0.5", wrong)}}}')
        assert fusion._load_checkpoint(context) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1, 1e30])
@pytest.mark.parametrize("name", ["depth", "confidence", "label_confidence", "edges"])
def test_predictions_that_nothing_predicts_are_refused(tmp_path, name, value):
    path = tmp_path / "000000.npz"
    arrays = {"depth": np.full((6, 8), 2, np.float32), name: np.full((6, 8), value, np.float32)}
    np.savez(path, **arrays)
    limit = 1e6 if name == "depth" else 1
    assert refused(lambda: read_predictions(path)).startswith(
        f"{path}: {name} must be numbers from 0 to {limit:g}, got "
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"depth_scale": float("inf")},
        {"label_threshold": float("nan")},
        {"label_threshold": -1},
        {"focal": 1e30},
        {"depth_error_scale": -1},
        {"metrics": {"rmse": float("inf")}},
        {"preprocessing": {"size": [1000000, 1000000]}},
        {"preprocessing": {"mean": [float("nan"), 0, 0]}},
        {"config": {"channels": 10**9}},
        {"config": {"head_channels": [10**9]}},
    ],
)
def test_records_that_no_network_has_are_refused(tmp_path, changes):
    path = tmp_path / "a.safetensors"
    write_checkpoint(path, **changes)
    assert refused(lambda: read_record_of(path)).startswith(f"{path}: record")


def test_a_record_that_is_nested_deeply(tmp_path):
    header = json.dumps({"__metadata__": {RECORD_KEY: "[" * 100_000}}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    assert refused(lambda: read_record_of(path)) == (
        f"{path}: record: not readable as JSON: nested too deeply: at most 64 levels are read"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3 0 1 2", "inf 0 1 2", "a list of element face has inf entries"),
        ("3 0 1 2", "nan 0 1 2", "a list of element face has nan entries"),
        ("3 0 1 2", "1e300 0 1 2", "a list of element face has 1e+300 entries"),
        ("3 0 1 2", "2.5 0 1 2", "a list of element face has 2.5 entries"),
        ("3 0 1 2", "3 0 1 inf", "property vertex_indices must be whole numbers"),
        ("0 1 0 2", "0 1 0 1e9", "property label must be whole numbers in 0..65535"),
        ("0 1 0 2", "0 1e300 0 2", "vertex coordinates must be finite"),
        ("face 1", "face " + "9" * 30, "header line 8: expected format, element or property"),
        ("face 1", "face " + "9" * 5000, "header line 8: expected format, element or property"),
        ("face 1", "face 999999999999999999", "truncated"),
        ("vertex 3", "vertex \u00b2", "header line 3: expected format, element or property"),
    ],
)
def test_mesh_files_of_the_table(whole, tmp_path, old, new, message):
    path = tmp_path / "mesh.ply"
    path.write_bytes((whole / "ascii.ply").read_text().replace(old, new).encode("latin-1"))
    line = refused(lambda: read_mesh(path))
    assert line.startswith(f"{path}: ")
    assert message in line


def test_a_damaged_index_of_predictions_is_as_none(tmp_path):
    path = tmp_path / "index.json"
    path.write_text('{"source": "m2h", "fingerprint": "f", "frames": []}')
    assert index_of(path)["fingerprint"] == "f"
    path.write_text('{"source": "m2h", "fing')
    assert index_of(path) == {}
    with pytest.raises(WorkspaceError, match=r"index\.json line 1: not readable as JSON"):
        read_record(path)
