"""What features of images, and depth, say of the times of poses, of the focal length and of the scale of depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pipelines.checks.depth_matches import depth_matches
from pipelines.checks.depth_scale import DepthScale, error_at, measure_depth_scale, scale_by_depth
from pipelines.checks.focal import FocalLength, measure_focal_length
from pipelines.checks.matches import MatchedPair
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.timing import TimeOffset, measure_time_offset


class MeasuredInput(NamedTuple):
    """An offset of the poses' times, else the focal length and the scale of depth; None where nothing tells."""

    offset: TimeOffset | None = None
    focal: FocalLength | None = None
    scale: DepthScale | None = None


def measured_by_images(sampler: FrameSampler, matches: Sequence[MatchedPair], *, metric: bool) -> MeasuredInput:
    """By features of the images."""
    offset = measure_time_offset(matches, sampler.used_infos)
    if offset is not None:
        return MeasuredInput(offset)
    focal = measure_focal_length(matches)
    return MeasuredInput(None, focal, measure_depth_scale(sampler, matches, focal) if metric else None)


def measured_by_depth(sampler: FrameSampler, by_images: MeasuredInput) -> MeasuredInput:
    """The same by the depth of frames too: bare rooms have few features, and an offset shows in depth of all pixels."""
    pairs = depth_matches(sampler)
    offset = measure_time_offset(pairs, sampler.used_infos)
    if offset is not None:
        return MeasuredInput(offset)
    if by_images.focal is not None:
        unknown = by_images.scale is None and not by_images.focal.is_wrong
        return by_images._replace(scale=scale_by_depth(pairs) if unknown else by_images.scale)
    focal, scale = measure_focal_length(pairs), by_images.scale or scale_by_depth(pairs)
    if focal is None or not focal.is_wrong:
        return MeasuredInput(None, focal, scale)
    # Each explains some of what the other one does: the better explanation counts.
    by_scale = scale is not None and error_at(pairs, scale) < focal.error_found
    return MeasuredInput(None, None, scale) if by_scale else MeasuredInput(None, focal)
