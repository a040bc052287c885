"""Predictions on disk: one file per frame, written atomically; also read from another model's output."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m2h import Predictions
from mapping.files import atomic_path

FIELDS = ("depth", "labels", "label_confidence", "normals", "edges", "confidence", "instances")
HALF = (
    "label_confidence",
    "normals",
    "edges",
    "confidence",
)  # known to a few percent: half precision is more than enough


class PredictionError(ValueError):
    """A stored prediction that cannot be read: the message names the file and the field."""


def prediction_path(folder: Path, index: int) -> Path:
    """The file of the frame with that index."""
    return folder / f"{index:06d}.npz"


def write_predictions(folder: Path, index: int, predictions: Predictions) -> None:
    """Store what is known of one frame; confidences, normals and edges in half precision, depth in full."""
    arrays = {name: getattr(predictions, name) for name in FIELDS if getattr(predictions, name) is not None}
    arrays = {name: array.astype(np.float16) if name in HALF else array for name, array in arrays.items()}
    with atomic_path(prediction_path(folder, index)) as temporary:
        np.savez_compressed(temporary, **arrays)


def read_predictions(path: Path) -> Predictions:
    """One stored frame; raises PredictionError for what is no such file."""
    try:
        with np.load(path, allow_pickle=False) as data:
            unknown = set(data.files) - set(FIELDS)
            if unknown:
                raise PredictionError(f"{path}: unknown array {sorted(unknown)[0]}; known are {', '.join(FIELDS)}")
            arrays = {name: data[name] for name in data.files}
    except FileNotFoundError:
        raise PredictionError(f"{path}: is missing; every used frame needs one") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        if isinstance(error, PredictionError):
            raise
        raise PredictionError(f"{path}: not readable as a prediction (.npz with {', '.join(FIELDS)})") from error
    return _predictions_from_arrays(arrays, path)


def _predictions_from_arrays(arrays: dict[str, NDArray[np.generic]], path: Path) -> Predictions:
    floats = {
        name: array.astype(np.float32) for name, array in arrays.items() if np.issubdtype(array.dtype, np.floating)
    }
    if "normals" in floats:  # half precision shortens unit vectors by up to 0.1 %
        length = np.linalg.norm(floats["normals"], axis=-1, keepdims=True)
        floats["normals"] = np.divide(
            floats["normals"], length, out=np.zeros_like(floats["normals"]), where=length > 0.5
        )
    try:
        return Predictions(**{**arrays, **floats})  # type: ignore[arg-type]
    except ValueError as error:
        raise PredictionError(f"{path}: {error}") from error
