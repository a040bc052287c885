"""Networks of the hub as a source, by tiny ones with known answers; nothing here uses the network."""

import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hub_networks import depth_network, label_network, mask_network
from textured_wall import CONFIG, Wall

from m2h import Predictions
from mapping.camera import Intrinsics
from pipelines.sources.hf import axes_of, like_depth
from pipelines.sources.hf_files import find_checkpoint
from pipelines.sources.hf_networks import HubDepth
from pipelines.sources.predictions import write_predictions
from pipelines.sources.source import DepthOrigin, NetworkOrigin, SourceError, open_source
from scenegraph.labels import load_label_space, nyu40

pytest.importorskip("transformers")
NYU40 = nyu40()
WITHOUT_NETWORK = ("unshare", "--map-root-user", "--net")
pytestmark = pytest.mark.filterwarnings("ignore")  # of packages of others


@pytest.fixture(autouse=True)
def _up_is_not_looked_for(monkeypatch):
    """The wall has no upper side, and to look at it takes seconds."""
    monkeypatch.setattr("pipelines.sources.upright.shipped_uncertainty", lambda: None)


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    return depth_network(tmp_path_factory.mktemp("hub") / "metric-depth")


@pytest.fixture(scope="module")
def relative(tmp_path_factory):
    return depth_network(tmp_path_factory.mktemp("hub") / "relative-depth", kind="relative", licence="cc-by-nc-4.0")


@pytest.fixture(scope="module")
def chairs(tmp_path_factory):
    """Of a wall and two kinds of chairs: the wall is the most probable class, a chair the most probable one of NYU40."""
    logits = {"wall": 1.0, "swivel chair": 0.9, "armchair": 0.9, "sky": -9.0}
    return label_network(tmp_path_factory.mktemp("hub") / "chairs", logits)


def test_depth_in_metres_and_labels_of_nyu40(metric, chairs):
    wall = Wall()
    source = open_source(f"hf:depth={metric},semantics={chairs}", wall, CONFIG)
    answer = source.predict(wall[0])
    np.testing.assert_allclose(answer.depth, 2.0, rtol=1e-4)
    assert answer.depth.shape == (60, 80)
    assert {NYU40.name_of(label) for label in np.unique(answer.labels)} == {"chair"}
    odds = np.exp([1.0, 0.9, 0.9, -9.0])
    np.testing.assert_allclose(answer.label_confidence, odds[1:3].sum() / odds.sum(), rtol=1e-4)
    assert source.name == "hf:depth=metric-depth,semantics=chairs"
    assert (source.depth_from, source.predicts_labels, source.is_costly) == (DepthOrigin.NETWORK, True, True)
    assert source.label_space == NYU40
    assert source.notes == []
    asked = find_checkpoint(str(metric))
    assert source.networks[0] == NetworkOrigin("depth", str(metric), asked.revision, "apache-2.0")


def test_labels_of_the_hub_go_with_depth_of_another_source(chairs, tmp_path):
    wall = Wall()
    write_predictions(tmp_path, 0, Predictions(depth=wall.depth(0)))
    source = open_source(f"mixed:depth=precomputed:{tmp_path},semantics=hf:semantics={chairs}", wall, CONFIG)
    answer = source.predict(wall[0])
    np.testing.assert_array_equal(answer.depth, wall.depth(0))
    assert NYU40.name_of(int(answer.labels[0, 0])) == "chair"
    assert answer.label_confidence is not None
    assert [network.task for network in source.networks] == ["semantics"]
    assert source.about_labels.startswith("Labels are predicted by hf:semantics=chairs")


def test_a_class_that_is_hardly_more_probable_than_others_gives_no_name(metric, tmp_path):
    unsure = label_network(tmp_path / "unsure", {"wall": 0.1, "floor": 0.0, "ceiling": 0.0, "door": 0.0})
    wall = Wall()
    answer = open_source(f"hf:depth={metric},semantics={unsure}", wall, CONFIG).predict(wall[0])
    assert not answer.labels.any()
    assert 0.25 < answer.label_confidence[0, 0] < 0.3


def test_masks_of_classes_become_labels(metric, tmp_path):
    names = [c.name for c in load_label_space("ade20k").classes[1:]]
    masks = mask_network(tmp_path / "masks", names)
    wall = Wall()
    source = open_source(f"hf:semantics={masks}", wall, CONFIG)
    answer = source.predict(wall[0])
    assert (answer.labels.shape, answer.labels.dtype, answer.depth) == ((60, 80), np.uint8, None)
    assert 0 < answer.label_confidence.max() <= 1
    named = answer.labels > 0
    assert (named == (answer.label_confidence >= 0.5)).all()


def test_relative_depth_is_to_be_fitted_and_a_licence_to_be_read(relative):
    wall = Wall()
    source = open_source(f"hf:depth={relative}", wall, CONFIG)
    assert source.depth_from is DepthOrigin.FITTED
    assert source.label_space is None
    assert "has the licence cc-by-nc-4.0: see what it allows" in source.notes[0]
    answer = source.predict(wall[4])  # random weights: nothing of it is depth
    assert not answer.depth.any()
    assert "gives no depth" in source.notes[-1]
    as_metres = open_source(f"hf:depth={relative},kind=metric", wall, CONFIG)
    assert as_metres.depth_from is DepthOrigin.NETWORK
    assert as_metres.fingerprint != source.fingerprint


