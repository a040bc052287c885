"""Evaluation: a perfect predictor scores perfectly, a wrong one by as much as it is wrong; both protocols by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from network_helpers import tiny_model
from training_helpers import write_world

from m2h.checkpoint import save_checkpoint
from m2h.data import open_dataset
from m2h.evaluate import evaluate, evaluate_checkpoint
from m2h.infer import Predictor
from m2h.predictions import Predictions
from m2h.record import CheckpointRecord


class Oracle(Predictor):
    """Gives the truth of the image it is shown, its depth off by a factor."""

    def __init__(self, path: Path, factor: float = 1.0) -> None:
        self.tasks = ("edges", "normals", "semantics", "depth")
        self.truth = [open_dataset(f"folder:{path}")[i] for i in range(3)]
        self.factor = factor

    def __call__(self, rgb: np.ndarray, intrinsics: object = None) -> Predictions:
        sample = next(s for s in self.truth if np.array_equal(s.rgb, rgb))
        assert intrinsics.width == rgb.shape[1]  # type: ignore[attr-defined]
        assert sample.depth is not None
        return Predictions(sample.depth * np.float32(self.factor), sample.labels, None, sample.normals, sample.edges)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_world(tmp_path_factory.mktemp("evaluate") / "world", 3)


def test_truth_scores_perfectly(world: Path) -> None:
    told: list[tuple[int, int]] = []
    scores = evaluate(Oracle(world), open_dataset(f"folder:{world}"), progress=lambda *x: told.append(x))
    assert scores["rmse"] == scores["abs_rel"] == 0
    assert scores["miou"] == scores["pixel_accuracy"] == scores["delta_1"] == 1
    assert scores["normal_mean_deg"] == pytest.approx(0, abs=0.01)
    assert scores["edge_ods_f"] == pytest.approx(1, abs=0.05)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_scale_error_shows_as_such(world: Path) -> None:
    scores = evaluate(Oracle(world, 1.1), open_dataset(f"folder:{world}"), tasks=("depth",), limit=2)
    assert scores["abs_rel"] == pytest.approx(0.1)
    assert scores["silog"] == pytest.approx(0, abs=1e-3)
    assert "miou" not in scores


def test_protocols_differ_as_they_should(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one image a batch, the per-batch RMSE is the mean of the images' RMSEs; the field's is over all pixels."""
    monkeypatch.setattr("m2h.evaluate.BATCH", 1)
    oracle, dataset = Oracle(world, 1.2), open_dataset(f"folder:{world}")
    errors = [0.2 * s.depth.astype(np.float64) for s in oracle.truth if s.depth is not None]
    each = [np.sqrt(np.mean(e**2)) for e in errors]
    per_batch = evaluate(oracle, dataset, tasks=("depth",), protocol="per-batch")
    field = evaluate(oracle, dataset, tasks=("depth",))
    assert per_batch["rmse"] == pytest.approx(np.mean(each), rel=1e-4)
    assert field["rmse"] == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)), rel=1e-4)


def test_checkpoints_are_measured_on_addresses(world: Path, tmp_path: Path) -> None:
    model = tiny_model(classes=41)
    save_checkpoint(tmp_path / "a.safetensors", model, CheckpointRecord(config=model.config))
    scores = evaluate_checkpoint(tmp_path / "a.safetensors", f"folder:{world}", limit=1)
    assert {"rmse", "miou", "normal_mean_deg", "edge_ods_f"} <= scores.keys()
    other = CheckpointRecord(config=model.config, label_space="cityscapes19")
    save_checkpoint(tmp_path / "b.safetensors", model, other)
    with pytest.raises(ValueError, match=r"label space cityscapes19, .* has nyu40"):
        evaluate_checkpoint(tmp_path / "b.safetensors", f"folder:{world}")
