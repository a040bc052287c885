"""Models of structure from motion that do not connect, brought into one world where what their images show proves how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mapping.camera import Intrinsics
from mapping.multiview.features import epipolar_distance
from mapping.se3 import inverse, transform_points
from pipelines.posing.scale_estimate import SparseView, log_scale_of
from pipelines.posing.similarity import LIMIT, Common, Joint, Similarity, find_joint

Array = NDArray[np.float64]
DepthOf = Callable[[str], NDArray[np.float32]]
Links = Callable[[str, str], NDArray[np.int64]]
ADJOINING = 8
"""Distance in the order of the picked images up to which a feature without a point is given predicted depth."""
MOST_LIFTED = 8
"""Images of each model whose depth is predicted for that."""
MOST_FOCAL_DIFFERENCE = 0.05
LEAST_CONTRADICTING = 40
"""Features of adjoining images off their epipolar lines from which these contradict the poses, where they are the most."""
LEAST_CONTRADICTING_SHARE = 0.002
"""Of all that fits: a few pairs of images that are matched wrongly contradict right poses as well."""
IN_FRONT, AGREEING = 0.6, 0.8
"""Ratios of a point's depth to the predicted one: below the first it floats in front of the surface, above the second (and below
its inverse) it lies on it."""
LEAST_COMPARED, CHECKED_IMAGES = 30, 4
MOST_BEFORE = 0.35
"""Share of points before surfaces from which places look alike at what is linked and differ around it."""
MOST_SIZE_DIFFERENCE = 0.45
"""Logarithm of the ratio between the scale found and that of both models' predicted depth from which they contradict."""


@dataclass(frozen=True, eq=False)
class SparseModel:
    """Images whose poses structure from motion found in one world and unit.

    By the images' names: poses (4, 4) `T_world_camera`; the features' pixels (F, 2), with the lens, and the points (F, 3) that
    they show, not a number where none; and the reliable points as a camera without lens sees them.
    """

    camera: Intrinsics
    poses: Mapping[str, Array]
    features: Mapping[str, Array]
    shown: Mapping[str, Array]
    views: Mapping[str, SparseView]

    def moved(self, similarity: Similarity) -> SparseModel:
        """The model in another world and unit."""
        return replace(
            self,
            poses={name: similarity.pose(T) for name, T in self.poses.items()},
            shown={name: similarity.points(points) for name, points in self.shown.items()},
            views={name: replace(view, depths=similarity.scale * view.depths) for name, view in self.views.items()},
        )

    def with_part(self, other: SparseModel) -> SparseModel:
        """Both, where an image of both is seen as by this one."""
        return replace(
            self,
            poses={**other.poses, **self.poses},
            features={**other.features, **self.features},
            shown={**other.shown, **self.shown},
            views={**other.views, **self.views},
        )


@dataclass(frozen=True)
class PoseAgreement:
    """Features of matched images that lie on the epipolar lines of poses, and those off them where a pair has more of these."""

    right: int
    wrong: int

    @property
    def is_contradicted(self) -> bool:
        """Whether so many are off that some of the poses are wrong."""
        return self.wrong >= max(LEAST_CONTRADICTING, LEAST_CONTRADICTING_SHARE * self.right)

    @property
    def excess(self) -> int:
        return self.right - self.wrong


@dataclass(frozen=True)
class JoinedPart:
    """A model besides the largest: how many images it has alone, and why it is not joined; no reason where it is."""

    images: int
    reason: str


