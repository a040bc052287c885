"""The outputs of a perception model for one image. Plain numpy, so that geometry needs no network to be tested."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOOD_DEPTH = math.log(1.05)
"""Error of log depth within which depth counts as right: a network's `confidence` is the probability of that."""

LABELS = ("labels", "sampled_labels")
"""The fields with ids of a label space."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Per-pixel predictions at the image's own resolution; None for what the model does not say.

    depth (H, W) float32 metres along camera z, 0 unknown; labels (H, W) uint8 or uint16 ids of the label space, 0 unknown;
    label_confidence (H, W) float32 in [0, 1]; normals (H, W, 3) float32 in the camera frame towards the camera, 0 unknown;
    edges (H, W) float32 probability of an occlusion or crease edge; confidence (H, W) float32 in [0, 1], how far the depth
    is to be trusted: of a network with cross-view matching the probability that it is right, of a run's source the weight of
    the pixel in fusion; instances (H, W) uint16, 0 none; sampled_labels (H, W) uint8 or uint16, ids sampled with the
    probabilities of all labels, so that the share of a label among the pixels of a thing is its mean probability there.

    Raises ValueError that names the field, the expected and the actual shape or dtype.
    """

    depth: NDArray[np.float32] | None = None
    labels: NDArray[Any] | None = None
    label_confidence: NDArray[np.float32] | None = None
    normals: NDArray[np.float32] | None = None
    edges: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None
    instances: NDArray[np.uint16] | None = None
    sampled_labels: NDArray[Any] | None = None

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take."""
        return sum(array.nbytes for array in vars(self).values() if array is not None)

    def __post_init__(self) -> None:
        shape: tuple[int, ...] | None = None
        for name, array in vars(self).items():
            if array is None:
                continue
            shape = shape or array.shape[:2]
            expected = (*shape, 3) if name == "normals" else shape
            kinds = (np.uint8, np.uint16) if name in LABELS else (np.uint16,) if name == "instances" else (np.float32,)
            if array.shape != expected or array.dtype not in kinds:
                wanted = " or ".join(np.dtype(kind).name for kind in kinds)
                raise ValueError(f"Predictions.{name} must be {wanted} {expected}, got {array.dtype} {array.shape}")
