"""Which of the optional stages do something: as the settings say, or by where depth and labels come from."""

from __future__ import annotations

from typing import Literal

from pipelines.settings import PipelineConfig
from pipelines.sources.source import DepthOrigin, Source

Mode = Literal["auto", "on", "off"]


def wants_alignment(config: PipelineConfig, source: Source) -> bool:
    """Whether depth is aligned: where its scale may differ from frame to frame, which what is found from poses has in common."""
    is_of_single_images = source.depth_from in (DepthOrigin.NETWORK, DepthOrigin.FITTED)
    may_differ = source.depth_from is not DepthOrigin.POSES and (is_of_single_images or source.is_refined)
    return _decided(config.align.mode, by_source=may_differ)


def wants_planes(config: PipelineConfig, source: Source) -> bool:
    """Whether depth is placed on planes: where depth and labels are both predicted."""
    return _decided(config.planes, by_source=source.predicts_labels and source.depth_from is not DepthOrigin.SENSOR)


def wants_motion(config: PipelineConfig, source: Source) -> bool:
    """Whether what moves is found without labels: where depth is measured."""
    setting = config.dynamics.motion
    return source.depth_from is DepthOrigin.SENSOR if setting is None else setting


def _decided(mode: Mode, *, by_source: bool) -> bool:
    """What a setting of on, off or auto says."""
    return by_source if mode == "auto" else mode == "on"
