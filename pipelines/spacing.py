"""Which frames are apart: of a recording at many frames a second most show what the one before shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipelines.frame import FrameInfo, FrameSequence
from pipelines.settings import PipelineConfig, SpacingConfig

LONGEST_SIDE = 640
"""Pixels: twice the width that networks for rooms see, and a centimetre at 5 m."""


def positions_apart(infos: Sequence[FrameInfo], positions: Sequence[int], config: SpacingConfig) -> list[int]:
    """Of `positions` in order the sharpest of each stretch in which the camera hardly moves. Frames without a pose are omitted.

    A stretch begins with the first frame, and with each at which the camera has moved or turned, or time has passed, as `config`
    says since the stretch before began. Of images of one view that are compressed alike, blurred ones take fewer bytes: the
    largest file counts as the sharpest.
    """
    stretches: list[list[int]] = []
    least_cosine = np.cos(np.deg2rad(config.degrees))
    for position in positions:
        info = infos[position]
        if info.T_world_camera is None:
            continue
        if stretches:
            last = infos[stretches[-1][0]]
            assert last.T_world_camera is not None
            moved = float(np.linalg.norm(info.T_world_camera[:3, 3] - last.T_world_camera[:3, 3])) >= config.metres
            cosine = (np.sum(info.T_world_camera[:3, :3] * last.T_world_camera[:3, :3]) - 1) / 2
            if not moved and cosine > least_cosine and info.timestamp - last.timestamp < config.seconds:
                stretches[-1].append(position)
                continue
        stretches.append([position])
    return [_sharpest(infos, stretch) for stretch in stretches]


def _sharpest(infos: Sequence[FrameInfo], positions: Sequence[int]) -> int:
    """Of frames in order, those like the first one: in the same format and of the same size."""
    first = infos[positions[0]]

    def detail(position: int) -> int:
        info = infos[position]
        is_alike = Path(info.image).suffix == Path(first.image).suffix and info.intrinsics.is_like(first.intrinsics)
        return info.file_bytes if is_alike else -1

    return max(positions, key=detail)


def with_frames_decided(config: PipelineConfig, sequence: FrameSequence, *, is_costly: bool) -> PipelineConfig:
    """The settings with `auto` decided: where a source has to work for each frame and pixel, images are reduced, and frames are
    left out if the unit of the poses is known."""
    frames = config.frames
    if frames.longest_side == "auto":
        frames = replace(frames, longest_side=LONGEST_SIDE if is_costly else None)
    if frames.spacing.mode == "auto":
        scale = config.align.pose_scale or (1.0 if sequence.is_metric else None)
        spacing = replace(frames.spacing, mode="off")
        if is_costly and scale is not None:
            spacing = replace(spacing, mode="on", metres=spacing.metres / scale)
        frames = replace(frames, spacing=spacing)
    return replace(config, frames=frames)
