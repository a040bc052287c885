"""Measuring a network on a dataset, by the field's protocol: errors at the images' own pixels, summed over the whole set."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np

from m2h.data import Camera, Dataset, Sample, open_dataset
from m2h.data.neighbours import PosedDataset, choose_neighbours
from m2h.infer import DepthHint, InferenceConfig, Predictor
from m2h.metrics import DepthMetrics, EdgeMetrics, NormalMetrics, Scores, SegmentationMetrics
from m2h.predictions import Predictions
from m2h.tasks import TASKS, TaskName
from m2h.views import View

Protocol = Literal["field", "per-batch"]
BATCH = 8
"""Images in a batch of the per-batch protocol."""


class _Meters:
    """One accumulator per task."""

    def __init__(self, tasks: Collection[TaskName], classes: int) -> None:
        makers: dict[TaskName, Callable[[], Any]] = {
            "depth": DepthMetrics,
            "semantics": lambda: SegmentationMetrics(classes - 1),
            "normals": NormalMetrics,
            "edges": EdgeMetrics,
        }
        self._meters = {task: makers[task]() for task in TASKS if task in tasks}

    def update(self, predictions: Predictions, sample: Sample) -> None:
        for task, meter in self._meters.items():
            predicted, truth = (getattr(each, TASKS[task]) for each in (predictions, sample))
            if predicted is None or truth is None:
                continue
            valid = truth >= 0 if task == "edges" else None
            meter.update(predicted, np.maximum(truth, 0) if task == "edges" else truth, valid)

    def compute(self) -> Scores:
        return {name: value for meter in self._meters.values() for name, value in meter.compute().items()}


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    *,
    tasks: Collection[TaskName] | None = None,
    limit: int | None = None,
    protocol: Protocol = "field",
    neighbours: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """The metrics of the predictor's tasks (or those asked for) on `limit` images, evenly over the dataset, by name.

    `neighbours` frames are given to the network with each image, where the dataset has sequences with poses, and the hints that
    it has with them.

    `field` divides once, at the end of the whole set. `per-batch` averages the scores of batches of 8 images, which
    favours what is rare; it exists to compare with numbers that were made that way. Tasks without truth give None.
    """
    wanted = [task for task in predictor.tasks if tasks is None or task in tasks]
    count = len(dataset) if limit is None else min(limit, len(dataset))
    indices = np.linspace(0, len(dataset) - 1, count).round().astype(int) if count else np.zeros(0, int)
    size = count if protocol == "field" else BATCH
    scores: list[Scores] = []
    for start in range(0, count, max(size, 1)):
        meters = _Meters(wanted, dataset.classes)
        for done in range(start, min(start + size, count)):
            index = int(indices[done])
            sample = dataset[index]
            meters.update(predict_sample(predictor, dataset, index, sample, neighbours), sample)
            if progress:
                progress(done + 1, count)
        scores.append(meters.compute())
    return {name: _mean([score[name] for score in scores]) for name in (scores[0] if scores else {})}


def evaluate_checkpoint(
    name_or_path: str | Path,
    address: str,
    *,
    config: InferenceConfig | None = None,
    limit: int | None = None,
    protocol: Protocol = "field",
    neighbours: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """`evaluate` for a checkpoint and a dataset's address (`FORMAT:PATH[#SPLIT]`); raises as both openers do.

    Raises ValueError when the checkpoint's classes are not the dataset's.
    """
    predictor, dataset = Predictor.from_checkpoint(name_or_path, config), open_dataset(address)
    if "semantics" in predictor.tasks and predictor.record.label_space != dataset.label_space:
        raise ValueError(
            f"{name_or_path} speaks the label space {predictor.record.label_space}, {address} has {dataset.label_space}; "
            f"ask for other tasks than semantics"
        )
    return evaluate(predictor, dataset, limit=limit, protocol=protocol, neighbours=neighbours, progress=progress)


def predict_sample(predictor: Predictor, dataset: Dataset, index: int, sample: Sample, neighbours: int) -> Predictions:
    """The answer for one image, with its hint and its best neighbours where those are wanted and to be had."""
    if neighbours and predictor.sees_neighbours and isinstance(dataset, PosedDataset):
        chosen = choose_neighbours(dataset, index, sample, neighbours, None)
        views = [_view(dataset.view(i)) for i in chosen]
        if views:
            hint = None if sample.hint is None else DepthHint(sample.hint[..., 0], sample.hint[..., 1])
            return predictor.predict_view(_view(sample), [predictor.match(view) for view in views], hint)
    return predictor(sample.rgb, _sized(sample.camera, sample.rgb.shape[:2]))


def _view(sample: Sample) -> View:
    assert sample.camera is not None
    assert sample.T_world_camera is not None
    return View(sample.rgb, sample.camera, sample.T_world_camera)


class _SizedCamera:
    """What the predictor asks of a camera."""

    def __init__(self, camera: Camera, shape: tuple[int, ...]) -> None:
        self.fx = camera.fx
        self.height, self.width = shape


def _sized(camera: Camera | None, shape: tuple[int, ...]) -> _SizedCamera | None:
    return None if camera is None else _SizedCamera(camera, shape)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
