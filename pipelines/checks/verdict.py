"""What a sequence's own frames say of how it is read: conventions, times of the poses, focal length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mapping.evenly import evenly
from pipelines.checks.camera_fit import CameraFit
from pipelines.checks.conventions import (
    LEAST_OVERLAP,
    DepthPair,
    Score,
    candidate_conventions,
    depth_pair,
    fitted_depth_scale,
    is_usual,
    score_by_depth,
    score_by_images,
)
from pipelines.checks.depth_scale import DepthScale
from pipelines.checks.focal import FocalLength
from pipelines.checks.matches import MatchedPair, matched_pairs, tracked_pairs
from pipelines.checks.measurements import measured_by_depth, measured_by_images
from pipelines.checks.pose_unit_check import PoseUnit, measure_unit
from pipelines.checks.sampler import PAIRS, FrameSampler, PairLimits
from pipelines.checks.timing import TimeOffset
from pipelines.frame import Frame, FrameSequence
from pipelines.sequences.conventions import Convention
from pipelines.sequences.evidence import evidence_of

Evidence = Literal["depth", "images", "none"]
Verdict = Literal["right", "likely", "undecided", "unclear", "wrong"]
LIMITS = {"depth": PairLimits(largest_turn_deg=12.0), "images": PairLimits(largest_turn_deg=3.0)}
CLOSE = 0.96
"""A usual depth scale is accepted when its fit is at least this share of the best scale's fit."""
NEAR = 1.2
"""Factor between depth scales up to which they are one reading, whose scale may be off."""
NEAR_UNUSUAL = 1.5
"""The same of scales that no format has."""
SURE = {"depth": 0.8, "images": 0.75}
"""Agreement from which a reading that no other one reaches is called right; below, poses, depth or camera are imprecise."""
LEAST = {"depth": 0.45, "images": 0.3}
"""Agreement below which the reading as it is, though the best, is not accepted."""
LEAST_OTHER = {"depth": 0.75, "images": 0.45}
"""Agreement below which another reading is not called the right one."""
WHAT = {"depth": "depth", "images": "image features", "none": "nothing"}


