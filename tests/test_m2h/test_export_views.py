"""Exported networks with cross-view matching answer as in torch, with neighbours and a hint and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import plain_network, random_images, relative_error

from m2h.backends import ExportedNetwork, open_exported
from m2h.camera import Camera
from m2h.checkpoint import save_checkpoint
from m2h.config import CrossViewConfig
from m2h.infer import DepthHint, InferenceConfig, Predictor
from m2h.model import M2H, M2HConfig, Neighbours, build_model
from m2h.record import CheckpointError, CheckpointRecord, Preprocessing
from m2h.views import View, projection

pytestmark = pytest.mark.slow

SIZE = (56, 80)  # padded by 4 rows and 8 columns on either side
CAMERA = Camera(80.0, 80.0, 39.5, 27.5)
RUNTIMES = ["onnxruntime", "openvino", "openvino-xml"]
MOST = 3


@pytest.fixture(scope="module")
def model() -> M2H:
    torch.manual_seed(0)
    cross = CrossViewConfig(channels=8, planes=12, widths=(16, 16, 16, 16))
    config = replace(M2HConfig.cross(classes=7), channels=16, head_channels=(8,), cross_view=cross)
    return plain_network.roughen(build_model(config)).eval()


@pytest.fixture(scope="module")
def checkpoint(model: M2H, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as a checkpoint, and next to it exported to ONNX and to OpenVINO's format."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    from m2h.export import export_onnx, export_openvino

    preprocessing = Preprocessing(policy="fit", size=SIZE)
    record = CheckpointRecord(config=model.config, preprocessing=preprocessing, focal=80.0)
    path = tmp_path_factory.mktemp("export") / "cross.safetensors"
    save_checkpoint(path, model, record)
    export_onnx(model, record, path.with_suffix(".onnx"), neighbours=MOST)
    export_openvino(path.with_suffix(".onnx"), path.with_suffix(".xml"))
    return path


def opened(checkpoint: Path, runtime: str) -> ExportedNetwork:
    runtime, _, xml = runtime.partition("-")
    pytest.importorskip(runtime)
    network, _ = open_exported(checkpoint.with_suffix(".xml" if xml else ".onnx"), runtime, threads=1)
    assert isinstance(network, ExportedNetwork)
    return network


def shifted(number: int) -> np.ndarray:
    T = np.eye(4)
    T[:3, 3] = [0.1 + 0.2 * number, 0.02, 0.01]
    return T


def neighbours_of(model: M2H, count: int) -> Neighbours:
    """As many neighbours of one image as images [1, N, 3, H, W]; the last is not valid where there are several."""
    rows = np.stack([projection(CAMERA, CAMERA, shifted(number), 1.0) for number in range(count)])
    valid = torch.ones(1, count, dtype=torch.bool)
    valid[:, 1:] = False
    return Neighbours(random_images(count, *SIZE, seed=3)[None], torch.from_numpy(rows).float()[None], valid)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert relative_error(found[name], value) < 1e-3, name


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_exported_networks_agree_with_neighbours_and_hint(model: M2H, checkpoint: Path, runtime: str) -> None:
    network, images = opened(checkpoint, runtime), random_images(1, *SIZE)
    hint = torch.zeros(1, 2, *SIZE)
    hint[:, 0, 10:40, 10:60], hint[:, 1, 10:40, 10:60] = 1.7, 0.8
    with torch.inference_mode():
        features = model.match(images)
        assert relative_error(network.match(images), features) < 1e-3
        for count in (0, 1, MOST):
            neighbours = neighbours_of(model, count) if count else None
            for shown in (None, hint):
                expected = model(images, neighbours, shown)
                assert_same(network(images, model.config.tasks, neighbours, shown), expected)
    assert list(network(images, ("depth",))) == ["depth", "depth_error"]
    assert list(network(images, ("edges",))) == ["edges"]


def test_features_and_batches_do_as_well_as_single_images(model: M2H, checkpoint: Path) -> None:
    network, images = opened(checkpoint, "openvino"), random_images(2, *SIZE)
    one = neighbours_of(model, 2)
    neighbours = Neighbours(*(torch.cat([x, x.flip(1)]) for x in one))
    with torch.inference_mode():
        expected = model(images, neighbours)
        features = network.match(neighbours.views.flatten(0, 1)).unflatten(0, (2, 2))
        assert relative_error(features, model.match(neighbours.views.flatten(0, 1)).unflatten(0, (2, 2))) < 1e-3
    assert_same(network(images, model.config.tasks, neighbours._replace(views=features)), expected)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_predictors_give_exported_networks_neighbours_and_hints(checkpoint: Path, suffix: str) -> None:
    config = InferenceConfig(device="cpu", keep_memory=False)
    torch_predictor = Predictor.from_checkpoint(checkpoint, config)
    predictor = Predictor.from_checkpoint(checkpoint.with_suffix(suffix), config)
    rng = np.random.default_rng(0)
    size = (84, 120)
    camera = CAMERA.resized(1.5, 1.5)
    views = [View(rng.integers(0, 255, (*size, 3), dtype=np.uint8), camera, shifted(i)) for i in range(MOST + 1)]
    hint = DepthHint(np.full(size, 1.3, np.float32), np.full(size, 0.5, np.float32))
    assert predictor.sees_neighbours
    depths = []
    for count, shown in ((0, None), (2, None), (MOST, hint)):
        found, expected = (
            p.predict_view(views[0], [p.match(view) for view in views[1 : 1 + count]], shown)
            for p in (predictor, torch_predictor)
        )
        for name, value in vars(expected).items():
            if name in ("depth", "confidence", "normals", "edges", "label_confidence"):
                np.testing.assert_allclose(getattr(found, name), value, rtol=1e-3, atol=1e-3)
        depths.append(found.depth)
    assert np.abs(depths[1] - depths[0]).max() > 1e-3
    assert np.abs(depths[2] - depths[1]).max() > 1e-3


def test_what_was_not_exported_is_refused(model: M2H, checkpoint: Path, tmp_path: Path) -> None:
    network, images = opened(checkpoint, "openvino"), random_images(1, *SIZE)
    with pytest.raises(CheckpointError, match="exported for up to 3 neighbours, got 4"):
        network(images, ("depth",), neighbours_of(model, MOST + 1))
    with pytest.raises(CheckpointError, match=r"exported for images of \[3, 56, 80\]"):
        network.match(random_images(1, 64, 80))


def test_files_of_before_without_neighbours_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    proto = onnx.load(str(checkpoint.with_suffix(".onnx")))
    for entry in proto.metadata_props:
        if entry.key == "m2h_tasks":
            entry.value = '["depth", "semantics", "normals", "edges"]'
    onnx.save(proto, str(tmp_path / "old.onnx"))
    with pytest.raises(CheckpointError, match=r"old.onnx: exported without neighbours and hints"):
        open_exported(tmp_path / "old.onnx", "onnxruntime")