def join_models(
    models: Sequence[SparseModel], names: Sequence[str], links: Links, depth_of: DepthOf
) -> tuple[SparseModel, tuple[JoinedPart, ...]]:
    """The largest model with all that can be proved to belong to it, and what became of the others that have other images.

    Parameters
    ----------
    models : the largest first.
    names : all images in the order of the recording.
    links : the features (M, 2) that two images have in common, by their names.
    depth_of : predicted depth (H, W) in metres of an image without lens, 0 unknown.

    What is joined may connect others, so that those left are tried again. A model that contradicts what adjoining images have in
    common is cut there first.
    """
    order = {name: i for i, name in enumerate(names)}
    pieces = [piece for model in models for piece in cut_model(model, order, links)]
    first = models[0].camera
    whole, *left = sorted(pieces, key=lambda piece: (piece.camera != first, -len(piece.poses)))
    parts: list[JoinedPart] = []
    reasons: dict[int, str] = {}
    tried = -1
    while left and tried != len(left):
        tried = len(left)
        for part in tuple(left):
            joint = joint_of(whole, part, order, links, depth_of)
            reasons[id(part)] = joint.reason
            if joint.similarity is None or joint.reason:
                continue
            parts.append(JoinedPart(len(set(part.poses) - set(whole.poses)), ""))
            whole = whole.with_part(part.moved(joint.similarity))
            left = [other for other in left if other is not part]
    parts += [JoinedPart(len(set(part.poses) - set(whole.poses)), reasons[id(part)]) for part in left]
    return whole, tuple(part for part in parts if part.images)


def best_attempt(
    attempts: Iterable[Sequence[SparseModel]], pairs: Sequence[tuple[str, str]], links: Links
) -> Sequence[SparseModel]:
    """The models of the attempt that pairs of matched images agree with best; none is asked for after one that they do not
    contradict. Empty where no attempt has models.

    A mapper that starts at the wrong pair bends poses slowly away from the truth: each fits its neighbours, and what matches
    across the bend does not fit.
    """
    found: list[tuple[PoseAgreement, Sequence[SparseModel]]] = []
    for models in attempts:
        found.append((agreement(models, pairs, links), models))
        if models and not found[-1][0].is_contradicted:
            break
    return max(found, key=lambda attempt: (len(attempt[1]) > 0, attempt[0].excess))[1]


def agreement(models: Sequence[SparseModel], pairs: Sequence[tuple[str, str]], links: Links) -> PoseAgreement:
    """How well what pairs of images have in common fits the poses of the first model that has both."""
    right = wrong = 0
    for a, b in pairs:
        model = next((model for model in models if a in model.poses and b in model.poses), None)
        if model is not None:
            fits = _fits(model, model, (a, b), links(a, b))
            right += fits[0]
            wrong += fits[1] if fits[1] > fits[0] else 0
    return PoseAgreement(right, wrong)


def cut_model(model: SparseModel, order: Mapping[str, int], links: Links) -> list[SparseModel]:
    """The model in pieces that follow each other, cut where adjoining images contradict its poses.

    Incremental mapping may place an image at a similar place far off, and what follows with it. Images that follow each other
    show the same place, so that they decide.
    """
    images = sorted(model.poses, key=order.__getitem__)
    fits: dict[tuple[int, int], tuple[int, int]] = {}
    for i, a in enumerate(images):
        for j in range(i + 1, min(i + 1 + ADJOINING, len(images))):
            if order[images[j]] - order[a] <= ADJOINING:
                fits[i, j] = _fits(model, model, (a, images[j]), links(a, images[j]))
    ends: list[int] = []
    while True:
        across = [[fits[pair] for pair in fits if pair[0] < k <= pair[1]] for k in range(1, len(images))]
        excess = [_contradiction(pairs) for pairs in across]
        if max(excess, default=0) <= 0:
            break
        ends.append(1 + int(np.argmax(excess)))
        fits = {pair: fit for pair, fit in fits.items() if not pair[0] < ends[-1] <= pair[1]}
    if not ends:
        return [model]
    return [_piece(model, images[i:j]) for i, j in pairwise([0, *sorted(ends), len(images)])]


def _fits(whole: SparseModel, part: SparseModel, pair: tuple[str, str], common: NDArray[np.int64]) -> tuple[int, int]:
    """How many of the features that an image of each of two models in one world have in common lie on the epipolar lines of
    their poses, and how many do not."""
    if pair[0] == pair[1] or not len(common):
        return 0, 0
    T = np.asarray(inverse(part.poses[pair[1]]) @ whole.poses[pair[0]])
    rays = [
        model.camera.pixel_rays(model.features[name][common[:, k]])
        for k, (model, name) in enumerate(zip((whole, part), pair, strict=True))
    ]
    right = int((np.nan_to_num(epipolar_distance(T, rays[0], rays[1]), nan=np.inf) < LIMIT).sum())
    return right, len(common) - right