def test_the_known_focal_length_replaces_a_guessed_one():
    """Depth Pro: depth in metres is the focal length in pixels over the width, over what the network says."""
    import torch
    from transformers import DepthProImageProcessor

    found = HubDepth(SimpleNamespace(name="pro", model_type="depth_pro"))
    network = found.network
    network._processor = DepthProImageProcessor()
    said = SimpleNamespace(predicted_depth=torch.full((1, 8, 8), 0.5), field_of_view=torch.tensor([20.0]))
    network._model = lambda **inputs: said
    network._model = SimpleNamespace(device="cpu")
    network.__class__ = type("Answering", (type(network),), {"__call__": lambda self, rgb: said})
    camera = Intrinsics(60.0, 60.0, 39.5, 29.5, 80, 60)
    depth = found(np.zeros((60, 80, 3), np.uint8), camera)
    np.testing.assert_allclose(depth, 60 / 80 / 0.5, rtol=1e-4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hf:", "expected depth=NAME, semantics=NAME or both"),
        ("hf:depth", "expected NAME=VALUE"),
        ("hf:labels={chairs}", "one of depth, semantics, normals, kind, space"),
        ("hf:depth={metric},kind=inverse", "kind=inverse: expected one of metric, disparity, relative"),
        ("hf:semantics={chairs},space=ade", "space=ade: expected one of nyu40, ade20k"),
        ("hf:depth=/none/of/these", "neither a folder nor a name of the hub"),
        ("hf:depth={empty}", "has no config.json"),
        ("hf:depth={config_only}", "has no weights as safetensors"),
        ("hf:depth={chairs}", "what depth segformer gives is not known; add kind=metric"),
        ("hf:semantics={unnamed}", "has no names of classes; add space=NAME"),
        ("hf:semantics={elsewhere}", r"none of its classes is in NYU40 \(forklift, pallet"),
    ],
)
def test_refused(spec, message, metric, chairs, tmp_path):
    places = {"metric": metric, "chairs": chairs, "empty": tmp_path}
    if "{config_only}" in spec:
        places["config_only"] = tmp_path / "config_only"
        places["config_only"].mkdir()
        (places["config_only"] / "config.json").write_text('{"model_type": "dpt"}')
    if "{unnamed}" in spec:
        places["unnamed"] = label_network(tmp_path / "unnamed", {"LABEL_0": 1.0, "LABEL_1": 0.0})
    if "{elsewhere}" in spec:
        places["elsewhere"] = label_network(tmp_path / "elsewhere", {"forklift": 1.0, "pallet": 0.0})
    with pytest.raises(SourceError, match=message):
        open_source(spec.format(**places), Wall(), CONFIG)


def test_networks_for_something_else_are_refused_when_they_are_asked(chairs, tmp_path):
    import transformers as hub

    wall = Wall()
    source = open_source(f"hf:depth={chairs},kind=metric", wall, CONFIG)
    with pytest.raises(SourceError, match="cannot be loaded by AutoModelForDepthEstimation"):
        source.predict(wall[0])
    folder = tmp_path / "encoder"
    config = hub.SegformerConfig.from_pretrained(chairs)
    hub.SegformerModel(config).save_pretrained(folder)
    config.save_pretrained(folder)
    hub.SegformerImageProcessor().save_pretrained(folder)
    source = open_source(f"hf:semantics={folder}", wall, CONFIG)
    with pytest.raises(SourceError, match=r"has no weights for \d+ parts .* it was trained for something else"):
        source.predict(wall[0])


def test_what_is_not_in_the_cache_names_a_way_without_connection(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match=r"cannot be downloaded .* `hf download nobody/nothing` on another machine"):
        find_checkpoint("nobody/nothing@" + 40 * "0")


def test_axes_of_normals_are_told_by_depth():
    own = np.random.default_rng(0).normal(size=(60, 80, 3)) * (1, 1, 0.3) - (0, 0, 1)
    own = (own / np.linalg.norm(own, axis=-1, keepdims=True)).astype(np.float32)
    as_opengl = own * np.array([1, -1, -1], np.float32)
    np.testing.assert_array_equal(axes_of([(as_opengl, own)]), [1, -1, -1])
    noise = np.roll(own, 17, axis=0) * np.array([1, 1, 0], np.float32)
    assert axes_of([(noise, own)]) is None
    disparity = 0.7 / Wall().depth(0) + 0.2
    grows = np.corrcoef(like_depth(disparity.astype(np.float32)).ravel(), Wall().depth(0).ravel())
    assert grows[0, 1] > 0.9


@pytest.mark.slow
def test_from_images_to_a_map_without_any_connection(images_only, metric, tmp_path):
    """The whole way by the command line, in a namespace without any network where that is allowed, else with the hub told to stay
    offline."""
    labels = label_network(tmp_path / "walls", {"wall": 4.0, "floor": 0.0})
    out = tmp_path / "run"
    spec = f"hf:depth={metric},semantics={labels}"
    alone = shutil.which("unshare") and not subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True).returncode
    command = [
        *(WITHOUT_NETWORK if alone else ()),
        sys.executable,
        "-m",
        "pipelines",
        "graph",
        images_only,
        "--out",
        out,
    ]
    command += ["--source", spec, "--refine", "none", "--range", "0:5", "--voxel", "0.08", "--up", "0,0,1", "-q"]
    environment = os.environ | {"HF_HUB_OFFLINE": "" if alone else "1"}  # nothing may rely on being told
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
    assert (result.returncode, result.stderr) == (0, "")
    from pipelines.workspace import Workspace, load_graph

    manifest = Workspace.open(out).manifest
    assert [network["licence"] for network in manifest["networks"]] == ["apache-2.0", "apache-2.0"]
    assert manifest["networks"][0]["name"] == str(metric)
    assert manifest["stages"]["align"]["summary"]["applied"] is True
    assert len(list((out / "predictions").glob("*.npz"))) == 5
    assert load_graph(out).label_space == NYU40
