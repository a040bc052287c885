"""A run with a network as its source: predictions are stored once and reused, and images alone are enough."""

from pathlib import Path

import pytest
import torch
from network_helpers import tiny_model

import m2h.weights
from m2h.checkpoint import save_checkpoint
from m2h.infer import Predictor
from m2h.record import CheckpointRecord, Preprocessing
from m2h.weights import DEFAULT_NAME, WeightsError
from pipelines import open_sequence, run
from pipelines.config import config_from_mapping
from pipelines.settings import PipelineConfig
from pipelines.sources.source import open_source


def write_checkpoint(path: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    model = tiny_model()
    record = CheckpointRecord(config=model.config, preprocessing=Preprocessing(policy="fit", size=(48, 64)), focal=50.0)
    save_checkpoint(path, model, record)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("weights") / f"{DEFAULT_NAME}.safetensors")


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """Grows by one for each image that a network is asked about."""
    calls: list[int] = []
    answer = Predictor.__call__

    def count(self, *args, **kwargs):
        calls.append(len(calls))
        return answer(self, *args, **kwargs)

    monkeypatch.setattr(Predictor, "__call__", count)
    return calls


def settings(**tsdf) -> PipelineConfig:
    return config_from_mapping(PipelineConfig, {"frames": {"stride": 6}, "tsdf": {"voxel_size": 0.1, **tsdf}}, "test")


def test_answers_are_stored_once(images_only, checkpoint, tmp_path, asked):
    sequence, source = open_sequence(str(images_only)), f"m2h:{checkpoint}"
    manifest = run(sequence, tmp_path, source=source, config=settings(), until="fuse")
    frames = len(asked)
    assert frames == len(list((tmp_path / "predictions").glob("*.npz"))) == 5
    assert manifest["source"] == f"m2h:{checkpoint.name}"
    run(sequence, tmp_path, source=source, config=settings(voxel_size=0.15), until="fuse")
    assert len(asked) == frames  # another map, the same predictions
    write_checkpoint(checkpoint.with_name("other.safetensors"), seed=1)
    run(sequence, tmp_path, source=f"m2h:{checkpoint.with_name('other.safetensors')}", config=settings(), until="fuse")
    assert len(asked) == 2 * frames


@pytest.mark.slow
def test_a_random_network_comes_to_a_report(images_only, checkpoint, tmp_path):
    """For any network output, the pipeline ends with its files."""
    run(open_sequence(str(images_only)), tmp_path, source=f"m2h:{checkpoint}", config=settings())
    for name in ("mesh.ply", "scene_graph.json", "report.html"):
        assert (tmp_path / name).is_file()


def test_images_without_depth_go_to_the_shipped_network(images_only, box_room, checkpoint, monkeypatch):
    monkeypatch.setattr(m2h.weights, "SHIPPED", checkpoint.parent)
    assert open_source("auto", open_sequence(str(images_only))).name == f"m2h:{DEFAULT_NAME}"
    assert open_source("m2h", open_sequence(str(images_only))).name == f"m2h:{DEFAULT_NAME}"
    assert open_source("auto", open_sequence(str(box_room))).name == "recorded"
    monkeypatch.setattr(m2h.weights, "SHIPPED", checkpoint.parent / "none")
    with pytest.raises(WeightsError, match=f"{DEFAULT_NAME}: neither a file nor a checkpoint's name"):
        open_source("m2h", open_sequence(str(images_only)))


def test_weights_under_the_same_name_are_other_weights(images_only, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(m2h.weights, "SHIPPED", tmp_path)
    fingerprints = []
    for seed in (0, 1):
        write_checkpoint(tmp_path / f"{DEFAULT_NAME}.safetensors", seed)
        fingerprints.append(open_source("m2h", open_sequence(str(images_only))).fingerprint)
    assert fingerprints[0] != fingerprints[1]
