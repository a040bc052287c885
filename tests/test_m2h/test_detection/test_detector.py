"""Images to boxes in their own pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from m2h.detection.detector import Detections, Detector, load_detector, place_image
from m2h.preprocess import Preprocessing, place
from m2h.record import CheckpointError


class OneBox(torch.nn.Module):
    """Sees a chair with a score of 0.6 in the upper left quarter of its input, and another with 0.7 reaching beyond it."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.shape = tuple(images.shape)
        height, width = images.shape[-2:]
        scores = torch.zeros(1, 2, 80)
        scores[0, :, 56] = torch.tensor([0.6, 0.7])
        return torch.tensor([[[0.0, 0, width / 2, height / 2], [-9.0, -9, width + 9, height + 9]]]), scores


@pytest.mark.parametrize(
    ("shape", "canvas"), [((480, 640), (320, 416)), ((640, 360), (416, 256)), ((50, 50), (416, 416))]
)
def test_the_longer_side_has_416_pixels(shape: tuple[int, int], canvas: tuple[int, int]) -> None:
    placement = place_image(*shape)
    assert placement.canvas == canvas
    assert max(placement.scaled) == 416


@pytest.mark.parametrize("shape", [(480, 640), (640, 360), (50, 50)])
def test_boxes_are_in_pixels_of_the_image(shape: tuple[int, int]) -> None:
    network = OneBox()
    found = Detector(network, torch.device("cpu"))(np.zeros((*shape, 3), np.uint8), 0.5)  # type: ignore[arg-type]
    height, width = shape
    np.testing.assert_allclose(found.scores, [0.7, 0.6])
    np.testing.assert_allclose(found.boxes[0], [0, 0, width, height])
    np.testing.assert_allclose(found.boxes[1], [0, 0, width / 2, height / 2], atol=1e-3)
    assert found.classes.tolist() == [56, 56]
    assert network.shape[-2:] == place_image(*shape).canvas


def test_scores_below_the_least_are_omitted() -> None:
    detector = Detector(OneBox(), torch.device("cpu"))  # type: ignore[arg-type]
    image = np.zeros((30, 40, 3), np.uint8)
    assert len(detector(image, 0.65).scores) == 1
    assert detector(image, 0.8).boxes.shape == (0, 4)


def test_boxes_come_to_the_input_of_a_network() -> None:
    boxes = np.array([[10, 20, 30, 40]], np.float32)
    found = Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.int64))
    placement = place((100, 100), Preprocessing(policy="fit", size=(50, 80)))
    np.testing.assert_allclose(found.placed(placement).boxes, [[15 + 5, 10, 15 + 15, 20]])


def test_other_weights_are_refused(tmp_path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"stem.conv.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"other\.safetensors: not the weights of the detector"):
        load_detector(path)
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        load_detector(tmp_path / "none.safetensors")