def _contradiction(fits: Sequence[tuple[int, int]]) -> int:
    """By how many features pairs of images contradict poses, 0 where these are few or the fewer ones."""
    right, wrong = (sum(fit[k] for fit in fits) for k in range(2))
    return wrong - right if wrong >= LEAST_CONTRADICTING and wrong > right else 0


def _piece(model: SparseModel, names: Sequence[str]) -> SparseModel:
    """Some images of a model, with the points that two of them show: others are known from images that may lie elsewhere."""
    shown = {name: model.shown[name].copy() for name in names}
    rows = np.concatenate(list(shown.values()))
    known = np.flatnonzero(np.isfinite(rows).all(axis=1))
    _, number, count = np.unique(rows[known], axis=0, return_inverse=True, return_counts=True)
    rows[known[count[number.ravel()] < 2]] = np.nan
    ends = np.cumsum([len(points) for points in shown.values()])[:-1]
    return replace(
        model,
        poses={name: model.poses[name] for name in names},
        features={name: model.features[name] for name in names},
        shown=dict(zip(names, np.split(rows, ends), strict=True)),
        views={name: model.views[name] for name in names},
    )


def joint_of(whole: SparseModel, part: SparseModel, order: Mapping[str, int], links: Links, depth_of: DepthOf) -> Joint:
    """How a part lies in the world of the whole: by points of both models in adjoining images, in any, else by predicted depth of
    adjoining images."""
    ratio = part.camera.fx / whole.camera.fx
    if abs(np.log(ratio)) > MOST_FOCAL_DIFFERENCE:
        return Joint(None, f"its focal length is {100 * (ratio - 1):+.0f} % off")
    linked = {(a, b): found for a in whole.poses for b in part.poses if len(found := _linked(a, b, part, links))}
    near = {pair: found for pair, found in linked.items() if abs(order[pair[0]] - order[pair[1]]) <= ADJOINING}
    joint = find_joint(common_of(whole, part, near))
    if joint.reason:
        joint = _agreeing(find_joint(common_of(whole, part, linked)), whole, part, near)
    if joint.reason:
        lifted = [_lifted(model, [pair[k] for pair in near], depth_of) for k, model in enumerate((whole, part))]
        by_depth = find_joint(common_of(lifted[0], lifted[1], near))
        joint = joint if by_depth.reason else by_depth
    joint = _agreeing(joint, whole, part, near)
    if joint.similarity is None or joint.reason:
        return joint
    return replace(joint, reason=_floating(whole, part, joint.similarity, list(linked), depth_of))


def _agreeing(
    joint: Joint, whole: SparseModel, part: SparseModel, near: Mapping[tuple[str, str], NDArray[np.int64]]
) -> Joint:
    """The joint, with a reason where what adjoining images have in common contradicts it."""
    if joint.similarity is None or joint.reason:
        return joint
    moved = part.moved(joint.similarity)
    if _contradiction([_fits(whole, moved, pair, found) for pair, found in near.items()]):
        return replace(joint, reason="what adjoining images have in common contradicts what others have")
    return joint


def _linked(a: str, b: str, part: SparseModel, links: Links) -> NDArray[np.int64]:
    """Features (M, 2) that an image of the whole and one of the part have in common; all of an image of both."""
    return links(a, b) if a != b else np.repeat(np.arange(len(part.features[b]))[:, None], 2, axis=1)


def common_of(whole: SparseModel, part: SparseModel, linked: Mapping[tuple[str, str], NDArray[np.int64]]) -> Common:
    """The common features with a point in both models."""
    numbers = [{name: i for i, name in enumerate(model.poses)} for model in (whole, part)]
    blocks = [(np.zeros((0, 2), np.int64), np.zeros((0, 2, 2)), np.zeros((0, 2, 3)), np.zeros(0, bool))]
    for (a, b), pairs in linked.items():
        points = np.stack([whole.shown[a][pairs[:, 0]], part.shown[b][pairs[:, 1]]], axis=1)
        known = np.isfinite(points).all(axis=(1, 2))
        pixels = whole.features[a][pairs[known, 0]], part.features[b][pairs[known, 1]]
        rays = [model.camera.pixel_rays(seen)[:, :2] for model, seen in zip((whole, part), pixels, strict=True)]
        pair = np.tile([[numbers[0][a], numbers[1][b]]], (int(known.sum()), 1))
        blocks.append((pair, np.stack(rays, axis=1), points[known], np.full(int(known.sum()), a == b)))
    poses = (np.array(list(whole.poses.values())), np.array(list(part.poses.values())))
    columns = [np.concatenate(column) for column in zip(*blocks, strict=True)]
    return Common(poses, *columns)


