"""Another model's output as a prediction source: one file of arrays per frame, and a file that says what they mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from m2h import Predictions
from m2h.predictions import LABELS
from pipelines.config import config_from_mapping, read_yaml_mapping
from pipelines.frame import Frame, FrameSequence
from pipelines.settings import PipelineConfig
from pipelines.sources.fitting import DepthShape, fitted
from pipelines.sources.predictions import (
    FIELDS,
    PredictionError,
    prediction_path,
    read_predictions,
    stored_frames,
)
from pipelines.sources.source import DepthOrigin, Source, SourceError
from pipelines.workspace import folder_fingerprint
from scenegraph.label_tables import table_to_nyu40
from scenegraph.labels import load_label_space, nyu40

HEADER = "predictions.yaml"
"""What the arrays mean, in the folder next to them; all of it has a default."""
ORIGINS = {"metric": DepthOrigin.NETWORK, "sensor": DepthOrigin.SENSOR, "poses": DepthOrigin.POSES}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PrecomputedHeader:
    """The settings of predictions.yaml."""

    depth: Literal["metric", "disparity", "relative", "sensor", "poses"] = "metric"
    """`metric`: metres, predicted from single images. `disparity`, `relative`: inverse depth or depth up to scale and shift.
    `sensor`: measured. `poses`: in the unit of the poses, as from several images."""
    labels: Literal["predicted", "exact"] = "predicted"
    """Whether labels are guesses, which give way where geometry contradicts them, or annotations."""
    label_space: str = ""
    """A name or a YAML file next to this one; empty is that of the sequence, else NYU40."""
    nyu40: bool = True
    """Whether labels of another space are brought to NYU40 by its table; else the map has that space."""
    trust: str = ""
    """How good the predictions are known to be, in a sentence: shown with the map."""


def open_precomputed(argument: str, sequence: FrameSequence, config: PipelineConfig) -> Source:
    """A folder with one NNNNNN.npz per frame index (`depth`, `labels`, `normals`, ... as `Predictions`), and predictions.yaml.

    Raises SourceError when the folder is missing, ConfigError for an invalid predictions.yaml, PredictionError when a frame's
    file is missing or does not fit the image.
    """
    folder = Path(argument).expanduser()
    if not argument or not folder.is_dir():
        raise SourceError(
            f"--source precomputed:{argument}: expected a folder of NNNNNN.npz files, one per frame index"
        )
    path = folder / HEADER
    header = PrecomputedHeader()
    if path.exists():
        header = config_from_mapping(PrecomputedHeader, read_yaml_mapping(path), str(path))
    space = sequence.label_space or nyu40()
    if header.label_space:
        local = folder / header.label_space
        space = load_label_space(str(local) if local.is_file() else header.label_space)
    table = table_to_nyu40(space) if header.label_space and header.nyu40 else None
    labelled = _has_labels(folder)

    def predict(frame: Frame) -> Predictions:
        predictions = _read(folder, frame)
        return predictions if table is None else _translated(predictions, table)

    source = Source(
        f"precomputed:{folder.name}",
        predict,
        folder_fingerprint(folder),
        None if not labelled else space if table is None else nyu40(),
        ORIGINS.get(header.depth, DepthOrigin.NETWORK),
        predicts_labels=labelled and header.labels == "predicted",
        trust=header.trust,
        files=(folder,),
    )
    if header.depth in ORIGINS:
        return source
    return fitted(source, DepthShape(header.depth), sequence, config)


def _translated(predictions: Predictions, table: NDArray[np.uint8]) -> Predictions:
    """The predictions with labels by a table (N,) from their ids; 0 for those that it lacks."""
    found = {name: array for name in LABELS if (array := getattr(predictions, name)) is not None}
    return replace(
        predictions,
        **{name: np.where(ids < len(table), table[np.minimum(ids, len(table) - 1)], 0) for name, ids in found.items()},
    )


def _has_labels(folder: Path) -> bool:
    """Whether the first, the middle or the last of the stored frames has labels."""
    stored = stored_frames(folder)
    few = {stored[0], stored[len(stored) // 2], stored[-1]} if stored else set()
    return any(read_predictions(prediction_path(folder, index)).labels is not None for index in sorted(few))


def _read(folder: Path, frame: Frame) -> Predictions:
    """The stored arrays of a frame; raises PredictionError where there are none or they do not fit the image."""
    path = prediction_path(folder, frame.index)
    predictions = read_predictions(path)
    for name in FIELDS:
        array = getattr(predictions, name)
        if array is not None and array.shape[:2] != frame.rgb.shape[:2]:
            raise PredictionError(f"{path}: {name} must be {frame.rgb.shape[:2]} like the image, got {array.shape[:2]}")
    return predictions
