"""A predictor with a detector: where its boxes come to lie, and when it is asked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pytest
import torch

from m2h.detection.detector import Detections
from m2h.detection.nanodet import CLASSES
from m2h.infer import InferenceConfig, Predictor
from m2h.model import M2HConfig
from m2h.record import CheckpointRecord, Preprocessing

WALL, CHAIR = 1, 5
IMAGE = np.zeros((60, 80, 3), np.uint8)
RECORD = CheckpointRecord(
    config=replace(M2HConfig.tiny(), tasks=("depth", "semantics"), classes=41),
    preprocessing=Preprocessing(policy="fit", size=(64, 64)),
    label_temperature=2.0,
)


class Unsure:
    """A network for which all is 2 m away, perhaps wall, perhaps chair."""

    has_fixed_size = True

    def __call__(self, images: torch.Tensor, tasks: Collection[str]) -> dict[str, torch.Tensor]:
        batch, _, height, width = images.shape
        logits = torch.full((batch, 41, height, width), -16.0)
        logits[:, WALL] = 0.5
        logits[:, CHAIR] = 0.0
        outputs = {"depth": torch.full((batch, 1, height, width), 2.0), "semantics": logits}
        return {task: outputs[task] for task in outputs if task in tasks}


class ChairOnTheRight:
    """Sees a chair in the right half of an image."""

    asked = 0

    def __call__(self, rgb: np.ndarray, least: float) -> Detections:
        self.asked += 1
        height, width = rgb.shape[:2]
        boxes = np.array([[width / 2, 0, width, height]], np.float32)
        return Detections(boxes, np.array([0.8], np.float32), np.array([CLASSES.index("chair")]))


def test_a_box_changes_the_labels_of_its_pixels() -> None:
    detector = ChairOnTheRight()
    found = Predictor(Unsure(), RECORD, None, detector)(IMAGE)  # type: ignore[arg-type]
    assert found.labels is not None
    assert (found.labels[:, 41:] == CHAIR).all()
    assert (found.labels[:, :39] == WALL).all()
    assert detector.asked == 1
    alone = Predictor(Unsure(), RECORD)(IMAGE)  # type: ignore[arg-type]
    assert (alone.labels == WALL).all()
    np.testing.assert_allclose(found.label_confidence[:, :39], alone.label_confidence[:, :39], atol=1e-5)  # type: ignore[index]


@pytest.mark.parametrize("tasks", [("depth",), ("semantics",)])
def test_it_is_not_asked_without_depth_and_labels(tasks: tuple[str, ...]) -> None:
    detector = ChairOnTheRight()
    Predictor(Unsure(), RECORD, InferenceConfig(tasks=tasks), detector)(IMAGE)  # type: ignore[arg-type]
    assert detector.asked == 0


def test_other_label_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="labels must be nyu40, got ade20k"):
        Predictor(Unsure(), replace(RECORD, label_space="ade20k"), None, ChairOnTheRight())  # type: ignore[arg-type]