def _lifted(model: SparseModel, names: Sequence[str], depth_of: DepthOf) -> SparseModel:
    """The model with points at predicted depth where features of some images have none."""
    shown = dict(model.shown)
    for name in list(dict.fromkeys(names))[:MOST_LIFTED]:
        depth = _depth_in_unit(model, name, depth_of)
        if depth is None:
            continue
        rays = model.camera.pixel_rays(model.features[name])
        pixels = np.rint(model.camera.undistorted().project(rays)).astype(int)
        inside = ((pixels >= 0) & (pixels < [depth.shape[1], depth.shape[0]])).all(axis=1)
        known = np.zeros(len(rays))
        known[inside] = depth[pixels[inside, 1], pixels[inside, 0]]
        points = transform_points(model.poses[name], rays / rays[:, 2:] * known[:, None])
        unknown = ~np.isfinite(shown[name]).all(axis=1) & (known > 0)
        shown[name] = np.where(unknown[:, None], points, shown[name])
    return replace(model, shown=shown)


def _depth_in_unit(model: SparseModel, name: str, depth_of: DepthOf) -> Array | None:
    """Predicted depth (H, W) of an image in the model's unit, which its points give; None where it has too few."""
    depth = depth_of(name)
    log = log_scale_of(model.views[name], depth)
    return None if log is None else depth.astype(np.float64) * float(np.exp(-log))


def _floating(
    whole: SparseModel, part: SparseModel, similarity: Similarity, linked: Sequence[tuple[str, str]], depth_of: DepthOf
) -> str:
    """Why predicted depth speaks against a similarity: points of one model float before the surfaces of the other's images, or
    both models' sizes in metres differ. Empty where it does not."""
    moved = part.moved(similarity)
    before = on = 0
    logs: list[list[float]] = [[], []]
    for k, (model, other) in enumerate(((whole, moved), (moved, whole))):
        names = [name for name, _ in Counter(pair[k] for pair in linked).most_common()]
        points = np.concatenate([shown[np.isfinite(shown).all(axis=1)] for shown in other.shown.values()])
        for name in names[:CHECKED_IMAGES]:
            depth = depth_of(name)
            log = log_scale_of(model.views[name], depth)
            if log is None:
                continue
            logs[k].append(log)
            ratios = _depth_ratios(model, name, points, depth.astype(np.float64) * float(np.exp(-log)))
            before += int((ratios < IN_FRONT).sum())
            on += int(((ratios > AGREEING) & (ratios < 1 / AGREEING)).sum())
    if before + on >= LEAST_COMPARED and before > MOST_BEFORE * (before + on):
        return f"joined, {before} points would float in front of surfaces and {on} lie on them"
    if all(logs) and abs(np.median(logs[0]) - np.median(logs[1])) > MOST_SIZE_DIFFERENCE:
        return f"joined, their sizes in metres would differ by a factor of {np.exp(np.median(logs[0]) - np.median(logs[1])):.1f}"
    return ""


def _depth_ratios(model: SparseModel, name: str, points: Array, depth: Array) -> Array:
    """Depths of the points (P, 3) that fall into an image, over the depth (H, W) there."""
    seen = transform_points(inverse(model.poses[name]), points)
    seen = seen[seen[:, 2] > 0]
    pixels = np.rint(model.camera.undistorted().project(seen)).astype(int)
    inside = ((pixels >= 0) & (pixels < [depth.shape[1], depth.shape[0]])).all(axis=1)
    there = depth[pixels[inside, 1], pixels[inside, 0]]
    return np.asarray(seen[inside, 2][there > 0] / there[there > 0])
