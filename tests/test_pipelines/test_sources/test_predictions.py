"""Predictions are stored without loss, and invalid files are rejected by name."""

import numpy as np
import pytest

from m2h import Predictions
from pipelines.sources.predictions import (
    PredictionError,
    prediction_path,
    read_predictions,
    stored_frames,
    write_predictions,
)


def make_predictions(rng):
    normals = rng.normal(size=(6, 8, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[0, 0] = 0
    return Predictions(
        depth=rng.uniform(0.5, 4, (6, 8)).astype(np.float32),
        labels=rng.integers(0, 41, (6, 8)).astype(np.uint8),
        normals=normals.astype(np.float32),
        confidence=rng.random((6, 8)).astype(np.float32),
        instances=rng.integers(0, 9, (6, 8)).astype(np.uint16),
    )


def test_round_trip(tmp_path):
    before = make_predictions(np.random.default_rng(0))
    write_predictions(tmp_path, 12, before)
    after = read_predictions(prediction_path(tmp_path, 12))
    np.testing.assert_array_equal(after.depth, before.depth)
    np.testing.assert_array_equal(after.labels, before.labels)
    np.testing.assert_array_equal(after.instances, before.instances)
    np.testing.assert_allclose(after.normals, before.normals, atol=1e-3)
    np.testing.assert_allclose(after.confidence, before.confidence, atol=1e-3)
    assert after.edges is None
    assert not after.normals[0, 0].any()


def test_what_a_killed_process_left_is_no_frame(tmp_path):
    write_predictions(tmp_path, 12, make_predictions(np.random.default_rng(0)))
    for name in (".m2h-1-0123abcd.npz", ".000001-1234.npz", "000001.npz.part"):
        (tmp_path / name).write_bytes(b"half")
    assert stored_frames(tmp_path) == [12]


def test_rejections(tmp_path):
    with pytest.raises(PredictionError, match=r"000003\.npz: is missing"):
        read_predictions(prediction_path(tmp_path, 3))
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(PredictionError, match=r"a\.npz: not readable"):
        read_predictions(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", disparity=np.zeros((2, 2), np.float32))
    with pytest.raises(PredictionError, match="unknown array 'disparity'"):
        read_predictions(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", depth=np.zeros((2, 2), np.float32), labels=np.zeros((3, 2), np.uint8))
    with pytest.raises(PredictionError, match=r"labels must be"):
        read_predictions(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", depth=np.array([{"code": 1}], dtype=object))
    with pytest.raises(PredictionError, match=r"d\.npz: depth: .* Python objects, which are not read"):
        read_predictions(tmp_path / "d.npz")
