"""What features of images, and depth, say of the times of poses, of the camera and of the scale of depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.checks.camera_fit import CameraFit, measure_camera
from pipelines.checks.depth_matches import depth_matches
from pipelines.checks.depth_scale import DepthScale, error_at, measure_depth_scale, scale_by_depth
from pipelines.checks.focal import FocalLength, measure_focal_length
from pipelines.checks.matches import MatchedPair
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.timing import TimeOffset, measure_time_offset


class MeasuredInput(NamedTuple):
    """An offset of the poses' times, else the scale of depth and the focal length, or the camera where no focal length makes it
    fit; None where nothing tells. `seen` are the matches as that camera has them."""

    offset: TimeOffset | None = None
    focal: FocalLength | None = None
    scale: DepthScale | None = None
    camera: CameraFit | None = None
    seen: Sequence[MatchedPair] = ()


def measured_by_images(sampler: FrameSampler, matches: Sequence[MatchedPair], *, metric: bool) -> MeasuredInput:
    """By features of the images."""
    offset = measure_time_offset(matches, sampler.used_infos)
    if offset is not None:
        return MeasuredInput(offset)
    focal = measure_focal_length(matches)
    camera, change = measure_camera(matches, focal)
    seen = matches
    if change is not None:
        focal, seen = None, [pair.seen_through(change) for pair in matches]
    scale = measure_depth_scale(sampler, seen, focal) if metric else None
    return MeasuredInput(None, focal, scale, camera, seen)


def measured_by_depth(sampler: FrameSampler, by_images: MeasuredInput) -> MeasuredInput:
    """The same by the depth of frames too: bare rooms have few features, and an offset shows in depth of all pixels."""
    pairs = depth_matches(sampler)
    offset = measure_time_offset(pairs, sampler.used_infos)
    if offset is not None:
        return MeasuredInput(offset)
    if by_images.camera is not None or (by_images.focal is not None and by_images.focal.is_wrong):
        return by_images
    focal, scale = measure_focal_length(pairs), by_images.scale or scale_by_depth(pairs)
    camera, change = measure_camera(pairs, focal)
    focal = more_certain(by_images.focal, focal)
    lens = camera or (focal if focal is not None and focal.is_wrong else None)
    if lens is None:
        return by_images._replace(focal=focal, scale=scale)
    # Each explains some of what the other one does: the better explanation counts.
    if scale is not None and error_at(pairs, scale) < lens.error_found:
        return by_images._replace(scale=scale)
    if change is None:
        return by_images._replace(focal=focal, scale=None)
    return MeasuredInput(None, None, None, camera, [pair.seen_through(change) for pair in by_images.seen])


def more_certain(by_images: FocalLength | None, by_depth: FocalLength | None) -> FocalLength | None:
    """Where both say a focal length, that of the images, which are more precise; that of depth where it alone proves that the
    given one is wrong, and the images, of which few match, say nearly the same."""
    if by_images is None or by_depth is None or by_images.is_wrong or not by_depth.is_wrong:
        return by_images or by_depth
    off_depth, off_given = (abs(math.log(by_images.found / other)) for other in (by_depth.found, by_images.given))
    return by_depth if off_depth < off_given else by_images
