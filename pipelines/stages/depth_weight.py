"""The weight of the depth of each pixel in fusion, without what moves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.depth.depth_weights import depth_weight
from pipelines.settings import PipelineConfig
from pipelines.stages.context import PosedFrame
from scenegraph.labels import LabelSpace
from scenegraph.tracks.detector import widened


def weight_without_movers(
    frame: PosedFrame,
    *,
    config: PipelineConfig,
    label_space: LabelSpace | None,
    moving: NDArray[np.uint16] | None = None,
) -> NDArray[np.float32]:
    """(H, W) the weight of the depth of each pixel, 0 for what may move by its label or is `moving` (H, W)."""
    seen = frame.predictions
    weight = depth_weight(
        seen.depth,
        frame.intrinsics,
        normals=seen.normals,
        edges=seen.edges,
        confidence=seen.confidence,
        config=config.depth,
    )
    mask = np.zeros(weight.shape, dtype=bool) if moving is None else moving > 0
    if seen.labels is not None and label_space is not None:
        mask |= label_space.mask_of_kind("dynamic", seen.labels)
    dilate_px = round(config.dynamics.detection.dilation * frame.intrinsics.width)
    weight[widened(mask, dilate_px=dilate_px, depth=seen.depth)] = 0
    return weight
