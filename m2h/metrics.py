"""Metrics of the four tasks, summed over a whole set before anything is divided, as the field's protocol has it.

Each class takes images with `update` and gives its scores as a dict with `compute`; scores are None before the first valid pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from m2h._edge_matching import EdgeMatcher, suppress_non_maxima, thin

Scores = dict[str, float | None]
Mask = NDArray[np.bool_]

MIN_DEPTH = 1e-3  # metres; what is predicted nearer (or not at all) counts as this, so that logarithms exist
NORMAL_BINS_PER_DEG = 100
EDGE_MAX_DISTANCE = 0.011  # share of the image diagonal, the tolerance used on NYUDv2
EDGE_TRUTH_THRESHOLD = 0.5


class DepthMetrics:
    """Depth errors over all pixels whose true depth is known (Eigen et al., NeurIPS 2014); no cap, no crop.

    rmse : metres. abs_rel : mean of |p - t| / t. delta_1, delta_2, delta_3 : share of pixels with max(p / t, t / p) below
    1.25, 1.25^2, 1.25^3. silog : sqrt(mean(d^2) - mean(d)^2) of d = ln p - ln t, the error that no scale can repair.
    log10 : mean |log10 p - log10 t|.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sums = np.zeros(8)

    def update(self, predicted: ArrayLike, truth: ArrayLike, valid: Mask | None = None) -> None:
        """Add one image: depths (H, W) in metres; pixels with truth 0 (unknown) or outside of `valid` do not count."""
        predicted, truth = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
        _check_shapes(predicted, truth, "depth")
        chosen = truth > 0 if valid is None else (truth > 0) & valid
        t = truth[chosen]
        p = np.maximum(np.nan_to_num(predicted[chosen], posinf=0.0), MIN_DEPTH)
        error, d, ratio = p - t, np.log(p) - np.log(t), np.maximum(p / t, t / p)
        within = [(ratio < 1.25**power).sum() for power in (1, 2, 3)]
        squares = [(error**2).sum(), (np.abs(error) / t).sum()]
        self._sums += [*squares, *within, d.sum(), (d**2).sum(), np.abs(d).sum() / np.log(10)]
        self._count += len(t)

    def compute(self) -> Scores:
        """The scores of all images so far."""
        if self._count == 0:
            return dict.fromkeys(("rmse", "abs_rel", "delta_1", "delta_2", "delta_3", "silog", "log10"))
        means = [float(value) for value in self._sums / self._count]  # in the order of `update`
        mse, abs_rel = means[:2]
        d, d2, log10 = means[5:]
        return {
            "rmse": mse**0.5,
            "abs_rel": abs_rel,
            **{f"delta_{i}": share for i, share in enumerate(means[2:5], start=1)},
            "silog": max(d2 - d * d, 0.0) ** 0.5,
            "log10": log10,
        }


class SegmentationMetrics:
    """Semantic segmentation from one confusion matrix of the whole set; label 0 is unknown.

    miou : mean over the classes that the truth has of TP / (TP + FP + FN). mean_accuracy : mean of their recalls.
    pixel_accuracy : share of right pixels. Pixels of unknown truth do not count; an unknown prediction is wrong.

    `confusion` (K + 1, K + 1) counts pixels, row the truth and column the prediction, both 0..K; row 0 stays empty.
    """

    def __init__(self, class_count: int) -> None:
        if class_count < 1:
            raise ValueError(f"class_count must be at least 1, got {class_count}")
        self.class_count = class_count
        self.confusion = np.zeros((class_count + 1, class_count + 1), np.int64)

    def update(self, predicted: ArrayLike, truth: ArrayLike, valid: Mask | None = None) -> None:
        """Add one image: label ids (H, W) in 0..class_count.

        Raises ValueError for a label out of range.
        """
        predicted, truth = np.asarray(predicted), np.asarray(truth)
        _check_shapes(predicted, truth, "labels")
        chosen = truth > 0 if valid is None else (truth > 0) & valid
        p, t = predicted[chosen].astype(np.int64), truth[chosen].astype(np.int64)
        for name, labels in (("predicted", p), ("true", t)):
            if len(labels) and (labels.min() < 0 or labels.max() > self.class_count):
                raise ValueError(f"{name} labels must be in 0..{self.class_count}, got {labels.min()}..{labels.max()}")
        width = self.class_count + 1
        self.confusion += np.bincount(t * width + p, minlength=width**2).reshape(width, width)

    def iou(self) -> NDArray[np.float64]:
        """(K + 1,) intersection over union of each class, NaN for one that the truth does not have, and for 0."""
        right = np.diag(self.confusion)
        truth, predicted = self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        union = np.where(truth > 0, truth + predicted - right, 0)
        return np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)

    def compute(self) -> Scores:
        """The scores of all images so far."""
        truth = self.confusion.sum(axis=1)
        seen = truth > 0
        if not seen.any():
            return dict.fromkeys(("miou", "mean_accuracy", "pixel_accuracy"))
        right = np.diag(self.confusion)
        return {
            "miou": float(np.nanmean(self.iou())),
            "mean_accuracy": float((right[seen] / truth[seen]).mean()),
            "pixel_accuracy": float(right.sum() / truth.sum()),
        }


