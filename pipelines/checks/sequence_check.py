"""What a sequence's own frames say of how it is read: conventions, times of the poses, focal length, scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.checks.camera_fit import CameraFit
from pipelines.checks.depth_scale import DepthScale
from pipelines.checks.focal import FocalLength
from pipelines.checks.matches import matched_pairs, tracked_pairs
from pipelines.checks.measurements import measured_by_depth, measured_by_images
from pipelines.checks.pose_unit_check import PoseUnit, measure_unit
from pipelines.checks.sampler import FrameSampler
from pipelines.checks.timing import TimeOffset
from pipelines.checks.verdict import (
    LIMITS,
    WHAT,
    ConventionVerdict,
    is_near,
    judge_by_matches,
    judge_conventions,
    judge_up_to_scale,
    verdict_of,
)
from pipelines.frame import Frame, FrameSequence
from pipelines.sequences.conventions import Convention
from pipelines.sequences.evidence import evidence_of


@dataclass(frozen=True)
class SequenceCheck:
    """All that a sequence's frames say of how it is read; None where they show nothing."""

    conventions: ConventionVerdict
    time_offset: TimeOffset | None
    focal_length: FocalLength | None
    epipolar_error: float | None = None
    """Pixels by which matched features miss what the poses say: the median over pairs of frames of their medians."""
    depth_scale: DepthScale | None = None
    unit: PoseUnit | None = None
    """That of poses which are read as metres, where no recorded depth proves it."""
    camera: CameraFit | None = None
    """The one that fits, where it is not the given one with another focal length."""
    is_metric: bool = True
    """Whether the poses are read as metres."""
    is_estimate: bool = False
    """Whether these were estimated of predicted depth, which would only say the same again."""
    pose_scale: float = 1.0
    """By which the poses of the files were multiplied before they were checked."""
    agreement_of_images: float | None = None
    """Share of the features that fit the poses, where the depth of frames agrees with these and the images do not."""

    @property
    def _scales(self) -> list[DepthScale | PoseUnit]:
        return [scale for scale in (self.depth_scale, self.unit) if scale is not None]

    @property
    def contradictions(self) -> list[str]:
        """Sentences on what cannot be as it is read; a map of it would be wrong."""
        if self.time_offset is not None:
            return [self.time_offset.describe()]
        scale = [scale.describe() for scale in self._scales if scale.is_beyond_doubt]
        if self.conventions.verdict == "unclear" and self.camera is not None:
            return [*scale, self.camera.describe()]
        return scale + ([self.conventions.line()] if self.conventions.verdict in ("wrong", "unclear") else [])

    @property
    def may_be_imprecise(self) -> bool:
        """Whether what contradicts the poses may be that they are far off: features fit them in no reading, at no other time."""
        found = self.conventions
        is_sure = any(scale.is_beyond_doubt for scale in self._scales) or self.time_offset is not None
        return found.verdict == "unclear" and found.evidence == "images" and not is_sure and self.camera is None

    @property
    def doubts(self) -> list[str]:
        """Sentences on what makes a map worse."""
        conventions = [self.conventions.line()] if self.conventions.verdict == "likely" else []
        focal = [self.focal_length.describe()] if self.focal_length and self.focal_length.is_wrong else []
        focal += [self.camera.describe()] if self.camera is not None and self.conventions.verdict != "unclear" else []
        scales = [scale.describe() for scale in self._scales if scale.is_wrong and not scale.is_beyond_doubt]
        return conventions + focal + scales + self._denied_by_images()

    def _denied_by_images(self) -> list[str]:
        if self.agreement_of_images is None:
            return []
        return [
            f"depth agrees with the poses, but only {100 * self.agreement_of_images:.0f} % of {WHAT['images']} do: the "
            "calibration, or which image belongs to which depth, may be wrong"
        ]

    def summary(self) -> str:
        """A few words for the table of a run."""
        score = self.conventions.assumed_score
        agree = f" ({100 * score.agreement:.0f} % of {WHAT[self.conventions.evidence]} agree)" if score else ""
        said = {"undecided": "undetermined", "likely": "likely right"}.get(
            self.conventions.verdict, self.conventions.verdict
        )
        focal = self.focal_length
        lens = "not known" if focal is None else f"{focal.given:.0f} px, images say {focal.found:.0f}"
        lens = lens if self.camera is None else "and principal point do not fit"
        scale = f"; depth {self.depth_scale.ratio:.3f} times that of the poses" if self.depth_scale else ""
        if self.unit is not None:
            scale = f"; one unit of the poses is about {self.unit.metres:.2g} m"
        return f"conventions {said}{agree}; focal length {lens}{scale}"

    def lines(self) -> list[str]:
        """As sentences for users."""
        lens = self.focal_length or self.camera
        focal = lens.describe() if lens else "focal length: undetermined"
        times = self.time_offset.describe() if self.time_offset else None
        lines = [self.conventions.line(), *([f"times: {times}"] if times else []), focal, *self._scale_lines()]
        return lines + self._denied_by_images()

    def _scale_lines(self) -> list[str]:
        scales = [scale.describe() for scale in self._scales]
        if not self.is_metric or self.is_estimate or scales:
            return scales
        if self.conventions.evidence == "depth":
            return ["depth scale: undetermined to some per cent, too little parallax"]
        return ["unit of the poses: assumed to be the metre, as the files say; nothing here proves it"]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        scores = [
            {"convention": asdict(score.convention), "fit": score.fit, "agreement": score.agreement}
            for score in self.conventions.scores[:10]
        ]
        return {
            "evidence": self.conventions.evidence,
            "verdict": self.conventions.verdict,
            "assumed": asdict(self.conventions.assumed),
            "undecided": [asdict(convention) for convention in self.conventions.undecided],
            "scores": scores,
            "agreement_of_images": self.agreement_of_images,
            "time_offset": asdict(self.time_offset) if self.time_offset else None,
            "focal_length": asdict(self.focal_length) if self.focal_length else None,
            "camera": asdict(self.camera) if self.camera else None,
            "epipolar_error": self.epipolar_error,
            "depth_scale": asdict(self.depth_scale) if self.depth_scale else None,
            "unit": asdict(self.unit) if self.unit else None,
        }


