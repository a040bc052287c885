"""The network's stored predictions against the recorded layers of the sequence: depth, labels, normals, edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2h.metrics import DepthMetrics, EdgeMetrics, NormalMetrics, Scores, SegmentationMetrics
from mapping.evenly import evenly
from pipelines.frame import FrameSequence
from pipelines.sources.predictions import prediction_path, read_predictions
from scenegraph.labels import LabelSpace

NETWORK_SCORES = ("abs_rel", "rmse", "delta_1", "miou", "normal_mean_deg", "edge_ods_f")
NETWORK_FRAMES = 200  # number of frames, evenly spread, that are compared
EDGE_FRAMES = 25  # number of these whose edges are compared; matching boundaries takes seconds per image
EDGE_THRESHOLDS = 49


def evaluate_network(folder: Path, sequence: FrameSequence, label_space: LabelSpace) -> Scores | None:
    """abs_rel, rmse, delta_1, miou, normal_mean_deg and edge_ods_f of the predictions in `folder`, whose labels are of
    `label_space`; None for a task that one side does not have, and as a whole when nothing can be compared.

    Sums run over the whole set, of at most 200 frames (25 for edges).
    Raises PredictionError for a stored file and SequenceError for a frame that cannot be read.
    """
    stored = [i for i, info in enumerate(sequence.infos) if info.used and prediction_path(folder, info.index).is_file()]
    positions = evenly(stored, NETWORK_FRAMES)
    with_edges = set(evenly(positions, EDGE_FRAMES))
    space = sequence.label_space
    depth, normals, edges = DepthMetrics(), NormalMetrics(), EdgeMetrics(thresholds=EDGE_THRESHOLDS)
    classes = SegmentationMetrics(1 if space is None else max(1, *(c.id for c in space.classes)))
    for position in positions:
        frame = sequence[position]
        truth, said = frame.recorded, read_predictions(prediction_path(folder, frame.index))
        if truth.depth is not None and said.depth is not None:
            depth.update(said.depth, truth.depth)
        if truth.normals is not None and said.normals is not None:
            normals.update(said.normals, truth.normals)
        if truth.edges is not None and said.edges is not None and position in with_edges:
            edges.update(said.edges, truth.edges)
        if truth.labels is not None and said.labels is not None and space is not None:
            classes.update(translated(said.labels, label_space, space), truth.labels)
    scores = depth.compute() | normals.compute() | edges.compute() | classes.compute()
    chosen = {name: scores[name] for name in NETWORK_SCORES}
    return chosen if any(value is not None for value in chosen.values()) else None


def translated(labels: NDArray[np.integer], source: LabelSpace, target: LabelSpace) -> NDArray[np.uint16]:
    """Labels of `source` as those of `target`, by the names of the classes; 0 for what the target does not have."""
    ids = {c.name: c.id for c in target.classes}
    table = np.zeros(max(c.id for c in source.classes) + 2, np.uint16)
    for c in source.classes:
        table[c.id] = ids.get(c.name, 0)
    return table[np.minimum(labels, len(table) - 1)]