class NormalMetrics:
    """Angles between predicted and true normals over all pixels whose true normal is known.

    normal_mean_deg, normal_median_deg (to 0.01 degrees, from a histogram), and normal_11_25, normal_22_5, normal_30: the share
    of pixels within so many degrees. Vectors are normalised here; a predicted zero counts as 90 degrees.
    """

    def __init__(self) -> None:
        self._sum_deg = 0.0
        self._histogram = np.zeros(180 * NORMAL_BINS_PER_DEG, np.int64)
        self._within = np.zeros(3, np.int64)

    def update(self, predicted: ArrayLike, truth: ArrayLike, valid: Mask | None = None) -> None:
        """Add one image: normals (H, W, 3); pixels with truth 0 0 0 (unknown) or outside of `valid` do not count."""
        predicted, truth = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
        _check_shapes(predicted, truth, "normals")
        length = np.linalg.norm(truth, axis=-1)
        chosen = length > 0.5 if valid is None else (length > 0.5) & valid
        p, t = predicted[chosen], truth[chosen] / length[chosen][:, None]
        p = p / np.maximum(np.linalg.norm(p, axis=-1, keepdims=True), 1e-12)
        # Exact also for small angles, unlike the arc cosine.
        angle = np.rad2deg(2 * np.arctan2(np.linalg.norm(p - t, axis=-1), np.linalg.norm(p + t, axis=-1)))
        bins = np.minimum((angle * NORMAL_BINS_PER_DEG).astype(np.int64), len(self._histogram) - 1)
        self._histogram += np.bincount(bins, minlength=len(self._histogram))
        self._within += [(angle <= limit).sum() for limit in (11.25, 22.5, 30.0)]
        self._sum_deg += float(angle.sum())

    def compute(self) -> Scores:
        """The scores of all images so far."""
        count = int(self._histogram.sum())
        names = ("normal_mean_deg", "normal_median_deg", "normal_11_25", "normal_22_5", "normal_30")
        if count == 0:
            return dict.fromkeys(names)
        middle = int(np.searchsorted(np.cumsum(self._histogram), count / 2))
        values = (self._sum_deg / count, (middle + 0.5) / NORMAL_BINS_PER_DEG, *(self._within / count))
        return dict(zip(names, map(float, values), strict=True))


class EdgeMetrics:
    """Boundary F at the best threshold of the whole set (ODS), after Martin et al. (PAMI 2004) as used on NYUDv2.

    Predicted maps go through non-maximum suppression; at each threshold they are thinned and matched one to one to the thinned
    truth, 1.1 % of the image diagonal apart at most; counts are summed over images before precision and recall are taken.

    edge_ods_f, edge_ods_precision, edge_ods_recall, edge_ods_threshold. Differences from the Matlab tools: the direction
    across an edge is exact, the matching is the largest possible instead of the cheapest, and the truth is thinned too.
    """

    def __init__(self, *, thresholds: int = 99, max_distance: float = EDGE_MAX_DISTANCE) -> None:
        self._thresholds = np.arange(1, thresholds + 1) / (thresholds + 1)
        self._max_distance = max_distance
        self._matched = np.zeros(thresholds, np.int64)
        self._predicted = np.zeros(thresholds, np.int64)
        self._truth = 0

    def update(self, predicted: ArrayLike, truth: ArrayLike, valid: Mask | None = None) -> None:
        """Add one image: edge probabilities (H, W); the truth is an edge where it is above 0.5."""
        predicted, truth = np.asarray(predicted, dtype=np.float64), np.asarray(truth)
        _check_shapes(predicted, truth, "edges")
        inside = np.ones(truth.shape, dtype=bool) if valid is None else valid
        lines = thin((truth > EDGE_TRUTH_THRESHOLD) & inside)
        strength = np.where(inside, suppress_non_maxima(predicted), 0.0)
        matcher = EdgeMatcher(lines, self._max_distance * float(np.hypot(*truth.shape)))
        self._truth += int(lines.sum())
        # From the strictest threshold down, so that each matching starts from the one before.
        for i in range(len(self._thresholds))[::-1]:
            edges = thin(strength >= self._thresholds[i])
            self._predicted[i] += int(edges.sum())
            self._matched[i] += matcher.count(edges)

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Thresholds, precision and recall at each; the precision of no edge at all is 1."""
        precision = np.where(self._predicted > 0, self._matched / np.maximum(self._predicted, 1), 1.0)
        return self._thresholds, precision, self._matched / max(self._truth, 1)

    def compute(self) -> Scores:
        """The scores of all images so far."""
        names = ("edge_ods_f", "edge_ods_precision", "edge_ods_recall", "edge_ods_threshold")
        if self._truth == 0:
            return dict.fromkeys(names)
        thresholds, precision, recall = self.curve()
        f = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        best = int(np.argmax(f))
        return dict(zip(names, (float(v[best]) for v in (f, precision, recall, thresholds)), strict=True))


def _check_shapes(predicted: NDArray[Any], truth: NDArray[Any], name: str) -> None:
    if predicted.shape != truth.shape:
        raise ValueError(f"predicted {name} must have the shape of the truth {truth.shape}, got {predicted.shape}")
