"""Exported networks give the network's outputs, and carry its record."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import plain_network, random_images, relative_error, tiny_model

from m2h.backends import open_exported, read_onnx_metadata, require
from m2h.infer import Predictor
from m2h.model import M2HConfig, build_model
from m2h.record import CheckpointError, CheckpointRecord, Preprocessing

SIZE = (40, 72)


def test_metadata_is_read_without_a_runtime(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.ModelProto(ir_version=10)
    onnx.helper.set_model_props(model, {"a": "1", "b": "zwei ä"})
    onnx.save(model, str(tmp_path / "a.onnx"))
    assert read_onnx_metadata(tmp_path / "a.onnx") == {"a": "1", "b": "zwei ä"}
    (tmp_path / "b.onnx").write_bytes(b"\xff\xff\xff")
    with pytest.raises(CheckpointError, match=r"b.onnx: not an ONNX file"):
        read_onnx_metadata(tmp_path / "b.onnx")


def test_missing_packages_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="pip install no_such_package"):
        require("no_such_package")
    with pytest.raises(CheckpointError, match="file is missing"):
        open_exported(tmp_path / "none.onnx")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CheckpointRecord]:
    pytest.importorskip("onnxscript")
    from m2h.export import export_onnx

    torch.set_num_threads(2)
    model = tiny_model()
    record = CheckpointRecord(config=model.config, preprocessing=Preprocessing(size=SIZE))
    path = tmp_path_factory.mktemp("export") / "tiny.onnx"
    export_onnx(model, record, path)
    return path, record


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "openvino-xml"])
def test_exported_networks_agree(exported: tuple[Path, CheckpointRecord], runtime: str) -> None:
    path, record = exported
    pytest.importorskip(runtime.partition("-")[0])
    if runtime == "openvino-xml":
        from m2h.export import export_openvino

        export_openvino(path, path.with_suffix(".xml"))
        path, runtime = path.with_suffix(".xml"), "openvino"
    network, read = open_exported(path, runtime)
    assert read == record
    model, images = tiny_model(), random_images(2, *SIZE)
    outputs = network(images, record.config.tasks)
    with torch.inference_mode():
        for task, expected in model(images).items():
            assert relative_error(outputs[task], expected) < 1e-3
    assert list(network(images, ("edges",))) == ["edges"]
    with pytest.raises(CheckpointError, match=r"exported for images of \[3, 40, 72\]"):
        network(random_images(1, 56, 72), ("edges",))
    with pytest.raises(CheckpointError, match="sees one image at a time"):
        network.match(images)
    with pytest.raises(CheckpointError, match="sees one image at a time"):
        network(images, ("edges",), hint=torch.zeros(2, 2, *SIZE))


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("onnxscript"), reason="onnxscript is not installed")
def test_predictors_open_exported_networks(exported: tuple[Path, CheckpointRecord]) -> None:
    pytest.importorskip("onnxruntime")
    predictions = Predictor.from_checkpoint(exported[0])(np.zeros((50, 60, 3), np.uint8))
    assert predictions.depth is not None
    assert predictions.depth.shape == (50, 60)


EXPORTED_SIZES = [(1, 224, 224), (2, 225, 301), (1, 97, 131)]


@pytest.mark.full
@pytest.mark.parametrize("size", EXPORTED_SIZES, ids=lambda size: f"{size[1]}x{size[2]}")
@pytest.mark.parametrize("variant", ["light", "full"])
def test_exported_published_networks_agree(variant: str, size: tuple[int, int, int], tmp_path: Path) -> None:
    """The published networks as exported files against torch, at sizes that are whole patches and that are not."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    from m2h.export import export_onnx

    torch.set_num_threads(2)
    model = plain_network.roughen(build_model(M2HConfig.published(variant)))
    record = CheckpointRecord(config=model.config, preprocessing=Preprocessing(size=size[1:]))
    export_onnx(model, record, tmp_path / "published.onnx")
    network, _ = open_exported(tmp_path / "published.onnx", "openvino")
    images = random_images(*size)
    with torch.inference_mode():
        expected = model(images)
    outputs = network(images, record.config.tasks)
    for task, value in expected.items():
        assert outputs[task].shape == value.shape
        assert relative_error(outputs[task], value) < 1e-3, task


def test_sizes_must_agree_with_the_preprocessing(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from m2h.export import export_onnx

    model = tiny_model()
    record = CheckpointRecord(config=model.config, preprocessing=Preprocessing(size=SIZE))
    with pytest.raises(CheckpointError, match="inputs of 40x72"):
        export_onnx(model, record, tmp_path / "a.onnx", size=(48, 48))
    native = replace(record, preprocessing=Preprocessing(policy="native", size=None))
    with pytest.raises(CheckpointError, match="give the height and width"):
        export_onnx(model, native, tmp_path / "a.onnx")
