"""Predicted labels of floor where no floor can be: on tables, counters and cupboards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.camera import Intrinsics
from scenegraph.rooms.storeys import is_raised


def without_raised_floor(
    predictions: Predictions, camera: Intrinsics, T_world_camera: NDArray[np.float64], floor_ids: Sequence[int]
) -> Predictions:
    """The predictions with labels of `floor_ids` taken as unknown where depth in metres is at a height that `is_raised`, for a
    camera with a pose (4, 4) in a levelled world whose lowest floor is at z = 0."""
    labels, depth = predictions.labels, predictions.depth
    if labels is None or depth is None:
        return predictions
    rows, columns = np.nonzero(np.isin(labels, floor_ids) & (depth > 0))
    rays = camera.pixel_rays(np.stack([columns, rows], axis=1).astype(np.float64))
    heights = (rays / rays[:, 2:]) @ T_world_camera[2, :3] * depth[rows, columns] + T_world_camera[2, 3]
    raised = is_raised(heights)
    if not raised.any():
        return predictions
    at = rows[raised], columns[raised]
    kept = labels.copy()
    kept[at] = 0
    confidence = predictions.label_confidence
    if confidence is not None:
        confidence = confidence.copy()
        confidence[at] = 0
    return replace(predictions, labels=kept, label_confidence=confidence)
