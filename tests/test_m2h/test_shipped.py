"""The checkpoint that comes with the package: small, says what it is, and answers with neighbours and without."""

import numpy as np

from m2h.camera import Camera
from m2h.infer import Predictor
from m2h.views import View
from m2h.weights import DEFAULT_NAME, SHIPPED, known_names, resolve_weights

CAMERA = Camera(75.0, 75.0, 39.5, 29.5)


def test_the_record_says_what_it_is() -> None:
    path, record = resolve_weights(DEFAULT_NAME)
    assert path.parent == SHIPPED
    assert known_names()[0] == DEFAULT_NAME
    assert path.stat().st_size < 25e6
    assert record.config.cross_view is not None
    assert record.label_space == "nyu40"
    assert record.focal is not None
    assert record.licence
    assert "EfficientNet-Lite0" in record.source
    assert "Apache-2.0" in record.source
    assert "rendered" in record.trained_on
    assert "%" in record.notes
    assert record.calibrated_on
    assert record.label_threshold >= 0.5


def test_it_answers_all_four_questions() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    predictor = Predictor.from_checkpoint(DEFAULT_NAME)
    moved = np.eye(4)
    moved[0, 3] = 0.2
    matched = [predictor.match(View(rgb, CAMERA, moved))]
    for seen in (predictor(rgb), predictor.predict_view(View(rgb, CAMERA, np.eye(4)), matched)):
        assert seen.depth is not None
        assert np.isfinite(seen.depth).all()
        assert 0.3 < float(np.median(seen.depth)) < 10
        for name in ("labels", "normals", "edges", "confidence"):
            assert getattr(seen, name).shape[:2] == (60, 80)
