"""The verdict on the convention that a reader assumed: by depth where frames have it, else by images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mapping.evenly import evenly
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
from pipelines.checks.matches import MatchedPair, tracked_pairs
from pipelines.checks.sampler import PAIRS, FrameSampler, PairLimits
from pipelines.sequences.conventions import Convention

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


def judge_conventions(sampler: FrameSampler, assumed: Convention, matches: Sequence[MatchedPair]) -> ConventionVerdict:
    """The verdict on the convention that a reader assumed, by depth where frames have it, else by images.

    `matches` are of frames that have turned and moved.
    """
    return verdict_of(assumed, *_scores(sampler, assumed, matches), matches)


def judge_up_to_scale(sampler: FrameSampler, assumed: Convention, matches: Sequence[MatchedPair]) -> ConventionVerdict:
    """The same where poses may be in another unit than depth, whose scale is not judged: of each reading the best one counts."""
    evidence, scores = _scores(sampler, assumed, matches)
    best: dict[Convention, Score] = {}
    for score in scores:
        read = replace(score.convention, depth_scale=assumed.depth_scale)
        best.setdefault(read, replace(score, convention=read))
    return verdict_of(assumed, evidence, tuple(best.values()), matches)


def judge_by_matches(assumed: Convention, matches: Sequence[MatchedPair]) -> ConventionVerdict:
    """The same by the matches alone, whose camera may be another one than that of the frames."""
    return verdict_of(assumed, *_image_scores(matches, assumed), matches)


def is_near(assumed: Convention, other: Convention) -> bool:
    """Whether another convention is the assumed one but for a factor on depth that is measured apart: a small one, or a larger
    one that no format has, which may be another focal length or other times as well."""
    off = abs(np.log(other.depth_scale / assumed.depth_scale))
    limit = NEAR if is_usual(other, assumed) else NEAR_UNUSUAL
    return bool(0 < off < np.log(limit)) and replace(other, depth_scale=assumed.depth_scale) == assumed


def verdict_of(
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