@dataclass(frozen=True)
class ConventionVerdict:
    """Whether the assumed convention is that of the files.

    scores are conventions and how well they fit, best first; evidence is what they were measured with, over so many pairs of
    frames. The verdict is about `assumed`: right; likely (no other fits, but it fits with errors); undecided, where those in
    `undecided` fit as well; unclear, where none fits; wrong, where another one fits.
    """

    assumed: Convention
    evidence: Evidence
    scores: tuple[Score, ...]
    verdict: Verdict
    undecided: tuple[Convention, ...]

    @property
    def best(self) -> Score | None:
        """The best convention, None without evidence."""
        return self.scores[0] if self.scores else None

    @property
    def unit_ratio(self) -> float | None:
        """Where only another scale of depth fits, which no format has: depth as it is read over what the poses say. Which of the
        two is in another unit nothing tells."""
        if self.verdict != "wrong" or self.best is None:
            return None
        found = self.best.convention
        only_scale = replace(found, depth_scale=self.assumed.depth_scale) == self.assumed
        return (
            found.depth_scale / self.assumed.depth_scale if only_scale and not is_usual(found, self.assumed) else None
        )

    @property
    def assumed_score(self) -> Score | None:
        """The score of the convention that the reader assumed."""
        return next((score for score in self.scores if score.convention == self.assumed), None)

    @property
    def best_rival(self) -> Score | None:
        """The best convention other than the assumed one."""
        return next((score for score in self.scores if score.convention != self.assumed), None)

    def line(self) -> str:
        """As a sentence for users: how much agrees as it is read, and under the best other reading."""
        assumed, rival = self.assumed_score, self.best_rival
        if assumed is None or rival is None:
            return "conventions: undetermined, no two frames overlap enough"
        fits = f"{100 * assumed.agreement:.0f} % of {WHAT[self.evidence]} agree between frames as read"
        other = f"{100 * rival.agreement:.0f} % under the best other reading ({rival.convention.describe()})"
        if self.verdict == "wrong":
            return f"conventions: WRONG, {fits}, but {other}"
        if self.verdict == "unclear":
            return f"conventions: UNCLEAR, no reading fits: {fits}, {other}"
        if self.verdict == "undecided" and not self.undecided:
            return f"conventions: undetermined, frames hardly overlap ({fits}, {other})"
        if self.verdict == "undecided":
            others = "; ".join(convention.describe() for convention in self.undecided)
            return f"conventions: undetermined, {fits}, but too little motion to rule out: {others}"
        certainty = "right" if self.verdict == "right" else "likely right, but imprecise"
        return f"conventions: {certainty}, {fits}, {other}"


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
    images: ConventionVerdict | None = None
    """That of the images, where the depth of frames agrees with the poses and they do not."""

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
        score = self.images.assumed_score if self.images else None
        if score is None:
            return []
        return [
            f"depth agrees with the poses, but only {100 * score.agreement:.0f} % of {WHAT['images']} do: the calibration, or "
            "which image belongs to which depth, may be wrong"
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
        return [self.conventions.line(), *([f"times: {times}"] if times else []), focal, *self._scale_lines()]

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
    is_near = metric and conventions.verdict == "wrong" and _is_near(assumed, conventions.scores[0].convention)
    if conventions.verdict == "wrong" and not is_near:
        return SequenceCheck(conventions, None, None, is_metric=metric)
    found = measured_by_images(sampler, matches, metric=metric)
    if metric and found.offset is None and conventions.evidence == "depth":
        found = measured_by_depth(sampler, found)
    offset, focal, camera, seen = found.offset, found.focal, found.camera, found.seen
    is_off = camera is not None or (focal is not None and focal.is_wrong)
    is_explained = offset is not None or found.scale is not None or is_off
    if is_near and not is_explained:
        return SequenceCheck(conventions, None, None, is_metric=metric)
    if is_near:
        far = tuple(score for score in conventions.scores if not _is_near(assumed, score.convention))
        conventions = _verdict(assumed, conventions.evidence, far, matches)
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
    return replace(check, images=by_images if by_images.verdict == "unclear" else None)


def _is_near(assumed: Convention, other: Convention) -> bool:
    """Whether another convention is the assumed one but for a factor on depth that is measured apart: a small one, or a larger
    one that no format has, which may be another focal length or other times as well."""
    off = abs(np.log(other.depth_scale / assumed.depth_scale))
    limit = NEAR if is_usual(other, assumed) else NEAR_UNUSUAL
    return bool(0 < off < np.log(limit)) and replace(other, depth_scale=assumed.depth_scale) == assumed


def _by_position(sampler: FrameSampler, depth_alone: DepthAlone) -> Callable[[int], NDArray[np.float32] | None]:
    """The depth of the frame at a position, None where it is unreadable."""

    def predict(position: int) -> NDArray[np.float32] | None:
        frame = sampler.frame(position)
        return None if frame is None else depth_alone(frame)

    return predict


def judge_conventions(sampler: FrameSampler, assumed: Convention, matches: Sequence[MatchedPair]) -> ConventionVerdict:
    """The verdict on the convention that a reader assumed, by depth where frames have it, else by images.

    `matches` are of frames that have turned and moved.
    """
    return _verdict(assumed, *_scores(sampler, assumed, matches), matches)


def judge_up_to_scale(sampler: FrameSampler, assumed: Convention, matches: Sequence[MatchedPair]) -> ConventionVerdict:
    """The same where poses may be in another unit than depth, whose scale is not judged: of each reading the best one counts."""
    evidence, scores = _scores(sampler, assumed, matches)
    best: dict[Convention, Score] = {}
    for score in scores:
        read = replace(score.convention, depth_scale=assumed.depth_scale)
        best.setdefault(read, replace(score, convention=read))
    return _verdict(assumed, evidence, tuple(best.values()), matches)


def judge_by_matches(assumed: Convention, matches: Sequence[MatchedPair]) -> ConventionVerdict:
    """The same by the matches alone, whose camera may be another one than that of the frames."""
    return _verdict(assumed, *_image_scores(matches, assumed), matches)


def _verdict(
    assumed: Convention, evidence: Evidence, scores: tuple[Score, ...], matches: Sequence[MatchedPair]
) -> ConventionVerdict:
    """From the scores, best first."""
    if not scores:
        return ConventionVerdict(assumed, evidence, (), "undecided", ())
    close = _without_ruled_out(scores, assumed, matches)
    kept = assumed if assumed in close else close[0]
    undecided = tuple(convention for convention in close if convention != kept)
    score_of = {score.convention: score for score in scores}
    agreement = score_of[kept].agreement
    verdict: Verdict
    if agreement < (LEAST if kept == assumed else LEAST_OTHER)[evidence]:
        overlaps = score_of[assumed].overlap > LEAST_OVERLAP
        verdict, undecided = ("unclear" if overlaps else "undecided"), ()
    elif kept != assumed:
        verdict = "wrong"
    elif undecided:
        verdict = "undecided"
    else:
        verdict = "right" if agreement >= SURE[evidence] else "likely"
    return ConventionVerdict(assumed, evidence, scores, verdict, undecided)


def _scores(
    sampler: FrameSampler, assumed: Convention, matches: Sequence[MatchedPair]
) -> tuple[Evidence, tuple[Score, ...]]:
    """The evidence of the scores, and the scores, best first (of equal ones the assumed first)."""
    pairs = _depth_pairs(sampler, assumed, matches)
    if not pairs:
        return _image_scores(tracked_pairs(sampler, LIMITS["images"]) or matches, assumed)
    scores = score_by_depth(pairs, assumed, candidate_conventions(assumed, depth=True))
    best = max(scores, key=lambda score: score.fit)
    fitted = fitted_depth_scale(pairs, assumed, best.convention)
    if best.fit < CLOSE * fitted.fit:  # none of the usual scales: poses are in another unit
        scores.append(fitted)
    return "depth", tuple(sorted(scores, key=lambda score: -score.fit))


def _image_scores(matches: Sequence[MatchedPair], assumed: Convention) -> tuple[Evidence, tuple[Score, ...]]:
    scores = score_by_images(matches, assumed, candidate_conventions(assumed, depth=False))
    return ("none", ()) if scores is None else ("images", tuple(sorted(scores, key=lambda score: -score.fit)))


def _depth_pairs(sampler: FrameSampler, assumed: Convention, matches: Sequence[MatchedPair]) -> list[DepthPair]:
    """Of neighbours, and of frames that have turned and moved."""
    places = sampler.pairs(LIMITS["depth"]) + [match.positions for match in evenly(matches, PAIRS)]
    frames = ((sampler.frame(a), sampler.frame(b)) for a, b in places)
    pairs = (depth_pair(a, b, assumed) for a, b in frames if a is not None and b is not None)
    return [pair for pair in pairs if pair is not None]


def _without_ruled_out(
    scores: tuple[Score, ...], assumed: Convention, matches: Sequence[MatchedPair]
) -> list[Convention]:
    """The best convention and those that fit as well, best first, less those that the matches rule out.

    Small motion shows less of the axes than of depth, and depth nothing of a camera that only turns.
    """
    best, *others = scores
    close = [best.convention, *(score.convention for score in others if not best.is_better_than(score))]
    by_images = score_by_images(matches, assumed, close)
    if by_images is None or len(close) < 2:
        return close
    favourite = max(by_images, key=lambda score: score.fit)
    return [score.convention for score in by_images if not favourite.is_better_than(score)]
