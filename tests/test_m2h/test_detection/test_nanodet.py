"""The detector in torch gives the numbers of the graph that its weights were converted from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors import safe_open

from m2h.detection.detector import DETECTOR, ORIGIN, load_detector
from m2h.detection.nanodet import CLASSES

GRAPH = {
    0: ((-6.555, -4.623, 21.831, 27.919), 0.015604),
    1000: ((71.438, 107.316, 126.483, 200.786), 0.020583),
    2703: ((394.505, 398.425, 417.156, 417.148), 0.03917),
    3000: ((136.965, 87.391, 218.958, 299.883), 0.048364),
    3400: ((61.57, -17.072, 398.407, 170.765), 0.036747),
    3548: ((270.298, 282.434, 527.152, 522.935), 0.016769),
}
"""By the number of a cell: its box and highest score for `waves`, by the TensorFlow.js graph of the npm package, computed node by
node."""
SUREST = (3464, "person", 0.28961)
"""The cell and class of the highest score."""


def waves() -> torch.Tensor:
    """A normalised RGB image [1, 3, 416, 416] without an object."""
    x = np.arange(416, dtype=np.float32)
    planes = [np.sin(0.05 * (k + 1) * x)[:, None] + np.cos(0.07 * (k + 1) * x)[None, :] for k in range(3)]
    return torch.from_numpy(np.stack(planes).astype(np.float32))[None]


def test_boxes_and_scores_are_those_of_the_graph() -> None:
    with torch.inference_mode():
        boxes, scores = load_detector(DETECTOR).eval()(waves())
    assert boxes.shape == (1, 52**2 + 26**2 + 13**2, 4)
    assert scores.shape == (1, 3549, 80)
    for cell, (box, score) in GRAPH.items():
        np.testing.assert_allclose(boxes[0, cell], box, atol=0.01)
        assert float(scores[0, cell].max()) == pytest.approx(score, abs=1e-5)
    cell, label = divmod(int(scores[0].argmax()), 80)
    assert (cell, CLASSES[label]) == SUREST[:2]
    assert float(scores.max()) == pytest.approx(SUREST[2], abs=1e-4)


def test_the_file_says_where_it_comes_from() -> None:
    with safe_open(DETECTOR, framework="np") as file:
        assert file.metadata() == {"origin": ORIGIN}
    assert DETECTOR.stat().st_size < 8e6
    notice = DETECTOR.with_suffix(".txt").read_text(encoding="utf-8")
    assert "Apache License, Version 2.0" in notice
    assert "Copyright (c) 2021 Vladimir Mandic" in notice
