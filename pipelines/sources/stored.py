"""Stored answers of a costly source: a file per frame, and an index of those that are known to be whole and on the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from m2h import Predictions
from mapping.files import write_text_atomic
from pipelines.sources.predictions import PredictionError, prediction_path, read_predictions
from pipelines.workspace import WorkspaceError, read_record

INDEX = "index.json"
"""In the predictions' folder: of what source they are, and of which frames."""


def index_of(marker: Path) -> dict[str, Any]:
    """Of what source the predictions of a folder are and what it noted; empty where the index is missing or damaged."""
    try:
        return read_record(marker)
    except WorkspaceError:
        return {}


def has_answer(folder: Path, number: int, index: dict[str, Any]) -> bool:
    """Whether the answer for a frame is stored.

    Without the index's word it is read: a power cut may have left it empty or cut off, as it is not on the disk before that.
    """
    path = prediction_path(folder, number)
    if number in _listed(index):
        return path.exists()
    try:
        read_predictions(path)
    except PredictionError:
        return False
    return True


def read_answer(folder: Path, number: int) -> Predictions:
    """The stored answer for a frame.

    Raises PredictionError where it is missing or damaged; the index then has that frame no longer, so that the next run asks
    for it again.
    """
    try:
        return read_predictions(prediction_path(folder, number))
    except PredictionError as error:
        index = index_of(folder / INDEX)
        if number in _listed(index):
            index["frames"] = [other for other in _listed(index) if other != number]
            write_text_atomic(folder / INDEX, json.dumps(index))
        raise PredictionError(f"{error}; run it again to predict it again") from error


def _listed(index: dict[str, Any]) -> list[int]:
    frames = index.get("frames")
    return [number for number in frames if type(number) is int] if isinstance(frames, list) else []
