"""The checkpoint that comes with the package: small, said what it is, and one that answers."""

import numpy as np

from m2h.infer import Predictor
from m2h.weights import DEFAULT_NAME, SHIPPED, known_names, resolve_weights


def test_the_record_says_what_it_is() -> None:
    path, record = resolve_weights(DEFAULT_NAME)
    assert path.parent == SHIPPED
    assert known_names()[0] == DEFAULT_NAME
    assert path.stat().st_size < 10e6
    assert record.label_space == "nyu40"
    assert record.focal is not None
    assert record.licence
    assert "synthetic" in record.trained_on
    assert "unseen" in record.notes
    assert {"abs_rel", "miou", "normal_mean_deg", "edge_ods_f"} <= record.metrics.keys()


def test_it_answers_all_four_questions() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    seen = Predictor.from_checkpoint(DEFAULT_NAME)(rgb)
    assert seen.depth is not None
    assert np.isfinite(seen.depth).all()
    assert 0.3 < float(np.median(seen.depth)) < 10
    for name in ("labels", "normals", "edges"):
        assert getattr(seen, name).shape[:2] == (60, 80)
