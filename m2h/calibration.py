"""Calibration of a network's confidences: factors found on held-out data and stored in the checkpoint's record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from m2h.data import Dataset, Sample
from m2h.data.transforms import degraded
from m2h.evaluate import predict_sample
from m2h.infer import Predictor
from m2h.predictions import GOOD_DEPTH
from m2h.record import CheckpointRecord

Floats = NDArray[np.float64]

PIXELS = 400
"""Pixels drawn from each image."""
DEGRADE = 0.6
"""Probability of each fault of small cameras in the images: held-out renderings are too clean to stand for photographs."""
NAMED = 0.5
"""A class is named where it is right more often than not."""
TEMPERATURES = np.geomspace(0.5, 6.0, 60)
ERROR_SCALES = np.geomspace(0.3, 5.0, 60)
BINS = 15


def calibrate(predictor: Predictor, data: Dataset, *, images: int, neighbours: int, seed: int = 0) -> CheckpointRecord:
    """The predictor's record with `depth_error_scale`, `label_temperature` and `label_threshold` found on a dataset.

    The temperature has the least cross-entropy (Guo et al., ICML 2017), the scale of the depth error the least expected
    calibration error of "within 5 %". `images` are drawn evenly and given faults of small cameras, `neighbours` frames with each.
    """
    rng = np.random.default_rng(seed)
    plain = Predictor(predictor.network, neutral(predictor.record), predictor.config)
    scales, errors = [], []  # of depth
    logs, truths = [], []  # of labels
    for index in np.linspace(0, len(data) - 1, min(images, len(data))).round().astype(int):
        sample = data[int(index)]
        sample = replace(sample, rgb=degraded(sample.rgb, DEGRADE, rng))
        drawn = rng.integers(0, sample.rgb.shape[0] * sample.rgb.shape[1], PIXELS)
        found = predict_sample(plain, data, int(index), sample, neighbours)
        if found.confidence is not None and found.depth is not None and sample.depth is not None:
            truth, depth = sample.depth.ravel()[drawn], found.depth.ravel()[drawn]
            known = (truth > 0) & (depth > 0)
            confidence = np.clip(found.confidence.ravel()[drawn][known], 1e-6, 1 - 1e-6)
            scales.append(-GOOD_DEPTH / np.log1p(-confidence.astype(np.float64)))
            errors.append(np.abs(np.log(depth[known] / truth[known])).astype(np.float64))
        if sample.labels is not None:
            rows, labels = label_logs(plain, sample, drawn)
            logs.append(rows)
            truths.append(labels)
    record = replace(
        predictor.record, label_threshold=NAMED, calibrated_on=f"{len(scales)} held-out images of {data.name}"
    )
    if scales:
        record = replace(record, depth_error_scale=best_error_scale(np.concatenate(scales), np.concatenate(errors)))
    if logs:
        record = replace(record, label_temperature=best_temperature(np.concatenate(logs), np.concatenate(truths)))
    return record


def neutral(record: CheckpointRecord) -> CheckpointRecord:
    """The record of a network that is taken at its word."""
    return replace(record, depth_error_scale=1.0, label_temperature=1.0, label_threshold=0.0)


def label_logs(predictor: Predictor, sample: Sample, drawn: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Log probabilities (n, classes) of the image alone at the drawn pixels whose label is known, and those labels (n,)."""
    assert sample.labels is not None
    labels = sample.labels.ravel()[drawn].astype(np.int64)
    logs = predictor.label_logs(sample.rgb).reshape(predictor.record.config.classes, -1)[:, drawn].T
    return logs[labels > 0].astype(np.float64), labels[labels > 0]


def best_temperature(logs: Floats, labels: NDArray[np.int64]) -> float:
    """The temperature under which the labels are likeliest; `logs` (n, classes) are log probabilities or logits."""
    losses = []
    for temperature in TEMPERATURES:
        scaled = logs / temperature
        highest = scaled.max(axis=1, keepdims=True)
        total = np.log(np.exp(scaled - highest).sum(axis=1)) + highest[:, 0]
        losses.append(float((total - scaled[np.arange(len(labels)), labels]).mean()))
    return float(TEMPERATURES[int(np.argmin(losses))])


def best_error_scale(scales: Floats, errors: Floats) -> float:
    """The factor on predicted scales (n,) of a Laplace distribution under which the probability of an error of log depth (n,)
    within GOOD_DEPTH is nearest to the share that are."""
    right = errors < GOOD_DEPTH
    gaps = [
        expected_calibration_error(1 - np.exp(-GOOD_DEPTH / (scales * factor)), right, BINS) for factor in ERROR_SCALES
    ]
    return float(ERROR_SCALES[int(np.argmin(gaps))])


def expected_calibration_error(confidence: Floats, right: NDArray[np.bool_], bins: int = BINS) -> float:
    """Mean over samples of |confidence - share right| in bins of confidence (Guo et al., ICML 2017)."""
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(number, minlength=bins)
    gaps = np.bincount(number, confidence, bins) - np.bincount(number, right, bins)
    return float(np.abs(gaps).sum() / max(count.sum(), 1))