DepthAlone = Callable[[Frame], NDArray[np.float32]]
"""Depth (H, W) in metres, 0 unknown, that a network predicts of the image of a frame alone."""


def check_sequence(
    sequence: FrameSequence, sampler: FrameSampler, *, metric: bool = True, depth_alone: DepthAlone | None = None
) -> SequenceCheck:
    """Test the usual pose directions, camera axes, scales and kinds of depth, the poses' times, the focal length and the unit.

    `sampler` reads the frames of the sequence that may be used; without `metric` the unit of the poses is not that of depth.
    `depth_alone` is asked of a few frames where poses are read as metres, no recorded depth proves that, and the metres were not
    estimated of such depth already.
    An offset of time is looked for where the conventions are not wrong, and the focal length where poses and images go
    together: each would be estimated from the errors of the other.
    """
    found = _checked(sequence, sampler, metric=metric, depth_alone=depth_alone)
    pose_scale = getattr(sequence, "pose_scale", 1.0)
    scale = None if found.depth_scale is None else replace(found.depth_scale, pose_scale=pose_scale)
    return replace(found, depth_scale=scale, pose_scale=pose_scale)


def _checked(
    sequence: FrameSequence, sampler: FrameSampler, *, metric: bool, depth_alone: DepthAlone | None
) -> SequenceCheck:
    assumed = getattr(sequence, "convention", Convention())
    matches = matched_pairs(sampler)
    judge = judge_conventions if metric else judge_up_to_scale
    conventions = judge(sampler, assumed, matches)
    is_scaled = metric and conventions.verdict == "wrong" and is_near(assumed, conventions.scores[0].convention)
    if conventions.verdict == "wrong" and not is_scaled:
        return SequenceCheck(conventions, None, None, is_metric=metric)
    found = measured_by_images(sampler, matches, metric=metric)
    if metric and found.offset is None and conventions.evidence == "depth":
        found = measured_by_depth(sampler, found)
    offset, focal, camera, seen = found.offset, found.focal, found.camera, found.seen
    is_off = camera is not None or (focal is not None and focal.is_wrong)
    is_explained = offset is not None or found.scale is not None or is_off
    if is_scaled and not is_explained:
        return SequenceCheck(conventions, None, None, is_metric=metric)
    if is_scaled:
        far = tuple(score for score in conventions.scores if not is_near(assumed, score.convention))
        conventions = verdict_of(assumed, conventions.evidence, far, matches)
    if focal is not None and focal.is_wrong:
        seen = [pair.with_focal_factor(focal.found / focal.given) for pair in seen]
    if conventions.verdict == "unclear" and is_off:
        conventions = judge_by_matches(assumed, seen)
    unit, is_estimate = None, evidence_of(sequence).is_estimate
    asks = metric and not is_estimate and offset is None and conventions.evidence == "images"
    if asks and depth_alone is not None:
        unit = measure_unit(seen, _by_position(sampler, depth_alone))
    error = float(np.median([pair.median_error() for pair in matches])) if matches else None
    told_focal = focal if conventions.verdict != "unclear" else None
    check = SequenceCheck(conventions, offset, told_focal, error, found.scale, unit, camera, metric, is_estimate)
    if conventions.evidence != "depth" or conventions.verdict == "unclear" or check.contradictions or check.doubts:
        return check
    by_images = judge_by_matches(assumed, tracked_pairs(sampler, LIMITS["images"]) or matches)
    score = by_images.assumed_score if by_images.verdict == "unclear" else None
    return replace(check, agreement_of_images=None if score is None else score.agreement)


def _by_position(sampler: FrameSampler, depth_alone: DepthAlone) -> Callable[[int], NDArray[np.float32] | None]:
    """The depth of the frame at a position, None where it is unreadable."""

    def predict(position: int) -> NDArray[np.float32] | None:
        frame = sampler.frame(position)
        return None if frame is None else depth_alone(frame)

    return predict
